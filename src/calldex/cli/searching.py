"""`calldex search`: the API's filters as options, the records as a table, JSON Lines or CSV.

The options come from the table in `fields`; their values go to the node as they were typed, and `query` judges them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import msgspec

from calldex.cli import options, output
from calldex.cli.command import Command
from calldex.errors import UsageProblem
from calldex.records.fields import FIELDS
from calldex.search.query import MAX_PER_PAGE

_Record = dict[str, Any]
_TIMES: Final = ("timestamp", "started_at", "answered_at", "ended_at")

DEFAULT_LIMIT: Final = 100
_SHOWN: Final = (
    output.Column("timestamp", 25, 0),
    output.Column("type", 18, 7),
    output.Column("from", 15, 1),
    output.Column("to", 15, 2),
    output.Column("disposition", 17, 3),
    output.Column("duration", 9, 4),
    output.Column("agent", 20, 5),
    output.Column("queue", 20, 8),
    output.Column("uuid", 36, 6),
)
"""What a table shows of a record; the other forms show all of it. A terminal shows as much as it has room for, and the
end of the uuid, in which neighbours in time differ."""
_SHORT_UUID: Final = 8
_TABLE_ROWS: Final = 500
"""Rows of one table; more records come as several tables, so that memory does not grow with them."""


_EPILOG: Final = """\b
Examples:
  calldex search --type inbound --disposition abandoned,missed --start-date 2026-09-01
  calldex search --cli 4477 --min-duration 600 --limit 20
  calldex search --uuid 01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44 --format jsonl
  calldex search --all --format csv > everything.csv

Days are cut in --timezone, else in the account's zone, else in UTC; where it is given, table and CSV tell times in it,
with its offset. The size of the whole match goes to standard error.
"""


@click.command(cls=Command, epilog=_EPILOG)
@options.filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"How many records, newest first.  [default: {DEFAULT_LIMIT}]",
)
@click.option("--all", "everything", is_flag=True, help="All that match, however many.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("table", "jsonl", "csv")),
    default="table",
    show_default=True,
    help="How to print: `table` some of each record, the others all of it.",
)
@options.account
@options.data
def search(
    limit: int | None,
    everything: bool,
    format_: str,
    account: str,
    data: Path | None,
    **filters: str | None,
) -> None:
    """Find records and print them, newest first."""
    if everything and limit is not None:
        raise UsageProblem("--all and --limit contradict each other; give one of them")
    most = sys.maxsize if everything else limit or DEFAULT_LIMIT
    print_pages = _PRINT[format_]
    walk = _Walk(account, [(name, text) for name, text in filters.items() if text is not None], most)
    per_page = _TABLE_ROWS if format_ == "table" else MAX_PER_PAGE
    print_pages(walk.pages(data, per_page), filters.get("timezone"))
    output.say(f"{output.count(walk.total, 'record', 'match')}, {walk.printed:,} printed")


class _Walk:
    """A search from its first page on, until enough records have come."""

    def __init__(self, account: str, filters: Sequence[tuple[str, str]], most: int) -> None:
        self._account = account
        self._filters = filters
        self._most = most
        self.total = 0
        self.printed = 0

    def pages(self, data: Path | None, per_page: int) -> Iterator[list[msgspec.Raw]]:
        """The JSON of the records, page by page."""
        from calldex.api.owners_search import Search
        from calldex.cli.client import connected

        with connected(data) as control:
            token: str | None = ""
            while token is not None and self.printed < self._most:
                wanted = min(per_page, self._most - self.printed)
                paging = [("per_page", str(wanted)), ("search_token", token)]
                found = control.search(Search(account=self._account, parameters=[*self._filters, *paging]))
                records = msgspec.json.decode(found.records, type=list[msgspec.Raw])
                self.total, token = found.total, found.search_token
                self.printed += len(records)
                yield records


def _decoded(page: Sequence[msgspec.Raw], timezone: str | None) -> Iterator[_Record]:
    """The records of a page; their times as clocks of the zone that was asked for show them, with its offset."""
    zone = None if timezone is None else ZoneInfo(timezone)  # who answered knows it
    for record in page:
        decoded: _Record = msgspec.json.decode(record)
        if zone is not None:
            decoded |= {name: _shown_in(zone, decoded[name]) for name in _TIMES if decoded.get(name)}
        yield decoded


def _shown_in(zone: ZoneInfo, time: str) -> str:
    exact = "milliseconds" if "." in time else "seconds"
    return datetime.fromisoformat(time).astimezone(zone).isoformat(timespec=exact)


def _print_table(pages: Iterator[list[msgspec.Raw]], timezone: str | None) -> None:
    terminal = output.console()
    for page in pages:
        if page:
            headings, rows = table_of(_decoded(page, timezone), terminal.width if terminal.is_terminal else None)
            output.table(headings, rows, right=("duration",))


def table_of(records: Iterable[_Record], width: int | None) -> tuple[list[str], list[list[str]]]:
    """The headings and rows that show records within a width; without one, all columns whole."""
    rows = [[output.shown(record.get(column.heading)) for column in _SHOWN] for record in records]
    if width is None:
        return [column.heading for column in _SHOWN], rows
    for row in rows:
        row[-1] = f"…{row[-1][-_SHORT_UUID:]}"
    return output.fitting(_SHOWN, rows, width)


def _print_jsonl(pages: Iterator[list[msgspec.Raw]], _: str | None) -> None:
    for page in pages:
        click.echo(b"".join(bytes(record) + b"\n" for record in page), nl=False)


def _print_csv(pages: Iterator[list[msgspec.Raw]], timezone: str | None) -> None:
    """A column for each field; what is not a plain value stands there as JSON. It is for people, so what a spreadsheet
    would run or a terminal obey is defused; exact CSV is an export's."""
    from calldex.exports.csv import for_people

    names = [field.name for field in FIELDS]
    click.echo(for_people([names], "\n", begins=True).encode(), nl=False)
    for page in pages:
        rows = ([_cell(record.get(name)) for name in names] for record in _decoded(page, timezone))
        click.echo(for_people(rows, "\n", begins=False).encode(), nl=False)


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict | bool) else value


_PRINT: Final[Mapping[str, Callable[[Iterator[list[msgspec.Raw]], str | None], None]]] = {
    "table": _print_table,
    "jsonl": _print_jsonl,
    "csv": _print_csv,
}
