"""The ledger: SQLite keeps every version of every record. The truth; what it has committed is acknowledged.

Beside the versions it keeps what must become durable in the same commit: the rows of calls, the quarantine, and the
answers given under idempotency keys. It answers by uuid and by commit number; every other question is for `columns`.
The only module that knows apsw. One process writes, under the lock of `EmbeddedStore`; any thread reads.
"""

from __future__ import annotations

import hashlib
import queue
import secrets
import time
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import apsw
import msgspec

from calldex.errors import DiskFull, UnreadableInput, WrongVersion
from calldex.records.record import Cdr, from_ms
from calldex.search.query import Query
from calldex.store import (
    RECEIPT_MS,
    Batch,
    KeptRow,
    Loaded,
    Outcome,
    Position,
    Quarantined,
    Ready,
    Receipt,
    Slice,
    Version,
)
from calldex.store.embedded.schema import LEDGER
from calldex.store.sql import LIVE, SQLITE, VALUE_NAMES, behind, both, ready, uuid_bytes, values, where

ROW_NAMES: Final = ("seq", "seq_to", "account_id", "uuid", *VALUE_NAMES)
"""What `columns` is given of a version, in this order."""

_MARKS: Final = ", ".join("?" * len(ROW_NAMES))
_INSERT: Final = (  # JSON comes as bytes, which SQLite takes for text without looking at them
    f"INSERT INTO version ({', '.join(ROW_NAMES)}, json, written_ms) VALUES ({_MARKS}, CAST(? AS TEXT), ?)"
)
_QUARANTINE: Final = (
    "SELECT id, account_id, source, format, origin, place, reason, raw, at_ms FROM quarantine"
    " WHERE id > ? AND account_id = ifnull(?, account_id) AND reason = ifnull(?, reason) ORDER BY id LIMIT ?"
)
_ROWS: Final = f"SELECT {', '.join(ROW_NAMES)} FROM version"

_STARTED: Final = VALUE_NAMES.index("started_ms")
_FAR_S: Final = 10**11
"""More seconds than any instant lies before 1970."""
_DAY: Final = f"date((started_ms + {_FAR_S}000) / 1000 - {_FAR_S}, 'unixepoch')"
"""The UTC day of a version, of years before 1970 as well: SQLite divides towards zero."""
_CACHE_KIB: Final = 64 * 1024
_CHECKPOINT_PAGES: Final = 8192
_MOST_PAGES: Final = 4 * _CHECKPOINT_PAGES
"""When so many pages lie in the write-ahead log, the writer folds them in itself, and waits for that."""
_FOLDINGS: Final = 3
_PAGE_BYTES: Final = 8192

_BLANK: Final = Cdr(
    uuid="00000000-0000-0000-0000-000000000000",
    type="internal",
    disposition="absent",
    started_at=from_ms(0),
    duration_s=0,
)
"""What the columns of a tombstone are filled with; nothing ever matches it."""


class Written(msgspec.Struct, frozen=True):
    """What a commit did: an outcome for each record of the batch, the commit number before it and the last one of it,
    and its versions (as `ROW_NAMES`), unless it also closed some."""

    outcomes: list[Outcome]
    before: int
    last_seq: int
    rows: list[tuple[Any, ...]] | None


class Closing(msgspec.Struct, frozen=True):
    """A version and the commit that superseded it."""

    seq: int
    seq_to: int
    account_id: int
    started_ms: int


