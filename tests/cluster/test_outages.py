"""A node whose directory is gone for a while: what it answers meanwhile, and that it comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from tests.cluster.sites import PASSWORD, Nodes, becomes, nodes
from tests.cluster.way import Way
from tests.directory.places import PostgresqlPlace

pytestmark = pytest.mark.slow
OTHERS = 3
"""How many others are answered while some wait; if they waited as well, it would be one at each end of that."""
SILENT = "cdx_" + "A" * 43
RECORDS = b"".join(
    (
        b'[{"uuid":"01998a3e-5c00-8000-8000-00000000a001","type":"inbound","disposition":"answered",',
        b'"timestamp":"2026-09-30T08:15:00Z","duration":"00:03:20"}]',
    )
)


@pytest.fixture
def one(postgresql: PostgresqlPlace, tmp_path: Path) -> Iterator[Nodes]:
    """A node on a directory of the test's own."""
    with nodes(postgresql, tmp_path, 1) as running:
        yield running


def everything(running: Nodes) -> dict[str, httpx.Response]:
    """The replies of every kind of route to requests that are right."""
    session = {"email": "boss@example.com", "password": PASSWORD}
    found = {
        path: running.ask(0, "GET", path)
        for path in (
            "/api/v2/cdr",
            "/api/v2/cdr/queues",
            "/api/v3/cdr/users",
            "/api/admin/v1/users",
            "/api/admin/v1/audit",
        )
    }
    found["unknown key"] = running.ask(0, "GET", "/api/v2/cdr", key=SILENT)
    found["post"] = running.clients[0].post("/api/ingest/v1/records", content=RECORDS, headers=running.sending)
    found["sign in"] = running.clients[0].post("/api/session", json=session)
    running.clients[0].cookies.clear()
    return found


def statuses(running: Nodes) -> set[int]:
    """What all of them answer; a key that is none is refused."""
    found = everything(running)
    assert found.pop("unknown key").status_code in (401, 503)
    return {reply.status_code for reply in found.values()}


def test_a_directory_that_goes_and_comes_back(one: Nodes) -> None:
    """The process lives, says that the directory is down, refuses everything with 503 and the time to come again; then
    it answers again. What was acknowledged is kept."""
    assert {200} == statuses(one)
    one.place.server.stop()
    try:
        for _ in range(2):
            assert 200 == one.status(0, "/healthz")
            unready = one.ask(0, "GET", "/readyz")
            assert (503, ["directory"]) == (unready.status_code, unready.json()["down"])
            assert "refused" in unready.json()["reason"]
            assert "2" == unready.headers["retry-after"]
            for name, reply in everything(one).items():
                assert 503 == reply.status_code, (name, reply.text)
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json()["type"] == "urn:calldex:error:unavailable"
            time.sleep(2.5)  # longer than what is known of keys counts
    finally:
        one.place.server.start()
    becomes({200}, lambda: statuses(one), within_s=15)
    assert 200 == one.status(0, "/readyz")
    assert 1 == one.ask(0, "GET", "/api/v2/cdr").json()["total"]
    code, log = one.servers[0].end()
    assert (0, False, False) == (code, "Traceback" in log, "status=500" in log), log


def test_a_node_ends_while_its_directory_is_gone(one: Nodes) -> None:
    """Well, and with a word about it: what was to be written at the end is no loss."""
    assert {200} == statuses(one)
    one.place.server.stop()
    try:
        code, log = one.servers[0].end()
    finally:
        one.place.server.start()
    assert (0, False) == (code, "Traceback" in log), log
    assert "closed_without_writing" in log


def test_a_directory_that_stands_still(postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """Nobody waits for it for ever, and those who do hold up nobody else."""
    url = make_url(postgresql.address)
    assert url.port is not None
    with Way(url.port) as way:
        address = url.set(port=way.port).render_as_string()
        with nodes(postgresql, tmp_path, 1, address=address) as running, ThreadPoolExecutor(16) as threads:
            assert {200} == statuses(running)
            time.sleep(2.5)
            way.still(True)
            try:
                asked = [threads.submit(running.status, 0, "/api/v2/cdr", key) for key in (running.key, SILENT) * 4]
                answered = 0
                while not all(one.done() for one in asked):
                    assert 200 == running.status(0, "/healthz")
                    answered += 1
                    time.sleep(0.2)
                assert ({503}, True) == ({one.result() for one in asked}, answered > OTHERS)
                assert ["directory"] == running.ask(0, "GET", "/readyz").json()["down"]
            finally:
                way.still(False)
            becomes({200}, lambda: statuses(running), within_s=15)
            assert 200 == running.status(0, "/readyz")
