"""The store on one machine: SQLite keeps the records, DuckDB answers questions about them.

A record is acknowledged when the ledger has committed it. A thread of its own brings the columns up to the ledger's
last commit; searches wait for it where somebody was told that they see what was written. Missing, damaged, foreign or
outdated columns are made again from the ledger by that thread, while look-ups by uuid go on: those are answered by the
ledger alone. For every other search the columns say which records, in which order, and the ledger gives their JSON.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from traceback import format_exc
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import structlog

from calldex import budget
from calldex.access import Scope
from calldex.errors import CalldexError, DiskFull, StoreNotReady, TokenExpired, Unavailable
from calldex.search.missed import split
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
from calldex.store.embedded.columns import ROW_GROUP, Columns, Damaged, NoRoom
from calldex.store.embedded.comparing import compared, filled_columns
from calldex.store.embedded.fill import Filler
from calldex.store.embedded.index import Array, Index, halves
from calldex.store.embedded.ledger import PURGED_AT_ONCE, Ledger
from calldex.store.embedded.proof import in_lines
from calldex.store.embedded.proving import Proved, proofs
from calldex.store.embedded.queue import Queue
from calldex.store.embedded.reader import proved
from calldex.store.embedded.recent import Recent
from calldex.store.embedded.sqlite import has_room
from calldex.store.embedded.staging import Staging
from calldex.store.embedded.turns import Turns
from calldex.store.sql import numbered

LEDGER_FILE: Final = "ledger.db"
COLUMNS_FILE: Final = "columns.duckdb"
_CHUNK: Final = 2 * ROW_GROUP
"""How many commits the columns take in at once: whole groups of rows, few enough to hold in memory."""
_UNSEEN_S: Final = 1.0
"""How long records that nobody waits for may wait for others, so that bulk loads are taken in by whole groups."""
_PROMISED_S: Final = 0.25
"""The same of those that the next search has to see, so that many who post pay for one change of the columns."""
_PROGRESS_S: Final = 2.0
_SOON_S: Final = 10.0
_NO_ROOM_S: Final = 5.0
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class _Chunk(NamedTuple):
    """Versions (as `ledger.ROW_NAMES`), and the commit up to which they are."""

    rows: list[tuple[Any, ...]]
    upto: int


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
        self._path = data / COLUMNS_FILE
        self._ledger = Ledger(data / LEDGER_FILE)
        self._numbering = self._ledger.numbering
        super().__init__(self._ledger.reader)
        self.log = LedgerLog(self._ledger, lambda query: self._filler.refuse(query, None))
        self._memory_mb, self._index_mb, self._threads = memory_mb, index_mb, threads
        try:
            self._turns = Turns(self._ledger, keep, timeout_s)
        except BaseException:
            self._ledger.close()
            raise
        self._proved = self._to_prove = 0
        self._proofs: Generator[Proved] = proofs(self._ledger.path, 0, 0)
        self._columns: Columns | None = None
        self._reason: str | None = "starting"
        self._assembling = threading.Lock()
        self._changed = threading.Condition()
        self._closing = False
        self._damage: str | None = None
        self._full = self._blind = False
        """Nothing is taken in for lack of room; nothing can be answered for lack of room."""
        self._wanted = self._promised = 0
        """The last commit that somebody waits for; the last one that was acknowledged as visible: searches that begin
        from then on wait for it."""
        self._unseen, self._nearly = 0, False
        """The last commit acknowledged before it could be searched; whether that is the last, as the end is near."""
        self._recent = Recent(2 * _CHUNK)
        self.queue = Queue(self._ledger.write)
        self._about_questions: set[str] = set()
        self._follower = threading.Thread(target=self._follow, name="columns", daemon=True)
        self._follower.start()
        self._filler = Filler(self._ledger, self._turns.turn, self._answer)

    capabilities = Capabilities()

    @property
    def store_id(self) -> str:
        """Differs between stores, and between a store and its restored backup."""
        return self._ledger.store_id

    # --- the columns follow the ledger --------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Damaged columns are made again at once. Those that turn out to be damaged soon after that will be so again:
        the pause before the next attempt doubles."""
        pause = 0.0
        while not self._closing:
            opened = time.monotonic()
            try:
                try:
                    self._keep_up(self._opened())
                except NoRoom as full:
                    self._wait_for_room(f"no room is left on the disk: {full}")
            except CalldexError as error:  # it is about the ledger, of which there is no other
                self._set_aside(error.message)
                self._pause(_NO_ROOM_S)
            except Exception as error:  # noqa: BLE001 - whatever the engine says, the columns can be made again
                if not isinstance(error, Damaged):
                    _log.warning("columns_not_understood", exception=format_exc())
                self._discard(_said(error))
                if time.monotonic() - opened > _SOON_S:
                    pause = 0.0
                self._pause(pause)
                pause = min(2 * pause + 0.5, 60)

    def _wait_for_room(self, reason: str) -> None:
        """Until there may be room again, let the columns answer as far as they have come, without writing anything."""
        self._set_aside(reason, full=True)
        try:
            columns = self._opened_as(look=True)
        except Exception as error:  # noqa: BLE001 - they must be made, or brought up to date, and need room for that
            with self._changed:
                self._reason = f"{reason} ({_said(error)})"
                self._blind = True
                self._changed.notify_all()
            self._pause(_NO_ROOM_S)
            return
        with self._changed:
            self._columns, self._reason = columns, None
            self._changed.notify_all()
        _log.warning("columns_answer_without_room", behind=self._ledger.last_seq - columns.applied)
        with self._changed:
            while not self._changed.wait_for(lambda: self._closing or self._damage is not None, _NO_ROOM_S):
                if has_room(self._path):
                    break
            damage, self._damage = self._damage, None
            self._columns, self._reason = None, damage or reason
        columns.close()
        if damage is not None:
            raise Damaged(damage)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _opened(self) -> Columns:
        if self._columns is None:
            self._columns = self._opened_as(look=False)
        return self._columns

    def _opened_as(self, *, look: bool) -> Columns:
        columns = Columns(
            self._path,
            self._ledger.store_id,
            self._uuids,
            {name: gap.upto for name, gap in self._ledger.gaps.items()},
            memory_mb=self._memory_mb,
            index_mb=self._index_mb,
            threads=self._threads,
            timeout_s=self._timeout_s,
            look=look,
        )
        if columns.applied > self._ledger.last_seq:
            columns.close()
            raise Damaged("ahead of the ledger")
        return columns

    def _uuids(self, seqs: Array) -> Array | None:
        """See `Index`."""
        found = self._ledger.uuids(np.ascontiguousarray(seqs))
        return halves(found) if len(found) == len(seqs) else None

    def _keep_up(self, columns: Columns) -> None:
        """Take in commits until the store closes; ready as soon as all are that there were at the beginning. While some
        are taken in, the next ones are read."""
        started, first, logged = time.monotonic(), columns.applied, time.monotonic()
        last = self._ledger.last_seq
        self._proved, self._to_prove = (0 if columns.applied == 0 else last), last
        with (
            closing(proofs(self._ledger.path, self._proved, last)) as self._proofs,
            ThreadPoolExecutor(1, "ledger-reader") as reader,
        ):
            ahead: Future[_Chunk] | None = None
            while not self._closing:
                if self._damage is not None:
                    raise Damaged(self._damage)
                if columns.applied >= last:
                    self._become_ready(columns.applied, columns.applied - first, time.monotonic() - started)
                if columns.applied == self._ledger.last_seq:
                    self._await_more(columns)
                    continue
                chunk = self._chunk(columns.applied) if ahead is None else ahead.result()
                ahead = reader.submit(self._chunk, chunk.upto) if self._ledger.last_seq > chunk.upto else None
                columns.apply(chunk.rows, self._ledger.closings(columns.applied, chunk.upto), chunk.upto)
                if self._reason is not None and time.monotonic() - logged > _PROGRESS_S:
                    logged = time.monotonic()
                    _log.info("columns_catching_up", applied=chunk.upto - first, of=last - first)
                self._wake()

    def _chunk(self, after: int) -> _Chunk:
        """The next commits to be taken in: whole groups of rows, or what there is."""
        pending = self._ledger.last_seq - after
        upto = after + min(pending if pending < ROW_GROUP else pending // ROW_GROUP * ROW_GROUP, _CHUNK)
        while self._proved < min(upto, self._to_prove):
            self._prove(next(self._proofs))
        return _Chunk(self._versions(after, upto), upto)

    def _prove(self, proved: Proved) -> None:
        """Where the columns are made again, the versions they are made of are proved before; those that are not what
        was written are in them as they are, and nobody is given them. What this process writes is not proved again."""
        if proved.found:
            _log.error("ledger_damaged", found=in_lines(proved.found))
            with self._turns.turn():
                self._ledger.mark(proved.found, after=self._proved, upto=proved.upto)
        self._proved = proved.upto

    def _await_more(self, columns: Columns) -> None:
        """Wait for commits: for some that somebody waits for, or enough of them, or any for some time."""

        def urgent() -> bool:
            return (
                self._closing
                or self._damage is not None
                or self._wanted > columns.applied
                or self._ledger.last_seq - columns.applied >= ROW_GROUP
            )

        with self._changed:
            self._changed.wait_for(lambda: urgent() or self._ledger.last_seq > columns.applied)
            if not self._changed.wait_for(lambda: urgent() or self._promised > columns.applied, _UNSEEN_S):
                return
            self._changed.wait_for(urgent, _PROMISED_S)

    def _become_ready(self, upto: int, applied: int, seconds: float) -> None:
        """Searches are answered, once they see all that was acknowledged meanwhile; who writes now waits for that."""
        with self._changed:
            if self._reason is None or self._damage is not None:
                return
            self._nearly = upto < self._unseen
            if self._nearly:
                return
            self._reason, self._full, self._blind = None, False, False
            self._changed.notify_all()
        _log.info("columns_ready", applied=applied, seconds=round(seconds, 3))

    def _set_aside(self, reason: str, *, full: bool = False) -> None:
        """Close the columns; nothing is wrong with them, they are opened again soon. `full`: there may be room then."""
        _log.warning("columns_wait", reason=reason)
        with self._changed:
            self._reason, self._full, self._nearly = reason, full, False
            columns, self._columns = self._columns, None
            self._changed.notify_all()
        if columns is not None:
            columns.close()

    def _discard(self, reason: str) -> None:
        """Throw the columns away; they are made again from the ledger."""
        _log.warning("columns_discarded", reason=reason)
        with self._changed:
            self._reason, self._damage = f"being made again from the ledger: {reason}", None
            self._nearly = False
            columns, self._columns = self._columns, None
        if columns is not None:
            columns.close()
        for path in self._path.parent.glob(f"{COLUMNS_FILE}*"):
            path.unlink(missing_ok=True)

    def _answer(self, ask: Callable[[Columns], _T], as_of: int = 0) -> _T:
        """Ask the columns, once they are as far as the question is; when they turn out to be damaged, wait for new ones
        and ask once more."""
        try:
            return self._asked(ask, as_of)
        except Damaged:
            pass
        try:
            return self._asked(ask, as_of, again=True)
        except Damaged as damage:
            raise StoreNotReady(f"searches cannot be answered yet ({damage})", retry_after=1) from damage

    def _asked(self, ask: Callable[[Columns], _T], as_of: int, *, again: bool = False) -> _T:
        """Whatever the engine says, except that it had not the time or the memory, means that the columns are damaged.
        What it says of new ones as well is about the question: it is raised, and remembered, so that nobody has them
        made again and again by asking."""
        columns = self._ready(as_of)
        try:
            return ask(columns)
        except CalldexError:
            raise
        except Exception as error:
            said = _said(error)
            if not isinstance(error, Damaged):
                if said in self._about_questions:
                    raise
                if again:
                    self._about_questions.add(said)
                    raise
            with self._changed:
                if self._columns is columns:
                    self._reason = self._damage = said
                    self._changed.notify_all()
            raise Damaged(said) from error

    def _ready(self, as_of: int) -> Columns:
        """The columns, as soon as they can answer; `StoreNotReady` when that takes longer than a query may, `DiskFull`
        when it takes until there is room again."""
        with self._changed:
            self._want(as_of)
            self._changed.wait_for(lambda: self._given_up() or self._visible(as_of), budget.left(self._timeout_s))
            if self._full and not self._visible(as_of):
                raise DiskFull(
                    f"this search cannot be answered: {self._reason or 'no room is left on the disk'}",
                    retry_after=int(_NO_ROOM_S),
                )
            if self._columns is None or not self._visible(as_of):
                state = self._state()
                raise StoreNotReady(
                    f"searches cannot be answered yet ({state.reason}); {state.left}",
                    retry_after=1,
                )
            return self._columns

    # --- Store --------------------------------------------------------------------------------------------------------

    def write(self, batch: Batch, *, wait: bool = True) -> list[Outcome]:
        """See `Store.write`. While the columns are being made again, visible means: once they are. Batches that wait
        for their turn at once share a commit: whoever gets it first writes for all of them."""
        mine = self.queue.put(batch)
        try:
            with self._turns.turn(mine.done) as needed:
                before = self._ledger.last_seq
                for written in self.queue.write_until(mine):
                    self._recent.put(written)
                if needed and self._ledger.last_seq > before:
                    self._turns.committed()
                    self._wake()
        except Unavailable:
            if self.queue.withdraw(mine):
                raise
        written = mine.result()
        if wait:  # also for what is unchanged: who wrote it first may not have waited
            self._promise(written.last_seq)
        return written.outcomes

    def assemble(self, account_id: int, make: Callable[[], Batch]) -> list[Outcome]:
        """See `Store.assemble`."""
        with self._assembling:
            return self.write(make(), wait=False)

    def _versions(self, after: int, upto: int) -> list[tuple[Any, ...]]:
        """The versions of some commits: as they were written a moment ago, or from the ledger."""
        rows, reached = self._recent.take(after, upto)
        return rows if reached == upto else rows + self._ledger.rows_after(reached, upto - reached)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _want(self, seq: int) -> None:
        """Say that somebody waits for a commit to be visible; to be called with `_changed` held."""
        self._wanted = max(self._wanted, seq)
        self._changed.notify_all()

    def _come(self, seq: int) -> bool:
        """Wait until a commit is visible, or nobody need wait for that; False if it takes longer than a query may. To
        be called with `_changed` held."""
        self._want(seq)
        return self._changed.wait_for(
            lambda: self._far_off() or self._given_up() or self._visible(seq), self._timeout_s
        )

    def _given_up(self) -> bool:
        """Whether nobody need wait for the columns to come further now."""
        return self._closing or self._blind or (self._full and self._reason is None)

    def _far_off(self) -> bool:
        """Whether the columns are being made again, with no end in sight."""
        return self._reason is not None and not self._nearly

    def _visible(self, seq: int) -> bool:
        """Whether searches see a commit now."""
        return self._reason is None and self._columns is not None and self._columns.applied >= seq

    def _promise(self, seq: int) -> None:
        """Have searches that begin from now on see a commit: they wait for it. Where the columns may not be able to
        take it in soon, or are far behind, it is waited for here."""
        with self._changed:
            behind = seq - (0 if self._columns is None else self._columns.applied)
            if self._reason is None and not self._full and behind < _CHUNK and has_room(self._path):
                self._promised = max(self._promised, seq)
                self._changed.notify_all()
                return
        self._seen(seq)

    def _seen(self, seq: int) -> None:
        """Wait until a commit is visible, unless the columns are being made again; no longer than a query may take."""
        with self._changed:
            seen = self._come(seq)
            if not self._visible(seq):
                self._unseen = max(self._unseen, seq)
            if self._full and not self._visible(seq):
                raise DiskFull(
                    "what was written is kept, but cannot be searched yet, as no room is left on the disk; sending it"
                    " again changes nothing",
                    retry_after=int(_NO_ROOM_S),
                )
        if not seen:
            raise StoreNotReady(
                "what was written is kept, but cannot be searched yet; sending it again changes nothing", retry_after=1
            )

    def settle(self) -> None:
        """See `Store.settle`. It is waited for as long as the columns come nearer within the time of a query, as they
        do while they are made again."""
        with self._changed:
            seq = self._ledger.last_seq
            self._want(seq)
            nearest = -1
            while not self._changed.wait_for(lambda: self._given_up() or self._visible(seq), self._timeout_s):
                state = self._state()
                if state.total - state.behind <= nearest:
                    raise StoreNotReady(
                        "everything was committed and is kept, but cannot be searched yet"
                        f" ({state.reason or 'searches are behind'}); {state.left}",
                        retry_after=1,
                    )
                nearest = state.total - state.behind
            if self._full and not self._visible(seq):
                why = self._reason or "no room is left on the disk"
                raise DiskFull(f"what was written is kept, but cannot be searched yet: {why}")

    def erase(self, account_id: int, uuids: Sequence[str]) -> int:
        """See `Store.erase`."""
        with self._turns.turn():
            count, last = self._ledger.erase(account_id, uuids)
            self._turns.committed()
        if count:
            self._wake()
            self._seen(last)
        return count

    def head(self, account_id: int) -> int:
        """See `Store.head`. While the columns cannot answer it is the ledger's end, so that searches by uuid need not
        wait; whoever asks the columns waits until they have reached it."""
        with self._changed:
            if self._reason is not None:
                return self._numbering.last(account_id)
        # The last change of an account may have been an erasure that was purged since.
        head = self._answer(lambda columns: columns.head(account_id), 0 if self._full else self._promised)
        return self._numbering.number(account_id, max(head, self._ledger.purged_upto(account_id)))

    def head_at_once(self, account_id: int) -> int | None:
        """See `Store.head_at_once`. It is waited for while something is promised that cannot be searched yet."""
        columns = self._columns
        if columns is None or self._reason is not None or columns.is_counting() or columns.applied < self._promised:
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
            found = self._ledger.total(query, as_of)
        else:
            found = self._answer(total, as_of)
        self._refuse_purged(query, as_of)
        return found

    def aggregate(self, query: Query, as_of: int, grouping: Grouping) -> list[tuple[Any, ...]]:
        """See `Store.aggregate`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        used = [*grouping.by, *("number" if each.how == "hash" else each.column for each in grouping.measures)]

        def aggregate(columns: Columns) -> list[tuple[Any, ...]]:
            self._filler.refuse(query, columns, used)
            return columns.aggregate(self._in_columns(query, columns), as_of, grouping)

        found = self._answer(aggregate, as_of)
        self._refuse_purged(query, as_of)
        return found

    def missed(self, query: Query, as_of: int, ask: MissedAsk) -> tuple[int, list[MissedLine]]:
        """See `Store.missed`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        found = self._answer(lambda columns: columns.missed(self._in_columns(query, columns), as_of, ask), as_of)
        self._refuse_purged(query, as_of)
        return found

    def slice(
        self, query: Query, as_of: int, *, limit: int, total: int, after: Position | None = None, skip: int = 0
    ) -> Slice:
        """See `Store.slice`."""
        as_of = self._numbering.seq(query.scope.account_id, as_of)
        if _names_uuids(query):
            self._filler.refuse(query, None)
            found = self._ledger.slice(query, as_of, limit=limit, after=after, skip=skip)
            self._refuse_purged(query, as_of)
            return found

        def page(columns: Columns) -> Slice:
            asked = self._in_columns(query, columns)
            seqs = columns.page(asked, as_of, limit=limit, total=total, after=after, skip=skip)
            found = self._ledger.joined(seqs)
            self._refuse_purged(query, as_of)
            if found.count != len(seqs):
                raise Damaged("they name versions that the ledger does not have")
            return found

        return self._answer(page, as_of)

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
        return self._answer(lambda columns: columns.mentioned(scope, as_of), as_of)

    def get(self, account_id: int, uuid: str) -> Version | None:
        """See `Store.get`."""
        return next(iter(self._ledger.versions(account_id, uuid, live_only=True)), None)

    def written(self, account_id: int, uuids: Sequence[str], as_of: int) -> dict[str, int]:
        """See `Store.written`."""
        return self.log.written(account_id, uuids, as_of)

    def history(self, account_id: int, uuid: str) -> list[Version]:
        """See `Store.history`."""
        return self._ledger.versions(account_id, uuid)

    def purge(self, now_ms: int) -> int:
        """See `Store.purge`."""
        total, upto = 0, 0
        with self._changed:
            self._come(self._promised)
        while True:
            with self._turns.turn():
                # What the columns have not yet heard to be superseded is kept for them.
                columns = self._columns
                bound = min(
                    columns.applied if columns is not None else 0, self._turns.grown_old(self._superseded_kept_s)
                )
                count, upto = self._ledger.purge(now_ms - int(self._superseded_kept_s * 1000), now_ms, bound)
            total += count
            if count < PURGED_AT_ONCE:
                break
        if total:
            self._answer(lambda columns: columns.purge(upto))
        return total

    def check(self) -> Iterator[DayCheck]:
        """See `Store.check`. Both parts are compared as of one commit, but for columns that are being filled in."""
        self.settle()
        as_of = self._ledger.last_seq
        names = self._answer(lambda columns: filled_columns(self._ledger.gaps, columns.filled))
        answering = self._answer(lambda columns: columns.days(as_of, names), as_of)
        damaged = self._answer(lambda columns: columns.damaged_days(as_of), as_of)
        for day in compared(self._ledger.days(as_of), answering, names):
            sound = (day.account_id, day.day) not in damaged
            yield day if sound else msgspec.structs.replace(day, equal=False)

    def integrity(self) -> list[str]:
        """See `Store.integrity`: what SQLite finds wrong with the file, and the versions that are not what was written,
        which nobody is given from now on."""
        upto = self._ledger.last_seq
        found = list(self._ledger.faults(upto=upto))
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
        with self._changed:
            return self._state()

    def answers(self) -> str | None:
        """See `Store.answers`: it is in this process."""
        self._turns.refuse_lost()
        damaged = len(self._ledger.damaged)
        reasons = (
            f"{damaged} versions are damaged, `calldex check` lists them" * bool(damaged),
            "no room is left on the disk, so nothing new can be searched" * self._full,
        )
        return "; ".join(filter(None, reasons)) or None

    def index(self) -> Index:
        """The index of the columns that answer now, which is begun to be made if it was not asked for before."""
        return self._answer(lambda columns: columns.index())

    def _state(self) -> State:
        applied = self._columns.applied if self._columns is not None else 0
        total = self._ledger.last_seq
        return State(
            ready=self._reason is None,
            behind=total - applied,
            total=total,
            reason=self._reason,
            damaged=len(self._ledger.damaged),
        )

    def close(self) -> None:
        """See `Store.close`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._filler.close()
        self._follower.join()
        self._turns.close()
        if self._columns is not None:
            self._columns.close()
        self._ledger.close()


def _said(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).partition("\n")[0] or type(error).__name__


def _names_uuids(query: Query) -> bool:
    """Whether the ledger answers a search alone: it does not know what became of callers."""
    return any(condition.names_uuids for condition in query.where) and not split(query)[1]
