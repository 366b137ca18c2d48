"""How many live records of an account began in each quarter of an hour, in memory.

From that come the total of an unfiltered search, and the stretch of time in which the records of a page must lie. No
engine, no files, no lock: that is its owner's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from calldex.store.embedded.versions import Closing

BUCKET_MS: Final = 15 * 60 * 1000
"""Every time zone in use is a whole number of these away from UTC, so days of any zone are whole buckets."""

EARLIEST: Final = -(1 << 62)
"""Before every instant."""


class AccountTimes:
    """What is kept in memory of an account: the last commits that began and ended a version of it, and its live
    records by time.

    Searches ask how many records lie between two buckets, three years of which are a hundred thousand: their sums are
    made once after a change, and only from the earliest bucket on that changed, which mostly is the last.
    """

    __slots__ = ("_counts", "_right", "_sums", "begun", "buckets", "ended")

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.buckets, self._counts = array("q"), array("q")
        self._sums = np.zeros(1, dtype=np.int64)
        self._right = 0
        """Of how many buckets `_sums` is right."""

    def add(self, bucket: int, count: int) -> None:
        """So many records more (or less) begin in a bucket."""
        index = bisect_left(self.buckets, bucket)
        if index == len(self.buckets) or self.buckets[index] != bucket:
            self.buckets.insert(index, bucket)
            self._counts.insert(index, 0)
        self._counts[index] += count
        self._right = min(self._right, index)

    def end(self, seq: int) -> None:
        """A version of it ended with this commit."""
        self.ended = max(self.ended, seq)

    @property
    def head(self) -> int:
        """The last commit that touched it."""
        return max(self.begun, self.ended)

    @property
    def sums(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """How many live records lie before each bucket, and in all."""
        if self._right < len(self.buckets):
            right = self._sums[: self._right + 1]
            self._sums = np.concatenate((right, right[-1] + np.array(self._counts[self._right :]).cumsum()))
            self._right = len(self.buckets)
        return self._sums

    def between(self, start_ms: int | None, end_ms: int | None) -> int:
        """Live records in the buckets that a stretch of time touches."""
        low = 0 if start_ms is None else bisect_left(self.buckets, start_ms // BUCKET_MS)
        high = self._end(end_ms)
        return int(self.sums[high] - self.sums[low]) if low < high else 0

    def reaching_back(self, end_ms: int | None, records: float) -> int:
        """An instant such that about so many live records began between it and `end_ms`."""
        end = self._end(end_ms)
        index = min(int(self.sums.searchsorted(self.sums[end] - records, side="right")) - 1, end)
        return self.buckets[index] * BUCKET_MS if index > 0 else EARLIEST

    def _end(self, end_ms: int | None) -> int:
        return len(self.buckets) if end_ms is None else bisect_left(self.buckets, -(-end_ms // BUCKET_MS))


class ByTime:
    """What is kept of each account."""

    def __init__(self) -> None:
        self._accounts: dict[int, AccountTimes] = {}

    def of(self, account_id: int) -> AccountTimes:
        """That of one, which may hold nothing yet."""
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = AccountTimes()
        return account

    def load(self, counted: Iterable[tuple[int, int, int, int, int | None]]) -> None:
        """What there is at the beginning, by account and bucket in order: how many live records, the last commit that
        began a version, and the last one that ended one."""
        for account_id, bucket, count, begun, ended in counted:
            account = self.of(account_id)
            account.add(bucket, count)
            account.end(ended or 0)
            account.begun = max(account.begun, begun)

    def remember(self, rows: Sequence[tuple[Any, ...]], closings: Sequence[Closing], upto: int) -> None:
        """Versions (as `versions.ROW_NAMES`) begun by some commits, and those that these superseded. A version that a
        commit behind `upto` supersedes is live still; it will come again among the closings."""
        for account_id, seq in {row[2]: row[0] for row in rows}.items():  # they are in the order of commits
            self.of(account_id).begun = seq
        began = Counter([(row[2], row[4] // BUCKET_MS) for row in rows if row[1] > upto])
        for (account_id, bucket), count in began.items():
            self.of(account_id).add(bucket, count)
        for account_id, seq_to in [(row[2], row[1]) for row in rows if row[1] <= upto]:
            self.of(account_id).end(seq_to)
        for closing in closings:
            account = self.of(closing.account_id)
            account.end(closing.seq_to)
            account.add(closing.started_ms // BUCKET_MS, -1)
