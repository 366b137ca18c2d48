"""An installation of two accounts with people who may administer more and less, and a client of the administration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from calldex.access import Reach
from calldex.directory import GroupChanges
from tests.api.conftest import Site, opened

PREFIX = "/api/admin/v1"
ALL = ("read", "ingest", "manage")


class Office:
    """A site whose keys are those of: `boss`, an admin with all scopes; `manager`, an admin's key for manage alone;
    `clerk` and `keeper`, who may only manage users, or access; `lead`, who may do both and sees the team 10; `reader`
    and `writer`, keys of an admin; `stranger`, the other account's admin."""

    def __init__(self, site: Site, keys: dict[str, str]) -> None:
        self.site = site
        self.directory = site.node.directory
        self.keys = keys

    def open(self) -> None:
        """Hire them."""
        for name, permissions, reach in (
            ("clerk", ("manage_users",), Reach()),
            ("keeper", ("manage_access",), Reach()),
            ("lead", ("see_cdrs", "manage_users", "manage_access"), Reach(teams=(10,))),
        ):
            self.directory.put_group("main", None, GroupChanges(name=f"{name}s", permissions=permissions, reach=reach))
            self.person(name, groups=(f"{name}s",))
        self.person("boss", "admin")
        self.person("stranger", "admin", account="other")
        for name, scope in (("manager", "manage"), ("reader", "read"), ("writer", "ingest")):
            self.keys[name] = self.directory.create_key("boss@main.example.com", (scope,))

    def person(self, name: str, role: str | None = None, account: str = "main", **more: Any) -> int:
        """A user with a key for everything; their id."""
        user = self.directory.add_user(f"{name}@{account}.example.com", name.title(), role, account=account, **more)
        self.keys[name] = self.directory.create_key(user.email, ALL)
        return user.id

    def ask(self, method: str, path: str, key: str | None = "boss", **arguments: Any) -> httpx.Response:
        """One request with this key."""
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        headers |= arguments.pop("headers", {})
        return self.site.api.request(method, PREFIX + path, headers=headers, **arguments)

    def done(self, method: str, path: str, key: str = "boss", **arguments: Any) -> Any:
        """What is replied to a request that is carried out."""
        reply = self.ask(method, path, key, **arguments)
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    def refused(self, method: str, path: str, key: str | None = "boss", **arguments: Any) -> tuple[int, str]:
        """The status and the message of a request that is not."""
        reply = self.ask(method, path, key, **arguments)
        assert not reply.is_success, reply.text
        return reply.status_code, reply.json()["error"]

    def wrong(self, method: str, path: str, **arguments: Any) -> set[str]:
        """The members that are told to be wrong."""
        reply = self.ask(method, path, **arguments)
        assert 400 == reply.status_code, reply.text
        return {problem["parameter"] for problem in reply.json()["problems"]}


@pytest.fixture(scope="session")
def furnished(
    hired: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner
) -> tuple[Path, dict[str, str]]:
    """The data directory of an office, and its keys: to be copied."""
    folder = tmp_path_factory.mktemp("furnished") / "data"
    with opened(*hired, folder, runner) as site:
        office = Office(site, {})
        office.open()
        return folder, office.keys


@pytest.fixture(scope="module")
def standing(
    furnished: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner
) -> Iterator[Office]:
    """An office in which tests change nothing."""
    with opened(*furnished, tmp_path_factory.mktemp("office") / "data", runner) as site:
        yield Office(site, site.keys)


@pytest.fixture
def office(furnished: tuple[Path, dict[str, str]], tmp_path: Path, runner: asyncio.Runner) -> Iterator[Office]:
    """An office of the test's own."""
    with opened(*furnished, tmp_path / "data", runner) as site:
        yield Office(site, site.keys)
