"""`GET /api/v2/cdr/missed`, `callback_state` in lists, files and statistics, and marks, over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from calldex.access import Reach
from calldex.directory import AuditFilter
from calldex.directory.model import GroupChanges
from calldex.records.record import Cdr, canonical, from_ms, time_uuid
from tests.api.conftest import Site, write

MISSED = "/api/v2/cdr/missed"
AT = from_ms(1_790_000_000_000)


def call(minute: int, kind: Any, outcome: Any, number: str | None, **more: Any) -> Cdr:
    """A call with somebody outside."""
    ours, number = "442079460018", number or None
    sides: dict[str, Any] = {"from_": number, "to": ours} if kind == "inbound" else {"from_": ours, "to": number}
    return canonical(
        Cdr(
            uuid=time_uuid(minute, str(kind), str(number)),
            type=kind,
            disposition=outcome,
            started_at=AT + timedelta(minutes=minute),
            duration_s=5,
            **sides,
            **more,
        )
    )


RECORDS = [
    call(0, "inbound", "abandoned", "447700900412", queue="Sales"),
    call(2, "inbound", "missed", "447700900412", queue="Sales"),
    call(9, "outbound", "answered", "447700900412", agent="Ana"),
    call(20, "inbound", "missed", "447700900412", queue="Billing"),
    call(21, "inbound", "missed", "447700900599"),
    call(30, "inbound", "answered", "447700900599", agent="Ben"),
    call(40, "inbound", "missed", None),
    call(41, "inbound", "missed", "anonymous"),
    call(50, "inbound", "active", "447700900999"),
    call(51, "outbound", "no_answer", "447700900412"),
]


@pytest.fixture(scope="module")
def centre(shared: Site) -> Site:
    """A site with these calls."""
    write(shared.node, "main", RECORDS)
    return shared


def listed(site: Site, key: str = "admin", **asked: Any) -> list[dict[str, Any]]:
    """The callers of a page."""
    reply = site.api.get(MISSED, site.keys[key], **asked)
    assert 200 == reply.status_code, reply.text
    found: list[dict[str, Any]] = reply.json()["missed"]
    return found


def test_callers_are_lines(centre: Site) -> None:
    """Two attempts that were returned are one line; what came later is another; who withheld theirs is nobody's."""
    lines = [(one["from"], one["state"], one["attempts"], one["queue"]) for one in listed(centre)]
    assert lines == [
        (None, "open", 1, None),
        (None, "open", 1, None),
        ("447700900599", "answered_later", 1, None),
        ("447700900412", "open", 1, "Billing"),
        ("447700900412", "returned", 2, "Sales"),
    ]
    returned = listed(centre, callback_state="returned")[0]
    assert 540 == returned["time_to_return_s"]
    assert "Ana" == returned["answer"]["agent"]
    first, last = (datetime.fromisoformat(returned[name]) for name in ("first_missed_at", "last_missed_at"))
    assert (AT, AT + timedelta(minutes=2)) == (first, last)
    assert [RECORDS[1].uuid, RECORDS[0].uuid] == returned["uuids"]
    assert [] == listed(centre, "other")
    assert 403 == centre.api.get(MISSED, centre.keys["phone"]).status_code


def test_hours_and_filters(centre: Site) -> None:
    """Other filters choose the missed calls; the hours say what counts as returned."""
    assert {"Sales"} == {one["queue"] for one in listed(centre, withheld="no", disposition="abandoned")}
    reply = centre.api.get(MISSED, centre.keys["admin"], callback_hours="1", withheld="no").json()
    assert (3, 1) == (reply["total"], reply["callback_hours"])
    refusals: tuple[tuple[dict[str, Any], str], ...] = (
        ({"callback_hours": "0"}, "1 to 720"),
        ({"callback_state": "opened"}, "did you mean 'open'"),
        ({"per_page": "501"}, "500"),
        ({"marked": "maybe"}, "yes"),
    )
    for asked, told in refusals:
        refused = centre.api.get(MISSED, centre.keys["admin"], **asked)
        assert (400, True) == (refused.status_code, told in refused.text), refused.text


def test_pages(centre: Site) -> None:
    """By its tokens, which are not those of the list."""
    whole = listed(centre)
    found: list[dict[str, Any]] = []
    token: str | None = ""
    while token is not None:
        reply = centre.api.get(MISSED, centre.keys["admin"], per_page=2, search_token=token).json()
        assert 5 == reply["total"]
        found, token = found + reply["missed"], reply["search_token"]
    assert whole == found
    token = centre.api.get(MISSED, centre.keys["admin"], per_page=2).json()["search_token"]
    assert 400 == centre.cdr(search_token=token).status_code
    assert 400 == centre.api.get(MISSED, centre.keys["admin"], search_token=token, marked="no").status_code


