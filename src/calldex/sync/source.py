"""The endpoint that a pipe reads: its client, within a budget of requests, and what kind it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import httpx2
import msgspec
import structlog

from calldex.client import ApiError, Incomplete
from calldex.client.client import TIMEOUT_S, patiently, refused
from calldex.client.flows import CDRS, Record, Value, decoded, parameters
from calldex.clock import now, now_ms
from calldex.sync import config
from calldex.sync.beside import ahead
from calldex.sync.destinations import lookup_key
from calldex.sync.stopping import pause

_log: Final = structlog.get_logger(__name__)

Kind = Literal["calldex", "v2"]
T = TypeVar("T")
TRIES: Final = 8
PAGE: Final = 10_000
AHEAD: Final = 2
"""So many pages of a feed may be read, or on their way, that are not dealt with: as many as a copy takes at once."""
_PASSES: Final = frozenset((500, 520, 521, 522, 524))
"""The client tries again what says itself that it passes; a sync may, as it only reads, do so with these as well."""
_BURST: Final = 10
_SAID_S: Final = 5
"""Whoever waits longer than that says so."""
_ABSENT: Final = frozenset((400, 404, 405))


class Told(msgspec.Struct, frozen=True, gc=False):
    """A change as the feed tells it; of an `upsert`, with the record's JSON."""

    seq: int
    change: str
    uuid: str
    record: msgspec.Raw


class Page(msgspec.Struct, frozen=True):
    """A page of the feed."""

    changes: list[Told]
    next_cursor: str
    has_more: bool


class Listed(msgspec.Struct, frozen=True):
    """A page of the list, as far as a walk goes by it."""

    records: list[Record]
    total: int
    search_token: str | None = None


class Sum(msgspec.Struct, frozen=True, rename={"begin": "from"}):
    """How many records a time has, by its begin, and their sum."""

    begin: str
    count: int
    hash: str


class Sums(msgspec.Struct, frozen=True):
    """The checksums of some times."""

    checksums: list[Sum]


_page: Final = msgspec.json.Decoder(Page)


class Pace:
    """So many requests a minute at most, whichever pipe sends them."""

    def __init__(self, per_minute: int) -> None:
        self._lock = threading.Lock()
        self._every_s = 60 / per_minute
        self._free_at = 0.0

    def turn_s(self) -> float:
        """How long to wait before one more, which is sent then."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST * self._every_s) + self._every_s
            return self._free_at - now


class Budget(httpx2.BaseTransport):
    """Sends requests, each in its turn, and counts them. `ahead_s` is how far the endpoint's clock is ahead of
    ours, as its last reply told."""

    def __init__(self, pace: Pace, pause: Callable[[float], None]) -> None:
        self.requests = 0
        self.ahead_s = 0.0
        self._inner = httpx2.HTTPTransport()
        self._pace = pace
        self._pause = pause

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it, when there is room for it."""
        self._pause(self._pace.turn_s())
        self.requests += 1
        reply = self._inner.handle_request(request)
        with suppress(ValueError):
            self.ahead_s = parsedate_to_datetime(reply.headers.get("date", "")).timestamp() - now_ms() / 1000
        if reply.status_code in _PASSES:
            reply.status_code = 503
        return reply

    def close(self) -> None:
        """Let go of the connections."""
        self._inner.close()


