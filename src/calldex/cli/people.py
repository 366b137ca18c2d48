"""`calldex accounts`, `users` and `keys`: who there is, and who may ask."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, get_args

import click
import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import ROLES, KeyScope, Role
from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.errors import BadParameters, Problem
from calldex.records.record import from_ms, to_ms
from calldex.records.vocabulary import Vocabulary

if TYPE_CHECKING:
    from calldex.admin.users import ShownUser

_ROLES: Final = ", ".join(Role.__args__)  # type: ignore[attr-defined]  # a Literal has them
_VOCABULARIES: Final = "|".join(get_args(Vocabulary))
_SCOPES: Final = "|".join(KeyScope.__args__)  # type: ignore[attr-defined]


# --- accounts ---------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def accounts() -> None:
    """Contact centres that see nothing of each other.

    There is always the account `main`, so one contact centre needs no other.
    """


@accounts.command("add", epilog="Example: calldex accounts add north --timezone Europe/London")
@click.argument("name", help="Name of the account.")
@click.option("--timezone", metavar="ZONE", help="IANA name of the zone in which days are cut; else UTC.")
@options.data
def add_account(name: str, timezone: str | None, data: Path | None) -> None:
    """Add an account."""
    from calldex.admin.care import NewAccount, create_account
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        account = control.do(create_account, NewAccount(name=name, timezone=timezone))
    output.say(f"Added the account {account.name}.")


@accounts.command("list", epilog="Example: calldex accounts list --json")
@options.as_json
@options.data
def list_accounts(as_json: bool, data: Path | None) -> None:
    """Show every account."""
    from calldex.admin.care import list_accounts as listed
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.do(listed, Nothing())
    if as_json:
        output.json(found)
    else:
        rows = [
            (a.name, a.timezone or "UTC", a.sensitive, "yes" if a.agents_see_own else "no", a.vocabulary) for a in found
        ]
        output.table(["name", "timezone", "sensitive fields", "agents see their own", "vocabulary"], rows)


@accounts.command(
    "set",
    epilog="""\b
Examples:
  calldex accounts set main --sensitive comment --sensitive tags
  calldex accounts set main --no-agents-see-own
  calldex accounts set main --vocabulary compatible
""",
)
@click.argument("name", help="Name of the account.")
@click.option(
    "--timezone",
    metavar="ZONE",
    callback=options.emptied,
    help="IANA name of the zone in which days are cut; else UTC.",
)
@click.option(
    "--sensitive",
    multiple=True,
    metavar="FIELD",
    callback=options.listed,
    help="A field of records that only those see who may see sensitive ones; may be given several times.",
)
@click.option(
    "--agents-see-own/--no-agents-see-own", default=None, help="Whether those of the role agent see their own records."
)
@click.option(
    "--vocabulary",
    metavar=_VOCABULARIES,
    help="By which words replies call kinds of interactions, where a key has no vocabulary of its own.",
)
@options.data
def set_account(
    *,
    name: str,
    timezone: str | UnsetType | None,
    sensitive: tuple[str, ...] | UnsetType,
    agents_see_own: bool | None,
    vocabulary: str | None,
    data: Path | None,
) -> None:
    """Change an account; what is not given stays, and an empty text takes away."""
    from calldex.admin.account import AccountChanges, change_account
    from calldex.cli.client import connected

    see_own = UNSET if agents_see_own is None else agents_see_own
    changes = AccountChanges(
        timezone=timezone,
        sensitive=sensitive,
        agents_see_own=see_own,
        vocabulary=UNSET if vocabulary is None else vocabulary,  # type: ignore[arg-type]  # looked at by the verb
    )
    with connected(data) as control:
        control.do(change_account, changes, account=name)
    output.say(f"Changed the account {name}.")


# --- users ------------------------------------------------------------------------------------------------------------


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


# --- keys -------------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def keys() -> None:
    """User API keys: what programs show to be let in."""


def _expiry(context: click.Context, option: click.Parameter, given: str | None) -> int | None:
    """The epoch millisecond at which a day ends, or that of an instant."""
    if given is None:
        return None
    try:
        if len(given) == len("2027-01-31"):
            day = date.fromisoformat(given)
            return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1))
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is None:
            raise ValueError("it has no offset")
        return to_ms(moment)
    except (ValueError, OverflowError) as error:
        raise BadParameters(
            [Problem("--expires", given[:100], f"is no day: {error}", "2027-01-31, or 2027-01-31T18:00:00+01:00")]
        ) from None


@keys.command(
    "create",
    epilog="""\b
