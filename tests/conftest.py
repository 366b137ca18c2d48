"""A PostgreSQL server for all tests of a run, and databases on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import structlog
from hypothesis import settings

from tests import postgres
from tests.directory.places import PostgresqlPlace
from tests.examples import examples

settings.register_profile("calldex", max_examples=examples(100))
settings.load_profile("calldex")

OWN_ENGINE: Final = (("cluster", "test_migrate.py"), ("cluster", "test_care.py"))
# Sorts otherwise than Python does, as databases in use may.
_LIKE: Final = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever order chance made: those first whose ClickHouse lies in folders of their own. A process can have one
    such engine at a time, and the others share one from then on."""
    items.sort(key=lambda item: item.path.parts[-2:] not in OWN_ENGINE)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a test, or a command within it, did to the log is undone: the next one may read it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """PostgreSQL, with an empty database and one with a directory as it is after its first opening."""
    with postgres.server() as started:
        for name in ("empty", "new"):
            started.execute(f"CREATE DATABASE {name} {_LIKE}")
        PostgresqlPlace(started, "new").open().close()
        yield started


@pytest.fixture
def postgresql(server: postgres.Server) -> Iterator[PostgresqlPlace]:
    """A new directory of the test's own."""
    yield from database(server, "new")


def database(server: postgres.Server, template: str) -> Iterator[PostgresqlPlace]:
    """A copy of a database, for as long as the test lasts."""
    server.execute(f"CREATE DATABASE test TEMPLATE {template}")
    yield PostgresqlPlace(server, "test")
    server.execute("DROP DATABASE test WITH (FORCE)")
