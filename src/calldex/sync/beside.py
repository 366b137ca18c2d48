"""Work in a thread of its own. Nobody has to wait for it: a process that ends does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """Begin work now; what is returned waits for what came of it, and gives or raises that."""
    made: Future[T] = Future()

    def carried_out() -> None:
        try:
            made.set_result(work())
        except BaseException as error:  # noqa: BLE001 - told to who waits for it
            made.set_exception(error)

    threading.Thread(target=carried_out, name="beside", daemon=True).start()
    return made.result


def ahead(given: Iterator[T], most: int) -> Iterator[T]:
    """The same, made while who takes it is busy with what came before: of what is not taken there are never more than
    `most`, with the one in the making. When nobody takes any more, it ends."""
    made: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(most - 1)
    left = threading.Event()

    def carried_out() -> None:
        end = _End(None)
        try:
            for one in given:
                made.put(one)
                room.acquire()
                if left.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - told to who waits for it
            end = _End(error)
        made.put(end)

    threading.Thread(target=carried_out, name="ahead", daemon=True).start()
    try:
        while not isinstance(one := made.get(), _End):
            room.release()
            yield one
        if one.error is not None:
            raise one.error
    finally:
        left.set()
        room.release()


@dataclass
class _End:
    """Nothing more comes, and why."""

    error: BaseException | None
