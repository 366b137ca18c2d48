"""Users over HTTP: added, listed, changed, removed, imported, and what each of them sees."""

from __future__ import annotations

import pytest

from calldex.records.record import Cdr, Team, stable_id
from tests.api.admin.conftest import Office
from tests.api.conftest import Site, write

ANA = "ana@example.com"


def test_a_user_is_added_as_they_are_described(office: Office) -> None:
    """The reply is the new state, and shown again; what is not given is empty, and rights are none."""
    added = office.done("POST", "/users", json={"email": "Ana@Example.com", "name": "Ana"})
    assert added == office.done("GET", f"/users/{added['id']}")
    assert added.pop("created_at").endswith("Z")
    assert {
        "id": added["id"],
        "email": ANA,
        "name": "Ana",
        "role": None,
        "groups": [],
        "teams": [],
        "supervises": [],
        "disabled": False,
        "timezone": None,
        "effective_timezone": "UTC",
        "extension": None,
        "sip_account": None,
        "caller_id": None,
        "skills": [],
        "agent_id": stable_id("agent", "Ana"),
        "account": "main",
        "disabled_at": None,
    } == added
    assert {} == office.done("GET", f"/users/{added['id']}/access")["permissions"]


def test_a_user_is_changed_where_it_is_said(office: Office) -> None:
    """What is not sent stays, null takes away, a list replaces the one before, teams and groups go by name or id."""
    office.done("POST", "/teams", json={"name": "North", "id": 7})
    new = {"email": ANA, "name": "Ana", "role": "agent", "teams": ["North"], "extension": "201", "skills": ["French"]}
    added = office.done("POST", "/users", json=new)
    assert ("agent", [7], "201") == (added["role"], added["teams"], added["extension"])
    changes = {"role": None, "groups": ["clerks"], "teams": [], "supervises": [7], "extension": None, "agent_id": 5}
    changed = office.done("PATCH", f"/users/{added['id']}", json=changes)
    assert {**added, **changes} == changed == office.done("GET", f"/users/{added['id']}")


def test_nothing_sent_changes_nothing(office: Office) -> None:
    """An empty change is carried out."""
    added = office.done("POST", "/users", json={"email": ANA, "name": "Ana"})
    assert added == office.done("PATCH", f"/users/{added['id']}", json={})


def test_a_disabled_user_can_do_nothing(office: Office) -> None:
    """Their key answers 401 from the next request on, and works again when they are enabled."""
    id_ = office.person("ana", "admin")
    assert office.done("PATCH", f"/users/{id_}", json={"disabled": True})["disabled"]
    assert 401 == office.ask("GET", "/users", "ana").status_code
    assert not office.done("PATCH", f"/users/{id_}", json={"disabled": False})["disabled"]
    assert 200 == office.ask("GET", "/users", "ana").status_code


def test_a_removed_user_is_gone_at_once(office: Office, site: Site) -> None:
    """Their key answers 401 on the very next request; their records and their name in the look-ups stay."""
    record = next(record for record in site.main if record.agent_id)
    write(office.site.node, "main", [record])
    id_ = office.person("ana", "admin", agent_id=record.agent_id)
    assert 200 == office.ask("GET", "/users", "ana").status_code
    assert None is office.done("DELETE", f"/users/{id_}")
    assert 401 == office.ask("GET", "/users", "ana").status_code
    assert (404, f"there is no user {id_}") == office.refused("DELETE", f"/users/{id_}")
    api, key = office.site.api, office.keys["boss"]
    assert [record.uuid] == [each["uuid"] for each in api.get("/api/v2/cdr", key).json()["records"]]
    assert record.agent_id in {agent["id"] for agent in api.get("/api/v2/cdr/agents", key).json()}


