"""Signing in with a password, over HTTP: cookies, other sites, delays, sessions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from calldex.access import ROLES
from calldex.clock import now_ms
from calldex.directory import AuditFilter, signin
from tests.api.conftest import Api, Site

ANN = "admin@main.example.com"
PASSWORD = "correct horse battery"
HERE = {"Origin": "http://calldex.test", "Sec-Fetch-Site": "same-origin"}
COOKIE = re.compile(r"(?P<name>[\w-]+)=(?P<value>[\w-]+); (?P<rest>.*)")


class Browser:
    """What a browser does: keeps cookies, and says from where a request comes. `address` is its own."""

    def __init__(self, api: Api, address: str = "198.51.100.7", base_url: str = "http://calldex.test") -> None:
        self.api = api
        self.address = address
        self.base_url = base_url
        self.cookies = httpx.Cookies()

    def ask(
        self, method: str, path: str, json: Any = None, headers: Mapping[str, str] = HERE, **arguments: Any
    ) -> httpx.Response:
        """One request."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.api.app, raise_app_exceptions=False, client=(self.address, 1))
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base_url, cookies=self.cookies, headers={"User-Agent": "Browser"}
            ) as client:
                reply = await client.request(method, path, json=json, headers=dict(headers), **arguments)
                self.cookies = client.cookies
                return reply

        return self.api.runner.run(asked())

    def sign_in(self, email: str = ANN, password: str = PASSWORD, **arguments: Any) -> httpx.Response:
        """Sign in."""
        return self.ask("POST", "/api/session", {"email": email, "password": password}, **arguments)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing that costs nothing; what it costs is for the tests of the directory."""
    monkeypatch.setattr(signin, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long requests take, delays do not end meanwhile."""
    at_ms = now_ms()
    monkeypatch.setattr("calldex.api.signin.now_ms", lambda: at_ms)


@pytest.fixture
def browser(empty: Site) -> Browser:
    """A browser of somebody who has a password and is not signed in."""
    empty.node.directory.set_password(ANN, PASSWORD)
    return Browser(empty.api)


_addresses = (f"10.0.{n // 250}.{n % 250}" for n in count())


@pytest.fixture
def guest(shared: Site) -> Browser:
    """A browser at an address of its own, on a site that other tests use as well."""
    shared.node.directory.set_password(ANN, PASSWORD)
    return Browser(shared.api, next(_addresses))


def cookies_of(reply: httpx.Response) -> dict[str, str]:
    """What a reply says of each cookie beside its value."""
    found = [COOKIE.fullmatch(each) for each in reply.headers.get_list("set-cookie")]
    return {match["name"]: match["rest"] for match in found if match}


def told(reply: httpx.Response) -> tuple[int, str]:
    """Status and message of an error."""
    return reply.status_code, reply.json()["error"]


# --- the way in and out -----------------------------------------------------------------------------------------------


def test_in_and_out(guest: Browser) -> None:
    """Who signs in is told who they are and what they may, is let in everywhere without a key, and signs out."""
    reply = guest.sign_in()
    assert 200 == reply.status_code
    me = reply.json()
    assert me == guest.ask("GET", "/api/session").json()
    assert {"email": ANN, "name": "Admin", "account": "main", "role": "admin", "groups": ["Admin"]} == {
        name: me[name] for name in ("email", "name", "account", "role", "groups")
    }
    assert list(ROLES["admin"].permissions) == me["permissions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", me["expires_at"])
    for path in ("/api/v2/cdr", "/api/v2/cdr/agents", "/api/v3/cdr/users", "/api/admin/v1/users"):
        assert 200 == guest.ask("GET", path).status_code, path
    assert 204 == guest.ask("DELETE", "/api/session").status_code
    assert 401 == guest.ask("GET", "/api/v2/cdr").status_code


def test_a_cookie_that_was_signed_out_is_worth_nothing(guest: Browser) -> None:
    """Whoever kept the cookie has nothing of it."""
    guest.sign_in()
    kept = httpx.Cookies(guest.cookies)
    guest.ask("DELETE", "/api/session")
    assert "calldex" not in guest.cookies
    guest.cookies = kept
    assert (401, "your session has ended; sign in again") == told(guest.ask("GET", "/api/session"))


