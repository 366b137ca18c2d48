"""`POST /api/ingest/v1/deletions`: records that their source took back are found no longer, and the change feed tells
it; each uuid is judged by itself, limits are those of records, and a repeated request does no harm."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any
from uuid import UUID

import httpx
import pytest

from calldex.api.ingest import DELETIONS
from calldex.audit.chain import Entry
from calldex.demo import interactions
from calldex.directory import AuditFilter
from calldex.records.record import Cdr
from tests.api.conftest import Site, newest_first, write
from tests.api.test_ingest import GOOD, HALF, MIB, array
from tests.api.test_ingest import post as sent

PATH = "/api/ingest/v1/deletions"
RECORDS = "/api/ingest/v1/records"
ABSENT = "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b99"


def post(site: Site, body: object, key: str = "ingest", path: str = PATH, **headers: str) -> httpx.Response:
    """Send a body; a list is one of uuids."""
    return sent(site, {"uuids": body} if isinstance(body, list) else body, key, path, **headers)


def counts(reply: httpx.Response) -> tuple[int, ...]:
    """How many were deleted, absent and rejected; each counted is told."""
    body = reply.json()
    assert 200 == reply.status_code, reply.text
    found = [each["outcome"] for each in body["records"]]
    assert list(range(len(found))) == [each["index"] for each in body["records"]]
    assert [found.count(outcome) for outcome in DELETIONS] == [body[outcome] for outcome in DELETIONS]
    return tuple(body[outcome] for outcome in DELETIONS)


@pytest.fixture(autouse=True)
def ready(empty: Site) -> None:
    """Searches can be answered before a test begins: what is acknowledged while a store starts is visible a moment
    after that."""
    empty.node.store.settle()


@pytest.fixture
def records(empty: Site) -> list[Cdr]:
    """What `empty` holds then."""
    found = list(interactions(6, seed=8))
    write(empty.node, "main", found)
    return found


@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_deleted_is_gone_at_once(empty: Site, records: list[Cdr], zipped: bool) -> None:
    """It is not found, by filters or its uuid; the others are. Deleted again it is absent, and sent in again it is
    there again."""
    gone, left = records[:4], records[4:]
    body = json.dumps({"uuids": [record.uuid for record in gone]}).encode()
    headers = {"Content_Encoding": "gzip"} if zipped else {}
    reply = post(empty, gzip.compress(body) if zipped else body, **headers)
    assert (4, 0, 0) == counts(reply)
    assert [record.uuid for record in gone] == [each["uuid"] for each in reply.json()["records"]]
    assert newest_first(left) == empty.uuids()
    assert [] == empty.uuids(uuid=gone[0].uuid)
    assert (0, 4, 0) == counts(post(empty, body))
    assert newest_first(left) == empty.uuids()
    assert 1 == sent(empty, array(gone[:1])).json()["accepted"]
    assert newest_first([*left, gone[0]]) == empty.uuids()


@pytest.mark.parametrize("versions", ["latest", "all"])
def test_the_feed_tells_it(empty: Site, records: list[Cdr], versions: str) -> None:
    """As `delete`, once each and with no record; what was absent and what was deleted again changed nothing."""

    def page(**params: Any) -> tuple[list[tuple[str, str, object]], str]:
        reply = empty.api.get("/api/v2/cdr/changes", empty.keys["admin"], versions=versions, **params)
        assert 200 == reply.status_code, reply.text
        changes = [(each["change"], each["uuid"], each["record"]) for each in reply.json()["changes"]]
        return changes, reply.json()["next_cursor"]

    _, cursor = page(start="beginning")
    gone = [records[1].uuid, records[3].uuid]
    for _ in range(2):
        post(empty, [*gone, ABSENT, gone[0], "x"])
    changes, cursor = page(cursor=cursor)
    assert sorted(("delete", uuid, None) for uuid in gone) == sorted(changes)
    post(empty, gone)
    assert [] == page(cursor=cursor)[0]


def test_a_walk_sees_what_it_began_with(empty: Site, records: list[Cdr]) -> None:
    """Pages that follow one from before the deletion are those of then."""
    first = empty.cdr(per_page=3, search_token="").json()
    post(empty, [record.uuid for record in records])
    second = empty.cdr(per_page=3, search_token=first["search_token"]).json()
    assert newest_first(records) == [each["uuid"] for each in first["records"] + second["records"]]
    assert 0 == empty.cdr().json()["total"]


def test_each_uuid_is_judged_by_itself(empty: Site, records: list[Cdr]) -> None:
    """In any usual spelling; what is none has a reason, in its place; named twice, it was there once."""
    one, other = records[0].uuid, records[1].uuid
    body: list[object] = [
        one.upper(),
        "4711",
        5,
        None,
        [[one]],
        UUID(other).urn,
        {"uuid": one},
        f"{{{one}}}",
        ABSENT,
        "",
    ]
    reply = post(empty, body)
    assert (2, 2, 6) == counts(reply)
    outcomes = ["deleted", *["rejected"] * 3, "rejected", "deleted", "rejected", "absent", "absent", "rejected"]
    told = reply.json()["records"]
    assert outcomes == [each["outcome"] for each in told]
    assert [one, other, one, ABSENT] == [each["uuid"] for each in told if "uuid" in each]
    assert 'uuid 1: "4711" is not a uuid of 32 hexadecimal digits' == told[1]["reason"]
    assert all(("reason" in each) == (each["outcome"] == "rejected") for each in told)
    assert 4 == empty.cdr().json()["total"]


@pytest.mark.parametrize("odd", [HALF, b'"\\ud800"', b'"' + b"a" * MIB + b'"', b"[" * 500 + b"]" * 500])
def test_an_odd_element_is_one_rejected(empty: Site, records: list[Cdr], odd: bytes) -> None:
    """Half a character, a text without end, a deep array: the others are deleted, and the reason is short."""
    reply = post(empty, b'\xef\xbb\xbf{"uuids": [%b, "%b"]}' % (odd, records[0].uuid.encode()))
    assert (1, 0, 1) == counts(reply)
    assert 300 > len(reply.json()["records"][0]["reason"])


def test_a_key_in_a_reason_is_not_told(empty: Site) -> None:
    """Who puts a key where a uuid belongs does not find it in the reply."""
    key = empty.keys["ingest"]
    assert key not in post(empty, [key]).text


def test_nothing_is_accepted_as_well(empty: Site) -> None:
    """An empty request is carried out."""
    assert {"deleted": 0, "absent": 0, "rejected": 0, "records": []} == post(empty, []).json()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"{}", b"null", b"[]", b'["' + ABSENT.encode() + b'"]', b'{"uuids": null}', b'{"uuids": "x"}'),
        *(b'{"uuids": [], "uuid": []}', b'{"uuids": [1,]}', b'{"uuids": [\xff]}', b'{"uuids":' + b"[" * 100_000),
    ],
)
def test_another_body_is_refused(empty: Site, records: list[Cdr], body: bytes) -> None:
    """As a whole, with what is valid."""
    reply = post(empty, body)
    assert 400 == reply.status_code, reply.text
    assert 'the body is not {"uuids": [...]}' in reply.json()["error"]
    assert len(records) == empty.cdr().json()["total"]


def test_too_much_is_refused(empty: Site, records: list[Cdr]) -> None:
    """10,000 uuids and 16 MiB, inflated as well, as for records; then nothing is deleted. 10,000 are taken."""
    uuids = [records[0].uuid] * 10_000
    many = post(empty, [*uuids, ABSENT])
    assert (413, "a request may name 10000 uuids; this one has more") == (many.status_code, many.json()["error"])
    large = post(empty, gzip.compress(b" " * (17 * MIB)), Content_Encoding="gzip")
    assert (413, True) == (large.status_code, "when inflated" in large.json()["error"])
    assert 413 == post(empty, b" " * (17 * MIB)).status_code
    assert len(records) == empty.cdr().json()["total"]
    assert (1, 9_999, 0) == counts(post(empty, uuids))


def test_a_small_body_takes_little_memory(empty: Site) -> None:
    """Millions of elements that take some kilobytes as gzip are not all held before they are counted."""
    body = b'{"uuids": [' + b"0," * (8 * MIB - 20) + b"0]}"
    packed = gzip.compress(body, 1)
    tracemalloc.start()
    try:
        reply = post(empty, packed, Content_Encoding="gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 413 == reply.status_code
    assert 3 * len(body) > peak


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Content_Type": "application/jsonl"}, 'send application/json ({"uuids": [...]})'),
        ({"Content_Type": ""}, 'send application/json ({"uuids": [...]})'),
        ({"Content_Encoding": "br"}, "gzip"),
    ],
)
def test_what_is_not_read_is_refused(empty: Site, headers: dict[str, str], named: str) -> None:
    """Another type or coding is refused with what is read."""
    reply = post(empty, [], **headers)
    assert (415, True) == (reply.status_code, named in reply.json()["error"]), reply.text


def test_parameters_are_refused(empty: Site) -> None:
    """The route has no parameters but the key."""
    assert 400 == post(empty, [], path=f"{PATH}?dry_run=yes").status_code


def test_a_request_is_carried_out_once(empty: Site, records: list[Cdr]) -> None:
    """With an idempotency key the same request gets its first reply again, and what was sent in since stays; another
    body is refused, and so is one to the other route, with nothing done."""
    uuids = [record.uuid for record in records[:2]]
    first = post(empty, uuids, Idempotency_Key="a")
    assert (2, 0, 0) == counts(first)
    write(empty.node, "main", records[:1])
    again = post(empty, uuids, Idempotency_Key="a")
    assert first.content == again.content
    assert newest_first([records[0], *records[2:]]) == empty.uuids()
    for other in (post(empty, uuids[:1], Idempotency_Key="a"), sent(empty, array(records), Idempotency_Key="a")):
        assert (409, "urn:calldex:error:idempotency_mismatch") == (other.status_code, other.json()["type"])
    assert newest_first([records[0], *records[2:]]) == empty.uuids()
    reply = post(empty, uuids, Idempotency_Key="a b")
    assert (400, "Idempotency-Key") == (reply.status_code, reply.json()["problems"][0]["parameter"])


def test_a_record_of_another_account_is_absent(empty: Site) -> None:
    """Nobody deletes, or learns of, what their account does not hold."""
    sent(empty, [GOOD], "other_ingest")
    assert (0, 1, 0) == counts(post(empty, [GOOD["uuid"]]))
    assert [GOOD["uuid"]] == empty.uuids("other")
    assert (1, 0, 0) == counts(post(empty, [GOOD["uuid"]], "other_ingest"))
    assert [] == empty.uuids("other")


def test_it_is_noted(empty: Site, records: list[Cdr]) -> None:
    """Who, with which key, how many of each outcome; the same for a request that was carried out before, and a
    forbidden one with its reason."""

    def last() -> Entry:
        return empty.node.directory.audit_entries(None, AuditFilter(), 1)[0]

    for _ in range(2):
        post(empty, [records[0].uuid, ABSENT, "x"], Idempotency_Key="one")
        noted = last()
        assert ("records_deleted", 1, 200) == (noted.action, noted.rows, noted.status)
        assert {"deleted": 1, "absent": 1, "rejected": 1} == noted.detail
        assert ("ingest@main.example.com", empty.keys["ingest"][:8]) == (noted.actor, noted.credential)
    post(empty, [records[1].uuid], "admin")
    assert ("records_deleted", 403) == (last().action, last().status)
    assert len(records) - 1 == empty.cdr().json()["total"]
