"""`calldex teams`: who works with whom."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from msgspec import UNSET, UnsetType

from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.cli.names import key_of, named_of, tell_unknown

if TYPE_CHECKING:
    from calldex.cli.client import Control


@click.group(cls=Group)
def teams() -> None:
    """Teams of agents, and who supervises them.

    A supervisor sees the records of their teams' agents, as the teams were when the calls took place, and of their
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
    from calldex.admin.teams import list_teams as listed
    from calldex.admin.verb import Paging
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.every(listed, Paging(), account=account)
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
    from calldex.admin.teams import NewTeam, create_team
    from calldex.cli.client import connected

    wanted = UNSET if id_ is None else id_
    new = NewTeam(name=name, id=wanted, queues=queues, agents=agents, supervisors=supervisors)
    with connected(data) as control:
        team = control.do(create_team, new, account=account)
        _tell_unknown(control, account, queues)
    output.say(f"Added the team {team.name} with the id {team.id}.")


@teams.command(
    "set",
    epilog="""\b
Examples:
  calldex teams set Sales --supervisor ana@example.com --supervisor kim@example.com
  calldex teams set 101 --name 'Second line' --queue ''
""",
)
@click.argument("team", callback=options.reference, help="Id or name of the team.")
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
    from calldex.admin.teams import change_team
    from calldex.cli.client import connected
    from calldex.directory import TeamChanges

    changes = TeamChanges(name=name, queues=queues, agents=agents, supervisors=supervisors)
    with connected(data) as control:
        changed = control.do(change_team, changes, account=account, subject=str(team))
        _tell_unknown(control, account, queues)
    output.say(f"Changed the team {changed.name}.")


def _tell_unknown(control: Control, account: str, queues: tuple[int | str, ...] | UnsetType) -> None:
    """Tell of queues by ids that no record has named; a name that nothing has was refused."""
    ids = set() if queues is UNSET else {ref for ref in queues if isinstance(ref, int)}
    if ids:
        tell_unknown("queue", ids - {key_of(entry) for entry in named_of(control, account, "queue")})


@teams.command("remove", epilog="Example: calldex teams remove Sales")
@click.argument("team", callback=options.reference, help="Id or name of the team.")
@options.account
@options.data
def remove_team(team: int | str, account: str, data: Path | None) -> None:
    """Remove a team; its records are kept, and still name it."""
    from calldex.admin.teams import remove_team as remove
    from calldex.admin.teams import show_team
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        removed = control.do(show_team, Nothing(), account=account, subject=str(team))
        control.do(remove, Nothing(), account=account, subject=str(removed.id))
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
    from calldex.admin.teams import import_teams as imported
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        done = control.do(imported, options.small_file(file), account=account)
    output.say(f"Teams added: {done.added}, changed: {done.changed}, unchanged: {done.unchanged}.")
