"""`calldex audit`: who did what, and whether what is told of it is as it was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from calldex.cli import options, output
from calldex.cli.command import Group

if TYPE_CHECKING:
    from calldex.audit.chain import Entry

_FOUND: Final = 1
_LISTED: Final = 100
_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILTERS: Final = (
    click.option("--from", "begin", metavar="INSTANT", help="First instant, as 2026-01-31T08:00:00Z."),
    click.option("--to", "end", metavar="INSTANT", help="Last instant, excluded."),
    click.option("--actor", metavar="EMAIL", help="Who acted; also `owner` and `calldex`."),
    click.option("--action", metavar="WORD", help="What was done, such as search, export or key_created."),
    click.option("--target", metavar="TEXT", help="Whom or what it was done to."),
    options.one_account,
)


def _filters(command: _Command) -> _Command:
    """The options that choose entries."""
    return reduce(lambda decorated, option: option(decorated), reversed(_FILTERS), command)


AT_ONCE: Final = 10_000
"""Entries of one question; `admin.care.MOST_ENTRIES` is the most."""


@click.group(cls=Group)
def audit() -> None:
    """Who searched, exported, signed in and changed what."""


@audit.command(
    "list",
    epilog="""\b
Examples:
  calldex audit list --actor ana@example.com
  calldex audit list --action export --from 2026-01-01T00:00:00Z --limit 1000
""",
)
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LISTED,
    show_default=True,
    metavar="N",
    help="How many entries, newest first.",
)
@options.as_json
@options.data
def list_entries(*, limit: int, as_json: bool, data: Path | None, **filters: str | None) -> None:
    """Show entries, newest first."""
    found = [entry for some in _pages(data, filters, limit) for entry in some]
    if as_json:
        from calldex.api.audit import shown

        output.json([shown(entry) for entry in found])
        return
    headings = ("n", "at", "actor", "credential", "address", "action", "target", "rows", "status", "detail")
    rows = [
        (
            *(each.n, output.moment(each.at_ms), each.actor, each.credential, each.address),
            *(each.action, each.target, each.rows, each.status, _detail(each)),
        )
        for each in found
    ]
    output.table(headings, rows, right=("n", "rows"))


@audit.command("export", epilog="Example: calldex audit export audit-2026-01.csv --from 2026-01-01T00:00:00Z")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE", help="The new file.")
@_filters
@options.data
def export_entries(*, file: Path, data: Path | None, **filters: str | None) -> None:
    """Write entries to a new CSV file, newest first."""
    from calldex.api.audit import csv_of

    count = 0
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:  # noqa: PTH123 - a descriptor
        try:
            for some in _pages(data, filters, None):
                written.write(csv_of(some, head=not count).encode())
                count += len(some)
        except BaseException:
            file.unlink()
            raise
    output.say(f"Wrote {output.many(count, 'entry', 'entries')} to {file}.")


@audit.command("head", epilog="Example: calldex audit head >> /mnt/elsewhere/calldex-audit-heads")
@options.data
def head(data: Path | None) -> None:
    """Print number and hash of the newest entry.

    Kept where whoever can write the database cannot, it shows later that nothing up to it was changed: give it to
    `calldex audit verify --expect`.
    """
    from calldex.admin.care import head_of_audit
    from calldex.admin.verb import Nothing
    from calldex.cli.client import connected

    with connected(data) as control:
        click.echo(str(control.do(head_of_audit, Nothing())))


@audit.command(
    "verify",
    epilog="""\b
Examples:
  calldex audit verify
  calldex audit verify --expect "$(tail -n 1 /mnt/elsewhere/calldex-audit-heads)"
""",
)
@click.option("--expect", metavar="N:HASH", help="What `audit head` printed, or the log had as `audit_head`.")
@options.as_json
@options.data
def verify(expect: str | None, as_json: bool, data: Path | None) -> None:
    """Look for entries that were altered, removed, inserted or moved.

    Exit code 1 if there are any. Whoever can write the database can also make the whole chain again, without a fault:
    only --expect shows that, with a hash that was kept elsewhere.
    """
    from calldex.admin.care import Expected, verify_audit
    from calldex.audit.chain import Link
    from calldex.cli.client import connected

    expected = None if expect is None else Link.parse(expect)
    with connected(data) as control:
        found = control.do(verify_audit, Expected(expected))
    if as_json:
        output.json(found)
    else:
        for fault in found.faults:
            click.echo(f"entry {fault.n} {fault.what}")
        more = " or more" if found.more else ""
        kept = f"entries {found.first:,} to {found.last:,}" if found.first <= found.last else "no entries"
        click.echo(f"{kept}: {f'{len(found.faults)}{more} faults' if found.faults else 'all as they were written'}")
    if found.faults:
        raise click.exceptions.Exit(_FOUND)


def _pages(data: Path | None, filters: dict[str, str | None], limit: int | None) -> Iterator[list[Entry]]:
    """The entries that are meant, newest first; without a limit, all."""
    from calldex.admin.care import EntryList
    from calldex.admin.care import list_entries as listed
    from calldex.api.audit import instant
    from calldex.cli.client import connected
    from calldex.directory import AuditFilter

    wanted = AuditFilter(
        from_ms=instant("--from", filters["begin"]),
        to_ms=instant("--to", filters["end"]),
        actor=filters["actor"],
        action=filters["action"],
        target=filters["target"],
    )
    with connected(data) as control:
        left = limit
        while left != 0:
            most = AT_ONCE if left is None else min(left, AT_ONCE)
            some = control.do(listed, EntryList(account=filters["account"], wanted=wanted, limit=most))
            yield some
            if len(some) < most:
                return
            left = None if left is None else left - most
            wanted = msgspec.structs.replace(wanted, before=some[-1].n)


def _detail(entry: Entry) -> str:
    return ", ".join(f"{name}: {value}" for name, value in entry.detail.items())