class Ledger:
    """The open ledger of a data directory."""

    def __init__(self, path: Path) -> None:
        """Open or create; bring an older schema up to date. `WrongVersion` when it is newer than this program,
        `UnreadableInput` when it is no ledger or must not be written, `DiskFull`."""
        self.path = path
        try:
            self._writer = self._connect()
            self._migrate()
            self._beside = self._connect()
        except (apsw.FullError, apsw.IOError) as error:
            raise DiskFull(f"the ledger {path} cannot be written: {error}") from error
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.ReadOnlyError) as error:
            raise UnreadableInput(f"the ledger {path} cannot be opened: {error}") from error
        self._folder = ThreadPoolExecutor(1, "ledger-folder")
        self._folding: Future[None] | None = None
        self._writer.set_wal_hook(self._after_commit)
        self._readers: queue.LifoQueue[apsw.Connection] = queue.LifoQueue()
        self._all_readers: list[apsw.Connection] = []
        self.last_seq: int = _all(self._writer, "SELECT ifnull(max(seq), 0) FROM version")[0][0]
        self.store_id: str = _all(self._writer, "SELECT value FROM meta WHERE name = 'store_id'")[0][0]

    def _connect(self, *, readonly: bool = False) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(str(self.path), flags=flags)
        connection.set_busy_timeout(30_000)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB if not readonly else 8192}")
        if not readonly:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _after_commit(self, connection: apsw.Connection, name: str, pages: int) -> int:
        """Have the write-ahead log folded into the database, beside the commits that follow: it takes a quarter of the
        time that they do. If they keep it from coming to its end for long, the writer waits for it."""
        if pages >= _MOST_PAGES:
            _fold(connection)
        elif pages >= _CHECKPOINT_PAGES and (self._folding is None or self._folding.done()):
            self._folding = self._folder.submit(self._fold_beside)
        return int(apsw.SQLITE_OK)

    def _fold_beside(self) -> None:
        """The first time takes long, and commits were added meanwhile; without these the log cannot begin anew."""
        for _ in range(_FOLDINGS):
            if _fold(self._beside):
                return

    def _migrate(self) -> None:
        """Bring the schema up to date, each migration in a transaction of its own."""
        found = _all(self._writer, "PRAGMA user_version")[0][0]
        if found > len(LEDGER):
            raise WrongVersion(
                f"{self.path.name} has schema version {found}; this program knows versions up to {len(LEDGER)}."
                " Use a newer Calldex, or restore a backup made by this one."
            )
        for migration in LEDGER[found:]:
            with self._writer:
                self._writer.execute(migration.text)
                if migration.number == 1:
                    self._writer.execute("INSERT INTO meta VALUES ('store_id', ?)", (secrets.token_hex(16),))
                self._writer.execute(f"PRAGMA user_version = {migration.number}")

    @contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
        """A connection for reading, used by one thread at a time."""
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = self._connect(readonly=True)
            self._all_readers.append(connection)
        try:
            yield connection
        finally:
            self._readers.put(connection)

    def close(self) -> None:
        """Let go of the files; SQLite folds its write-ahead log into the database."""
        self._folder.shutdown()
        for connection in (*self._all_readers, self._beside, self._writer):
            connection.close()

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """What is written meanwhile becomes one commit, all of it or nothing. Raises `DiskFull`."""
        try:
            with self._writer:
                yield
        except (apsw.FullError, apsw.IOError) as error:
            raise DiskFull(f"the ledger cannot be written: {error}; nothing of this was kept") from error

    def write(self, batch: Batch) -> Written:
        """Commit a batch, all of it or nothing. Raises `DiskFull`."""
        now = int(time.time() * 1000)
        before = self.last_seq
        rows = [
            (seq, LIVE, batch.account_id, uuid_bytes(made.uuid), *made.values, made.json, now)
            for seq, made in enumerate(map(_ready, batch.records), before + 1)
        ]
        with self._commit():
            new = self._put_new(rows)
            outcomes, last = self._accepted(rows) if new else self._put_versions(batch.account_id, rows)
            last = self._close(batch.account_id, batch.removed, last, now)[1]
            self._put_rows(batch)
            self._put_rejects(batch, now)
            if batch.receipt is not None and batch.receipt_key is not None:
                receipt = batch.receipt(outcomes)
                self._writer.execute(
                    "INSERT INTO receipt VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id, key) DO UPDATE"
                    " SET digest = excluded.digest, answer = excluded.answer, at_ms = excluded.at_ms WHERE at_ms < ?",
                    (batch.account_id, batch.receipt_key, receipt.digest, receipt.answer, now, now - RECEIPT_MS),
                )
        self.last_seq = last
        return Written(outcomes, before, last, [row[:-2] for row in rows] if new and not batch.removed else None)

    def _put_new(self, rows: list[tuple[Any, ...]]) -> bool:
        """Most batches hold only new records: insert them all at once. False, and nothing inserted, if one is not."""
        try:
            with self._writer:
                self._writer.executemany(_INSERT, rows)
        except apsw.ConstraintError:
            return False
        return True

    def _accepted(self, rows: list[tuple[Any, ...]]) -> tuple[list[Outcome], int]:
        return [Outcome.ACCEPTED] * len(rows), self.last_seq + len(rows)

    def _put_versions(self, account_id: int, rows: list[tuple[Any, ...]]) -> tuple[list[Outcome], int]:
        """Insert those rows that differ from the live version of their record, numbered anew."""
        live = self._live(account_id, tuple(row[3] for row in rows))
        outcomes: list[Outcome] = []
        last = self.last_seq
        for row in rows:
            uuid, json = row[3], row[-2]
            known = live.get(uuid)
            if known is not None and known[1] == json:
                outcomes.append(Outcome.UNCHANGED)
                continue
            last += 1
            if known is not None:
                self._writer.execute("UPDATE version SET seq_to = ? WHERE seq = ?", (last, known[0]))
            self._writer.execute(_INSERT, (last, *row[1:]))
            outcomes.append(Outcome.ACCEPTED if known is None else Outcome.UPDATED)
            live[uuid] = (last, json)
        return outcomes, last

    def _live(self, account_id: int, uuids: tuple[bytes, ...]) -> dict[bytes, tuple[int, bytes]]:
        found = _all(
            self._writer,
            "SELECT uuid, seq, CAST(json AS BLOB) FROM carray(?)"
            f" CROSS JOIN version ON uuid = value AND account_id = ? AND seq_to = {LIVE}",
            (apsw.carray(uuids), account_id),
        )
        return {uuid: (seq, json) for uuid, seq, json in found}

    def _close(self, account_id: int, uuids: Sequence[str], last: int, now: int) -> tuple[int, int]:
        """End the live versions of some records, each with a tombstone; how many, and the last commit number.

        A tombstone is a version without content that was never visible: its `seq_to` is negative.
        """
        if not uuids:
            return 0, last
        live = self._live(account_id, tuple(uuid_bytes(uuid) for uuid in uuids))
        blank = values(_BLANK)
        for uuid, (seq, _) in sorted(live.items()):
            last += 1
            self._writer.execute("UPDATE version SET seq_to = ? WHERE seq = ?", (last, seq))
            self._writer.execute(_INSERT, (last, -last, account_id, uuid, *blank, None, now))
        return len(live), last

    def erase(self, account_id: int, uuids: Sequence[str]) -> tuple[int, int]:
        """Close the live versions of these records; how many there were, and the last commit number. Raises
        `DiskFull`."""
        with self._commit():
            count, last = self._close(account_id, uuids, self.last_seq, int(time.time() * 1000))
        self.last_seq = last
        return count, last

    def _put_rows(self, batch: Batch) -> None:
        for row in batch.rows:
            links = msgspec.json.encode(row.links).decode()
            uuid = None if row.uuid is None else uuid_bytes(row.uuid)
            row_id = _all(
                self._writer,
                "INSERT INTO call_row (account_id, source, key, links, text, uuid) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (account_id, source, key) DO UPDATE SET uuid = excluded.uuid RETURNING id",
                (batch.account_id, batch.source, row.key, links, row.text, uuid),
            )[0][0]
            self._writer.executemany(
                "INSERT OR IGNORE INTO call_link VALUES (?, ?, ?, ?)",
                [(batch.account_id, batch.source, link, row_id) for link in row.links],
            )

    def _put_rejects(self, batch: Batch, now: int) -> None:
        """A piece that lies in the quarantine already stays there once, for the reason that holds now."""
        self._writer.executemany("DELETE FROM quarantine WHERE id = ?", [(id_,) for id_ in batch.released])
        self._writer.executemany(
            "INSERT INTO quarantine (account_id, source, format, origin, place, reason, raw, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, source, format, raw) DO UPDATE"
            " SET reason = excluded.reason WHERE reason != excluded.reason",
            [
                (batch.account_id, batch.source, batch.format, batch.origin, r.where, r.reason, r.raw, now)
                for r in batch.rejects
            ],
        )

    def purge(self, superseded_before_ms: int, now_ms: int, upto: int) -> tuple[int, int]:
        """Drop the versions superseded before an instant and by a commit up to `upto`, and receipts that ended; how
        many versions went, and the commit up to which. Raises `DiskFull`.

        Commits are numbered in the order of time, so the last commit before the instant bounds what may go.
        """
        with self._commit():
            self._writer.execute("DELETE FROM receipt WHERE at_ms < ?", (now_ms - RECEIPT_MS,))
            bound = min(self._last_commit_before(superseded_before_ms), upto)
            self._writer.execute(
                "INSERT INTO purged SELECT account_id, max(seq_to) FROM version"
                f" WHERE seq_to > 0 AND seq_to <= ? AND seq_to < {LIVE} GROUP BY account_id"
                " ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq",
                (bound,),
            )
            self._writer.execute(f"DELETE FROM version WHERE seq_to > 0 AND seq_to <= ? AND seq_to < {LIVE}", (bound,))
            count = self._writer.changes()
        return count, bound

    def _last_commit_before(self, ms: int) -> int:
        """The greatest number of a commit made before an instant, found by halving."""
        low, high = 0, self.last_seq
        while low < high:
            middle = (low + high + 1) // 2
            found = _all(
                self._writer, "SELECT seq, written_ms FROM version WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
            )
            if not found or found[0][1] < ms:
                low = middle
            else:
                high = found[0][0] - 1
        return low

    # --- reading ------------------------------------------------------------------------------------------------------

    def rows_after(self, seq: int, limit: int) -> list[tuple[Any, ...]]:
        """The next versions with content behind a commit number, in order, as `ROW_NAMES`."""
        with self._reader() as reader:
            return _all(
                reader, f"{_ROWS} WHERE seq > ? AND seq <= ? AND json IS NOT NULL ORDER BY seq", (seq, seq + limit)
            )

    def closings(self, after: int, upto: int) -> list[Closing]:
        """The versions superseded by the commits behind `after`, up to a commit number."""
        with self._reader() as reader:
            found = _all(
                reader,
                "SELECT seq, seq_to, account_id, started_ms FROM version"
                f" WHERE seq_to > ? AND seq_to <= ? AND seq_to < {LIVE}",
                (after, upto),
            )
            return [Closing(*row) for row in found]

    def versions(self, account_id: int, uuid: str, *, live_only: bool = False) -> list[Version]:
        """The kept versions of a record, oldest first; tombstones among them."""
        with self._reader() as reader:
            found = _all(
                reader,
                "SELECT seq, seq_to, json, written_ms FROM version WHERE account_id = ? AND uuid = ?"
                f"{f' AND seq_to = {LIVE}' if live_only else ''} ORDER BY seq",
                (account_id, uuid_bytes(uuid)),
            )
        return [
            Version(
                seq,
                None if seq_to == LIVE else abs(seq_to),
                uuid,
                None if json is None else json.encode(),
                written_ms,
            )
            for seq, seq_to, json, written_ms in found
        ]

    def total(self, query: Query, as_of: int) -> int:
        """How many records match; only for queries that name uuids, which the index finds."""
        condition = where(query, as_of, SQLITE)
        with self._reader() as reader:
            found = _all(reader, f"SELECT count(*) FROM version WHERE {condition.text}", condition.parameters)
        return int(found[0][0])

    def slice(self, query: Query, as_of: int, *, limit: int, after: Position | None, skip: int) -> Slice:
        """The next records of a query that names uuids, newest first."""
        condition = where(query, as_of, SQLITE)
        if after is not None:
            condition = both(condition, behind(after, SQLITE))
        with self._reader() as reader:
            found = _all(
                reader,
                f"SELECT json, started_ms, uuid FROM version WHERE {condition.text}"
                " ORDER BY started_ms DESC, uuid DESC LIMIT ? OFFSET ?",
                (*condition.parameters, limit, skip),
            )
        if not found:
            return Slice(b"", 0, None)
        _, started_ms, uuid = found[-1]
        last = Position(started_ms, str(UUID(bytes=uuid)))
        return Slice(",".join(row[0] for row in found).encode(), len(found), last)

    def purged_upto(self, account_id: int) -> int:
        """The greatest commit number whose superseded versions have been dropped from an account."""
        with self._reader() as reader:
            found = _all(reader, "SELECT seq FROM purged WHERE account_id = ?", (account_id,))
        return found[0][0] if found else 0

    def rows_of_calls(self, account_id: int, source: str, links: Sequence[str]) -> list[KeptRow]:
        """Every kept row tied to one of these links, directly or through other rows: links and rows in turn, until
        nothing is added."""
        rows: dict[int, KeptRow] = {}
        known: set[str] = set()
        new = set(links)
        with self._reader() as reader:
            while new:
                known |= new
                found = _all(
                    reader,
                    "SELECT DISTINCT r.id, r.key, r.links, r.text, r.uuid FROM carray(?) AS l"
                    " CROSS JOIN call_link AS c ON c.account_id = ? AND c.source = ? AND c.link = l.value"
                    " CROSS JOIN call_row AS r ON r.id = c.row_id",
                    (apsw.carray(tuple(new)), account_id, source),
                )
                new = set()
                for id_, key, packed, text, uuid in found:
                    if id_ not in rows:
                        rows[id_] = _kept_row(key, packed, text, uuid)
                        new.update(link for link in rows[id_].links if link not in known)
        return list(rows.values())

    def known_rows(self, account_id: int, source: str, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these rows are kept already."""
        if not keys:
            return set()
        with self._reader() as reader:
            found = _all(
                reader,
                "SELECT key FROM carray(?) CROSS JOIN call_row ON key = value AND account_id = ? AND source = ?",
                (apsw.carray(tuple(keys)), account_id, source),
            )
            return {key for (key,) in found}

    def receipt(self, account_id: int, key: str) -> Receipt | None:
        """What was answered under an idempotency key within its time."""
        earliest = int(time.time() * 1000) - RECEIPT_MS
        with self._reader() as reader:
            found = _all(
                reader,
                "SELECT digest, answer FROM receipt WHERE account_id = ? AND key = ? AND at_ms >= ?",
                (account_id, key, earliest),
            )
        return Receipt(*found[0]) if found else None

    def quarantined(self, account_id: int | None, reason: str | None) -> Iterator[Quarantined]:
        """What lies in the quarantine, of one account or for one reason, oldest first, a page at a time."""
        last = 0
        while True:
            with self._reader() as reader:
                page = _all(reader, _QUARANTINE, (last, account_id, reason, 500))
            if not page:
                return
            yield from map(_quarantined, page)
            last = page[-1][0]

    def joined(self, seqs: Any) -> Slice:
        """The records of some versions, given by their commit numbers (an array of 64-bit integers), in that order."""
        if not len(seqs):
            return Slice(b"", 0, None)
        with self._reader() as reader:
            found = _all(
                reader,
                "SELECT CAST(group_concat(json, ',') AS BLOB), count(json) FROM"
                " (SELECT json FROM carray(?) CROSS JOIN version ON seq = value)",
                (apsw.carray(seqs),),
            )
            last = _all(reader, "SELECT started_ms, uuid FROM version WHERE seq = ?", (int(seqs[-1]),))
        if not last:
            return Slice(b"", 0, None)
        return Slice(found[0][0], found[0][1], Position(last[0][0], str(UUID(bytes=last[0][1]))))

    def days(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The UTC day of every live version, and the version as `ROW_NAMES`."""
        with self._reader() as reader:
            for day, *row in _each(
                reader,
                f"SELECT {_DAY}, {', '.join(ROW_NAMES)} FROM version WHERE seq_to = {LIVE}",
            ):
                yield day, tuple(row)

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        with self._reader() as reader:
            found = [str(row[0]) for row in _each(reader, "PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def backup(self, target: Path) -> None:
        """Copy the database into a new file, consistent, while it is written to. Raises `DiskFull`.

        In one step: between two of them SQLite would notice every commit, and begin again.
        """
        copy = apsw.Connection(str(target))
        try:
            with self._reader() as reader, copy.backup("main", reader, "main") as backup:
                backup.step(-1)
        except (apsw.FullError, apsw.IOError) as error:
            # The words of the error are about the connection that was read: "not an error".
            raise DiskFull(f"there is no room to copy the ledger to {target}, or it cannot be written there") from error
        finally:
            copy.close()


class LedgerReader:
    """A ledger that is read from end to end and never written, to be moved elsewhere. Nobody else may have it open."""

    def __init__(self, path: Path) -> None:
        """`WrongVersion` for one of another schema version, `UnreadableInput` for what is no ledger."""
        try:
            self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            found = _all(self._reader, "PRAGMA user_version")[0][0]
            if found != len(LEDGER):
                raise WrongVersion(
                    f"{path} has schema version {found}, this program moves version {len(LEDGER)};"
                    f" {'start this Calldex on it once' if found < len(LEDGER) else 'use a newer Calldex'}"
                )
            self.store_id: str = _all(self._reader, "SELECT value FROM meta WHERE name = 'store_id'")[0][0]
            self.last_seq: int = _all(self._reader, "SELECT ifnull(max(seq), 0) FROM version")[0][0]
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.SQLError) as error:
            raise UnreadableInput(f"{path} cannot be read as a ledger: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def accounts(self) -> dict[int, int]:
        """The accounts that have versions, and how many."""
        return dict(_all(self._reader, "SELECT account_id, count(*) FROM version GROUP BY account_id"))

    def purged(self) -> dict[int, int]:
        """For each account the commit up to which superseded versions were dropped, if any were."""
        return dict(_all(self._reader, "SELECT account_id, seq FROM purged"))

    def versions(self, account_id: int, after: int, count: int) -> Iterator[list[Loaded]]:
        """The versions of an account behind a commit, in order, by so many."""
        seqs = array(
            "q",
            (
                seq
                for (seq,) in _each(
                    self._reader,
                    "SELECT seq FROM version WHERE account_id = ? AND seq > ? ORDER BY seq",
                    (account_id, after),
                )
            ),
        )
        names = ", ".join(f"v.{name}" for name in VALUE_NAMES)
        for at in range(0, len(seqs), count):
            found = _each(
                self._reader,
                # What it was ended by, and of a tombstone what it ended, if that is still kept.
                f"SELECT v.seq, v.seq_to, v.uuid, CAST(v.json AS BLOB), v.written_ms, ended.written_ms,"
                f" before.started_ms, {names} FROM carray(?) CROSS JOIN version AS v ON v.seq = value"
                " LEFT JOIN version AS ended ON ended.seq = v.seq_to"
                f" LEFT JOIN version AS before ON v.json IS NULL AND before.seq_to = v.seq AND before.seq_to < {LIVE}",
                (apsw.carray(seqs[at : at + count]),),
            )
            yield list(map(_loaded, found))

    def days(self) -> dict[tuple[int, str], tuple[int, int]]:
        """For each account and UTC day the number of live records and a checksum over them: the sum, modulo 2^64, of
        the lower half of the MD5 of `seq|uuid in hexadecimal digits|JSON`, the first byte the least."""
        days: dict[tuple[int, str], tuple[int, int]] = {}
        for account_id, day, seq, uuid, json in _each(
            self._reader,
            f"SELECT account_id, {_DAY}, seq, uuid, CAST(json AS BLOB) FROM version WHERE seq_to = {LIVE}",
        ):
            digest = hashlib.md5(b"%d|%s|%s" % (seq, uuid.hex().encode(), json), usedforsecurity=False).digest()
            count, sum_ = days.get((account_id, day), (0, 0))
            days[account_id, day] = count + 1, (sum_ + int.from_bytes(digest[8:], "little")) % 2**64
        return days

    def rows_of_calls(self, after: int, count: int) -> list[tuple[int, int, str, KeptRow]]:
        """So many rows of calls behind an id, in order: id, account, source, row."""
        found = _all(
            self._reader,
            "SELECT id, account_id, source, key, links, text, uuid FROM call_row WHERE id > ? ORDER BY id LIMIT ?",
            (after, count),
        )
        return [
            (id_, account_id, source, _kept_row(key, links, text, uuid))
            for id_, account_id, source, key, links, text, uuid in found
        ]

    def quarantined(self, after: int, count: int) -> list[Quarantined]:
        """So many pieces of the quarantine behind an id, in order."""
        return list(map(_quarantined, _all(self._reader, _QUARANTINE, (after, None, None, count))))

    def receipts(self) -> Iterator[tuple[int, str, Receipt, int]]:
        """The answers given under idempotency keys: account, key, answer, and when (epoch milliseconds)."""
        for account_id, key, digest, answer, at_ms in _each(
            self._reader, "SELECT account_id, key, digest, answer, at_ms FROM receipt"
        ):
            yield account_id, key, Receipt(digest, answer), at_ms

    def total_rows(self) -> tuple[int, int]:
        """How many rows of calls there are, and how many pieces in the quarantine."""
        counted = "SELECT (SELECT count(*) FROM call_row), (SELECT count(*) FROM quarantine)"
        rows, pieces = _all(self._reader, counted)[0]
        return rows, pieces


def _loaded(row: tuple[Any, ...]) -> Loaded:
    """A version as it is moved. A tombstone has the start of what it ended."""
    seq, seq_to, uuid, json, written_ms, ended_ms, before_ms, *values = row
    if json is None:
        values[_STARTED] = before_ms or 0
    ended = seq_to if 0 < seq_to < LIVE else None
    return Loaded(seq, ended, uuid, tuple(values), json, written_ms, ended_ms or 0)


def _kept_row(key: bytes, links: str, text: str, uuid: bytes | None) -> KeptRow:
    return KeptRow(
        key, msgspec.json.decode(links, type=tuple[str, ...]), text, None if uuid is None else str(UUID(bytes=uuid))
    )


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    id_, account_id, source, format_, origin, place, reason, raw, at_ms = row
    return Quarantined(
        id=id_,
        account_id=account_id,
        source=source,
        format=format_,
        origin=origin,
        where=place,
        reason=reason,
        raw=raw,
        at_ms=at_ms,
    )


def _fold(connection: apsw.Connection) -> bool:
    """Fold the write-ahead log into the database as far as that can be without waiting; whether all of it was. On a
    full disk it stays, and is tried again later."""
    with suppress(apsw.BusyError, apsw.FullError, apsw.IOError):
        pages, folded = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return pages == folded
    return False


def renew(path: Path) -> None:
    """Give a restored ledger a name of its own, so that tokens and columns made for the one it was copied from are
    refused. Leaves one file; raises `UnreadableInput` when it is no ledger, `DiskFull`."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", (secrets.token_hex(16),))
        renewed = connection.changes()
    except (apsw.FullError, apsw.IOError) as error:
        raise DiskFull(f"the ledger {path} cannot be written: {error}") from error
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError) as error:
        raise UnreadableInput(f"{path} is not a ledger: {error}") from error
    finally:
        connection.close()
    if renewed != 1:
        raise UnreadableInput(f"{path} is not a ledger: it has no name")


def _ready(record: Cdr | Ready) -> Ready:
    return record if isinstance(record, Ready) else ready(record)


def _each(connection: apsw.Connection, text: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement. A damaged file is told as such: nothing but a backup helps then."""
    try:
        yield from connection.execute(text, parameters)
    except apsw.CorruptError as error:
        raise UnreadableInput(
            f"the ledger {connection.filename} is damaged: {error}; stop Calldex and restore a backup"
        ) from error


def _all(connection: apsw.Connection, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return list(_each(connection, text, parameters))
