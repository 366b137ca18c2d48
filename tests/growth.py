"""How work grows with its input, in processor time of its thread, whatever runs beside it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
MOST: Final = 2.5
"""How many times as long twice the input may take; what grows with the square of it takes four times as long."""
_SHORTEST_S: Final = 0.02
"""What takes less is done several times."""
_PAIRS: Final = 5


def growth(make: Callable[[int], T], work: Callable[[T], object], size: int) -> float:
    """How many times as long work takes on an input of twice the size: the median of five pairs."""
    small, large = make(size), make(2 * size)
    times = 1
    while (once := _seconds(work, small, times)) < _SHORTEST_S:
        times = max(2 * times, int(times * _SHORTEST_S / (once + 1e-6)))
    return statistics.median(_seconds(work, large, times) / _seconds(work, small, times) for _ in range(_PAIRS))


def _seconds(work: Callable[[T], object], given: T, times: int) -> float:
    gc.disable()
    try:
        began = time.thread_time()
        for _ in range(times):
            work(given)
        return time.thread_time() - began
    finally:
        gc.enable()
