"""`calldex groups` and `access`: who may do and see what, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import PERMISSIONS, Explanation, Reach, ReachLine
from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.cli.names import key_of, named_of, tell_unknown
from calldex.records.record import NamedKind

if TYPE_CHECKING:
    from calldex.admin.users import ShownUser
    from calldex.cli.client import Control
    from calldex.directory import GroupInfo

Texts = tuple[str, ...]
Names = Mapping[str, Mapping[int, str]]


@click.group(cls=Group)
def groups() -> None:
    """Access groups: what those who are in one may do, and which records they see.

    Of somebody in several groups, permissions and records add up. `calldex users set --group` lets users into groups.
    """


_REACHED: Final[tuple[NamedKind, ...]] = ("team", "queue", "campaign", "agent")


class _Granted(TypedDict):
    """What the options of a group give."""

    permissions: Texts | UnsetType
    reach: Texts
    teams: Texts
    queues: Texts
    campaigns: Texts
    agents: Texts


_group_options = options.all_of(
    click.option(
        "--permission",
        "permissions",
        multiple=True,
        callback=options.listed,
        metavar="PERMISSION",
        help=f"What it permits: {', '.join(PERMISSIONS)}; {options.SEVERAL}.",
    ),
    click.option(
        "--reach",
        multiple=True,
        type=click.Choice(("", "whole", "own", "supervised")),
        metavar="whole|own|supervised",
        help=f"Which records it grants: all, one's own, those of the teams one supervises; {options.SEVERAL}.",
    ),
    *(
        click.option(
            f"--{word}",
            f"{word}s",
            multiple=True,
            metavar="ID|NAME",
            help=f"The records of this {word} as well; {options.SEVERAL}.",
        )
        for word in _REACHED
    ),
)


def _reach(words: tuple[str, ...], named: Mapping[NamedKind, Texts]) -> Reach | UnsetType:
    """The reach that options give, but for what it names; UNSET if none of them is given."""
    if not (words or any(named.values())):
        return UNSET
    return Reach(whole="whole" in words, own="own" in words, supervised="supervised" in words)


def _put(
    account: str,
    group: int | str | None,
    name: str | UnsetType,
    granted: _Granted,
    data: Path | None,
) -> GroupInfo:
    """Add a group, or change one; what of its reach no record has named yet is told."""
    from calldex.admin.groups import NewGroup, change_group, create_group
    from calldex.cli.client import connected
    from calldex.directory import GroupChanges

    named: dict[NamedKind, Texts] = {
        "team": granted["teams"],
        "queue": granted["queues"],
        "campaign": granted["campaigns"],
        "agent": granted["agents"],
    }
    changes = GroupChanges(name=name, permissions=granted["permissions"], reach=_reach(granted["reach"], named))
    with connected(data) as control:
        if changes.reach is not UNSET:
            ids = {f"{kind}s": _meant(control, account, kind, texts) for kind, texts in named.items()}
            changes = msgspec.structs.replace(changes, reach=msgspec.structs.replace(changes.reach, **ids))
        if group is None:
            return control.do(create_group, NewGroup(**msgspec.structs.asdict(changes)), account=account)
        return control.do(change_group, changes, account=account, subject=str(group))


def _meant(control: Control, account: str, kind: NamedKind, texts: Texts) -> tuple[int, ...]:
    """The ids of what is meant by ids and names; an id that nothing has yet may get its thing later, which is told."""
    from calldex.directory.refs import Refs, reference

    if not texts:
        return ()
    known = {int(key_of(entry)): entry.name for entry in named_of(control, account, kind)}
    refs = [reference(text) for text in texts]
    ids = set(Refs(kind, known).ids(f"{kind}s", [ref for ref in refs if isinstance(ref, str)]))
    tell_unknown(kind, {ref for ref in refs if isinstance(ref, int)} - known.keys())
    return tuple(sorted(ids | {ref for ref in refs if isinstance(ref, int)}))


@groups.command("list", epilog="Example: calldex groups list")
@options.account
@options.as_json
@options.data
def list_groups(account: str, as_json: bool, data: Path | None) -> None:
    """Show the groups of an account: first the roles, which nobody changes."""
    from calldex.admin.groups import list_groups as listed
    from calldex.admin.verb import Paging
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.every(listed, Paging(), account=account)
    if as_json:
        output.json(found)
        return
    rows = [(group.name, group.permissions, "; ".join(_parts(group)), group.members) for group in found]
    output.table(("name", "permissions", "records", "members"), rows)


def _parts(group: GroupInfo) -> Iterator[str]:
    """A group's reach in words."""
    reach = group.reach
    for word in ("whole", "own", "supervised"):
        if getattr(reach, word):
            yield word
    for word in ("teams", "queues", "campaigns", "agents"):
        if ids := getattr(reach, word):
            yield f"{word} {', '.join(map(str, ids))}"


