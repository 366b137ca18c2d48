"""Options that several commands have, and the settings that they resolve to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

import click
import msgspec

from calldex.settings import Origin, Settings, resolve

_Command = TypeVar("_Command", bound=Callable[..., Any])

data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=True),
    metavar="DIR",
    help="The data directory; else CALLDEX_DATA, else ./data.",
)
account = click.option("--account", metavar="NAME", default="main", show_default=True, help="The account it is about.")
one_account = click.option("--account", metavar="NAME", help="Only those of this account.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

ENVIRONMENT: Final = "Every setting can also stand in calldex.toml in the data directory, or in CALLDEX_<NAME>."


def _annotation(field: msgspec.structs.FieldInfo) -> tuple[Any, str]:
    """The bare type of a setting, and its description."""
    bare, meta = get_args(field.type)
    return bare, meta.description


def _settings_option(field: msgspec.structs.FieldInfo) -> Callable[[_Command], _Command]:
    bare, description = _annotation(field)
    words = get_args(bare) if get_origin(bare) is not None else ()
    default = "" if field.default is msgspec.NODEFAULT else f"  [default: {field.default}]"
    return click.option(
        "--" + field.name.replace("_", "-"),
        type=int if bare is int else str,
        metavar="|".join(words) if words else "N" if bare is int else "TEXT",
        help=f"{description}{default}",
    )


def every_setting(command: _Command) -> _Command:
    """An option for each setting but `data`, by its name; None where it is not given."""
    for field in reversed(msgspec.structs.fields(Settings)):
        if field.name != "data":
            command = _settings_option(field)(command)
    return command


def resolved(data: Path | None, flags: Mapping[str, object] | None = None) -> tuple[Settings, Mapping[str, Origin]]:
    """The settings with where each comes from; `BadSettings` with everything that is wrong with them."""
    return resolve(data, flags or {}, os.environ)
