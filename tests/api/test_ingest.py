"""`POST /api/ingest/v1/records`: each record is judged by itself, limits hold, and a repeated request is carried out
once."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from calldex.api.ingest import Body
from calldex.clock import now_ms
from calldex.records import codec
from calldex.records.record import Cdr, Rejected, to_ms
from tests.api.conftest import Site, newest_first

PATH = "/api/ingest/v1/records"
MIB = 2**20
GOOD = {
    "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
    "type": "inbound",
    "disposition": "answered",
    "timestamp": "2026-01-31T08:00:00Z",
    "duration": "00:01:00",
}


def post(site: Site, body: object, key: str = "ingest", path: str = PATH, **headers: str) -> httpx.Response:
    """Send a body; what is not bytes goes as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {
        "Authorization": f"Bearer {site.keys[key]}",
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return site.api.request("POST", path, content=content, headers=sent)


def lines(records: list[Cdr]) -> bytes:
    """Records as JSON Lines."""
    return b"".join(codec.encode(record) + b"\n" for record in records)


def array(records: list[Cdr]) -> bytes:
    """Records as a JSON array."""
    return b"[" + b",".join(map(codec.encode, records)) + b"]"


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson", "application/jsonl; charset=utf-8"])
@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_posted_is_served(empty: Site, site: Site, media_type: str, zipped: bool) -> None:
    """Records in either shape, plain or gzip, are accepted once, unchanged the next time, and searched at once."""
    body = array(site.main) if media_type == "application/json" else lines(site.main) + b"\r\n\n"
    headers = {"Content-Type": media_type}
    if zipped:
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    first = post(empty, body, **headers).json()
    assert (len(site.main), 0, 0, 0) == counts(first)
    assert [record.uuid for record in site.main] == [each["uuid"] for each in first["records"]]
    assert newest_first(site.main) == empty.uuids()
    assert site.cdr().json()["records"] == empty.cdr().json()["records"]
    assert (0, 0, len(site.main), 0) == counts(post(empty, body, **headers).json())


def counts(reply: dict[str, int]) -> tuple[int, ...]:
    """The reply's counts."""
    return tuple(reply[outcome] for outcome in ("accepted", "updated", "unchanged", "rejected"))


@pytest.mark.parametrize(("media_type", "form"), [("application/json", b"[%b]"), ("application/jsonl", b"%b")])
def test_a_byte_order_mark_is_no_part_of_a_record(empty: Site, media_type: str, form: bytes) -> None:
    """At the begin of a body, where some clients put it."""
    reply = post(empty, b"\xef\xbb\xbf" + form % json.dumps(GOOD).encode(), Content_Type=media_type)
    assert (1, 0, 0, 0) == counts(reply.json())


def test_each_record_is_judged_by_itself(empty: Site) -> None:
    """Good records are kept beside bad ones, and each bad one gets its reason, in the order of the request."""
    changed = {**GOOD, "disposition": "busy"}
    reply = post(empty, [GOOD, {**GOOD, "type": "carrier pigeon"}, 5, changed, changed])
    assert 200 == reply.status_code
    body = reply.json()
    assert (1, 1, 1, 2) == counts(body)
    assert ["accepted", "rejected", "rejected", "updated", "unchanged"] == [each["outcome"] for each in body["records"]]
    assert list(range(5)) == [each["index"] for each in body["records"]]
    assert "carrier pigeon" in body["records"][1]["reason"]
    assert "uuid" not in body["records"][1]
    assert "busy" == empty.cdr().json()["records"][0]["disposition"]


def test_a_source_that_posts_has_delivered(empty: Site) -> None:
    """Records that name a source of their account tell when it delivered and how new it is, also those of a large post;
    what they call a source may be another account's, or none."""
    directory = empty.node.directory
    directory.add_source("pbx", "jsonl", {}, "main")
    directory.add_source("foreign", "jsonl", {}, "other")
    padding = [{**GOOD, "uuid": str(UUID(int=n)), "source": "nowhere", "comment": "x" * 2_000} for n in range(300)]
    newest = {**GOOD, "source": "pbx", "timestamp": "2026-02-01T08:00:00Z"}
    older = {**GOOD, "uuid": str(UUID(int=999)), "source": "pbx"}
    for body in ([{**GOOD, "source": "foreign"}], [*padding, newest, older], [*padding, older]):
        assert 0 == post(empty, body).json()["rejected"]
    empty.node.note_ingests()
    found = {source.name: source for source in directory.sources()}
    assert {"pbx", "foreign"} == set(found)
    assert found["foreign"].last_ingest_at is None
    assert found["pbx"].newest_started_at == to_ms(datetime(2026, 2, 1, 8, tzinfo=UTC))
    assert now_ms() - 60_000 < (found["pbx"].last_ingest_at or 0) <= now_ms()


def test_nothing_is_accepted_as_well(empty: Site) -> None:
    """An empty request is carried out."""
    assert {"accepted": 0, "updated": 0, "unchanged": 0, "rejected": 0, "records": []} == post(empty, []).json()
    assert 200 == post(empty, b"", Content_Type="application/jsonl").status_code


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"null", b'["a"', b"[1]]", b"\xff", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000]
)
def test_a_broken_array_is_refused(empty: Site, body: bytes) -> None:
    """What is no JSON array as a whole is refused as a whole."""
    reply = post(empty, body)
    if reply.status_code == 200:
        assert body.endswith(b"]]"), "only a deep array may pass, its one element rejected"
        assert (0, 0, 0, 1) == counts(reply.json())
    else:
        assert 400 == reply.status_code


