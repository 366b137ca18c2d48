"""A ClickHouse cluster to test with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clickhouse.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three hosts."""
    with cluster(tmp_path_factory.mktemp("clickhouse")) as made:
        yield made


@pytest.fixture
def hosts(running: Cluster) -> Iterator[Cluster]:
    """The same, healthy, whatever the test does to it."""
    running.heal()
    yield running
    running.heal()
