"""Who may administer: every route by every key, and that nobody gets or gives what they do not have."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from calldex.access import SCOPES, Permission, Reach
from calldex.admin import VERBS
from calldex.admin.verb import Verb
from calldex.clock import now_ms
from calldex.directory import AuditFilter, Client, GroupChanges, Seen, TeamChanges
from calldex.records.record import Cdr, canonical, from_ms, stable_id
from tests.api.admin.conftest import Office
from tests.api.conftest import Site, write

SERVED = [verb for verb in VERBS if verb.path]

MAY: dict[str, set[Permission]] = {
    "reader": {"export"},
    "writer": set(),
    "clerk": {"manage_users"},
    "keeper": {"manage_access"},
    "manager": {"manage_users", "manage_access"},
}
NOBODY = 999_999


def path_of(endpoint: Verb) -> str:
    """An address of an operation that is about nothing there is."""
    return endpoint.path.format(id=NOBODY, code=NOBODY)


@pytest.mark.parametrize("key", [None, *MAY])
def test_every_route_asks_who_comes(standing: Office, key: str | None) -> None:
    """Without a key 401; with one that permits it not, 403 naming what is missing; else it is looked at."""
    for endpoint in SERVED:
        body = b"{}" if endpoint.method in ("POST", "PATCH", "PUT") else None
        headers = {"Content-Type": "text/csv" if endpoint.takes is bytes else "application/json"}
        reply = standing.ask(endpoint.method, path_of(endpoint), key, content=body, headers=headers)
        if key is None:
            assert 401 == reply.status_code, endpoint
        elif MAY[key].intersection(endpoint.needs) and not (endpoint.id == "import_users" and key == "clerk"):
            assert reply.status_code in (200, 400, 404), (endpoint, reply.text)
        else:
            assert 403 == reply.status_code, endpoint
            assert any(needed in reply.json()["error"] for needed in (*endpoint.needs, "manage_access")), endpoint
            if key in ("reader", "writer"):
                assert re.search("needs one for (manage|read)", reply.json()["error"]), endpoint


def test_who_is_nobody_learns_nothing(standing: Office) -> None:
    """Whether something exists, or a body is well-formed, is not told to who may not ask."""
    for path in ("/users/1", f"/users/{NOBODY}"):
        for body in (b"{}", b"{"):
            assert 403 == standing.ask("PATCH", path, "reader", content=body).status_code


# --- nobody hands out what they do not have ---------------------------------------------------------------------------


def id_of(office: Office, name: str, account: str = "main") -> int:
    """The id of a user."""
    return office.directory.user(f"{name}@{account}.example.com").id


def group(office: Office, name: str, permissions: tuple[str, ...], **reach: Any) -> int:
    """The id of a new group."""
    changes = GroupChanges(name=name, permissions=permissions, reach=Reach(**reach))
    id_ = office.directory.put_group("main", None, changes).id
    assert id_ is not None
    return id_


BOSS = "boss@main.example.com"
ANA = "ana@main.example.com"
COLLEAGUE = "colleague@main.example.com"
ATTEMPTS: dict[str, tuple[str, str, object]] = {
    "add an admin": ("POST", "/users", {"email": "x@example.com", "name": "X", "role": "admin"}),
    "add an analyst": ("POST", "/users", {"email": "x@example.com", "name": "X", "role": "analyst"}),
    "add somebody to a greater group": ("POST", "/users", {"email": "x@example.com", "name": "X", "groups": ["wide"]}),
    "add a supervisor": ("POST", "/users", {"email": "x@example.com", "name": "X", "role": "supervisor"}),
    "add an admin by a file": ("POST", "/users/import", b"email,name,role\nx@example.com,X,admin\n"),
    "become an admin": ("PATCH", "/users/{lead}", {"role": "admin"}),
    "become an admin by a file": ("POST", "/users/import", b"email,role\nlead@main.example.com,admin\n"),
    "join a greater group": ("PATCH", "/users/{lead}", {"groups": ["leads", "wide"]}),
    "join a group that exports": ("PATCH", "/users/{lead}", {"groups": ["leads", "exporters"]}),
    "let somebody join": ("PATCH", "/users/{clerk}", {"groups": ["exporters"]}),
    "rename an admin": ("PATCH", "/users/{boss}", {"name": "Bossy"}),
    "take an admin's address": ("PATCH", "/users/{boss}", {"email": "mine@example.com"}),
    "demote an admin": ("PATCH", "/users/{boss}", {"role": None}),
    "disable an admin": ("PATCH", "/users/{boss}", {"disabled": True}),
    "change an admin by a file": ("POST", "/users/import", b"email,name\nboss@main.example.com,Bossy\n"),
    "remove an admin": ("DELETE", "/users/{boss}", None),
    "make an admin's key": ("POST", "/keys", {"user": BOSS, "scopes": ["read"]}),
    "revoke an admin's key": ("DELETE", "/keys/{key}", None),
    "set an admin's password": ("PUT", "/users/{boss}/password", {"password": "correct horse battery"}),
    "sign an admin out": ("DELETE", "/sessions/{session}", None),
    "put an admin into a team": ("POST", "/teams", {"name": "X", "supervisors": [BOSS]}),
    "put an admin into a team by a file": ("POST", "/teams/import", f"name,supervisors\nX,{BOSS}\n".encode()),
    "widen a supervisor's queues": ("PATCH", "/teams/{team}", {"queues": [1, 2]}),
    "take a supervisor's team away": ("DELETE", "/teams/{team}", None),
    "widen one's own group": ("PATCH", "/groups/{leads}", {"permissions": ["see_cdrs", "export"]}),
    "widen one's own reach": ("PATCH", "/groups/{leads}", {"reach": {"teams": [10, 11]}}),
    "add a greater group": ("POST", "/groups", {"name": "X", "permissions": ["export"]}),
    "add a farther group": ("POST", "/groups", {"name": "X", "permissions": ["see_cdrs"], "reach": {"whole": True}}),
    "add a reach for other groups": ("POST", "/groups", {"name": "X", "reach": {"queues": [1]}}),
    "widen a group without members": ("PATCH", "/groups/{empty}", {"permissions": ["export"]}),
    "narrow a greater group": ("PATCH", "/groups/{exporters}", {"permissions": []}),
    "remove a greater group": ("DELETE", "/groups/{exporters}", None),
    "see an agent's calls by their team": ("PATCH", "/users/{colleague}", {"teams": [20]}),
    "see an agent's calls by a team": ("PATCH", "/teams/{team}", {"agents": [COLLEAGUE]}),
    "see an agent's calls by a new team": ("POST", "/teams", {"name": "X", "agents": [COLLEAGUE]}),
    "see an agent's calls by a file": ("POST", "/users/import", f"email,teams\n{COLLEAGUE},20\n".encode()),
    "see an agent's calls by their id": ("PATCH", "/users/{mate}", {"agent_id": 78}),
    "see an agent's calls by a new user": (
        "POST",
        "/users",
        {"email": "x@example.com", "name": "X", "agent_id": 78, "teams": [20]},
    ),
    "hide an agent's calls": ("PATCH", "/users/{member}", {"teams": []}),
    "hide an agent's calls for good": ("DELETE", "/users/{member}", None),
    "show sensitive fields to all": ("PATCH", "/account", {"sensitive": []}),
    "let agents see": ("PATCH", "/account", {"agents_see_own": True}),
}


@pytest.fixture(scope="module")
def named(standing: Office) -> dict[str, int | None]:
    """The ids of those whom attempts are about; a team has a supervisor, so that its queues are somebody's rights."""
    known = standing.directory
    known.put_team("main", 20, TeamChanges(name="Twenty"))
    # Those whom records name; 78 is somebody who is no user.
    known.note_seen(known.account().id, [Seen("agent", id_, None, 1) for id_ in (77, 78, 79)])
    for name, agent_id, teams in (("colleague", 77, ()), ("member", 79, (20,)), ("mate", 80, (20,))):
        known.add_user(f"{name}@main.example.com", name, agent_id=agent_id, teams=teams)
    supervised = TeamChanges(name="Twenty", queues=(1,), supervisors=("supervisor@main.example.com",))
    return {
        "team": standing.directory.put_team("main", 20, supervised).id,
        "wide": group(standing, "wide", ("see_cdrs",), whole=True),
        "exporters": group(standing, "exporters", ("export",)),
        "empty": group(standing, "empty", ()),
        "leads": standing.directory.group("main", "leads").id,
        "key": standing.directory.list_keys(BOSS)[0].id,
        "session": known.open_session(id_of(standing, "boss"), Client(address="192.0.2.1"), now_ms()).session.id,
        **{name: id_of(standing, name) for name in ("lead", "clerk", "boss", "colleague", "member", "mate")},
    }


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nobody_hands_out_what_they_do_not_have(standing: Office, named: dict[str, int | None], attempt: str) -> None:
    """Somebody who manages users and access of one team is refused, and nothing has changed."""
    method, path, body = ATTEMPTS[attempt]
    before = everything(standing)
    sent: dict[str, Any] = {"json": body} if isinstance(body, dict) else {}
    if isinstance(body, bytes):
        sent = {"content": body, "headers": {"Content-Type": "text/csv"}}
    status, message = standing.refused(method, path.format(**named), "lead", **sent)
    assert 403 == status, message
    assert (
        any(word in message for word in ("you lack", "beyond your reach", "than you see")) or "see_sensitive" in message
    )
    assert before == everything(standing)


