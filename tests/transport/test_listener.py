"""The listener: how many connections there may be, and what becomes of clients that are too slow."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.serving import Server, data_of, next_reply, reply_of

Served = tuple[Server, dict[str, str]]
HASTE = {"HEAD_SECONDS": 0.3, "REST_SECONDS": 0.3, "REPLY_SECONDS": 0.3}
"""A server that waits for nobody."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that waits for nobody; its pages are larger than what the system takes on behalf of a client."""
    data, keys = data_of(tmp_path_factory.mktemp("hasty"), records=10_000)
    server = Server(data, HASTE, trusted_proxies="127.0.0.9")
    yield server, keys
    assert 0 == server.end()[0]


def cut(server: Server) -> dict[str, float]:
    """How many slow clients were cut, by what they were slow with."""
    text = httpx.get(f"{server.url}/metrics").text
    return {
        part: float(n)
        for part, n in re.findall(r'^calldex_slow_clients_cut_total{part="(\w+)"} (.*)$', text, re.MULTILINE)
    }


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_a_head_that_does_not_come(hasty: Served, sent: bytes) -> None:
    """A connection on which nothing, or no whole head, comes is closed."""
    before = cut(hasty[0]).get("head", 0)
    with hasty[0].connect() as connection:
        connection.sendall(sent)
        assert b"" == reply_of(connection)
    assert before + 1 == cut(hasty[0])["head"]


