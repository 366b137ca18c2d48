"""Teams over HTTP: added, listed, changed, removed and imported."""

from __future__ import annotations

import pytest

from calldex.records.record import stable_id
from tests.api.admin.conftest import Office

CSV = {"Content-Type": "text/csv"}


def test_a_team_is_added_shown_changed_and_removed(office: Office) -> None:
    """Each reply is the new state; a list replaces the one before, and what is not sent stays."""
    for name in ("ana", "bob"):
        office.person(name, "agent")
    ana, bob = "ana@main.example.com", "bob@main.example.com"
    new = {"name": "North", "id": 10, "queues": [3, 2], "agents": [ana.upper()], "supervisors": [bob]}
    added = office.done("POST", "/teams", json=new)
    assert {"id": 10, "name": "North", "queues": [2, 3], "agents": [ana], "supervisors": [bob]} == added
    changed = office.done("PATCH", "/teams/10", json={"name": "South", "queues": [], "agents": [ana, bob]})
    assert {**added, "name": "South", "queues": [], "agents": [ana, bob]} == changed
    assert changed == office.done("GET", "/teams/10")
    assert {"items": [changed], "total": 1} == office.done("GET", "/teams")
    assert [10] == office.done("GET", "/users", params={"name": "ana"})["items"][0]["teams"]
    assert None is office.done("DELETE", "/teams/10")
    assert (404, "there is no team 10") == office.refused("GET", "/teams/10")
    assert [] == office.done("GET", "/users", params={"name": "ana"})["items"][0]["teams"]


def test_a_team_without_an_id_gets_one(office: Office) -> None:
    """It is the one that records give a team of its name whose source has no ids."""
    assert stable_id("team", "North") == office.done("POST", "/teams", json={"name": "North"})["id"]


def test_a_team_is_there_once(office: Office) -> None:
    """Neither its id nor its name can be another's."""
    office.done("POST", "/teams", json={"name": "North", "id": 10})
    office.done("POST", "/teams", json={"name": "South", "id": 11})
    for method, path, body in (
        ("POST", "/teams", {"name": "West", "id": 10}),
        ("POST", "/teams", {"name": "North", "id": 12}),
        ("PATCH", "/teams/11", {"name": "North"}),
    ):
        assert 409 == office.ask(method, path, json=body).status_code
    assert ["North", "South"] == [team["name"] for team in office.done("GET", "/teams")["items"]]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"name"}),
        ({"name": "\n"}, {"name"}),
        ({"name": "North", "id": 0}, {"id"}),
        ({"name": "North", "queues": [0]}, {"queues"}),
        ({"name": "North", "queues": list(range(1, 1002))}, {"queues"}),
        ({"name": "North", "agents": ["nobody@example.com"]}, {"agents"}),
        ({"name": "North", "supervisors": ["stranger@other.example.com"]}, {"supervisors"}),
    ],
)
def test_what_is_wrong_is_named(standing: Office, body: dict[str, object], wrong: set[str]) -> None:
    """Every member that is wrong is told; somebody of another account is nobody; no team is added."""
    assert wrong == standing.wrong("POST", "/teams", json=body)
    assert 0 == standing.done("GET", "/teams")["total"]


def test_teams_are_imported(office: Office) -> None:
    """A file adds and changes teams, all of them or none."""
    office.done("POST", "/teams", json={"name": "North", "id": 10})
    text = "name,id,supervisors\nNorth,10,boss@main.example.com\nSouth,11,\n"
    reply = office.done("POST", "/teams/import", content=text, headers=CSV)
    assert {"added": 1, "changed": 1, "unchanged": 0} == reply
    assert ["boss@main.example.com"] == office.done("GET", "/teams/10")["supervisors"]
    text = "name,supervisors\nWest,\nEast,nobody@example.com\n"
    assert {"line 3"} == office.wrong("POST", "/teams/import", content=text, headers=CSV)
    assert 2 == office.done("GET", "/teams")["total"]