HALF = b'{"uuid": "\\ud800", "comment": "[1, {2}] \\\\ud800 \\ud83d\\ude00"}'


@pytest.mark.parametrize(
    "half", [HALF, b'"\\uDFFF"', b'["\\ud83d\\ude00\\ude00", 1]', b'{"\\ud83dx": {"a": "\\\\\\ud800"}}']
)
def test_half_a_character_is_a_rejected_record(empty: Site, half: bytes) -> None:
    """An escape that is half of a character rejects its record with a reason, in an array as in JSON Lines; the others
    are kept, each in its place and as it was written."""
    whole = json.dumps(GOOD | {"comment": "\U0001f600 \\ud800 \\"}).encode()
    other = json.dumps(GOOD | {"uuid": GOOD["uuid"][:-1] + "5"}).encode()
    reply = post(empty, b" [ " + b" ,\n".join([half, whole, half, other]) + b" ] ").json()
    assert (["rejected", "accepted"] * 2, list(range(4))) == (
        [each["outcome"] for each in reply["records"]],
        [each["index"] for each in reply["records"]],
    )
    assert "\U0001f600 \\ud800 \\" in {record["comment"] for record in empty.cdr().json()["records"]}
    lines_ = post(empty, b"\n".join([half, whole]), Content_Type="application/jsonl").json()
    assert reply["records"][0] == lines_["records"][0]
    assert "half of a character" in lines_["records"][0]["reason"]
    assert 400 == post(empty, b"[" + half + b",]").status_code


def test_a_broken_line_is_a_rejected_record(empty: Site) -> None:
    """In JSON Lines each line stands for itself."""
    body = b"nonsense\n" + json.dumps(GOOD).encode() + b'\n{"uuid":'
    reply = post(empty, body, Content_Type="application/x-ndjson").json()
    assert ["rejected", "accepted", "rejected"] == [each["outcome"] for each in reply["records"]]


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Content_Type": "text/csv"}, "application/x-ndjson"),
        ({"Content_Type": ""}, "application/json"),
        ({"Content_Encoding": "br"}, "gzip"),
    ],
)
def test_what_is_not_read_is_refused(empty: Site, headers: dict[str, str], named: str) -> None:
    """Another type or coding is refused with those that are read."""
    reply = post(empty, [GOOD], **headers)
    assert 415 == reply.status_code
    assert named in reply.json()["error"]


