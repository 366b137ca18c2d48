"""The server's protocol with what it lacks: bounds on the head of a request, in bytes and in time, and errors in our
shape.

What is refused here never becomes a request: it is not HTTP, or too much of it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from calldex.api.reply import JSON, plain_error_body

HEAD_LIMIT: Final = 128 * 1024
"""Bytes of a request's first line and headers; a thousand uuids fit."""
HEAD_SECONDS: Final = 30.0


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 on one connection."""

    _in_head = False
    _ended = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _oversize = False

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not complete; the parser keeps all of it in memory."""
        self._ended = False
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if not self._ended:
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT:
            self._oversize = True
            self.send_400_response("")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request ends; of the bytes just received some were its, so that they do not count for the next head."""
        self._ended = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """A head ends; one that came in a single piece is measured here."""
        self._in_head = False
        self._cancel_timer()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self._oversize = True
            raise ValueError("the head is too large")
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._cancel_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and close."""
        if self._oversize:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            detail = f"the first line and the headers are larger than {HEAD_LIMIT} bytes"
        else:
            status, detail = HTTPStatus.BAD_REQUEST, "this is not an HTTP request"
        body = plain_error_body(status, detail)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _cancel_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
