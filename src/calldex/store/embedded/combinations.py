"""Which agent, queue, campaign and teams occur together in records: their combinations, numbered as they come.

There are few, however many records: a record keeps the number of its combination, and a scope becomes one bit for each
number, so that whether a record is within reach is one look at a bit. Memory is bounded: when there are too many
combinations, a reach is told by the ids themselves again. The columns' table and column of them is `party`. No engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from cachetools import LRUCache

from calldex.access import Scope
from calldex.search.query import Condition

Array = np.ndarray[Any, Any]

MOST: Final = 65_536
"""So many combinations are numbered, about 20 MB."""
_SCOPES: Final = 256
"""Of so many scopes the bits are remembered."""
NO_COMBINATION: Final = 0
"""The number of what has none, within nobody's reach."""


COMBINED: Final = ("agent_id", "queue_id", "campaign_id", "team_ids")
"""The columns by whose values a reach is told."""
Combination = tuple[int, int, int, str]
"""The values of these, as columns keep them: 0 or nothing where there is none."""


class Combinations:
    """The combinations of a store, and how each scope reaches them. One thread adds, any thread asks."""

    def __init__(self, known: Iterable[Combination]) -> None:
        """`known`: in the order of their numbers, which begin with 1."""
        self._known: list[Combination] = []
        self._numbers: dict[Combination, int] = {}
        found = list(known)
        self._ids = np.zeros((3, max(MOST, len(found))), dtype=np.int64)
        """Agent, queue and campaign of each number but 1."""
        self._teams = np.zeros(self._ids.shape[1], dtype=np.int64)
        """Of each number but 1 the place of its teams in `_texts`."""
        self._texts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._reached: LRUCache[bytes, bytes] = LRUCache(_SCOPES)
        for combination in found:
            self._add(combination)

    @property
    def full(self) -> bool:
        """Whether there may be records whose combination has no number."""
        return len(self._known) >= MOST

    def __len__(self) -> int:
        return len(self._known)

    def numbered(self, combinations: Sequence[Combination]) -> list[int]:
        """The numbers of some combinations; new ones get one, as long as there is room."""
        numbers = self._numbers
        for combination in set(combinations).difference(numbers):
            if self.full:
                break
            self._add(combination)
        return [numbers.get(combination, NO_COMBINATION) for combination in combinations]

    def _add(self, combination: Combination) -> None:
        at = len(self._known)
        self._ids[:, at] = combination[:3]
        self._teams[at] = self._texts.setdefault(combination[3], len(self._texts))
        self._known.append(combination)  # last: who asks meanwhile looks no further than there are
        self._numbers[combination] = at + 1

    def since(self, number: int) -> list[tuple[int, int, int, int, str]]:
        """The combinations behind a number, each after its own."""
        return [(own, *combination) for own, combination in enumerate(self._known[number:], number + 1)]

    def arranged(self, numbers: Array) -> Array:
        """Some numbers in an order in which those of the same teams lie together, and of these those of a queue."""
        at = np.minimum(numbers, len(self)) - 1
        return numbers[np.lexsort((*self._ids[:, at], self._teams[at]))]

    def within(self, scope: Scope) -> bytes:
        """A bit for each number from 0, the first of a byte being its highest: whether the scope's lists reach it."""
        return np.packbits(self._within(scope)).tobytes()

    def within_all(self, scopes: Sequence[Scope]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each number from 0 whether the lists of all these scopes reach it; of one at least."""
        found = [self._within(scope) for scope in scopes]
        shortest = min(map(len, found))  # some may have come meanwhile
        all_of_them: np.ndarray[Any, np.dtype[np.bool_]] = np.logical_and.reduce([each[:shortest] for each in found])
        return all_of_them

    def _within(self, scope: Scope) -> np.ndarray[Any, np.dtype[np.bool_]]:
        key = scope.fingerprint()
        with self._lock:
            reached = self._reached.get(key, b"\0")
            if len(reached) <= len(self._known):
                reached += self._reach(slice(len(reached) - 1, len(self._known)), scope)
            self._reached[key] = reached
        return np.frombuffer(reached, dtype=np.bool_)

    def _reach(self, which: slice, scope: Scope) -> bytes:
        """Of some combinations whether a scope's lists reach them, a byte each."""
        teams = set(map(str, scope.teams))
        reached = np.array([not teams.isdisjoint(text.split(",")) for text in list(self._texts)])[self._teams[which]]
        for ids, column in zip((scope.agents, scope.queues, scope.campaigns), self._ids, strict=True):
            if ids:
                reached |= np.isin(column[which], ids)
        return reached.tobytes()


def reach_of(account_id: int, condition: Condition) -> Scope:
    """The scope whose lists reach what a condition on one of `COMBINED` means."""
    ids = tuple(int(value) for value in condition.values)
    match condition.column:
        case "agent_id":
            return Scope(account_id=account_id, agents=ids)
        case "queue_id":
            return Scope(account_id=account_id, queues=ids)
        case "campaign_id":
            return Scope(account_id=account_id, campaigns=ids)
        case _:
            return Scope(account_id=account_id, teams=ids)
