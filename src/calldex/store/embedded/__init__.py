"""The store on one machine: SQLite keeps the records, DuckDB answers questions about them.

A record is acknowledged when the ledger has committed it. A thread of its own brings the columns up to the ledger's
last commit; searches wait for it where somebody was told that they see what was written. Missing, damaged, foreign or
outdated columns are made again from the ledger by that thread, while look-ups by uuid go on: those are answered by the
ledger alone. For every other search the columns say which records, in which order, and the ledger gives their JSON.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from calldex.access import Scope
from calldex.errors import CalldexError, DiskFull, TokenExpired, Unavailable
from calldex.search.query import Query
from calldex.search.statistics import Grouping
from calldex.store import (
    Batch,
    Capabilities,
    DayCheck,
    Head,
    Mentioned,
    MissedAsk,
    MissedLine,
    Outcome,
    Position,
    Slice,
    State,
    Version,
)
from calldex.store.embedded.changes import LedgerLog
from calldex.store.embedded.columns import Columns, Seqs
from calldex.store.embedded.comparing import compared, filled_columns
from calldex.store.embedded.engine import Damaged
from calldex.store.embedded.fill import Filler
from calldex.store.embedded.follower import Follower
from calldex.store.embedded.index import Index
from calldex.store.embedded.ledger import PURGED_AT_ONCE, Ledger, Written
from calldex.store.embedded.proof import in_lines
from calldex.store.embedded.queue import Queue, Waiting
from calldex.store.embedded.reader import proved
from calldex.store.embedded.staging import Staging
from calldex.store.embedded.turns import Turns
from calldex.store.sql import numbered

LEDGER_FILE: Final = "ledger.db"
COLUMNS_FILE: Final = "columns.duckdb"
_AHEAD: Final = 50_000
"""Of so many records that are walked through the columns say at once where they lie."""


class EmbeddedStore(Staging):
    """See `calldex.store.Store`."""

    def __init__(
        self,
        data: Path,
        *,
        memory_mb: int,
        index_mb: int,
        threads: int,
        timeout_s: float,
        superseded_kept_s: float,
        keep: Callable[[str, Head], None] = lambda name, head: None,
    ) -> None:
        """Open or create the store in a data directory. `superseded_kept_s`: how long a superseded version is kept,
        longer than any search token lives. `keep` keeps, by the store's name and on disk, the head of the chain of
        commits: it is called after each commit, and the next one waits for it."""
        self._superseded_kept_s = superseded_kept_s
        self._timeout_s = timeout_s
        self._ledger = Ledger(data / LEDGER_FILE)
        self._numbering = self._ledger.numbering
        super().__init__(self._ledger.reader)
        self.log = LedgerLog(self._ledger, lambda query: self._filler.refuse(query, None))
        try:
            self._turns = Turns(self._ledger, keep, timeout_s)
        except BaseException:
            self._ledger.close()
            raise
        self._assembling = threading.Lock()
        self.queue = Queue(self._ledger.write)
        self._follower = Follower(
            self._ledger,
            self._turns,
            data / COLUMNS_FILE,
            memory_mb=memory_mb,
            index_mb=index_mb,
            threads=threads,
            timeout_s=timeout_s,
        )
        self._filler = Filler(self._ledger, self._turns.turn, self._follower.answer)

    capabilities = Capabilities()

    @property
    def store_id(self) -> str:
        """Differs between stores, and between a store and its restored backup."""
        return self._ledger.store_id

    # --- Store --------------------------------------------------------------------------------------------------------

    def write(self, batch: Batch, *, wait: bool = True) -> list[Outcome]:
        """See `Store.write`. While the columns are being made again, visible means: once they are."""
        (mine,) = self._written([batch])
        written = mine.result()
        if wait:  # also for what is unchanged: who wrote it first may not have waited
            self._follower.promise(written.last_seq)
        return written.outcomes

    def write_all(self, batches: Sequence[Batch]) -> list[list[Outcome] | Exception]:
        """See `Store.write_all`."""
        if not batches:
            return []
        found = [_became(each) for each in self._written(batches)]
        try:
            self._follower.promise(max((each.last_seq for each in found if isinstance(each, Written)), default=0))
        except CalldexError as error:
            return [error if isinstance(each, Written) else each for each in found]
        return [each.outcomes if isinstance(each, Written) else each for each in found]

    def _written(self, batches: Sequence[Batch]) -> list[Waiting]:
        """What became of some batches. Those that wait for their turn at once share a commit: whoever gets it first
        writes for all of them."""
        mine = [self.queue.put(batch) for batch in batches]
        try:
            with self._turns.turn(mine[-1].done) as needed:
                before = self._ledger.last_seq
                for written in self.queue.write_until(mine):
                    self._follower.written(written)
                if needed and self._ledger.last_seq > before:
                    self._turns.committed()
                    self._follower.wake()
        except Unavailable as error:
            for each in mine:
                if self.queue.withdraw(each):
                    each.set_exception(error)
        return mine

    def assemble(self, account_id: int, make: Callable[[], Batch]) -> list[Outcome]:
        """See `Store.assemble`."""
        with self._assembling:
            return self.write(make(), wait=False)

    def settle(self) -> None:
        """See `Store.settle`."""
        self._follower.settle()

    def head(self, account_id: int) -> int:
        """See `Store.head`. While the columns cannot answer it is the ledger's end, so that searches by uuid need not
        wait; whoever asks the columns waits until they have reached it."""
        if not (self._follower.answering or self._follower.full):
            return self._numbering.last(account_id)
        # Without room the columns answer as far as they had come.
        for as_of in (self._follower.promised, 0)[self._follower.full :]:
            with suppress(DiskFull):
                head = self._follower.answer(lambda columns: columns.head(account_id), as_of)
                # The last change of an account may have been an erasure that was purged since.
                return self._numbering.number(account_id, max(head, self._ledger.purged_upto(account_id)))
        return self._numbering.last(account_id)

    def head_at_once(self, account_id: int) -> int | None:
        """See `Store.head_at_once`. It is waited for while something is promised that cannot be searched yet."""
        columns = self._follower.columns
        if (
            columns is None
            or not self._follower.answering
            or columns.is_counting()
            or columns.applied < self._follower.promised
        ):
            return None
        head = max(columns.head(account_id), self._ledger.purged_upto(account_id))
        return self._numbering.number_at_once(account_id, head)

    def purged_upto(self, account_id: int) -> int:
        """See `Store.purged_upto`."""
        return self._numbering.number(account_id, self._ledger.purged_upto(account_id))

    def total(self, query: Query, as_of: int) -> int:
        """See `Store.total`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)

        def total(columns: Columns) -> int:
            return columns.total(self._in_columns(query, columns), as_of)

        if _names_uuids(query):
            self._filler.refuse(query, None)
            found = self._ledger.versions.total(query, as_of)
        else:
            found = self._follower.answer(total, as_of)
        self._refuse_purged(query, as_of)
        return found

    def aggregate(self, query: Query, as_of: int, grouping: Grouping) -> list[tuple[Any, ...]]:
        """See `Store.aggregate`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        used = [*grouping.by, *("number" if each.how == "hash" else each.column for each in grouping.measures)]

        def aggregate(columns: Columns) -> list[tuple[Any, ...]]:
            self._filler.refuse(query, columns, used)
            return columns.aggregate(self._in_columns(query, columns), as_of, grouping)

        found = self._follower.answer(aggregate, as_of)
        self._refuse_purged(query, as_of)
        return found

    def missed(self, query: Query, as_of: int, ask: MissedAsk) -> tuple[int, list[MissedLine]]:
        """See `Store.missed`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        found = self._follower.answer(
            lambda columns: columns.missed(self._in_columns(query, columns), as_of, ask), as_of
        )
        self._refuse_purged(query, as_of)
        return found

    def slice(
        self, query: Query, as_of: int, *, limit: int, total: int, after: Position | None = None, skip: int = 0
    ) -> Slice:
        """See `Store.slice`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        if _names_uuids(query):
            self._filler.refuse(query, None)
            found = self._ledger.versions.slice(query, as_of, limit=limit, after=after, skip=skip)
            self._refuse_purged(query, as_of)
            return found

        def page(columns: Columns) -> Slice:
            asked = self._in_columns(query, columns)
            seqs = columns.page(asked, as_of, limit=limit, total=total, after=after, skip=skip)
            found = self._ledger.versions.joined(seqs)
            self._refuse_purged(query, as_of)
            if found.count != len(seqs):
                raise Damaged("they name versions that the ledger does not have")
            return found

        return self._follower.answer(page, as_of)

    def walk(
        self, query: Query, as_of: int, *, size: int, total: int, passed: int = 0, after: Position | None = None
    ) -> Iterator[Slice]:
        """See `Store.walk`. The columns say for many records at once where they lie: asking them costs as much as
        reading thousands."""
        place = self._numbering.seq(query.scope.account_id, as_of)
        left, seqs = total - passed, np.empty(0, dtype=np.int64)
        while left > 0:
            if not len(seqs) and not _names_uuids(query):
                ask = partial(self._places, query, place, limit=min(_AHEAD, left), total=total, after=after)
                seqs = self._follower.answer(ask, place)
            some, seqs = seqs[:size], seqs[size:]
            found = self._ledger.versions.joined(some)
            self._refuse_purged(query, place)
            if not found.count or found.count != len(some):  # the ledger answers, or the columns are damaged
                found, seqs = self.slice(query, as_of, limit=min(size, left), total=total, after=after), seqs[:0]
            if not found.count:
                return
            yield found
            after, left = found.last, left - found.count

    def _places(
        self, query: Query, place: int, columns: Columns, *, limit: int, total: int, after: Position | None
    ) -> Seqs:
        return columns.page(self._in_columns(query, columns), place, limit=limit, total=total, after=after, skip=0)

    def _in_columns(self, query: Query, columns: Columns) -> Query:
        """The search as the columns are asked, which know commits by their numbers alone. `StoreNotReady` if it asks
        for what is not there yet."""
        self._filler.refuse(query, columns)
        return numbered(query, self._ledger.commit_before)

    def _refuse_purged(self, query: Query, as_of: int) -> None:
        """To be called when an answer is there: what it should hold may have been dropped while it was made, if the
        clock was set forward by days."""
        if as_of < self._ledger.purged_upto(query.scope.account_id):
            raise TokenExpired("what this search saw has been dropped since it began; start a new search")

    def mentioned(self, scope: Scope) -> Mentioned:
        """See `Store.mentioned`."""
        as_of = self._numbering.seq(scope.account_id, self.head(scope.account_id))
        return self._follower.answer(lambda columns: columns.mentioned(scope, as_of), as_of)

    def get(self, account_id: int, uuid: str) -> Version | None:
        """See `Store.get`."""
        return next(iter(self._ledger.versions.of_record(account_id, uuid, live_only=True)), None)

    def written(self, account_id: int, uuids: Sequence[str], as_of: int) -> dict[str, int]:
        """See `Store.written`."""
        return self.log.written(account_id, uuids, as_of)

    def history(self, account_id: int, uuid: str) -> list[Version]:
        """See `Store.history`."""
        return self._ledger.versions.of_record(account_id, uuid)

    def purge(self, now_ms: int) -> int:
        """See `Store.purge`."""
        total, upto = 0, 0
        self._follower.come()
        while True:
            with self._turns.turn():
                # What the columns have not yet heard to be superseded is kept for them.
                columns = self._follower.columns
                bound = min(
                    columns.applied if columns is not None else 0, self._turns.grown_old(self._superseded_kept_s)
                )
                count, upto = self._ledger.purge(now_ms - int(self._superseded_kept_s * 1000), now_ms, bound)
            total += count
            if count < PURGED_AT_ONCE:
                break
        if total:
            self._follower.answer(lambda columns: columns.purge(upto))
        return total

    def check(self) -> Iterator[DayCheck]:
        """See `Store.check`. Both parts are compared as of one commit, but for columns that are being filled in."""
        self.settle()
        as_of = self._ledger.last_seq
        names = self._follower.answer(lambda columns: filled_columns(self._ledger.gaps, columns.filled))
        answering = self._follower.answer(lambda columns: columns.days(as_of, names), as_of)
        damaged = self._follower.answer(lambda columns: columns.damaged_days(as_of), as_of)
        for day in compared(self._ledger.versions.days(as_of), answering, names):
            sound = (day.account_id, day.day) not in damaged
            yield day if sound else msgspec.structs.replace(day, equal=False)

    def integrity(self) -> list[str]:
        """See `Store.integrity`: what SQLite finds wrong with the file, and the versions that are not what was written,
        which nobody is given from now on."""
        upto = self._ledger.last_seq
        found = list(self._ledger.versions.faults(upto=upto))
        with self._turns.turn():
            self._ledger.mark(found, upto=upto)
        return [*in_lines(found), *self._ledger.integrity()]

    def backup(self, target: Path) -> list[str]:
        """See `Store.backup`. Only the ledger is copied; columns are made again from it."""
        path = target / LEDGER_FILE
        with closing(self._ledger.backup(path)) as steps:
            going_on = True
            while going_on:
                with self._turns.turn():
                    going_on = next(steps, False)
        found = proved(path)
        if found:
            with self._turns.turn():
                self._ledger.mark(found, upto=self._ledger.last_seq)
        return in_lines(found)

    def state(self) -> State:
        """See `Store.state`."""
        return self._follower.state()

    def answers(self) -> str | None:
        """See `Store.answers`: it is in this process."""
        self._turns.refuse_lost()
        damaged = len(self._ledger.versions.damaged)
        reasons = (
            f"{damaged} versions are damaged, `calldex check` lists them" * bool(damaged),
            "no room is left on the disk, so nothing new can be searched" * self._follower.full,
        )
        return "; ".join(filter(None, reasons)) or None

    def index(self) -> Index:
        """The index of the columns that answer now, which is begun to be made if it was not asked for before."""
        return self._follower.answer(lambda columns: columns.index())

    def close(self) -> None:
        """See `Store.close`."""
        self._follower.stop()
        self._filler.close()
        self._follower.close()
        self._turns.close()
        self._ledger.close()


def _became(waiting: Waiting) -> Written | Exception:
    try:
        return waiting.result()
    except Exception as error:  # noqa: BLE001 - it is told to whom the batch is from
        return error


def _names_uuids(query: Query) -> bool:
    """Whether the ledger answers a search alone: it does not know what became of callers."""
    return not query.callbacks and any(condition.names_uuids for condition in query.where)
