"""The server as a process: it takes a port, answers over real sockets, and ends well."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from calldex.api.server import serve
from calldex.datadir import SOCKET_FILE
from calldex.demo import interactions
from calldex.errors import BadSettings, PortTaken
from calldex.node import Node
from calldex.records import codec
from calldex.settings import Settings
from tests.api.conftest import Site, uuids_of
from tests.api.serving import Server, data_of, reply_of


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str], Path]]:
    """A server, its keys and its data directory."""
    data, keys = data_of(tmp_path_factory.mktemp("server"))
    server = Server(data)
    yield server, keys, data
    assert 0 == server.end()[0]


Served = tuple[Server, dict[str, str], Path]


def test_a_real_walk(served: Served) -> None:
    """A client over a real connection walks through everything, compressed, by the key in the query string."""
    server, keys, _ = served
    token: str | None = ""
    found: list[str] = []
    with httpx.Client(base_url=server.url, headers={"Accept-Encoding": "gzip"}) as client:
        for page in itertools.count(1):
            reply = client.get(
                "/api/v2/cdr", params={"key": keys["admin"], "per_page": 70, "page": page, "search_token": token}
            )
            assert "gzip" == reply.headers["content-encoding"]
            found += uuids_of(reply)
            token = reply.json()["search_token"]
            if token is None:
                break
    assert 300 == len(found) == len(set(found))


def test_head_has_no_body(served: Served) -> None:
    """HEAD answers what GET would, without a body, so that the connection goes on."""
    server, keys, _ = served
    with httpx.Client(base_url=server.url) as client:
        head = client.head("/api/v2/cdr", params={"key": keys["admin"]})
        get = client.get("/api/v2/cdr", params={"key": keys["admin"]})
        assert (200, b"") == (head.status_code, head.content)
        assert get.headers["content-length"] == head.headers["content-length"]
        assert 200 == client.head("/").status_code


def test_a_body_of_a_get_is_read(served: Served) -> None:
    """The oldest clients send their parameters as the JSON body of a GET, also in chunks."""
    server, keys, _ = served
    body = json.dumps({"key": keys["admin"], "per_page": "2"}).encode()
    headers = {"Content-Type": "application/json"}
    for content in (body, iter([body[:9], body[9:]])):
        reply = httpx.request("GET", f"{server.url}/api/v2/cdr", content=content, headers=headers)
        assert 2 == len(uuids_of(reply))


def test_the_control_socket_is_private(served: Served) -> None:
    """The socket in the data directory serves the control app, to the owner only, and not on the port."""
    server, _, data = served
    path = data / SOCKET_FILE
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    folder = os.open(data, os.O_RDONLY)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/{SOCKET_FILE}")) as client:
            assert 204 == client.get("http://control/anything").status_code
    finally:
        os.close(folder)
    assert 404 == httpx.get(f"{server.url}/anything").status_code


NOT_HTTP, LONG_URI, LARGE_HEAD = (
    (b"HTTP/1.1 400 ", "not_http"),
    (b"HTTP/1.1 414 ", "uri_too_long"),
    (b"HTTP/1.1 431 ", "head_too_large"),
)


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (b"nonsense\r\n\r\n", NOT_HTTP),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 140_000 + b"\r\n\r\n", LARGE_HEAD),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 23_000, LARGE_HEAD),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 200 + b"\r\n", LARGE_HEAD),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"x" * 40_000 + b"\r\n\r\n", LARGE_HEAD),
        (b"GET /?" + b"x" * 140_000, LONG_URI),
        (b"GET /?" + b"x" * 140_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", LONG_URI),
        (b"GET / HTTP/1.1\r\n\r\n", NOT_HTTP),
        (b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", NOT_HTTP),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", NOT_HTTP),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NOT_HTTP),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", NOT_HTTP),
    ],
)
def test_what_is_no_request_is_refused(served: Served, sent: bytes, refused: tuple[bytes, str]) -> None:
    """Bytes that are not HTTP, heads without an end, and hosts that are not one get an error in our shape, with the
    safe headers, and the connection is closed."""
    with served[0].connect() as connection:
        for start in range(0, len(sent), 60_000):
            try:
                connection.sendall(sent[start : start + 60_000])
            except OSError:
                break
        head, _, body = reply_of(connection).partition(b"\r\n\r\n")
    assert head.startswith(refused[0])
    assert {"error", "type", "title", "status", "detail"} == set(json.loads(body))
    assert f"urn:calldex:error:{refused[1]}" == json.loads(body)["type"]
    for header in (b"connection: close", b"cache-control: no-store", b"x-content-type-options: nosniff"):
        assert header in head


def test_an_old_client_needs_no_host(served: Served) -> None:
    """HTTP/1.0 knows no Host header."""
    with served[0].connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"200 OK" in reply_of(connection)


def test_a_reply_that_is_owed_is_not_mixed_up(served: Served) -> None:
    """Nonsense behind a request that has no reply yet ends the connection; it is not answered in its place."""
    server, keys, _ = served
    with server.connect() as connection:
        connection.sendall(
            f"GET /api/v2/cdr?key={keys['admin']}&contains=1 HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n".encode()
        )
        with contextlib.suppress(ConnectionResetError):
            assert b"not_http" not in reply_of(connection)


def test_headers_behind_a_body_are_dropped(served: Served) -> None:
    """What comes as a trailer is no header: a key there opens nothing, and any number of them takes no memory."""
    server, keys, _ = served
    with server.connect() as connection:
        connection.sendall(
            b"POST /api/ingest/v1/records HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\n\r\n2\r\n[]\r\n0\r\n"
            + f"Authorization: Bearer {keys['ingest']}\r\n\r\n".encode()
        )
        assert b"401 Unauthorized" in reply_of(connection)


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (b"POST /api/ingest/v1/records HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"401 Unauthorized"),
        (b"POST /api/ingest/v1/records HTTP/1.0\r\n", b"401 Unauthorized"),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"404 Not Found"),
        (b"POST /healthz HTTP/1.1\r\n", b"400 Bad Request"),
    ],
    ids=["a wrong key", "an old client", "no such endpoint", "no host"],
)
def test_who_still_sends_reads_the_reply(served: Served, head: bytes, refused: bytes) -> None:
    """A client that asks for the connection's end, as proxies do, and is refused before it has sent everything, is not
    reset: it may send the rest, and reads why."""
    piece, pieces = b"x" * 65_536, 20
    with served[0].connect() as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (pieces * len(piece)))
        with selectors.DefaultSelector() as waiting:  # select() refuses descriptors beyond 1,023
            waiting.register(connection, selectors.EVENT_READ)
            assert waiting.select(10)  # the reply is there
        for _ in range(pieces):
            connection.sendall(piece)
        assert refused in reply_of(connection)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(served: Served, chunked: bool) -> None:
    """A body beyond its limit is 413, with a length or in chunks, and its sender gets to read that."""
    server, keys, _ = served
    piece = b"x" * (1 << 20)

    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield piece

    reply = httpx.post(
        f"{server.url}/api/ingest/v1/records",
        content=pieces() if chunked else piece * 17,
        headers={"Authorization": f"Bearer {keys['ingest']}", "Content-Type": "application/json"},
    )
    assert (413, "urn:calldex:error:too_large") == (reply.status_code, reply.json()["type"])


def test_a_long_list_of_uuids_fits(served: Served) -> None:
    """A thousand uuids may be asked for at once."""
    server, keys, _ = served
    uuids = ",".join(f"{number:032x}" for number in range(1000))
    reply = httpx.get(f"{server.url}/api/v2/cdr", params={"key": keys["admin"], "uuid": uuids})
    assert (200, 0) == (reply.status_code, reply.json()["total"])


def test_a_taken_port_is_named(served: Served, empty: Site) -> None:
    """A port that another program has is refused with its number, a host that is none with its name."""
    for settings, error, named in (
        (Settings(data=empty.node.settings.data, port=served[0].port), PortTaken, str(served[0].port)),
        (Settings(data=empty.node.settings.data, host="no.such.host.invalid"), BadSettings, "no.such.host.invalid"),
        (Settings(data=empty.node.settings.data, host="192.0.2.1"), BadSettings, "192.0.2.1"),
    ):
        empty.node.settings = settings
        with pytest.raises(error, match=named):
            serve(empty.node, empty.api.app, announce=print)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    """After the signal no connection is taken, the request that runs gets its reply, and the exit code is 0."""
    data, keys = data_of(tmp_path)
    (data / SOCKET_FILE).touch()
    server = Server(data, shutdown_grace_s=20)
    records = list(interactions(5, seed=9))
    body = b"[" + b",".join(map(codec.encode, records)) + b"]"
    with server.connect() as idle, server.connect() as connection:
        head = (
            f"POST /api/ingest/v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['ingest']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:100])
        httpx.get(f"{server.url}/healthz")
        server.process.send_signal(number)
        assert b"" == idle.recv(1)
        with pytest.raises(OSError, match="refused"):
            server.connect()
        connection.sendall(body[100:])
        reply = reply_of(connection)
    assert reply.startswith(b"HTTP/1.1 200 OK")
    assert b'"accepted":5' in reply
    code, log = server.ended()
    assert 0 == code, log
    assert log.endswith("ended\n")
    assert not (data / SOCKET_FILE).exists()
    assert not [key for key in keys.values() if key in log]
    with Node(Settings(data=data, threads=1)) as node:
        assert node.store.get(node.directory.account().id, records[0].uuid) is not None


@pytest.mark.slow
def test_patience_ends(tmp_path: Path) -> None:
    """A request that does not end within the time it gets is told so, and the server ends."""
    data, keys = data_of(tmp_path)
    server = Server(data, shutdown_grace_s=0)
    with server.connect() as connection:
        connection.sendall(
            f"POST /api/ingest/v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['ingest']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n[".encode()
        )
        httpx.get(f"{server.url}/healthz")
        server.process.send_signal(signal.SIGTERM)
        reply = reply_of(connection)
    assert b"503 Service Unavailable" in reply
    assert b"shutting down" in reply
    assert 0 == server.ended()[0]


FAULTS = """
import resource, sys
from calldex.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def pages():
    return [b"x" * (12 << 20) for _ in range(4)]

pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    pages()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Prints how many pages of memory the system had to give for what was given before and freed."""


@pytest.mark.slow
def test_the_memory_of_large_replies_is_used_again() -> None:
    """What replies took up is not given back to the system only to be asked for again, page by page."""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("kept", "given back")
    )
    assert kept < 4_000 < given_back
