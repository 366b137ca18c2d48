"""`calldex teams`, `groups`, `names` and `access`: who works with whom, who sees what, and what things are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, get_args

import click
from msgspec import UNSET, UnsetType

from calldex.access import PERMISSIONS, Explanation, Reach, ReachLine
from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.errors import Conflict
from calldex.records.record import NamedKind

if TYPE_CHECKING:
    from calldex.directory import GroupChanges, GroupInfo, User

_KINDS: Final = "|".join(get_args(NamedKind))
Texts = tuple[str, ...]
Names = Mapping[str, Mapping[int, str]]


def _reference(context: click.Context, argument: click.Parameter, text: str) -> int | str:
    from calldex.directory.refs import reference

    return reference(text)


# --- teams ------------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def teams() -> None:
    """Teams of agents, and who supervises them.

    A supervisor sees the records of his teams' agents, as the teams were when the calls took place, and of their
    queues.
    """


_team_options = options.all_of(
    click.option(
        "--queue",
        "queues",
        multiple=True,
        callback=options.referred,
        metavar="QUEUE",
        help=f"Id or name of a queue whose records its supervisors see; {options.SEVERAL}.",
    ),
    click.option(
        "--agent",
        "agents",
        multiple=True,
        callback=options.listed,
        metavar="EMAIL",
        help=f"A user who is an agent of it; {options.SEVERAL}.",
    ),
    click.option(
        "--supervisor",
        "supervisors",
        multiple=True,
        callback=options.listed,
        metavar="EMAIL",
        help=f"A user who supervises it; {options.SEVERAL}.",
    ),
)


@teams.command("list", epilog="Example: calldex teams list")
@options.account
@options.as_json
@options.data
def list_teams(account: str, as_json: bool, data: Path | None) -> None:
    """Show the teams of an account."""
    from calldex.api.people_operations import ListTeams
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListTeams(account=account))
    if as_json:
        output.json(found)
        return
    rows = [(team.id, team.name, team.queues, team.agents, team.supervisors) for team in found]
    output.table(("id", "name", "queues", "agents", "supervisors"), rows, right=("id",))


@teams.command(
    "add", epilog="Example: calldex teams add Sales --agent bo@example.com --supervisor ana@example.com --queue Orders"
)
@click.argument("name", help="Name of the team.")
@click.option("--id", "id_", type=int, metavar="ID", help="Its id in records; else that of its name.")
@_team_options
@options.account
@options.data
def add_team(
    *,
    name: str,
    id_: int | None,
    queues: tuple[int | str, ...] | UnsetType,
    agents: tuple[str, ...] | UnsetType,
    supervisors: tuple[str, ...] | UnsetType,
    account: str,
    data: Path | None,
) -> None:
    """Add a team."""
    from calldex.api.people_operations import ListTeams, PutTeam
    from calldex.cli.client import connected
    from calldex.directory import TeamChanges

    changes = TeamChanges(name=name, queues=queues, agents=agents, supervisors=supervisors)
    with connected(data) as control:
        if any(team.id == id_ for team in control.ask(ListTeams(account=account))):
            raise Conflict(f"there is already a team with the id {id_}; `calldex teams set {id_}` changes it")
        team = control.ask(PutTeam(account=account, team=id_, changes=changes))
    output.say(f"Added the team {team.name} with the id {team.id}.")


@teams.command(
    "set",
    epilog="""\b
Examples:
  calldex teams set Sales --supervisor ana@example.com --supervisor kim@example.com
  calldex teams set 101 --name 'Second line' --queue ''
""",
)
@click.argument("team", callback=_reference, help="Id or name of the team.")
@click.option("--name", callback=options.given, metavar="TEXT", help="Its new name.")
@_team_options
@options.account
@options.data
def set_team(
    *,
    team: int | str,
    name: str | UnsetType,
    queues: tuple[int | str, ...] | UnsetType,
    agents: tuple[str, ...] | UnsetType,
    supervisors: tuple[str, ...] | UnsetType,
    account: str,
    data: Path | None,
) -> None:
    """Change a team.

    What is not given stays, and an empty text takes away. Queues, agents and supervisors replace those it has. Records
    of calls that took place before stay those of the team.
    """
    from calldex.api.people_operations import PutTeam
    from calldex.cli.client import connected
    from calldex.directory import TeamChanges

    changes = TeamChanges(name=name, queues=queues, agents=agents, supervisors=supervisors)
    with connected(data) as control:
        changed = control.ask(PutTeam(account=account, team=team, changes=changes))
    output.say(f"Changed the team {changed.name}.")


@teams.command("remove", epilog="Example: calldex teams remove Sales")
@click.argument("team", callback=_reference, help="Id or name of the team.")
@options.account
@options.data
def remove_team(team: int | str, account: str, data: Path | None) -> None:
    """Remove a team; the records of its time stay its records."""
    from calldex.api.people_operations import RemoveTeam
    from calldex.cli.client import connected

    with connected(data) as control:
        removed = control.ask(RemoveTeam(account=account, team=team))
    output.say(f"Removed the team {removed.name}.")


@teams.command(
    "import",
    epilog="""\b
