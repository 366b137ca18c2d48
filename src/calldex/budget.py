"""One budget of time for everything that a request causes: waiting, every statement of an engine, masks, encoders.

Whoever answers a request opens a budget, `within`; whatever may take long asks `left` or `check` on its way, in
whatever thread it runs, as the budget travels with the context. Where there is none, time is not bounded here.
Knows no request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from calldex.errors import QueryTimeout


class _Budget(NamedTuple):
    """Until when (of the monotonic clock), and how many seconds that were."""

    until: float
    seconds: float


_ENDLESS: Final = _Budget(math.inf, math.inf)
_budget: Final[ContextVar[_Budget]] = ContextVar("budget", default=_ENDLESS)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Everything in the block, together, has so many seconds; fewer, if it is within a budget that ends earlier."""
    given = _Budget(time.monotonic() + seconds, seconds)
    before = _budget.set(min(given, _budget.get()))
    try:
        yield
    finally:
        _budget.reset(before)


def left(most: float = math.inf) -> float:
    """The seconds that are left, up to `most`; `QueryTimeout` if none are."""
    seconds = _budget.get().until - time.monotonic()
    if seconds <= 0:
        raise spent()
    return min(seconds, most)


def check() -> None:
    """`QueryTimeout` if no time is left."""
    left()


def spent(most: float = math.inf) -> QueryTimeout:
    """What is told when the time is over; `most` is the limit where there is no budget."""
    return QueryTimeout(f"the request took longer than {min(_budget.get().seconds, most):g} s and was stopped")
