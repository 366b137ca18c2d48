"""Who gets what: keys, roles, and two accounts that never see a byte of each other."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from calldex.records import codec
from calldex.records.fields import FILTERS
from calldex.records.record import Cdr
from tests.api.conftest import Site
from tests.examples import examples

READING = (
    "/api/v2/cdr",
    "/api/v2/cdr/agents",
    "/api/v2/cdr/queues",
    "/api/v2/cdr/campaigns",
    "/api/v2/cdr/teams",
    "/api/v2/cdr/wrapup_codes",
    "/api/v3/cdr/users",
)
INGEST = "/api/ingest/v1/records"
DELETIONS = "/api/ingest/v1/deletions"


def test_a_key_travels_in_three_ways(site: Site) -> None:
    """A key is read from the parameter, the header, or the body; the same one in two places is one key."""
    key = site.keys["admin"]
    ways: list[dict[str, object]] = [
        {"params": {"key": key}},
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"headers": {"Authorization": f"bearer  {key}"}, "params": {"key": key}},
        {"content": json.dumps({"key": key}), "headers": {"Content-Type": "application/json"}},
    ]
    assert [200] * 4 == [site.api.request("GET", "/api/v2/cdr", **way).status_code for way in ways]


def test_two_keys_are_refused(site: Site) -> None:
    """Two different keys in one request are refused, even if both are valid."""
    for second in (site.keys["other"], "cdx_wrong"):
        reply = site.api.get(f"/api/v2/cdr?key={second}", site.keys["admin"])
        assert (400, "key") == (reply.status_code, reply.json()["problems"][0]["parameter"])


def test_a_key_is_given_once(site: Site) -> None:
    """The parameter twice is refused as every repeated one is, be it the same key, or empty; the header as well."""
    key = site.keys["admin"]
    for query in (f"key={key}&key={key}", f"key={key}&key="):
        reply = site.api.get(f"/api/v2/cdr?{query}")
        assert (400, "given more than once") == (reply.status_code, reply.json()["problems"][0]["message"])
    body = {"Content-Type": "application/json"}
    reply = site.api.request("GET", f"/api/v2/cdr?key={key}", content=json.dumps({"key": key}), headers=body)
    assert 400 == reply.status_code
    for other in (key, site.keys["other"]):
        twice = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {other}")]
        assert 400 == site.api.request("GET", "/api/v2/cdr", headers=twice).status_code


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize("sent", [None, "", "cdx_wrong", "x" * 5000, "\u00e9"])
def test_without_a_valid_key_nothing_is_told(site: Site, path: str, sent: str | None) -> None:
    """Without a valid key every route answers the words of the contract, before it looks at anything else."""
    params = {"nonsense": "1"} if sent is None else {"nonsense": "1", "key": sent}
    reply = site.api.request("GET", path, params=params)
    assert (401, "Invalid User API Key") == (reply.status_code, reply.json()["error"])
    assert "Bearer" == reply.headers["www-authenticate"]


def test_a_revoked_key_is_no_key(empty: Site) -> None:
    """A key stops working when it is revoked, and so do the keys of a disabled user."""
    assert [200, 200] == [empty.cdr(key).status_code for key in ("admin", "analyst")]
    empty.node.directory.revoke_key(empty.keys["admin"])
    empty.node.directory.disable_user("analyst@main.example.com")
    assert [401, 401] == [empty.cdr(key).status_code for key in ("admin", "analyst")]


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize(
    ("key", "status", "reason"),
    [
        ("analyst", 200, ""),
        ("supervisor", 200, ""),
        ("phone", 403, "none of your groups grants see_cdrs"),
        ("ingest", 403, "this key is for ingest only"),
    ],
)
def test_who_sees_no_records_is_told_why(site: Site, path: str, key: str, status: int, reason: str) -> None:
    """Who may not see records is refused with the reason, on every route that reads."""
    reply = site.api.get(path, site.keys[key])
    assert status == reply.status_code
    assert reason in reply.text


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("admin", "this key is for read only"),
        ("agent_ingest", "none of your groups grants ingest"),
    ],
)
def test_only_an_ingest_key_of_an_admin_writes(site: Site, key: str, reason: str) -> None:
    """Who may not write is refused with the reason, and may delete nothing either."""
    headers = {"Authorization": f"Bearer {site.keys[key]}", "Content-Type": "application/json"}
    for path, body in ((INGEST, b"[]"), (DELETIONS, b'{"uuids": []}')):
        reply = site.api.request("POST", path, content=body, headers=headers)
        assert 403 == reply.status_code
        assert reason in reply.json()["error"]


def test_use_of_a_key_is_noted(empty: Site) -> None:
    """The last-used time of a key is written by the housekeeping."""
    empty.cdr()
    empty.node.housekeeping()
    used = {k.email: k.last_used_at for k in empty.node.directory.list_keys()}
    assert used["admin@main.example.com"] is not None
    assert used["analyst@main.example.com"] is None


def test_a_key_is_never_repeated(site: Site) -> None:
    """Wherever a key stands in a request, neither the reply nor the log has it."""
    key = site.keys["admin"]
    bearer = {"Authorization": f"Bearer {key}"}
    requests: list[tuple[str, str, dict[str, object]]] = [
        ("GET", f"/api/v2/cdr?key={key}&per_page=1", {}),
        ("GET", f"/api/v2/cdr?key={key}&key={key}x", {}),
        ("GET", f"/api/v2/cdr?kye={key}", {"headers": bearer}),
        ("GET", f"/api/v2/cdr?{key}=1", {"headers": bearer}),
        ("GET", f"/api/v2/cdr?search_token={key}&disposition={key}&uuid={key},{key}", {"headers": bearer}),
        ("GET", f"/api/v2/cdr/agents?apikey={key}", {"headers": bearer}),
        ("GET", f"/api/v2/cdr/?key={key}", {}),
        ("GET", f"/api/v2/cdr/{key}", {}),
        ("PUT", f"/api/v2/cdr?key={key}", {}),
        ("POST", f"{INGEST}?key={key}", {"headers": {"Idempotency-Key": key, "Content-Type": key}}),
        ("GET", "/api/v2/cdr", {"content": f'{{"key":"{key}","x":["{key}"]}}', "headers": bearer}),
    ]
    with capture_logs() as logs:
        replies = [site.api.request(method, url, **arguments) for method, url, arguments in requests]
    assert len(requests) == len([line for line in logs if line["event"] == "request"])
    for told in [*(f"{reply.headers} {reply.text}" for reply in replies), *map(str, logs)]:
        assert key not in told


# --- two accounts -----------------------------------------------------------------------------------------------------


def names_of(records: list[Cdr], other: list[Cdr]) -> set[str]:
    """What tells one account's records from the other's: uuids and numbers that the other's have nowhere."""
    known = str([codec.encode(record) for record in other])
    names = {name for record in records for name in (record.uuid, record.from_, record.to) if name and len(name) > 8}
    return {name for name in names if name not in known}