Example: calldex teams import teams.csv

\b
  name,id,queues,supervisors
  Sales,101,Orders;Callbacks,ana@example.com
""",
)
@click.argument("file", type=click.File("rb"), help="A CSV file; - is standard input.")
@options.account
@options.data
def import_teams(file: IO[bytes], account: str, data: Path | None) -> None:
    """Add and change the teams that a CSV file lists; all of them, or none.

    Its first line names the columns: name, and any of id, queues, supervisors. Several values of a cell are separated
    by semicolons. A missing column changes nothing, an empty cell takes away.
    """
    from calldex.api.people_operations import ImportTeams
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        done = control.ask(ImportTeams(account=account, text=options.small_file(file)))
    output.say(f"Teams added: {done.added}, changed: {done.changed}, unchanged: {done.unchanged}.")


# --- groups -----------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def groups() -> None:
    """Access groups: what those who are in one may do, and which records they see.

    Of somebody in several groups, permissions and records add up. `calldex users set --group` lets users into groups.
    """


_REACHED: Final[tuple[NamedKind, ...]] = ("team", "queue", "campaign", "agent")

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
    changes: GroupChanges,
    named: Mapping[NamedKind, Texts],
    data: Path | None,
) -> GroupInfo:
    """Put a group; what of its reach no record has named yet is told."""
    from calldex.api.people_operations import PutGroup
    from calldex.cli.client import connected
    from calldex.directory.refs import reference

    reached: dict[NamedKind, tuple[int | str, ...]] = {
        kind: tuple(map(reference, texts)) for kind, texts in named.items() if texts
    }
    with connected(data) as control:
        put = control.ask(PutGroup(account=account, group=group, changes=changes, reached=reached))
    for what in put.unknown:
        output.say(f"No record has named {what} yet; if that is a mistake, `calldex names list` shows what there is.")
    return put


@groups.command("list", epilog="Example: calldex groups list")
@options.account
@options.as_json
@options.data
def list_groups(account: str, as_json: bool, data: Path | None) -> None:
    """Show the groups of an account: first the roles, which nobody changes."""
    from calldex.api.people_operations import ListGroups
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListGroups(account=account))
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
    permissions: tuple[str, ...] | UnsetType,
    reach: tuple[str, ...],
    teams: Texts,
    queues: Texts,
    campaigns: Texts,
    agents: Texts,
    account: str,
    data: Path | None,
) -> None:
    """Add a group.

    Its reach names teams, queues, campaigns and agents by their ids or by what they are called.
    """
    from calldex.directory import GroupChanges

    named: dict[NamedKind, Texts] = {"team": teams, "queue": queues, "campaign": campaigns, "agent": agents}
    changes = GroupChanges(name=name, permissions=permissions, reach=_reach(reach, named))
    output.say(f"Added the group {_put(account, None, changes, named, data).name}.")


@groups.command(
    "set",
    epilog="""\b
Examples:
  calldex groups set 'Sales history' --team 101 --team 102
  calldex groups set Floor --name 'Shop floor' --reach ''
