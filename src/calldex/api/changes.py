"""`GET /api/v2/cdr/changes`: what changed, page by page by cursor, or as a stream of server-sent events.

What a page holds is for `search.feed`; here is how long a client waits for one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import caller_of
from calldex.api.endpoint import ERRORS, over
from calldex.errors import Problem
from calldex.node import Node
from calldex.records.codec import Record
from calldex.records.record import Instant, Uuid
from calldex.search.feed import Cursor, FeedPage, Start, Versions
from calldex.search.query import INSTANT_FORMS, RELATED, UNRELATED, Own, Parameters, instant_ms
from calldex.search.reader import Reader, Reading, Search
from calldex.transport.replies import JSON, PRIVATE, Coding, coded, coding_for, coding_headers
from calldex.transport.requests import caller, pairs_of
from calldex.transport.streams import Head, Pieces, StreamReply
from calldex.transport.workers import ClientGone, left

EVENTS: Final = "text/event-stream"
_BEAT_S: Final = 15.0
"""After so long without a change a stream says that it is still there."""
_VALID: Final = f"beginning, now, or {INSTANT_FORMS}"


class ChangesRequest(Own, frozen=True):
    """Which part of the feed is wanted, and how."""

    cursor: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=1000,
                description="Opaque; the `next_cursor` of an earlier reply continues that feed, with the same filters.",
            ),
        ]
        | None
    ) = None
    start: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=40,
                description="Where a feed begins that has no cursor yet: `beginning`, with all records as they are;"
                " `now`; or an instant, with what was committed since. `beginning` if not given.",
                examples=["beginning"],
            ),
        ]
        | None
    ) = None
    limit: Annotated[
        int, msgspec.Meta(ge=1, le=10_000, description="How many versions a page is made of.", examples=[1000])
    ] = 1_000
    versions: Annotated[
        Versions,
        msgspec.Meta(
            description="`latest`, what a copy needs: a record once a page, as it is at its end. `all`: every version.",
            examples=["latest"],
        ),
    ] = "latest"
    wait: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=60,
            description="So many seconds a page is waited for when there is nothing yet.",
            examples=[30],
        ),
    ] = 0

    def problems(self) -> Iterable[Problem]:
        """What does not go together, or is no start."""
        if self.cursor is not None and self.start is not None:
            yield Problem(
                "start", self.start, "cannot be given with a cursor, which has its place already", "either of both"
            )
        if self.start is not None and self.started() is None:
            yield Problem("start", self.start, "is not a place in the feed", _VALID)

    def started(self) -> Start | None:
        """The start that is meant; None for what is none."""
        if self.start in (None, "beginning"):
            return "beginning"
        if self.start == "now":
            return "now"
        return instant_ms(str(self.start))


CHANGES: Final = Reading(action="changes_read", takes=Parameters(ChangesRequest, related=False), waits=False)
"""What the store committed is told also while it cannot search yet."""


class FeedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change: `upsert` with the `record` as it is, or `delete` of one that a copy drops, without it. `seq` grows;
    `at` is when it was committed."""

    seq: int
    change: Literal["upsert", "delete"]
    uuid: Uuid
    at: Instant
    record: Record | None


class FeedReply(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the change feed. `next_cursor` continues it, always; `has_more` says that there is more now; nothing
    can come any more that was committed before `complete_through`."""

    changes: list[FeedChange]
    next_cursor: str
    has_more: bool
    complete_through: Instant


class Changed:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader
        self._stopping = node.stopping

    async def get(self, request: Request) -> Response:
        """A page, or a stream of pages."""
        owner, pairs = await caller(request, self._directory, await pairs_of(request))
        if EVENTS in request.headers.get("accept", ""):
            return StreamReply(lambda: self._events(request, owner, pairs))
        coding = coding_for(request.headers.get("accept-encoding", ""))
        async with self._reader.open(caller_of(request, owner), CHANGES, pairs) as search:
            asked = search.own
            cursor = search.cursor(asked.cursor, asked.started() or "beginning", asked.versions)
            leaving = asyncio.ensure_future(left(request.receive))
            try:
                return _reply(await self._page(search, cursor, leaving), coding)
            finally:
                leaving.cancel()

    async def _page(self, search: Search[ChangesRequest], cursor: Cursor, leaving: asyncio.Future[None]) -> FeedPage:
        """The page, as soon as there is one that is not empty, or when it was waited for so long."""
        asked = search.own
        deadline = time.monotonic() + asked.wait
        page = await search.run(lambda: search.changes(cursor, asked.limit))
        while not page.count and not page.more and time.monotonic() < deadline and not self._stopping.is_set():
            at = search.cursor(page.cursor, "now", asked.versions)
            await search.committed(at, deadline, lambda: self._stopping.is_set() or leaving.done())
            if leaving.done():
                raise ClientGone
            page = await search.run(partial(search.changes, at, asked.limit))
        return page

    async def _events(self, request: Request, owner: Any, pairs: Any) -> Pieces:
        resumed = request.headers.get("last-event-id")
        given = [*((n, v) for n, v in pairs if n not in ("cursor", "start") or not resumed)]
        if resumed:
            given.append(("cursor", resumed))
        async with self._reader.open(caller_of(request, owner, streams=True), CHANGES, given) as search:
            asked = search.own
            cursor = search.cursor(asked.cursor, asked.started() or "beginning", asked.versions)
            search.noted.begun = True
            yield Head(EVENTS, PRIVATE)
            text = ""
            while not self._stopping.is_set():
                page = await search.run(partial(search.changes, cursor, asked.limit))
                if page.count or page.cursor != text:
                    text = page.cursor
                    yield b"id: %b\ndata: %b\n\n" % (text.encode(), page.body)
                    cursor = search.cursor(text, "now", asked.versions)
                if not page.more:
                    await search.committed(cursor, time.monotonic() + _BEAT_S, self._stopping.is_set)
                    yield b": still here\n\n"


def _reply(page: FeedPage, coding: Coding) -> Response:
    body, sent = coded(page.body, coding)
    return Response(body, 200, {**PRIVATE, **coding_headers(sent)}, JSON)


ENDPOINTS: Final = (
    over(CHANGES)(
        path="/api/v2/cdr/changes",
        handler=lambda handlers: handlers.changed.get,
        id="read_changes",
        tag="Call detail records",
        summary="Read what changed, in order, for a copy",
        description=(
            "Each page has a `next_cursor`, never null: send it with the same filters for what comes behind it, now or"
            " days later. Whoever applies every page, `upsert` by replacing the record and `delete` by dropping it, has"
            " a copy of what the key may see under these filters: no change is left out, none comes twice. What ceases"
            " to match, leaves the key's reach or is erased comes as `delete`. It takes the filters of the list but"
            f" `{RELATED[0]}`: {UNRELATED}.\n\n"
            "With `wait`, the reply comes as soon as there is a change. With `Accept: text/event-stream`, each page is"
            " an event whose id is its cursor, and `Last-Event-ID` continues.\n\n"
            "409: what the key may see has changed; 410: the cursor is older than what is kept, or the store was"
            " restored. Then read the feed again from the beginning, and drop from the copy what does not come."
        ),
        gives=FeedReply,
        other_types=(EVENTS,),
        errors=(*ERRORS, 409, 410),
    ),
)
