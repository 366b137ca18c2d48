"""`calldex users`: who there is."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, get_args

import click
import msgspec
from msgspec import UnsetType

from calldex.access import ROLES, Role
from calldex.cli import options, output
from calldex.cli.command import Group

if TYPE_CHECKING:
    from calldex.admin.users import ShownUser

_ROLES: Final = ", ".join(get_args(Role))


@click.group(cls=Group)
def users() -> None:
    """People of an account; their keys open the API."""


_described = options.all_of(
    click.option("--role", callback=options.emptied, metavar="ROLE", help=f"What they may do: {_ROLES}."),
    click.option(
        "--group",
        "groups",
        multiple=True,
        callback=options.listed,
        metavar="NAME",
        help=f"A group of the account that they are in beside their role; {options.SEVERAL}.",
    ),
    click.option(
        "--timezone",
        callback=options.emptied,
        metavar="ZONE",
        help="IANA name of the zone in which their days are cut; else the account's.",
    ),
    click.option("--extension", callback=options.emptied, metavar="TEXT", help="The extension of their telephone."),
    click.option("--sip-account", callback=options.emptied, metavar="TEXT", help="The SIP account of their telephone."),
    click.option("--caller-id", callback=options.emptied, metavar="TEXT", help="The number that they call from."),
    click.option(
        "--skill",
        "skills",
        multiple=True,
        callback=options.listed,
        metavar="TEXT",
        help=f"A skill of theirs; {options.SEVERAL}.",
    ),
    click.option(
        "--agent-id",
        type=int,
        callback=options.given,
        metavar="ID",
        help="Under which id records name them; else that of their name.",
    ),
    click.option(
        "--team",
        "teams",
        multiple=True,
        callback=options.referred,
        metavar="TEAM",
        help=f"Id or name of a team that they are an agent of; {options.SEVERAL}.",
    ),
    click.option(
        "--supervises",
        multiple=True,
        callback=options.referred,
        metavar="TEAM",
        help=f"Id or name of a team that they supervise; {options.SEVERAL}.",
    ),
)


@users.command(
    "add",
    epilog="""\b
Examples:
  calldex users add ana@example.com --name 'Ana Ruiz' --role admin --timezone Europe/Madrid
  calldex users add bo@example.com --name Bo --role agent --team Sales --group 'Sales history'
""",
)
@click.argument("email", help="E-mail address of the user.")
@click.option("--name", required=True, metavar="TEXT", help="Display name, as records call an agent.")
@_described
@options.account
@options.data
def add_user(email: str, account: str, data: Path | None, **described: Any) -> None:
    """Add a user. Without role and groups they may do nothing."""
    from calldex.admin.users import NewUser, create_user
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        user = control.do(create_user, NewUser(email=email, **described), account=account)
    output.say(f"Added {user.email} to the account {account}; `calldex keys create {user.email}` gives them a key.")


@users.command("list", epilog="Example: calldex users list --account main")
@options.one_account
@options.as_json
@options.data
def list_users(account: str | None, as_json: bool, data: Path | None) -> None:
    """Show users, the disabled ones as well."""
    from calldex.admin.users import UserList
    from calldex.admin.users import list_users as listed
    from calldex.cli.client import connected

    with connected(data) as control:
        accounts = [account] if account else control.accounts()
        found = [user for name in accounts for user in control.every(listed, UserList(), account=name)]
    if as_json:
        output.json(found)
        return
    headings = ("email", "name", "groups", "account", "timezone", "extension", "agent id", "disabled")
    rows = [
        (
            *(user.email, user.name, _groups_of(user), user.account, user.effective_timezone),
            *(user.extension, user.agent_id, output.moment(user.disabled_at)),
        )
        for user in found
    ]
    output.table(headings, rows, right=("agent id",))


@users.command("show", epilog="Example: calldex users show ana@example.com")
@click.argument("email", help="E-mail address of the user.")
@options.as_json
@options.data
def show_user(email: str, as_json: bool, data: Path | None) -> None:
    """Show a user."""
    from calldex.admin.users import show_user as shown
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        user = control.do(shown, Nothing(), subject=email)
    if as_json:
        output.json(user)
        return
    fields = msgspec.structs.asdict(user) | {
        "created_at": output.moment(user.created_at),
        "disabled_at": output.moment(user.disabled_at),
    }
    hidden = ("id", "email", "disabled")
    rows = [(name.replace("_", " "), value) for name, value in fields.items() if name not in hidden]
    output.table(["user", user.email], rows)


@users.command(
    "set",
    epilog="""\b
