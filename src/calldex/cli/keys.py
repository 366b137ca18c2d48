"""`calldex keys`: what programs ask with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

from calldex.access import KeyScope
from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.errors import BadParameters, Problem
from calldex.records.record import from_ms, to_ms
from calldex.records.vocabulary import Vocabulary

if TYPE_CHECKING:
    pass

_VOCABULARIES: Final = "|".join(get_args(Vocabulary))
_SCOPES: Final = "|".join(get_args(KeyScope))


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

    given = {"scopes": scopes, "networks": networks, "vocabulary": vocabulary}  # words that the verb looks at
    new = NewKey(user=email, expires_at=None if expires_at is None else from_ms(expires_at), **given)  # type: ignore[arg-type]  # likewise
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
