"""A ClickHouse cluster to test with, and a directory that nodes share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calldex.directory import Directory
from calldex.directory.sealing import SEALING_FILE
from calldex.store.clickhouse.schema import ddl
from tests import postgres
from tests.clickhouse.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three hosts with Calldex's tables."""
    with cluster(tmp_path_factory.mktemp("clickhouse")) as made:
        for statement in ddl():
            made.execute(statement)
        yield made


@pytest.fixture
def hosts(running: Cluster) -> Iterator[Cluster]:
    """The same, healthy, whatever the test does to it."""
    running.heal()
    yield running
    running.heal()


@pytest.fixture(scope="session")
def shared(server: postgres.Server) -> str:
    """The address of a directory that every node uses."""
    server.execute("CREATE DATABASE nodes TEMPLATE new")
    return server.address.set(database="nodes").render_as_string()


@pytest.fixture
def directory(shared: str, tmp_path: Path) -> Iterator[Directory]:
    """One node's directory."""
    with Directory.shared(shared, tmp_path / SEALING_FILE) as opened:
        yield opened


@pytest.fixture(scope="session")
def new_account() -> Callable[[], int]:
    """Gives the id of an account that holds nothing yet."""
    return itertools.count(1).__next__
