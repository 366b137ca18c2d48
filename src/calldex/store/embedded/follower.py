"""The columns follow the ledger, by a thread of their own, and answer once they are as far as a question is.

Missing, damaged, foreign or outdated columns are made again from the ledger; what was committed a moment ago they are
given as it was written. Whoever asks waits for the commits that somebody was told can be seen, and no longer than a
query may take. Writes no records; marks those that it finds to be damaged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from traceback import format_exc
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import structlog

from calldex import budget
from calldex.errors import CalldexError, DiskFull, StoreNotReady
from calldex.store import State
from calldex.store.embedded.columns import Columns
from calldex.store.embedded.engine import ROW_GROUP, Damaged, NoRoom
from calldex.store.embedded.index import halves
from calldex.store.embedded.ledger import Ledger, Written
from calldex.store.embedded.proof import in_lines
from calldex.store.embedded.proving import Proved, proofs
from calldex.store.embedded.recent import Recent
from calldex.store.embedded.segment import Array
from calldex.store.embedded.sqlite import has_room
from calldex.store.embedded.turns import Turns

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
    """Versions (as `versions.ROW_NAMES`), and the commit up to which they are."""

    rows: list[tuple[Any, ...]]
    upto: int


class Follower:
    """The columns of a ledger, kept up with it."""

    def __init__(
        self, ledger: Ledger, turns: Turns, path: Path, *, memory_mb: int, index_mb: int, threads: int, timeout_s: float
    ) -> None:
        """Begin to open or make them, in a file. `turns` keeps writers out while damaged versions are marked."""
        self._ledger, self._turns, self._path = ledger, turns, path
        self._memory_mb, self._index_mb, self._threads = memory_mb, index_mb, threads
        self._timeout_s = timeout_s
        self._proved = self._to_prove = 0
        self._proofs: Generator[Proved] = proofs(ledger.path, 0, 0)
        self.columns: Columns | None = None
        """They, while they are open."""
        self._reason: str | None = "starting"
        self._changed = threading.Condition()
        self._closing = False
        self._damage: str | None = None
        self.full = self._blind = False
        """Nothing is taken in for lack of room; nothing can be answered for lack of room."""
        self._wanted = self.promised = 0
        """The last commit that somebody waits for; the last one that was acknowledged as visible: searches that begin
        from then on wait for it."""
        self._unseen, self._nearly = 0, False
        """The last commit acknowledged before it could be searched; whether that is the last, as the end is near."""
        self._recent = Recent(2 * _CHUNK)
        self._about_questions: set[str] = set()
        self._thread = threading.Thread(target=self._follow, name="columns", daemon=True)
        self._thread.start()

    @property
    def answering(self) -> bool:
        """Whether questions are answered now."""
        return self._reason is None

    # --- taking in ----------------------------------------------------------------------------------------------------

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
                    self._wait_for_room(f"the columns cannot be written: {full}")
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
            self.columns, self._reason = columns, None
            self._changed.notify_all()
        _log.warning("columns_answer_without_room", behind=self._ledger.last_seq - columns.applied)
        with self._changed:
            while not self._changed.wait_for(lambda: self._closing or self._damage is not None, _NO_ROOM_S):
                if has_room(self._path):
                    break
            damage, self._damage = self._damage, None
            self.columns, self._reason = None, damage or reason
        columns.close()
        if damage is not None:
            raise Damaged(damage)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _opened(self) -> Columns:
        if self.columns is None:
            self.columns = self._opened_as(look=False)
        return self.columns

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
        found = self._ledger.versions.uuids(np.ascontiguousarray(seqs))
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
                columns.apply(chunk.rows, self._ledger.versions.closings(columns.applied, chunk.upto), chunk.upto)
                if self._reason is not None and time.monotonic() - logged > _PROGRESS_S:
                    logged = time.monotonic()
                    _log.info("columns_catching_up", applied=chunk.upto - first, of=last - first)
                self.wake()

    def _chunk(self, after: int) -> _Chunk:
        """The next commits to be taken in: whole groups of rows, or what there is."""
        pending = self._ledger.last_seq - after
        upto = after + min(pending if pending < ROW_GROUP else pending // ROW_GROUP * ROW_GROUP, _CHUNK)
        while self._proved < min(upto, self._to_prove):
            self._prove(next(self._proofs))
        return _Chunk(self._versions(after, upto), upto)

    def _versions(self, after: int, upto: int) -> list[tuple[Any, ...]]:
        """The versions of some commits: as they were written a moment ago, or from the ledger."""
        rows, reached = self._recent.take(after, upto)
        return rows if reached == upto else rows + self._ledger.versions.rows_after(reached, upto - reached)

    def _prove(self, proved: Proved) -> None:
        """Where the columns are made again, the versions they are made of are proved before; those that are not what
        was written are in them as they are, and nobody is given them. What this process writes is not proved again."""
        if proved.found:
            _log.error("ledger_damaged", found=in_lines(proved.found))
            with self._turns.turn():
                self._ledger.mark(proved.found, after=self._proved, upto=proved.upto)
        self._proved = proved.upto
        if self._proved >= self._to_prove:
            self._proofs.close()

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
            if not self._changed.wait_for(lambda: urgent() or self.promised > columns.applied, _UNSEEN_S):
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
            self._reason, self.full, self._blind = None, False, False
            self._changed.notify_all()
        _log.info("columns_ready", applied=applied, seconds=round(seconds, 3))

    def _set_aside(self, reason: str, *, full: bool = False) -> None:
        """Close the columns; nothing is wrong with them, they are opened again soon. `full`: there may be room then."""
        _log.warning("columns_wait", reason=reason)
        with self._changed:
            self._reason, self.full, self._nearly = reason, full, False
            columns, self.columns = self.columns, None
            self._changed.notify_all()
        if columns is not None:
            columns.close()

    def _discard(self, reason: str) -> None:
        """Throw the columns away; they are made again from the ledger."""
        _log.warning("columns_discarded", reason=reason)
        with self._changed:
            self._reason, self._damage = f"being made again from the ledger: {reason}", None
            self._nearly = False
            columns, self.columns = self.columns, None
        if columns is not None:
            columns.close()
        try:
            for path in self._path.parent.glob(f"{self._path.name}*"):
                path.unlink(missing_ok=True)
        except OSError as error:  # they are opened, and found to be damaged, once more
            _log.warning("columns_not_removed", reason=str(error))

    # --- answering ----------------------------------------------------------------------------------------------------

    def answer(self, ask: Callable[[Columns], _T], as_of: int = 0) -> _T:
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
                if self.columns is columns:
                    self._reason = self._damage = said
                    self._changed.notify_all()
            raise Damaged(said) from error

    def _ready(self, as_of: int) -> Columns:
        """The columns, as soon as they can answer; `StoreNotReady` when that takes longer than a query may, `DiskFull`
        when it takes until there is room again."""
        with self._changed:
            self._want(as_of)
            self._changed.wait_for(lambda: self._given_up() or self._visible(as_of), budget.left(self._timeout_s))
            if self.full and not self._visible(as_of):
                raise DiskFull(
                    f"this search cannot be answered: {self._reason or 'no room is left on the disk'}",
                    retry_after=int(_NO_ROOM_S),
                )
            if self.columns is None or not self._visible(as_of):
                state = self._state()
                raise StoreNotReady(
                    f"searches cannot be answered yet ({state.reason}); {state.left}",
                    retry_after=1,
                )
            return self.columns

    # --- what can be seen ---------------------------------------------------------------------------------------------

    def written(self, written: Written) -> None:
        """What a commit did, in the order of commits."""
        self._recent.put(written)

    def wake(self) -> None:
        """Say that there are commits to be taken in."""
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
        return self._closing or self._blind or (self.full and self._reason is None)

    def _far_off(self) -> bool:
        """Whether the columns are being made again, with no end in sight."""
        return self._reason is not None and not self._nearly

    def _visible(self, seq: int) -> bool:
        """Whether searches see a commit now."""
        return self._reason is None and self.columns is not None and self.columns.applied >= seq

    def promise(self, seq: int) -> None:
        """Have searches that begin from now on see a commit: they wait for it. Where the columns may not be able to
        take it in soon, or are far behind, it is waited for here."""
        with self._changed:
            behind = seq - (0 if self.columns is None else self.columns.applied)
            if self._reason is None and not self.full and behind < _CHUNK and has_room(self._path):
                self.promised = max(self.promised, seq)
                self._changed.notify_all()
                return
        self._seen(seq)

    def _seen(self, seq: int) -> None:
        """Wait until a commit is visible, unless the columns are being made again; no longer than a query may take."""
        with self._changed:
            seen = self._come(seq)
            if not self._visible(seq):
                self._unseen = max(self._unseen, seq)
            if self.full and not self._visible(seq):
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
            if self.full and not self._visible(seq):
                why = self._reason or "no room is left on the disk"
                raise DiskFull(f"what was written is kept, but cannot be searched yet: {why}")

    def come(self) -> None:
        """Wait until what was promised can be seen, unless that takes too long."""
        with self._changed:
            self._come(self.promised)

    def state(self) -> State:
        """See `Store.state`."""
        with self._changed:
            return self._state()

    def _state(self) -> State:
        applied = self.columns.applied if self.columns is not None else 0
        total = self._ledger.last_seq
        return State(
            ready=self._reason is None,
            behind=total - applied,
            total=total,
            reason=self._reason,
            damaged=len(self._ledger.versions.damaged),
        )

    def stop(self) -> None:
        """Have whoever waits wait no longer, and nothing more taken in."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Return when the thread has ended, which was stopped, and the columns are closed."""
        self._thread.join()
        if self.columns is not None:
            self.columns.close()


def _said(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).partition("\n")[0] or type(error).__name__
