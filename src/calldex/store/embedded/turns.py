"""Whose turn it is to write the ledger, and what is seen to between two turns: that the file is still there, that the
head of its chain is kept elsewhere, and how old commits are."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from calldex.errors import CalldexError, Unavailable
from calldex.store import Head
from calldex.store.embedded.ledger import Ledger


class Turns:
    """Turns on a ledger. `keep` keeps, by the ledger's name and on disk, the head of its chain."""

    def __init__(self, ledger: Ledger, keep: Callable[[str, Head], None], timeout_s: float) -> None:
        """Keep the head that there is; raises what `keep` does."""
        self.writing = threading.Lock()
        self._ledger = ledger
        self._keep = keep
        self._timeout_s = timeout_s
        self._keeping: Future[None] | None = None
        self._ages: deque[tuple[float, int]] = deque([(-math.inf, ledger.last_seq)])
        """When, by the clock that nobody sets, which commit was the last."""
        self._keep_head()
        ledger.bind()
        self._keeper = ThreadPoolExecutor(1, "ledger-head")

    @contextmanager
    def turn(self, needless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Whoever writes is alone meanwhile, and waits for that no longer than a query may take. False where the turn
        has become `needless` by then. Raises `Unavailable`, `DiskFull`; then nothing was written."""
        if not self.writing.acquire(timeout=self._timeout_s):
            raise Unavailable("other writers did not finish in time; nothing of this was kept", retry_after=2)
        try:
            if needless():
                yield False
                return
            self.refuse_lost()
            if self._keeping is not None:  # so that what is kept is never more than one commit behind
                try:
                    self._keeping.result()
                except CalldexError:
                    self._keep_head()
                self._keeping = None
            yield True
        finally:
            self.writing.release()

    def committed(self) -> None:
        """To be called within the turn in which a commit was made."""
        self._keeping = self._keeper.submit(self._keep_head)

    def refuse_lost(self) -> None:
        """`Unavailable` if somebody has taken the file away, or put another one in its place: what is written would be
        lost with it."""
        if self._ledger.is_lost():
            raise Unavailable(
                f"the ledger {self._ledger.path} was removed or replaced while it is in use: nothing more is kept. Copy"
                " what is still open, as /proc/PID/fd shows, or stop Calldex and restore a backup",
                retry_after=60,
            )

    def grown_old(self, kept_s: float) -> int:
        """The last commit that was not made within a time, by a clock that nobody sets; those before the start count as
        old. To be asked now and then."""
        now = time.monotonic()
        self._ages.append((now, self._ledger.last_seq))
        while len(self._ages) > 1 and self._ages[1][0] <= now - kept_s:
            self._ages.popleft()
        return self._ages[0][1]

    def close(self) -> None:
        """Return when the last head is kept."""
        self._keeper.shutdown()

    def _keep_head(self) -> None:
        self._keep(self._ledger.store_id, self._ledger.head)
