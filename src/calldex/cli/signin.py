"""`calldex users password`, `sessions` and `openid`: how people sign in.

Secrets are read from a prompt or from standard input, never from an argument: those are seen by others, and kept.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import click

from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.cli.users import users
from calldex.errors import BadParameters, Problem

_SECRET_LIMIT: Final = 10_000


def secret_of(prompt: str, *, twice: bool = False) -> str:
    """A secret from the terminal, or else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))
    return sys.stdin.readline(_SECRET_LIMIT).rstrip("\r\n")


@users.command(
    "password",
    epilog="""\b
Examples:
  calldex users password ana@example.com
  pwgen 20 1 | tee /dev/stderr | calldex users password ana@example.com
""",
)
@click.argument("email", help="E-mail address of the user.")
@options.data
def set_password(email: str, data: Path | None) -> None:
    """Give a user a password, and end their sessions.

    It is asked for, or read from standard input: 12 to 256 characters, not their e-mail address or a part of it.
    Whether it is a common one is not looked up.
    """
    from calldex.admin.signin import UserPassword
    from calldex.admin.signin import set_password as set_
    from calldex.cli.client import connected

    password = secret_of("New password", twice=True)
    with connected(data) as control:
        ended = control.do(set_, UserPassword(password), subject=email).sessions
    output.say(f"{email} has a new password; {ended} of their sessions ended.")


# --- sessions ---------------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def sessions() -> None:
    """Where people are signed in."""


@sessions.command("list", epilog="Example: calldex sessions list ana@example.com")
@click.argument("email", required=False, help="Only those of the user with this e-mail address.")
@options.as_json
@options.data
def list_sessions(email: str | None, as_json: bool, data: Path | None) -> None:
    """Show sessions, the newest first."""
    from calldex.admin.signin import SessionList, list_user_sessions
    from calldex.cli.client import connected

    with connected(data) as control:
        if email is not None:
            found = control.every(list_user_sessions, SessionList(user=email), subject=email)
        else:
            every = [control.every(list_user_sessions, SessionList(), account=name) for name in control.accounts()]
            found = sorted((session for some in every for session in some), key=lambda session: -session.id)
    if as_json:
        output.json(found)
        return
    headings = ("id", "user", "created", "last used", "expires", "address", "client")
    rows = [
        (
            *(each.id, each.user),
            *map(output.moment, (each.created_at, each.last_used_at, each.expires_at)),
            *(each.address, each.client),
        )
        for each in found
    ]
    output.table(headings, rows, right=("id",))


@sessions.command("end", epilog="Example: calldex sessions end 3")
@click.argument("id", type=click.IntRange(1, 2**53 - 1), help="Id of the session, as `calldex sessions list` shows it.")
@options.data
def end_session(id: int, data: Path | None) -> None:  # noqa: A002 - what it is called
    """Sign somebody out at once."""
    from calldex.admin.signin import end_user_session, show_user_session
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        ended = control.do(show_user_session, Nothing(), subject=str(id))
        control.do(end_user_session, Nothing(), subject=str(id))
    output.say(f"Ended the session {ended.id} of {ended.user}.")


# --- OpenID Connect ---------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def openid() -> None:
    """Sign in by the provider that the company has (OpenID Connect).

    People begin at /openid/start?account=NAME; register /openid/callback, behind the address that they use, as redirect
    URI with the provider.
    """


@openid.command(
    "set",
    epilog="""\b
Example:
  calldex openid set --issuer https://id.example.com --client-id calldex --claim groups
      --map calldex-admins=admin --map 'contact centre=analyst' < secret.txt
""",
)
@click.option("--issuer", required=True, metavar="URL", help="The provider, as it calls itself.")
@click.option("--client-id", required=True, metavar="ID", help="What Calldex is called there.")
@click.option("--claim", required=True, metavar="NAME", help="The claim that says what somebody is, such as groups.")
@click.option(
    "--map",
    "groups",
    required=True,
    multiple=True,
    metavar="VALUE=GROUP",
    help="A value of the claim, and the role or group that it stands for; as often as needed.",
)
@options.account
@options.data
def set_openid(
    *, issuer: str, client_id: str, claim: str, groups: tuple[str, ...], account: str, data: Path | None
) -> None:
    """Set the provider of an account, in place of the one it has.

    The client secret is asked for, or read from standard input. At each sign-in the role and the groups of a user
    become exactly those that their values of the claim stand for; who has none of these is not let in.
    """
    from calldex.admin.signin import Provider
    from calldex.admin.signin import set_openid as set_
    from calldex.cli.client import connected

    mapped: dict[str, list[str]] = defaultdict(list)
    for given in groups:
        value, is_pair, group = given.rpartition("=")
        if not is_pair:
            raise BadParameters([Problem("groups", given[:100], "has no =", "VALUE=GROUP")])
        mapped[value].append(group)
    secret = secret_of("Client secret")
    wanted = Provider(
        issuer=issuer,
        client_id=client_id,
        client_secret=secret,
        claim=claim,
        groups={value: tuple(names) for value, names in mapped.items()},
    )
    with connected(data) as control:
        control.do(set_, wanted, account=account)
    output.say(f"The people of the account {account} sign in at /openid/start?account={account}.")


@openid.command("show", epilog="Example: calldex openid show --account north")
@options.account
@options.as_json
@options.data
def show_openid(account: str, as_json: bool, data: Path | None) -> None:
    """Show the provider of an account, without its secret."""
    from calldex.admin.signin import show_openid as shown
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        found = control.do(shown, Nothing(), account=account)
    if as_json:
        output.json(found)
        return
    output.say(f"{found.issuer}, client {found.client_id}")
    output.table([found.claim, "role or group"], [[value, ", ".join(names)] for value, names in found.groups.items()])


@openid.command("remove", epilog="Example: calldex openid remove")
@options.account
@options.data
def remove_openid(account: str, data: Path | None) -> None:
    """Forget the provider of an account; sessions that it began go on."""
    from calldex.admin.signin import remove_openid as removed
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        control.do(removed, Nothing(), account=account)
    output.say(f"The people of the account {account} do not sign in by a provider any more.")
