"""Replies that wait to be taken: whoever takes theirs slowly is refused alone."""

from __future__ import annotations

import asyncio

import pytest

from calldex.errors import Unavailable
from calldex.transport import backpressure
from calldex.transport.backpressure import MOST_BYTES, Backpressure
from calldex.transport.shares import ASKER, Asker

SLOW, ALSO, OTHER = Asker(1, ("key", 1)), Asker(1, ("key", 2)), Asker(2, ("key", 3))


class Waiting:
    """A connection with so much that is not taken."""

    def __init__(self, asker: Asker, size: int) -> None:
        self._asker, self._size = asker, size

    def unsent(self) -> int:
        """How much."""
        return self._size

    def asker(self) -> Asker:
        """Whose."""
        return self._asker


def admitted(backpressure: Backpressure, asker: Asker) -> bool:
    """Whether another page is made for somebody."""

    async def ask() -> None:
        ASKER.set(asker)
        await backpressure.admit()

    try:
        asyncio.run(ask())
    except Unavailable:
        return False
    return True


def test_who_reads_slowly_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key by a quarter of what may wait, an account by three eighths, and all only by the whole of it."""
    monkeypatch.setattr(backpressure, "PATIENCE_S", 0.0)
    unsent = Backpressure()
    unsent.add(Waiting(SLOW, MOST_BYTES // 4 + 1))
    assert [False, True, True] == [admitted(unsent, each) for each in (SLOW, ALSO, OTHER)]
    unsent.add(Waiting(SLOW, MOST_BYTES // 4))  # of pages that were being made already
    assert [False, True, True] == [admitted(unsent, each) for each in (SLOW, ALSO, OTHER)]
    unsent.add(Waiting(ALSO, MOST_BYTES // 8 + 1))
    assert [False, False, True] == [admitted(unsent, each) for each in (SLOW, ALSO, OTHER)]
    unsent.add(Waiting(Asker(3, ("key", 4)), MOST_BYTES // 2))
    assert [False, False, False] == [admitted(unsent, each) for each in (SLOW, ALSO, OTHER)]