@pytest.mark.parametrize(
    ("base_url", "prefix", "marks"),
    [
        ("http://calldex.test", "", "HttpOnly; Max-Age=604800; Path=/; SameSite=lax"),
        ("https://calldex.test", "__Host-", "HttpOnly; Max-Age=604800; Path=/; SameSite=lax; Secure"),
    ],
)
def test_what_the_cookie_says(guest: Browser, base_url: str, prefix: str, marks: str) -> None:
    """No script reads it, no other site sends it, and by TLS nothing but TLS does, nor another host set it."""
    guest.base_url = base_url
    headers = {"Origin": base_url, "Sec-Fetch-Site": "same-origin"}
    found = cookies_of(guest.sign_in(headers=headers))
    assert {f"{prefix}calldex", f"{prefix}calldex_device"} == set(found)
    assert marks == found[f"{prefix}calldex"]
    assert marks.replace("604800", "31536000") == found[f"{prefix}calldex_device"]
    assert 200 == guest.ask("GET", "/api/session", headers=headers).status_code


def test_a_cookie_of_plain_http_is_none_by_tls(guest: Browser) -> None:
    """A cookie that somebody on the way may have set does not count where TLS is."""
    guest.sign_in()
    guest.base_url = "https://calldex.test"
    reply = guest.ask("GET", "/api/session", headers={"Sec-Fetch-Site": "same-origin"})
    assert 401 == reply.status_code


def test_a_new_session_takes_the_place_of_the_old(guest: Browser) -> None:
    """Who signs in again in the same browser has one session there."""
    guest.sign_in()
    guest.sign_in()
    assert [True] == [
        each["current"] for each in guest.ask("GET", "/api/sessions").json() if each["address"] == guest.address
    ]


def test_a_key_counts_before_the_cookie(guest: Browser, shared: Site) -> None:
    """Who sends both is whom the key says; a key that is none is not made good by a cookie."""
    guest.sign_in()
    for key, status in ((shared.keys["ingest"], 403), ("cdx_wrong", 401)):
        reply = guest.ask("GET", "/api/v2/cdr", headers={**HERE, "Authorization": f"Bearer {key}"})
        assert status == reply.status_code


# --- who is not let in ------------------------------------------------------------------------------------------------


def test_nobody_learns_who_there_is(guest: Browser) -> None:
    """A wrong password, somebody who is not there, and somebody without a password get the same reply."""
    replies = [guest.sign_in(email, "wrong") for email in (ANN, "nobody@example.com", "analyst@main.example.com")]
    seen = {(reply.status_code, re.sub(r'"request_id":"\w+"', "", reply.text)) for reply in replies}
    assert 1 == len(seen)
    assert (401, "the e-mail address or the password is wrong") == told(replies[0])
    assert [] == [name for reply in replies for name in cookies_of(reply)]


def test_a_failure_is_the_accounts_to_see(empty: Site) -> None:
    """A failure under the address of somebody of an account is in its audit, whatever was wrong, and in no other's;
    under an address that nobody has, in none's. The reply is the same."""
    addresses = (ANN, "analyst@main.example.com", "other@other.example.com", "nobody@example.com")
    empty.node.directory.disable_user("analyst@main.example.com")
    replies = [Browser(empty.api, next(_addresses)).sign_in(email.upper(), "wrong") for email in addresses]
    assert 1 == len({(reply.status_code, reply.json()["error"], reply.headers.get("set-cookie")) for reply in replies})
    directory = empty.node.directory
    failed = AuditFilter(action="sign_in_failed")
    for account, expected in (("main", addresses[1::-1]), ("other", addresses[2:3])):
        found = directory.audit_entries(directory.account(account).id, failed, 10)
        assert [(email, None, 401) for email in expected] == [(e.actor, e.user_id, e.status) for e in found]
    assert [0] == [e.account_id for e in directory.audit_entries(None, failed, 10) if e.actor == addresses[3]]


def test_delays_and_whom_they_do_not_hit(browser: Browser, no_time_passes: None) -> None:
    """After a failure the next attempt has to wait, and is told how long; elsewhere, and in a browser that is known,
    nobody waits."""
    browser.sign_in()
    browser.ask("DELETE", "/api/session")
    stranger = Browser(browser.api, browser.address)
    assert 401 == stranger.sign_in(password="wrong").status_code
    reply = stranger.sign_in()
    assert (429, "1") == (reply.status_code, reply.headers["retry-after"])
    assert 200 == Browser(browser.api, "203.0.113.9").sign_in().status_code
    assert 200 == browser.sign_in().status_code


