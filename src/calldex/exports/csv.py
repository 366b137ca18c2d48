"""CSV, for machines (`csv`) and for people with a spreadsheet (`csv-excel`). One writer makes both.

`csv` is exact: RFC 4180, UTF-8, each value as the API serves it, texts in quotes, so that an empty one is not null, and
what is nested as JSON text. `csv-excel` begins with a byte order mark, tells times in the reader's zone (which its
headings name), and defuses cells that a spreadsheet would run: those whose text begins with `=`, `+`, `-`, `@`, a tab
or a line end get an apostrophe before it, unless they are numbers (as of telephones, or below zero), which stay as they
are. See OWASP's CSV injection.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from arro3.core import DataType

from calldex.exports.columns import Cell, Column, Kind, Layout, flat
from calldex.exports.reading import Reading
from calldex.records.record import to_ms

BOM: Final = "\ufeff"
"""By which a spreadsheet knows that a file is UTF-8."""
_RUNS: Final = re.compile(r"[\s\x00\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\n\x00\uff1d\uff0b\uff0d\uff20]")
"""Behind what nobody sees as well: programs that clean up what they open may drop it."""
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9 .,()-]*")
_SAFE_TO_BEGIN: Final = re.compile(r"[^\s\x00=+\-@\uff1d\uff0b\uff0d\uff20]")
_LINE_END: Final = re.compile(r"\r\n?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Csv:
    """Writes exact CSV."""

    def __init__(self, layout: Layout) -> None:
        self._columns = layout.columns
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)
        self._exact = Exact(layout.columns) if layout.times == "utc" else None
        self._rows = _timed(layout)

    def begin(self) -> bytes:
        """The headings."""
        self._writer.writerow([column.name for column in self._columns])
        return self._written()

    def convert(self, records: bytes) -> bytes:
        """Exact rows; else the records as they are."""
        return records if self._exact is None else self._exact.rows(records)

    def add(self, converted: bytes) -> bytes:
        """A row each."""
        if self._exact is not None:
            return converted
        self._writer.writerows(self._rows(converted))
        return self._written()

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Let go of what reads."""
        if self._exact is not None:
            self._exact.close()

    def _written(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(self._text.truncate(0))
        return text.encode()


class CsvExcel(Csv):
    """Writes CSV for people."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._exact = None
        self._rows = flat(layout.columns, True)
        self._zone = ZoneInfo(layout.timezone)
        self._timezone = layout.timezone

    def begin(self) -> bytes:
        """The byte order mark and the headings."""
        self._writer.writerow([heading(column, self._timezone) for column in self._columns])
        return BOM.encode() + self._written()

    def add(self, converted: bytes) -> bytes:
        """A row each."""
        zone = self._zone
        self._writer.writerows(
            [
                None if cell is None else _local(cell, zone) if isinstance(cell, datetime) else defused(cell)
                for cell in row
            ]
            for row in self._rows(converted)
        )
        return self._written()


class Exact:
    """Turns records into rows of these columns, as the API serves their values; in any thread. `close` it."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._cells = cell_by_cell(columns)
        self._reading = Reading({column.name: DataType.utf8() for column in columns})
        self._texts = [column.name for column in columns if column.kind in (Kind.TEXT, Kind.INSTANT)]
        self._numbers = [column.name for column in columns if column.kind is Kind.DECIMAL or column.name == "custom"]

    def rows(self, records: bytes) -> bytes:
        """The rows of records, their JSON a line each."""
        rows = self.at_once(records)
        return self._cells(records) if rows is None else rows

    def at_once(self, records: bytes) -> bytes | None:
        """The same, if what reads all of them at once surely writes what is served, which it does but for control
        characters and extreme numbers."""
        if b"\\" in records and b"\\u" in records:
            return None
        return self._reading.rows(records, self._texts, self._numbers)

    def close(self) -> None:
        """Let go of what reads."""
        self._reading.close()


_GAP: Final = b"\x1f"
"""Between cells, as long as they are JSON: which has no such character but escaped."""
_NESTED: Final = re.compile(rb"\x1f([\[{][^\x1f]*[\",][^\x1f]*)")


@lru_cache(maxsize=256)
def cell_by_cell(columns: tuple[Column, ...]) -> Callable[[bytes], bytes]:
    """What turns records, their JSON a line each, into rows of these columns.

    JSON without escapes is a cell already: texts in quotes, which none of their characters ends; numbers as they are.
    What is null becomes empty, and what is nested a text. Rows with escapes go cell by cell.
    """
    fields = [
        (f"c{number}", msgspec.Raw, msgspec.field(name=column.name, default=msgspec.Raw(b"null")))
        for number, column in enumerate(columns)
    ]
    decode = msgspec.json.Decoder(msgspec.defstruct("Cells", fields, gc=False)).decode_lines
    cells = msgspec.structs.astuple

    def rows(records: bytes) -> bytes:
        lines = map(_GAP.join, map(cells, decode(records)))
        if b"\\" not in records:
            return _plain(lines)
        parts = groupby(lines, lambda line: b"\\" in line)
        return b"".join(b"".join(map(_escaped, some)) if escaped else _plain(some) for escaped, some in parts)

    return rows


def _plain(lines: Iterable[bytes]) -> bytes:
    """Rows of cells without escapes, all at once."""
    text = b"\x1f%b\x1f" % b"\x1f\r\n\x1f".join(lines)
    for _ in range(2):  # of several in a row the first time takes every other one
        text = text.replace(b"\x1fnull\x1f", b"\x1f\x1f")
    text = _NESTED.sub(_as_text, text).replace(b"\x1f\r\n\x1f", b"\r\n")
    return text[1:-1].replace(_GAP, b",") + b"\r\n"


def _escaped(line: bytes) -> bytes:
    """A row cell by cell."""
    return b",".join(map(_cell, line.split(_GAP))) + b"\r\n"


def _cell(json: bytes) -> bytes:
    if json.startswith(b'"'):
        return b'"%b"' % msgspec.json.decode(json, type=str).replace('"', '""').encode()
    return b"" if json == b"null" else _NESTED.sub(_as_text, _GAP + json)[1:]


def _as_text(nested: re.Match[bytes]) -> bytes:
    return b'\x1f"%b"' % nested[1].replace(b'"', b'""')


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


def for_people(rows: Iterable[Iterable[Cell]], end: str = "\r\n", *, begins: bool) -> str:
    """Rows of a listing as CSV, each cell defused: what the command line and the audit write. `begins`: they are the
    first ones."""
    text = io.StringIO(newline="")
    text.write(BOM if begins else "")
    csv.writer(text, lineterminator=end).writerows([defused(cell) for cell in row] for row in rows)
    return text.getvalue()


def defused(cell: Cell) -> Cell:
    """A cell that no spreadsheet runs and no terminal obeys: control characters become the replacement character, and
    lines end in one way, since a carriage return that no quotes keep ends a row, and what follows begins a cell."""
    if not isinstance(cell, str) or not cell or (cell.isprintable() and _SAFE_TO_BEGIN.match(cell)):
        return cell
    cell = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _LINE_END.sub("\n", cell))
    return f"'{cell}" if _RUNS.match(cell) and not _NUMBER.fullmatch(cell) else cell