def test_an_account_keeps_an_admin(office: Office) -> None:
    """The last admin who is not disabled can be neither removed, disabled nor demoted."""
    users = office.done("GET", "/users", "stranger", params={"role": "admin"})["items"]
    for user in users:
        if user["email"] != "stranger@other.example.com":
            office.done("DELETE", f"/users/{user['id']}", "stranger")
    [last] = office.done("GET", "/users", "stranger", params={"role": "admin"})["items"]
    for method, change in (("DELETE", None), ("PATCH", {"disabled": True}), ("PATCH", {"role": "agent"})):
        status, message = office.refused(method, f"/users/{last['id']}", "stranger", json=change)
        assert 409 == status
        assert "no active admin" in message


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"name": "CLERK"}, ["clerk"]),
        ({"email": "keeper@"}, ["keeper"]),
        ({"role": "hardware_phone"}, ["phone"]),
        ({"group": "leads"}, ["lead"]),
        ({"team": "10"}, ["ana"]),
        ({"disabled": "true"}, ["ana"]),
        ({"disabled": "false", "group": "clerks"}, ["clerk"]),
        ({"role": "admin", "group": "clerks"}, []),
        ({"name": ""}, None),
    ],
)
def test_users_are_filtered(office: Office, params: dict[str, str], expected: list[str] | None) -> None:
    """Those are listed who fit everything that is given, by e-mail address; an empty parameter is not given."""
    office.done("POST", "/teams", json={"name": "North", "id": 10})
    office.directory.add_user("ana@main.example.com", "Ana", teams=(10,))
    office.directory.disable_user("ana@main.example.com")
    reply = office.done("GET", "/users", params=params)
    names = [user["email"].partition("@")[0] for user in reply["items"]]
    assert sorted(names) == names
    assert len(names) == reply["total"]
    if expected is None:
        assert {"boss", "clerk", "ana"} <= set(names)
    else:
        assert expected == names


def test_lists_come_in_pages(office: Office) -> None:
    """Pages follow each other without a gap, `total` counts all, and behind the last there is nothing."""
    whole = office.done("GET", "/users", params={"per_page": 1000})
    parts = [office.done("GET", "/users", params={"page": page, "per_page": 3}) for page in (1, 2, 3, 4, 99)]
    assert whole["items"] == [user for part in parts for user in part["items"]]
    assert {whole["total"]} == {part["total"] for part in parts}
    assert {"per_page"} == office.wrong("GET", "/users", params={"per_page": 1001})
    assert {"page"} == office.wrong("GET", "/users", params={"page": 0})


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "Ana"}, {"email"}),
        ({"email": ANA}, {"name"}),
        ({"email": "ana", "name": " "}, {"email", "name"}),
        ({"email": "a" * 250 + "@example.com", "name": "x" * 201}, {"email", "name"}),
        ({"email": ANA, "name": "Ana", "role": "king", "timezone": "Mars/Base"}, {"role", "timezone"}),
        ({"email": ANA, "name": "Ana", "groups": ["nobody"], "teams": [99]}, {"groups", "teams"}),
        ({"email": ANA, "name": "Ana", "skills": ["x"] * 101, "agent_id": 0}, {"skills", "agent_id"}),
        ({"email": ANA, "name": "Ana", "agent_id": 2**53, "extension": "x" * 65}, {"agent_id", "extension"}),
    ],
)
def test_what_is_wrong_is_named(standing: Office, body: dict[str, object], wrong: set[str]) -> None:
    """Every member that is wrong is told, with what is valid; nobody is added."""
    before = standing.done("GET", "/users")["total"]
    assert wrong == standing.wrong("POST", "/users", json=body)
    assert before == standing.done("GET", "/users")["total"]


def test_nobody_takes_what_is_somebodys(office: Office) -> None:
    """An e-mail address and an agent id are one user's."""
    assert 409 == office.ask("POST", "/users", json={"email": "Boss@main.example.com", "name": "B"}).status_code
    id_ = office.person("ana", agent_id=77)
    assert 409 == office.ask("POST", "/users", json={"email": ANA, "name": "A", "agent_id": 77}).status_code
    assert 409 == office.ask("PATCH", f"/users/{id_}", json={"email": "boss@main.example.com"}).status_code


# --- from a file ------------------------------------------------------------------------------------------------------

CSV = {"Content-Type": "text/csv; charset=utf-8"}


