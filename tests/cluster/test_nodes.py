"""Two nodes, two processes, one directory on PostgreSQL: what is done on one holds on the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from calldex.demo import interactions
from calldex.records import codec
from tests.cluster.sites import PASSWORD, Nodes, becomes, nodes
from tests.directory.places import PostgresqlPlace

pytestmark = pytest.mark.slow
ADMIN = "/api/admin/v1"


@pytest.fixture
def two(postgresql: PostgresqlPlace, tmp_path: Path) -> Iterator[Nodes]:
    """Two nodes on a directory of the test's own."""
    with nodes(postgresql, tmp_path) as running:
        yield running


def test_keys_and_users(two: Nodes) -> None:
    """A key made on one node works on the other at once; one that was revoked, and one whose user was removed, soon
    does no more."""
    made = [
        two.ask(0, "POST", f"{ADMIN}/users", json={"email": f"{name}@example.com", "name": name, "role": "analyst"})
        for name in ("ann", "bob")
    ]
    assert [201, 201] == [reply.status_code for reply in made]
    keys = []
    for name in ("ann", "bob"):
        reply = two.ask(1, "POST", f"{ADMIN}/keys", json={"user": f"{name}@example.com", "scopes": ["read"]})
        assert 201 == reply.status_code, reply.text
        keys.append(reply.json())
        assert 200 == two.status(0, key=keys[-1]["key"])
        assert 200 == two.status(1, key=keys[-1]["key"])
    assert 204 == two.ask(0, "DELETE", f"{ADMIN}/keys/{keys[0]['id']}").status_code
    assert 204 == two.ask(0, "DELETE", f"{ADMIN}/users/{made[1].json()['id']}").status_code
    for key in keys:
        assert 401 == two.status(0, key=key["key"])
        becomes(401, partial(two.status, 1, key=key["key"]))


def test_rights(two: Nodes) -> None:
    """What a group grants is taken from its members on every node."""
    group = two.ask(0, "POST", f"{ADMIN}/groups", json={"name": "readers", "permissions": ["see_cdrs"]})
    assert 201 == group.status_code, group.text
    user = {"email": "ann@example.com", "name": "Ann", "groups": ["readers"]}
    assert 201 == two.ask(1, "POST", f"{ADMIN}/users", json=user).status_code
    key = two.ask(1, "POST", f"{ADMIN}/keys", json={"user": "ann@example.com", "scopes": ["read"]}).json()["key"]
    assert [200, 200] == [two.status(node, key=key) for node in (0, 1)]
    changed = two.ask(0, "PATCH", f"{ADMIN}/groups/{group.json()['id']}", json={"permissions": []})
    assert 200 == changed.status_code, changed.text
    for node in (0, 1):
        becomes(403, partial(two.status, node, key=key))


def test_sessions(two: Nodes) -> None:
    """Who signed in at one node is signed in at the other, and who signed out there soon is here."""
    signed = two.clients[0].post("/api/session", json={"email": "boss@example.com", "password": PASSWORD})
    assert 200 == signed.status_code, signed.text
    cookies = dict(signed.cookies)

    def status(node: int, method: str = "GET") -> int:
        two.clients[node].cookies.clear()
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        origin = {"Origin": two.servers[node].url, "Sec-Fetch-Site": "same-origin"}
        return two.clients[node].request(method, "/api/session", headers=sent | origin).status_code

    assert [200, 200] == [status(0), status(1)]
    assert 204 == status(1, "DELETE")
    assert 401 == status(1)
    becomes(401, lambda: status(0))


def test_names(two: Nodes) -> None:
    """What records that came in at one node call things, the look-ups of the other know at once."""
    records = list(interactions(20, seed=4))
    body = b"[" + b",".join(map(codec.encode, records)) + b"]"
    posted = two.clients[0].post("/api/ingest/v1/records", content=body, headers=two.sending)
    assert (200, 20) == (posted.status_code, posted.json()["accepted"])
    expected = {record.queue for record in records} - {None}
    assert expected == {queue["name"] for queue in two.ask(1, "GET", "/api/v2/cdr/queues").json()}


def test_the_audit_of_both_is_one_chain(two: Nodes) -> None:
    """While both write, every request is in it once, and the chain is whole."""
    count = 150

    def search(number: int) -> int:
        return two.status(number % 2, f"/api/v2/cdr?per_page={number + 1}")

    with ThreadPoolExecutor(8) as threads:
        assert {200} == set(threads.map(search, range(count)))
    with two.place.open() as directory:
        verified = directory.verify_audit()
    noted = two.place.execute("SELECT entry FROM audit WHERE action = 'search' ORDER BY n")
    pages = sorted(int(entry.split('"per_page":"')[1].split('"')[0]) for (entry,) in noted)
    assert list(range(1, count + 1)) == pages
    assert [] == list(verified.faults)
