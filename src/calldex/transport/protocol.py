"""The server's protocol with what it lacks: bounds on what a client sends and how slowly, and on how slowly it takes
its reply; and errors in our shape.

What is refused here never becomes a request: it is not HTTP, or too much of it. Bodies are bounded by who reads them
(`requests.body_of`).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from calldex.errors import CalldexError, HeadTooLarge, NotHttp, UriTooLong
from calldex.transport.backpressure import Backpressure
from calldex.transport.replies import CLOSED_POLICY, JSON, SAFE_HEADERS, STRICT_TRANSPORT, error_members
from calldex.transport.shares import Asker
from calldex.transport.streams import ABORT, TRAILERS

HEAD_LIMIT: Final = 128 * 1024
"""Bytes of a request's first line and headers; a thousand uuids fit."""
HEADERS_LIMIT: Final = 32 * 1024
"""Bytes of the headers alone: cookies of others, what proxies add."""
MOST_HEADERS: Final = 100
HEAD_SECONDS: Final = 30.0
REST_SECONDS: Final = 10.0
"""How long the rest of a body that nobody reads any more is waited for, so that its sender gets to read the reply."""
REPLY_SECONDS: Final = 30.0
REPLY_BYTES_A_SECOND: Final = 1024
"""How fast a client has to take a reply, on average over `REPLY_SECONDS`."""

_INT: Final = struct.Struct("i")
_RESET: Final = struct.pack("ii", 1, 0)
"""Of `SO_LINGER`: do not linger at all."""

Phase = Literal["head", "body", "reply"]


