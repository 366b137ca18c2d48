"""`GET /api/v2/cdr`: what clients send in every way they send it, and the pages they get."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from calldex.records import codec
from calldex.records.fields import FILTER, FILTERS
from calldex.records.record import Cdr
from tests import reference
from tests.api.conftest import MAIN, OTHER, Site, newest_first, uuids_of, walk, write


def test_a_page_is_the_stored_records(site: Site) -> None:
    """A page holds the records' JSON as it was made when they were written, newest first, with the whole total."""
    reply = site.cdr(per_page=3)
    newest = newest_first(site.main)[:3]
    expected = [json.loads(codec.encode(next(r for r in site.main if r.uuid == uuid))) for uuid in newest]
    body = reply.json()
    assert {"records", "total", "page", "search_token"} == set(body)
    assert (expected, MAIN, 1) == (body["records"], body["total"], body["page"])
    assert isinstance(body["search_token"], str)
    assert "application/json" == reply.headers["content-type"]


def test_how_numbers_are_written_stands_beside_the_records(site: Site) -> None:
    """When it is asked for: the records are the same, and of a reader who may not see numbers none is told."""
    plain, told = site.cdr(per_page=50), site.cdr(per_page=50, numbers="international")
    assert plain.headers["etag"] != told.headers["etag"]
    assert plain.json() == {name: value for name, value in told.json().items() if name != "numbers"}
    whole = {number for record in told.json()["records"] for number in (record["from"], record["to"]) if number}
    numbers = told.json()["numbers"]
    assert {f"+{each}" for each in whole & numbers.keys()} == {
        numbers[each].replace(" ", "").replace("-", "") for each in whole & numbers.keys()
    }
    assert numbers
    masked = site.cdr("analyst", numbers="international", per_page=50).json()
    assert all(each in json.dumps(masked["records"]) for each in masked["numbers"])
    assert 400 == site.cdr(numbers="national").status_code


def test_no_match_is_an_empty_page(site: Site) -> None:
    """A search that finds nothing answers with an empty page, without a token."""
    assert {"records": [], "total": 0, "page": 1, "search_token": None} == site.cdr(cli="000999").json()


MATCHES: dict[str, tuple[str, Callable[[Cdr], bool]]] = {
    "cli": ("44", lambda r: (r.from_ or "").startswith("44")),
    "wildcard_cli": ("79", lambda r: "79" in (r.from_ or "")),
    "number": ("44", lambda r: (r.to or "").startswith("44")),
    "wildcard_number": ("96", lambda r: "96" in (r.to or "")),
    "type": ("Inbound,callback", lambda r: r.type in ("inbound", "click_to_call")),
    "disposition": ("ANSWERED,busy", lambda r: r.disposition in ("answered", "busy")),
    "end_reasons": ("agent_disconnect", lambda r: r.end_reason == "agent_disconnect"),
    "events": ("all_transfers,hold", lambda r: any("transfer" in e.type or e.type == "hold" for e in r.events)),
    "min_duration": ("60", lambda r: r.duration_s > 60),
    "max_duration": ("60", lambda r: r.duration_s < 60),
    "min_wait": ("20", lambda r: r.wait_s is not None and r.wait_s > 20),
    "max_wait": ("20", lambda r: r.wait_s is not None and r.wait_s < 20),
}


@pytest.mark.parametrize("name", MATCHES)
def test_a_filter_finds_what_it_says(site: Site, name: str) -> None:
    """Each filter finds exactly the records that fit."""
    value, fits = MATCHES[name]
    expected = newest_first([record for record in site.main if fits(record)])
    assert 0 < len(expected) < MAIN
    assert expected == site.uuids(**{name: value})


NUMBER_FILTERS = ("cli", "number", "wildcard_cli", "wildcard_number", "from", "to", "party")
IDS: dict[str, Callable[[Cdr], list[Any]]] = {
    "agent_ids": lambda r: [r.agent_id],
    "queue_ids": lambda r: [r.queue_id],
    "passed_queues": lambda r: [r.queue, *(event.queue for event in r.events)],
    "team_ids": lambda r: [team.id for team in r.teams],
    "campaign_ids": lambda r: [r.campaign_id],
    "wrapup_codes": lambda r: [r.wrapup_code],
    "wrapup_code_ids": lambda r: [r.wrapup_code],
    "uuid": lambda r: [r.uuid],
}
EXACT: dict[str, Callable[[Cdr], str | None]] = {"from": lambda r: r.from_, "to": lambda r: r.to}


