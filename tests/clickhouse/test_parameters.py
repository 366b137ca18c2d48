"""Values of any length travel as parameters over HTTP, which ClickHouse bounds."""

from __future__ import annotations

from contextlib import closing

import pytest

from calldex.access import Scope
from calldex.search.query import Query
from calldex.store.clickhouse.address import parse_dsn
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.dialect import CDR_TABLE, CLICKHOUSE
from calldex.store.sql import Parameter, Sql, where
from tests.clickhouse.cluster import Cluster


@pytest.mark.parametrize(
    "value", ["é'\\" * 50_000, "x" * 30_000, "x" * 30_001, ""], ids=["long", "most", "more", "none"]
)
def test_texts(hosts: Cluster, value: str) -> None:
    """A text arrives as it is."""
    with closing(Hosts(parse_dsn(hosts.address()), 20)) as engine:
        assert [(value,)] == engine.rows(Sql("SELECT ?", (value,)))


@pytest.mark.parametrize("count", [0, 1, 3_000, 3_001, 20_000])
def test_lists(hosts: Cluster, count: int) -> None:
    """A list arrives as it is, whatever is in it."""
    numbers = [2**62 + n for n in range(count)]
    lists: list[Parameter] = [numbers, [str(n) for n in numbers], [n.to_bytes(16) for n in numbers]]
    with closing(Hosts(parse_dsn(hosts.address()), 20)) as engine:
        for value in lists:
            assert isinstance(value, list)
            found = engine.rows(Sql("SELECT arrayJoin(?) AS json", (value,)))
            told = [each.encode() if isinstance(each, str) else each for each in value]
            assert told == [each for (each,) in found]


def test_a_wide_reach(hosts: Cluster) -> None:
    """A scope may hold as many ids as a hundred groups do."""
    ids = tuple(range(2**47, 2**47 + 20_000))
    scope = Scope(account_id=10**6, agents=ids, queues=ids, campaigns=ids, teams=ids[:2_000])
    condition = where(Query(scope=scope), 1, CLICKHOUSE)
    with closing(Hosts(parse_dsn(hosts.address()), 20)) as engine:
        assert [(0,)] == engine.rows(
            Sql(f"SELECT count() FROM {CDR_TABLE} WHERE {condition.text}", condition.parameters)
        )
