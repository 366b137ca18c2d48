"""Signing in by an OpenID Connect provider: the whole way with a real one, and what comes of one that lies."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from calldex.access import Reach
from calldex.api import openid, provider
from calldex.clock import now_ms
from calldex.directory import AuditFilter, Client, Directory, GroupChanges, OpenidClient
from calldex.errors import Unauthorized
from tests.api.conftest import Site
from tests.examples import first_are_quick
from tests.openid.providers import CLIENT_ID, CLIENT_SECRET, Liar, lying, real

GROUPS = {"bosses": ("admin",), "floor": ("agent",), "berlin": ("Berlin",), "quality": ("Berlin", "Quality")}
PEOPLE: dict[str, dict[str, Any]] = {
    "ana": {"email": "Ana@example.com", "email_verified": True, "name": "Ana Ruiz", "groups": ["bosses"]},
    "ben": {"email": "ben@example.com", "email_verified": True, "groups": ["quality", "floor", "canteen"]},
    "eve": {"email": "eve@example.com", "email_verified": True, "name": "Eve", "groups": ["canteen"]},
    "two": {"email": "two@example.com", "email_verified": True, "name": "Two", "groups": ["bosses", "floor"]},
    "new": {"email": "new@example.com", "email_verified": False, "name": "New", "groups": ["bosses"]},
    "text": {"email": "text@example.com", "email_verified": True, "name": "Text", "groups": "berlin"},
    "none": {"email_verified": True, "name": "None", "groups": ["bosses"]},
    "other": {"email": "other@other.example.com", "email_verified": True, "name": "O", "groups": ["bosses"]},
    "boss": {"email": "admin@main.example.com", "email_verified": True, "name": "B", "groups": ["berlin"]},
}


@pytest.fixture(
    scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["asked", "in the ID token"]
)
def issuer(request: pytest.FixtureRequest) -> Iterator[str]:
    """A real provider."""
    with real(PEOPLE, in_id_token=request.param) as found:
        yield found


@pytest.fixture
def liar() -> Iterator[Liar]:
    """One that lies."""
    with lying() as found:
        yield found


@pytest.fixture
def directory(empty: Site) -> Directory:
    """A directory with two groups beside the roles."""
    for name in ("Berlin", "Quality"):
        changes = GroupChanges(name=name, permissions=("see_cdrs",), reach=Reach(queues=(1,)))
        empty.node.directory.put_group("main", None, changes)
    return empty.node.directory


def client_of(issuer: str, secret: str = CLIENT_SECRET, groups: dict[str, tuple[str, ...]] = GROUPS) -> OpenidClient:
    """What an owner sets up."""
    return OpenidClient(
        account="main", issuer=issuer, client_id=CLIENT_ID, client_secret=secret, claim="groups", groups=groups
    )


class Browser:
    """What a browser does: keeps cookies, follows redirects, fills in forms."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookies = httpx.Cookies()

    def ask(self, method: str, url: str, follow: bool = False, **arguments: Any) -> httpx.Response:
        """One request, or as many as it is sent on to."""

        async def asked() -> httpx.Response:
            mounts = {"all://calldex.test": httpx.ASGITransport(self.site.api.app, raise_app_exceptions=False)}
            async with httpx.AsyncClient(
                mounts=mounts, base_url="http://calldex.test", cookies=self.cookies, follow_redirects=follow, timeout=30
            ) as client:
                reply = await client.request(method, url, **arguments)
                self.cookies = client.cookies
                return reply

        return self.site.api.runner.run(asked())

    def onward(self, reply: httpx.Response) -> httpx.Response:
        """Follow redirects up to the one into Calldex."""
        while reply.has_redirect_location and not reply.headers["location"].startswith("http://calldex.test/"):
            reply = self.ask("GET", urljoin(str(reply.url), reply.headers["location"]))
        return reply

    def to_the_provider(self, account: str = "main") -> httpx.Response:
        """Begin to sign in: the provider's first page."""
        return self.onward(self.ask("GET", "/openid/start", params={"account": account}))

    def back(self, login: str) -> str:
        """Sign in with the provider, and agree: the address in Calldex to which it sends the browser back."""
        page = self.to_the_provider()
        while not page.has_redirect_location:
            (action,) = re.findall(r'action="([^"]+)"', page.text)
            (prompt,) = re.findall(r'name="prompt" value="(\w+)"', page.text)
            typed = {"prompt": prompt, "login": login, "password": "any"}
            page = self.onward(self.ask("POST", urljoin(str(page.url), action), data=typed))
        address: str = page.headers["location"]
        return address

    def sign_in(self, login: str) -> httpx.Response:
        """All of it: Calldex's reply."""
        return self.ask("GET", self.back(login))

    @property
    def status(self) -> int:
        """What the API says to who has this browser's cookies."""
        return self.ask("GET", "/api/session").status_code


