"""Two nodes on one ClickHouse and one PostgreSQL: records, walks and their tokens are the same on both."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from calldex.demo import interactions
from calldex.records import codec
from calldex.records.record import Cdr, canonical
from calldex.store.clickhouse.schema import VERSION, ddl
from tests.api.test_streams import body_of, received
from tests.clickhouse.cluster import Cluster, cluster
from tests.cluster.sites import Nodes, becomes, nodes, refused
from tests.directory.places import PostgresqlPlace
from tests.patience import patient

pytestmark = pytest.mark.slow
RECORDS = [canonical(record) for record in interactions(400, seed=6)]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two hosts of ClickHouse with the tables of a store."""
    with cluster(tmp_path_factory.mktemp("clickhouse"), 2) as made:
        yield made


@pytest.fixture
def two(hosts: Cluster, postgresql: PostgresqlPlace, tmp_path: Path) -> Iterator[Nodes]:
    """Two nodes on them, without records."""
    for table in ("cdr", "cdr_uuid"):
        hosts.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in ddl():
        hosts.execute(statement)
    with nodes(postgresql, tmp_path, store=hosts.address()) as running:
        yield running


def post(running: Nodes, node: int, records: Sequence[Cdr]) -> list[str]:
    """What becomes of records that are sent to a node."""
    body = b"[" + b",".join(map(codec.encode, records)) + b"]"
    reply = running.clients[node].post("/api/ingest/v1/records", content=body, headers=running.sending)
    assert 200 == reply.status_code, reply.text
    return [each["outcome"] for each in reply.json()["records"]]