@pytest.mark.parametrize("by", ["a team", "a new user of that name", "an id", "a file"])
def test_a_forgotten_name_has_calls_all_the_same(office: Office, by: str) -> None:
    """What counts is what records know: whose calls somebody does not see, of them they cannot make a member of their
    own team by first taking the agent's name out of the look-up."""
    known = office.directory
    known.put_team("main", 10, TeamChanges(name="Ten"))
    call = Cdr(
        uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        type="inbound",
        disposition="answered",
        started_at=from_ms(1_700_000_000_000),
        duration_s=1,
        agent="Zoe",
    )
    zoe = stable_id("agent", "Zoe")
    write(office.site.node, "main", [canonical(call)])
    known.add_user("z@main.example.com", "Z", agent_id=zoe if by == "a team" else 5)
    office.done("DELETE", f"/agents/{zoe}", "lead")
    body: dict[str, Any]
    match by:
        case "a team":
            method, path, body = "PATCH", "/teams/10", {"json": {"agents": ["z@main.example.com"]}}
        case "a new user of that name":
            sent = {"email": "new@main.example.com", "name": "Zoe", "teams": [10]}
            method, path, body = "POST", "/users", {"json": sent}
        case "an id":
            method, path = "PATCH", f"/users/{id_of(office, 'z')}"
            body = {"json": {"agent_id": zoe, "teams": [10]}}
        case _:
            rows = b"email,name,teams\nnew@main.example.com,Zoe,10\n"
            method, path, body = "POST", "/users/import", {"content": rows, "headers": {"Content-Type": "text/csv"}}
    status, message = office.refused(method, path, "lead", **body)
    assert (403, True) == (status, "more than you see" in message or "beyond your reach" in message), message
    office.done(method, path, "boss", **body)


