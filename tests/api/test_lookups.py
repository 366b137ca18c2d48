"""The look-ups: what is in records appears in them, in the contract's shapes, for the account alone."""

from __future__ import annotations

import pytest

from calldex.access import Reach
from calldex.demo import interactions
from calldex.directory import GroupChanges, TeamChanges
from calldex.records.record import Cdr, Team
from tests.api.conftest import Site, write


def cdr(record: Cdr, **changes: object) -> Cdr:
    """A record that differs in some fields."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return Cdr(**{**fields, **changes})


@pytest.fixture
def named(empty: Site, site: Site) -> Site:
    """A site with one record that names everything."""
    record = cdr(
        site.main[0],
        agent="Ada",
        agent_id=7,
        queue="Sales",
        queue_id=8,
        campaign="Spring",
        campaign_id=9,
        teams=(Team(10, "North"),),
        wrapup_code="0100",
        wrapup_description="0100: Sale",
    )
    write(empty.node, "main", [record])
    return empty


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("agents", [{"id": 7, "name": "Ada"}]),
        ("queues", [{"id": 8, "name": "Sales"}]),
        ("campaigns", [{"id": 9, "name": "Spring"}]),
        ("teams", [{"id": 10, "name": "North"}]),
        ("wrapup_codes", [{"code": "0100", "description": "0100: Sale"}]),
    ],
)
def test_what_records_name_is_listed(named: Site, path: str, expected: list[dict[str, object]]) -> None:
    """Each look-up is a bare array of what the account's records name; another account's is empty."""
    url = f"/api/v2/cdr/{path}"
    if path in ("queues", "campaigns", "wrapup_codes"):
        assert expected == named.api.get(url, named.keys["admin"]).json()
    else:
        assert expected[0] in named.api.get(url, named.keys["admin"]).json()
    assert expected[0] not in named.api.get(url, named.keys["other"]).json()


@pytest.mark.parametrize(
    ("sensitive", "expected"),
    [
        (("wrapup_code", "wrapup_description"), []),
        (("wrapup_code",), []),
        (("wrapup_description",), [{"code": "0100", "description": "0100"}]),
        (("comment",), [{"code": "0100", "description": "0100: Sale"}]),
    ],
)
@pytest.mark.parametrize("reach", [Reach(agents=(7,)), Reach(whole=True)])
def test_what_is_hidden_is_not_listed(
    named: Site, reach: Reach, sensitive: tuple[str, ...], expected: list[dict[str, str]]
) -> None:
    """Who sees no wrap-up codes in records finds none in the look-up, and no description of what they see without."""
    directory = named.node.directory
    directory.put_group("main", None, GroupChanges(name="Blind", permissions=("see_cdrs",), reach=reach))
    key = directory.create_key(directory.add_user("eve@example.com", "Eve", groups=("Blind",)).email)
    directory.set_account("main", sensitive=sensitive)
    assert expected == named.api.get("/api/v2/cdr/wrapup_codes", key).json()
    assert 1 == len(named.api.get("/api/v2/cdr/wrapup_codes", named.keys["admin"]).json())


def test_what_is_masked_in_records_is_masked_in_look_ups(named: Site, site: Site) -> None:
    """Who sees masked numbers sees none in what things are called, nor an order that tells how they compare; who sees
    numbers sees it as it is. A person's extension stays, and no caller id is listed or asked for."""
    number, larger = "447700900412", "447700900512"
    records = [
        cdr(
            site.main[at],
            agent=called,
            agent_id=70 - at,
            queue=f"Line {called}",
            queue_id=80 + at,
            campaign=f"q{called}",
            campaign_id=90 + at,
            wrapup_code=f"0{at}00",
            wrapup_description=f"Sold to {called}",
        )
        for at, called in ((2, number), (3, larger), (4, "20261"))
    ]
    write(named.node, "main", records)
    directory = named.node.directory
    directory.put_group("main", None, GroupChanges(name="Blind", permissions=("see_cdrs",), reach=Reach(whole=True)))
    person = directory.add_user("eve@example.com", "Eve", groups=("Blind",), extension="20261", caller_id=number)
    key = directory.create_key(person.email)
    masked: dict[str, list[tuple[object, str]]] = {
        "agents": [(66, "***61"), (67, "44********12"), (68, "44********12"), (7, "Ada")],
        "queues": [(84, "Line ***61"), (82, "Line 44********12"), (83, "Line 44********12"), (8, "Sales")],
        "campaigns": [(9, "Spring"), (94, "q***61"), (92, "q44********12"), (93, "q44********12")],
        "wrapup_codes": [
            ("0100", "0100: Sale"),
            ("0400", "Sold to ***61"),
            ("0200", "Sold to 44********12"),
            ("0300", "Sold to 44********12"),
        ],
    }
    for name, expected in masked.items():
        found = [tuple(each.values()) for each in named.api.get(f"/api/v2/cdr/{name}", key).json()]
        assert expected == [each for each in found if each in expected]
        assert number not in str(found)
        assert number in named.api.get(f"/api/v2/cdr/{name}", named.keys["admin"]).text
    users = named.api.get("/api/v3/cdr/users", key, extension="20261")
    assert ["20261"] == [user["extension"] for user in users.json()]
    assert number not in users.text
    assert 403 == named.api.get("/api/v3/cdr/users", key, caller_id=number).status_code
    assert 403 == named.api.get("/api/v3/cdr/users", key, sip_account=number).status_code