def test_a_device_that_somebody_made_up(guest: Browser, no_time_passes: None) -> None:
    """Nobody makes a known browser of theirs: what is in that cookie is sealed."""
    guest.sign_in()
    sealed = guest.cookies["calldex_device"]
    stranger = Browser(guest.api, guest.address)
    stranger.sign_in(password="wrong")
    for value in (sealed[:-2] + "AA", "x", "\u00ff".encode().decode("latin-1"), guest.cookies["calldex"]):
        stranger.cookies.set("calldex_device", value.encode("ascii", "ignore").decode())
        assert 429 == stranger.sign_in().status_code


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"email":"a@b.c","password":"hunter2-is-secret","more":1}', "application/json", 400),
        (b'{"email":"a@b.c","password":{"is":"hunter2-is-secret"}}', "application/json", 400),
        (b'{"email":"no address","password":"hunter2-is-secret"}', "application/json", 400),
        (b'{"email":"a@b.c","password":""}', "application/json", 400),
        (b'{"email":"a@b.c","password":"\\ud800"}', "application/json", 400),
        (b'{"email":"a@b.c","password":"' + b"hunter2-is-secret" * 20 + b'"}', "application/json", 400),
        (b'{"email":"a@b.c","password":"hunter2-is-secret"', "application/json", 400),
        (b'{"email":"a@b.c","password":"' + b"hunter2-is-secret" * 1000 + b'"}', "application/json", 413),
        (b"email=a@b.c&password=hunter2-is-secret", "application/x-www-form-urlencoded", 415),
        (b'{"email":"a@b.c","password":"hunter2-is-secret"}', "text/plain", 415),
    ],
)
def test_what_is_no_attempt(guest: Browser, content: bytes, media_type: str, status: int) -> None:
    """What is sent wrongly is refused with a reason that does not repeat it."""
    reply = guest.ask("POST", "/api/session", content=content, headers={**HERE, "Content-Type": media_type})
    assert status == reply.status_code, reply.text
    assert "hunter2" not in reply.text


def test_a_password_does_not_belong_in_the_address(guest: Browser) -> None:
    """Addresses are kept in logs; what comes there is not taken."""
    body = {"email": ANN, "password": PASSWORD}
    assert 400 == guest.ask("POST", "/api/session", body, params={"next": "/"}).status_code


def test_nothing_secret_is_logged_or_noted(browser: Browser, empty: Site) -> None:
    """Neither log nor audit has a password or a cookie; the audit has who came and who failed."""
    with capture_logs() as lines:
        browser.sign_in(password="not the password")
        browser.address = "203.0.113.9"
        browser.sign_in()
        secret = browser.cookies["calldex"]
        new = {"old": PASSWORD, "new": "another long one"}
        assert 204 == browser.ask("PUT", "/api/session/password", new).status_code
        browser.ask("DELETE", "/api/session")
    noted = empty.node.directory.audit_entries(None, AuditFilter(), 10)[::-1]
    assert ["sign_in_failed", "sign_in", "password_changed", "sign_out"] == [each.action for each in noted]
    assert {ANN} == {each.actor for each in noted}
    assert ["198.51.100.7", "203.0.113.9", "203.0.113.9", "203.0.113.9"] == [each.address for each in noted]
    for word in ("not the password", PASSWORD, "another long one", secret):
        assert word not in f"{lines}{noted}"