def everything(office: Office) -> object:
    """All that the directory holds of rights."""
    known = office.directory
    keys = [(key.id, key.revoked_at) for key in known.list_keys()]
    accounts = ("main", "other")
    return (
        keys,
        known.list_sessions(now_ms()),
        [(known.users(a), known.groups(a), known.teams(a), known.account(a)) for a in accounts],
    )


def test_what_one_has_can_be_handed_out(office: Office) -> None:
    """Up to their own rights, the same person adds, changes and removes users, groups, teams and keys."""
    same = {"permissions": ["see_cdrs", "manage_users"], "reach": {"teams": [10]}}
    office.done("POST", "/groups", "lead", json={"name": "seconds", **same})
    new = {"email": ANA, "name": "Ana", "groups": ["seconds"]}
    id_ = office.done("POST", "/users", "lead", json=new)["id"]
    office.done("PATCH", f"/users/{id_}", "lead", json={"name": "Anna", "extension": "201"})
    made = office.done("POST", "/keys", "lead", json={"user": ANA, "scopes": ["read"]})
    office.done("DELETE", f"/keys/{made['id']}", "lead")
    office.done("POST", "/teams", "lead", json={"name": "Ten", "id": 10, "agents": [ANA]})
    office.done("PATCH", "/teams/10", "lead", json={"queues": [5]})
    office.done("DELETE", f"/users/{id_}", "lead")
    office.done("PATCH", "/account", "lead", json={"timezone": "Europe/London"})


