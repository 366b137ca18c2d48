"""`GET /api/v2/cdr`: a search becomes a page.

The records' JSON goes from the store to the client as it is; nothing here looks into it, but for the numbers in it
where it is asked how they are written.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import asked
from calldex.api.endpoint import ERRORS, over
from calldex.api.page_cache import CachedPage, PageCache
from calldex.node import Node
from calldex.records.codec import Record
from calldex.records.numbers import written_in
from calldex.search.page import Page, Place
from calldex.search.query import PageRequest
from calldex.search.reader import SEARCH, Reader, Search
from calldex.transport.replies import JSON, PRIVATE, Coding, coded, coding_for, coding_headers, tag_matches


class CdrPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a search: its records, how many match in all, the page's number as it was asked for, and the token for
    the rest; null when nothing follows. `numbers` is there when it was asked for."""

    records: list[Record]
    total: Annotated[int, msgspec.Meta(ge=0)]
    page: Annotated[int, msgspec.Meta(ge=1)]
    search_token: str | None
    numbers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


AT_ONCE: Final = 256 * 1024
"""Pages that are kept leave without a place up to this size: so many bytes may lie in memory for each connection."""
Answer = tuple[Response, int]
"""A reply, and how many records are in it."""


class CdrPages:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader
        self._cache = PageCache()

    async def get(self, request: Request) -> Response:
        """A page of records, newest first."""
        caller, pairs = await asked(request, self._directory)
        async with self._reader.open(caller, SEARCH, pairs) as search:
            coding = coding_for(request.headers.get("accept-encoding", ""))
            if_none_match = request.headers.get("if-none-match")
            place = search.place_at_once(search.own)
            found = None if place is None else self._kept(search, place, coding, if_none_match)
            if found is None or len(found[0].body) > AT_ONCE:
                found = await search.run(lambda: self._answer(search, place, coding, if_none_match))
            else:
                await search.admit()
            reply, rows = found
            search.count_served(rows)
            search.noted.status = reply.status_code
        return reply

    def _kept(
        self, search: Search[PageRequest], place: Place, coding: Coding, if_none_match: str | None
    ) -> Answer | None:
        """The answer for who has the page already, or if somebody had it a moment ago."""
        tag = _tag(search, place, coding)
        if tag_matches(if_none_match, tag):
            return Response(None, 304, _headers(tag)), 0
        cached = self._cache.get(tag)
        return None if cached is None else _reply(cached, tag)

    def _answer(
        self, search: Search[PageRequest], place: Place | None, coding: Coding, if_none_match: str | None
    ) -> Answer:
        """The answer, read if nobody had it. Runs in a thread: one hop for all that takes time."""
        place = search.place(search.own) if place is None else place
        kept = self._kept(search, place, coding, if_none_match)
        if kept is not None:
            return kept
        page = search.page(place, search.own)
        made = CachedPage(*coded(body_of_page(page, search.own), coding), page.count)
        tag = _tag(search, place, coding)
        self._cache.put(tag, made)
        return _reply(made, tag)


def _tag(search: Search[PageRequest], place: Place, coding: Coding) -> str:
    return f"{search.fingerprint(place, search.own)}-{search.own.numbers or ''}-{coding}"


def _headers(tag: str) -> dict[str, str]:
    return {**PRIVATE, "ETag": f'"{tag}"'}


def _reply(page: CachedPage, tag: str) -> Answer:
    return Response(page.body, 200, _headers(tag) | coding_headers(page.coding), JSON), page.records


def body_of_page(page: Page, own: PageRequest) -> bytes:
    """The reply's JSON."""
    end = b'],"total":%d,"page":%d,"search_token":%s' % (page.total, own.page, msgspec.json.encode(page.token))
    numbers = b',"numbers":%b' % msgspec.json.encode(written_in(page.json)) if own.numbers else b""
    return b"".join((b'{"records":[', page.json, end, numbers, b"}"))


ENDPOINTS: Final = (
    over(SEARCH)(
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
        errors=(304, *ERRORS, 409, 410),
    ),
)
