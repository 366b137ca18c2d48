"""The versions of a ledger as they are read: by uuid, by their place among its commits, and by day.

Nobody is given one that is damaged. Writes nothing; any thread reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from calldex.errors import RecordDamaged, StoreDamaged
from calldex.search.query import Query
from calldex.store import Position, Slice, Version
from calldex.store.embedded import sqlite
from calldex.store.embedded.dialect import SQLITE
from calldex.store.embedded.numbering import NUMBER, Numbering
from calldex.store.embedded.packing import LINE_FEED, Garbled, Packing
from calldex.store.embedded.proof import Fault, faults
from calldex.store.embedded.sqlite import rows
from calldex.store.sql import LIVE, VALUE_NAMES, conjunction, following, layout, uuid_bytes, where

KEPT: Final = ("seq", "seq_to", "account_id", "uuid", *VALUE_NAMES)
ROW_NAMES: Final = (*KEPT, "number")
"""What `columns` is given of a version, in this order."""

_ROW: Final = f"{', '.join(KEPT)}, {NUMBER.format('version.seq')}"
_FAR_S: Final = 10**11
"""More seconds than any instant lies before 1970."""
DAY: Final = f"date((started_ms + {_FAR_S}000) / 1000 - {_FAR_S}, 'unixepoch')"
"""The UTC day of a version, of years before 1970 as well: SQLite divides towards zero."""
_AT_ONCE: Final = 20_000
"""How many versions are looked at in one statement, where all of them are."""
_LONG: Final = 1_000
_APART: Final = 8
_FORWARDS: Final = "SELECT count(json) FROM carray(?) CROSS JOIN version ON seq = value"
"""Looks at versions, newest last. Pages of so many have each eighth of theirs looked at before they are read, newest
first: the system reads ahead of who goes forwards, and of nobody else."""
_TEXTS: Final = frozenset(column.name for column in layout(SQLITE) if column.type == "TEXT")


class Closing(msgspec.Struct, frozen=True):
    """A version and the commit that superseded it."""

    seq: int
    seq_to: int
    account_id: int
    started_ms: int


class Versions:
    """The versions of an open ledger."""

    def __init__(
        self, readers: sqlite.Readers, packing: Packing, numbering: Numbering, damaged: Mapping[int, str]
    ) -> None:
        """`damaged`: the places of the versions that are, each with the uuid of its record."""
        self._readers, self._packing, self._numbering = readers, packing, numbering
        self.damaged = damaged

    def faults(self, *, after: int = 0, upto: int, ends: bool = True) -> Iterator[Fault]:
        """What is wrong with the versions of some commits, see `proof.faults`."""
        return faults(self._readers, upto, after=after, ends=ends)

    def refuse_damaged(self, seqs: Iterable[int]) -> None:
        """`RecordDamaged` if a version that is to be given is none that was written."""
        if self.damaged and (found := next((seq for seq in seqs if seq in self.damaged), None)) is not None:
            raise _damaged(self.damaged[found])

    def plain(self, seqs: Sequence[int], stored: Sequence[bytes | None]) -> Sequence[Any]:
        """The JSON of some versions, of their places and what lies there, to be joined or made bytes. `RecordDamaged`
        if one cannot be decompressed, found before or not."""
        try:
            return self._packing.unpack(stored)
        except Garbled as error:
            with self._readers() as reader:
                ((uuid,),) = rows(reader, "SELECT uuid FROM version WHERE seq = ?", (int(seqs[error.place]),))
            raise _damaged(str(UUID(bytes=uuid))) from error

    def rows_after(self, seq: int, limit: int) -> list[tuple[Any, ...]]:
        """The next versions with content behind a commit number, in order, as `ROW_NAMES`. Of those that cannot be read
        as they were written, as much as can; nobody is given them, once they are marked."""
        try:
            with self._readers() as reader:
                return rows(
                    reader,
                    f"SELECT {_ROW} FROM version WHERE seq > ? AND seq <= ? AND seq_to > 0 ORDER BY seq",
                    (seq, seq + limit),
                )
        except StoreDamaged:
            if limit > 1:
                return self.rows_after(seq, limit // 2) + self.rows_after(seq + limit // 2, limit - limit // 2)
            return self._salvaged(seq + 1)

    def _salvaged(self, seq: int) -> list[tuple[Any, ...]]:
        """A version of which something is damaged; nothing if it cannot be read at all."""
        names = ", ".join(f"CAST({name} AS BLOB)" if name in _TEXTS else name for name in KEPT)
        try:
            with self._readers() as reader:
                found = rows(
                    reader,
                    f"SELECT {names}, {NUMBER.format('version.seq')} FROM version WHERE seq = ? AND seq_to > 0",
                    (seq,),
                )
        except StoreDamaged:
            return []
        return [
            tuple(
                value.decode(errors="replace") if name in _TEXTS else value
                for name, value in zip(ROW_NAMES, row, strict=True)
            )
            for row in found
        ]

    def texts(self, after: int, upto: int, limit: int) -> list[tuple[int, bytes]]:
        """The places and the JSON, as it lies there, of the next versions with content behind one, up to another."""
        with self._readers() as reader:
            return rows(
                reader,
                "SELECT seq, CAST(json AS BLOB) FROM version WHERE seq > ? AND seq <= ? AND json IS NOT NULL"
                " ORDER BY seq LIMIT ?",
                (after, upto, limit),
            )

    def columns_of(self, names: Sequence[str], after: int, upto: int) -> list[tuple[Any, ...]]:
        """The place and some columns of the versions behind a commit, up to another."""
        asked = ", ".join(NUMBER.format("version.seq") if name == "number" else name for name in names)
        with self._readers() as reader:
            return rows(
                reader,
                f"SELECT seq, {asked} FROM version WHERE seq > ? AND seq <= ? AND json IS NOT NULL",
                (after, upto),
            )

    def closings(self, after: int, upto: int) -> list[Closing]:
        """The versions superseded by the commits behind `after`, up to a commit number."""
        with self._readers() as reader:
            found = rows(
                reader,
                "SELECT seq, seq_to, account_id, started_ms FROM version"
                f" WHERE seq_to > ? AND seq_to <= ? AND seq_to < {LIVE}",
                (after, upto),
            )
            return [Closing(*row) for row in found]

    def of_record(self, account_id: int, uuid: str, *, live_only: bool = False) -> list[Version]:
        """The kept versions of a record, oldest first; tombstones among them."""
        with self._readers() as reader:
            found = rows(
                reader,
                "SELECT seq, seq_to, CAST(json AS BLOB), written_ms FROM version WHERE account_id = ? AND uuid = ?"
                f"{f' AND seq_to = {LIVE}' if live_only else ''} ORDER BY seq",
                (account_id, uuid_bytes(uuid)),
            )
        self.refuse_damaged(row[0] for row in found)
        return [
            Version(
                self._numbering.number(account_id, seq),
                None if seq_to == LIVE else self._numbering.number(account_id, abs(seq_to)),
                uuid,
                None if json is None and seq_to < 0 else bytes(self.plain([seq], [json])[0]),
                written_ms,
            )
            for seq, seq_to, json, written_ms in found
        ]

    def total(self, query: Query, as_of: int) -> int:
        """How many records match; only for queries that name uuids, which the index finds."""
        condition = where(query, as_of, SQLITE)
        with self._readers() as reader:
            found = rows(reader, f"SELECT count(*) FROM version WHERE {condition.text}", condition.parameters)
        return int(found[0][0])

    def slice(self, query: Query, as_of: int, *, limit: int, after: Position | None, skip: int) -> Slice:
        """The next records of a query that names uuids, newest first."""
        condition = where(query, as_of, SQLITE)
        if after is not None:
            condition = conjunction(condition, following(after, SQLITE))
        with self._readers() as reader:
            found = rows(
                reader,
                f"SELECT seq, CAST(json AS BLOB), started_ms, uuid FROM version WHERE {condition.text}"
                " ORDER BY started_ms DESC, uuid DESC LIMIT ? OFFSET ?",
                (*condition.parameters, limit, skip),
            )
        if not found:
            return Slice(b"", 0, None)
        self.refuse_damaged(row[0] for row in found)
        *_, started_ms, uuid = found[-1]
        last = Position(started_ms, str(UUID(bytes=uuid)))
        return Slice(b"\n".join(self.plain([row[0] for row in found], [row[1] for row in found])), len(found), last)

    def joined(self, seqs: Any) -> Slice:
        """The records of some versions, given by their commit numbers (an array of 64-bit integers), in that order."""
        with self._readers() as reader:
            if len(seqs) >= _LONG:
                rows(reader, _FORWARDS, (sqlite.carray(seqs[::-_APART].copy()),))
            return self.joined_by(reader, seqs)

    def joined_by(self, reader: sqlite.Connection, seqs: Any) -> Slice:
        """The same through a connection, as of what it reads; best in the order in which they lie."""
        if not len(seqs):
            return Slice(b"", 0, None)
        if self.damaged:
            self.refuse_damaged(map(int, seqs))
        ((stored, count, shortest),) = rows(
            reader,
            "SELECT CAST(group_concat(json, ?2) AS BLOB), count(json), min(length(json))"
            " FROM carray(?1) CROSS JOIN version ON seq = value",
            (sqlite.carray(seqs), LINE_FEED),
        )
        last = rows(reader, "SELECT started_ms, uuid, CAST(json AS BLOB) FROM version WHERE seq = ?", (int(seqs[-1]),))
        if count < len(seqs) or not last:
            emptied = "SELECT uuid FROM carray(?) CROSS JOIN version ON seq = value WHERE json IS NULL LIMIT 1"
            for (found,) in rows(reader, emptied, (sqlite.carray(seqs),)):
                raise _damaged(str(UUID(bytes=found)))
            return Slice(b"", count, None)
        ((started_ms, uuid, json),) = last
        texts = self._packing.joined(stored, json) if shortest else None
        if texts is None:
            asked = "SELECT CAST(json AS BLOB) FROM carray(?) CROSS JOIN version ON seq = value"
            one_by_one = [stored for (stored,) in rows(reader, asked, (sqlite.carray(seqs),))]
            texts, count = b"\n".join(self.plain(seqs, one_by_one)), len(one_by_one)
        return Slice(texts, count, Position(started_ms, str(UUID(bytes=uuid))))

    def uuids(self, seqs: Any) -> list[bytes]:
        """The uuids of some versions, given as for `joined`, in that order; of those that are kept."""
        with self._readers() as reader:
            found = rows(reader, "SELECT uuid FROM carray(?) CROSS JOIN version ON seq = value", (sqlite.carray(seqs),))
        return [uuid for (uuid,) in found]

    def days(self, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The UTC day of every version that was live as of a commit, and the version as `ROW_NAMES`."""
        return versions_by_day(self._readers, as_of)


def versions_by_day(readers: sqlite.Readers, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """See `Versions.days`. In pieces, none of which keeps the write-ahead log for long."""
    for after in range(0, as_of, _AT_ONCE):
        with readers() as reader:
            found = rows(
                reader,
                f"SELECT {DAY}, {_ROW} FROM version WHERE seq > ? AND seq <= ? AND seq_to > ?",
                (after, min(after + _AT_ONCE, as_of), as_of),
            )
        for day, *row in found:
            yield day, tuple(row)


def _damaged(uuid: str) -> RecordDamaged:
    return RecordDamaged(
        f"the record {uuid} is damaged: it is not what was written, so it is not given. Whoever runs this server learns"
        " more from `calldex check`; sending the record again replaces it"
    )
