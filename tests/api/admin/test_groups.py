"""Access groups over HTTP: listed with the system's, added, changed and removed."""

from __future__ import annotations

import pytest

from calldex.access import ROLES
from tests.api.admin.conftest import Office


def test_the_systems_groups_come_first(office: Office) -> None:
    """They are the roles, with who has them, marked, and without an id by which they could be changed."""
    groups = office.done("GET", "/groups")["items"]
    system = [group for group in groups if group["system"]]
    assert groups[: len(ROLES)] == system
    assert [group.name for group in ROLES.values()] == [group["name"] for group in system]
    assert {None} == {group["id"] for group in system}
    assert "boss@main.example.com" in system[0]["members"]
    assert ["clerks", "keepers", "leads"] == [group["name"] for group in groups[len(ROLES) :]]


def test_a_group_is_added_shown_changed_and_removed(office: Office) -> None:
    """Each reply is the new state; what is not sent stays."""
    reach = {"teams": [10], "own": True}
    added = office.done("POST", "/groups", json={"name": "North", "permissions": ["see_cdrs"], "reach": reach})
    id_ = added["id"]
    assert ("North", ["see_cdrs"], reach, [], False) == tuple(
        added[name] for name in ("name", "permissions", "reach", "members", "system")
    )
    changed = office.done("PATCH", f"/groups/{id_}", json={"permissions": ["see_cdrs", "listen"], "reach": {}})
    assert {"listen", "see_cdrs"} == set(changed["permissions"])
    assert ("North", {}) == (changed["name"], changed["reach"])
    assert changed == office.done("GET", f"/groups/{id_}")
    assert None is office.done("DELETE", f"/groups/{id_}")
    assert (404, f"there is no group {id_}") == office.refused("GET", f"/groups/{id_}")


def test_a_change_counts_at_once(office: Office) -> None:
    """Who is in a group may with their next request what it grants now, and no more what it granted."""
    [clerks] = [group for group in office.done("GET", "/groups")["items"] if group["name"] == "clerks"]
    assert 403 == office.ask("GET", "/groups", "clerk").status_code
    office.done("PATCH", f"/groups/{clerks['id']}", json={"permissions": ["manage_access"]})
    assert 200 == office.ask("GET", "/groups", "clerk").status_code
    office.done("DELETE", f"/groups/{clerks['id']}")
    assert 403 == office.ask("GET", "/groups", "clerk").status_code


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"name"}),
        ({"name": "Admin"}, {"name"}),
        ({"name": "a,b"}, {"name"}),
        ({"name": "North", "permissions": ["fly"]}, {"permissions"}),
        ({"name": "North", "reach": {"tems": [1]}}, {"reach"}),
        ({"name": "North", "reach": {"teams": [0]}}, {"reach.teams"}),
        ({"name": "North", "reach": {"teams": "1"}}, {"reach.teams"}),
        ({"name": "North", "reach": {"agents": list(range(1, 1002))}}, {"reach.agents"}),
        ({"name": "North", "members": []}, {"members"}),
    ],
)
def test_what_is_wrong_is_named(standing: Office, body: dict[str, object], wrong: set[str]) -> None:
    """Every member that is wrong is told, and no group is added."""
    before = standing.done("GET", "/groups")["total"]
    assert wrong == standing.wrong("POST", "/groups", json=body)
    assert before == standing.done("GET", "/groups")["total"]


def test_a_name_is_one_groups(office: Office) -> None:
    """In any letter case."""
    assert 409 == office.ask("POST", "/groups", json={"name": "Clerks"}).status_code
