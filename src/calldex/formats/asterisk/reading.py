"""Bytes of Asterisk's files become rows: of `Master.csv` (cdr_csv, cdr_custom) and of `queue_log`.

First station of a record on its way in: `calls` makes calls of the rows. A row is one path between two channels, or
one queue event; it is never a call by itself and nothing is decided about calls here. This module opens no file, knows
no zone, and never raises on input.

Both kinds of file are read by one reader. A stream is a queue_log if a line of that form (`epoch|callid|queue|agent|
event|...`) comes before any CDR row, else CSV.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from calldex.formats import LINE_LIMIT, UNFINISHED
from calldex.formats.asterisk.kinds import SUPPORTED, Kind, kind_of
from calldex.formats.asterisk.links import ANY_CHANNEL, ID_LENGTH, cdr_links, queue_links
from calldex.formats.asterisk.rows import UNIQUEID, CdrRow, QueueRow, epoch_of
from calldex.formats.asterisk.settings import COLUMNS, SKIPPED, AsteriskSettings, local_time
from calldex.records.record import CallRow, Rejected, is_decimal

_BOM: Final = b"\xef\xbb\xbf"
_QUEUE_LINE: Final = re.compile(rb"\d{1,11}\|[^|]*\|[^|]*\|[^|]*\|[A-Za-z][0-9A-Za-z_-]*(?:\||\r?$)")
_RECORD_LINES: Final = 100
"""A value with more line breaks than this is a quote that was never closed."""
_SNIFFED_LINES: Final = 20
_FOREIGN_LINES: Final = 20
"""Of a file of another kind so many lines are kept."""

_BASE: Final = COLUMNS[:16]
_NEW: Final = ("peeraccount", "linkedid", "sequence")
_LAYOUTS: Final = {
    16: _BASE,
    18: (*_BASE, "uniqueid", "userfield"),
    19: (*_BASE, *_NEW),
    21: (*_BASE, "uniqueid", "userfield", *_NEW),
}
_AMBIGUOUS: Final = {17: (), 20: _NEW}
"""Widths in which column 17 is the uniqueid or the userfield, and what follows it."""
_CUSTOM_WIDTH: Final = 19
_CUSTOM_TIMES: Final = (8, 10)
"""Where the cdr_custom mapping that Asterisk ships has start and end."""
_INTEGER: Final = re.compile(r"-?\d{1,10}(?:\.\d{1,9})?", re.ASCII)
_MOST_SECONDS: Final = 2**31 - 1

_NONE: Final = frozenset(("NULL", "\\N", "_undef_"))
_CONTROLS: Final = {code: " " if chr(code) in "\t\n\r" else None for code in (*range(32), *range(127, 160))}


class _Unreadable(Exception):
    """Why a record is no row. Never leaves this module."""


class Foreign:
    """The lines of a file of another kind: how many, where, and what the first of them are."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._count = self._first = self._last = 0
        self._raw: list[bytes] = []
        self._size = 0

    def add(self, raw: bytes, number: int) -> None:
        """One more, which ends in this line."""
        self._first = self._first or number
        self._count, self._last = self._count + 1, number
        if len(self._raw) < _FOREIGN_LINES and self._size + len(raw) <= LINE_LIMIT:
            self._raw.append(raw)
            self._size += len(raw)

    def rejected(self) -> Rejected:
        """All of them, as one piece that could not be read."""
        kept = (
            ""
            if len(self._raw) == self._count
            else f" Of the {self._count} lines the first {len(self._raw)} are kept here."
        )
        reason = f"this seems to be {self.kind.name}; supported are {SUPPORTED}. What to do: {self.kind.advice}.{kept}"
        where = f"line {self._first}" if self._count == 1 else f"lines {self._first} to {self._last}"
        return Rejected(reason, where, b"\n".join(self._raw))


