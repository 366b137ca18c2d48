"""What was just committed, kept for the columns, so that they need not read it again."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from calldex.store.embedded.ledger import Written


class Recent:
    """The last commits, in their order; any thread."""

    def __init__(self, most: int) -> None:
        """`most`: so many versions are kept."""
        self._lock = threading.Lock()
        self._most, self._kept = most, 0
        self._commits: deque[Written] = deque()

    def put(self, written: Written) -> None:
        """Keep one, and drop the oldest if there are too many versions."""
        with self._lock:
            self._commits.append(written)
            self._kept += len(written.rows or ())
            while self._kept > self._most:
                self._drop()

    def _drop(self) -> None:
        self._kept -= len(self._commits.popleft().rows or ())

    def take(self, after: int, upto: int) -> tuple[list[tuple[Any, ...]], int]:
        """The versions behind a commit and up to another one, as far as they are kept without a gap, and how far that
        is."""
        rows: list[tuple[Any, ...]] = []
        with self._lock:
            while self._commits and self._commits[0].last_seq <= after:
                self._drop()
            for kept in self._commits:
                if kept.before != after or kept.last_seq > upto:
                    break
                rows += kept.rows or ()
                after = kept.last_seq
        return rows, after
