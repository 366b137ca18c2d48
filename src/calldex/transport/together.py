"""Work that costs little more for several than for one: what waits is done at once, by one thread.

Many who each wait for a thread of their own, and are woken one after another to learn that somebody has done their work
for them, pay more for that than for the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Generic, TypeVar

MOST: Final = 1_000
"""So much is done at once."""
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Together(Generic[_Given, _Made]):
    """One thread for one kind of work; of one event loop, in which alone it is used.

    Nothing waits for others to come: what came while something was done is done next, and at first what came in the
    same turn of the event loop.
    """

    def __init__(self, name: str, work: Callable[[Sequence[_Given]], Sequence[_Made | Exception]]) -> None:
        """`work` makes something of each that it is given, or the error that is for this one alone; what it raises is
        for all of them."""
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[_Given, asyncio.Future[_Made]]] = []
        self._busy = False

    async def run(self, given: _Given) -> _Made:
        """What is made of it. It is done also when whoever waits for it leaves."""
        loop = asyncio.get_running_loop()
        made: asyncio.Future[_Made] = loop.create_future()
        self._waiting.append((given, made))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin)
        return await made

    def _begin(self) -> None:
        """Do what waits, if there is something."""
        some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        self._busy = bool(some)
        if some:
            doing = asyncio.get_running_loop().run_in_executor(self._thread, self._work, [given for given, _ in some])
            doing.add_done_callback(partial(self._settle, [made for _, made in some]))

    def _settle(
        self, waiting: Sequence[asyncio.Future[_Made]], done: asyncio.Future[Sequence[_Made | Exception]]
    ) -> None:
        """Let those go on whose work is done, and begin with what came meanwhile."""
        self._begin()
        error = done.exception()
        results = [error] * len(waiting) if error is not None else done.result()
        for made, result in zip(waiting, results, strict=True):
            if made.done():
                continue  # whoever waited has left
            if isinstance(result, BaseException):
                made.set_exception(result)
            else:
                made.set_result(result)
