"""`GET /api/v2/cdr`: a search becomes a page.

The records' JSON goes from the store to the client as it is; nothing here looks into it, but for the numbers in it
where it is asked how they are written.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import caller_of
from calldex.api.endpoint import ERRORS, Endpoint, taken
from calldex.api.page_cache import CachedPage, PageCache
from calldex.node import Node
from calldex.records.numbers import written_in
from calldex.search.page import Page
from calldex.search.query import PageRequest
from calldex.search.reader import SEARCH, Reader, Search
from calldex.transport.replies import JSON, PRIVATE, CdrPage, Coding, coded, coding_for, coding_headers, tag_matches
from calldex.transport.requests import caller, pairs_of


class CdrPages:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader
        self._cache = PageCache()

    async def get(self, request: Request) -> Response:
        """A page of records, newest first."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        async with self._reader.open(caller_of(request, owner), SEARCH, pairs) as search:
            coding = coding_for(request.headers.get("accept-encoding", ""))
            if_none_match = request.headers.get("if-none-match")
            reply, rows = await search.run(lambda: self._answer(search, coding, if_none_match))
            search.told(rows)
            search.noted.status = reply.status_code
        return reply

    def _answer(self, search: Search[PageRequest], coding: Coding, if_none_match: str | None) -> tuple[Response, int]:
        """The reply, and how many records are in it. Runs in a thread: one hop for all that takes time."""
        place = search.place(search.own)
        tag = f"{search.fingerprint(place, search.own)}-{search.own.numbers or ''}-{coding}"
        headers = {**PRIVATE, "ETag": f'"{tag}"'}
        if tag_matches(if_none_match, tag):
            return Response(None, 304, headers), 0
        cached = self._cache.get(tag)
        if cached is None:
            page = search.page(place, search.own)
            cached = CachedPage(*coded(body_of_page(page, search.own), coding), page.count)
            self._cache.put(tag, cached)
        return Response(cached.body, 200, headers | coding_headers(cached.coding), JSON), cached.records


def body_of_page(page: Page, asked: PageRequest) -> bytes:
    """The reply's JSON."""
    end = b'],"total":%d,"page":%d,"search_token":%s' % (page.total, asked.page, msgspec.json.encode(page.token))
    numbers = b',"numbers":%b' % msgspec.json.encode(written_in(page.json)) if asked.numbers else b""
    return b"".join((b'{"records":[', page.json, end, numbers, b"}"))


ENDPOINTS: Final = (
    Endpoint(
        path="/api/v2/cdr",
        handler=lambda handlers: handlers.cdr.get,
        id="search_cdr",
        tag="Call detail records",
        summary="Search call detail records, newest first",
        description=(
            "Filters combine with AND. An empty value means that the parameter is not given. The parameters may be sent"
            " as the members of a JSON object in the request's body instead, with `Content-Type: application/json`.\n\n"
            "`total` counts the whole match. As long as `search_token` is not null there is more: send it with the same"
            " filters to get the next page. A walk sees the records as they were when its first page was made, so that"
            " it gets each of them exactly once, whatever is written meanwhile."
        ),
        gives=CdrPage,
        credential="key",
        needs=SEARCH.needs,
        action=SEARCH.action,
        limit=SEARCH.places,
        parameters=taken(SEARCH.takes),
        errors=(304, *ERRORS, 409, 410),
    ),
)
