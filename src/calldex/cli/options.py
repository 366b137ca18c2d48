"""Options that several commands have, and the settings that they resolve to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeVar, get_args, get_origin

import click
import msgspec
from msgspec import UNSET, UnsetType

from calldex.errors import TooLarge
from calldex.records.fields import DAY_PARAMETERS, FILTER_PARAMETERS, FILTERS, Filter, Parameter
from calldex.settings import Origin, Settings, resolve

Command = TypeVar("Command", bound=Callable[..., Any])
_Value = TypeVar("_Value")

data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=True),
    metavar="DIR",
    help="The data directory; else CALLDEX_DATA, else ./data.",
)
account = click.option("--account", metavar="NAME", default="main", show_default=True, help="The account it is about.")
one_account = click.option("--account", metavar="NAME", help="Only those of this account.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

SEVERAL: Final = "may be given several times"
"""How the help of an option says so."""
ENVIRONMENT: Final = "Every setting can also stand in calldex.toml in the data directory, or in CALLDEX_<NAME>."


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one, in the order in which the help is to show them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(context: click.Context, option: click.Parameter, value: _Value | None) -> _Value | UnsetType:
    """A value that is UNSET where the option is not given."""
    return UNSET if value is None else value


def emptied(context: click.Context, option: click.Parameter, value: str | None) -> str | UnsetType | None:
    """A text likewise, of which the empty one takes away: None."""
    return UNSET if value is None else value or None


def listed(
    context: click.Context, option: click.Parameter, values: tuple[_Value, ...]
) -> tuple[_Value, ...] | UnsetType:
    """Several likewise; a single empty text is none of them."""
    return UNSET if not values else () if values == ("",) else values


def referred(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[int | str, ...] | UnsetType:
    """Several ids or names likewise."""
    from calldex.directory.refs import reference

    found = listed(context, option, values)
    return UNSET if found is UNSET else tuple(map(reference, found))


def filters(command: Command) -> Command:
    """An option for each filter of records, and for days, by its name; None where it is not given."""
    every: tuple[Filter | Parameter, ...] = (*FILTERS, *FILTER_PARAMETERS, *DAY_PARAMETERS)
    return all_of(*map(_filter_option, every))(command)


def _filter_option(each: Filter | Parameter) -> Callable[[Command], Command]:
    names = (each.name, *(each.aliases if isinstance(each, Filter) else ()))
    return click.option(
        *("--" + name.replace("_", "-") for name in names),
        each.name,
        metavar="TEXT",
        help=f"{each.description.split(' Days are cut')[0]} As {each.example}.",
    )


def small_file(file: IO[bytes]) -> bytes:
    """The bytes of a file of users or teams; `TooLarge`."""
    from calldex.directory.people_csv import MOST_BYTES

    text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise TooLarge(f"{file.name} is larger than {MOST_BYTES} bytes")
    return text


def _annotation(field: msgspec.structs.FieldInfo) -> tuple[Any, str]:
    """The bare type of a setting, and its description."""
    bare, meta = get_args(field.type)
    return bare, meta.description


def _settings_option(field: msgspec.structs.FieldInfo) -> Callable[[Command], Command]:
    bare, description = _annotation(field)
    words = get_args(bare) if get_origin(bare) is Literal else ()
    shown = "" if field.default in (msgspec.NODEFAULT, None) else str(field.default)
    default = f"  [default: {shown}]" if shown else ""
    return click.option(
        "--" + field.name.replace("_", "-"),
        type=int if bare is int else str,
        metavar="|".join(words) if words else "N" if bare is int else "TEXT",
        help=f"{description}{default}",
    )


def every_setting(command: Command) -> Command:
    """An option for each setting but `data`, by its name; None where it is not given."""
    fields = msgspec.structs.fields(Settings)
    return all_of(*(_settings_option(field) for field in fields if field.name != "data"))(command)


def resolved(data: Path | None, flags: Mapping[str, object] | None = None) -> tuple[Settings, Mapping[str, Origin]]:
    """The settings with where each comes from; `BadSettings` with everything that is wrong with them."""
    return resolve(data, flags or {}, os.environ)


def reference(context: click.Context, argument: click.Parameter, text: str) -> int | str:
    """What somebody means by an id or a name; the callback of an argument."""
    from calldex.directory.refs import reference

    return reference(text)