@pytest.mark.slow
def test_a_head_that_drips(hasty: Served) -> None:
    """A byte now and then does not make a head."""
    before = cut(hasty[0]).get("head", 0)
    with hasty[0].connect() as connection, contextlib.suppress(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\n" * 5:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
    assert before + 1 == cut(hasty[0])["head"]


def test_blank_lines_between_requests(hasty: Served) -> None:
    """A connection that was of use, and then gets blank lines only, is closed."""
    with hasty[0].connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in next_reply(connection)
        connection.sendall(b"\r\n")
        assert b"" == reply_of(connection)


def test_a_body_that_nobody_reads(hasty: Served) -> None:
    """Who is refused before they have sent their body gets the reply, and some time to send the rest."""
    before = cut(hasty[0]).get("body", 0)
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with hasty[0].connect() as connection:
        connection.sendall(head + b"x" * 10)
        reply = reply_of(connection)
    assert reply.startswith(b"HTTP/1.1 404 Not Found")
    assert before + 1 == cut(hasty[0])["body"]


def test_a_body_that_comes_in_time_keeps_its_connection(hasty: Served) -> None:
    """A body that nobody reads does no harm if it comes."""
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with hasty[0].connect() as connection:
        for _ in range(3):
            connection.sendall(head + b"x" * 5)
            assert next_reply(connection).startswith(b"HTTP/1.1 404 Not Found")
            connection.sendall(b"x" * 5)


def ask(server: Server, key: str, window: int) -> socket.socket:
    """A connection that asked for a large page, and takes no more than this of it at once."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET /api/v2/cdr?key={key}&per_page=10000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("drip", [0, 200])
def test_a_reply_that_is_not_taken(hasty: Served, drip: int) -> None:
    """A client that takes nothing of its reply, or hardly any, is cut."""
    server, keys = hasty
    before = cut(server).get("reply", 0)
    with ask(server, keys["admin"], 4096) as connection:
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        deadline = time.monotonic() + 20
        while cut(server).get("reply", 0) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            connection.recv(drip)
        with contextlib.suppress(ConnectionResetError):
            assert len(reply_of(connection)) < 10_000_000


@pytest.mark.slow
def test_a_reply_that_is_taken_slowly(hasty: Served) -> None:
    """A client that is slow, but not that slow, gets all of its reply, over many times the wait."""
    server, keys = hasty
    before = cut(server).get("reply", 0)
    began = time.monotonic()
    with ask(server, keys["admin"], 200_000) as connection:
        head, _, body = connection.recv(4096).partition(b"\r\n\r\n")
        length = int(re.findall(rb"content-length: (\d+)", head)[0])
        while len(body) < length:
            taken = connection.recv(100_000)
            assert taken
            body += taken
            if time.monotonic() < began + 3 * HASTE["REPLY_SECONDS"]:
                time.sleep(0.05)
    assert 10_000 == len(json.loads(body)["records"])
    assert before == cut(server).get("reply", 0)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Served]:
    """A server that makes no more pages when two or three of them wait to be taken."""
    data, keys = data_of(tmp_path, records=10_000)
    server = Server(data, {"MOST_BYTES": 25_000_000, "PATIENCE_S": 0.3})
    yield server, keys
    assert 0 == server.end()[0]


def backpressure(server: Server) -> float:
    """How many bytes of replies wait to be taken."""
    found = re.search(r"^calldex_reply_bytes (.*)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.slow
def test_replies_that_wait_to_be_taken(narrow: Served) -> None:
    """Beyond a bound on what lies in memory for the slow clients of a key no page is made for it, after a while 503;
    for another account one is, all the while. Once they have left, pages are made again."""
    server, keys = narrow
    url, other = (f"{server.url}/api/v2/cdr?key={keys[name]}&per_page=1" for name in ("admin", "other"))
    with contextlib.ExitStack() as slow:
        deadline = time.monotonic() + 60
        while (refused := httpx.get(url)).status_code == 200:
            slow.enter_context(ask(server, keys["admin"], 4096))
            time.sleep(0.3)
            assert time.monotonic() < deadline
        assert (503, "1", "urn:calldex:error:unavailable") == (
            refused.status_code,
            refused.headers["retry-after"],
            refused.json()["type"],
        )
        assert 6_250_000 < backpressure(server) < 25_000_000
        assert 200 == httpx.get(other).status_code
    deadline = time.monotonic() + 60
    while backpressure(server):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert 200 == httpx.get(url).status_code


# --- how many ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server for four connections, two of one address."""
    data, _ = data_of(tmp_path, records=1)
    server = Server(data, max_connections=4, address_connections=2, trusted_proxies="127.0.0.9")
    yield server
    assert 0 == server.end()[0]


def connect_from(server: Server, address: str) -> socket.socket:
    """A connection from an address of this machine."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(address, 0))


def is_served(connection: socket.socket) -> bool:
    """Whether a request on this connection is answered; else it was refused with 503."""
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    reply = next_reply(connection)
    if reply.startswith(b"HTTP/1.1 200 OK"):
        return True
    assert reply.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"retry-after: 1\r\n" in reply
    assert b"urn:calldex:error:too_many_connections" in reply
    return False


@pytest.mark.slow
def test_connections_of_an_address(small: Server) -> None:
    """Of one address there are as many connections as may be; the place of one that ends is free at once."""
    with contextlib.ExitStack() as opened:
        first, second, third = (opened.enter_context(connect_from(small, "127.0.0.2")) for _ in range(3))
        assert [True, True, False] == [is_served(one) for one in (first, second, third)]
        assert is_served(opened.enter_context(connect_from(small, "127.0.0.3")))
        first.close()
        time.sleep(0.1)
        assert is_served(opened.enter_context(connect_from(small, "127.0.0.2")))
        second.close()
        time.sleep(0.1)
        assert 'calldex_limited_total{limit="address_connections"} 1.0' in httpx.get(f"{small.url}/metrics").text


@pytest.mark.slow
def test_connections_in_all(small: Server) -> None:
    """A trusted proxy may have more connections than another, but not more than there may be."""
    with contextlib.ExitStack() as opened:
        proxied = [opened.enter_context(connect_from(small, "127.0.0.9")) for _ in range(4)]
        assert [True] * 4 == [is_served(one) for one in proxied]
        assert not is_served(opened.enter_context(connect_from(small, "127.0.0.4")))
        proxied[0].close()
        time.sleep(0.1)
        text = httpx.get(f"{small.url}/metrics").text
    assert 'calldex_limited_total{limit="connections"} 1.0' in text
    assert "calldex_connections 4.0" in text