class Reader:
    """Puts lines together to records, and records to rows. Holds one record at most."""

    def __init__(self, settings: AsteriskSettings) -> None:
        self._settings = settings
        self._kind: str | None = None
        self._number = 0
        self._open: list[bytes] = []
        self._open_from = 0
        self._open_size = 0
        self._foreign: Foreign | None = None

    def line(self, line: bytes, ended: bool) -> Iterator[CallRow | Rejected]:
        """The rows that are complete with this line; one that is not ended is the last, and may be empty."""
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > LINE_LIMIT:
            yield from self.end()
            yield self._rejected(f"longer than {LINE_LIMIT} bytes", [line])
        elif not ended and self._foreign is not None and not self._open and line.strip():
            self._foreign.add(line, self._number)
        elif not ended and (self._open or line.strip()):
            yield self._rejected(UNFINISHED, [*self._open, line])
            self._close()
        elif self._kind != "cdr" and _QUEUE_LINE.match(line):
            yield from self.end()
            self._kind = "queue_log"
            yield from self._made([line])
        elif self._open:
            yield from self._continued(line)
        elif line.strip():
            yield from self._begun(line)

    def end(self) -> Iterator[Rejected]:
        """What a line that cannot belong to it leaves of an open record."""
        if self._open:
            yield self._rejected("a quote is never closed", self._open)
            self._close()

    def _begun(self, line: bytes) -> Iterator[CallRow | Rejected]:
        if self._kind == "queue_log" or (self._kind is None and self._foreign is not None) or _balanced(line):
            yield from self._made([line])
        else:
            self._open, self._open_from, self._open_size = [line], self._number, len(line)

    def _continued(self, line: bytes) -> Iterator[CallRow | Rejected]:
        """A line inside an open quote: the value goes on, unless the line is a row by itself."""
        if _balanced(line) and not isinstance(whole := self._row([line]), Rejected):
            yield from self.end()
            yield whole
            return
        self._open.append(line)
        self._open_size += len(line) + 1
        if len(self._open) > _RECORD_LINES or self._open_size > LINE_LIMIT:
            yield self._rejected(f"a quote is open for {len(self._open)} lines", self._open)
            self._close()
        elif not _balanced(line):
            yield from self._made(self._open)
            self._close()

    def _close(self) -> None:
        self._open, self._open_size = [], 0

    def finish(self) -> Iterator[Rejected]:
        """What a file of another kind says of itself, once, at its end."""
        if self._foreign is not None:
            yield self._foreign.rejected()

    def _made(self, record: list[bytes]) -> Iterator[CallRow | Rejected]:
        """The row of a record, or why it is none; a line of another kind of file is counted, and told at the end."""
        made = self._row(record)
        if isinstance(made, Rejected):
            kind = self._foreign.kind if self._foreign is not None else kind_of(made.raw, bool(self._settings.columns))
            if self._kind is None and kind is not None:
                self._foreign = self._foreign or Foreign(kind)
                self._foreign.add(made.raw, self._number)
                return
        yield made

    def _row(self, record: list[bytes]) -> CallRow | Rejected:
        raw = b"\n".join(record)
        try:
            if self._kind == "queue_log":
                return _queue_row(raw, self._settings)
            row = _cdr_row(raw, self._settings)
        except _Unreadable as error:
            return self._rejected(str(error), record)
        self._kind = "cdr"
        return row

    def _rejected(self, reason: str, record: list[bytes]) -> Rejected:
        return Rejected(reason, self._place(record), b"\n".join(record))

    def _place(self, record: list[bytes]) -> str:
        """The line with which a record begins."""
        return f"line {self._open_from if self._open and record[0] is self._open[0] else self._number}"


def recognised(head: bytes) -> bool:
    """Whether a complete line among the first ones is a row of cdr_csv, shipped cdr_custom or queue_log."""
    complete = head.removeprefix(_BOM).split(b"\n")[:-1]
    return any(_QUEUE_LINE.match(line) or _looks_like_cdr(line) for line in complete[:_SNIFFED_LINES])


def _balanced(line: bytes) -> bool:
    """Whether every quote is closed: doubling keeps the number of quotes of a whole value even."""
    return line.count(b'"') % 2 == 0


def _looks_like_cdr(line: bytes) -> bool:
    if not _balanced(line):
        return False
    try:
        values = _split(line)
    except _Unreadable:
        return False
    starts = (9, 11), _CUSTOM_TIMES
    return len(values) in range(16, 22) and any(all(_is_time(values[at]) for at in pair) for pair in starts)


def _is_time(value: str) -> bool:
    try:
        return local_time(value) is not None
    except ValueError:
        return False


def _split(raw: bytes) -> list[str]:
    """The values of a CSV record, one character for each byte. NUL and carriage return are no part of any value."""
    text = raw.decode("latin-1").replace("\0", "").replace("\r", "")
    try:
        return next(csv.reader((text,)), [])
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]  # behind it, advice to a programmer
        raise _Unreadable(f"not CSV: {reason}") from None


def _texts(values: list[str], charset: str) -> list[str]:
    """Values of one character a byte, decoded, each by itself, without control characters and words for nothing."""
    together = "".join(values)
    if not (together.isascii() and together.isprintable()):
        values = [_text(value, charset) for value in values]
    return ["" if (text := value.strip()) in _NONE else text for value in values]


def _text(value: str, charset: str) -> str:
    if not value.isascii():
        data = value.encode("latin-1")
        try:
            value = data.decode("utf-8")
        except UnicodeDecodeError:
            value = data.decode(charset, "replace")
    return value if value.isprintable() else value.translate(_CONTROLS)


