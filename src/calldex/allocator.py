"""What a process keeps of the memory that it frees. Only glibc's allocator has such settings; others are left alone."""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Of `mallopt`, see malloc.h."""


def keep_freed_memory() -> None:
    """For a server, before it has threads: keep up to 64 MiB that were freed, in each part of the memory that threads
    share. A page of 10,000 has several copies of 12 MiB, and to be given those by the system anew took as long as to
    make it. The most that a server ever has is the same. Two such parts, which are made with threads, instead of eight
    for each core: what many threads free one after another is used again by the next."""
    _set({_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20, _ARENA_MAX: 2})


def give_freed_memory_back() -> None:
    """For who reads much once: what is freed in pieces of 2 MiB and more goes back to the system at once. Pages of 12
    MB, read in one thread and freed in another, would leave holes."""
    _set({_MMAP_THRESHOLD: 2 << 20})


def _set(values: dict[int, int]) -> None:
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        for name, value in values.items():
            tune(name, value)
