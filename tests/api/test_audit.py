"""The audit over HTTP: everything that is answered is in it, who may read it, and as what."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.api.audit import MOST, csv_of
from calldex.audit.chain import Action, Actor, Entry, entry
from calldex.directory import AuditFilter
from calldex.errors import DiskFull, Unavailable
from calldex.records.record import to_ms
from tests.api.conftest import Site, write
from tests.api.test_ingest import GOOD
from tests.examples import examples

PATH = "/api/admin/v1/audit"
INGEST = "/api/ingest/v1/records"


@pytest.fixture
def audited(empty: Site, site: Site) -> Site:
    """A site with records, whose admin has a key for managing."""
    write(empty.node, "main", site.main)
    empty.main = site.main
    empty.keys["manage"] = empty.node.directory.create_key("admin@main.example.com", ("manage",))
    return empty


def entries(site: Site) -> list[Entry]:
    """What is in the audit, oldest first."""
    return site.node.directory.audit_entries(None, AuditFilter(), 10_000)[::-1]


def told(site: Site, **expected: Any) -> Entry:
    """The last entry, which has these members."""
    last = entries(site)[-1]
    assert expected == {name: getattr(last, name) for name in expected}
    return last


def post(site: Site, key: str, body: bytes, **headers: str) -> httpx.Response:
    """Send records in."""
    sent = {"Authorization": f"Bearer {site.keys[key]}", "Content-Type": "application/json", **headers}
    return site.api.request("POST", INGEST, content=body, headers=sent)


def read(site: Site, key: str = "manage", headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
    """Read the audit."""
    return site.api.get(PATH, site.keys[key], headers, **params)


# --- what is noted ----------------------------------------------------------------------------------------------------


def test_a_search_is_noted(audited: Site) -> None:
    """Who, with which key, from where, under which request id, for what, and how many records they got."""
    reply = audited.cdr("analyst", {"X-Request-Id": "r-1"}, cli="44", type="inbound", per_page=7)
    noted = told(
        audited,
        actor="analyst@main.example.com",
        account_id=1,
        user_id=2,
        credential=audited.keys["analyst"][:8],
        request_id="r-1",
        action="search",
        detail={"cli": "2 digits", "type": "inbound", "per_page": "7"},
        rows=len(reply.json()["records"]),
        status=200,
    )
    assert "127." == noted.address[:4]
    assert 1 == len(entries(audited)) == noted.n


def test_a_search_that_is_not_answered_with_records_is_noted(audited: Site) -> None:
    """One whose page the client has already, and one that is forbidden, with the reason and without its numbers."""
    tag = audited.cdr().headers["etag"]
    assert 304 == audited.cdr(headers={"If-None-Match": tag}).status_code
    told(audited, action="search", status=304, rows=0)
    assert 403 == audited.cdr("ingest", cli="447700900412").status_code
    noted = told(audited, action="search", status=403, rows=0)
    assert "12 digits" == noted.detail["cli"]
    assert "for ingest only" in str(noted.detail["refused"])


def test_a_forbidden_filter_is_noted(audited: Site) -> None:
    """By its name, and not with the number."""
    directory = audited.node.directory
    user = directory.user("analyst@main.example.com")
    with directory._db.write(access=True) as connection:  # noqa: SLF001 - a group whose members see no full numbers
        connection.exec_driver_sql(
            "INSERT INTO groups (id, account_id, name, permissions, reach, created_at)"
            """ VALUES (1, 1, 'masked', '["see_cdrs"]', '{"whole": true}', 0)"""
        )
        connection.exec_driver_sql(f"INSERT INTO group_members VALUES (1, {user.id})")
        connection.exec_driver_sql(f"UPDATE users SET role = NULL WHERE id = {user.id}")
    assert 403 == audited.cdr("analyst", wildcard_cli="7700900412").status_code
    noted = told(audited, status=403, rows=0)
    assert "see_numbers" in str(noted.detail["refused"])
    assert "7700900412" not in str(noted)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v2/cdr/agents", "agents"),
        ("/api/v2/cdr/wrapup_codes", "wrapup_codes"),
        ("/api/v3/cdr/users", "users"),
    ],
)
def test_a_look_up_is_noted(audited: Site, path: str, target: str) -> None:
    """What was looked up, and how many entries it had; forbidden ones as well."""
    rows = len(audited.api.get(path, audited.keys["admin"]).json())
    told(audited, action="look_up", target=target, rows=rows, status=200)
    audited.api.get(path, audited.keys["ingest"])
    told(audited, action="look_up", target=target, rows=0, status=403)


def test_the_words_of_a_look_up_are_not_noted(audited: Site) -> None:
    """Only that they were given."""
    audited.api.get("/api/v3/cdr/users", audited.keys["admin"], None, name="Analyst", caller_id="447700900412")
    told(audited, detail={"name": "7 characters", "caller_id": "12 digits"})


def test_what_is_posted_is_noted(audited: Site) -> None:
    """How many records of each outcome; the same once more for a request that was carried out before."""
    body = msgspec.json.encode([GOOD, {**GOOD, "type": "carrier pigeon"}, GOOD])
    for _ in range(2):
        post(audited, "ingest", body, **{"Idempotency-Key": "one"})
        counts = {"accepted": 1, "updated": 0, "unchanged": 1, "rejected": 1}
        told(audited, action="ingest", rows=1, detail=counts, status=200)
    post(audited, "admin", body)
    told(audited, action="ingest", rows=0, status=403)


def test_what_did_nothing_is_not_noted(audited: Site) -> None:
    """A request that is not understood, has no key, or finds nothing at its address."""
    audited.cdr(nonsense="1")
    audited.api.get("/api/v2/cdr", "cdx_wrong")
    audited.api.get("/api/v2/nothing", audited.keys["admin"])
    post(audited, "ingest", b"{")
    assert [] == entries(audited)


def test_no_number_and_no_key_is_noted(audited: Site) -> None:
    """Whatever is searched for by number, no entry has one that is in a record, nor any key."""
    numbers = sorted({text for cdr in audited.main for text in (cdr.from_, cdr.to) if text and len(text) > 6})
    keys = [*audited.keys.values(), "cdx_stray"]
    names = ["cli", "number", "from", "to", "wildcard_cli", "wildcard_number", "type", "uuid", "nonsense", "start_date"]

    @settings(max_examples=examples(100), deadline=None)
    @given(
        params=st.dictionaries(st.sampled_from(names), st.sampled_from([*numbers, *keys]), min_size=1, max_size=3),
        key=st.sampled_from(["admin", "ingest"]),
    )
    def holds(params: dict[str, Any], key: str) -> None:
        before = len(entries(audited))
        status = audited.cdr(key, **params).status_code
        written = entries(audited)[before:]
        assert (status in (200, 403)) == len(written)
        assert not [text for text in (*numbers, *keys) if text in str([msgspec.json.encode(each) for each in written])]

    holds()


# --- when it cannot be noted ------------------------------------------------------------------------------------------

ASKED: list[Callable[[Site], httpx.Response]] = [
    lambda site: site.cdr(),
    lambda site: site.cdr("ingest"),
    lambda site: site.api.get("/api/v2/cdr/agents", site.keys["admin"]),
    lambda site: post(site, "ingest", b"[]"),
    read,
]


@pytest.mark.parametrize("error", [DiskFull("no room"), Unavailable("locked")])
def test_nobody_acts_unseen(audited: Site, monkeypatch: pytest.MonkeyPatch, error: Unavailable) -> None:
    """What cannot be noted is refused with 503, in the one shape, and has nothing of the answer."""

    def failing(*_: object) -> None:
        raise error

    for asked in ASKED:
        with monkeypatch.context() as patched:
            patched.setattr(audited.node.audit._writer, "append", failing)  # noqa: SLF001 - what fails
            for _ in range(2):
                reply = asked(audited)
                assert (503, f"urn:calldex:error:{error.code}") == (reply.status_code, reply.json()["type"])
                assert "cannot be noted in the audit" in reply.json()["error"]
                assert "retry-after" in reply.headers
        assert asked(audited).status_code in (200, 403)


def test_nothing_is_written_once_the_audit_fails(audited: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first request whose entry could not be written, none changes anything any more."""

    def failing(*_: object) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(audited.node.audit._writer, "append", failing)  # noqa: SLF001 - what fails
        assert 503 == audited.cdr().status_code
        assert 503 == post(audited, "ingest", msgspec.json.encode([GOOD])).status_code
    assert [] == audited.uuids(uuid=GOOD["uuid"])