Examples:
  calldex keys create ana@example.com
  KEY=$(calldex keys create ana@example.com --scope ingest)
  calldex keys create bi@example.com --scope read --expires 2027-01-31 --network 10.0.0.0/8
""",
)
@click.argument("email", help="E-mail address of the user.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default=True,
    metavar=_SCOPES,
    help=f"What the key is for; {options.SEVERAL}.",
)
@click.option(
    "--expires",
    "expires_at",
    callback=_expiry,
    metavar="DATE",
    help="The last day on which it works (UTC), or the moment it ends; else it works until it is revoked.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    help=f"A network from which it may be used; {options.SEVERAL}. Else from everywhere.",
)
@click.option(
    "--vocabulary",
    metavar=_VOCABULARIES,
    help="By which words its replies call kinds of interactions; else by those of the account.",
)
@options.data
def create_key(
    *,
    email: str,
    scopes: tuple[str, ...],
    expires_at: int | None,
    networks: tuple[str, ...],
    vocabulary: str | None,
    data: Path | None,
) -> None:
    """Make a key for a user and print it, alone.

    It can be seen this once; only a hash of it is kept.
    """
    from calldex.admin.keys import NewKey
    from calldex.admin.keys import create_key as created
    from calldex.cli.client import connected

    given = {"scopes": scopes, "networks": networks, "vocabulary": vocabulary}  # looked at by the verb
    new = NewKey(user=email, expires_at=None if expires_at is None else from_ms(expires_at), **given)  # type: ignore[arg-type]
    with connected(data) as control:
        click.echo(control.do(created, new, subject=email).key)


@keys.command("list", epilog="Example: calldex keys list --user ana@example.com")
@click.option("--user", "email", metavar="EMAIL", help="Only the keys of this user.")
@options.as_json
@options.data
def list_keys(email: str | None, as_json: bool, data: Path | None) -> None:
    """Show keys by their beginnings, the revoked ones as well."""
    from calldex.admin.keys import KeyList
    from calldex.admin.keys import list_keys as listed
    from calldex.cli.client import connected

    with connected(data) as control:
        if email is not None:
            found = control.every(listed, KeyList(user=email), subject=email)
        else:
            found = [key for name in control.accounts() for key in control.every(listed, KeyList(), account=name)]
    if as_json:
        output.json(found)
        return
    headings = (
        "id",
        "prefix",
        "scopes",
        "user",
        "networks",
        "created",
        "last used",
        "expires",
        "revoked",
        "vocabulary",
    )
    rows = [
        (
            *(key.id, key.prefix, key.scopes, key.user, key.networks),
            *map(output.moment, (key.created_at, key.last_used_at, key.expires_at, key.revoked_at)),
            key.vocabulary,
        )
        for key in found
    ]
    output.table(headings, rows, right=("id",))


@keys.command("set", epilog="Example: calldex keys set 3 --vocabulary compatible")
@click.argument("key", help="The key itself, its first 8 characters, or its id.")
@click.option(
    "--vocabulary",
    required=True,
    metavar=_VOCABULARIES,
    help="By which words its replies call kinds of interactions; an empty text: by those of the account.",
)
@options.data
def set_key(key: str, vocabulary: str, data: Path | None) -> None:
    """Change the words of a key's replies.

    `documented` are those of the CDR API's documents, `compatible` those that its real replies were seen to have.
    Walks that the key has begun have to begin again.
    """
    from calldex.admin.keys import KeyChanges, change_key
    from calldex.cli.client import connected

    changes = KeyChanges(vocabulary=vocabulary or None)  # type: ignore[arg-type]  # looked at by the verb
    with connected(data) as control:
        changed = control.do(change_key, changes, subject=key)
    output.say(f"Changed the key {changed.prefix}... of {changed.user}.")


@keys.command("revoke", epilog="Example: calldex keys revoke 3")
@click.argument("key", help="The key itself, its first 8 characters, or its id.")
@options.data
def revoke_key(key: str, data: Path | None) -> None:
    """Make a key useless at once.

    KEY is its id or its prefix, as `calldex keys list` shows them, or the key itself.
    """
    from calldex.admin.keys import revoke_key as revoke
    from calldex.admin.keys import show_key
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        revoked = control.do(show_key, Nothing(), subject=key)
        control.do(revoke, Nothing(), subject=str(revoked.id))
    output.say(f"Revoked the {' and '.join(revoked.scopes)} key {revoked.prefix}... of {revoked.user}.")
