"""A ledger that is read and never written: to be moved elsewhere, or looked at before it is opened.

Nobody else may have it open, and it is left as it was, the files beside it included.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from calldex.clock import now_ms
from calldex.errors import StoreDamaged, UnreadableInput, WrongVersion
from calldex.records.record import CallRow
from calldex.store import Head, Loaded, Quarantined, Receipt
from calldex.store.embedded import links, sqlite
from calldex.store.embedded.ledger import Gap
from calldex.store.embedded.numbering import NUMBER, number_at, seq_at
from calldex.store.embedded.opening import LINKED, is_ledger
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.proof import Fault, faults
from calldex.store.embedded.schema import LEDGER
from calldex.store.embedded.sqlite import carray, each, rows
from calldex.store.embedded.staging import QUARANTINE, kept_row, quarantined_of
from calldex.store.embedded.versions import DAY, versions_by_day
from calldex.store.sql import LIVE, VALUE_NAMES, values_of

_STARTED: Final = VALUE_NAMES.index("started_ms")


class LedgerReader:
    """The ledger of a file."""

    def __init__(self, path: Path, *, older: bool = False) -> None:
        """`WrongVersion` for one of another schema version, unless it is an older one and `older` is set;
        `UnreadableInput` for what is no ledger."""
        with ExitStack() as opened:
            self._reader = opened.enter_context(sqlite.looking(path))
            self.version: int = rows(self._reader, "PRAGMA user_version")[0][0]
            if not is_ledger(self._reader):
                raise UnreadableInput(f"{path} cannot be read as a ledger: it has not its tables")
            if self.version > len(LEDGER) or not (older or self.version == len(LEDGER)):
                raise WrongVersion(
                    f"{path} has schema version {self.version}, this program knows version {len(LEDGER)};"
                    f" {'start this Calldex on it once' if self.version < len(LEDGER) else 'use a newer Calldex'}"
                )
            meta = dict(rows(self._reader, "SELECT name, value FROM meta"))
            if "store_id" not in meta:
                raise StoreDamaged(f"{path} is not a whole ledger: it has no name; restore a backup")
            self.store_id: str = meta["store_id"]
            self.is_bound = "bound" in meta
            """Whether a directory has its head."""
            self.last_seq: int = rows(self._reader, "SELECT ifnull(max(seq), 0) FROM version")[0][0]
            tables = {name for (name,) in rows(self._reader, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
            filling = rows(self._reader, "SELECT name, upto, last FROM fill") if "fill" in tables else []
            self.gaps = {name: Gap(upto, last) for name, upto, last in filling}
            self._packing = Packing(self._reader)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def faults(self) -> list[Fault]:
        """What is wrong with the versions; nothing is said of a ledger from before there were links."""
        return list(faults(lambda: nullcontext(self._reader), self.last_seq)) if self.version >= LINKED else []

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        return sqlite.integrity(self._reader)

    def versions_by_day(self, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """See `Versions.days`."""
        return versions_by_day(lambda: nullcontext(self._reader), as_of)

    def head(self) -> Head:
        """The head of the chain of commits."""
        return links.head(self._reader) if self.version >= LINKED else Head(self.last_seq, b"")

    def links_behind(self, seq: int) -> int:
        """How many commits there are behind one."""
        if self.version < LINKED:
            return 0
        return int(rows(self._reader, "SELECT count(*) FROM link WHERE seq > ?", (seq,))[0][0])

    def has(self, head: Head) -> bool:
        """Whether the chain goes through a head that was kept elsewhere."""
        if self.version < LINKED or not head.hash or not head.seq:
            return self.last_seq >= head.seq
        return rows(self._reader, "SELECT hash FROM link WHERE seq = ?", (head.seq,)) == [(head.hash,)]

    def accounts(self) -> dict[int, int]:
        """The accounts that have versions, and how many."""
        return dict(rows(self._reader, "SELECT account_id, count(*) FROM version GROUP BY account_id"))

    def purged(self) -> dict[int, int]:
        """For each account the commit up to which superseded versions were dropped, if any were."""
        found = rows(self._reader, "SELECT account_id, seq FROM purged")
        return {account_id: number_at(self._reader, account_id, seq) for account_id, seq in found}

    def versions(self, account_id: int, after: int, count: int) -> Iterator[list[Loaded]]:
        """The versions of an account behind one, by its number, in order, by so many."""
        seqs = array(
            "q",
            (
                seq
                for (seq,) in each(
                    self._reader,
                    "SELECT seq FROM version WHERE account_id = ? AND seq > ? ORDER BY seq",
                    (account_id, seq_at(self._reader, account_id, after)),
                )
            ),
        )
        names = ", ".join(f"v.{name}" for name in VALUE_NAMES)
        for at in range(0, len(seqs), count):
            found = each(
                self._reader,
                # What it was ended by, and of a tombstone what it ended, if that is still kept.
                f"SELECT {NUMBER.format('v.seq')}, CASE WHEN v.seq_to > 0 AND v.seq_to < {LIVE} THEN"
                f" {NUMBER.format('v.seq_to')} END, v.uuid, CAST(v.json AS BLOB), v.written_ms, ended.written_ms,"
                f" before.started_ms, {names} FROM carray(?) CROSS JOIN version AS v ON v.seq = value"
                " LEFT JOIN version AS ended ON ended.seq = v.seq_to"
                f" LEFT JOIN version AS before ON v.json IS NULL AND before.seq_to = v.seq AND before.seq_to < {LIVE}",
                (carray(seqs[at : at + count]),),
            )
            lacking = any(gap.upto < gap.last for gap in self.gaps.values())
            loaded = (_loaded(row, self._packing.plain(row[3])) for row in found)
            yield [_completed(version) if lacking else version for version in loaded]

    def days(self) -> dict[tuple[int, str], tuple[int, int]]:
        """For each account and UTC day the number of live records and a checksum over them: the sum, modulo 2^64, of
        the lower half of the MD5 of `seq|uuid in hexadecimal digits|JSON`, the first byte the least."""
        days: dict[tuple[int, str], tuple[int, int]] = {}
        for account_id, day, seq, uuid, json in each(
            self._reader,
            f"SELECT account_id, {DAY}, {NUMBER.format('version.seq')}, uuid, CAST(json AS BLOB) FROM version"
            f" WHERE seq_to = {LIVE}",
        ):
            text = b"%d|%s|%s" % (seq, uuid.hex().encode(), self._packing.plain(json))
            digest = hashlib.md5(text, usedforsecurity=False).digest()
            count, sum_ = days.get((account_id, day), (0, 0))
            days[account_id, day] = count + 1, (sum_ + int.from_bytes(digest[8:], "little")) % 2**64
        return days

    def rows_of_calls(self, after: int, count: int) -> list[tuple[int, int, str, CallRow]]:
        """So many rows of calls behind an id, in order: id, account, source, row."""
        found = rows(
            self._reader,
            "SELECT id, account_id, source, key, links, text, uuid FROM call_row WHERE id > ? ORDER BY id LIMIT ?",
            (after, count),
        )
        return [
            (id_, account_id, source, kept_row(key, links, text, uuid))
            for id_, account_id, source, key, links, text, uuid in found
        ]

    def quarantined(self, after: int, count: int) -> list[Quarantined]:
        """So many pieces of the quarantine behind an id, in order."""
        return list(map(quarantined_of, rows(self._reader, QUARANTINE, (after, None, None, count))))

    def receipts(self) -> Iterator[tuple[int, str, Receipt, int]]:
        """The answers given under idempotency keys: account, key, answer, and when (epoch milliseconds)."""
        for account_id, key, digest, answer, at_ms in each(
            self._reader, "SELECT account_id, key, digest, answer, at_ms FROM receipt"
        ):
            yield account_id, key, Receipt(digest, answer), at_ms

    def total_rows(self) -> tuple[int, int]:
        """How many rows of calls there are, and how many pieces in the quarantine."""
        counted = "SELECT (SELECT count(*) FROM call_row), (SELECT count(*) FROM quarantine)"
        calls, pieces = rows(self._reader, counted)[0]
        return calls, pieces


def _loaded(row: tuple[Any, ...], json: bytes | None) -> Loaded:
    """A version as it is moved. A tombstone has the start of what it ended."""
    number, ended, uuid, _, written_ms, ended_ms, before_ms, *values = row
    if json is None:
        values[_STARTED] = before_ms or 0
    return Loaded(number, ended, uuid, tuple(values), json, written_ms, ended_ms or 0)


def _completed(version: Loaded) -> Loaded:
    """A version with all its values."""
    if version.json is None:
        return version
    return msgspec.structs.replace(version, values=tuple(values_of(version.json).values()))


def proved(path: Path) -> list[Fault]:
    """What is wrong with the versions in a file that nobody else has open, where it is marked as well."""
    with sqlite.looking(path) as reader:
        upto = rows(reader, "SELECT ifnull(max(seq), 0) FROM version")[0][0]
        found = list(faults(lambda: nullcontext(reader), upto))
    if found:
        with closing(sqlite.connect(path)) as writer, sqlite.commit(writer):
            links.mark(writer, found, (0, upto), now_ms())
    return found


def is_there(path: Path) -> bool:
    """Whether a file holds a ledger; not if there is none, or one that was begun and got no tables. `UnreadableInput`
    for what is something else."""
    if not path.exists() or not path.stat().st_size:
        return False
    with sqlite.looking(path) as connection:
        return is_ledger(connection)