# --- reading ----------------------------------------------------------------------------------------------------------


def fill(site: Site) -> None:
    """Some entries of both accounts."""
    for number in range(5):
        for account_id, actor in ((1, "ana@example.com"), (2, "bob@example.com")):
            action: Action = "export" if number % 2 else "search"
            site.node.audit.note(entry(Actor(actor=actor, account_id=account_id), action, rows=number, target="x"))


def test_reading(audited: Site) -> None:
    """Newest first, of the own account alone, and reading is noted, with what was asked for."""
    fill(audited)
    reply = read(audited, limit=2)
    assert 200 == reply.status_code
    assert [(9, 4), (7, 3)] == [(each["n"], each["rows"]) for each in reply.json()["items"]]
    assert 7 == reply.json()["before"]
    assert "no-store" == reply.headers["cache-control"]
    told(audited, n=11, action="audit_read", rows=2, detail={"limit": "2"}, actor="admin@main.example.com")
    rest = read(audited, before=7).json()
    assert ([5, 3, 1], None) == ([each["n"] for each in rest["items"]], rest["before"])
    assert "bob" not in reply.text


def test_an_entry_as_it_is_served(audited: Site) -> None:
    """With all of its members, its time as an instant."""
    audited.cdr(type="inbound", per_page=1)
    last = entries(audited)[-1]
    (served,) = read(audited).json()["items"]
    assert {
        "n": 1,
        "at": served["at"],
        "actor": "admin@main.example.com",
        "user_id": 1,
        "credential": audited.keys["admin"][:8],
        "address": last.address,
        "request_id": last.request_id,
        "action": "search",
        "target": "",
        "detail": {"type": "inbound", "per_page": "1"},
        "rows": 1,
        "status": 200,
    } == served
    assert last.at_ms == to_ms(datetime.fromisoformat(served["at"]))