@pytest.fixture
def browser(empty: Site) -> Browser:
    """A browser of somebody who is not signed in."""
    return Browser(empty)


def told(reply: httpx.Response) -> tuple[int, str]:
    """Status and message of an error."""
    return reply.status_code, reply.json()["error"]


# --- with a real provider ---------------------------------------------------------------------------------------------


def test_the_whole_way(browser: Browser, directory: Directory, issuer: str) -> None:
    """Who signs in with the provider for the first time becomes a user with what their groups stand for."""
    directory.set_openid(client_of(issuer))
    reply = browser.sign_in("ana")
    assert (303, "/") == (reply.status_code, reply.headers["location"])
    me = browser.ask("GET", "/api/session").json()
    assert {
        "email": "ana@example.com",
        "name": "Ana Ruiz",
        "account": "main",
        "role": "admin",
        "groups": ["Admin"],
    } == {name: me[name] for name in ("email", "name", "account", "role", "groups")}
    assert 200 == browser.ask("GET", "/api/v2/cdr").status_code
    assert "calldex_openid" not in browser.cookies
    noted = directory.audit_entries(None, AuditFilter(), 10)[::-1]
    assert [("calldex", "user_added", "ana@example.com"), ("ana@example.com", "sign_in", "")] == [
        (each.actor, each.action, each.target) for each in noted[:2]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("login", "rights"), [("ben", ("agent", ("Berlin", "Quality"))), ("text", (None, ("Berlin",)))]
)
def test_what_groups_stand_for(
    browser: Browser, directory: Directory, issuer: str, login: str, rights: tuple[str | None, tuple[str, ...]]
) -> None:
    """A value stands for a role, for groups or for nothing; a claim may be one text as well; a name is not needed."""
    directory.set_openid(client_of(issuer))
    assert 303 == browser.sign_in(login).status_code
    user = directory.user(f"{login}@example.com")
    assert rights == (user.role, user.groups)


