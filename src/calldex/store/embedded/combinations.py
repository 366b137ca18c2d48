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
        self._known = list(known)
        self._numbers = {combination: number for number, combination in enumerate(self._known, 1)}
        self._lock = threading.Lock()
        self._reached: LRUCache[bytes, bytes] = LRUCache(_SCOPES)

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
            self._known.append(combination)
            numbers[combination] = len(self._known)
        return [numbers.get(combination, NO_COMBINATION) for combination in combinations]

    def since(self, number: int) -> list[tuple[int, int, int, int, str]]:
        """The combinations behind a number, each after its own."""
        return [(own, *combination) for own, combination in enumerate(self._known[number:], number + 1)]

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
                reached += _reached(self._known[len(reached) - 1 :], scope)
            self._reached[key] = reached
        return np.frombuffer(reached, dtype=np.bool_)


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


def _reached(combinations: Sequence[Combination], scope: Scope) -> bytes:
    agents, queues, campaigns = set(scope.agents), set(scope.queues), set(scope.campaigns)
    teams = set(map(str, scope.teams))
    return bytes(
        agent in agents or queue in queues or campaign in campaigns or not teams.isdisjoint(team_ids.split(","))
        for agent, queue, campaign, team_ids in combinations
    )
