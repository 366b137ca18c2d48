"""A small installation with two accounts, and a client that asks its public app in this process."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import msgspec
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from calldex.api.app import public
from calldex.demo import interactions
from calldex.ingest.pipeline import Post
from calldex.ingest.workers import block
from calldex.node import Node
from calldex.records.record import Cdr, canonical
from calldex.settings import Settings

T = TypeVar("T")
MAIN, OTHER = 120, 40
ADDRESSES = ip_network("127.1.0.0/16").hosts()


class Api:
    """Asks an app, from an address of this machine."""

    address: ClassVar[str] = "127.0.0.1"

    def __init__(self, app: ASGIApp, runner: asyncio.Runner) -> None:
        self.app = app
        self.runner = runner

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
        """Do something with an asynchronous client."""

        async def done() -> T:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(self.address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://calldex.test") as client:
                return await work(client)

        return self.runner.run(done())

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request."""
        return self.run(lambda client: client.request(method, path, **arguments))

    def get(
        self, path: str, key: str | None = None, headers: Mapping[str, str] | None = None, **params: Any
    ) -> httpx.Response:
        """One GET with these parameters, the key as Bearer."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        return self.request("GET", path, params=params or None, headers=sent)


def from_an_address(app: ASGIApp) -> ASGIApp:
    """The app as clients of a network reach it: the client that schemathesis makes has no network address."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("127.0.0.1", 1)} if scope["type"] == "http" else scope, receive, send)

    return asked


class Site(msgspec.Struct):
    """An installation: the node, its keys by name, and the records of each account as they were written."""

    node: Node
    api: Api
    keys: dict[str, str]
    main: list[Cdr]
    other: list[Cdr]

    def cdr(self, key: str = "admin", headers: Mapping[str, str] | None = None, **params: Any) -> httpx.Response:
        """A search."""
        return self.api.get("/api/v2/cdr", self.keys[key], headers, **params)

    def uuids(self, key: str = "admin", **params: Any) -> list[str]:
        """The uuids of a page."""
        return uuids_of(self.cdr(key, **params))


def uuids_of(reply: httpx.Response) -> list[str]:
    """The uuids of a page's records."""
    assert 200 == reply.status_code, reply.text
    return [record["uuid"] for record in reply.json()["records"]]


def newest_first(records: Sequence[Cdr]) -> list[str]:
    """The uuids in the order in which they are served."""
    return [record.uuid for record in sorted(records, key=lambda r: (r.started_at, r.uuid), reverse=True)]


def write(node: Node, account: str, records: Sequence[Cdr]) -> None:
    """Write records as a client that posts them would."""
    account_id = node.directory.account(account).id
    node.ingest.post(Post(account_id, block(map(canonical, records), ""), None, b"", lambda _: b""))


USERS = {
    "admin": ("main", "admin", "read"),
    "analyst": ("main", "analyst", "read"),
    "supervisor": ("main", "supervisor", "read"),
    "phone": ("main", "hardware_phone", "read"),
    "ingest": ("main", "admin", "ingest"),
    "agent_ingest": ("main", "agent", "ingest"),
    "other": ("other", "admin", "read"),
    "other_ingest": ("other", "admin", "ingest"),
}


def people(node: Node) -> dict[str, str]:
    """Two accounts with users in several roles, and a key of each."""
    node.directory.add_account("other")
    keys = {}
    for name, (account, role, scope) in USERS.items():
        user = node.directory.add_user(f"{name}@{account}.example.com", name.title(), role, account=account)
        keys[name] = node.directory.create_key(user.email, (scope,))
    return keys


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all tests."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test asks from an address of its own, so that none uses up what another may ask without a valid key."""
    monkeypatch.setattr(Api, "address", str(next(ADDRESSES)))


@pytest.fixture(scope="session")
def hired(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data directory without records, and its keys: to be copied, as making one takes longer than most tests."""
    data = tmp_path_factory.mktemp("hired")
    with Node(Settings(data=data, threads=2)) as node:
        return data, people(node)


@contextmanager
def opened(data: Path, keys: dict[str, str], folder: Path, runner: asyncio.Runner) -> Iterator[Site]:
    """A site on a copy of a data directory, in a folder that is not there yet."""
    shutil.copytree(data, folder)
    with Node(Settings(data=folder, threads=2)) as node:
        yield Site(node, Api(public(node), runner), dict(keys), [], [])


@pytest.fixture
def empty(hired: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner) -> Iterator[Site]:
    """A site without records, of the test's own."""
    with opened(*hired, tmp_path / "data", runner) as site:
        yield site


@pytest.fixture(scope="module")
def shared(
    hired: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner
) -> Iterator[Site]:
    """A site without records, for those tests of a module that do not get in each other's way."""
    with opened(*hired, tmp_path_factory.mktemp("shared") / "data", runner) as site:
        yield site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Iterator[Site]:
    """A site with records in both accounts; tests do not write to it."""
    main, other = list(interactions(MAIN, seed=1)), list(interactions(OTHER, seed=2))
    with Node(Settings(data=tmp_path_factory.mktemp("site"), threads=2)) as node:
        keys = people(node)
        write(node, "main", main)
        write(node, "other", other)
        yield Site(node, Api(public(node), runner), keys, main, other)


def walk(site: Site, key: str = "admin", **params: Any) -> Iterator[httpx.Response]:
    """The documented loop: the page stays 1, the token is replaced after each reply."""
    token = ""
    while token is not None:
        reply = site.cdr(key, search_token=token, **params)
        yield reply
        token = reply.json()["search_token"]