def bare_reply(error: CalldexError, *, tls: bool = False) -> bytes:
    """The whole reply for what is refused before there is a request."""
    body = msgspec.json.encode(error_members(error, ""))
    headers = [
        (b"content-type", JSON.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", CLOSED_POLICY),
        *SAFE_HEADERS,
        *([STRICT_TRANSPORT] if tls else []),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    first = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join((first, *(b"%s: %s" % header for header in headers), b"", body))


class _LastReply:
    """The transport as the cycle of a connection's last request has it, whose `close` is ours."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class _Trailing:
    """The transport as a cycle has it whose client takes trailers: they go to where a body in chunks ends."""

    def __init__(self, transport: asyncio.Transport, trailers: Mapping[str, str]) -> None:
        self._write, self._trailers = transport.write, trailers
        self.is_closing, self.close = transport.is_closing, transport.close

    def write(self, data: bytes) -> None:
        """Send this; of a stream, the end is written by itself."""
        if data == b"0\r\n\r\n" and self._trailers:
            lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in self._trailers.items())
            data = f"0\r\n{lines}\r\n".encode("latin-1")
        self._write(data)


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 on one connection. `cut` is called when it is closed since the client is too slow, `left` at its end;
    `backpressure` has it as long as its client has not taken all of a reply."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        cut: Callable[[Phase], None] = lambda _: None,
        left: Callable[[], None] = lambda: None,
        backpressure: Backpressure | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._cut = cut
        self._left = left
        self._slow = backpressure or Backpressure()
        self._in_head = self._in_body = False
        self._ended = self._refused = self._last = False
        self._head_bytes = 0
        self._refusal: CalldexError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reply_check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above has it
        """A client is there, and has to send a head."""
        super().connection_made(transport)
        # So that every byte that a client does not take is noticed, and not only many.
        transport.set_write_buffer_limits(high=1, low=0)
        self._expect("head", HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._expect_nothing()
        self._unwatch_reply()
        self._slow.discard(self)
        super().connection_lost(exc)
        self._left()

    # --- what a client sends ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not complete; the parser keeps all of it in memory."""
        if self._is_over():
            return
        self._ended = False
        super().data_received(data)
        if self._is_over():
            return
        if self._in_head and not self._ended:
            self._head_bytes += len(data)
        if self._in_head and self._head_bytes > HEAD_LIMIT:
            self._refusal = _too_much(self.url)
            self.send_400_response("")
        elif self._deadline is None and (self._in_head or self._is_idle()):
            self._expect("head", HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()
        self.scope[ABORT] = self._abort  # type: ignore[typeddict-unknown-key]  # between our layers

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Those behind a body in chunks are dropped: they would join the ones that were looked at already."""
        if self._in_head and len(self.headers) <= MOST_HEADERS:  # one more is refused when the head is complete
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head ends; one that came in a single piece is measured here."""
        self._in_head, self._in_body = False, True
        self._expect_nothing()
        if len(self.headers) > MOST_HEADERS:
            self._refuse(HeadTooLarge(f"a request may have up to {MOST_HEADERS} headers; this one has more"))
        size = sum(len(name) + len(value) for name, value in self.headers)
        if size > HEADERS_LIMIT:
            self._refuse(HeadTooLarge(f"the headers are too large: they may have {HEADERS_LIMIT} bytes"))
        if len(self.url) + size > HEAD_LIMIT:
            self._refuse(_too_much(self.url))
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._refuse(NotHttp(f"the request has {hosts} Host headers; it must have one"))
        trailers: dict[str, str] = {}
        if self._takes_trailers():
            self.scope[TRAILERS] = trailers  # type: ignore[typeddict-unknown-key]  # likewise
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            self.cycle.transport = cast("asyncio.Transport", _LastReply(self.transport, self._close))
        if TRAILERS in self.scope:
            self.cycle.transport = cast("asyncio.Transport", _Trailing(self.cycle.transport, trailers))

    def on_message_complete(self) -> None:
        """A request ends; of the bytes just received some were its, so that they do not count for the next head."""
        self._ended, self._in_body = True, False
        self._expect_nothing()
        super().on_message_complete()
        if self._last:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and close."""
        if not self._is_answered():
            # A request before this one waits for its reply, and would take this for it.
            self.transport.abort()
            return
        error = self._refusal or NotHttp("this is not an HTTP request")
        self.transport.write(bare_reply(error, tls=self.scheme == "https"))
        self._refused = True
        self._linger()

    def _close(self) -> None:
        """The last reply is handed over."""
        if self._in_body:
            self._last = True
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """End our side, and take what the client still sends: a connection that is closed with bytes unread is reset,
        and with that its client (a proxy, mostly) loses the reply."""
        if self.scheme == "http":  # by TLS there is no end of one side
            self.transport.write_eof()
        self._expect("body", REST_SECONDS)

    def _abort(self) -> None:
        """Cut the connection, whatever waits to be taken, so that the client sees a reset and not an end."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _refuse(self, error: CalldexError) -> None:
        """Stop the parser, which calls `send_400_response`."""
        self._refusal = error
        raise ValueError(error.message)

    def _takes_trailers(self) -> bool:
        """Whether the client said so, in a version that has them."""
        said = b",".join(value for name, value in self.headers if name == b"te").lower().split(b",")
        return self.parser.get_http_version() == "1.1" and b"trailers" in [word.strip() for word in said]

    def _is_over(self) -> bool:
        """Whether nothing more is read, but to be dropped."""
        return self._refused or self.transport.is_closing()

    def _is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        return not self._in_body and self._is_answered()

    def _is_answered(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def _expect(self, part: Phase, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._too_slow, part)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self, part: Phase) -> None:
        self._cut(part)
        if self.unsent():
            self.transport.close()
        else:
            self.transport.abort()  # with TLS, `close` would wait for its answer

    # --- what a client takes ------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Something is left to be taken."""
        super().pause_writing()
        self._watch_reply()

    def resume_writing(self) -> None:
        """It was taken."""
        super().resume_writing()
        self._watch_reply()

    def on_response_complete(self) -> None:
        """A reply is handed over; what its client has not sent or taken of the exchange is waited for, but not long."""
        super().on_response_complete()
        self._watch_reply()
        if self._in_body and self.cycle.response_complete:
            self._expect("body", REST_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """The connection is idle; not so while its client still takes a reply."""
        if self.unsent():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def _watch_reply(self) -> None:
        """Look again after a while how much was taken; called whenever something was written."""
        self._unwatch_reply()
        if self.unsent():
            self._slow.add(self)
            self._reply_check = self.loop.call_later(REPLY_SECONDS, self._judge_reply, self._unsent())
        else:
            self._slow.discard(self)

    def _judge_reply(self, before: int) -> None:
        if before - self._unsent() < min(before, REPLY_BYTES_A_SECOND * REPLY_SECONDS):
            self._cut("reply")
            self.transport.abort()
        else:
            self._watch_reply()

    def _unwatch_reply(self) -> None:
        if self._reply_check is not None:
            self._reply_check.cancel()
            self._reply_check = None

    def asker(self) -> Asker | None:
        """Whose reply lies here: that of the last request."""
        cycle: Any = self.cycle
        found: Asker | None = None if cycle is None else cycle.scope.get("calldex.asker")
        return found

    def unsent(self) -> int:
        """How many bytes are written, but not in the hands of the system yet."""
        size = self.transport.get_write_buffer_size()
        under_tls = getattr(self.transport, "_ssl_protocol", None)
        below = getattr(under_tls, "_transport", None)
        if below is not None:  # of TLS, this has nearly all of it, and asyncio has no public way there
            size += below.get_write_buffer_size()
        return size

    def _unsent(self) -> int:
        """How many bytes are written, but not in the hands of the client's system. Ours takes on much at once, so that
        for a while nothing would seem to move."""
        queue = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(_INT.size))
        return self.unsent() + int(_INT.unpack(queue)[0])


def _too_much(url: bytes) -> CalldexError:
    if 2 * len(url) > HEAD_LIMIT:
        return UriTooLong(f"the first line of the request is too long; with the headers it may have {HEAD_LIMIT} bytes")
    return HeadTooLarge(f"the headers are too large; with the first line they may have {HEAD_LIMIT} bytes")
