"""`calldex accounts`: the contact centres of an installation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click
from msgspec import UNSET, UnsetType

from calldex.cli import options, output
from calldex.cli.command import Group
from calldex.records.vocabulary import Vocabulary

if TYPE_CHECKING:
    pass

_VOCABULARIES: Final = "|".join(get_args(Vocabulary))


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
