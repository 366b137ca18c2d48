"""HTTP as ClickHouse speaks it, for the engine and for the hosts before it: whole requests in, whole replies out.

Written after what ClickHouse's documentation and source say of its HTTP interface and what the official client sends.
"""

from __future__ import annotations

import gzip
import re
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
import zstandard

_PIECE: Final = 1 << 16
_READS: Final = re.compile(rb"\s*(?:SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN)\b", re.IGNORECASE)
_INSERTS: Final = re.compile(rb"\s*INSERT\b", re.IGNORECASE)
_PART: Final = re.compile(rb'\r\nContent-Disposition: form-data; name="([^"]+)".*?\r\n\r\n(.*)\r\n', re.DOTALL)


class Server(ThreadingHTTPServer):
    """A thread for each connection; it ends with the process."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but not that somebody left: that is what this is about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Reads whole requests, on connections that are kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the class above
        """Say nothing."""

    def body(self) -> bytes:
        """The request's body, as it was sent."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return b"".join(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in {b"\r\n", b""}:
            pass

    def reply(self, status: int, headers: Mapping[str, str], body: bytes, *, half: bool = False) -> None:
        """Send a reply in chunks, or what comes before its middle."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body) // 2 if half else len(body), _PIECE):
            piece = body[at : at + _PIECE]
            self.wfile.write(b"%x\r\n" % len(piece))
            self.wfile.write(piece[: len(piece) // 2] if half and len(body) <= _PIECE else piece + b"\r\n")
        if not half:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def cut(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def parameters(target: str, content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """The parameters of a request, from its address and its form, and what of the body is no form."""
    given = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    kind, _, boundary = content_type.partition("; boundary=")
    if kind != "multipart/form-data":
        return given, body
    parts = (_PART.fullmatch(part) for part in body.split(b"--" + boundary.encode()))
    return given | {part[1].decode(): part[2].decode() for part in parts if part}, b""


def statement(given: Mapping[str, str], body: bytes) -> bytes:
    """The SQL of a request with the data behind it: the body may hold either or both."""
    query = given.get("query", "").encode()
    return query + b"\n" + body if query and body else query or body


def kind(sql: bytes) -> str:
    """Whether a statement is a `read`, an `insert`, or one that changes something else: `change`."""
    if _INSERTS.match(sql):
        return "insert"
    return "read" if _READS.match(sql) else "change"


def unpacked(body: bytes, encoding: str) -> bytes:
    """A body as it was before it was compressed, in as many frames as there are."""
    if encoding == "lz4":
        return b"".join(_lz4_frames(body))
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(body)
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding:
        raise ValueError(f"unknown encoding {encoding!r}")
    return body


def _lz4_frames(body: bytes) -> Iterator[bytes]:
    while body:
        frame = lz4.frame.LZ4FrameDecompressor()
        yield frame.decompress(body)
        body = frame.unused_data or b""


def packed(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """A body compressed in the first way that is accepted and known here, with the header that says so."""
    ways = {"lz4": lz4.frame.compress, "zstd": zstandard.compress, "gzip": gzip.compress}
    for name in (word.strip() for word in accepted.split(",")):
        if name in ways:
            return ways[name](body), {"Content-Encoding": name}
    return body, {}


def error(code: int, text: str) -> tuple[dict[str, str], bytes]:
    """The headers and the body in which ClickHouse says that something failed; without a code, another's."""
    headers = {"Content-Type": "text/plain; charset=UTF-8"}
    if not code:
        return headers, f"{text}\n".encode()
    return headers | {"X-ClickHouse-Exception-Code": str(code)}, f"Code: {code}. DB::Exception: {text}\n".encode()
