"""Every condition that can be generated is SQL in the engine's own reading, with a parameter for each question mark."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import duckdb
import pytest

from calldex.access import Scope
from calldex.records.fields import FILTERS
from calldex.search.query import parse
from calldex.store import Position, Span
from calldex.store.callbacks import As, asked
from calldex.store.clickhouse.client import bound
from calldex.store.clickhouse.dialect import CLICKHOUSE, WORDS
from calldex.store.embedded.dialect import DUCKDB, DUCKDB_WORDS, SQLITE
from calldex.store.sql import VALUE_NAMES, Dialect, Sql, conjunction, following, where
from tests.clickhouse.parser import clickhouse_reads

SCOPES: Final = (
    Scope(account_id=1, whole=True),
    Scope(account_id=1),
    Scope(account_id=1, teams=(1, 2), queues=(3,), campaigns=(4,), agents=tuple(range(5, 40))),
)
POSITION: Final = Position(1, "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44")


def duckdb_reads(sql: Sql) -> bool:
    """Whether DuckDB reads it, with these parameters."""
    (statement,) = duckdb.extract_statements(f"SELECT 1 FROM cdr WHERE {sql.text}")
    return {str(n) for n in range(1, len(sql.parameters) + 1)} == statement.named_parameters


def sqlite_reads(sql: Sql) -> bool:
    """Whether SQLite reads it, with these parameters."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            f"CREATE TABLE version (seq, seq_to, account_id, uuid, written_ms, {', '.join(VALUE_NAMES)})"
        )
        connection.execute(f"EXPLAIN SELECT 1 FROM version WHERE {sql.text}", sql.parameters)
    return True


READS: Final[Mapping[str, tuple[Dialect, Callable[[Sql], bool]]]] = {
    "duckdb": (DUCKDB, duckdb_reads),
    "sqlite": (SQLITE, sqlite_reads),
    "clickhouse": (CLICKHOUSE, lambda sql: clickhouse_reads(f"SELECT 1 FROM cdr WHERE {bound(sql)[0]}")),
}

WORDS_OF: Final = {"duckdb": DUCKDB_WORDS, "clickhouse": WORDS}


@pytest.mark.parametrize("engine", READS)
@pytest.mark.parametrize("scope", SCOPES, ids=["whole", "nothing", "lists"])
def test_every_engine_reads_what_is_written_for_it(engine: str, scope: Scope) -> None:
    """Each filter alone and all together, in each scope, with days, behind a position, and with void commits where an
    engine has them."""
    dialect, reads = READS[engine]
    void = (Span(3, 4), Span(7, 7)) if dialect is CLICKHOUSE else ()
    days = {"start_date": "2026-01-01", "end_date": "2026-01-31"}
    given = [{}, days, *({f.name: f.example} for f in FILTERS), {f.name: f.example for f in FILTERS} | days]
    for each in given:
        query, _ = parse(each.items(), scope, "UTC")
        terms = [where(query, 9, dialect, void), following(POSITION, dialect)]
        if engine in WORDS_OF:  # of what became of callers, columns are asked alone
            read = As(as_of=9, dialect=dialect, words=WORDS_OF[engine], void=void)
            terms += asked(query, (1, 2), read)
        condition = conjunction(*terms)
        assert reads(condition), condition.text


def test_what_is_no_sql_is_not_read() -> None:
    """Each engine's reading can fail."""
    wrong = Sql("account_id = ? AND (", (1,))
    assert not READS["clickhouse"][1](wrong)
    with pytest.raises(duckdb.ParserException):
        duckdb_reads(wrong)
    with pytest.raises(sqlite3.OperationalError):
        sqlite_reads(wrong)
