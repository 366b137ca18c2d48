"""A PostgreSQL server for all tests of a run, and databases on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from threading import enumerate as threads
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings

from calldex.directory import Directory
from tests import postgres
from tests.directory.places import PostgresqlPlace
from tests.examples import examples

# How long an example takes is not told by the clock of a busy machine.
settings.register_profile(
    "calldex", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("calldex")

OWN_ENGINE: Final = (("cluster", "test_migrate.py"), ("cluster", "test_care.py"))
# Sorts otherwise than Python does, as databases in use may.
_LIKE: Final = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever order chance made: those first whose ClickHouse lies in folders of their own. A process can have one
    such engine at a time, and the others share one from then on."""
    items.sort(key=lambda item: item.path.parts[-2:] not in OWN_ENGINE)


@pytest.fixture(scope="session", autouse=True)
def opened_in() -> Iterator[dict[Thread, str]]:
    """By the threads that keep up the columns of open stores: the test in which each was first there. In the end, when
    all fixtures have gone, none is left: the engine would write about what it has to leave behind."""
    found: dict[Thread, str] = {}
    yield found
    assert [] == [test for thread, test in found.items() if thread.is_alive()]


@pytest.fixture(autouse=True)
def store_is_closed_in_the_end(request: pytest.FixtureRequest, opened_in: dict[Thread, str]) -> Iterator[None]:
    """See `opened_in`."""
    yield
    for thread in threads():
        if thread.name == "columns":
            opened_in.setdefault(thread, request.node.nodeid)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a test, or a command within it, did to the log is undone: the next one may read it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def new_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory's file as it is after its first opening."""
    path = tmp_path_factory.mktemp("directory") / "new.sqlite"
    Directory.open(path).close()
    return path


@pytest.fixture(autouse=True)
def migrated_once(new_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that a test opens for the first time is a copy of one: migrating takes longer than most tests. Those
    of the directory itself do without, see `tests/directory/conftest.py`."""
    opened = Directory.open

    def copied(path: Path, *, migrate: bool = True) -> Directory:
        if migrate and path.parent.is_dir() and not path.exists():
            shutil.copy(new_directory, path)
        return opened(path, migrate=migrate)

    monkeypatch.setattr(Directory, "open", copied)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """PostgreSQL, with an empty database and one with a directory as it is after its first opening."""
    with postgres.server() as started:
        for name in ("empty", "new"):
            started.execute(f"CREATE DATABASE {name} {_LIKE}")
        PostgresqlPlace(started, "new", tmp_path_factory.mktemp("new")).open().close()
        yield started


@pytest.fixture
def postgresql(server: postgres.Server, tmp_path: Path) -> Iterator[PostgresqlPlace]:
    """A new directory of the test's own."""
    yield from database(server, "new", tmp_path)


def database(server: postgres.Server, template: str, folder: Path) -> Iterator[PostgresqlPlace]:
    """A copy of a database, for as long as the test lasts; what belongs to it beside is in a folder."""
    server.execute(f"CREATE DATABASE test TEMPLATE {template}")
    yield PostgresqlPlace(server, "test", folder)
    server.execute("DROP DATABASE test WITH (FORCE)")
