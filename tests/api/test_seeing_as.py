"""Seeing as another user: what that one may read, never more than either may, and nothing is changed by it."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from calldex.access import Reach
from calldex.api.routes import ENDPOINTS
from calldex.demo import interactions
from calldex.directory import AuditFilter, GroupChanges, UserChanges, signin
from tests.api.conftest import Site, uuids_of, write
from tests.api.test_signin import ANN, PASSWORD, Browser

THEMSELVES = {("PUT", "/api/session/as"), ("DELETE", "/api/session/as"), ("DELETE", "/api/session")}
"""What is about oneself, whoever one sees as."""


@pytest.fixture
def ann(empty: Site, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """An admin who is signed in; there are records, and a masked user Bo who sees the calls of one agent."""
    monkeypatch.setattr(signin, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    directory = empty.node.directory
    records = list(interactions(300, seed=5))
    write(empty.node, "main", records)
    agent = next(each.agent_id for each in records if each.agent_id and each.from_)
    directory.put_group(
        "main", None, GroupChanges(name="Some", permissions=("see_cdrs",), reach=Reach(agents=(agent,)))
    )
    bo = directory.add_user("bo@main.example.com", "Bo", None, account="main", groups=("Some",))
    empty.keys["bo"] = directory.create_key(bo.email, ("read",))
    directory.set_password(ANN, PASSWORD)
    browser = Browser(empty.api)
    assert browser.sign_in().is_success
    return browser


def id_of(site: Site, email: str) -> int:
    """The id of a user."""
    return site.node.directory.user(email).id


def test_it_is_what_the_other_sees(empty: Site, ann: Browser) -> None:
    """The same records, masked in the same way, until it is ended; and the page is told."""
    mine = uuids_of(ann.ask("GET", "/api/v2/cdr?per_page=1000"))
    told = ann.ask("PUT", "/api/session/as", {"user": id_of(empty, "bo@main.example.com")}).json()
    assert ("bo@main.example.com", ["see_cdrs"]) == (told["seen_as"], told["permissions"])
    assert ANN == told["email"]
    seen = ann.ask("GET", "/api/v2/cdr?per_page=1000").json()["records"]
    theirs = empty.cdr("bo", per_page=1000).json()["records"]
    assert 0 < len(theirs) < len(mine)
    assert [(each["uuid"], each["from"]) for each in theirs] == [(each["uuid"], each["from"]) for each in seen]
    assert any("*" in (each["from"] or "") for each in seen)
    assert 403 == ann.ask("GET", "/api/v2/cdr/export?format=csv").status_code
    assert 204 == ann.ask("DELETE", "/api/session/as").status_code
    assert mine == uuids_of(ann.ask("GET", "/api/v2/cdr?per_page=1000"))
    assert ann.ask("GET", "/api/session").json()["seen_as"] is None


def test_nothing_can_be_changed(empty: Site, ann: Browser) -> None:
    """Of every route, whatever does not read is refused; what reads is what both may."""
    assert ann.ask("PUT", "/api/session/as", {"user": id_of(empty, "bo@main.example.com")}).is_success
    tried = 0
    for each in ENDPOINTS:
        if each.credential == "none" or (each.method, each.path) in THEMSELVES:
            continue
        path = each.path.format(uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44", id=1, code="x", name="x", part="x")
        reply = ann.ask(each.method, path)
        if each.method != "GET":
            tried += 1
            assert 403 == reply.status_code, (each.method, path, reply.text)
            assert "changes nothing" in reply.json()["error"]
        elif set(each.needs) & {"manage_users", "manage_access", "read_audit", "export", "listen"}:
            assert 403 == reply.status_code, (path, reply.text)
    assert tried > 20


def test_only_over_whom_one_outranks(empty: Site, ann: Browser) -> None:
    """Not without the right to manage, nor as somebody who may more, of another account, disabled or not there; and
    what changes meanwhile counts with the next request."""
    directory = empty.node.directory
    for email in ("analyst@main.example.com", "manager@main.example.com"):
        if email.startswith("manager"):
            changes = GroupChanges(name="Managers", permissions=("manage_users",), reach=Reach())
            directory.put_group("main", None, changes)
            directory.add_user(email, "Manager", None, account="main", groups=("Managers",))
        directory.set_password(email, PASSWORD)
        other = Browser(empty.api, "198.51.100.8")
        assert other.sign_in(email).is_success
        refused = other.ask("PUT", "/api/session/as", {"user": id_of(empty, "bo@main.example.com")})
        assert 403 == refused.status_code
        # A cookie that somebody makes up gets no further.
        other.cookies.set("calldex_as", str(id_of(empty, "admin@main.example.com")), domain="calldex.test")
        assert 403 == other.ask("GET", "/api/v2/cdr").status_code
        other.cookies.set("calldex_as", "1 OR 1", domain="calldex.test")
        assert 400 == other.ask("GET", "/api/v2/cdr").status_code
    for id_ in (id_of(empty, "other@other.example.com"), 999_999):
        assert 404 == ann.ask("PUT", "/api/session/as", {"user": id_}).status_code
    assert ann.ask("PUT", "/api/session/as", {"user": id_of(empty, "bo@main.example.com")}).is_success
    directory.change_user("bo@main.example.com", UserChanges(disabled=True))
    assert 404 == ann.ask("GET", "/api/v2/cdr").status_code
    assert 204 == ann.ask("DELETE", "/api/session/as").status_code
    assert ann.ask("GET", "/api/v2/cdr").is_success


def test_both_names_are_in_the_audit(empty: Site, ann: Browser) -> None:
    """Who began to see as whom, and of each reading who it was and as whom; whoever signs in sees as themselves."""
    assert ann.ask("PUT", "/api/session/as", {"user": id_of(empty, "bo@main.example.com")}).is_success
    assert ann.ask("GET", "/api/v2/cdr").is_success
    account = empty.node.directory.account("main").id
    search, began, *_ = empty.node.directory.audit_entries(account, AuditFilter(actor=ANN), 10)
    assert ("search", "bo@main.example.com") == (search.action, search.detail["as"])
    assert ("seen_as", "bo@main.example.com") == (began.action, began.target)
    assert ann.sign_in().is_success
    assert ann.ask("GET", "/api/session").json()["seen_as"] is None
