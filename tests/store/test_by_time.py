"""How many live records lie in a stretch of time, as the columns keep it in memory, beside plain counting."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from calldex.store.embedded.by_time import BUCKET_MS, AccountTimes


@given(
    st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 5)), max_size=40),
    st.lists(st.tuples(st.none() | st.integers(-40, 40), st.none() | st.integers(-40, 40), st.floats(0.5, 60))),
)
def test_sums_are_those_of_counting(
    added: list[tuple[int, int]], asked: list[tuple[int | None, int | None, float]]
) -> None:
    """Whatever was added in whatever order, and asked in between: a stretch holds what its buckets hold, and reaching
    back for so many records ends at the latest bucket from which on there are as many."""
    account, counts = AccountTimes(), Counter[int]()
    for bucket, count in added:
        account.add(bucket, count)
        counts[bucket] += count
        for start, end, records in asked:
            start_ms, end_ms = (None if each is None else each * BUCKET_MS for each in (start, end))
            within = [b for b in counts if (start is None or start <= b) and (end is None or b < end)]
            assert account.between(start_ms, end_ms) == sum(counts[b] for b in within)
            before = sorted(b for b in counts if end is None or b < end)
            reached = [at for at, b in enumerate(before) if sum(counts[each] for each in before[at:]) >= records]
            found = before[reached[-1]] * BUCKET_MS if reached and reached[-1] > 0 else -(1 << 62)
            assert account.reaching_back(end_ms, records) == found