def requests(site: Site) -> st.SearchStrategy[tuple[str, dict[str, str]]]:
    """Requests with parameters that fit records of either account."""
    both = [*site.main, *site.other]
    values: dict[str, st.SearchStrategy[str]] = {
        "uuid": st.lists(st.sampled_from([r.uuid for r in both]), min_size=1, max_size=20).map(",".join),
        "cli": st.sampled_from(["4", "44", "1", *(r.from_ for r in both if r.from_)]),
        "agent_ids": st.sampled_from([str(r.agent_id) for r in both if r.agent_id]),
        "type": st.sampled_from(["inbound", "inbound,outbound,dialer"]),
        "per_page": st.sampled_from(["1", "7", "1000", "10000"]),
        "page": st.sampled_from(["1", "2", "5"]),
        "start_date": st.just("2000-01-01"),
        "timezone": st.just("Asia/Tokyo"),
        "search_token": st.sampled_from(
            [site.cdr(key, per_page=size).json()["search_token"] or "" for key in ("admin", "other") for size in (1, 7)]
        ),
    }
    cdr = st.fixed_dictionaries({}, optional=values).map(lambda params: ("/api/v2/cdr", params))
    return st.one_of(cdr, cdr, st.sampled_from(READING[1:]).map(lambda path: (path, {})))


def test_accounts_never_see_each_other(site: Site) -> None:
    """Whatever is asked, no byte of a reply names a record of the other account, and no total counts one."""
    foreign = {
        "admin": names_of(site.other, site.main),
        "other": names_of(site.main, site.other),
    }
    own = {"admin": len(site.main), "other": len(site.other)}
    assert min(len(names) for names in foreign.values()) > 40

    @settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
    @given(key=st.sampled_from(["admin", "other"]), request=requests(site))
    @example(key="other", request=("/api/v2/cdr", {"uuid": ",".join(r.uuid for r in site.main)}))
    @example(key="admin", request=("/api/v2/cdr", {"per_page": "10000"}))
    def nothing_crosses(key: str, request: tuple[str, dict[str, str]]) -> None:
        path, params = request
        reply: httpx.Response = site.api.get(path, site.keys[key], None, **params)
        assert reply.status_code in (200, 400)
        if path == "/api/v2/cdr" and reply.status_code == 200:
            assert reply.json()["total"] <= own[key]
            served = {record["uuid"] for record in reply.json()["records"]}
            assert not served & foreign[key]
        echoed = set(params.get("uuid", "").split(",")) | {params.get("cli")}
        assert not [name for name in foreign[key] - echoed if name in reply.text]

    nothing_crosses()


def test_every_filter_stays_in_the_account(site: Site) -> None:
    """A filter that fits a record of the other account finds none of it."""
    theirs = site.main[0]
    assert {"records": [], "total": 0, "page": 1, "search_token": None} == site.cdr("other", uuid=theirs.uuid).json()
    assert "uuid" in {filter_.name for filter_ in FILTERS}
