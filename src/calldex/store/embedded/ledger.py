"""The ledger: SQLite keeps every version of every record. The truth; what it has committed is acknowledged.

Beside the versions it keeps what must become durable in the same commit: the rows of calls, the quarantine, and the
answers given under idempotency keys. It answers by uuid and by commit number; every other question is for `columns`.
One process writes, under the lock of `EmbeddedStore`; any thread reads.
"""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from calldex.clock import now_ms
from calldex.errors import IdempotencyMismatch
from calldex.records.record import Cdr, from_ms
from calldex.store import RECEIPT_MS, AlreadyAnswered, Batch, Head, Outcome, Prepared
from calldex.store.embedded import chain, links, opening, sqlite, staging
from calldex.store.embedded.numbering import Begun, Numbering
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.proof import Fault
from calldex.store.embedded.sqlite import commit
from calldex.store.embedded.sqlite import rows as _all
from calldex.store.embedded.versions import KEPT, Versions
from calldex.store.embedded.wal import WriteAheadLog
from calldex.store.sql import LIVE, prepared, uuid_bytes, values

_MARKS: Final = ", ".join("?" * len(KEPT))
_INSERT: Final = f"INSERT INTO version ({', '.join(KEPT)}, json, written_ms) VALUES ({_MARKS}, ?, ?)"
_PURGED: Final = "SELECT account_id, seq FROM purged"
_OF_LIVE: Final = f"FROM carray(?) CROSS JOIN version ON uuid = value AND account_id = ? AND seq_to = {LIVE}"
PURGED_AT_ONCE: Final = 10_000

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


class Ledger:
    """The open ledger of a data directory."""

    def __init__(self, path: Path) -> None:
        """Open or create; bring an older schema up to date. `WrongVersion` when it is newer than this program,
        `UnreadableInput` when it is no ledger or must not be written, `DiskFull`."""
        self.path = path
        with ExitStack() as opened:  # what is open is closed if the rest cannot be
            self._writer = sqlite.connect(path)
            opened.callback(self._writer.close)
            opening.migrate(self._writer, path.name)
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            self._log = WriteAheadLog(path, self._writer)
            opened.callback(self._log.close)
            self._readers: queue.LifoQueue[sqlite.Connection] = queue.LifoQueue()
            last = _all(self._writer, "SELECT seq, written_ms FROM version ORDER BY seq DESC LIMIT 1")
            self.last_seq: int = last[0][0] if last else 0
            self.packing = Packing(self._writer)
            self.numbering = Numbering(self._writer, self.reader, self.last_seq)
            self._last_ms: int = last[0][1] if last else 0
            self._in_hand_ms: int | None = None
            self.head: Head = links.head(self._writer)
            self._purged: dict[int, int] = dict(_all(self._writer, _PURGED))
            self.versions = Versions(self.reader, self.packing, self.numbering, links.marked(self._writer))
            self.store_id: str = _all(self._writer, "SELECT value FROM meta WHERE name = 'store_id'")[0][0]
            self.gaps: dict[str, Gap] = {
                name: Gap(upto, last)
                for name, upto, last in _all(self._writer, "SELECT name, upto, last FROM fill WHERE last > 0")
            }
            self._opened = opened.pop_all()

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
        self._log.bound()
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
            if known is not None and known[1] == json and known[0] not in self.versions.damaged:
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

    def fill(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]], upto: int) -> None:
        """Set columns of versions (each its values and its number); those up to `upto` have theirs then. Raises
        `DiskFull`."""
        self._log.bound()
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
        self._log.bound()
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
        if self.versions.damaged:
            self.versions.damaged = links.marked(self._writer)
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
        self.versions.damaged = links.marked(self._writer)

    # --- reading ------------------------------------------------------------------------------------------------------

    def purged_upto(self, account_id: int) -> int:
        """The greatest commit number whose superseded versions have been dropped from an account."""
        return self._purged.get(account_id, 0)

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


def _prepared(record: Cdr | Prepared) -> Prepared:
    return record if isinstance(record, Prepared) else prepared(record)