@pytest.mark.parametrize(
    ("cut", "reason"), [(slice(0, -8), "ends too early"), (slice(5, None), "not gzip"), (slice(0, 3), "ends too early")]
)
def test_broken_gzip_is_refused(empty: Site, cut: slice, reason: str) -> None:
    """A gzip body that is cut off or none at all is refused, and nothing of it is written."""
    reply = post(empty, gzip.compress(json.dumps([GOOD]).encode())[cut], Content_Encoding="gzip")
    assert 400 == reply.status_code
    assert reason in reply.json()["error"]
    assert 0 == empty.cdr().json()["total"]


def test_gzip_of_several_members_is_read_whole(empty: Site) -> None:
    """Members of a gzip body follow each other, as `cat` makes them."""
    text = json.dumps([GOOD]).encode()
    reply = post(empty, gzip.compress(text[:40]) + gzip.compress(text[40:]), Content_Encoding="gzip")
    assert (1, 0, 0, 0) == counts(reply.json())


def test_too_many_records_are_refused(empty: Site) -> None:
    """A request may hold 10,000 records; one more and nothing is written."""
    reply = post(empty, b"[" + b",".join([json.dumps(GOOD).encode()] * 10_001) + b"]")
    assert (413, "a request may hold 10000 records; this one has more") == (reply.status_code, reply.json()["error"])
    assert 0 == empty.cdr().json()["total"]
    assert 413 == post(empty, b"1\n" * 10_001, Content_Type="application/jsonl").status_code


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b"[" + b"0," * (8 * MIB - 2) + b"0]"),
        ("application/jsonl", b"0\n" * (8 * MIB)),
        ("application/jsonl", b"\n" * (16 * MIB)),
    ],
)
def test_a_small_body_takes_little_memory(empty: Site, media_type: str, body: bytes) -> None:
    """Millions of elements, or of blank lines, that take some kilobytes as gzip, are not all held before they are
    counted: beside the inflated body no more than that once again."""
    packed = gzip.compress(body, 1)
    tracemalloc.start()
    try:
        reply = post(empty, packed, Content_Type=media_type, Content_Encoding="gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (200 if body.isspace() else 413) == reply.status_code
    assert 3 * len(body) > peak


def test_a_record_is_as_long_as_a_line_may_be(empty: Site) -> None:
    """What could not be imported again as a line of a file is rejected by itself."""
    good = json.dumps(GOOD).encode()
    long = good[:-1] + b" " * (MIB - len(good)) + b"}"
    for body, media_type in ((b"[%b,%b ,%b]", "application/json"), (b"%b\n%b \n%b", "application/jsonl")):
        longer = long.replace(b"  ", b"   ", 1)
        reply = post(empty, body % (long, longer, good), Content_Type=media_type).json()
        assert ["rejected"] == [each["outcome"] for each in reply["records"][1:2]]
        assert "longer than 1048576 bytes" == reply["records"][1]["reason"]
        assert 1 == reply["rejected"]


def test_too_large_a_body_is_refused(empty: Site) -> None:
    """A body may have 16 MiB, as sent and when inflated, however its size is announced."""
    assert 200 == post(empty, b"[" + b" " * (16 * MIB - 2) + b"]").status_code
    large = post(empty, b"[" + b" " * (16 * MIB - 1) + b"]")
    assert (413, "a body may have up to 16777216 bytes; this one has more") == (
        large.status_code,
        large.json()["error"],
    )
    bomb = gzip.compress(b" " * (17 * MIB))
    assert len(bomb) < MIB
    large = post(empty, bomb, Content_Encoding="gzip")
    assert 413 == large.status_code
    assert "a body may have up to 16777216 bytes when inflated; this one has more" == large.json()["error"]

    async def endless() -> AsyncIterator[bytes]:
        sent = 0
        while sent < 64 * MIB:
            sent += MIB
            taken.append(sent)
            yield b" " * MIB

    taken: list[int] = []
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}", "Content-Type": "application/json"}
    reply = empty.api.request("POST", PATH, content=endless(), headers=headers)
    assert 413 == reply.status_code
    assert taken[-1] < 20 * MIB


