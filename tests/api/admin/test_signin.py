"""Passwords and sessions of others over HTTP: set, listed, ended by who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calldex.clock import now_ms
from calldex.directory import AuditFilter, Client
from calldex.errors import Unauthorized
from tests.api.admin.conftest import ALL, Office

BOSS = "boss@main.example.com"
CLERK = "clerk@main.example.com"
PASSWORD = "correct horse battery"
HERE = Client(address="192.0.2.1", name="Browser")


def signs_in(office: Office, password: str) -> bool:
    """Whether a password is the clerk's."""
    try:
        office.directory.sign_in(CLERK, password, HERE, now_ms())
    except Unauthorized:
        return False
    return True


def user(office: Office, name: str, account: str = "main") -> int:
    """A user's id."""
    return office.directory.user(f"{name}@{account}.example.com").id


def test_a_password_is_set_for_somebody(office: Office) -> None:
    """It opens the next session and those of before have ended; the audit tells of it, but not what it is."""
    office.directory.open_session(user(office, "clerk"), HERE, now_ms())
    reply = office.done("PUT", f"/users/{user(office, 'clerk')}/password", json={"password": PASSWORD})
    assert {"sessions": 1} == reply
    assert signs_in(office, PASSWORD)
    (noted,) = office.directory.audit_entries(None, AuditFilter(action="password_changed"), 10)
    assert (BOSS, CLERK, {"password": "given"}) == (noted.actor, noted.target, noted.detail)


def test_one_changes_ones_own_password_with_the_old_one(office: Office) -> None:
    """Who finds somebody signed in, or a key of theirs, does not get their password so."""
    status, message = office.refused("PUT", f"/users/{user(office, 'boss')}/password", json={"password": PASSWORD})
    assert (403, True) == (status, "/api/session/password" in message)


@pytest.mark.parametrize(
    "bounds",
    [
        {"scopes": ["manage"]},
        {"scopes": ["manage", "read"]},
        {"scopes": list(ALL), "networks": ["127.0.0.0/8"]},
        {"scopes": list(ALL), "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
    ],
    ids=" ".join,
)
def test_a_key_gives_no_password_that_opens_more_than_it(office: Office, bounds: dict[str, Any]) -> None:
    """A session has all scopes, everywhere, and is made anew for ever: a key that is bound sets no password, but ends
    sessions."""
    office.keys["bound"] = office.done("POST", "/keys", json={"user": BOSS, **bounds})["key"]
    path = f"/users/{user(office, 'clerk')}/password"
    status, message = office.refused("PUT", path, "bound", json={"password": PASSWORD})
    assert (403, True) == (status, "opens more than this key" in message), message
    assert not signs_in(office, PASSWORD)
    session = office.directory.open_session(user(office, "clerk"), HERE, now_ms()).session
    office.done("DELETE", f"/sessions/{session.id}", "bound")


@pytest.mark.parametrize(
    "body",
    [
        {"password": "hunter2"},
        {"password": ["hunter2hunter2"]},
        {"password": 5_550_123},
        {"pasword": "hunter2hunter2"},
        {"password": CLERK},
    ],
)
def test_what_was_to_be_a_password_is_not_repeated(standing: Office, body: dict[str, Any]) -> None:
    """Neither too short a one, nor one of another type, nor one under a name that is misspelt."""
    reply = standing.ask("PUT", f"/users/{user(standing, 'clerk')}/password", json=body)
    assert 400 == reply.status_code
    assert "password" in reply.text
    assert [] == [word for word in ("hunter2", "5550123", CLERK) if word in reply.text]


def test_sessions_are_listed_and_ended(office: Office) -> None:
    """Those of the account, the newest first, or of one user; one that is ended opens nothing any more."""
    opened = [
        office.directory.open_session(user(office, name, account), HERE, now_ms())
        for name, account in (("clerk", "main"), ("boss", "main"), ("stranger", "other"))
    ]
    clerks, boss, stranger = (each.session.id for each in opened)
    listed = office.done("GET", "/sessions")
    assert ([boss, clerks], 2) == ([each["id"] for each in listed["items"]], listed["total"])
    (of_one,) = office.done("GET", "/sessions", params={"user": CLERK.upper()})["items"]
    assert (CLERK, "192.0.2.1", "Browser") == tuple(of_one[name] for name in ("user", "address", "client"))
    assert of_one == office.done("GET", f"/sessions/{clerks}", "clerk")
    assert None is office.done("DELETE", f"/sessions/{clerks}")
    assert None is office.directory.find_session(opened[0].token, now_ms())
    (noted,) = office.directory.audit_entries(None, AuditFilter(action="session_ended"), 10)
    assert (BOSS, CLERK, {"session": clerks}) == (noted.actor, noted.target, noted.detail)
    for gone in (clerks, stranger, "one", 0):
        for method in ("GET", "DELETE"):
            assert 404 == office.ask(method, f"/sessions/{gone}").status_code, (method, gone)
    assert office.directory.find_session(opened[2].token, now_ms())
