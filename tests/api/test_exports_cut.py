"""A file that fails in its middle is never taken for whole: in each format and coding, and when a server is killed."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import httpx
import pytest
import uvicorn

from calldex.api.app import public
from calldex.api.server import _config
from calldex.demo import interactions
from calldex.exports import FORMATS
from calldex.node import Node
from calldex.search import reader
from calldex.settings import Settings
from calldex.store.embedded import LEDGER_FILE
from tests.api.conftest import people, write
from tests.api.serving import Server, data_of
from tests.api.test_streams import body_of, received

RECORDS = 600
BATCH = 100
CODINGS = ("identity", "gzip", "zstd")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, int]]:
    """A server whose oldest record is not what was written, as it knows: its port, a key, and the record's number."""
    data = tmp_path_factory.mktemp("cut") / "data"
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(RECORDS, seed=6)))
    with closing(apsw.Connection(str(data / LEDGER_FILE))) as ledger:
        oldest = "(SELECT min(started_ms) FROM version)"
        ledger.execute(f"UPDATE version SET json = json || ' ' WHERE started_ms = {oldest}")
    with Node(Settings(data=data, threads=1)) as node:
        assert 1 == len(node.store.integrity())
        server = uvicorn.Server(_config(public(node), 5))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: server.run([listening]), daemon=True)
        thread.start()
        yield listening.getsockname()[1], keys["admin"], RECORDS
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_client_notices(
    serving: tuple[int, str, int], monkeypatch: pytest.MonkeyPatch, name: str, coding: str
) -> None:
    """The store refuses in the middle of the match: the reply has begun, says how many records were to come, and is
    cut before its end."""
    monkeypatch.setattr(reader.Search.stream.__wrapped__, "__defaults__", (BATCH,))  # type: ignore[attr-defined]  # `size`
    port, key, records = serving
    url = f"http://127.0.0.1:{port}/api/v2/cdr/export"
    sent = {"Authorization": f"Bearer {key}", "Accept-Encoding": coding}
    with httpx.stream("GET", url, params={"format": name}, headers=sent, timeout=30) as reply:
        assert (200, str(records)) == (reply.status_code, reply.headers["calldex-expected-records"])
        if not FORMATS[name].compressed:
            assert coding == reply.headers.get("content-encoding", "identity")
        with pytest.raises(httpx.TransportError):
            list(reply.iter_raw())


@pytest.mark.slow
def test_a_server_that_is_killed_ends_no_file(tmp_path: Path) -> None:
    """Killed while it sends several files: none of them has an end."""
    data, keys = data_of(tmp_path, records=6_000)
    server = Server(data)
    asked = []
    for name, who in (("json", "admin"), ("ndjson", "admin"), ("csv", "analyst")):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", server.port))
        head = f"GET /api/v2/cdr/export?format={name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys[who]}\r\n\r\n"
        connection.sendall(head.encode())
        asked.append((name, connection, connection.recv(16)))
    server.end(signal.SIGKILL)
    for name, connection, begun in asked:
        with connection:
            reply = begun + received(connection)
        assert reply.startswith(b"HTTP/1.1 200"), name
        assert not body_of(reply)[1], name