def test_lists_files_and_statistics_agree(centre: Site) -> None:
    """The filter means the same in each; the feed refuses it and says why."""
    for state in ("open", "returned", "answered_later"):
        uuids = [uuid for one in listed(centre, callback_state=state) for uuid in one["uuids"]]
        assert sorted(uuids) == sorted(centre.uuids(callback_state=state))
        file = centre.api.get("/api/v2/cdr/export", centre.keys["admin"], callback_state=state, format="csv")
        assert len(uuids) == file.text.count("\n") - 1
        stats = centre.api.get("/api/v2/cdr/stats", centre.keys["admin"], callback_state=state, group_by="queue")
        assert len(uuids) == stats.json()["total"]["calls"]
    for path, told in (("changes", "is not available in the change feed"), ("export", "")):
        reply = centre.api.get(f"/api/v2/cdr/{path}", centre.keys["admin"], callback_state="open", callback_hours="2")
        assert (400 if told else 200, True) == (reply.status_code, told in reply.text), reply.text
    assert "has no effect without" in centre.cdr(callback_hours="2").text


def test_marks(centre: Site) -> None:
    """Set and taken away by who may, on missed calls within reach; seen with the caller until they call again."""
    uuid = RECORDS[1].uuid
    path = f"{MISSED}/{uuid}/mark"

    def send(method: str, key: str, to: str = path, **sent: Any) -> Any:
        headers = {"Authorization": f"Bearer {centre.keys[key]}"}
        return centre.api.request(method, to, headers=headers, **sent)

    user = centre.node.directory.add_user("lead@main.example.com", "Lead", "admin")
    centre.keys["lead"] = centre.node.directory.create_key(user.email, ("read", "manage"))
    assert 403 == send("PUT", "admin", json={}).status_code  # a key for reading
    assert 404 == send("PUT", "lead", f"{MISSED}/{time_uuid(1, 'none')}/mark", json={}).status_code
    assert 409 == send("PUT", "lead", f"{MISSED}/{RECORDS[2].uuid}/mark", json={}).status_code
    assert 400 == send("PUT", "lead", json={"note": "x" * 501}).status_code
    marked = send("PUT", "lead", json={"note": "sent a mail"})
    assert (200, "sent a mail", user.email) == (marked.status_code, marked.json()["note"], marked.json()["by"])
    (line,) = [one for one in listed(centre, "analyst") if one["uuid"] == uuid]
    assert (True, marked.json()) == (line["done"], line["mark"])
    assert [uuid] == [one["uuid"] for one in listed(centre, marked="yes")]
    assert uuid not in [one["uuid"] for one in listed(centre, marked="no")]
    assert 4 == len(listed(centre, marked="no"))
    assert (204, 404) == (send("DELETE", "lead").status_code, send("DELETE", "lead").status_code)
    assert [] == listed(centre, marked="yes")
    noted = centre.node.directory.audit_entries(None, AuditFilter(actor=user.email), 10)
    assert [("missed_unmarked", uuid, 204), ("missed_marked", uuid, 200)] == [
        (entry.action, entry.target, entry.status) for entry in noted if entry.status < 400
    ]
    assert "mail" not in str(noted[1].detail)


def test_a_mask_tells_no_number_by_grouping(centre: Site) -> None:
    """Callers are masked as in the list, in an order that is not that of numbers; a note is not told."""
    directory = centre.node.directory
    directory.put_group("main", None, GroupChanges(name="Masked", permissions=("see_cdrs",), reach=Reach(whole=True)))
    user = directory.add_user("masked@main.example.com", "Masked", None, groups=("Masked",))
    centre.keys["masked"] = directory.create_key(user.email, ("read",))
    at = RECORDS[3]
    directory.put_mark(directory.account("main").id, at.uuid, 1_790_000_000_000, "lead@main", "call 447700900412")
    found = listed(centre, "masked")
    assert [one["uuid"] for one in listed(centre)] == [one["uuid"] for one in found]
    assert {None, "44********12", "44********99"} == {one["from"] for one in found}
    assert [None] == [one["mark"]["note"] for one in found if one["mark"]]
    reply = centre.api.get(MISSED, centre.keys["masked"]).text
    assert "7700900" not in reply
    directory.remove_mark(directory.account("main").id, at.uuid)


def test_how_numbers_are_written_is_told_when_it_is_asked_for(centre: Site) -> None:
    """Beside the callers, as beside the records of the list."""
    reply = centre.api.get(MISSED, centre.keys["admin"], numbers="international").json()
    assert "+44 7700 900412" == reply["numbers"]["447700900412"]
    assert "numbers" not in centre.api.get(MISSED, centre.keys["admin"]).json()
