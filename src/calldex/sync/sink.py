"""The destination of a pipe, with the place of the pipe and what it holds: the same for copies, which keep both
themselves, and for all others, of which the state file keeps them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from calldex.client import Record
from calldex.clock import now_ms
from calldex.sync.destinations import Batch, Change, Copy, Destination
from calldex.sync.state import StateFile

T = TypeVar("T")

ALWAYS: Final = ("uuid", "timestamp", "started_at")
"""Fields that go whatever fields a pipe has: what is kept could not be found again without them."""
_PART: Final = 20_000
_GONE: Final = -1
"""The seq of a deletion of which the source told none."""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up to where a pipe has read. `reads` says what is read (endpoint, filters and fields): of something else the
    place means nothing. `full`: what is read from the beginning now has this name, and at its end, what did not come is
    deleted.

    `lookups`: those that the destination has, as they were read last.

    Of a feed: `cursor`, and when it was kept (epoch seconds). Of days: `first`; `through`, up to which they are whole;
    and `days`, those that are not, with where in them the reading stands or why it failed.
    """

    reads: str = ""
    full: str = ""
    lookups: dict[str, Known] = {}
    cursor: str | None = None
    kept_s: int = 0
    first: str = ""
    through: str = ""
    days: dict[str, Day] = {}


class Known(msgspec.Struct, frozen=True):
    """A look-up: the tag under which the endpoint told it, and the sum of its rows."""

    tag: str = ""
    sum: str = ""


class Day(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A day that is not read whole: the token of its next page, the day on which the walk began, how many records there
    are, and why it failed."""

    token: str = ""
    on: str = ""
    total: int | None = None
    problem: str = ""


class Sink:
    """See the module. `lock` is the destination's: several pipes may go to one."""

    def __init__(
        self, destination: Destination, file: StateFile, pipe: str, lock: threading.Lock, applied: Callable[[int], None]
    ) -> None:
        self._destination = destination
        self._copy = destination if isinstance(destination, Copy) else None
        self._file = file
        self._pipe = pipe
        self._lock = lock
        self._applied = applied
        self.batch_size = destination.batch_size

    @property
    def has_tables(self) -> bool:
        """Whether there are tables of look-ups."""
        return self._copy is not None

    def place(self) -> Place:
        """Up to where everything is delivered."""
        with self._lock:
            text = self._copy.state() if self._copy else self._file.place(self._pipe)
        return msgspec.json.decode(text, type=Place) if text else Place()

    def deliver(self, changes: Sequence[Change], place: Place) -> None:
        """Deliver changes (each uuid once), and keep the place."""
        state = msgspec.json.encode(place).decode()
        if self._copy is None:
            for start in range(0, len(changes), self.batch_size):
                self._send(self._file.differing(self._pipe, changes[start : start + self.batch_size]))
            self._file.keep_place(self._pipe, state)
            return
        with self._lock:
            for start in range(0, max(len(changes), 1), self.batch_size):
                part = changes[start : start + self.batch_size]
                # Of a batch in several parts, only the last one moves the place.
                self._copy.apply(Batch(part, state if start + self.batch_size >= len(changes) else ""))
                self._applied(len(part))

    def _send(self, changes: Sequence[Change]) -> None:
        if changes:
            with self._lock:
                failed = self._destination.apply(Batch(changes))
            begun = [(change, began_ms(change.record or {})) for change in changes]
            self._file.delivered(self._pipe, begun, failed, now_ms())
            self._applied(len(changes) - len(failed))

    def retry(self) -> None:
        """Try again what failed, and is due."""
        if self._copy is None:
            self._send(self._file.due(self._pipe, now_ms(), self.batch_size))

    def held(self, start_ms: int | None = None, end_ms: int | None = None) -> Iterator[tuple[str, int, int]]:
        """Uuid, seq and begin of what the destination has, of a time."""
        if self._copy is None:
            return self._file.held(self._pipe, start_ms, end_ms)
        return self._in_parts(self._copy.held(start_ms, end_ms))

    def _in_parts(self, rows: Iterator[T]) -> Iterator[T]:
        """What the destination gives: it is not asked while another pipe writes, and not all is in memory."""
        while True:
            with self._lock:
                some = list(islice(rows, _PART))
            if not some:
                return
            yield from some

    def altered(self, changes: Sequence[Change], start_ms: int, end_ms: int) -> set[str]:
        """Those of some records of a time whose rows say something else; none where rows cannot be read back."""
        if self._copy is None or not changes:
            return set()
        with self._lock:
            return self._copy.altered(changes, start_ms, end_ms)

    def lookup(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Have these rows in a table of a look-up."""
        if self._copy is not None:
            with self._lock:
                self._copy.lookup(name, rows)


def gone(uuid: str) -> Change:
    """The deletion of a record that did not come."""
    return Change(uuid, _GONE, None)


def chosen(record: Record, fields: Sequence[str]) -> Record:
    """A record with these fields alone; with all of them where none is named."""
    return {name: record[name] for name in record if name in fields or name in ALWAYS} if fields else record


def digest(record: Record) -> int:
    """A number by which records are told apart, below 2**63: the same for records that say the same."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def began_ms(record: Record) -> int:
    """When a record began, as epoch milliseconds; 0 where it does not say."""
    text = record.get("started_at") or record.get("timestamp")
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return 0
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)