""",
)
@click.argument("group", callback=_reference, help="Name or id of the group.")
@click.option("--name", callback=options.given, metavar="TEXT", help="Its new name.")
@_group_options
@options.account
@options.data
def set_group(
    *,
    group: int | str,
    name: str | UnsetType,
    permissions: tuple[str, ...] | UnsetType,
    reach: tuple[str, ...],
    teams: Texts,
    queues: Texts,
    campaigns: Texts,
    agents: Texts,
    account: str,
    data: Path | None,
) -> None:
    """Change a group, for everybody in it at once.

    What is not given stays. The permissions that are given replace those it has; if any part of the reach is given, it
    replaces all of it. An empty text takes away.
    """
    from calldex.directory import GroupChanges

    named: dict[NamedKind, Texts] = {"team": teams, "queue": queues, "campaign": campaigns, "agent": agents}
    changes = GroupChanges(name=name, permissions=permissions, reach=_reach(reach, named))
    output.say(f"Changed the group {_put(account, group, changes, named, data).name}.")


@groups.command("remove", epilog="Example: calldex groups remove 'Sales history'")
@click.argument("group", callback=_reference, help="Name or id of the group.")
@options.account
@options.data
def remove_group(group: int | str, account: str, data: Path | None) -> None:
    """Remove a group; who was in it loses at once what it granted."""
    from calldex.api.people_operations import RemoveGroup
    from calldex.cli.client import connected

    with connected(data) as control:
        removed = control.ask(RemoveGroup(account=account, group=group))
    output.say(f"Removed the group {removed.name}.")


# --- names ------------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def names() -> None:
    """What agents, queues, teams, campaigns and wrap-up codes are called.

    Records tell; a name that is set here stays, whatever they call it.
    """


_kind = click.argument("kind", type=click.Choice(get_args(NamedKind)), help=f"What it is: {_KINDS}.")
_key = click.argument("key", help="Its id, or the code of a wrap-up code.")


def _key_of(kind: str, key: str) -> int | str:
    from calldex.directory.refs import reference

    return key if kind == "wrapup_code" else reference(key)


@names.command("list", epilog="Example: calldex names list queue")
@_kind
@options.account
@options.as_json
@options.data
def list_names(kind: NamedKind, account: str, as_json: bool, data: Path | None) -> None:
    """Show what things of a kind are called."""
    from calldex.api.people_operations import ListNames
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListNames(account=account, kind=kind))
    if as_json:
        output.json(found)
        return
    rows = [(entry.key, entry.name, "yes" if entry.pinned else "") for entry in found]
    output.table(("code" if kind == "wrapup_code" else "id", "name", "set"), rows)


@names.command("set", epilog="Example: calldex names set queue 501 'Orders'")
@_kind
@_key
@click.argument("name", help="What it is to be called.")
@options.account
@options.data
def set_name(kind: NamedKind, key: str, name: str, account: str, data: Path | None) -> None:
    """Set what something is called."""
    from calldex.api.people_operations import SetName
    from calldex.cli.client import connected

    with connected(data) as control:
        control.ask(SetName(account=account, kind=kind, key=_key_of(kind, key), name=name))
    output.say(f"The {kind.replace('_', ' ')} {key} is called {name}.")


@names.command("remove", epilog="Example: calldex names remove queue 501")
@_kind
@_key
@options.account
@options.data
def remove_name(kind: NamedKind, key: str, account: str, data: Path | None) -> None:
    """Forget what something is called, until a record tells again."""
    from calldex.api.people_operations import RemoveName
    from calldex.cli.client import connected

    with connected(data) as control:
        control.ask(RemoveName(account=account, kind=kind, key=_key_of(kind, key)))
    output.say(f"Forgot what the {kind.replace('_', ' ')} {key} is called.")


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
@click.option("--record", metavar="UUID", help="Tell whether he sees this record, and why or why not.")
@options.as_json
@options.data
def explain(user: str, record: str | None, as_json: bool, data: Path | None) -> None:
    """Show what a user may do and see, and by which group; a key of his may leave him less."""
    from calldex.api.people_operations import ExplainAccess, ListNames, ShowUser
    from calldex.cli.client import connected

    kinds: tuple[NamedKind, ...] = ("team", "queue", "campaign", "agent")
    with connected(data) as control:
        found = control.ask(ExplainAccess(email=user, record=record))
        if as_json:
            output.json(found)
            return
        person = control.ask(ShowUser(email=user))
        called = {
            f"{kind}s": {
                int(entry.key): entry.name for entry in control.ask(ListNames(account=person.account, kind=kind))
            }
            for kind in kinds
        }
    _show(found, person, called)


def _show(found: Explanation, person: User, called: Names) -> None:
    rows: list[tuple[str, str]] = [("account", person.account), ("groups", ", ".join(found.groups) or "none")]
    if person.disabled_at is not None:
        rows.append(("disabled", f"{output.moment(person.disabled_at)}: none of his keys works"))
    rows += [("telephone numbers", "masked" if found.mask.numbers else "shown")]
    if found.mask.numbers:
        rows += [("search for one full number", "yes" if found.mask.match else "no")]
    rows += [("hidden fields", ", ".join(found.mask.hidden) or "none")]
    output.table(["user", found.email], rows)
    click.echo()
    permissions = [(PERMISSIONS[name], name, groups) for name, groups in found.permissions.items()]
    output.table(["he may", "permission", "by"], permissions or [("nothing", "", "")])
    click.echo()
    output.table(["he sees the records of", "by"], list(_lines(found.reach, called)) or [("nobody", "")])
    if found.record is not None:
        click.echo()
        verdict = found.record
        shown = "he sees it" if verdict.visible else "he does not see it"
        output.table(["the record", f"{shown}: {verdict.reason}"], [
            *(("held by", f"{what} ({group})") for what, group in _lines(verdict.by, called)),
            *(("not held by", f"{what} ({group})") for what, group in _lines(verdict.not_by, called)),
        ])  # fmt: skip


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
        prefix = {"own": "himself: ", "supervised": "supervised "}.get(line.by, "")
        yield prefix + (" and ".join(parts) or "teams: none"), line.group


def _called(names: Mapping[int, str], id_: int) -> str:
    return f"{id_} ({names[id_]})" if names.get(id_) else str(id_)
