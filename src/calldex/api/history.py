"""`GET /api/v2/cdr/{uuid}/history`: which versions of a record are kept, and what each of them changed.

Compared is what the asker is served: a change that their mask withholds is none to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import asked
from calldex.api.endpoint import ERRORS, over, parameter
from calldex.errors import NotFound
from calldex.node import Node
from calldex.records.record import Instant, from_ms, plain_uuid
from calldex.search.query import Own, Parameters
from calldex.search.reader import Reader, Reading, Search
from calldex.store import Version
from calldex.transport.replies import JSON, PRIVATE, sized

MOST_VERSIONS: Final = 100
HISTORY: Final = Reading(action="details", takes=Parameters(Own, filters=False, days=False))


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a record that a version changed: what it was, and what it became."""

    field: str
    before: Any
    after: Any


class RecordVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a record: when it was committed, as number `seq` of the change feed, and what it changed of the one
    before; nothing of the first that is kept and seen."""

    seq: int
    at: Instant
    changes: list[FieldChange]


class HistoryReply(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of a record, newest first, 100 at the most; `total` counts all that are kept and seen."""

    versions: list[RecordVersion]
    total: int


class History:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader

    async def get(self, request: Request) -> Response:
        """A record's versions."""
        caller, pairs = await asked(request, self._directory)
        text: str = request.path_params["uuid"]
        uuid = plain_uuid(text)
        if uuid is None:
            raise NotFound(f"there is no record {text[:100]!r}: that is no uuid")
        accept = request.headers.get("accept-encoding", "")

        def answer(search: Search[Own]) -> Response:
            return sized(msgspec.json.encode(reply_of(search.history(uuid).versions)), accept, JSON, PRIVATE)

        async with self._reader.open(caller, HISTORY, pairs, target=uuid) as search:
            return await search.run(lambda: answer(search))


def reply_of(kept: Sequence[Version]) -> HistoryReply:
    """What is replied of versions, oldest first, as they are served."""
    latest = kept[-MOST_VERSIONS - 1 :]
    decoded = [msgspec.json.decode(version.json or b"{}") for version in latest]
    found = [
        RecordVersion(seq=version.seq, at=from_ms(version.written_ms), changes=[*_changes(before, after)])
        for version, (before, after) in zip(latest[1:], pairwise(decoded), strict=True)
    ]
    if len(kept) <= MOST_VERSIONS:
        found = [RecordVersion(seq=v.seq, at=from_ms(v.written_ms), changes=[]) for v in latest[:1]] + found
    return HistoryReply(versions=found[::-1], total=len(kept))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield FieldChange(field=name, before=before.get(name), after=after.get(name))


ENDPOINTS: Final = (
    over(HISTORY)(
        path="/api/v2/cdr/{uuid}/history",
        handler=lambda handlers: handlers.history.get,
        id="read_history",
        tag="Call detail records",
        summary="What changed in one record, and when",
        description=(
            "A record has a new version whenever something of it changed: a leg that came later, a wrap-up code, a"
            " correction. Versions that were replaced are kept as long as search tokens work; those that lay beyond"
            " what the key may see are left out."
        ),
        gives=HistoryReply,
        parameters=(parameter("uuid", "The record's uuid.", {"type": "string"}, where="path"),),
        errors=(*ERRORS, 404),
    ),
)