def test_records_and_walks(two: Nodes) -> None:
    """What one node acknowledged the other has at once. A token of one works on the other, and gives the same bytes; a
    walk that goes to and fro between them repeats nothing and loses nothing while both write."""
    assert {"accepted"} == set(post(two, 0, RECORDS[:300]))
    assert 300 == two.ask(1, "GET", "/api/v2/cdr").json()["total"]
    assert {"unchanged"} == set(post(two, 1, RECORDS[:300]))
    uuids: list[str] = []
    node = 0
    token: str | None = ""
    while token is not None:
        replies = [two.ask(at, "GET", f"/api/v2/cdr?per_page=37&search_token={token}") for at in (node, 1 - node)]
        assert [200, 200] == [reply.status_code for reply in replies]
        pages = [reply.json() for reply in replies]
        assert pages[0]["records"] == pages[1]["records"]
        uuids += [record["uuid"] for record in pages[0]["records"]]
        token, node = pages[0]["search_token"], 1 - node
        post(two, node, RECORDS[300 + len(uuids) // 4 :][:5])
    expected = sorted(RECORDS[:300], key=lambda record: (record.started_at, record.uuid), reverse=True)
    assert [record.uuid for record in expected] == uuids


def test_an_export_whose_hosts_die_is_cut(two: Nodes, hosts: Cluster) -> None:
    """In its middle, in each format that leaves as it is read: the reply has begun, says how many records were to come,
    and its body has no end. Of files that need all of it first, as Parquet, nothing has left by then."""
    records = [canonical(record) for record in interactions(10_000, seed=6)]
    for number in range(5):  # more than is read ahead, and than sockets hold
        some = [msgspec.structs.replace(each, uuid=f"{number:08x}{each.uuid[8:]}") for each in records]
        post(two, 0, some)
    for name in ("json", "ndjson", "csv", "arrow"):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(patient(60))
            connection.connect(("127.0.0.1", two.servers[0].port))
            asked = (
                f"GET /api/v2/cdr/export?format={name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {two.key}\r\n\r\n"
            )
            connection.sendall(asked.encode())
            begun = connection.recv(16)
            for host in hosts.hosts:
                host.kill()
            reply = begun + received(connection)
        assert reply.startswith(b"HTTP/1.1 200"), name
        assert b"calldex-expected-records: 50000" in reply.partition(b"\r\n\r\n")[0]
        assert not body_of(reply)[1], name
        hosts.heal()
        becomes(200, lambda: two.status(0, "/readyz"))


def test_a_store_that_goes_and_comes_back(two: Nodes, hosts: Cluster) -> None:
    """With one host of two gone everything is answered; with both, `/readyz` names the store, searches and posts get
    503 with the time to come again, what needs no store is answered; and all of it comes back by itself."""
    post(two, 0, RECORDS[:50])
    hosts.hosts[0].kill()
    assert 200 == two.status(0)
    becomes(200, lambda: two.status(1, "/readyz"))
    hosts.hosts[1].kill()
    becomes(503, lambda: two.status(0, "/readyz"))
    unready = two.ask(0, "GET", "/readyz")
    assert (503, ["store"]) == (unready.status_code, unready.json()["down"])
    assert hosts.password not in unready.text
    body = codec.encode(RECORDS[60])
    refused = [
        two.ask(0, "GET", "/api/v2/cdr?type=inbound"),
        two.clients[0].post("/api/ingest/v1/records", content=b"[" + body + b"]", headers=two.sending),
    ]
    for reply in refused:
        assert (503, True) == (reply.status_code, int(reply.headers["retry-after"]) >= 1), reply.text
        assert hosts.password not in reply.text
    assert [200, 200] == [two.status(0, "/healthz"), two.status(0, "/api/admin/v1/users")]
    hosts.heal()
    becomes(200, lambda: two.status(0, "/readyz"), within_s=15)
    becomes(200, lambda: two.status(0, "/api/v2/cdr?type=inbound"), within_s=15)
    assert ["accepted"] == post(two, 0, [RECORDS[60]])
    assert 51 == two.ask(1, "GET", "/api/v2/cdr").json()["total"]


def test_a_store_that_stands_still(two: Nodes, hosts: Cluster) -> None:
    """Searches are refused after a time, and hold up nobody else meanwhile."""
    post(two, 0, RECORDS[:50])
    time.sleep(1.5)  # longer than a host is trusted
    for host in hosts.hosts:
        host.stop()
    try:
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(two.status, 0, f"/api/v2/cdr?per_page={n}&type=inbound") for n in range(1, 5)]
            answered = 0
            while not all(one.done() for one in asked):
                assert 200 == two.status(0, "/healthz")
                answered += 1
                time.sleep(0.1)
        assert ({503}, True) == ({one.result() for one in asked}, answered > 3)  # or they would have waited as well
        assert ["store"] == two.ask(0, "GET", "/readyz").json()["down"]
        assert "calldex_ready 0.0" in two.ask(0, "GET", "/metrics").text
    finally:
        hosts.heal()
    becomes(200, lambda: two.status(0, "/api/v2/cdr?type=inbound"), within_s=15)


@pytest.mark.parametrize(
    ("given", "code", "expected"),
    [
        ({"password": "x"}, 5, "refuses the user 'calldex': wrong name or password; correct it in `store`"),
        ({"user": "nobody"}, 5, "refuses the user 'nobody': wrong name or password; correct it in `store`"),
        ({"database": "nothing"}, 5, "has no database 'nothing'; create it, or name another in `store`"),
        ({"database": "default"}, 5, "make the tables with what `calldex schema --engine clickhouse` prints"),
    ],
)
def test_a_wrong_address(hosts: Cluster, tmp_path: Path, given: dict[str, str], code: int, expected: str) -> None:
    """A wrong password, user or database, missing tables: the start says which, what to do, and no password."""
    found = refused(hosts.address(**given), tmp_path, "--store", hosts.password)
    assert (code, True) == (found[0], expected in found[1]), found[1]


def test_a_store_of_another_version(hosts: Cluster, tmp_path: Path) -> None:
    """It is left alone."""
    hosts.execute("CREATE DATABASE newer")
    for statement in ddl():
        hosts.execute(statement.replace(f"calldex schema {VERSION}", "calldex schema 9"), database="newer")
    code, told = refused(hosts.address(database="newer"), tmp_path, "--store", hosts.password)
    assert (7, True) == (
        code,
        f"has schema version 9; this program knows version {VERSION}; use the Calldex that made it" in told,
    ), told
