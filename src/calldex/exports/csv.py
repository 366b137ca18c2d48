"""CSV, for machines (`csv`) and for people with a spreadsheet (`csv-excel`). One writer makes both.

`csv` is exact: RFC 4180, UTF-8, each value as the API serves it, what is nested as JSON text. `csv-excel` begins with a
byte order mark, tells times in the reader's zone (which its headings name), and defuses cells that a spreadsheet would
run: those whose text begins with `=`, `+`, `-`, `@`, a tab or a line end get an apostrophe before it, unless they are
numbers (as of telephones, or below zero), which stay as they are. See OWASP's CSV injection.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from calldex.exports.columns import Cell, Column, Kind, Layout, flat
from calldex.records.record import to_ms

_RUNS: Final = re.compile(r"[\s\x00]*[=+\-@\t\r\n\x00\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9 .,()-]*")
_SAFE_TO_BEGIN: Final = re.compile(r"[^\s\x00=+\-@\uff1d\uff0b\uff0d\uff20]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Csv:
    """Writes exact CSV."""

    def __init__(self, layout: Layout) -> None:
        self._columns = layout.columns
        self._rows = flat(layout.columns, False) if layout.times == "utc" else _timed(layout)
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)

    def begin(self) -> bytes:
        """The headings."""
        self._writer.writerow([column.name for column in self._columns])
        return self._written()

    def add(self, records: bytes) -> bytes:
        """A row each."""
        self._writer.writerows(self._rows(records))
        return self._written()

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Nothing is held."""

    def _written(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(self._text.truncate(0))
        return text.encode()


class CsvExcel(Csv):
    """Writes CSV for people."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._rows = flat(layout.columns, True)
        self._zone = ZoneInfo(layout.timezone)
        self._timezone = layout.timezone

    def begin(self) -> bytes:
        """The byte order mark and the headings."""
        self._writer.writerow([heading(column, self._timezone) for column in self._columns])
        return b"\xef\xbb\xbf" + self._written()

    def add(self, records: bytes) -> bytes:
        """A row each."""
        zone = self._zone
        self._writer.writerows(
            [
                None if cell is None else _local(cell, zone) if isinstance(cell, datetime) else defused(cell)
                for cell in row
            ]
            for row in self._rows(records)
        )
        return self._written()


def _timed(layout: Layout) -> Callable[[bytes], list[list[Cell]]]:
    """What reads records as rows whose times are local, or epoch milliseconds."""
    rows, zone = flat(layout.columns, True), ZoneInfo(layout.timezone)

    def local(at: datetime) -> Cell:
        return at.astimezone(zone).replace(tzinfo=None).isoformat(timespec="milliseconds")

    made = to_ms if layout.times == "epoch_ms" else local
    return lambda records: [
        [made(cell) if isinstance(cell, datetime) else cell for cell in row] for row in rows(records)
    ]


def last_row(records: int, digest: str) -> bytes:
    """The comment that says that the file is whole."""
    return b"#end,%d,%b\r\n" % (records, digest.encode())


def heading(column: Column, timezone: str) -> str:
    """What stands over a column for people: of times, with their zone."""
    return f"{column.name} ({timezone})" if column.kind is Kind.INSTANT else column.name


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return str(instant.astimezone(zone))[:19]


def for_people(rows: Iterable[Iterable[Cell]], end: str = "\r\n") -> str:
    """Rows of a listing as CSV, each cell defused: what the command line and the audit write."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows([defused(cell) for cell in row] for row in rows)
    return text.getvalue()


def defused(cell: Cell) -> Cell:
    """A cell that no spreadsheet runs and no terminal obeys: control characters become the replacement character."""
    if not isinstance(cell, str) or not cell or (cell.isprintable() and _SAFE_TO_BEGIN.match(cell)):
        return cell
    cell = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", cell)
    return f"'{cell}" if _RUNS.match(cell) and not _NUMBER.fullmatch(cell) else cell
