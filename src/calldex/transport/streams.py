"""Replies that are made while they are sent: of any length, in memory for one piece.

A reply that breaks off never ends cleanly: its connection is cut, without the chunk that ends a body, so that no client
takes what it has for the whole. A client that leaves ends the making at once; one that stalls is cut by the protocol
(`protocol.REPLY_SECONDS`), and nothing more is made for it meanwhile. Knows no route and no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from traceback import format_exc
from typing import Any, Final

import msgspec
import structlog
import zstandard
from isal import isal_zlib
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from calldex.errors import CalldexError
from calldex.transport.replies import GZIP_LEVEL, ZSTD_LEVEL, Coding, coding_headers
from calldex.transport.workers import ClientGone, left

ABORT: Final = "calldex.abort"
"""Where the protocol leaves in the scope what cuts the connection."""
TRAILERS: Final = "calldex.trailers"
"""Where the protocol finds in the scope what follows a body; only there if the client takes it (`TE: trailers`)."""
_LEFT: Final = "the client left"
_log = structlog.get_logger(__name__)


class Head(msgspec.Struct, frozen=True):
    """What a reply says before its first piece."""

    media_type: str
    headers: Mapping[str, str] = {}
    coding: Coding = "identity"


class Tail(msgspec.Struct, frozen=True):
    """What a reply says behind its last piece, to a client that takes it."""

    headers: Mapping[str, str]


Pieces = AsyncIterator[Head | bytes | Tail]
"""A head, then the body piece by piece: a generator whose `finally` gives back what it holds, however it ends."""


class BrokenOff(Exception):
    """A reply ended before its end; its client has been cut off, and the log has the reason."""


class StreamReply(Response):
    """Sends what `make` makes. What it raises before its head becomes a reply as usual."""

    def __init__(self, make: Callable[[], Pieces]) -> None:
        self._make = make
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it, for as long as the client is there."""
        sending = asyncio.ensure_future(self._send(scope, send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                return
            sending.cancel(_LEFT)
            with suppress(asyncio.CancelledError):
                await sending
            raise ClientGone
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.wait({sending})  # it gives back what it holds

    async def _send(self, scope: Scope, send: Send) -> None:
        begun = False
        try:
            async with aclosing(_generator(self._make())) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Head):
                        await send(_start(piece))
                        begun = True
                        if scope["method"] == "HEAD":
                            break
                    elif isinstance(piece, Tail):
                        scope.get(TRAILERS, {}).update(piece.headers)
                    elif piece:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
        except Exception as failure:
            if not begun:
                raise
            _break_off(scope, failure)
            raise BrokenOff from failure
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _generator(pieces: Pieces) -> Any:
    """As what it is: `aclosing` asks for more than an iterator has."""
    return pieces


def _start(head: Head) -> dict[str, Any]:
    headers = {"content-type": head.media_type, "vary": "Accept-Encoding", **coding_headers(head.coding)}
    headers |= {name.lower(): value for name, value in head.headers.items()}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": encoded}


def _break_off(scope: Scope, failure: Exception) -> None:
    """Tell the log why, and cut the connection: an end without a cut is an end to who asked in HTTP/1.0."""
    if isinstance(failure, CalldexError):
        scope["calldex.error"] = failure.code
        _log.warning("reply_broken_off", request_id=scope.get("calldex.request_id"), reason=failure.message)
    else:
        scope["calldex.error"] = CalldexError.code
        _log.error("reply_broken_off", request_id=scope.get("calldex.request_id"), exception=format_exc())
    if ABORT in scope:
        scope[ABORT]()


class Coder:
    """Brings the pieces of a body into a coding. Takes its time: for threads."""

    def __init__(self, coding: Coding) -> None:
        self._coder: Any = None
        if coding == "gzip":
            self._coder = isal_zlib.compressobj(GZIP_LEVEL, wbits=31)
        elif coding == "zstd":
            self._coder = zstandard.ZstdCompressor(ZSTD_LEVEL).compressobj()

    def add(self, piece: bytes) -> bytes:
        """What may be sent now that this piece has come."""
        return piece if self._coder is None else self._coder.compress(piece)

    def end(self) -> bytes:
        """What is left at the end; without it, no decoder takes a body for whole."""
        return b"" if self._coder is None else self._coder.flush()
