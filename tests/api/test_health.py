"""What tells whether a server lives, is ready, and what it did."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import calldex
import calldex.search.reader
from calldex.api.app import public
from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from calldex.store.embedded import COLUMNS_FILE
from tests.api.conftest import Api, Site, people, uuids_of, write


def test_the_root_and_the_process_answer(site: Site) -> None:
    """`HEAD /`, `GET /` and `/healthz` need no key."""
    assert [200, 200, 200] == [
        site.api.request("HEAD", "/").status_code,
        site.api.get("/").status_code,
        site.api.get("/healthz").status_code,
    ]
    assert {"status": "ok"} == site.api.get("/healthz").json()


def test_a_caught_up_store_is_ready(site: Site) -> None:
    """A store that answers searches says so, soon after its start."""
    deadline = time.monotonic() + 30
    while (reply := site.api.get("/readyz")).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 200 == reply.status_code
    assert {"ready": True, "down": [], "left_percent": 0, "reason": None} == reply.json()


@pytest.mark.slow
def test_while_the_columns_are_made_again(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its columns a server is not ready, refuses searches but answers those by uuid; then it is ready and
    answers as before."""
    records = list(interactions(40_000, seed=5))
    settings = Settings(data=tmp_path / "data", threads=1)
    with Node(settings) as node:
        key = people(node)["admin"]
        write(node, "main", records)
        before = Api(public(node), site.api.runner).get("/api/v2/cdr", key, per_page=50).json()
    (settings.data / COLUMNS_FILE).unlink()
    monkeypatch.setattr(calldex.search.reader, "START_S", 0.0)
    with Node(settings) as node:
        api = Api(public(node), site.api.runner)
        unready = api.get("/readyz")
        by_uuid = api.get("/api/v2/cdr", key, uuid=records[0].uuid)
        search = api.get("/api/v2/cdr", key)
        assert not node.store.state().ready, "the columns were made again too fast for this test"
        assert (503, "2") == (unready.status_code, unready.headers["retry-after"])
        assert unready.json()["ready"] is False
        assert 0 < unready.json()["left_percent"] <= 100
        assert {"total", "behind"}.isdisjoint(unready.json()), "who has no key learns how much is written"
        assert unready.json()["reason"] in unready.json()["error"]
        assert [records[0].uuid] == uuids_of(by_uuid)
        assert (503, "urn:calldex:error:store_not_ready") == (search.status_code, search.json()["type"])
        assert "2" == search.headers["retry-after"]
        deadline = time.monotonic() + 30
        while api.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        after = api.get("/api/v2/cdr", key, per_page=50).json()
        assert (before["records"], before["total"]) == (after["records"], after["total"])


def test_a_search_waits_for_a_start(tmp_path: Path, site: Site) -> None:
    """A search that comes as the server starts waits the moment that it takes."""
    with Node(Settings(data=tmp_path / "data", threads=1)) as node:
        key = people(node)["admin"]
        assert 200 == Api(public(node), site.api.runner).get("/api/v2/cdr", key).status_code


def test_what_happens_is_counted(empty: Site, site: Site) -> None:
    """Requests by route and status, records served, records posted by outcome, and refusals are counted."""
    write(empty.node, "main", site.main)
    empty.cdr(per_page=7)
    empty.cdr(page=0)
    empty.api.get("/nothing/of/this/kind")
    good = {
        "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        "type": "inbound",
        "disposition": "answered",
        "timestamp": "2026-01-31T08:00:00Z",
        "duration": "00:01:00",
    }
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}"}
    empty.api.request("POST", "/api/ingest/v1/records", json=[good, {}], headers=headers)
    text = empty.api.get("/metrics").text
    for line in (
        'calldex_requests_total{method="GET",route="/api/v2/cdr",status="200"} 1.0',
        'calldex_requests_total{method="GET",route="/api/v2/cdr",status="400"} 1.0',
        'calldex_requests_total{method="GET",route="unknown",status="404"} 1.0',
        'calldex_request_seconds_count{route="/api/v2/cdr"} 2.0',
        "calldex_records_served_total 7.0",
        'calldex_records_ingested_total{outcome="accepted"} 1.0',
        'calldex_records_ingested_total{outcome="rejected"} 1.0',
        'calldex_refused_total{code="bad_parameters"} 1.0',
        "calldex_records 121.0",
        "calldex_quarantine 0.0",
        "calldex_certificate_end_timestamp_seconds 0.0",
        f'calldex_build_info{{version="{calldex.__version__}"}} 1.0',
        "calldex_columns_behind 0.0",
        "calldex_ready 1.0",
        'calldex_busy{kind="search",state="running"} 0.0',
    ):
        assert line in text.splitlines()
    assert empty.keys["admin"][:8] not in text


def test_what_files_bring_is_counted(empty: Site) -> None:
    """Imports count as posts do, by outcome, with what lies in quarantine, and when each source last delivered."""
    node = empty.node
    node.directory.add_source("pbx", "asterisk", {"zone": "UTC"})
    rows = b"1780000000|c-1|support|NONE|ENTERQUEUE||1|1\n1780000009|c-1|support|NONE|ABANDON|1|1|9\nnonsense\n"
    node.ingest.run(node.feed("pbx", None), [rows], "queue_log")
    measures = dict(line.rsplit(" ", 1) for line in empty.api.get("/metrics").text.splitlines() if line[0] != "#")
    assert "1.0" == measures['calldex_records_ingested_total{outcome="accepted"}']
    assert "1.0" == measures['calldex_records_ingested_total{outcome="rejected"}']
    assert "1.0" == measures["calldex_quarantine"]
    assert abs(time.time() - float(measures['calldex_source_last_ingest_timestamp_seconds{source="pbx"}'])) < 600
    lag = float(measures['calldex_source_lag_seconds{source="pbx"}'])
    assert abs(time.time() - 1_780_000_000 - lag) < 600
    assert 0 < float(measures["calldex_disk_free_bytes"]) <= float(measures["calldex_disk_bytes"])
    assert float(measures["process_cpu_seconds_total"]) > 0


def test_measures_are_for_their_networks(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """From elsewhere, and by a proxy that is not trusted to say from where, they are refused."""
    assert 200 == empty.api.get("/metrics").status_code
    for header in ("X-Forwarded-For", "Forwarded"):
        assert 403 == empty.api.get("/metrics", headers={header: "127.0.0.1"}).status_code
    monkeypatch.setattr(Api, "address", "198.51.100.7")
    refused = empty.api.get("/metrics")
    assert (403, True) == (refused.status_code, "metrics_networks" in refused.json()["error"])
    assert 200 == empty.api.get("/healthz").status_code


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("447700900412", False),
        ("call-4477-0090-0412", False),
        ("req-42", True),
        ("01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44", True),
        ("4bf92f3577b34da6a3ce929d0e0e4736", True),
    ],
)
def test_no_number_gets_into_the_log_by_a_request_id(empty: Site, given: str, kept: bool) -> None:
    """One that could be a telephone number is replaced, as a key is; uuids and trace ids stay."""
    assert kept == (given == empty.api.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"])
