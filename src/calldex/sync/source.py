"""The endpoint that a pipe reads: its client, within a budget of requests, and what kind it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import httpx2
import msgspec

from calldex.client import ApiError, Client, Incomplete
from calldex.client.client import TIMEOUT_S, patiently, refused
from calldex.client.flows import CDRS, Changes, Value, decoded, parameters
from calldex.sync import config

Kind = Literal["calldex", "v2"]
TRIES: Final = 8
PAGE: Final = 10_000
_PASSES: Final = frozenset((500, 520, 521, 522, 524))
"""The client tries again what says itself that it passes; a sync may, as it only reads, do so with these as well."""
_BURST: Final = 10
_ABSENT: Final = frozenset((400, 404, 405))


class Stopped(Exception):
    """The sync is to end."""


class Budget(httpx2.BaseTransport):
    """Sends requests, so many a minute at most, and counts them."""

    def __init__(self, per_minute: int, stopping: threading.Event) -> None:
        self.requests = 0
        self._inner = httpx2.HTTPTransport()
        self._stopping = stopping
        self._every_s = 60 / per_minute
        self._free_at = 0.0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it, when there is room for it."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - _BURST * self._every_s) + self._every_s
        if self._stopping.wait(max(self._free_at - now, 0)):
            raise Stopped
        self.requests += 1
        reply = self._inner.handle_request(request)
        if reply.status_code in _PASSES:
            reply.status_code = 503
        return reply

    def close(self) -> None:
        """Let go of the connections."""
        self._inner.close()


class Endpoint:
    """A source, for one pipe. Raises the errors of `calldex.client`, and `Stopped`."""

    def __init__(self, given: config.Source, stopping: threading.Event) -> None:
        self._budget = Budget(given.requests_per_minute, stopping)
        self._http = httpx2.Client(
            base_url=given.url,
            headers={"Authorization": f"Bearer {given.key}"},
            transport=self._budget,
            timeout=TIMEOUT_S,
        )
        self.client = Client(given.url, given.key, tries=TRIES, transport=self._budget)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._budget.requests

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
        self.client.close()

    def kind(self) -> Kind:
        """`calldex` if it has the change feed, `v2` if it has the list alone; raises what it answers otherwise."""
        try:
            next(self.changes(None, {"start": "now", "limit": 1}))
        except ApiError as error:
            if error.status not in _ABSENT:
                raise
        except Incomplete:  # whatever answers any address with a page of its own
            pass
        else:
            return "calldex"
        self.page({"per_page": 1})
        return "v2"

    def changes(self, cursor: str | None, asked: Mapping[str, Value | None], wait_s: int = 0) -> Iterator[Changes]:
        """The change feed from a cursor, else from the beginning, page by page to its end; for the first page the
        server may wait."""
        given = parameters({"limit": PAGE, **asked})
        at = given | ({"start": given.get("start", "beginning")} if cursor is None else {"cursor": cursor})
        at |= {"wait": str(wait_s)} if wait_s else {}
        more = True
        while more:
            try:
                found = msgspec.json.decode(self._get(f"{CDRS}/changes", at, {}).content)
                page = Changes(found["changes"], found["next_cursor"], found["has_more"], found["complete_through"])
            except (msgspec.DecodeError, KeyError, TypeError):
                raise Incomplete("the reply is no page of the change feed") from None
            yield page
            at, more = given | {"cursor": page.next_cursor}, page.has_more

    def page(self, asked: Mapping[str, Value | None]) -> dict[str, Any]:
        """One page of the list: the walk is taken up again in its middle, which `Client.cdrs` does not do."""
        found = decoded(self._get(CDRS, parameters(asked), {}).content)
        if not isinstance(found, dict) or not isinstance(found.get("records"), list):
            raise Incomplete("the reply is no page of the contract: it has no `records`")
        return found

    def lookup(self, name: str, known: str) -> tuple[str, list[dict[str, Any]] | None]:
        """A look-up and its entity tag; None for its rows while the tag is the known one."""
        reply = self._get(f"{CDRS}/{name}", {}, {"If-None-Match": known} if known else {})
        if reply.status_code == 304:
            return known, None
        return reply.headers.get("etag", ""), decoded(reply.content)

    def _get(self, path: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> httpx2.Response:
        def send() -> httpx2.Response:
            reply = self._http.get(path, params=dict(asked), headers=dict(headers))
            if reply.status_code not in (200, 304):
                raise refused(reply)
            return reply

        return patiently(TRIES, send)