def test_a_key_gives_no_more_than_it_has(office: Office) -> None:
    """An admin's key that is for managing alone makes no key for reading, not even for themselves; it manages whom they
    may."""
    body = {"user": BOSS, "scopes": ["read"]}
    status, message = office.refused("POST", "/keys", "manager", json=body)
    assert 403 == status
    assert "this key is for manage only" in message
    new = {"email": ANA, "name": "Ana", "role": "analyst"}
    assert 201 == office.ask("POST", "/users", "manager", json=new).status_code
    assert 200 == office.ask("PUT", "/queues/5", "manager", json={"name": "Sales"}).status_code


def test_roles_and_groups_need_manage_access(office: Office) -> None:
    """Who may manage users alone adds one who may nothing, and puts nobody into anything, nor takes anybody out."""
    assert 201 == office.ask("POST", "/users", "clerk", json={"email": ANA, "name": "Ana"}).status_code
    id_ = office.directory.user(ANA).id
    changes: list[dict[str, Any]] = [{"role": "hardware_phone"}, {"role": None}, {"groups": []}, {"groups": ["clerks"]}]
    for body in changes:
        status, message = office.refused("PATCH", f"/users/{id_}", "clerk", json=body)
        assert (403, True) == (status, "manage_access" in message)
    new = {"email": "x@example.com", "name": "X", "groups": ["clerks"]}
    assert 403 == office.ask("POST", "/users", "clerk", json=new).status_code
    headers = {"Content-Type": "text/csv"}
    assert 403 == office.ask("POST", "/users/import", "clerk", content=b"email\n", headers=headers).status_code


def test_nobody_becomes_another_agent(office: Office) -> None:
    """Who sees their own records sees no others by taking another agent id."""
    group(office, "own", ("see_cdrs", "manage_users"), own=True)
    id_ = office.person("ana", groups=("own",))
    assert 403 == office.ask("PATCH", f"/users/{id_}", "ana", json={"agent_id": 5}).status_code


def test_what_agents_see_is_not_for_everybody_to_set(office: Office) -> None:
    """Whether agents see their own calls is not for those to say who see one team's alone, whatever they may there."""
    office.directory.set_account("main", agents_see_own=False)
    group(office, "foremen", (*SCOPES["read"], "manage_access"), teams=(10,))
    office.person("ana", groups=("foremen",))
    office.done("PATCH", "/account", "ana", json={"agents_see_own": False, "timezone": "Europe/London"})
    status, message = office.refused("PATCH", "/account", "ana", json={"agents_see_own": True})
    assert (403, "agent_ingest@main.example.com sees records beyond your reach") == (status, message)
    assert not office.directory.account().agents_see_own
    office.done("PATCH", "/account", json={"agents_see_own": True})


def test_an_agents_calls_go_with_them(office: Office) -> None:
    """Who sees an agent's calls puts them into any team, and lets them leave it."""
    office.directory.note_seen(office.directory.account().id, [Seen("agent", 77, None, 1)])
    id_ = office.person("bo", agent_id=77)
    group(office, "foremen", ("see_cdrs", "manage_users"), agents=(77,))
    office.person("ana", groups=("foremen",))
    office.done("POST", "/teams", "ana", json={"name": "Ten", "id": 10})
    for teams in ([10], []):
        assert teams == office.done("PATCH", f"/users/{id_}", "ana", json={"teams": teams})["teams"]


def test_nobody_makes_himself_a_supervisor(office: Office) -> None:
    """Who sees what they supervise sees no more by taking more teams, or queues into their teams."""
    office.directory.put_team("main", 20, TeamChanges(name="Twenty"))
    office.directory.put_team("main", 21, TeamChanges(name="More"))
    group(office, "supervisors", ("see_cdrs", "manage_users"), supervised=True)
    id_ = office.person("ana", groups=("supervisors",), supervises=(20,))
    for method, path, body in (
        ("PATCH", f"/users/{id_}", {"supervises": [20, 21]}),
        ("PATCH", "/teams/21", {"supervisors": ["ana@main.example.com"]}),
        ("PATCH", "/teams/20", {"queues": [1]}),
    ):
        assert 403 == office.ask(method, path, "ana", json=body).status_code
    assert 200 == office.ask("PATCH", "/teams/20", "ana", json={"name": "20"}).status_code


