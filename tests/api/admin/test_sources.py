"""`/api/admin/v1/sources`: where the account's records come from."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from calldex.clock import now_ms
from calldex.records import codec
from calldex.records.record import Cdr, canonical, from_ms, time_uuid, to_ms
from calldex.store import Batch, Reject
from tests.api.admin.conftest import Office

HOUR: Final = timedelta(hours=1)


def test_the_accounts_sources_are_listed(office: Office) -> None:
    """Each with what of it could not be read, without its settings; those of another account are not there."""
    office.directory.add_source("pbx", "jsonl", {"recordings": "/srv/secret"})
    office.directory.add_source("theirs", "jsonl", {}, "other")
    account = office.directory.account("main").id
    rejects = [Reject("no type", f"line {n}", b"{%d" % n) for n in range(3)]
    office.site.node.store.write(
        Batch(account_id=account, source="pbx", format="jsonl", origin="x", rejects=rejects), wait=True
    )
    found = office.done("GET", "/sources")
    assert [("pbx", "jsonl", 3)] == [(each["name"], each["format"], each["quarantined"]) for each in found["items"]]
    assert "secret" not in str(found)
    assert 403 == office.ask("GET", "/sources", "reader").status_code


def test_when_a_source_last_delivered_is_told(office: Office) -> None:
    """And how old the newest of its calls is; both outlive the process, and neither goes back."""
    node = office.site.node
    office.directory.add_source("lines", "jsonl", {})
    office.directory.add_source("silent", "jsonl", {})

    def states() -> list[tuple[object, object]]:
        found = office.done("GET", "/sources")["items"]
        return [(each["last_ingest_at"], each["lag_s"]) for each in found if each["name"] in ("lines", "silent")]

    at_ms = now_ms()
    for hours in (2, 5):  # the older call comes later
        call = Cdr(
            uuid=time_uuid(hours),
            type="inbound",
            disposition="missed",
            started_at=from_ms(at_ms) - HOUR * hours,
            duration_s=0,
        )
        node.ingest.run(node.feed("lines", None), [codec.encode(canonical(call)) + b"\n"], "x")
    ((told, lag), silent) = states()
    assert isinstance(lag, int)
    assert 7200 <= lag < 7300
    assert abs(now_ms() - to_ms(datetime.fromisoformat(str(told)))) < 60_000
    assert (None, None) == silent
    assert office.directory.source("lines").last_ingest_at is not None
    office.directory.note_ingests({"lines": (1, 1), "gone": (1, 1)})
    assert (told, True) == (states()[0][0], states()[0][1] in range(lag, lag + 60))
