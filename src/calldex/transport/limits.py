"""How often somebody may come: token buckets for keys, for addresses, and for who has no valid key.

Asked by `middleware` for every request and by `requests.caller` for every request with a key, in the event loop alone,
so there is no lock. Kept in memory, and bounded: a bucket nobody used for long is forgotten, which makes it a full one.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): a request that takes
from it moves that time by what the request costs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import Final, NoReturn

from cachetools import LRUCache
from starlette.types import Scope

from calldex.errors import RateExceeded
from calldex.networks import site_of
from calldex.settings import Settings

MOST_BUCKETS: Final = 100_000
"""Of each kind; the one that was unused the longest makes room."""
STRANGER_RATE: Final = 10
STRANGER_BURST: Final = 50
_WAIT_S: Final = 1
"""No rate is below one a second, so after this long there is a place again."""
_ROUNDING: Final = 1e-6

RateHeaders = tuple[tuple[bytes, bytes], tuple[bytes, bytes]]


class Buckets:
    """Buckets under one policy, one for each name; who has none yet has a full one. `rate` is in requests a second."""

    def __init__(self, policy: str, rate: int, burst: int) -> None:
        self.policy = policy
        self.rate = rate
        self._span_s = burst / rate
        self._full_at: LRUCache[Hashable, float] = LRUCache(MOST_BUCKETS)
        told = f'"{policy}";q={burst};w={math.ceil(self._span_s)}'
        self._policy_header = (b"ratelimit-policy", told.encode())

    def take(self, name: Hashable, now: float) -> int | None:
        """Take a request out of a bucket: how many are left, or None if there was none."""
        full_at = max(self._full_at.get(name, now), now)
        left = self._left(full_at, now)
        if left >= 1:
            full_at += 1 / self.rate
        self._full_at[name] = full_at
        return int(left) - 1 if left >= 1 else None

    def is_empty(self, name: Hashable, now: float) -> bool:
        """Whether `take` would find nothing."""
        return self._left(max(self._full_at.get(name, now), now), now) < 1

    def headers(self, left: int | None) -> RateHeaders:
        """What a client is told, as draft-ietf-httpapi-ratelimit-headers says it: the policy, and what is left of it.

        Who spreads what is left over the window that is told is never refused.
        """
        window_s = max(_WAIT_S, math.ceil((left or 0) / self.rate))
        return self._policy_header, (b"ratelimit", b'"%s";r=%d;t=%d' % (self.policy.encode(), left or 0, window_s))

    def _left(self, full_at: float, now: float) -> float:
        return (self._span_s - (full_at - now)) * self.rate + _ROUNDING


class Limits:
    """The limits of one server. `refused` is told the policy of each request that is refused."""

    def __init__(
        self, settings: Settings, refused: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._refused = refused
        self._clock = clock
        self._keys = Buckets("key", settings.key_rate, settings.key_burst) if settings.key_rate else None
        self._addresses = (
            Buckets("address", settings.address_rate, settings.address_burst) if settings.address_rate else None
        )
        self._strangers = Buckets("no-key", STRANGER_RATE, STRANGER_BURST)
        self._known: LRUCache[Hashable, None] = LRUCache(MOST_BUCKETS)

    def arrive(self, scope: Scope) -> None:
        """A request came from the address in the scope; `RateExceeded` if that is one too many."""
        if self._addresses is not None:
            self._take(self._addresses, site_of(scope["calldex.address"]), scope)

    def admit(self, scope: Scope, who: Hashable | None) -> None:
        """A request showed what it has to show: it is of the key or session `who`, or of nobody (None).

        `RateExceeded` if that is one too many. When an address has shown too much that is not valid, whatever else it
        shows is refused unseen, so that a guess that hits looks like one that does not; only who was here before from
        this address still gets in, so that nobody is locked out by their neighbour.
        """
        site = site_of(scope["calldex.address"])
        if who is None:
            self._take(self._strangers, site, scope)
            return
        pair = (site, who)
        if pair not in self._known and self._strangers.is_empty(site, self._clock()):
            self._refuse(self._strangers, scope)
        self._known[pair] = None
        if self._keys is not None:
            self._take(self._keys, who, scope)

    def _take(self, buckets: Buckets, name: Hashable, scope: Scope) -> None:
        left = buckets.take(name, self._clock())
        if left is None:
            self._refuse(buckets, scope)
        elif buckets is self._keys:
            scope["calldex.rate"] = buckets.headers(left)

    def _refuse(self, buckets: Buckets, scope: Scope) -> NoReturn:
        scope["calldex.rate"] = buckets.headers(None)
        self._refused(buckets.policy)
        raise RateExceeded(_REASONS[buckets.policy].format(rate=buckets.rate), retry_after=_WAIT_S)


_REASONS: Final = {
    "key": "more requests came with this key than the {rate} a second that a key may make",
    "address": "more requests came from this address than the {rate} a second that one may make",
    "no-key": "too many requests without a valid key came from this address",
}