@pytest.mark.parametrize("name", EXACT)
def test_a_full_number_is_found_exactly(site: Site, name: str) -> None:
    """The records of that number, and none of a number that it begins or is a part of."""
    number = next(number for record in site.main if (number := EXACT[name](record)) and len(number) > 8)
    assert newest_first([r for r in site.main if EXACT[name](r) == number]) == site.uuids(**{name: f"+{number}"})
    assert [] == site.uuids(**{name: number[:-1]})


@pytest.mark.parametrize("name", IDS)
def test_a_filter_takes_one_or_several(site: Site, name: str) -> None:
    """Each filter on ids or codes finds the records of one and of several."""
    known = sorted({each for record in site.main for each in IDS[name](record) if each is not None}, key=str)
    for wanted in (known[:1], known[:3]):
        expected = newest_first([record for record in site.main if set(IDS[name](record)) & set(wanted)])
        assert expected == site.uuids(**{name: ",".join(map(str, wanted))})


OTHERS: dict[str, str] = {
    "tags": "refund",
    "flags": "provisional",
    "has_recording": "yes",
    "withheld": "yes",
    "party": "4479",
    "changed_since": "2000-01-01T00:00:00Z",
    "callback_state": "open",
}
NEGATED = [name for name in FILTER if name.endswith("_not")]


@pytest.mark.parametrize("name", OTHERS)
def test_a_filter_finds_what_the_reference_does(site: Site, name: str) -> None:
    """Each of the others, with a value of its own."""
    given = {} if name == "changed_since" else {name: OTHERS[name]}
    expected = [record.uuid for record in reference.answer(site.main, given)]
    assert expected == site.uuids(**{name: OTHERS[name]})


@pytest.mark.parametrize("name", NEGATED)
def test_without_these(site: Site, name: str) -> None:
    """Of each filter that takes a list, the other records: those that have none of the values, or nothing at all."""
    asked = name.removesuffix("_not")
    everything = set(site.uuids())
    value = OTHERS.get(asked) or ",".join(map(str, _some(site, asked)))
    assert everything - set(site.uuids(**{asked: value})) == set(site.uuids(**{name: value}))


def _some(site: Site, name: str) -> list[Any]:
    """Values that some records have."""
    if name in IDS:
        return sorted({one for record in site.main for one in IDS[name](record) if one is not None}, key=str)[:2]
    words = FILTER[name].words
    return [word for word in words if site.uuids(**{name: word})][:2]


def test_every_filter_is_tried() -> None:
    """A new filter needs a test here."""
    assert set(FILTER) == {*MATCHES, *IDS, *EXACT, *OTHERS, *NEGATED}


