"""Chance that falls the same way everywhere.

All of the demo's chance comes through here, and rests on little: Python promises that `random.Random(n).random` keeps
its sequence in every version, and makes no such promise for `choice`, `shuffle` or `gauss`, so those are made here
from it. Nothing hashes an object or walks a set. What is computed with floats is rounded before it is used.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")
Draw = Callable[[], float]
"""A number from 0 (included) to 1 (excluded)."""


def draws(seed: int, purpose: str) -> Draw:
    """A sequence of draws for one purpose, so that a change in one does not move the others."""
    digest = hashlib.sha256(f"calldex demo\x00{seed}\x00{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big")).random  # noqa: S311 - repeatable on purpose; guards nothing


def pick(draw: Draw, table: Sequence[T]) -> T:
    """One entry of a table, each as likely as any other."""
    return table[int(draw() * len(table))]


def spread(weights: Mapping[T, int]) -> tuple[T, ...]:
    """A table that holds each word as often as it weighs."""
    return tuple(word for word, weight in weights.items() for _ in range(weight))


def shuffled(draw: Draw, items: Sequence[T]) -> list[T]:
    """The items in a random order (Fisher and Yates)."""
    deck = list(items)
    for last in range(len(deck) - 1, 0, -1):
        other = int(draw() * (last + 1))
        deck[last], deck[other] = deck[other], deck[last]
    return deck


def ids(draw: Draw, first: int) -> Iterator[int]:
    """Rising numbers with a gap now and then, as ids have where some were deleted."""
    while True:
        yield first
        first += 1 if draw() < 0.8 else 2 + int(draw() * 5)


def lengths(median_s: float, sigma: float, least_s: float, most_s: float) -> tuple[int, ...]:
    """A table of log-normal lengths in whole ms, cut at both ends."""
    deviates = (NormalDist().inv_cdf((step + 0.5) / 4096) for step in range(4096))
    seconds = (median_s * math.exp(sigma * deviate) for deviate in deviates)
    return tuple(round(1000 * min(max(length, least_s), most_s)) for length in seconds)