def test_a_request_is_carried_out_once(empty: Site, site: Site) -> None:
    """With an idempotency key the same request gets its first reply again; another body is refused."""
    first = post(empty, array(site.main[:5]), Idempotency_Key="a")
    assert (5, 0, 0, 0) == counts(first.json())
    post(empty, array(site.main[5:9]), Idempotency_Key="b")
    again = post(empty, array(site.main[:5]), Idempotency_Key="a")
    assert first.content == again.content
    other = post(empty, array(site.main[:6]), Idempotency_Key="a")
    assert (409, "urn:calldex:error:idempotency_mismatch") == (other.status_code, other.json()["type"])
    assert (0, 0, 5, 0) == counts(post(empty, array(site.main[:5])).json())


def test_idempotency_keys_are_each_api_keys_own(empty: Site, site: Site) -> None:
    """Two clients may choose the same idempotency key."""
    assert (5, 0, 0, 0) == counts(post(empty, array(site.main[:5]), Idempotency_Key="a").json())
    assert (3, 0, 0, 0) == counts(post(empty, array(site.main[5:8]), "other_ingest", Idempotency_Key="a").json())


def test_a_reader_may_tell_places_in_its_own_way(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply tells of each record by its index, whatever a format calls the place of what it cannot read."""

    def read(body: bytes) -> Iterator[Cdr | Rejected]:
        """Two pieces that cannot be read, and a record between them."""
        yield Rejected("no row", "row 1", body)
        yield codec.decode(json.dumps(GOOD).encode(), "row 2")
        yield Rejected("no row either", "rows 3 to 5", body)

    monkeypatch.setattr("calldex.api.ingest.BODIES", {"text/csv": Body("a table", {}, read)})
    reply = post(empty, b"x", Content_Type="text/csv")
    told = [(each["index"], each["outcome"], each.get("reason")) for each in reply.json()["records"]]
    assert [(0, "rejected", "no row"), (1, "accepted", None), (2, "rejected", "no row either")] == told


@pytest.mark.parametrize("given", ["", "x" * 201, "a b"])
def test_a_bad_idempotency_key_is_refused(empty: Site, given: str) -> None:
    """An idempotency key is 1 to 200 visible ASCII characters."""
    reply = post(empty, [GOOD], Idempotency_Key=given)
    assert (400, "Idempotency-Key") == (reply.status_code, reply.json()["problems"][0]["parameter"])


def test_parameters_are_refused(empty: Site) -> None:
    """The route has no parameters but the key; another one is not ignored."""
    assert 400 == post(empty, [GOOD], path=f"{PATH}?source=x").status_code


def test_posts_that_come_at_once_are_each_answered(empty: Site) -> None:
    """Small posts are carried out together; each gets its own reply, also beside some that are refused, and of one
    idempotency key one is carried out."""
    numbered = [{**GOOD, "uuid": GOOD["uuid"][:-2] + f"{n:02d}"} for n in range(20)]
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}", "Content-Type": "application/json"}
    bodies = [json.dumps([each]).encode() for each in numbered]
    bodies[3], bodies[7] = b"[", bodies[6]
    keys = {6: {"Idempotency-Key": "k"}, 7: {"Idempotency-Key": "k"}, 8: {"Idempotency-Key": "k"}}

    async def send(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(
            *(client.post(PATH, content=body, headers=headers | keys.get(n, {})) for n, body in enumerate(bodies))
        )

    replies = empty.api.run(send)
    refused = {n: reply.status_code for n, reply in enumerate(replies) if reply.status_code != 200}
    assert refused in ({3: 400, 8: 409}, {3: 400, 6: 409, 7: 409})  # whichever came first has the key
    assert replies[6].json() == replies[7].json() or 409 == refused[7]
    named = {reply.json()["records"][0]["uuid"] for n, reply in enumerate(replies) if n not in refused}
    assert sorted(named) == sorted(empty.uuids())
    assert 17 == len(named)


def test_a_record_stays_in_its_account(empty: Site) -> None:
    """A record is written to the account of the key, and no other sees it."""
    post(empty, [GOOD], "other_ingest")
    assert [] == empty.uuids("admin")
    assert [GOOD["uuid"]] == empty.uuids("other")
