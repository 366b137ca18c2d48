"""`calldex names`: what agents, queues, teams, campaigns and wrap-up codes are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.records.record import NamedKind

if TYPE_CHECKING:
    from calldex.admin.names import NameOfCode, NameOfId
    from calldex.cli.client import Control

_KINDS: Final = "|".join(get_args(NamedKind))


@click.group(cls=Group)
def names() -> None:
    """What agents, queues, teams, campaigns and wrap-up codes are called.

    Names come from the records; a name that is set here is kept, whatever they say.
    """


_kind = click.argument("kind", type=click.Choice(get_args(NamedKind)), help=f"What it is: {_KINDS}.")
_key = click.argument("key", help="Its id, or the code of a wrap-up code.")


def named_of(control: Control, account: str, kind: NamedKind) -> Sequence[NameOfId | NameOfCode]:
    """What things of a kind are called."""
    from calldex.admin.names import list_codes
    from calldex.admin.names import list_names as listed
    from calldex.admin.verb import Paging

    if kind == "wrapup_code":
        return control.every(list_codes, Paging(), account=account, kind=kind)
    return control.every(listed, Paging(), account=account, kind=kind)


def key_of(entry: NameOfId | NameOfCode) -> int | str:
    """The id of a thing, or the code of a wrap-up code."""
    found: int | str = getattr(entry, "id", "") or getattr(entry, "code", "")
    return found


def tell_unknown(kind: NamedKind, ids: Iterable[int]) -> None:
    """Tell of ids that nothing has yet: it may come later."""
    for id_ in sorted(ids):
        output.say(
            f"No record has named {kind} {id_} yet; if that is a mistake, `calldex names list` shows what there is."
        )


@names.command("list", epilog="Example: calldex names list queue")
@_kind
@options.account
@options.as_json
@options.data
def list_names(kind: NamedKind, account: str, as_json: bool, data: Path | None) -> None:
    """Show what things of a kind are called."""
    from calldex.cli.client import connected

    with connected(data) as control:
        found = named_of(control, account, kind)
    if as_json:
        output.json([{"key": key_of(entry), "name": entry.name, "pinned": entry.pinned} for entry in found])
        return
    rows = [(key_of(entry), entry.name, "yes" if entry.pinned else "") for entry in found]
    output.table(("code" if kind == "wrapup_code" else "id", "name", "set"), rows)


@names.command("set", epilog="Example: calldex names set queue 501 'Orders'")
@_kind
@_key
@click.argument("name", help="What it is to be called.")
@options.account
@options.data
def set_name(kind: NamedKind, key: str, name: str, account: str, data: Path | None) -> None:
    """Set what something is called."""
    from calldex.admin.names import NewName, set_code
    from calldex.admin.names import set_name as set_
    from calldex.cli.client import connected

    verb = set_code if kind == "wrapup_code" else set_
    with connected(data) as control:
        control.do(verb, NewName(name), account=account, subject=key, kind=kind)
    output.say(f"The {kind.replace('_', ' ')} {key} is called {name}.")


@names.command("remove", epilog="Example: calldex names remove queue 501")
@_kind
@_key
@options.account
@options.data
def remove_name(kind: NamedKind, key: str, account: str, data: Path | None) -> None:
    """Reset a name to what records say."""
    from calldex.admin.names import remove_code
    from calldex.admin.names import remove_name as remove
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    verb = remove_code if kind == "wrapup_code" else remove
    with connected(data) as control:
        control.do(verb, Nothing(), account=account, subject=key, kind=kind)
    output.say(f"Removed the name of the {kind.replace('_', ' ')} {key} is called.")
