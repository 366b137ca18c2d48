"""A real server with a contact centre, and a real browser that looks at its page.

A test fails on anything the page does that its `Content-Security-Policy` forbids, and on any error of a script.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from calldex.demo import interactions
from calldex.directory.openid import OpenidClient
from calldex.node import Node
from calldex.recordings.places import INVENTED
from calldex.records.record import Cdr
from calldex.settings import Settings
from tests.api.conftest import people, write
from tests.api.serving import Server

CHROMIUM: Final = shutil.which("chromium")
ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PASSWORD: Final = "correct horse battery"
RECORDS: Final = 20_000
_UUID: Final = re.compile("[0-9a-f-]{36}")
_WATCH: Final = (
    "addEventListener('securitypolicyviolation', (event) => console.error("
    "'POLICY', event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber))"
)

expect.set_options(timeout=20_000)


class Place(msgspec.Struct):
    """The server with its people's keys, and the records of the account `main`, newest first."""

    server: Server
    keys: dict[str, str]
    records: list[Cdr]

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for all tests, which write nothing to it but sessions."""
    data = tmp_path_factory.mktemp("web") / "data"
    records = list(interactions(RECORDS, seed=3))
    with Node(Settings(data=data, threads=2)) as node:
        keys = people(node)
        write_all(node, records)
        node.directory.add_source("demo", "jsonl", {"recordings": INVENTED})
        agent = next(each for each in sorted(records, key=lambda each: each.started_at, reverse=True) if each.agent)
        name, agent_id = str(agent.agent), agent.agent_id or 0
        node.directory.add_user("agent@main.example.com", name, "agent", account="main", agent_id=agent_id)
        node.directory.add_account("quiet")
        node.directory.add_user("quiet@quiet.example.com", "Quinn Quiet", "admin", account="quiet")
        nobody = {"issuer": "http://127.0.0.1:9", "client_id": "calldex", "client_secret": "a secret of both"}
        node.directory.set_openid(OpenidClient(account="quiet", claim="groups", groups={"all": ("agent",)}, **nobody))
        for name in ("admin", "analyst", "phone", "other", "agent", "quiet"):
            node.directory.set_password(email_of(name), PASSWORD)
    server = Server(data, export_targets=f"nightly={tmp_path_factory.mktemp('nightly')}")
    yield Place(server, keys, sorted(records, key=lambda each: (each.started_at, each.uuid), reverse=True))
    server.end()


def email_of(name: str) -> str:
    """The e-mail address of one of the people."""
    return f"{name}@{name if name in ('other', 'quiet') else 'main'}.example.com"


def write_all(node: Node, records: list[Cdr]) -> None:
    """Write records in as many requests as it takes."""
    for at in range(0, len(records), 10_000):
        write(node, "main", records[at : at + 10_000])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module: while it runs, the thread's event loop is its own."""
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        yield browser
        browser.close()


Opened = Callable[..., BrowserContext]


@pytest.fixture
def watched(browser: Browser) -> Iterator[Opened]:
    """Makes contexts of that browser; at the end no page of theirs may have done what it must not."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(**options: Any) -> BrowserContext:
        given: dict[str, Any] = {"viewport": {"width": 1366, "height": 800}, "locale": "en-GB", **options}
        context = browser.new_context(**given)
        context.set_default_timeout(20_000)
        context.add_init_script(_WATCH)
        context.on("console", lambda said: wrong.append(said.text) if "POLICY" in said.text else None)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        contexts.append(context)
        return context

    yield opened
    for context in contexts:
        context.close()
    assert [] == wrong


@pytest.fixture(scope="session")
def cookies_of(place: Place) -> Callable[[str], httpx.Cookies]:
    """The cookies of somebody, by their name, who signs in once: that takes its time on purpose."""

    @cache
    def signed_in(name: str) -> httpx.Cookies:
        given = {"email": email_of(name), "password": PASSWORD}
        reply = httpx.post(f"{place.url}/api/session", json=given, headers={"Origin": place.url}, timeout=60)
        assert reply.is_success, reply.text
        return reply.cookies

    return signed_in


TabOf = Callable[..., Page]


@pytest.fixture
def tab_of(place: Place, watched: Opened, cookies_of: Callable[[str], httpx.Cookies]) -> TabOf:
    """Makes tabs in which somebody is signed in, by their name; options as those of a context."""

    def opened(name: str, **options: Any) -> Page:
        context = watched(**options)
        cookies = cookies_of(name).items()
        context.add_cookies([{"name": each, "value": value, "url": place.url} for each, value in cookies])
        return context.new_page()

    return opened


@pytest.fixture
def page(tab_of: TabOf) -> Page:
    """A tab in which the admin is signed in."""
    return tab_of("admin")


def list_at(page: Page, url: str) -> None:
    """Open an address and wait for its rows."""
    page.goto(url)
    expect(page.get_by_test_id("row").first).to_have_attribute("data-uuid", _UUID)


def total(page: Page) -> int:
    """The total that the foot tells."""
    return int(page.get_by_test_id("total").inner_text().replace(",", ""))


def until(page: Page, expression: str) -> None:
    """Wait for something to be so. The browser's own way to wait for it needs what the page's policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"it never came to be that {expression}"
        page.wait_for_timeout(50)
