"""The server as a process: it takes a port, answers over real sockets, and ends well."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from calldex.api.server import serve
from calldex.demo import interactions
from calldex.errors import BadSettings, PortTaken
from calldex.node import SOCKET_FILE, Node
from calldex.settings import Settings
from calldex.wire import v2
from tests.api.conftest import Site, people, uuids_of, write

PROGRAM = """
import sys
from pathlib import Path
from calldex.api.server import serve
from calldex.node import Node
from calldex.settings import Settings

async def control(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

with Node(Settings(data=Path(sys.argv[1]), port=0, threads=1, shutdown_grace_s=int(sys.argv[2]))) as node:
    serve(node, control, announce=lambda url: print("URL", url, flush=True))
print("ended", flush=True)
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, data: Path, grace_s: int) -> None:
        command = [sys.executable, "-c", PROGRAM, str(data), str(grace_s)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        self.log: list[str] = []
        for line in self.process.stdout:
            self.log.append(line)
            if line.startswith("URL "):
                self.url = line.split()[1]
                break
        else:
            raise AssertionError("".join(self.log))
        self.port = int(self.url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Stop it; its exit code and its output."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait for its end; its exit code and its output."""
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, "".join(self.log) + rest


def data_of(folder: Path) -> tuple[Path, dict[str, str]]:
    """A data directory with records, and its keys. Its path is longer than the address of a socket may be."""
    data = folder / ("long" * 25)
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(300, seed=3)))
    return data, keys


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str], Path]]:
    """A server, its keys and its data directory."""
    data, keys = data_of(tmp_path_factory.mktemp("server"))
    server = Server(data, 10)
    yield server, keys, data
    assert 0 == server.end()[0]


Served = tuple[Server, dict[str, str], Path]


def reply_of(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


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


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 140_000 + b"\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET /?" + b"x" * 140_000, b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 23_000, b"431 Request Header Fields Too Large"),
    ],
)
def test_what_is_no_request_is_refused(served: Served, sent: bytes, status: bytes) -> None:
    """Bytes that are not HTTP, and heads without an end, get an error in our shape, and the connection is closed."""
    with served[0].connect() as connection:
        for start in range(0, len(sent), 60_000):
            try:
                connection.sendall(sent[start : start + 60_000])
            except OSError:
                break
        head, _, body = reply_of(connection).partition(b"\r\n\r\n")
    assert status in head
    assert {"error", "type", "title", "status", "detail"} == set(json.loads(body))


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    """After the signal no connection is taken, the request that runs gets its reply, and the exit code is 0."""
    data, keys = data_of(tmp_path)
    (data / SOCKET_FILE).touch()
    server = Server(data, 20)
    records = list(interactions(5, seed=9))
    body = b"[" + b",".join(map(v2.encode, records)) + b"]"
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


def test_patience_ends(tmp_path: Path) -> None:
    """A request that does not end within the time it gets is told so, and the server ends."""
    data, keys = data_of(tmp_path)
    server = Server(data, 0)
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