def test_users_are_listed_in_the_contracts_shape(empty: Site) -> None:
    """Each user has the members of the contract, and another account's users are not there."""
    for id_, name in ((10, "North"), (11, "South")):
        empty.node.directory.put_team("main", id_, TeamChanges(name=name))
    empty.node.directory.add_user(
        "ada@example.com",
        "Ada",
        "agent",
        timezone="Europe/London",
        extension="201",
        skills=("French", "Billing"),
        teams=(10, 11),
        supervises=("North",),
    )
    users = empty.api.get("/api/v3/cdr/users", empty.keys["admin"], name="ad").json()
    found = next(user for user in users if user["email"] == "ada@example.com")
    assert isinstance(found.pop("id"), int)
    assert {
        "name": "Ada",
        "email": "ada@example.com",
        "extension": "201",
        "sag": "Agent",
        "timezone": "Europe/London",
        "agent_in_teams": "10, 11",
        "supervisor_in_teams": "10",
        "assigned_skills": "French, Billing",
    } == found
    others = empty.api.get("/api/v3/cdr/users", empty.keys["other"]).json()
    assert {"other@other.example.com", "other_ingest@other.example.com"} == {user["email"] for user in others}


@pytest.mark.parametrize(
    ("filter_", "value"),
    [("name", "adm"), ("email", "ADMIN@MAIN"), ("sag", "admin"), ("timezone", "utc"), ("extension", "")],
)
def test_users_are_filtered(site: Site, filter_: str, value: str) -> None:
    """A filter that fits leaves the user in; one that does not, leaves them out; an empty one is not given."""
    users = site.api.get("/api/v3/cdr/users", site.keys["admin"], None, **{filter_: value}).json()
    assert "admin@main.example.com" in {user["email"] for user in users}
    if value:
        assert [] == site.api.get("/api/v3/cdr/users", site.keys["admin"], None, **{filter_: "nobody"}).json()


@pytest.mark.parametrize("path", ["/api/v2/cdr/agents", "/api/v2/cdr/wrapup_codes", "/api/v3/cdr/users"])
def test_unknown_parameters_are_refused(site: Site, path: str) -> None:
    """A parameter that a look-up does not know is refused, not ignored; so is one that comes twice."""
    problem = site.api.get(path, site.keys["admin"], nam="x").json()["problems"][0]
    assert ("nam", "x") == (problem["parameter"], problem["given"])
    reply = site.api.get("/api/v3/cdr/users?name=a&name=b", site.keys["admin"])
    assert "given more than once" == reply.json()["problems"][0]["message"]


def test_an_unchanged_look_up_is_not_sent_again(named: Site) -> None:
    """Whoever has it and says so by its tag gets 304, until it names something else."""
    url, key = "/api/v2/cdr/queues", named.keys["admin"]
    tag = {"If-None-Match": named.api.get(url, key).headers["etag"]}
    assert (304, b"") == ((reply := named.api.get(url, key, tag)).status_code, reply.content)
    write(named.node, "main", [cdr(next(interactions(1, seed=5)), queue="Service", queue_id=11)])
    assert 200 == named.api.get(url, key, tag).status_code
