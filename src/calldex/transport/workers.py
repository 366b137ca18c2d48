"""Threads for what takes time, and the places in front of them.

Searches and writes block, so they run in threads. No more than a stated number run at once, no more than a stated
number wait; who comes then is refused at once, so that a busy server answers late or not at all, but never later and
later.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, Final, TypeVar

from starlette.types import Receive

from calldex import budget
from calldex.errors import CalldexError
from calldex.transport.shares import ASKER, Asker, Shares

_T = TypeVar("_T")
_NOBODY: Final[Any] = object()


class ClientGone(Exception):
    """The client left before its reply was begun; nobody is there to be answered."""


class Workers:
    """Threads for one kind of work. `refusal` makes the error for who finds no place; `admit`, if there is one, is
    waited for by who has found one. Of running and waiting, each asker has a share (see `shares`). `place_s` is how
    long one may wait for a place and hold it, `run_s` how long one piece of work may take.

    There is nothing to close: threads that are idle end with the process, and what runs is stopped by the node.
    """

    def __init__(
        self,
        name: str,
        running: int,
        waiting: int,
        refusal: Callable[[], CalldexError],
        admit: Callable[[], Awaitable[None]] | None = None,
        *,
        place_s: float = math.inf,
        run_s: float = math.inf,
    ) -> None:
        self._threads = ThreadPoolExecutor(running, thread_name_prefix=name)
        self._most_running = running
        self._most_waiting = waiting
        self._refusal = refusal
        self._admit = admit
        self._place_s, self._run_s = place_s, run_s
        self._queues: OrderedDict[Asker | None, deque[asyncio.Future[None]]] = OrderedDict()
        self._run_shares, self._wait_shares = Shares(running), Shares(waiting)
        self.running = self.waiting = 0

    @asynccontextmanager
    async def place(self, receive: Receive | None) -> AsyncIterator[None]:
        """A place among those that run; waits for it as long as the client does.

        `receive` of a request whose body has been read tells when the client leaves; None if that cannot be asked.
        """
        asker = ASKER.get()
        with budget.within(self._place_s):
            if self.running < self._most_running and self._run_shares.has_room(asker):
                self._enter(asker)
            elif self.waiting >= self._most_waiting or not self._wait_shares.has_room(asker):
                raise self._refusal()
            else:
                await self._wait(receive, asker)
            try:
                await self.admit()
                yield
            finally:
                self._leave(asker)

    async def admit(self) -> None:
        """Return when whoever admits does."""
        if self._admit is not None:
            await self._admit()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in a thread; to be called by who has a place."""
        context = copy_context()

        def done() -> _T:
            with budget.within(self._run_s):
                budget.check()
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, done)

    def _enter(self, asker: Asker | None) -> None:
        self.running += 1
        self._run_shares.change(asker, 1)

    async def _wait(self, receive: Receive | None, asker: Asker | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(asker, deque()).append(turn)
        self._count_waiting(asker, 1)
        leaving = None if receive is None else asyncio.ensure_future(left(receive))
        try:
            seconds = budget.left()
            await asyncio.wait(
                {turn, leaving} if leaving else {turn},
                return_when=asyncio.FIRST_COMPLETED,
                timeout=None if seconds == math.inf else seconds,
            )
            if not turn.done():
                raise ClientGone if leaving is not None and leaving.done() else budget.spent()
        except BaseException:
            self._give_up(turn, asker)
            raise
        finally:
            if leaving is not None:
                leaving.cancel()

    def _give_up(self, turn: asyncio.Future[None], asker: Asker | None) -> None:
        if turn.done():
            self._leave(asker)
        else:
            self._queues[asker].remove(turn)
            self._count_waiting(asker, -1)

    def _count_waiting(self, asker: Asker | None, by: int) -> None:
        self.waiting += by
        self._wait_shares.change(asker, by)
        if not self._queues[asker]:
            del self._queues[asker]

    def _leave(self, asker: Asker | None) -> None:
        """Hand the place to somebody else: askers take turns, and of each who waits longest."""
        self.running -= 1
        self._run_shares.change(asker, -1)
        following = next((waiting for waiting in self._queues if self._run_shares.has_room(waiting)), _NOBODY)
        if following is not _NOBODY:
            turn = self._queues[following].popleft()
            self._queues.move_to_end(following)
            self._count_waiting(following, -1)
            self._enter(following)
            turn.set_result(None)


async def left(receive: Receive) -> None:
    """Return when the client has left; to be asked when the request has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