# --- other sites ------------------------------------------------------------------------------------------------------

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
READS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
    ({"Sec-Fetch-Site": "cross-site", **NAVIGATION}, 200),
    ({"Sec-Fetch-Site": "same-site", **NAVIGATION}, 200),
]
WRITES: list[tuple[dict[str, str], int]] = [
    ({}, 403),
    ({"Sec-Fetch-Site": "same-origin"}, 204),
    ({"Origin": "http://calldex.test"}, 204),
    (HERE, 204),
    ({"Origin": "http://evil.test"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "https://calldex.test"}, 403),
    ({"Origin": "http://calldex.test:81"}, 403),
    ({"Origin": "http://calldex.test.evil.test"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site", **NAVIGATION}, 403),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.test"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://calldex.test"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), READS)
def test_reading_from_another_site(guest: Browser, headers: dict[str, str], status: int) -> None:
    """A page of another site reads nothing with the cookie; a link that somebody follows from there works."""
    guest.sign_in()
    for path in ("/api/v2/cdr", "/api/session"):
        assert status == guest.ask("GET", path, headers=headers).status_code


@pytest.mark.parametrize(("headers", "status"), WRITES)
def test_writing_from_another_site(guest: Browser, headers: dict[str, str], status: int) -> None:
    """Nothing is done with the cookie unless the browser says that it was asked from here."""
    guest.sign_in()
    assert status == guest.ask("DELETE", "/api/session", headers=headers).status_code
    assert (401 if status == 204 else 200) == guest.ask("GET", "/api/session").status_code


@pytest.mark.parametrize(("headers", "status"), WRITES)
def test_signing_in_from_another_site(guest: Browser, headers: dict[str, str], status: int) -> None:
    """Another site signs nobody in, not even as somebody else; what is no browser need not say where it comes from."""
    assert (200 if status == 204 or not headers else 403) == guest.sign_in(headers=headers).status_code


@pytest.mark.parametrize(("headers", "status"), [*READS, *WRITES])
def test_a_key_may_come_from_anywhere(shared: Site, headers: dict[str, str], status: int) -> None:
    """A key is sent by who has it, so where it comes from does not matter."""
    del status
    for method, path, key in (("GET", "/api/v2/cdr", "admin"), ("POST", "/api/ingest/v1/records", "ingest")):
        sent = {**headers, "Authorization": f"Bearer {shared.keys[key]}"}
        assert 200 == shared.api.request(method, path, headers=sent, json=None if key == "admin" else []).status_code


# --- sessions and passwords -------------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended(browser: Browser) -> None:
    """Who is signed in sees where, and ends what they do not know."""
    elsewhere = Browser(browser.api, "203.0.113.9")
    elsewhere.sign_in()
    browser.sign_in()
    found = browser.ask("GET", "/api/sessions").json()
    assert [("198.51.100.7", "Browser", True), ("203.0.113.9", "Browser", False)] == [
        (each["address"], each["client"], each["current"]) for each in found
    ]
    assert {"id", "created_at", "last_used_at", "expires_at", "address", "client", "current"} == set(found[0])
    assert 204 == browser.ask("DELETE", f"/api/sessions/{found[1]['id']}").status_code
    assert (401, 200) == tuple(each.ask("GET", "/api/session").status_code for each in (elsewhere, browser))


def test_sessions_of_others_are_not_there(guest: Browser, shared: Site) -> None:
    """Nobody ends, or finds out about, a session that is not theirs."""
    shared.node.directory.set_password("other@other.example.com", PASSWORD)
    other = Browser(guest.api)
    other.sign_in("other@other.example.com")
    guest.sign_in()
    (found,) = other.ask("GET", "/api/sessions").json()
    for id_ in (found["id"], 999, 0, "x", "\u0661", 2**63, "9" * 5000):
        reply = guest.ask("DELETE", f"/api/sessions/{id_}")
        assert 404 == reply.status_code
        assert "there is no session" in reply.json()["error"]
    assert 200 == other.ask("GET", "/api/session").status_code


def test_a_password_is_changed(browser: Browser) -> None:
    """With the old one; all other sessions end, and the next attempt takes the new one."""
    elsewhere = Browser(browser.api, "203.0.113.9")
    elsewhere.sign_in()
    browser.sign_in()
    for sent, status in (
        ({"old": "wrong", "new": "another long one"}, 403),
        ({"old": PASSWORD, "new": "another long one"}, 429),
    ):
        reply = browser.ask("PUT", "/api/session/password", sent)
        assert status == reply.status_code
    browser.address = "192.0.2.1"
    browser.cookies.delete("calldex_device")
    reply = browser.ask("PUT", "/api/session/password", {"old": PASSWORD, "new": "short"})
    assert (400, "new", "") == (
        reply.status_code,
        reply.json()["problems"][0]["parameter"],
        reply.json()["problems"][0]["given"],
    )
    changed = browser.ask("PUT", "/api/session/password", {"old": PASSWORD, "new": "another long one"})
    assert 204 == changed.status_code
    assert (200, 401) == tuple(each.ask("GET", "/api/session").status_code for each in (browser, elsewhere))
    assert (401, 200) == tuple(
        Browser(browser.api, f"192.0.2.{n}").sign_in(password=password).status_code
        for n, password in ((2, PASSWORD), (3, "another long one"))
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/session"),
        ("DELETE", "/api/session"),
        ("PUT", "/api/session/password"),
        ("GET", "/api/sessions"),
        ("DELETE", "/api/sessions/1"),
    ],
)
def test_only_who_is_signed_in(shared: Site, method: str, path: str) -> None:
    """A key has no session: these are for people."""
    reply = shared.api.request(method, path, headers={"Authorization": f"Bearer {shared.keys['admin']}"}, json=None)
    assert 401 == reply.status_code


def test_other_methods(guest: Browser) -> None:
    """What an address does not answer is told with what it does."""
    reply = guest.ask("PATCH", "/api/session")
    assert (405, "DELETE, GET, HEAD, POST") == (reply.status_code, reply.headers["allow"])
