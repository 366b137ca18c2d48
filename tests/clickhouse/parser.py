"""ClickHouse's own reading of a statement, by its engine in this process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from calldex.store.clickhouse.client import Hosts
from calldex.store.sql import Sql
from tests.engines import chdb_database


@cache
def _hosts() -> Hosts:
    return Hosts(chdb_database(Path("parser")), 20)


def clickhouse_reads(statement: str) -> bool:
    """Whether it is a statement; nothing is looked up, and nothing done."""
    ((read,),) = _hosts().rows(Sql("SELECT formatQueryOrNull(?) IS NOT NULL", (statement,)))
    return bool(read)
