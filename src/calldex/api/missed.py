"""`GET /api/v2/cdr/missed`: missed calls by their callers, what became of them, and who took care of them.

What counts as missed and as returned stands in `search.missed`; marks are set by the verbs of `admin.missed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.admin.missed import Mark, mark_of
from calldex.api.audited import asked
from calldex.api.endpoint import ERRORS, over
from calldex.directory import MissedMark
from calldex.errors import BadRequest
from calldex.node import Node
from calldex.records.fields import CALLBACK_STATES
from calldex.records.numbers import all_written
from calldex.records.record import Disposition, Instant, Uuid, from_ms
from calldex.search.query import PageRequest, Parameters
from calldex.search.reader import MissedPage, Reader, Reading, Search
from calldex.transport.replies import JSON, PRIVATE, sized

MOST_MARKS: Final = 10_000
"""So many marked calls can be told from others at once."""


class MissedRequest(PageRequest, frozen=True):
    """Which part of the callers is wanted, and which of them."""

    per_page: Annotated[
        int, msgspec.Meta(ge=1, le=500, description="How many callers a page holds.", examples=[100])
    ] = 100
    marked: (
        Annotated[
            Literal["yes", "no"],
            msgspec.Meta(
                description="`yes`: those alone whose last missed call is marked as done; `no`: those whose is not.",
                examples=["no"],
            ),
        ]
        | None
    ) = None


MISSED: Final = Reading(action="search", takes=Parameters(MissedRequest, hours_alone=True))


class CallAnswer(msgspec.Struct, frozen=True):
    """The call that answered a caller: its uuid, when it began, and who took or made it."""

    uuid: Uuid
    at: Instant
    agent: str | None
    agent_id: int | None


class MissedCaller(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The missed calls of one caller that the same call answered, or that none did. `uuid`, `from` and the rest are
    those of the last of them, written as in the list; `uuids` are the newest 20. `time_to_return_s` is from the first
    of them to the `answer`. `mark` is the newest of these calls' marks; `done` says that the last call has it."""

    uuid: Uuid
    from_: str | None
    to: str | None
    did: str | None
    queue: str | None
    queue_id: int | None
    disposition: Disposition
    state: Literal["open", "returned", "answered_later"]
    attempts: int
    first_missed_at: Instant
    last_missed_at: Instant
    answer: CallAnswer | None
    time_to_return_s: int | None
    uuids: list[Uuid]
    mark: Mark | None
    done: bool


class MissedReply(msgspec.Struct, frozen=True, kw_only=True):
    """A page of callers, whose last missed call is the newest first; how many there are in all; within how many hours a
    call counts as returned. While `search_token` is not null there is more. `numbers` is there when it is asked for."""

    missed: list[MissedCaller]
    total: int
    page: int
    search_token: str | None
    callback_hours: int
    numbers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class MissedCalls:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader

    async def get(self, request: Request) -> Response:
        """A page of callers."""
        caller, pairs = await asked(request, self._directory)
        accept = request.headers.get("accept-encoding", "")
        async with self._reader.open(caller, MISSED, pairs) as search:
            return await search.run(lambda: sized(msgspec.json.encode(self._page(search)), accept, JSON, PRIVATE))

    def _page(self, search: Search[MissedRequest]) -> MissedReply:
        asked, account_id = search.own, search.scope.account_id
        last = None
        if asked.marked is not None:
            last = self._directory.marked(account_id, *search.days, MOST_MARKS + 1)
            if len(last) > MOST_MARKS:
                raise BadRequest(f"more than {MOST_MARKS} calls of these days are marked; ask for fewer days")
        page = search.missed(asked, last, without=asked.marked == "no")
        marks = self._directory.marks(account_id, [uuid for line in page.lines for uuid in line.uuids])
        masked = search.scope.mask.numbers
        callers = [_caller(page, at, marks, masked=masked) for at in range(len(page.lines))]
        return MissedReply(
            missed=callers,
            total=page.total,
            page=page.page,
            search_token=page.token,
            callback_hours=search.callback_hours,
            numbers=(
                all_written(number for each in callers for number in (each.from_, each.to, each.did))
                if asked.numbers
                else msgspec.UNSET
            ),
        )


def _caller(page: MissedPage, at: int, marks: Mapping[str, MissedMark], *, masked: bool) -> MissedCaller:
    line = page.lines[at]
    last: Mapping[str, Any] = page.records[line.uuids[0]]
    answer = None
    if line.answer_uuid is not None and line.answer_ms is not None:
        by = page.records[line.answer_uuid]
        answer = CallAnswer(line.answer_uuid, from_ms(line.answer_ms), by["agent"], by["agent_id"])
    mark = next((marks[uuid] for uuid in line.uuids if uuid in marks), None)
    return MissedCaller(
        uuid=line.uuids[0],
        from_=last["from"],
        to=last["to"],
        did=last["did"],
        queue=last["queue"],
        queue_id=last["queue_id"],
        disposition=last["disposition"],
        state=CALLBACK_STATES[line.state - 1],
        attempts=line.attempts,
        first_missed_at=from_ms(line.first_ms),
        last_missed_at=from_ms(line.last_ms),
        answer=answer,
        time_to_return_s=None if line.answer_ms is None else (line.answer_ms - line.first_ms) // 1000,
        uuids=list(line.uuids),
        mark=None if mark is None else mark_of(mark, masked=masked),
        done=line.uuids[0] in marks,
    )


ENDPOINTS: Final = (
    over(MISSED)(
        path="/api/v2/cdr/missed",
        handler=lambda handlers: handlers.missed.get,
        id="list_missed",
        tag="Missed calls",
        summary="Missed calls by their callers, and what became of them",
        description=(
            "Inbound calls that nobody took: a line for each caller and call that answered them, so that five attempts"
            " are one line. With the filters of the list, which choose missed calls, and under its rights: an answered"
            " call beyond the reader's reach answers nobody. Callers are the same whose numbers filters find the same;"
            " each call with a withheld number is a line of its own. Lines are in the order of their last call, and"
            " paged as the list is; marks that are set meanwhile count at once."
        ),
        gives=MissedReply,
        errors=(*ERRORS, 409, 410),
    ),
)
