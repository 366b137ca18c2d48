"""Batches that wait to be written: whoever gets the turn writes for all of them, in one commit.

Knows neither turns nor commits: the first are its owner's, the second the ledger's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from calldex.errors import IdempotencyMismatch
from calldex.store import AlreadyAnswered, Batch
from calldex.store.embedded.ledger import Written

TOGETHER: Final = 10_000
"""So many records, or batches, are committed together."""


class Waiting(Future[Written]):
    """A batch, and what becomes of it."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch


class Queue:
    """The batches in the order in which they came; any thread puts, whoever has the turn writes."""

    def __init__(
        self, write: Callable[[Sequence[Batch]], Sequence[Written | IdempotencyMismatch | AlreadyAnswered]]
    ) -> None:
        """`write` commits some batches together; see `Ledger.write`."""
        self._write = write
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, batch: Batch) -> Waiting:
        """Have a batch written by whoever gets the turn."""
        waiting = Waiting(batch)
        self._waiting.append(waiting)
        return waiting

    def withdraw(self, waiting: Waiting) -> bool:
        """Whether nobody has begun to write a batch, and nobody will."""
        with suppress(ValueError):
            self._waiting.remove(waiting)
            return True
        return False

    def write_until(self, mine: Sequence[Waiting]) -> Iterator[Written]:
        """Write what waits until these of it are done; those that only began versions."""
        while not mine[-1].done():
            some = self._next()
            try:
                results = self._written([each.batch for each in some])
            except BaseException as error:
                for each in some:
                    each.set_exception(error)
                raise
            for each, result in zip(some, results, strict=True):
                if isinstance(result, Exception):
                    each.set_exception(result)
                    continue
                if result.rows:
                    yield result
                each.set_result(result)

    def _next(self) -> list[Waiting]:
        """Those at the head of the queue that can share a commit. Of two under one idempotency key the second must find
        the receipt of the first, so it is in another commit."""
        some: list[Waiting] = []
        keys: set[tuple[int, str]] = set()
        size = 0
        while self._waiting and len(some) < TOGETHER:
            batch = self._waiting[0].batch
            key = None if batch.receipt_key is None else (batch.account_id, batch.receipt_key)
            size += len(batch.records) + len(batch.removed)
            if some and (size > TOGETHER or key in keys):
                break
            if key is not None:
                keys.add(key)
            some.append(self._waiting.popleft())
        return some

    def _written(self, batches: Sequence[Batch]) -> Sequence[Written | Exception]:
        """What is wrong with one is not the others' fault: if they cannot be written together, each is by itself."""
        try:
            return self._write(batches)
        except Exception as error:  # noqa: BLE001 - it is raised where the batch came from
            alone = len(batches) == 1
            return [error] if alone else [one for batch in batches for one in self._written([batch])]
