"""Work that is done together: each gets its own result or error, and nothing waits for others to come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from calldex.transport.together import MOST, Together
from tests.transport.test_workers import SECONDS, bounded


def test_what_waits_is_done_at_once() -> None:
    """What comes in one turn of the loop is done at once, and so is what comes while that is done; each has its own
    result, in whatever order they are asked for."""
    seen: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def doubled(some: Sequence[int]) -> list[int | Exception]:
        seen.append(len(some))
        begun.set()
        go_on.wait(SECONDS)
        return [2 * each for each in some]

    async def done() -> None:
        together = Together("test", doubled)
        first = [asyncio.create_task(together.run(n)) for n in range(3)]
        await asyncio.to_thread(begun.wait, SECONDS)
        others = [asyncio.create_task(together.run(n)) for n in range(3, 3 + MOST + 1)]
        await asyncio.sleep(0)
        go_on.set()
        assert [2 * n for n in range(3 + MOST + 1)] == await asyncio.gather(*first, *others)
        assert [3, MOST, 1] == seen
        assert 2 == await together.run(1)

    bounded(done())


def test_an_error_is_for_whom_it_is() -> None:
    """An error that is given for one is raised for it alone, one that is raised for all of those who were done at once;
    later ones are done."""

    def work(some: Sequence[int]) -> list[int | Exception]:
        if 13 in some:
            raise OSError("all")
        return [ValueError(str(each)) if each < 0 else each for each in some]

    async def done() -> None:
        together = Together("test", work)
        found = await asyncio.gather(*map(together.run, (1, -1, 2)), return_exceptions=True)
        assert [1, 2] == [found[0], found[2]]
        assert isinstance(found[1], ValueError)
        found = await asyncio.gather(*map(together.run, (1, 13)), return_exceptions=True)
        assert [OSError, OSError] == [type(each) for each in found]
        assert 5 == await together.run(5)

    bounded(done())


def test_who_leaves_takes_nothing_with_them() -> None:
    """Work is done for who has left as well; the others get their results."""
    seen: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(some: Sequence[int]) -> list[int | Exception]:
        begun.set()
        go_on.wait(SECONDS)
        seen.extend(some)
        return list(some)

    async def done() -> None:
        together = Together("test", work)
        tasks = [asyncio.create_task(together.run(n)) for n in range(2)]
        await asyncio.to_thread(begun.wait, SECONDS)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        go_on.set()
        assert 1 == await tasks[1]
        assert [0, 1] == seen

    bounded(done())