class Endpoint:
    """A source, for one pipe. Raises the errors of `calldex.client`, and `Stopped`."""

    def __init__(self, given: config.Source, stopping: threading.Event, pace: Pace, tries: int = TRIES) -> None:
        self._pause = partial(pause, stopping)
        self._budget = Budget(pace, self._pause)
        self._http = httpx2.Client(
            base_url=given.url,
            headers={"Authorization": f"Bearer {given.key}"},
            transport=self._budget,
            timeout=TIMEOUT_S,
        )
        self._tries = tries

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._budget.requests

    def now(self) -> datetime:
        """The time on the endpoint's clock, which cuts its days; on ours, before it replied."""
        return now() + timedelta(seconds=self._budget.ahead_s)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def kind(self) -> Kind:
        """`calldex` if it has the change feed, `v2` if it has the list alone; raises what it answers otherwise."""
        asked = parameters({"start": "now", "limit": 1})
        try:
            _page.decode(self._get(f"{CDRS}/changes", asked, _content))
        except ApiError as error:
            if error.status not in _ABSENT:
                raise
        except msgspec.DecodeError:  # whatever answers any address with a page of its own
            pass
        else:
            return "calldex"
        self.page({"per_page": 1})
        return "v2"

    def changes(self, cursor: str | None, asked: Mapping[str, Value | None], wait_s: int = 0) -> Iterator[Page]:
        """The change feed from a cursor, else from the beginning, page by page to its end; for the first page the
        server may wait. While pages are dealt with, others are on their way, `AHEAD` at the most."""
        given = parameters({"limit": PAGE, **asked})
        at = given | ({"start": given.get("start", "beginning")} if cursor is None else {"cursor": cursor})
        at |= {"wait": str(wait_s)} if wait_s else {}
        return ahead(self._pages(given, at), AHEAD)

    def _pages(self, given: Mapping[str, str], at: Mapping[str, str]) -> Iterator[Page]:
        more = True
        while more:
            page = self._get(f"{CDRS}/changes", at, _changes)
            if page.has_more and page.next_cursor == at.get("cursor"):
                raise Incomplete("the change feed says that more follows, and stays where it is")
            at, more = {**given, "cursor": page.next_cursor}, page.has_more
            yield page

    def page(self, asked: Mapping[str, Value | None]) -> Listed:
        """One page of the list: the walk is taken up again in its middle, which `Client.cdrs` does not do."""
        return self._get(CDRS, parameters(asked), partial(_read, Listed))

    def checksums(self, asked: Mapping[str, Value | None]) -> Sequence[Sum]:
        """How many records each day or hour has, and their sum."""
        return self._get(f"{CDRS}/checksums", parameters(asked), partial(_read, Sums)).checksums

    def lookup(self, name: str, known: str) -> tuple[str, list[dict[str, Any]] | None]:
        """A look-up and its entity tag; None for its rows while the tag is the known one."""

        def read(reply: httpx2.Response) -> tuple[str, list[dict[str, Any]] | None]:
            if reply.status_code == 304:
                return known, None
            rows = _read(list[dict[str, Any]], reply)
            if not all(lookup_key(name) in row for row in rows):
                raise Incomplete(f"the look-up {name} has rows without `{lookup_key(name)}`")
            return reply.headers.get("etag", ""), rows

        return self._get(f"{CDRS}/{name}", {}, read, {"If-None-Match": known} if known else {})

    def _get(
        self,
        path: str,
        asked: Mapping[str, str],
        read: Callable[[httpx2.Response], T],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> T:
        """What is read of a reply. One that is not what was asked for is tried again, as a proxy may have made it."""

        def send() -> T:
            reply = self._http.get(path, params=dict(asked), headers=dict(headers))
            if reply.status_code not in (200, 304):
                raise refused(reply)
            return read(reply)

        return patiently(self._tries, send, self._pause_aloud)

    def _pause_aloud(self, seconds: float) -> None:
        if seconds > _SAID_S:
            _log.warning("the source is asked again", in_s=round(seconds))
        self._pause(seconds)


def _content(reply: httpx2.Response) -> bytes:
    return reply.content


def _changes(reply: httpx2.Response) -> Page:
    try:
        return _page.decode(reply.content)
    except msgspec.DecodeError as error:
        raise Incomplete(f"the reply is no page of the change feed: {error}") from None


def _read(kind: type[T], reply: httpx2.Response) -> T:
    try:
        return msgspec.convert(decoded(reply.content), kind)
    except msgspec.ValidationError as error:
        raise Incomplete(f"the reply is none of the contract: {error}") from None