def test_filters(audited: Site) -> None:
    """Each of them, and several together."""
    fill(audited)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"actor": "Ana@example.com", "before": "11"}, 5),
        ({"actor": "bob@example.com"}, 0),
        ({"action": "export"}, 2),
        ({"target": "x", "action": "search"}, 3),
        ({"target": "y"}, 0),
        ({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00+01:00", "before": "11"}, 5),
        ({"from": "2100-01-01T00:00:00Z"}, 0),
        ({"to": "2020-01-01T00:00:00Z"}, 0),
        ({"before": "4"}, 2),
        ({"before": "11", "actor": " "}, 5),
    ]
    assert [expected for _, expected in cases] == [len(read(audited, **params).json()["items"]) for params, _ in cases]


def test_what_is_not_understood_is_refused(audited: Site) -> None:
    """By its name, with what is valid."""
    cases: list[tuple[str, str]] = [
        *(("from", "2020-01-01"), ("from", "5"), ("to", "yesterday"), ("action", "delete"), ("format", "xml")),
        *(("before", "0"), ("before", "x"), ("before", "null"), ("limit", "0"), ("limit", str(MOST + 1))),
        ("nonsense", "1"),
    ]
    for name, value in cases:
        asked: dict[str, Any] = {name: value}
        reply = read(audited, **asked)
        (problem,) = reply.json()["problems"]
        assert (400, name, True) == (reply.status_code, problem["parameter"], bool(problem["valid"]))


@pytest.mark.parametrize(
    ("key", "reason"),
    [("admin", "this key is for read only"), ("analyst", "read_audit"), ("phone", "read_audit")],
)
def test_who_may_not_read_it_is_refused(audited: Site, key: str, reason: str) -> None:
    """With the permission they lack; and that they tried is noted."""
    fill(audited)
    reply = read(audited, key)
    assert (403, True) == (reply.status_code, reason in reply.json()["error"])
    assert "ana@example.com" not in reply.text
    told(audited, action="audit_read", status=403, rows=0)


def test_numbers_are_not_noted_of_a_reading(audited: Site) -> None:
    """Whom one looks for is, if it is an address."""
    read(audited, target="447700900412", actor="ana@example.com")
    told(audited, detail={"target": "12 digits", "actor": "ana@example.com"})


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "accept"), [({"format": "csv"}, "*/*"), ({}, "text/csv"), ({"format": "csv"}, "application/json")]
)
def test_the_same_as_csv(audited: Site, params: dict[str, Any], accept: str) -> None:
    """The same entries, with a line of headings."""
    fill(audited)
    items = read(audited, before=11).json()["items"]
    reply = read(audited, headers={"Accept": accept}, before=11, **params)
    assert "text/csv; charset=utf-8" == reply.headers["content-type"]
    assert 1 == reply.content.count(codecs.BOM_UTF8)
    rows = list(csv.DictReader(io.StringIO(reply.content.decode("utf-8-sig"))))
    assert [*items[0]] == [*rows[0]]
    assert [{name: str(item[name]) for name in ("n", "at", "actor", "rows")} for item in items] == [
        {name: row[name] for name in ("n", "at", "actor", "rows")} for row in rows
    ]
    assert "application/json" == read(audited, headers={"Accept": "text/csv"}, format="json").headers["content-type"]


@given(
    st.text(st.sampled_from("=+-@\t\r\n\"',a1 "), max_size=6), st.sampled_from(["=", "+", "-", "@", "\t", "\r", "a"])
)
def test_no_cell_runs_in_a_spreadsheet(text: str, first: str) -> None:
    """No cell begins with what makes a formula but a number with its sign; what it held is still there behind an
    apostrophe."""
    made = entry(Actor(actor=first + text, address=first + text), "search", target=first + text)
    (row,) = csv.DictReader(io.StringIO(csv_of([made])))
    for name in ("actor", "address", "target"):
        formula = row[name].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not formula or re.fullmatch("[+-][0-9][0-9 ,-]*", row[name])
        assert getattr(made, name) in (row[name], row[name][1:])
