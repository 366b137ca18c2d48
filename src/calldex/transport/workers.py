"""Threads for what takes time, and the places in front of them.

Searches and writes block, so they run in threads. No more than a stated number run at once, no more than a stated
number wait; who comes then is refused at once, so that a busy server answers late or not at all, but never later and
later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.types import Receive

from calldex.errors import CalldexError

_T = TypeVar("_T")


class ClientGone(Exception):
    """The client left before its reply was begun; nobody is there to be answered."""


class Workers:
    """Threads for one kind of work. `refusal` makes the error for who finds no place; `admit`, if there is one, is
    waited for by who has found one.

    There is nothing to close: threads that are idle end with the process, and what runs is stopped by the node.
    """

    def __init__(
        self,
        name: str,
        running: int,
        waiting: int,
        refusal: Callable[[], CalldexError],
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._threads = ThreadPoolExecutor(running, thread_name_prefix=name)
        self._most_running = running
        self._most_waiting = waiting
        self._refusal = refusal
        self._admit = admit
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, receive: Receive | None) -> AsyncIterator[None]:
        """A place among those that run; waits for it as long as the client does.

        `receive` of a request whose body has been read tells when the client leaves; None if that cannot be asked.
        """
        if self.running < self._most_running:
            self.running += 1
        elif len(self._queue) >= self._most_waiting:
            raise self._refusal()
        else:
            await self._wait(receive)
        try:
            if self._admit is not None:
                await self._admit()
            yield
        finally:
            self._leave()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in a thread; to be called by who has a place."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _wait(self, receive: Receive | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        leaving = None if receive is None else asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({turn, leaving} if leaving else {turn}, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise ClientGone
        except BaseException:
            self._give_up(turn)
            raise
        finally:
            if leaving is not None:
                leaving.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._leave()
        else:
            self._queue.remove(turn)

    def _leave(self) -> None:
        """Hand the place to who waits longest."""
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self.running -= 1


async def left(receive: Receive) -> None:
    """Return when the client has left; to be asked when the request has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