def test_the_audit_tells_what_was_changed(office: Office) -> None:
    """Each change and each attempt that is forbidden is in it, with whom it was about and which members; no numbers."""
    new = {"email": ANA, "name": "Ana", "role": "agent", "caller_id": "442079460000"}
    id_ = office.done("POST", "/users", json=new)["id"]
    office.refused("PATCH", f"/users/{id_}", "lead", json={"role": "admin"})
    office.refused("POST", "/users", json={})
    office.done("DELETE", f"/users/{id_}")
    removed, refused, added = office.directory.audit_entries(None, AuditFilter(), 10)
    assert ("user_added", BOSS, ANA, 201) == (added.action, added.actor, added.target, added.status)
    assert {"email": "given", "name": "given", "role": "agent", "caller_id": "given"} == added.detail
    assert ("user_changed", "lead@main.example.com", ANA, 403) == (
        refused.action,
        refused.actor,
        refused.target,
        refused.status,
    )
    assert ("admin", True) == (refused.detail["role"], "you lack" in str(refused.detail["refused"]))
    assert ("user_removed", ANA, 204) == (removed.action, removed.target, removed.status)


# --- two accounts -----------------------------------------------------------------------------------------------------


def test_what_is_another_accounts_is_not_there(office: Office, site: Site) -> None:
    """Its users, teams, groups and keys are neither listed, shown, changed nor removed, whatever they are named by."""
    write(office.site.node, "main", site.main[:1])
    office.directory.put_team("main", 20, TeamChanges(name="Twenty"))
    keys = {key.id for key in office.directory.list_keys(account="main") if key.revoked_at is None}
    before = everything(office)
    paths = [
        *(f"/users/{user.id}" for user in office.directory.users("main")),
        f"/users/{id_of(office, 'boss')}/access",
        "/teams/20",
        *(f"/groups/{each.id}" for each in office.directory.groups("main") if each.id),
        *(f"/keys/{id_}" for id_ in keys),
    ]
    for path in paths:
        for endpoint in SERVED:
            if endpoint.path == path.replace(path.split("/")[2], "{id}"):
                body = b"{}" if endpoint.method == "PATCH" else None
                headers = {"Content-Type": "application/json"}
                reply = office.ask(endpoint.method, path, "stranger", content=body, headers=headers)
                assert 404 == reply.status_code, (endpoint, path)
    assert before == everything(office)
    for path in ("/users", "/teams", "/groups", "/keys", "/queues", "/agents", "/account"):
        assert "main" not in office.ask("GET", path, "stranger").text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/keys", {"user": "boss@main.example.co", "scopes": ["read"]}),
        ("/teams", {"name": "X", "agents": ["boss@main.example.co"]}),
        ("/users", {"email": "x@example.com", "name": "X", "groups": ["clerk"], "teams": ["Twent"]}),
    ],
)
def test_nothing_of_another_account_is_suggested(office: Office, path: str, body: dict[str, Any]) -> None:
    """A name that is nearly one of another account's is not completed."""
    office.directory.put_team("main", 20, TeamChanges(name="Twenty"))
    reply = office.ask("POST", path, "stranger", json=body)
    assert 400 == reply.status_code
    assert not [name for name in ("main.example.com", "clerks", "Twenty") if name in reply.text]
    assert "did you mean" in office.ask("POST", path, json=body).text


# --- people who are signed in -----------------------------------------------------------------------------------------


def test_who_is_signed_in_may_what_they_may(office: Office) -> None:
    """A session has all rights of its user, and no more; what another site's page sends with its cookie is refused."""
    new = {"email": ANA, "name": "Ana", "role": "analyst"}
    for name, status in (("boss", 201), ("clerk", 403)):
        client = Client(address="127.0.0.1")
        token = office.directory.open_session(id_of(office, name), client, int(time.time() * 1000)).token
        cookie = {"Cookie": f"calldex={token}"}
        foreign = office.ask("POST", "/users", None, json=new, headers={**cookie, "Origin": "http://evil.test"})
        assert (403, "evil.test" in foreign.text) == (foreign.status_code, True)
        own = office.ask("POST", "/users", None, json=new, headers={**cookie, "Origin": "http://calldex.test"})
        assert status == own.status_code, own.text