def test_users_are_imported(office: Office) -> None:
    """A file adds who is new and changes who is there; the reply counts them."""
    office.person("ana", "agent")
    text = (
        "email,name,role,groups,skills\r\n"
        "ana@main.example.com,Anna,supervisor,clerks;keepers,\r\n"
        "bob@example.com,Bob,,,French;Billing\r\n"
        "clerk@main.example.com,Clerk,,clerks,\r\n"
    )
    reply = office.done("POST", "/users/import", content=text, headers=CSV)
    assert {"added": 1, "changed": 1, "unchanged": 1} == reply
    [ana] = office.done("GET", "/users", params={"name": "anna"})["items"]
    assert ("supervisor", ["clerks", "keepers"]) == (ana["role"], ana["groups"])
    [bob] = office.done("GET", "/users", params={"name": "bob"})["items"]
    assert (None, ["French", "Billing"]) == (bob["role"], bob["skills"])


def test_a_file_is_imported_whole_or_not_at_all(office: Office) -> None:
    """If lines are wrong, each of them is told, and nobody is added."""
    text = "email,name,role\nana@example.com,Ana,king\nbob@example.com,Bob,agent\nbob,Bob,agent\n"
    assert {"line 2", "line 4"} == office.wrong("POST", "/users/import", content=text, headers=CSV)
    assert 0 == office.done("GET", "/users", params={"email": "example.com", "name": "bob"})["total"]


# --- what they see ----------------------------------------------------------------------------------------------------


def test_it_is_told_who_sees_what(office: Office, site: Site) -> None:
    """By which group a user may what, and why they see a record or do not."""
    inside, outside = (with_teams(record, team) for record, team in zip(site.main[:2], (10, 11), strict=True))
    write(office.site.node, "main", [inside, outside])
    [lead] = office.done("GET", "/users", params={"group": "leads"})["items"]
    path = f"/users/{lead['id']}/access"
    told = office.done("GET", path)
    assert {"see_cdrs": ["leads"], "manage_users": ["leads"], "manage_access": ["leads"]} == told["permissions"]
    assert [{"group": "leads", "by": "teams", "teams": [10]}] == told["reach"]
    assert None is told["record"]
    seen, unseen = (office.done("GET", path, params={"record": r.uuid})["record"] for r in (inside, outside))
    assert (True, told["reach"], []) == (seen["visible"], seen["by"], seen["not_by"])
    assert (False, [], told["reach"]) == (unseen["visible"], unseen["by"], unseen["not_by"])
    assert "no part of their reach" in unseen["reason"]


def test_a_record_is_explained_to_who_sees_it(office: Office, site: Site) -> None:
    """Whoever manages is told of a record no more than they see: one beyond their reach is not there, as one that
    nobody wrote; and with a key that does not read they are told nothing of records, whether they are there or not."""
    inside, outside = (with_teams(record, team) for record, team in zip(site.main[:2], (10, 11), strict=True))
    write(office.site.node, "main", [inside, outside])
    path = f"/users/{office.person('ana', 'analyst')}/access"
    assert office.done("GET", path, "lead", params={"record": inside.uuid})["record"]["visible"]
    for uuid in (outside.uuid, site.main[3].uuid):
        told = office.refused("GET", path, "lead", params={"record": uuid})
        assert (404, f"there is no record {uuid}") == told
    for name, needs in (("manager", "needs one for read"), ("clerk", "see_cdrs")):
        replies = {office.refused("GET", path, name, params={"record": r.uuid}) for r in (inside, site.main[3])}
        [(status, message)] = replies
        assert (403, True) == (status, needs in message)
        assert office.done("GET", path, name)["email"] == "ana@main.example.com"


def with_teams(record: Cdr, team: int) -> Cdr:
    """A record whose agent was in one team."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return Cdr(**{**fields, "teams": (Team(team),)})


def test_a_record_of_another_account_is_none(office: Office, site: Site) -> None:
    """It is not there, as one that nobody ever wrote; what is no uuid is told."""
    write(office.site.node, "other", site.other[:1])
    id_ = office.person("ana")
    uuid = site.other[0].uuid
    assert (404, f"there is no record {uuid}") == office.refused("GET", f"/users/{id_}/access", params={"record": uuid})
    assert {"record"} == office.wrong("GET", f"/users/{id_}/access", params={"record": "x"})
