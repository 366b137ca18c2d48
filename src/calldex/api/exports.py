"""`GET /api/v2/cdr/export`: a whole match as a file, of any size, in constant memory.

The file's bytes are made in `exports`; here they are compressed and sent. A reply that fails is cut
off, and never ends cleanly (`transport.streams`).
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from calldex.api.audited import asked
from calldex.api.endpoint import over
from calldex.clock import now
from calldex.exports import FORMATS, UPDATED_AT, Format
from calldex.exports.request import ExportRequest, Made, made
from calldex.node import Node
from calldex.search.query import Parameters
from calldex.search.reader import Batch, Reader, Reading
from calldex.transport.replies import PRIVATE, Coding, coding_for
from calldex.transport.streams import TRAILERS, Coder, Head, Pieces, StreamReply, Tail

EXPECTED: Final = "Calldex-Expected-Records"
RECORDS, SHA256 = "Calldex-Records", "Calldex-SHA256"
"""Trailers: what the line at the end says, for who looks for it in the protocol."""
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
        caller, pairs = await asked(request, self._directory, streams=True)
        coding = coding_for(request.headers.get("accept-encoding", ""))

        async def pieces() -> Pieces:
            opened = self._reader.open(caller, EXPORT, pairs)
            async with opened as search, search.stream(dated=UPDATED_AT in search.own.fields) as stream:
                format_ = FORMATS[search.own.format]
                file = File(
                    made(search.own, search.timezone, stream.total), "identity" if format_.compressed else coding
                )
                try:
                    begun = await stream.run(file.begin)
                    headers = _headers(format_, stream.total)
                    if search.own.end is not None and TRAILERS in request.scope:
                        headers["Trailer"] = f"{RECORDS}, {SHA256}"
                    yield Head(format_.media_type, headers, file.coding)
                    yield begun
                    async for piece in stream.through(file.add, file.convert):
                        yield piece
                    yield await stream.run(file.end)
                    if file.proof is not None:
                        records, digest = file.proof
                        yield Tail({RECORDS: str(records), SHA256: digest})
                finally:
                    await stream.settled()
                    file.close()

        return StreamReply(pieces)


class File:
    """A file as it is sent: coded for the connection."""

    def __init__(self, made: Made, coding: Coding) -> None:
        self.coding = coding
        self._made = made
        self._coder = Coder(coding)

    @property
    def proof(self) -> tuple[int, str] | None:
        """What the line at the end says, once it was made."""
        return self._made.proof

    def begin(self) -> bytes:
        """What comes before the first record."""
        return self._coder.add(self._made.begin())

    def convert(self, records: bytes) -> object:
        """See `Made.convert`."""
        return self._made.convert(records)

    def add(self, batch: Batch) -> bytes:
        """What is ready when these records have come, converted."""
        return self._coder.add(self._made.add(batch.converted, batch.count))

    def end(self) -> bytes:
        """What comes last."""
        return self._coder.add(self._made.end()) + self._coder.end()

    def close(self) -> None:
        """Let go of what the format holds."""
        self._made.close()


def _headers(format_: Format, total: int) -> dict[str, str]:
    day = f"{now():%Y-%m-%d}"
    return {
        **PRIVATE,
        EXPECTED: str(total),
        "Content-Disposition": f'attachment; filename="calls-{day}.{format_.suffix}"',
    }


ENDPOINTS: Final = (
    over(EXPORT)(
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
    ),
)