def _cdr_row(raw: bytes, settings: AsteriskSettings) -> CallRow:
    pieces = _split(raw)
    if settings.columns and len(pieces) > len(settings.columns):
        row = _rejoined(pieces, settings)
    else:
        values = _texts(pieces, settings.charset)
        row = _checked(values, _columns(values, settings))
    # Of what was written, not of how it was decoded: the key stays if the source's settings are put right.
    key = _digest("cdr", *pieces)
    return CallRow(key, cdr_links(row, key), msgspec.json.encode(row).decode())


def _columns(values: list[str], settings: AsteriskSettings) -> tuple[str, ...]:
    """The names of a row's columns: the source's list, else what the number of columns says."""
    width = len(values)
    if settings.columns:
        if width != len(settings.columns):
            raise _Unreadable(f"{width} columns; the setting columns names {len(settings.columns)}")
        return settings.columns
    if width in _AMBIGUOUS:
        seventeenth = "uniqueid" if UNIQUEID.fullmatch(values[16]) else "userfield"
        return (*_BASE, seventeenth, *_AMBIGUOUS[width])
    if width not in _LAYOUTS:
        raise _Unreadable(f"{width} columns; cdr_csv has 16 to 21, of cdr_custom name them in the setting columns")
    return _LAYOUTS[width]


def _checked(values: Sequence[str], columns: tuple[str, ...]) -> CdrRow:
    """The row, if what stands in its columns can stand there."""
    named = dict(zip(columns, values, strict=True))
    named.pop(SKIPPED, None)
    row = CdrRow(**named)
    dated = False
    for column in ("start", "answer", "end"):
        try:
            dated |= local_time(named.get(column, "")) is not None
        except ValueError as error:
            hint = (
                "; of a cdr_custom file name the columns in the setting columns" if _is_shipped_custom(values) else ""
            )
            raise _Unreadable(f"{column} is {error}{hint}") from None
    for column in ("duration", "billsec"):
        value = named.get(column, "")
        if value and not (_INTEGER.fullmatch(value) and abs(float(value)) <= _MOST_SECONDS):
            raise _Unreadable(f"{column} is not a number of seconds: {value[:40]!r}, valid is up to {_MOST_SECONDS}")
    for column in ("src", "dst", "did"):
        if is_decimal(value := named.get(column, "")):
            raise _Unreadable(
                f"{column} is {value[:40]!r}, a number as spreadsheets write decimals; valid are all its digits"
            )
    for column in ("uniqueid", "linkedid"):
        if len(named.get(column, "")) > ID_LENGTH:
            raise _Unreadable(f"{column} is longer than the {ID_LENGTH} characters that Asterisk gives it")
    if not dated and epoch_of(row.uniqueid) is None and epoch_of(row.linkedid) is None:
        raise _Unreadable("no time at all: start, answer and end are empty and no unique id holds one")
    return row


def _is_shipped_custom(values: Sequence[str]) -> bool:
    return len(values) == _CUSTOM_WIDTH and all(_is_time(values[at]) for at in _CUSTOM_TIMES)


def _rejoined(pieces: list[str], settings: AsteriskSettings) -> CdrRow:
    """A row that unquoted commas cut into too many values: put together where exactly one way makes sense.

    Commas occur in clid and lastdata; the channels and the times around them say which of the two was cut.
    """
    columns = settings.columns
    excess = len(pieces) - len(columns)
    cut = sorted((columns.index(column) for column in ("clid", "lastdata") if column in columns), reverse=True)
    ways = [(excess,)] if len(cut) == 1 else [(last, excess - last) for last in range(excess + 1)]
    found = []
    for way in ways if cut and excess <= len(columns) else ():
        joined, over = list(pieces), excess
        for at, more in zip(cut, way, strict=True):
            over -= more
            joined[at + over : at + over + more + 1] = [",".join(joined[at + over : at + over + more + 1])]
        try:
            row = _checked(_texts(joined, settings.charset), columns)
        except _Unreadable:
            continue
        channels = (row.channel, row.dstchannel or row.channel)
        if local_time(row.start) and all(map(ANY_CHANNEL.fullmatch, channels)):
            found.append(row)
    if len(found) != 1:
        raise _Unreadable(f"{len(pieces)} columns; the setting columns names {len(columns)}")
    return found[0]


def _queue_row(raw: bytes, settings: AsteriskSettings) -> CallRow:
    if not _QUEUE_LINE.match(raw):
        raise _Unreadable("not a queue_log line; valid is epoch|callid|queue|agent|event|parameters")
    pieces = raw.decode("latin-1").rstrip("\r|").split("|")
    time, callid, queue, agent, event, *parameters = _texts(pieces, settings.charset)
    if len(callid) > ID_LENGTH:
        raise _Unreadable(f"callid is longer than the {ID_LENGTH} characters that Asterisk gives it")
    row = QueueRow(int(time), callid, queue, agent, event.upper(), tuple(parameters))
    return CallRow(_digest("queue", *pieces), queue_links(row), msgspec.json.encode(row).decode())


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).digest()