@groups.command(
    "add",
    epilog="""\b
Examples:
  calldex groups add 'Sales history' --permission see_cdrs --permission see_details --team 101 --queue 501
  calldex groups add Floor --permission see_cdrs --permission listen --reach supervised --reach own
""",
)
@click.argument("name", help="Name of the group.")
@_group_options
@options.account
@options.data
def add_group(
    *,
    name: str,
    account: str,
    data: Path | None,
    **granted: Unpack[_Granted],
) -> None:
    """Add a group.

    Its reach names teams, queues, campaigns and agents by their ids or by what they are called.
    """
    output.say(f"Added the group {_put(account, None, name, granted, data).name}.")


@groups.command(
    "set",
    epilog="""\b
Examples:
  calldex groups set 'Sales history' --team 101 --team 102
  calldex groups set Floor --name 'Shop floor' --reach ''
""",
)
@click.argument("group", callback=options.reference, help="Name or id of the group.")
@click.option("--name", callback=options.given, metavar="TEXT", help="Its new name.")
@_group_options
@options.account
@options.data
def set_group(
    *,
    group: int | str,
    name: str | UnsetType,
    account: str,
    data: Path | None,
    **granted: Unpack[_Granted],
) -> None:
    """Change a group, for everybody in it at once.

    What is not given stays. The permissions that are given replace those it has; if any part of the reach is given, it
    replaces all of it. An empty text takes away.
    """
    output.say(f"Changed the group {_put(account, group, name, granted, data).name}.")


@groups.command("remove", epilog="Example: calldex groups remove 'Sales history'")
@click.argument("group", callback=options.reference, help="Name or id of the group.")
@options.account
@options.data
def remove_group(group: int | str, account: str, data: Path | None) -> None:
    """Remove a group; who was in it loses at once what it granted."""
    from calldex.admin.groups import remove_group as remove
    from calldex.admin.groups import show_group
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        removed = control.do(show_group, Nothing(), account=account, subject=str(group))
        control.do(remove, Nothing(), account=account, subject=str(group))
    output.say(f"Removed the group {removed.name}.")


# --- access -----------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def access() -> None:
    """Who sees what, and why."""


@access.command(
    "explain",
    epilog="""\b
Examples:
  calldex access explain ana@example.com
  calldex access explain ana@example.com --record 01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44
""",
)
@click.argument("user", help="E-mail address of the user.")
@click.option("--record", metavar="UUID", help="Tell whether they see this record, and why or why not.")
@options.as_json
@options.data
def explain(user: str, record: str | None, as_json: bool, data: Path | None) -> None:
    """Show what a user may do and see, and by which group; a key may grant less."""
    from calldex.admin.users import Explained, explain_access, show_user
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    kinds: tuple[NamedKind, ...] = ("team", "queue", "campaign", "agent")
    with connected(data) as control:
        found = control.do(explain_access, Explained(UNSET if record is None else record), subject=user)
        if as_json:
            output.json(found)
            return
        person = control.do(show_user, Nothing(), subject=user)
        called = {
            f"{kind}s": {int(key_of(entry)): entry.name for entry in named_of(control, person.account, kind)}
            for kind in kinds
        }
    _show(found, person, called)


def _show(found: Explanation, person: ShownUser, called: Names) -> None:
    rows: list[tuple[str, str]] = [("account", person.account), ("groups", ", ".join(found.groups) or "none")]
    if person.disabled_at is not None:
        rows.append(("disabled", f"{output.moment(person.disabled_at)}: none of their keys works"))
    rows += [("telephone numbers", "masked" if found.mask.numbers else "shown")]
    if found.mask.numbers:
        rows += [("search for one full number", "yes" if found.mask.match else "no")]
    rows += [("hidden fields", ", ".join(found.mask.hidden) or "none")]
    output.table(["user", found.email], rows)
    click.echo()
    permissions = [(PERMISSIONS[name], name, groups) for name, groups in found.permissions.items()]
    output.table(["may", "permission", "by"], permissions or [("nothing", "", "")])
    click.echo()
    output.table(["sees the records of", "by"], list(_lines(found.reach, called)) or [("nobody", "")])
    if found.record is not None:
        click.echo()
        verdict = found.record
        shown = "visible" if verdict.visible else "not visible"
        output.table(
            ["the record", f"{shown}: {verdict.reason}"],
            [
                *(("held by", f"{what} ({group})") for what, group in _lines(verdict.by, called)),
                *(("not held by", f"{what} ({group})") for what, group in _lines(verdict.not_by, called)),
            ],
        )


def _lines(lines: Iterable[ReachLine], called: Names) -> Iterator[tuple[str, str]]:
    """Parts of a reach in words, each with its group."""
    for line in lines:
        if line.whole:
            yield "the whole account", line.group
            continue
        parts = [
            f"{kind} {', '.join(_called(called[kind], id_) for id_ in ids)}"
            for kind in ("teams", "queues", "campaigns", "agents")
            if (ids := getattr(line, kind))
        ]
        prefix = {"own": "their own: ", "supervised": "supervised "}.get(line.by, "")
        yield prefix + (" and ".join(parts) or "teams: none"), line.group


def _called(names: Mapping[int, str], id_: int) -> str:
    return f"{id_} ({names[id_]})" if names.get(id_) else str(id_)