@pytest.mark.slow
def test_rights_follow_the_provider(browser: Browser, directory: Directory, issuer: str) -> None:
    """At each sign-in, rights become exactly what the provider's word stands for now: nothing is kept, or added to."""
    directory.set_openid(client_of(issuer))
    directory.add_user("ben@example.com", "Ben", "supervisor", groups=("Berlin",))
    browser.sign_in("ben")
    directory.remove_group("main", "Berlin")
    browser.sign_in("ben")
    user = directory.user("ben@example.com")
    assert ("Ben", "agent", ("Quality",)) == (user.name, user.role, user.groups)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "stays"), [(None, False), ("agent", False), ("admin", True)], ids=["nobody", "an agent", "an admin"]
)
def test_nobody_waits_for_who_will_be_more(
    browser: Browser, directory: Directory, issuer: str, role: str | None, stays: bool
) -> None:
    """Whoever had keys, a password and sessions under an address before its owner came with greater rights than they
    were made for, has none of them afterwards."""
    directory.set_openid(client_of(issuer))
    ana = directory.add_user("ana@example.com", "Ana", role)
    key, came = directory.create_key(ana.email, ("read", "manage")), Client(address="198.51.100.7")
    directory.set_password(ana.email, "correct horse battery")
    token = directory.open_session(ana.id, came, now_ms()).token
    assert 303 == browser.sign_in("ana").status_code
    assert 200 == browser.status
    found = directory.find_key(key), directory.find_session(token, now_ms())
    assert [stays] * 2 == [each is not None for each in found]
    if stays:
        directory.sign_in(ana.email, "correct horse battery", came, now_ms())
    else:
        with pytest.raises(Unauthorized):
            directory.sign_in(ana.email, "correct horse battery", came, now_ms())
        noted = directory.audit_entries(directory.account().id, AuditFilter(action="user_changed"), 10)
        assert ["1 keys, 1 sessions and the password"] == [each.detail["ended"] for each in noted]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("login", "refusal"),
    [
        ("eve", (403, "nothing in the provider's groups lets you in here")),
        ("two", (403, "admin and agent at once; a user has one role")),
        ("new", (403, "does not say that your e-mail address was verified")),
        ("none", (403, "the provider sent no e-mail address")),
        ("other", (403, "disabled, or is not of this account")),
        ("boss", (409, "would have no active admin left")),
    ],
)
def test_who_is_not_let_in(
    browser: Browser, directory: Directory, issuer: str, login: str, refusal: tuple[int, str]
) -> None:
    """Whose groups stand for nothing, who has no verified e-mail address or one of another account, and who would have
    to lose a right that somebody must have: they get the reason and no session, and nothing is changed."""
    directory.set_openid(client_of(issuer))
    directory.disable_user("ingest@main.example.com")  # the other admin
    before = directory.users()
    status, reason = told(browser.sign_in(login))
    assert (refusal[0], True) == (status, refusal[1] in reason)
    assert 401 == browser.status
    assert before == directory.users()


@pytest.mark.slow
def test_who_is_disabled(browser: Browser, directory: Directory, issuer: str) -> None:
    """The provider's word does not enable anybody; it is noted who tried."""
    directory.set_openid(client_of(issuer))
    directory.add_user("ana@example.com", "Ana", "agent")
    directory.disable_user("ana@example.com")
    assert (403, 401) == (browser.sign_in("ana").status_code, browser.status)
    assert "agent" == directory.user("ana@example.com").role
    noted = directory.audit_entries(directory.account().id, AuditFilter(action="sign_in_failed"), 10)
    assert [("ana@example.com", 403)] == [(each.actor, each.status) for each in noted]


@pytest.mark.slow
def test_who_changes_their_mind(browser: Browser, directory: Directory, issuer: str) -> None:
    """Who goes back from the provider without signing in is not let in."""
    directory.set_openid(client_of(issuer))
    page = browser.to_the_provider()
    (abort,) = re.findall(r'href="([^"]+/abort)"', page.text)
    came = browser.onward(browser.ask("GET", urljoin(str(page.url), abort))).headers["location"]
    status, reason = told(browser.ask("GET", came))
    assert (403, True) == (status, "access_denied" in reason)


@pytest.mark.slow
def test_an_answer_is_good_once_and_here(browser: Browser, empty: Site, directory: Directory, issuer: str) -> None:
    """The address that the provider sends a browser to is worth nothing to another browser, nor a second time."""
    directory.set_openid(client_of(issuer))
    address = browser.back("ana")
    thief = Browser(empty)
    assert (400, "signing in was not begun in this browser, or took too long; start again") == told(
        thief.ask("GET", address)
    )
    thief.to_the_provider()
    assert 403 == thief.ask("GET", address).status_code
    kept = httpx.Cookies(browser.cookies)
    assert 303 == browser.ask("GET", address).status_code
    browser.cookies = kept
    assert (403, 401) == (browser.ask("GET", address).status_code, browser.status)


