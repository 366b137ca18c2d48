"""The ledger: SQLite keeps every version of every record. The truth; what it has committed is acknowledged.

Beside the versions it keeps what must become durable in the same commit: the rows of calls, the quarantine, and the
answers given under idempotency keys. It answers by uuid and by commit number; every other question is for `columns`.
One process writes, under the lock of `EmbeddedStore`; any thread reads.
"""

from __future__ import annotations

import queue
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from calldex.clock import now_ms
from calldex.errors import IdempotencyMismatch, RecordDamaged, StoreDamaged, Unavailable, UnreadableInput, WrongVersion
from calldex.records.record import Cdr, from_ms
from calldex.search.query import Query
from calldex.store import (
    RECEIPT_MS,
    AlreadyAnswered,
    Batch,
    Head,
    Outcome,
    Position,
    Prepared,
    Slice,
    Version,
)
from calldex.store.embedded import chain, links, sqlite, staging
from calldex.store.embedded.dialect import SQLITE
from calldex.store.embedded.numbering import NUMBER, Begun, Numbering
from calldex.store.embedded.packing import COMMA, Garbled, Packing, put_dictionary
from calldex.store.embedded.proof import Fault, faults
from calldex.store.embedded.schema import LEDGER
from calldex.store.embedded.sqlite import commit
from calldex.store.embedded.sqlite import rows as _all
from calldex.store.sql import LIVE, VALUE_NAMES, conjunction, following, layout, prepared, uuid_bytes, values, where

_KEPT: Final = ("seq", "seq_to", "account_id", "uuid", *VALUE_NAMES)
ROW_NAMES: Final = (*_KEPT, "number")
"""What `columns` is given of a version, in this order."""

_MARKS: Final = ", ".join("?" * len(_KEPT))
_INSERT: Final = f"INSERT INTO version ({', '.join(_KEPT)}, json, written_ms) VALUES ({_MARKS}, ?, ?)"
_ROW: Final = f"{', '.join(_KEPT)}, {NUMBER.format('version.seq')}"
_PURGED: Final = "SELECT account_id, seq FROM purged"
_ROWS: Final = f"SELECT {_ROW} FROM version"
_OF_LIVE: Final = f"FROM carray(?) CROSS JOIN version ON uuid = value AND account_id = ? AND seq_to = {LIVE}"

_FAR_S: Final = 10**11
"""More seconds than any instant lies before 1970."""
DAY: Final = f"date((started_ms + {_FAR_S}000) / 1000 - {_FAR_S}, 'unixepoch')"
"""The UTC day of a version, of years before 1970 as well: SQLite divides towards zero."""
_CHECKPOINT_PAGES: Final = 8192
_MOST_PAGES: Final = 2 * _CHECKPOINT_PAGES
"""When so many pages lie in the write-ahead log, nothing is written before it was folded in: with the largest batch, it
never holds more than twice as many."""
_AT_ONCE: Final = 20_000
"""How many versions are looked at in one statement, where all of them are."""
PURGED_AT_ONCE: Final = 10_000
_TEXTS: Final = frozenset(column.name for column in layout(SQLITE) if column.type == "TEXT")
_FOLDINGS: Final = 3
LINKED: Final = 2
"""The migration with which links came."""
PACKED: Final = 7
"""The one with which dictionaries came."""

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


