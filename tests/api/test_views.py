"""Saved views over HTTP: one's own, shared ones, what a mask keeps from a reader, and bounds."""

from __future__ import annotations

from typing import Any

import pytest

from calldex.access import Reach
from calldex.directory import AuditFilter, views
from calldex.directory.model import GroupChanges
from tests.api.conftest import Site

VIEWS = "/api/v2/views"


class Person:
    """Somebody with a key for everything that they may."""

    def __init__(self, site: Site, name: str, role: str | None = None, groups: tuple[str, ...] = ()) -> None:
        self._site = site
        self.email = f"{name}@main.example.com"
        site.node.directory.add_user(self.email, name.title(), role, groups=groups)
        self._key = site.node.directory.create_key(self.email, ("read", "manage"))

    def send(self, method: str, path: str = VIEWS, **body: Any) -> Any:
        """One request."""
        headers = {"Authorization": f"Bearer {self._key}"}
        return self._site.api.request(
            method, path, headers=headers, **({"json": body} if method in "POST PATCH" else {})
        )

    def names(self) -> list[tuple[str, bool]]:
        """The views they see, and whether these are their own."""
        return [(view["name"], view["own"]) for view in self.send("GET").json()["items"]]


@pytest.fixture
def people(empty: Site) -> dict[str, Person]:
    """A supervisor who may share, an analyst who may not, and a reader whose numbers are masked."""
    reach = Reach(whole=True)
    empty.node.directory.put_group("main", None, GroupChanges(name="Masked", permissions=("see_cdrs",), reach=reach))
    return {
        "lead": Person(empty, "lead", "supervisor"),
        "analyst": Person(empty, "ana", "analyst"),
        "masked": Person(empty, "mask", None, ("Masked",)),
        "boss": Person(empty, "boss", "admin"),
    }


def test_views_are_kept_and_shared(empty: Site, people: dict[str, Person]) -> None:
    """One's own are one's own; shared ones everybody sees; only whose they are changes them."""
    lead, ana, boss = people["lead"], people["analyst"], people["boss"]
    made = lead.send("POST", name="Lost", query="type=inbound&disposition=abandoned")
    assert (201, True, False) == (made.status_code, made.json()["own"], made.json()["shared"]), made.text
    path = f"{VIEWS}/{made.json()['id']}"
    assert [] == ana.names()
    assert 404 == ana.send("DELETE", path).status_code
    assert 409 == lead.send("POST", name="Lost", query="").status_code
    changed = lead.send("PATCH", path, shared=True, name="Lost calls")
    assert (200, "type=inbound&disposition=abandoned") == (changed.status_code, changed.json()["query"])
    assert [("Lost calls", False)] == ana.names()
    assert (403, 403) == (ana.send("PATCH", path, name="Mine").status_code, ana.send("DELETE", path).status_code)
    assert 403 == ana.send("POST", name="For all", query="", shared=True).status_code
    assert 201 == ana.send("POST", name="Mine", query="queue_ids=1").status_code
    assert 204 == boss.send("DELETE", path).status_code
    assert ([], [("Mine", True)]) == (lead.names(), ana.names())
    noted = [e.action for e in empty.node.directory.audit_entries(None, AuditFilter(actor=lead.email), 10)]
    assert ["view_changed", "view_added"] == noted
    empty.node.directory.remove_user(ana.email)
    assert [] == empty.node.directory.views(empty.node.directory.account("main").id, 0)


def test_a_shared_view_tells_no_number(people: dict[str, Person]) -> None:
    """Nor what somebody may not filter by; what it is called is masked as a queue is."""
    lead, masked = people["lead"], people["masked"]
    for name, query in (
        ("by part", "cli=447700900412"),
        ("exact", "from=447700900412"),
        ("hidden", "events=hold"),
        ("of the page", "columns=from&looked=%2B447700900412"),
        ("Queue 447700900412", "queue_ids=281474976710655&start_date=2026-01-01"),
        ("withheld", "withheld=yes"),
    ):
        assert 201 == lead.send("POST", name=name, query=query, shared=True).status_code
    assert 6 == len(lead.names())
    assert [("Queue 44********12", False), ("withheld", False)] == masked.names()
    assert 404 == masked.send("DELETE", f"{VIEWS}/1").status_code


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"name": "", "query": ""}, "name"),
        ({"name": "x" * 65, "query": ""}, "name"),
        ({"name": "a", "query": "x" * 4001}, "query"),
        ({"name": "a", "query": "?type=inbound"}, "query string"),
        ({"name": "a", "query": "search_token=abc"}, "search_token"),
        ({"name": "a", "query": "key=abc"}, "key"),
        ({"name": "a", "query": "a=%ff"}, "percent-encoded"),
        ({"name": "a", "query": "&".join("a=1" for _ in range(101))}, "up to 100"),
        ({"name": "a", "query": "", "shared": "yes"}, "shared"),
        ({"name": "a", "query": "", "colour": "red"}, "unknown"),
        ({"name": "a"}, "missing"),
    ],
)
def test_what_is_refused(people: dict[str, Person], body: dict[str, Any], told: str) -> None:
    """With what is valid."""
    reply = people["lead"].send("POST", **body)
    assert (400, True) == (reply.status_code, told in reply.text), reply.text


def test_there_are_only_so_many(people: dict[str, Person], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one user, and shared in an account."""
    monkeypatch.setattr(views, "MOST_OWN", 3)
    monkeypatch.setattr(views, "MOST_SHARED", 2)
    lead = people["lead"]
    sent = [lead.send("POST", name=f"v{n}", query="", shared=n < 3).status_code for n in range(5)]
    assert [201, 201, 409, 201, 409] == sent
    assert 409 == lead.send("PATCH", f"{VIEWS}/3", shared=True).status_code
