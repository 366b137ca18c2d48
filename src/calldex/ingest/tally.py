"""What came in since this process began, however it came: outcomes, and for each source when and how new it was.

Ingest counts, `transport.metrics` tells. In memory; the node keeps of it when sources delivered (`news`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

PostOutcome = Literal["accepted", "updated", "unchanged", "rejected"]
OUTCOMES: Final[tuple[PostOutcome, ...]] = get_args(PostOutcome)


MOST_NAMED: Final = 1_000
"""Sources that posts named and that are not told yet: a client may name what it likes."""


class Taken(msgspec.Struct, frozen=True):
    """When a source last delivered something, and the begin of its newest record, both in epoch milliseconds (0: none
    yet)."""

    at_ms: int
    newest_ms: int


class Tally:
    """The counts. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._sources: dict[str, Taken] = {}
        self._kept: dict[str, Taken] = {}
        self._named: dict[int, dict[str, Taken]] = {}

    def count(self, source: str, now_ms: int, outcomes: Iterable[str], newest_ms: int) -> None:
        """Count some pieces of a source, one outcome for each; `newest_ms` is the begin of the newest record."""
        with self._lock:
            self._outcomes.update(outcomes)
            before = self._sources.get(source, Taken(0, 0))
            self._sources[source] = Taken(now_ms, max(before.newest_ms, newest_ms))

    def name(self, account_id: int, now_ms: int, newest: Mapping[str, int]) -> None:
        """These sources were named by records that were posted to an account; of each the begin of its newest."""
        with self._lock:
            named = self._named.setdefault(account_id, {})
            for source, newest_ms in newest.items():
                if source in named or len(named) < MOST_NAMED:
                    named[source] = Taken(now_ms, max(newest_ms, named[source].newest_ms if source in named else 0))

    def take_named(self) -> Mapping[int, Mapping[str, Taken]]:
        """What `name` was told since this was asked the last time, by account."""
        with self._lock:
            named, self._named = self._named, {}
            return named

    def news(self) -> Mapping[str, Taken]:
        """The same as `sources`, of those that have a name and are other than what was kept."""
        with self._lock:
            return {name: taken for name, taken in self._sources.items() if name and taken != self._kept.get(name)}

    def keep(self, news: Mapping[str, Taken]) -> None:
        """These are kept now."""
        with self._lock:
            self._kept |= news

    def outcomes(self) -> Mapping[str, int]:
        """How many pieces there were of each outcome."""
        with self._lock:
            return dict(self._outcomes)

    def sources(self) -> Mapping[str, Taken]:
        """What each source delivered; records that were posted have the empty name."""
        with self._lock:
            return dict(self._sources)