class Gap(msgspec.Struct, frozen=True):
    """A column that a migration added: versions up to `last` were there before it, those up to `upto` have values."""

    upto: int
    last: int


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
        with ExitStack() as opened:  # what is open is closed if the rest cannot be
            self._writer = sqlite.connect(path)
            opened.callback(self._writer.close)
            self._migrate()
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            self._beside = sqlite.connect(path)
            opened.callback(self._beside.close)
            self._folder = ThreadPoolExecutor(1, "ledger-folder")
            opened.callback(self._folder.shutdown)
            self._folding: Future[None] | None = None
            self._log_pages = 0
            self._writer.set_wal_hook(self._after_commit)
            self._readers: queue.LifoQueue[sqlite.Connection] = queue.LifoQueue()
            last = _all(self._writer, "SELECT seq, written_ms FROM version ORDER BY seq DESC LIMIT 1")
            self.last_seq: int = last[0][0] if last else 0
            self.packing = Packing(self._writer)
            self.numbering = Numbering(self._writer, self.reader, self.last_seq)
            self._last_ms: int = last[0][1] if last else 0
            self._in_hand_ms: int | None = None
            self.head: Head = links.head(self._writer)
            self._purged: dict[int, int] = dict(_all(self._writer, _PURGED))
            self.damaged: dict[int, str] = links.marked(self._writer)
            self.store_id: str = _all(self._writer, "SELECT value FROM meta WHERE name = 'store_id'")[0][0]
            self.gaps: dict[str, Gap] = {
                name: Gap(upto, last)
                for name, upto, last in _all(self._writer, "SELECT name, upto, last FROM fill WHERE last > 0")
            }
            self._opened = opened.pop_all()

    def _after_commit(self, connection: sqlite.Connection, name: str, pages: int) -> int:
        """Have the write-ahead log folded into the database, beside the commits that follow: it takes a quarter of the
        time that they do."""
        self._log_pages = pages
        if pages >= _CHECKPOINT_PAGES and (self._folding is None or self._folding.done()):
            self._folding = self._folder.submit(self._fold_beside)
        return sqlite.OK

    def _bound_log(self) -> None:
        """If the write-ahead log has become so long that no more may come to it, fold it in here, and wait for that.
        Raises `Unavailable` if somebody reads what lies in it and does not end."""
        if self._log_pages < _MOST_PAGES:
            return
        if self._folding is not None:
            self._folding.result()  # of two that fold, SQLite refuses the second
        if not sqlite.fold(self._writer, wholly=True):
            raise Unavailable(
                "somebody has read the ledger for too long, and its write-ahead log must not grow further; nothing of"
                " this was kept",
                retry_after=2,
            )
        self._log_pages = 0

    def _fold_beside(self) -> None:
        """The first time takes long, and commits were added meanwhile; without these the log cannot begin anew."""
        for _ in range(_FOLDINGS):
            if sqlite.fold(self._beside):
                return

    def _migrate(self) -> None:
        """Bring the schema up to date, each migration in a transaction of its own."""
        found = _all(self._writer, "PRAGMA user_version")[0][0]
        if found == 0:
            is_ledger(self._writer)  # or what it has are somebody else's tables
        if found > len(LEDGER):
            raise WrongVersion(
                f"{self.path.name} has schema version {found}; this program knows versions up to {len(LEDGER)}."
                " Use a newer Calldex, or restore a backup made by this one."
            )
        for migration in LEDGER[found:]:
            with commit(self._writer):
                self._writer.execute(migration.text)
                if migration.number == 1:
                    self._writer.execute("INSERT INTO meta VALUES ('store_id', ?)", (secrets.token_hex(16),))
                if migration.number == LINKED:
                    links.link_all(self._writer)
                if migration.number == PACKED:
                    put_dictionary(self._writer)
                self._writer.execute(f"PRAGMA user_version = {migration.number}")

    @contextmanager
    def reader(self) -> Iterator[sqlite.Connection]:
        """A connection for reading, used by one thread at a time."""
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = sqlite.reading(self.path)
            self._opened.callback(connection.close)
        try:
            yield connection
        finally:
            self._readers.put(connection)

    def close(self) -> None:
        """Let go of the files; SQLite folds its write-ahead log into the database."""
        self._opened.close()

    def _now_ms(self) -> int:
        """When a commit is made. None is dated before the one it follows, also when the clock was set back: by that
        it is told what is old enough to be dropped."""
        self._last_ms = max(now_ms(), self._last_ms)
        return self._last_ms

    @property
    def complete_ms(self) -> int:
        """What is committed from now on is dated at this instant at the earliest."""
        return self._now_ms() if self._in_hand_ms is None else self._in_hand_ms

    @contextmanager
    def _dated(self) -> Iterator[int]:
        """When the commit is made that is made within; until its end nobody may say that all is there from then on."""
        self._in_hand_ms = self._last_ms  # before the clock is read: nobody may see a later time meanwhile
        self._in_hand_ms = now = self._now_ms()
        try:
            yield now
        finally:
            self._in_hand_ms = None

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, batches: Sequence[Batch]) -> list[Written | IdempotencyMismatch | AlreadyAnswered]:
        """Commit some batches at once, each all of it or nothing: what each did, or why it was not written. Raises
        `DiskFull`, or `Unavailable`; then nothing of any was."""
        self._bound_log()
        done: list[Written | IdempotencyMismatch | AlreadyAnswered] = []
        begun: list[tuple[Any, ...]] = []
        numbers = self.numbering.begin(self.last_seq, self.head)
        with self._dated() as now, self._kept(numbers):
            for batch in batches:
                number = numbers.next(batch.account_id)
                try:
                    with commit(self._writer):
                        written, some = self._put(batch, numbers.upto, number, now)
                except (IdempotencyMismatch, AlreadyAnswered) as refused:
                    done.append(refused)
                else:
                    done.append(written)
                    begun += some
                    numbers.put(self._writer, batch.account_id, len(some))
            numbers.head = self._link(begun)  # one for all: the directory's may be one behind, and no more
        return done

    @contextmanager
    def _kept(self, numbers: Begun) -> Iterator[None]:
        """A commit, within which its number and its link are made; both are known before it counts as complete."""
        with commit(self._writer):
            yield
        self.numbering.keep(numbers)
        self.last_seq, self.head = numbers.upto, numbers.head

    def _put(self, batch: Batch, before: int, number: int, now: int) -> tuple[Written, list[tuple[Any, ...]]]:
        rows = [
            (seq, LIVE, batch.account_id, uuid_bytes(made.uuid), *made.values, made.json, now)
            for seq, made in enumerate(map(_prepared, batch.records), before + 1)
        ]
        new = self._put_new(rows)
        outcomes, begun = self._accepted(rows) if new else self._put_versions(batch.account_id, rows, before)
        removed, ended = self._close(batch.account_id, batch.removed, before + len(begun), now)
        outcomes, begun = outcomes + removed, begun + ended
        staging.put(self._writer, batch, outcomes, now)
        fresh = None
        if new and not batch.removed:
            fresh = [(*row[:-2], number) for number, row in enumerate(rows, number)]
        return Written(outcomes, before, before + len(begun), fresh), begun

    def _put_new(self, rows: list[tuple[Any, ...]]) -> bool:
        """Most batches hold only new records: insert them all at once. False, and nothing inserted, if one is not."""
        try:
            sqlite.insert(self._writer, _INSERT, self.packing.packed(rows))
        except sqlite.Rejected:
            return False
        return True

    def _accepted(self, rows: list[tuple[Any, ...]]) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        return [Outcome.ACCEPTED] * len(rows), list(rows)

    def _put_versions(
        self, account_id: int, rows: list[tuple[Any, ...]], before: int
    ) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        """Insert those rows that differ from the live version of their record, numbered anew; they as well. A version
        that is damaged is replaced by the same record."""
        live = self._live(account_id, tuple(row[3] for row in rows))
        outcomes: list[Outcome] = []
        begun: list[tuple[Any, ...]] = []
        for row in rows:
            uuid, json = row[3], row[-2]
            known = live.get(uuid)
            if known is not None and known[1] == json and known[0] not in self.damaged:
                outcomes.append(Outcome.UNCHANGED)
                continue
            seq = before + len(begun) + 1
            if known is not None:
                self._writer.execute("UPDATE version SET seq_to = ? WHERE seq = ?", (seq, known[0]))
            begun.append((seq, *row[1:]))
            self._writer.execute(_INSERT, next(self.packing.packed(begun[-1:])))
            outcomes.append(Outcome.ACCEPTED if known is None else Outcome.UPDATED)
            live[uuid] = (seq, json)
        return outcomes, begun

    def _live(self, account_id: int, uuids: tuple[bytes, ...]) -> dict[bytes, tuple[int, bytes | None]]:
        found = _all(
            self._writer,
            f"SELECT uuid, seq, CAST(json AS BLOB) {_OF_LIVE}",
            (sqlite.carray(uuids), account_id),
        )
        texts = self.packing.readable([stored for _, _, stored in found])
        return {uuid: (seq, json) for (uuid, seq, _), json in zip(found, texts, strict=True)}

    def _close(
        self, account_id: int, uuids: Sequence[str], last: int, now: int
    ) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        """End the live versions of some records, each with a tombstone; what became of each uuid, and the tombstones,
        numbered from behind `last`.

        A tombstone is a version without content that was never visible: its `seq_to` is negative.
        """
        begun: list[tuple[Any, ...]] = []
        if not uuids:
            return [], begun
        wanted = tuple(uuid_bytes(uuid) for uuid in uuids)
        live = dict(_all(self._writer, f"SELECT uuid, seq {_OF_LIVE}", (sqlite.carray(wanted), account_id)))
        blank = values(_BLANK)
        for uuid, ended in sorted(live.items()):
            seq = last + len(begun) + 1
            self._writer.execute("UPDATE version SET seq_to = ? WHERE seq = ?", (seq, ended))
            begun.append((seq, -seq, account_id, uuid, *blank, None, now))
            self._writer.execute(_INSERT, begun[-1])
        # A uuid that is named twice is there the first time only.
        return [Outcome.ABSENT if live.pop(uuid, None) is None else Outcome.DELETED for uuid in wanted], begun

    def _link(self, begun: Sequence[tuple[Any, ...]]) -> Head:
        """Put the versions that a commit began into the chain; its head, to be kept when the commit is made."""
        return links.put(self._writer, self.head, begun[-1][0], chain.digests(begun)) if begun else self.head

    def erase(self, account_id: int, uuids: Sequence[str]) -> tuple[int, int]:
        """Close the live versions of these records; how many there were, and the last commit number. Raises
        `DiskFull`."""
        self._bound_log()
        numbers = self.numbering.begin(self.last_seq, self.head)
        with self._dated() as now, self._kept(numbers):
            _, begun = self._close(account_id, uuids, self.last_seq, now)
            numbers.put(self._writer, account_id, len(begun))
            numbers.head = self._link(begun)
        return len(begun), self.last_seq

    def fill(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]], upto: int) -> None:
        """Set columns of versions (each its values and its number); those up to `upto` have theirs then. Raises
        `DiskFull`."""
        self._bound_log()
        with commit(self._writer):
            self._writer.executemany(
                f"UPDATE version SET {', '.join(f'{name} = ?' for name in names)} WHERE seq = ?", rows
            )
            self._writer.executemany(
                "UPDATE fill SET upto = max(upto, min(?, last)) WHERE name = ?", [(upto, name) for name in names]
            )
        for name in names:
            gap = self.gaps[name]
            self.gaps[name] = Gap(max(gap.upto, min(upto, gap.last)), gap.last)

    def purge(self, superseded_before_ms: int, now_ms: int, upto: int) -> tuple[int, int]:
        """Drop versions superseded before an instant and by a commit up to `upto`, the oldest first and no more than
        one commit should hold, and receipts that ended; how many versions went, and the commit up to which. Raises
        `DiskFull`.

        Commits are numbered in the order of time, so the last commit before the instant bounds what may go.
        """
        self._bound_log()
        ended = f"seq_to > 0 AND seq_to <= ? AND seq_to < {LIVE}"
        with commit(self._writer):
            self._writer.execute("DELETE FROM receipt WHERE at_ms < ?", (now_ms - RECEIPT_MS,))
            bound = min(_commit_before(self._writer, superseded_before_ms, self.last_seq), upto)
            more = _all(
                self._writer,
                f"SELECT seq_to FROM version WHERE {ended} ORDER BY seq_to LIMIT 1 OFFSET {PURGED_AT_ONCE - 1}",
                (bound,),
            )
            bound = more[0][0] if more else bound
            self._writer.execute(
                f"INSERT INTO purged SELECT account_id, max(seq_to) FROM version WHERE {ended} GROUP BY account_id"
                " ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq",
                (bound,),
            )
            self._writer.execute(
                "INSERT INTO link_purged SELECT (SELECT min(l.seq) FROM link AS l WHERE l.seq >= v.seq) AS commit_seq,"
                f" count(*) FROM version AS v WHERE {ended} GROUP BY commit_seq"
                " ON CONFLICT (seq) DO UPDATE SET versions = versions + excluded.versions",
                (bound,),
            )
            self._purged = dict(_all(self._writer, _PURGED))  # before anybody can miss what goes
            self._writer.execute(f"DELETE FROM version WHERE {ended}", (bound,))
            count = self._writer.changes()
            self._writer.execute("DELETE FROM damaged WHERE seq NOT IN (SELECT seq FROM version)")
        if self.damaged:
            self.damaged = links.marked(self._writer)
        return count, bound

    def commit_before(self, ms: int) -> int:
        """The last commit that was made before an instant: none is dated before the one it follows."""
        with self.reader() as reader:
            return _commit_before(reader, ms, self.last_seq)

    def is_lost(self) -> bool:
        """Whether the file that is open is no longer the one that has its name."""
        try:
            found = self.path.stat()
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._file

    def bind(self) -> None:
        """Note that a directory keeps the head from now on, so that a directory which does not know this ledger is told
        from one that it has not met yet."""
        with commit(self._writer):
            self._writer.execute("INSERT OR IGNORE INTO meta VALUES ('bound', 1)")

    # --- what is damaged ----------------------------------------------------------------------------------------------

    def mark(self, found: Sequence[Fault], *, after: int = 0, upto: int) -> None:
        """Keep which versions of some commits are damaged, so that nobody is given them: these, and no others."""
        now = self._now_ms()
        with commit(self._writer):
            links.mark(self._writer, found, (after, upto), now)
        self.damaged = links.marked(self._writer)

    def faults(self, *, after: int = 0, upto: int, ends: bool = True) -> Iterator[Fault]:
        """What is wrong with the versions of some commits, see `proof.faults`."""
        return faults(self.reader, upto, after=after, ends=ends)

    def refuse_damaged(self, seqs: Iterable[int]) -> None:
        """`RecordDamaged` if a version that is to be given is none that was written."""
        if self.damaged and (found := next((seq for seq in seqs if seq in self.damaged), None)) is not None:
            raise _damaged(self.damaged[found])

    def plain(self, seqs: Sequence[int], stored: Sequence[bytes]) -> Sequence[Any]:
        """The JSON of some versions, of their places and what lies there, to be joined or made bytes. `RecordDamaged`
        if one cannot be decompressed, found before or not."""
        try:
            return self.packing.unpack(stored)
        except Garbled as error:
            with self.reader() as reader:
                ((uuid,),) = _all(reader, "SELECT uuid FROM version WHERE seq = ?", (int(seqs[error.place]),))
            raise _damaged(str(UUID(bytes=uuid))) from error

    # --- reading ------------------------------------------------------------------------------------------------------

    def rows_after(self, seq: int, limit: int) -> list[tuple[Any, ...]]:
        """The next versions with content behind a commit number, in order, as `ROW_NAMES`. Of those that cannot be read
        as they were written, as much as can; nobody is given them, once they are marked."""
        try:
            with self.reader() as reader:
                return _all(
                    reader, f"{_ROWS} WHERE seq > ? AND seq <= ? AND json IS NOT NULL ORDER BY seq", (seq, seq + limit)
                )
        except StoreDamaged:
            if limit > 1:
                return self.rows_after(seq, limit // 2) + self.rows_after(seq + limit // 2, limit - limit // 2)
            return self._salvaged(seq + 1)

    def _salvaged(self, seq: int) -> list[tuple[Any, ...]]:
        """A version of which something is damaged; nothing if it cannot be read at all."""
        names = ", ".join(f"CAST({name} AS BLOB)" if name in _TEXTS else name for name in _KEPT)
        try:
            with self.reader() as reader:
                found = _all(
                    reader,
                    f"SELECT {names}, {NUMBER.format('version.seq')} FROM version WHERE seq = ? AND json IS NOT NULL",
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

    def linked_upto(self, seq: int) -> int:
        """The last commit that ends at a number or before it."""
        with self.reader() as reader:
            return int(_all(reader, "SELECT ifnull(max(seq), 0) FROM link WHERE seq <= ?", (seq,))[0][0])

    def texts(self, after: int, upto: int, limit: int) -> list[tuple[int, bytes]]:
        """The places and the JSON, as it lies there, of the next versions with content behind one, up to another."""
        with self.reader() as reader:
            return _all(
                reader,
                "SELECT seq, CAST(json AS BLOB) FROM version WHERE seq > ? AND seq <= ? AND json IS NOT NULL"
                " ORDER BY seq LIMIT ?",
                (after, upto, limit),
            )

    def columns_of(self, names: Sequence[str], after: int, upto: int) -> list[tuple[Any, ...]]:
        """The place and some columns of the versions behind a commit, up to another."""
        asked = ", ".join(NUMBER.format("version.seq") if name == "number" else name for name in names)
        with self.reader() as reader:
            return _all(
                reader,
                f"SELECT seq, {asked} FROM version WHERE seq > ? AND seq <= ? AND json IS NOT NULL",
                (after, upto),
            )

    def closings(self, after: int, upto: int) -> list[Closing]:
        """The versions superseded by the commits behind `after`, up to a commit number."""
        with self.reader() as reader:
            found = _all(
                reader,
                "SELECT seq, seq_to, account_id, started_ms FROM version"
                f" WHERE seq_to > ? AND seq_to <= ? AND seq_to < {LIVE}",
                (after, upto),
            )
            return [Closing(*row) for row in found]

    def versions(self, account_id: int, uuid: str, *, live_only: bool = False) -> list[Version]:
        """The kept versions of a record, oldest first; tombstones among them."""
        with self.reader() as reader:
            found = _all(
                reader,
                "SELECT seq, seq_to, CAST(json AS BLOB), written_ms FROM version WHERE account_id = ? AND uuid = ?"
                f"{f' AND seq_to = {LIVE}' if live_only else ''} ORDER BY seq",
                (account_id, uuid_bytes(uuid)),
            )
        self.refuse_damaged(row[0] for row in found)
        return [
            Version(
                self.numbering.number(account_id, seq),
                None if seq_to == LIVE else self.numbering.number(account_id, abs(seq_to)),
                uuid,
                None if json is None else bytes(self.plain([seq], [json])[0]),
                written_ms,
            )
            for seq, seq_to, json, written_ms in found
        ]

    def total(self, query: Query, as_of: int) -> int:
        """How many records match; only for queries that name uuids, which the index finds."""
        condition = where(query, as_of, SQLITE)
        with self.reader() as reader:
            found = _all(reader, f"SELECT count(*) FROM version WHERE {condition.text}", condition.parameters)
        return int(found[0][0])

    def slice(self, query: Query, as_of: int, *, limit: int, after: Position | None, skip: int) -> Slice:
        """The next records of a query that names uuids, newest first."""
        condition = where(query, as_of, SQLITE)
        if after is not None:
            condition = conjunction(condition, following(after, SQLITE))
        with self.reader() as reader:
            found = _all(
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
        return Slice(b",".join(self.plain([row[0] for row in found], [row[1] for row in found])), len(found), last)

    def purged_upto(self, account_id: int) -> int:
        """The greatest commit number whose superseded versions have been dropped from an account."""
        return self._purged.get(account_id, 0)

    def joined(self, seqs: Any) -> Slice:
        """The records of some versions, given by their commit numbers (an array of 64-bit integers), in that order."""
        with self.reader() as reader:
            return self.joined_by(reader, seqs)

    def joined_by(self, reader: sqlite.Connection, seqs: Any) -> Slice:
        """The same through a connection, as of what it reads."""
        if not len(seqs):
            return Slice(b"", 0, None)
        if self.damaged:
            self.refuse_damaged(map(int, seqs))
        ((stored, count, shortest),) = _all(
            reader,
            "SELECT CAST(group_concat(json, ?2) AS BLOB), count(json), min(length(json))"
            " FROM carray(?1) CROSS JOIN version ON seq = value",
            (sqlite.carray(seqs), COMMA),
        )
        last = _all(reader, "SELECT started_ms, uuid, CAST(json AS BLOB) FROM version WHERE seq = ?", (int(seqs[-1]),))
        if count < len(seqs) or not last:
            return Slice(b"", count, None)
        ((started_ms, uuid, json),) = last
        texts = self.packing.joined(stored, json) if shortest else None
        if texts is None:
            asked = "SELECT CAST(json AS BLOB) FROM carray(?) CROSS JOIN version ON seq = value"
            one_by_one = [stored for (stored,) in _all(reader, asked, (sqlite.carray(seqs),))]
            texts, count = b",".join(self.plain(seqs, one_by_one)), len(one_by_one)
        return Slice(texts, count, Position(started_ms, str(UUID(bytes=uuid))))

    def uuids(self, seqs: Any) -> list[bytes]:
        """The uuids of some versions, given as for `joined`, in that order; of those that are kept."""
        with self.reader() as reader:
            found = _all(reader, "SELECT uuid FROM carray(?) CROSS JOIN version ON seq = value", (sqlite.carray(seqs),))
        return [uuid for (uuid,) in found]

    def days(self, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The UTC day of every version that was live as of a commit, and the version as `ROW_NAMES`."""
        return versions_by_day(self.reader, as_of)

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        with self.reader() as reader:
            return sqlite.integrity(reader)

    def backup(self, target: Path) -> Generator[bool, None, None]:
        """Copy the database into a new file, consistent, while it is written to between two steps. Raises `DiskFull`.

        The writer copies: what it writes meanwhile it writes to the copy as well, and nobody reads for so long that the
        write-ahead log could not be folded in.
        """
        return sqlite.copy(self._writer, target)


def _commit_before(connection: sqlite.Connection, ms: int, last: int) -> int:
    """Found by halving."""
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        found = _all(
            connection, "SELECT seq, written_ms FROM version WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
        )
        if not found or found[0][1] < ms:
            low = middle
        else:
            high = found[0][0] - 1
    return low


def versions_by_day(readers: sqlite.Readers, as_of: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """See `Ledger.days`. In pieces, none of which keeps the write-ahead log for long."""
    for after in range(0, as_of, _AT_ONCE):
        with readers() as reader:
            found = _all(
                reader,
                f"SELECT {DAY}, {_ROW} FROM version WHERE seq > ? AND seq <= ? AND seq_to > ?",
                (after, min(after + _AT_ONCE, as_of), as_of),
            )
        for day, *row in found:
            yield day, tuple(row)


def renew(path: Path) -> str:
    """Give a ledger that nobody has open a name of its own, so that tokens and columns made for the one it was copied
    from are refused; the new name. Leaves one file; raises `UnreadableInput` when it is no ledger, `DiskFull`."""
    store_id = secrets.token_hex(16)
    with sqlite.alone(path) as connection:
        try:
            found = _all(connection, "UPDATE meta SET value = ? WHERE name = 'store_id' RETURNING 1", (store_id,))
        except (sqlite.Unknown, StoreDamaged) as error:
            raise UnreadableInput(f"{path} is not a ledger: {error}") from error
    if not found:
        raise UnreadableInput(f"{path} is not a ledger: it has no name")
    return store_id


def _damaged(uuid: str) -> RecordDamaged:
    return RecordDamaged(
        f"the record {uuid} is damaged: it is not what was written, so it is not given. Whoever runs this server learns"
        " more from `calldex check`; sending the record again replaces it"
    )


def _prepared(record: Cdr | Prepared) -> Prepared:
    return record if isinstance(record, Prepared) else prepared(record)


def is_ledger(connection: sqlite.Connection) -> bool:
    """Whether a database has the tables of a ledger; `UnreadableInput` if it has others."""
    names = {name for (name,) in _all(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if names and not {"meta", "version"} <= names:
        raise UnreadableInput(
            f"{connection.filename} is a database of something else (it has {', '.join(sorted(names)[:3])}); put the"
            " ledger back in its place, or restore a backup"
        )
    return bool(names)
