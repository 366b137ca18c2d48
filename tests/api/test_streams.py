"""Replies that stream: whole or cut off; accounted for when they end; freed when their client leaves."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn
import zstandard
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from calldex.api.app import public
from calldex.api.audited import caller_of
from calldex.api.server import _config
from calldex.audit.chain import Entry
from calldex.demo import interactions
from calldex.directory import AuditFilter
from calldex.errors import Unavailable
from calldex.node import Node
from calldex.search.query import Own, Parameters
from calldex.search.reader import Batch, Reading
from calldex.settings import Settings
from calldex.transport import protocol
from calldex.transport.replies import Coding
from calldex.transport.streams import Coder, Head, Pieces, StreamReply
from calldex.transport.workers import Workers
from tests.api.conftest import newest_first, people, write
from tests.api.serving import reply_of

RECORDS = 900
SIZE = 100
ALL: Reading[Own] = Reading(action="export", needs=("see_cdrs", "export"), takes=Parameters(Own), places="streams")


class Served:
    """A node's app on a port, with a route that streams records; `write` makes each piece."""

    def __init__(self, data: Path) -> None:
        self.node = Node(Settings(data=data, threads=1))
        self.keys = people(self.node)
        self.records = list(interactions(RECORDS, seed=4))
        write(self.node, "main", self.records)
        self.connections: list[socket.socket] = []
        self.write: Callable[[Batch], bytes] = lines
        self.pool = Workers("stream", 2, 2, lambda: Unavailable("too many", retry_after=1))
        self.reader = self.node.reader({"searches": self.pool, "streams": self.pool}, lambda _: None)
        app: Starlette = public(self.node)
        app.router.routes.append(Route("/stream", self.stream))
        self.server = uvicorn.Server(_config(app, 5))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=lambda: self.server.run([self.listening]), daemon=True)
        self.thread.start()

    async def stream(self, request: Request) -> Response:
        """As the documentation of `search.reader` says."""
        owner = self.node.directory.find_key(request.headers["authorization"].split()[1], None)
        assert owner is not None

        async def pieces() -> Pieces:
            asked = self.reader.open(caller_of(request, owner, streams=True), ALL, [])
            async with asked as search, search.stream(SIZE) as stream:
                yield Head("application/x-ndjson", {"Calldex-Expected-Records": str(stream.total)})
                async for text in stream.through(self.write):
                    yield text

        return StreamReply(pieces)

    def ask(self, key: str = "admin", method: str = "GET", version: str = "1.1") -> socket.socket:
        """A connection that asked for the stream; its system takes little by itself."""
        connection = socket.socket()
        self.connections.append(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(self.listening.getsockname())
        head = f"{method} /stream HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {self.keys[key]}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return connection

    def exports(self, count: int) -> list[Entry]:
        """The audit's entries about the stream, newest first, when there are so many and no place is taken."""
        account = self.node.directory.account("main").id
        found: list[Entry] = []
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = self.node.directory.audit_entries(account, AuditFilter(action="export"), 100)
            if len(found) >= count and not self.pool.running:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{found}, {self.pool.running} running")

    def end(self) -> None:
        """Stop serving and close the node."""
        for connection in self.connections:
            connection.close()
        self.server.should_exit = True
        self.thread.join()
        self.node.close()


def lines(batch: Batch) -> bytes:
    """The records of a batch, a line each."""
    return batch.json + b"\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """One, for a test."""
    one = Served(tmp_path / "data")
    yield one
    one.end()


def failing(after: int) -> Callable[[Batch], bytes]:
    """A way to write that fails when so many pieces are written."""
    written = 0

    def write(batch: Batch) -> bytes:
        nonlocal written
        written += 1
        if written > after:
            raise Unavailable("the disk is gone", retry_after=1)
        return lines(batch)

    return write


def received(connection: socket.socket) -> bytes:
    """Everything that came until the connection ended or was cut."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def body_of(reply: bytes) -> tuple[bytes, bool]:
    """What a body in chunks holds, and whether the chunk that ends it came."""
    body, rest = b"", reply.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size or b"0", 16) == 0:
            return body, bool(size)
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body, False


def test_a_stream_is_the_whole_match(served: Served) -> None:
    """All records in their order, how many is told first; noted in the audit at its end, with how many they were."""
    reply = reply_of(served.ask())
    body, ended = body_of(reply)
    assert ended
    assert f"calldex-expected-records: {RECORDS}".encode() in reply.partition(b"\r\n\r\n")[0]
    assert newest_first(served.records) == [msgspec.json.decode(line)["uuid"] for line in body.splitlines()]
    (entry,) = served.exports(1)
    assert (RECORDS, 200, {}) == (entry.rows, entry.status, entry.detail)


