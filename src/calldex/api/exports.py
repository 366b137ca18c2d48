"""`GET /api/v2/cdr/export`: a whole match as a file, of any size, in constant memory.

The file's bytes are made in `exports`; here they are numbered, summed, compressed and sent. A reply that fails is cut
off, and never ends cleanly (`transport.streams`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import caller_of
from calldex.api.endpoint import ERRORS, Endpoint, taken
from calldex.errors import BadParameters, Problem
from calldex.exports import COLUMN, FORMATS, UPDATED_AT, Format, Layout, Writer, chosen
from calldex.node import Node
from calldex.search.query import Own, Parameters
from calldex.search.reader import Batch, Reader, Reading
from calldex.transport.replies import PRIVATE, Coding, coding_for
from calldex.transport.requests import caller, pairs_of
from calldex.transport.streams import Coder, Head, Pieces, StreamReply

EXPECTED: Final = "Calldex-Expected-Records"
_FORMAT = Literal["json", "ndjson", "csv", "csv-excel", "xlsx", "parquet", "arrow"]


class ExportRequest(Own, frozen=True):
    """What a file is to be. `tests/api/test_exports.py` holds the words of `format` to the registry."""

    format: Annotated[
        _FORMAT,
        msgspec.Meta(
            description="Kind of file. `csv` is exact, for machines; `csv-excel` and `xlsx` are for people: times in"
            " the zone of `timezone`, and nothing in them runs in a spreadsheet. `json` is one object, `ndjson` a"
            " record a line, both as the list has them; `parquet` and `arrow` have typed columns.",
            examples=["ndjson"],
        ),
    ] = "ndjson"
    fields: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="Columns, in their order, comma-separated: fields of a record, and `updated_at`, when its"
            " version was committed. All fields of a record if not given.",
            max_length=len(COLUMN),
            extra_json_schema={"items": {"enum": list(COLUMN)}, "uniqueItems": True},
            examples=[("uuid", "started_at", "from", "to")],
        ),
    ] = ()
    end: (
        Annotated[
            Literal["line"],
            msgspec.Meta(
                description="`line`: `ndjson` and `csv` end in a line with the number of records and the SHA-256 of all"
                " bytes before it.",
                examples=["line"],
            ),
        ]
        | None
    ) = None

    def problems(self) -> Iterator[Problem]:
        """What does not go together."""
        if self.end is not None and FORMATS[self.format].last is None:
            valid = f"with format {', '.join(name for name, format_ in FORMATS.items() if format_.last)}"
            yield Problem("end", self.end, f"{self.format} has no lines", valid)
        try:
            chosen(self.fields)
        except BadParameters as error:
            yield from error.problems


EXPORT: Final = Reading(
    action="export", needs=("see_cdrs", "export"), takes=Parameters(ExportRequest), places="streams"
)


class Exports:
    """The handler, over a node."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._directory = node.directory
        self._reader = reader

    async def get(self, request: Request) -> Response:
        """The file."""
        now_ms = time.time_ns() // 1_000_000
        owner, pairs = await caller(request, self._directory, await pairs_of(request), now_ms)
        coding = coding_for(request.headers.get("accept-encoding", ""))

        async def pieces() -> Pieces:
            asked = self._reader.open(caller_of(request, owner, streams=True), EXPORT, pairs)
            async with asked as search, search.stream(dated=UPDATED_AT in search.own.fields) as stream:
                format_ = FORMATS[search.own.format]
                columns = chosen(search.own.fields)
                layout = Layout(columns, search.timezone, stream.total, bool(search.own.fields))
                file = File(format_, layout, "identity" if format_.compressed else coding, search.own.end is not None)
                try:
                    begun = await stream.run(file.begin)
                    yield Head(format_.media_type, _headers(format_, layout, now_ms), file.coding)
                    yield begun
                    async for piece in stream.through(file.add):
                        yield piece
                    yield await stream.run(file.end)
                finally:
                    file.close()

        return StreamReply(pieces)


class File:
    """A file as it is sent: made by its format, counted, summed, and coded for the connection."""

    def __init__(self, format_: Format, layout: Layout, coding: Coding, ends: bool) -> None:
        self.coding = coding
        self._writer: Writer = format_.writer(layout)
        self._coder = Coder(coding)
        self._last = format_.last if ends else None
        self._digest = hashlib.sha256()
        self._count = 0

    def begin(self) -> bytes:
        """What comes before the first record."""
        return self._sent(self._writer.begin())

    def add(self, batch: Batch) -> bytes:
        """What is ready when these records have come."""
        self._count += batch.count
        return self._sent(self._writer.add(batch.json))

    def end(self) -> bytes:
        """What comes last."""
        rest = self._sent(self._writer.end())
        if self._last is not None:
            rest += self._coder.add(self._last(self._count, self._digest.hexdigest()))
        return rest + self._coder.end()

    def close(self) -> None:
        """Let go of what the format holds."""
        self._writer.close()

    def _sent(self, piece: bytes) -> bytes:
        if self._last is not None:
            self._digest.update(piece)
        return self._coder.add(piece)


def _headers(format_: Format, layout: Layout, now_ms: int) -> dict[str, str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000))
    return {
        **PRIVATE,
        EXPECTED: str(layout.total),
        "Content-Disposition": f'attachment; filename="calls-{day}.{format_.suffix}"',
    }


ENDPOINTS: Final = (
    Endpoint(
        path="/api/v2/cdr/export",
        handler=lambda handlers: handlers.exports.get,
        id="export_cdr",
        tag="Call detail records",
        summary="Export all call detail records that match, as a file",
        description=(
            "With the filters of the list, of any size, newest first, as of its beginning. Needs the permission"
            f" `export`. `{EXPECTED}` says how many records come. A file that fails on the way is cut off, and never"
            " ends as if it were whole."
        ),
        gives=str,
        media_type=FORMATS["ndjson"].media_type,
        other_types=tuple(dict.fromkeys(f.media_type for f in FORMATS.values() if f.name != "ndjson")),
        credential="key",
        needs=EXPORT.needs,
        action=EXPORT.action,
        limit=EXPORT.places,
        parameters=taken(EXPORT.takes),
        errors=ERRORS,
    ),
)