def test_days_are_cut_in_a_zone(site: Site) -> None:
    """Both days are included, in the zone that is asked for; an instant as the end is not included."""
    at = sorted(record.started_at for record in site.main)[MAIN // 2]
    day = at.date().isoformat()
    expected = newest_first([r for r in site.main if (r.started_at + timedelta(hours=9)).date() == at.date()])
    assert expected == site.uuids(start_date=day, end_date=day, timezone="Asia/Tokyo")
    expected = newest_first([record for record in site.main if record.started_at < at])
    assert expected == site.uuids(end_date=at.isoformat())


def test_a_day_that_a_zone_skipped_is_empty(site: Site) -> None:
    """It has no length, so nothing began on it."""
    day: dict[str, Any] = {"start_date": "2011-12-30", "end_date": "2011-12-30", "timezone": "Pacific/Apia"}
    assert (200, 0) == ((reply := site.cdr(**day)).status_code, reply.json()["total"])


def test_a_list_of_a_body_is_taken_item_by_item(empty: Site, site: Site) -> None:
    """An item of a JSON list may hold a comma or a quote: it is one value."""
    codes = ["Sale, big", '"quoted", too', " x,"]
    records = [msgspec.structs.replace(site.main[n], wrapup_code=code) for n, code in enumerate(codes)]
    write(empty.node, "main", records)
    for code, record in zip(codes, records, strict=True):
        body = {"key": empty.keys["admin"], "wrapup_codes": [code, "none"]}
        assert [record.uuid] == uuids_of(body_search(empty, body))


@pytest.mark.parametrize(
    ("params", "parameter", "given", "valid"),
    [
        ({"per_page": "0"}, "per_page", "0", "a whole number from 1 to 10000"),
        ({"per_page": "10001"}, "per_page", "10001", "a whole number from 1 to 10000"),
        ({"page": "-1"}, "page", "-1", "a whole number from 1 to 1000000000"),
        ({"page": "11", "per_page": "1000"}, "page", "11", "continue with the search_token of the reply before"),
        ({"start_date": "31.01.2026"}, "start_date", "31.01.2026", "YYYY-MM-DD"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-31"}, "end_date", "2026-01-31", "a day after it"),
        ({"timezone": "Europe/Londn"}, "timezone", "Europe/Londn", "an IANA name"),
        ({"agent_id": "5"}, "agent_id", "5", "agent_ids"),
        *(({filter_.name: "\t,"}, filter_.name, ",", "") for filter_ in FILTERS if filter_.name not in NUMBER_FILTERS),
        *(({name: "4" * 65}, name, "4" * 65, "1 to 64 digits") for name in NUMBER_FILTERS),
    ],
)
def test_a_bad_parameter_is_named(site: Site, params: dict[str, str], parameter: str, given: str, valid: str) -> None:
    """What is not understood is refused with the parameter, what was given and what would be valid."""
    reply = site.cdr("admin", None, **params)
    assert 400 == reply.status_code
    problem = reply.json()["problems"][0]
    assert (parameter, given) == (problem["parameter"], problem["given"])
    assert valid in problem["valid"]
    assert parameter in reply.json()["error"]


def test_all_problems_are_told_at_once(site: Site) -> None:
    """Everything that is wrong with a request is told in one reply, with the nearest name suggested."""
    problems = site.cdr(per_page="x", dispositon="answered", type="inbnd").json()["problems"]
    assert ["dispositon", "per_page", "type"] == sorted(problem["parameter"] for problem in problems)
    assert "did you mean 'disposition'?" in next(p["message"] for p in problems if p["parameter"] == "dispositon")


@pytest.mark.parametrize(
    "query",
    ["type=inbound&type=outbound", "wrapup_codes=1&wrapup_code_ids=1", "page=1&page=1"],
)
def test_a_repeated_parameter_is_refused(site: Site, query: str) -> None:
    """A parameter that comes twice is refused, under an alias as well."""
    reply = site.api.get(f"/api/v2/cdr?{query}", site.keys["admin"])
    assert (400, "given more than once") == (reply.status_code, reply.json()["problems"][0]["message"])


@pytest.mark.parametrize("query", ["cli=%FF", "a=1&" * 101, "wrapup_codes=\u00e9"])
def test_a_query_string_that_is_none_is_refused(site: Site, query: str) -> None:
    """A query string that is not UTF-8 or too long to be one is refused; one that is, is read."""
    reply = site.api.request("GET", f"/api/v2/cdr?{query}", headers={"Authorization": f"Bearer {site.keys['admin']}"})
    assert (200 if "\u00e9" in query else 400) == reply.status_code


# --- the ways in which parameters travel ------------------------------------------------------------------------------


def body_search(site: Site, body: object, query: str = "", **headers: str) -> httpx.Response:
    """A search whose parameters are in the body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    return site.api.request("GET", f"/api/v2/cdr{query}", content=content, headers=sent)


def test_parameters_may_be_a_json_body(site: Site) -> None:
    """Text, numbers, lists and the key itself may be sent as the members of a JSON object; null is not given."""
    body = {"key": site.keys["admin"], "per_page": "5", "page": 1, "type": ["inbound", "outbound"], "cli": None}
    expected = site.uuids(per_page=5, type="inbound,outbound")
    assert expected == uuids_of(body_search(site, body))


def test_query_and_body_add_up(site: Site) -> None:
    """Some parameters may be in the query string and others in the body, but none in both."""
    query = f"?key={site.keys['admin']}&type=inbound"
    assert site.uuids(type="inbound", per_page=7) == uuids_of(body_search(site, {"per_page": 7}, query))
    assert 400 == body_search(site, {"type": "inbound"}, query).status_code


def test_an_id_in_a_body_keeps_its_digits(site: Site) -> None:
    """A number beyond what a float holds is not rounded."""
    body = b'{"key":"%s","agent_ids":9007199254740993}' % site.keys["admin"].encode()
    assert "9007199254740993" in body_search(site, body).json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'"per_page"', 400),
        (b'{"per_page":NaN}', 400),
        (b'{"per_page":true}', 400),
        (b'{"type":{"a":1}}', 400),
        (b'{"type":[["inbound"]]}', 400),
        (b'{"type":"inbound","type":"inbound"}', 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"cli":' + b"9" * 5000 + b"}", 400),
        (b"{" + b",".join(b'"a%d":1' % n for n in range(101)) + b"}", 400),
        (b" " * (256 * 1024 + 1), 413),
        (b"  \n", 200),
        (b"{}", 200),
    ],
)
def test_a_body_is_read_strictly(site: Site, body: bytes, status: int) -> None:
    """A body that is no JSON object of plain values is refused; an empty one is none."""
    reply = body_search(site, body, Authorization=f"Bearer {site.keys['admin']}")
    assert status == reply.status_code, reply.text[:300]


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Encoding": "gzip"}]
)
def test_a_body_of_another_type_is_refused(site: Site, headers: dict[str, str]) -> None:
    """Only plain JSON is read as parameters, and nothing is ignored."""
    reply = body_search(site, {"page": 1}, Authorization=f"Bearer {site.keys['admin']}", **headers)
    assert 415 == reply.status_code


# --- walks ------------------------------------------------------------------------------------------------------------


def test_the_documented_walk(site: Site) -> None:
    """The page stays 1 and the token is replaced: every record once, then null."""
    replies = list(walk(site, per_page=50))
    assert newest_first(site.main) == [uuid for reply in replies for uuid in uuids_of(reply)]
    assert {MAIN} == {reply.json()["total"] for reply in replies}
    assert {1} == {reply.json()["page"] for reply in replies}


def test_the_walk_by_page_and_token(site: Site) -> None:
    """The page grows and the token is replaced: every record once; the page asked for is told."""
    found: list[str] = []
    token: str | None = ""
    page = 1
    while token is not None:
        reply = site.cdr(per_page=50, page=page, search_token=token)
        found += uuids_of(reply)
        assert page == reply.json()["page"]
        token, page = reply.json()["search_token"], page + 1
    assert newest_first(site.main) == found


def test_the_walk_by_page_and_first_token(empty: Site, site: Site) -> None:
    """The page grows and the first token is kept, while records come in: every record of the first page's time once."""
    write(empty.node, "main", site.main)
    first = empty.cdr(per_page=50)
    found = uuids_of(first)
    write(empty.node, "main", site.other)
    page = 2
    while len(found) < first.json()["total"]:
        found += empty.uuids(per_page=50, page=page, search_token=first.json()["search_token"])
        page += 1
    assert newest_first(site.main) == found
    assert MAIN + OTHER == empty.cdr().json()["total"]


def test_a_token_is_bound(site: Site) -> None:
    """A token that was changed, is another account's or another search's is refused."""
    token = site.cdr(per_page=5).json()["search_token"]
    tampered = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
    for key, params in (
        ("admin", {"search_token": tampered}),
        ("admin", {"search_token": token, "type": "inbound"}),
        ("other", {"search_token": token}),
    ):
        reply = site.cdr(key, per_page=5, **params)
        assert (400, "urn:calldex:error:bad_token") == (reply.status_code, reply.json()["type"])


# --- entity tags and codings ------------------------------------------------------------------------------------------


def test_an_unchanged_page_is_not_sent_again(empty: Site, site: Site) -> None:
    """The tag of a page brings 304 without a body until a record comes; then the page has another tag."""
    write(empty.node, "main", site.main)
    first = empty.cdr()
    tag = first.headers["etag"]
    for sent in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = empty.cdr(headers={"If-None-Match": sent})
        assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"])
    assert "private, no-cache" == first.headers["cache-control"]
    write(empty.node, "main", site.other[:1])
    changed = empty.cdr(headers={"If-None-Match": tag})
    assert 200 == changed.status_code
    assert tag != changed.headers["etag"]


def test_equal_searches_get_equal_bytes(site: Site) -> None:
    """A strong tag keeps its promise: the same tag, the same bytes, and the token among them."""
    first, second = site.cdr(per_page=5), site.cdr(per_page=5)
    assert (first.headers["etag"], first.content) == (second.headers["etag"], second.content)


def test_every_reply_has_a_tag_of_its_own(site: Site) -> None:
    """What differs in search, page, size, coding or account differs in its tag."""
    token = site.cdr(per_page=5).json()["search_token"]
    replies = [
        site.cdr(),
        site.cdr("other"),
        site.cdr(per_page=5),
        site.cdr(per_page=5, page=2),
        site.cdr(per_page=5, search_token=token),
        site.cdr(per_page=5, page=2, search_token=token),
        site.cdr(type="inbound"),
        site.cdr(headers={"Accept-Encoding": "gzip"}),
        site.cdr(headers={"Accept-Encoding": "zstd"}),
    ]
    assert len(replies) == len({reply.headers["etag"] for reply in replies})


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_page_is_compressed_on_demand(site: Site, coding: str) -> None:
    """A client that accepts a coding gets the same page in fewer bytes."""
    plain = site.cdr()
    coded = site.cdr(headers={"Accept-Encoding": coding})
    assert coding == coded.headers["content-encoding"]
    assert int(coded.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert plain.json() == coded.json()
    assert "Accept-Encoding, Authorization, Cookie" == coded.headers["vary"]


def test_a_small_page_is_sent_as_it_is(site: Site) -> None:
    """What compression would not make smaller by much is not compressed."""
    assert "content-encoding" not in site.cdr(cli="000999", headers={"Accept-Encoding": "gzip"}).headers
