"""`GET /api/v2/cdr`: a search becomes a page.

The records' JSON goes from the store to the client as it is; nothing here looks into it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Principal, Scope, permit, scope_of
from calldex.api.audited import audited
from calldex.api.page_cache import Finished, FinishedPages
from calldex.audit.chain import searched
from calldex.errors import StoreNotReady
from calldex.node import Node
from calldex.records.fields import Op
from calldex.search.page import Page
from calldex.search.query import PageRequest, Query, parse
from calldex.transport.backpressure import Untaken
from calldex.transport.metrics import Metrics
from calldex.transport.replies import JSON, PRIVATE, Coding, coded, coding_for, coding_headers, tag_matches
from calldex.transport.requests import caller, pairs_of
from calldex.transport.workers import Workers

_HOUR_MS: Final = 3_600_000
START_S: Final = 2.0


class CdrPages:
    """The handler, over a node."""

    def __init__(self, node: Node, workers: Workers, metrics: Metrics, untaken: Untaken) -> None:
        self._node = node
        self._workers = workers
        self._metrics = metrics
        self._untaken = untaken
        self._finished = FinishedPages()

    async def get(self, request: Request) -> Response:
        """A page of records, newest first."""
        now_ms = time.time_ns() // 1_000_000
        owner, pairs = await caller(request, self._node.directory, await pairs_of(request), now_ms)
        async with audited(self._node.audit, request, owner, "search") as noted:
            noted.detail = searched(pairs)
            query, wanted = parse(pairs, readable(owner), owner.timezone)
            await self._until_ready(query)
            coding = coding_for(request.headers.get("accept-encoding", ""))
            if_none_match = request.headers.get("if-none-match")
            # A walk begins with an hour, so that all of the hour's equal searches get equal bytes, their token
            # included.
            hour_ms = now_ms - now_ms % _HOUR_MS
            async with self._workers.place(request.receive):
                await self._untaken.admit()
                reply, noted.rows = await self._workers.run(
                    lambda: self._answer(query, wanted, hour_ms, coding, if_none_match)
                )
            noted.status = reply.status_code
        return reply

    async def _until_ready(self, query: Query) -> None:
        """Searches wait a moment for a store that starts. When it takes longer, as the columns are made again, they
        are refused, instead of holding places that searches by uuid need: those are answered all the time."""
        if any(condition.op is Op.ANY_UUID for condition in query.where):
            return
        deadline = time.monotonic() + START_S
        while not (state := self._node.store.state()).ready:
            if time.monotonic() > deadline:
                left = f"{state.behind} of {state.total} commits are left"
                raise StoreNotReady(f"searches cannot be answered yet: {state.reason}; {left}", retry_after=2)
            await asyncio.sleep(0.05)

    def _answer(
        self, query: Query, wanted: PageRequest, hour_ms: int, coding: Coding, if_none_match: str | None
    ) -> tuple[Response, int]:
        """The reply, and how many records are in it. Runs in a thread: one hop for all that takes time."""
        place = self._node.pager.place(query, wanted, hour_ms)
        tag = f"{place.fingerprint(query, wanted.per_page)}-{place.began_ms:x}-{wanted.page}-{coding}"
        headers = {**PRIVATE, "ETag": f'"{tag}"'}
        if tag_matches(if_none_match, tag):
            return Response(None, 304, headers), 0
        finished = self._finished.get(tag)
        if finished is None:
            page = self._node.pager.read(query, place, wanted.per_page)
            finished = Finished(*coded(body_of_page(page, wanted.page), coding), page.count)
            self._finished.put(tag, finished)
        self._metrics.served.inc(finished.records)
        return Response(finished.body, 200, headers | coding_headers(finished.coding), JSON), finished.records


def body_of_page(page: Page, number: int) -> bytes:
    """The reply's JSON."""
    end = b'],"total":%d,"page":%d,"search_token":%s}' % (page.total, number, msgspec.json.encode(page.token))
    return b"".join((b'{"records":[', page.json, end))


def readable(owner: Principal) -> Scope:
    """What somebody may see; `Forbidden` if he may see no records at all."""
    permit(owner, ("see_cdrs",))
    return scope_of(owner)
