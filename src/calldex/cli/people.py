"""`calldex accounts`, `users` and `keys`: who there is, and who may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from calldex.access import KeyScope, Role
from calldex.cli import options, output
from calldex.cli.command import Group

_ROLES: Final = ", ".join(Role.__args__)  # type: ignore[attr-defined]  # a Literal has them
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
    from calldex.api.operations import AddAccount
    from calldex.cli.client import connected

    with connected(data, new=True) as control:
        account = control.ask(AddAccount(name=name, timezone=timezone))
    output.say(f"Added the account {account.name}.")


@accounts.command("list", epilog="Example: calldex accounts list --json")
@options.as_json
@options.data
def list_accounts(as_json: bool, data: Path | None) -> None:
    """Show every account."""
    from calldex.api.operations import ListAccounts
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListAccounts())
    if as_json:
        output.json(found)
    else:
        output.table(["name", "timezone"], [[each.name, each.timezone or "UTC"] for each in found])


# --- users ------------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def users() -> None:
    """People of an account; their keys open the API."""


@users.command(
    "add", epilog="Example: calldex users add ana@example.com --name 'Ana Ruiz' --role admin --timezone Europe/Madrid"
)
@click.argument("email", help="E-mail address of the user.")
@click.option("--name", required=True, metavar="TEXT", help="Display name, as records call an agent.")
@click.option("--role", required=True, metavar="ROLE", help=f"What he may do: {_ROLES}.")
@click.option("--timezone", metavar="ZONE", help="IANA name of the zone in which his days are cut; else the account's.")
@click.option("--extension", metavar="TEXT", help="The extension of his telephone.")
@options.account
@options.data
def add_user(
    *,
    email: str,
    name: str,
    role: str,
    timezone: str | None,
    extension: str | None,
    account: str,
    data: Path | None,
) -> None:
    """Add a user."""
    from calldex.api.operations import AddUser
    from calldex.cli.client import connected

    wanted = AddUser(email=email, name=name, role=role, timezone=timezone, extension=extension, account=account)
    with connected(data, new=True) as control:
        user = control.ask(wanted)
    output.say(f"Added {user.email} to the account {user.account}; `calldex keys create {user.email}` gives him a key.")


@users.command("list", epilog="Example: calldex users list --account main")
@options.one_account
@options.as_json
@options.data
def list_users(account: str | None, as_json: bool, data: Path | None) -> None:
    """Show users, the disabled ones as well."""
    from calldex.api.operations import ListUsers
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListUsers(account=account))
    if as_json:
        output.json(found)
        return
    headings = ("email", "name", "role", "account", "timezone", "extension", "agent id", "disabled")
    rows = [
        (
            *(user.email, user.name, user.role, user.account, user.effective_timezone),
            *(user.extension, user.agent_id, output.moment(user.disabled_at)),
        )
        for user in found
    ]
    output.table(headings, rows, right=("agent id",))


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
    from calldex.api.operations import EnableUser
    from calldex.cli.client import connected

    with connected(data) as control:
        control.ask(EnableUser(email=email, enabled=enabled))


# --- keys -------------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def keys() -> None:
    """User API keys: what programs show to be let in."""


@keys.command(
    "create",
    epilog="""\b
Examples:
  calldex keys create ana@example.com
  KEY=$(calldex keys create ana@example.com --scope ingest)
""",
)
@click.argument("email", help="E-mail address of the user.")
@click.option("--scope", default="read", show_default=True, metavar=_SCOPES, help="What the key is for.")
@options.data
def create_key(email: str, scope: str, data: Path | None) -> None:
    """Make a key for a user and print it, alone.

    It can be seen this once; only a hash of it is kept.
    """
    from calldex.api.operations import CreateKey
    from calldex.cli.client import connected

    with connected(data) as control:
        click.echo(control.ask(CreateKey(email=email, scope=scope)))


@keys.command("list", epilog="Example: calldex keys list --user ana@example.com")
@click.option("--user", "email", metavar="EMAIL", help="Only the keys of this user.")
@options.as_json
@options.data
def list_keys(email: str | None, as_json: bool, data: Path | None) -> None:
    """Show keys by their beginnings, the revoked ones as well."""
    from calldex.api.operations import ListKeys
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.ask(ListKeys(email=email))
    if as_json:
        output.json(found)
        return
    headings = ("id", "prefix", "scope", "user", "created", "last used", "revoked")
    rows = [
        (
            *(key.id, key.prefix, key.scope, key.email),
            *map(output.moment, (key.created_at, key.last_used_at, key.revoked_at)),
        )
        for key in found
    ]
    output.table(headings, rows, right=("id",))


@keys.command("revoke", epilog="Example: calldex keys revoke 3")
@click.argument("key", help="The key itself, its first 8 characters, or its id.")
@options.data
def revoke_key(key: str, data: Path | None) -> None:
    """Make a key useless at once.

    KEY is its id or its prefix, as `calldex keys list` shows them, or the key itself.
    """
    from calldex.api.operations import RevokeKey
    from calldex.cli.client import connected

    with connected(data) as control:
        revoked = control.ask(RevokeKey(reference=key))
    output.say(f"Revoked the {revoked.scope} key {revoked.prefix}... of {revoked.email}.")