def test_what_the_provider_is_asked(browser: Browser, directory: Directory, issuer: str) -> None:
    """The browser carries the question in the open, and what only we may know again sealed, for ten minutes."""
    directory.set_openid(client_of(issuer))
    reply = browser.ask("GET", "/openid/start")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(reply.headers["location"]).query).items()}
    assert ("code", "S256", CLIENT_ID, "openid email profile groups", "http://calldex.test/openid/callback") == tuple(
        asked[name] for name in ("response_type", "code_challenge_method", "client_id", "scope", "redirect_uri")
    )
    assert {43} == {len(asked["code_challenge"])}
    assert min(len(asked["state"]), len(asked["nonce"])) >= 20
    (cookie,) = reply.headers.get_list("set-cookie")
    assert cookie.endswith("; HttpOnly; Max-Age=600; Path=/; SameSite=lax")
    sealed = browser.cookies["calldex_openid"]
    assert asked["state"].encode() not in base64.urlsafe_b64decode(sealed + "==")


@pytest.mark.slow
def test_an_attempt_that_took_too_long(
    browser: Browser, directory: Directory, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back after ten minutes starts again."""
    directory.set_openid(client_of(issuer))
    address = browser.back("ana")
    monkeypatch.setattr(openid, "ATTEMPT_S", 0)
    assert 400 == browser.ask("GET", address).status_code


@pytest.mark.slow
def test_a_wrong_secret(browser: Browser, directory: Directory, issuer: str) -> None:
    """When the provider does not take our secret, nobody gets in, and the reply does not tell it."""
    directory.set_openid(client_of(issuer, "some other secret"))
    reply = browser.sign_in("ana")
    assert 403 == reply.status_code
    assert "invalid_client" in reply.json()["error"]
    assert "some other secret" not in reply.text


def test_a_provider_that_is_not_there(browser: Browser, directory: Directory) -> None:
    """An account without one, one that is not there, and one whose provider does not answer."""
    for account in ("main", "north"):
        status, reason = told(browser.to_the_provider(account))
        assert (404, f"no OpenID Connect provider is set up for the account '{account}'") == (status, reason)
    directory.set_openid(client_of("http://127.0.0.1:9"))
    assert 503 == browser.ask("GET", "/openid/start").status_code


# --- with one that lies -----------------------------------------------------------------------------------------------


def come_back(browser: Browser, liar: Liar, **parameters: str) -> httpx.Response:
    """Go to the provider and come back with a code: Calldex's reply."""
    begun = browser.ask("GET", "/openid/start")
    if not begun.has_redirect_location:
        return begun
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    liar.claims.setdefault("nonce", asked["nonce"])
    return browser.ask("GET", "/openid/callback", params={"code": "x", "state": asked["state"], **parameters})


def other_key(liar: Liar) -> None:
    """Signs with a key that is not its own."""
    liar.signed["key"] = RSAKey.generate_key(2048, {"kid": "one"})


def by_secret(liar: Liar) -> None:
    """Signs with the secret that we have in common, which its metadata allow."""
    liar.signed = {"alg": "HS256", "key": OctKey.import_key(CLIENT_SECRET)}
    liar.metadata["id_token_signing_alg_values_supported"] = ["HS256", "RS256"]


def by_public_key(liar: Liar) -> None:
    """Signs with its public key as if that were a secret."""
    liar.signed = {"alg": "HS256", "key": OctKey.import_key(json.dumps(liar.key.as_dict(private=False)).encode())}
    liar.metadata["id_token_signing_alg_values_supported"] = ["HS256", "RS256"]


def unsigned(liar: Liar) -> None:
    """Signs nothing, which its metadata allow."""

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    liar.metadata["id_token_signing_alg_values_supported"] = ["none", "RS256"]
    token = f"{part({'alg': 'none', 'kid': 'one'})}.{part(liar.claims)}."
    liar.said["/token"] = {"access_token": "x", "token_type": "Bearer", "id_token": token}


def says(**claims: Any) -> Callable[[Liar], None]:
    """Says something else of who came."""

    def say(liar: Liar) -> None:
        liar.claims.update(claims)

    return say


def keeps_to_itself(claim: str) -> Callable[[Liar], None]:
    """Leaves something out."""

    def keep(liar: Liar) -> None:
        del liar.claims[claim]

    return keep


def answers(path: str, content: object) -> Callable[[Liar], None]:
    """Answers something else."""

    def answer(liar: Liar) -> None:
        liar.said[path] = content

    return answer


def tells_of_another(liar: Liar) -> None:
    """Its ID token is of somebody; of another it tells an e-mail address."""
    del liar.claims["email"]
    liar.said["/me"] = {"sub": "boss", "email": "boss@example.com", "email_verified": True}


def tells_half_a_character(liar: Liar) -> None:
    """Its e-mail address cannot be written again."""
    del liar.claims["email"]
    told = {"sub": liar.claims["sub"], "email": "\ud800@example.com", "email_verified": True}
    liar.said["/me"] = json.dumps(told).encode()


BARE_TOKEN = {"access_token": "x", "token_type": "Bearer"}
LIES: list[tuple[Callable[[Liar], None], int]] = [
    (other_key, 403),
    (by_secret, 403),
    (by_public_key, 403),
    (unsigned, 403),
    (tells_of_another, 403),
    (says(iss="http://127.0.0.1:1"), 403),
    (says(aud="another client"), 403),
    (says(aud=["another client"], azp=CLIENT_ID), 403),
    (says(aud=[CLIENT_ID, "another client"], azp="another client"), 403),
    (says(exp=1), 403),
    (says(nonce="of another attempt"), 403),
    (says(email_verified="true"), 403),
    (tells_half_a_character, 403),
    (says(groups={"bosses": True}), 403),
    (says(groups=["bosses"] * 1001), 403),
    (keeps_to_itself("sub"), 403),
    (keeps_to_itself("exp"), 403),
    (keeps_to_itself("iss"), 403),
    (keeps_to_itself("aud"), 403),
    (keeps_to_itself("groups"), 403),
    (answers("/token", BARE_TOKEN), 403),
    (
        answers("/token", BARE_TOKEN | {"userinfo": {"sub": "x", "email": "ana@example.com", "email_verified": True}}),
        403,
    ),
    (answers("/token", b"<html>"), 503),
    (answers("/token", b" " * 300_000), 503),
    (answers("/jwks", b"<html>"), 503),
    (answers("/.well-known/openid-configuration", b"<html>"), 503),
    (answers("/.well-known/openid-configuration", gzip.compress(b"{}")), 503),
    (answers("/.well-known/openid-configuration", {"issuer": "https://example.com"}), 503),
]


@pytest.mark.parametrize(
    ("lie", "status"), first_are_quick(LIES, 10), ids=lambda value: getattr(value, "__name__", None)
)
def test_lies_are_not_believed(shared: Site, liar: Liar, lie: Callable[[Liar], None], status: int) -> None:
    """What is not proven to be the provider's word, to us, now, about who came, lets nobody in."""
    directory, browser = shared.node.directory, Browser(shared)
    directory.set_openid(client_of(liar.issuer, groups={"bosses": ("admin",)}))
    before = directory.users()
    lie(liar)
    reply = come_back(browser, liar)
    assert status == reply.status_code, reply.text
    assert 401 == browser.status
    assert before == directory.users()
    assert CLIENT_SECRET not in reply.text


def test_the_truth_is_believed(browser: Browser, directory: Directory, liar: Liar) -> None:
    """The same provider gets somebody in when it tells no lie; it is asked no more than is needed."""
    directory.set_openid(client_of(liar.issuer))
    assert 303 == come_back(browser, liar).status_code
    assert 200 == browser.status
    assert ["/.well-known/openid-configuration", "/token", "/jwks"] == liar.asked
    liar.claims.pop("nonce")
    assert 303 == come_back(browser, liar).status_code
    assert 1 == liar.asked.count("/.well-known/openid-configuration")


@pytest.mark.slow
def test_keys_that_change(browser: Browser, directory: Directory, liar: Liar) -> None:
    """A provider may sign with a new key at any time."""
    directory.set_openid(client_of(liar.issuer))
    assert 303 == come_back(browser, liar).status_code
    liar.key = RSAKey.generate_key(2048, {"kid": "two"})
    liar.signed = {"alg": "RS256", "key": liar.key}
    liar.claims.pop("nonce")
    assert 303 == come_back(browser, liar).status_code


@pytest.mark.parametrize("iss", ["https://example.com", ""])
def test_an_answer_of_another_provider(browser: Browser, directory: Directory, liar: Liar, iss: str) -> None:
    """Where an answer says from whom it is, it must be from whom was asked."""
    directory.set_openid(client_of(liar.issuer))
    assert 403 == come_back(browser, liar, iss=iss).status_code
    assert "/token" not in liar.asked


def test_an_answer_that_must_say_from_whom_it_is(browser: Browser, directory: Directory, liar: Liar) -> None:
    """A provider that promises to say so is held to it."""
    liar.metadata["authorization_response_iss_parameter_supported"] = True
    directory.set_openid(client_of(liar.issuer))
    assert 403 == come_back(browser, liar).status_code
    liar.claims.pop("nonce")
    assert 303 == come_back(browser, liar, iss=liar.issuer).status_code


def test_a_provider_that_takes_its_time(
    browser: Browser, directory: Directory, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for longer than a few seconds."""
    monkeypatch.setattr(provider, "PATIENCE_S", 0.2)
    directory.set_openid(client_of(liar.issuer))
    liar.pause_s = 0.6
    status, reason = told(browser.ask("GET", "/openid/start"))
    assert (503, True) == (status, "did not answer within 0.2 s" in reason)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_nothing_goes_in_the_open(browser: Browser, directory: Directory, liar: Liar, endpoint: str) -> None:
    """Neither people nor the secret nor keys travel without TLS, wherever the provider wants them."""
    liar.metadata[endpoint] = "http://192.0.2.1/x"
    directory.set_openid(client_of(liar.issuer))
    status, reason = told(come_back(browser, liar))
    assert (503, True) == (status, "not https" in reason)


def test_settings_do_not_come_from_the_provider(browser: Browser, directory: Directory, liar: Liar) -> None:
    """What a provider publishes cannot switch off TLS, or send us through a proxy."""
    liar.metadata |= {"verify": False, "proxy": "http://127.0.0.1:9", "transport": "x", "scope": "all", "timeout": 0}
    directory.set_openid(client_of(liar.issuer))
    assert 303 == come_back(browser, liar).status_code


def test_a_silent_provider_gets_one_connection(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many strangers begin to sign in, it is asked once, and not again at once."""
    monkeypatch.setattr(provider, "PATIENCE_S", 0.5)
    came = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        await reader.read()
        writer.close()

    async def start(client: httpx.AsyncClient) -> list[int]:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            shared.node.directory.set_openid(
                OpenidClient(
                    account="other",
                    issuer=f"http://127.0.0.1:{port}",
                    client_id="c",
                    client_secret="s",
                    claim="groups",
                    groups={"a": ("agent",)},
                )
            )
            found = await asyncio.gather(*(client.get("/openid/start?account=other") for _ in range(30)))
            found.append(await client.get("/openid/start?account=other"))
        return [reply.status_code for reply in found]

    assert [503] * 31 == shared.api.run(start)
    assert 1 == came