Examples:
  calldex users set ana@example.com --role analyst
  calldex users set bo@example.com --team Sales --team 'Second line'
  calldex users set bo@example.com --role '' --group 'Sales history'
""",
)
@click.argument("email", help="E-mail address of the user.")
@click.option("--name", callback=options.given, metavar="TEXT", help="Display name, as records call an agent.")
@click.option("--email", "new_email", callback=options.given, metavar="EMAIL", help="Their new e-mail address.")
@_described
@options.data
def set_user(email: str, new_email: str | UnsetType, data: Path | None, **described: Any) -> None:
    """Change a user.

    What is not given stays, and an empty text takes away. Groups, skills and teams replace those they have.
    """
    from calldex.admin.users import change_user
    from calldex.cli.client import connected
    from calldex.directory import UserChanges

    with connected(data) as control:
        user = control.do(change_user, UserChanges(email=new_email, **described), subject=email)
    output.say(f"Changed {user.email}.")


@users.command("remove", epilog="Example: calldex users remove ana@example.com")
@click.argument("email", help="E-mail address of the user.")
@options.data
def remove_user(email: str, data: Path | None) -> None:
    """Remove a user with their keys; their records stay."""
    from calldex.admin.users import remove_user as removed
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        control.do(removed, Nothing(), subject=email)
    output.say(f"Removed {email}; their keys do not work any more, their records stay.")


@users.command("disable", epilog="Example: calldex users disable ana@example.com")
@click.argument("email", help="E-mail address of the user.")
@options.data
def disable_user(email: str, data: Path | None) -> None:
    """Let none of a user's keys work from now on."""
    _enable(email, False, data)
    output.say(f"The keys of {email} do not work any more.")


@users.command("enable", epilog="Example: calldex users enable ana@example.com")
@click.argument("email", help="E-mail address of the user.")
@options.data
def enable_user(email: str, data: Path | None) -> None:
    """Let a disabled user's keys work again, but for the revoked ones."""
    _enable(email, True, data)
    output.say(f"The keys of {email} work again.")


def _enable(email: str, enabled: bool, data: Path | None) -> None:
    from calldex.admin.users import change_user
    from calldex.cli.client import connected
    from calldex.directory import UserChanges

    with connected(data) as control:
        control.do(change_user, UserChanges(disabled=not enabled), subject=email)


def _groups_of(user: ShownUser) -> tuple[str, ...]:
    """The names of all of a user's groups, that of the role first."""
    return (*(() if user.role is None else (ROLES[user.role].name,)), *user.groups)


@users.command(
    "import",
    epilog="""\b
Example: calldex users import people.csv

\b
  email,name,role,groups,teams
  ana@example.com,Ana Ruiz,supervisor,,
  bo@example.com,Bo,agent,Sales history,Sales;Second line
""",
)
@click.argument("file", type=click.File("rb"), help="A CSV file; - is standard input.")
@options.account
@options.data
def import_users(file: IO[bytes], account: str, data: Path | None) -> None:
    """Add and change the users that a CSV file lists; all of them, or none.

    Its first line names the columns: email, and any of name, role, groups, timezone, extension, sip_account, caller_id,
    skills, agent_id, teams, supervises. Several values of a cell are separated by semicolons. A missing column changes
    nothing, an empty cell takes away.
    """
    from calldex.admin.users import import_users as imported
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        done = control.do(imported, options.small_file(file), account=account)
    output.say(f"Users added: {done.added}, changed: {done.changed}, unchanged: {done.unchanged}.")