@pytest.mark.parametrize("connection", ["close", "TE, close"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("name", ["ndjson", "csv"])
def test_trailers_say_what_the_line_says(served: Served, name: str, coding: str, connection: str) -> None:
    """To who takes them, in the version of the protocol that has them, where the line was asked for."""

    def asked(*more: str, version: str = "1.1", query: str = "&end=line") -> tuple[bytes, bytes, bytes]:
        lines = (
            f"GET /api/v2/cdr/export?format={name}{query} HTTP/{version}",
            "Host: x",
            f"Authorization: Bearer {served.keys['admin']}",
            f"Accept-Encoding: {coding}",
            f"Connection: {connection}",
            *more,
        )
        with socket.create_connection(served.listening.getsockname(), timeout=30) as link:
            link.sendall("\r\n".join((*lines, "", "")).encode())
            reply = reply_of(link)
        head, _, body = reply.partition(b"\r\n\r\n")
        return head, body, body[body.rindex(b"\r\n0\r\n") + 5 :] if version == "1.1" else b""

    head, body, tail = asked("TE: deflate, trailers")
    whole = body_of(head + b"\r\n\r\n" + body)[0]
    text = gzip.decompress(whole) if coding == "gzip" else whole
    found = dict(line.split(b": ") for line in tail.strip().split(b"\r\n"))
    last = text[text.rindex(b"\n", 0, -1) + 1 :]
    assert b"trailer: Calldex-Records, Calldex-SHA256" in head
    assert {b"calldex-records", b"calldex-sha256"} == found.keys()
    assert all(value in last for value in found.values())
    assert hashlib.sha256(text[: -len(last)]).hexdigest().encode() == found[b"calldex-sha256"]
    for without in (asked(), asked("TE: deflate"), asked("TE: trailers", query="")):
        assert (b"\r\n", False) == (without[2], b"trailer:" in without[0])
    assert b"trailer" not in asked("TE: trailers", version="1.0")[0]


def test_who_asks_for_the_head_gets_the_head(served: Served) -> None:
    """HEAD reads how many there are, and no record."""
    reply = reply_of(served.ask(method="HEAD"))
    assert f"calldex-expected-records: {RECORDS}".encode() in reply
    assert reply.endswith(b"\r\n\r\n")
    assert 0 == served.exports(1)[0].rows


def test_what_is_refused_is_no_stream(served: Served) -> None:
    """What fails before the first byte is an error like any other."""
    assert reply_of(served.ask("phone")).startswith(b"HTTP/1.1 403")
    assert 403 == served.exports(1)[0].status


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_that_fails_never_ends_cleanly(served: Served, version: str) -> None:
    """A failure in the middle cuts the connection: no chunk ends the body, and who asked in HTTP/1.0, where the end of
    the connection is that of the body, sees a reset. The audit has what left until then, and why it ended."""
    served.write = failing(after=3)
    connection = served.ask(version=version)
    parts: list[bytes] = []
    with pytest.raises(ConnectionResetError):  # noqa: PT012 -- as many reads as it takes
        while part := connection.recv(65536):
            parts.append(part)
    reply = b"".join(parts)
    assert not reply.endswith(b"0\r\n\r\n")
    (entry,) = served.exports(1)
    assert (3 * SIZE, "the disk is gone") == (entry.rows, entry.detail["ended"])


def test_a_client_that_leaves_frees_the_stream(served: Served) -> None:
    """When a client closes its connection no more is read for it, its place is free, and the audit says how far it
    came."""
    served.write = lambda batch: lines(batch) * 40
    connection = served.ask()
    taken = 0
    while taken < 100_000:
        taken += len(connection.recv(65536))
    connection.close()
    (entry,) = served.exports(1)
    assert "the client left" == entry.detail["ended"]
    assert 0 < (entry.rows or 0) < RECORDS


def test_a_client_that_stalls_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes nothing is given nothing more than a few pieces, and is cut off after a while."""
    monkeypatch.setattr(protocol, "REPLY_SECONDS", 0.5)
    served.write = lambda batch: lines(batch) * 40
    connection = served.ask()
    (entry,) = served.exports(1)
    assert "the client left" == entry.detail["ended"]
    assert 0 < (entry.rows or 0) < RECORDS
    assert not body_of(received(connection))[1]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_coding_that_breaks_off_is_not_whole(coding: Coding) -> None:
    """Pieces in a coding are its decoder's text; without the end no decoder takes them for whole."""
    coder = Coder(coding)
    text = [bytes(range(256)) * 40, b"x" * 5000]
    sent = b"".join(coder.add(piece) for piece in text)
    whole = sent + coder.end()
    if coding == "gzip":
        assert b"".join(text) == gzip.decompress(whole)
        half = zlib.decompressobj(wbits=31)
        half.decompress(sent)
        assert not half.eof
    else:
        assert b"".join(text) == zstandard.ZstdDecompressor().decompressobj().decompress(whole)
        unfinished = zstandard.ZstdDecompressor().decompressobj()
        unfinished.decompress(sent)
        assert not unfinished.eof
    assert b"x" == Coder("identity").add(b"x")
    assert b"" == Coder("identity").end()
