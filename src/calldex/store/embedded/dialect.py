"""What is DuckDB's, which answers, and what is SQLite's, which keeps: how each writes conditions and measures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Final
from uuid import UUID

from calldex.records.fields import Kind, Op, id_set, prefix_key, prefix_range, text_set
from calldex.search.query import Condition, Query, Value
from calldex.store import Span
from calldex.store.aggregates import Functions
from calldex.store.callbacks import MOST_UUIDS, Words
from calldex.store.sql import (
    COMMON,
    LOWER,
    Dialect,
    Sql,
    any_in_text,
    any_of,
    any_text_in_text,
    any_uuid,
    by_ids,
    conjunction,
    number,
    uuid_bytes,
)

_LOWER_IN_DUCKDB: Final = f"translate({{}}, '{ascii_uppercase}', '{ascii_lowercase}')"
"""A text with its letters A to Z in lower case; DuckDB's `lower` changes others as well."""


def _begins(template: str, lower: str) -> Callable[[Condition], Sql]:
    with_text = number(template, lower)

    def write(condition: Condition) -> Sql:
        keys = prefix_range(str(condition.values[0]))
        return with_text(condition) if keys is None else Sql(f"{condition.column}_key BETWEEN ? AND ?", keys)

    return write


_FEW: Final = 16
"""Up to so many ids DuckDB compares one by one; more it plans and compares faster as a list."""


def _any_of_list(condition: Condition) -> Sql:
    if len(condition.values) <= _FEW:
        return any_of(condition)
    ids = [int(value) for value in condition.values]
    return Sql(f"{condition.column} IN (SELECT unnest(?::BIGINT[]))", (ids,))


def _is(lower: str) -> Callable[[Condition], Sql]:
    same = number("{} = ?", lower)

    def write(condition: Condition) -> Sql:
        key = Sql(f"{condition.column}_key = ?", (prefix_key(str(condition.values[0])),))
        return conjunction(key, same(condition))

    return write


def _any_of_set(template: str, set_of: Callable[[Value], str]) -> Callable[[Condition], Sql]:
    def write(condition: Condition) -> Sql:
        term = template.format(condition.column)
        return Sql(f"({' OR '.join([term] * len(condition.values))})", tuple(map(set_of, condition.values)))

    return write


def _set_of_id(value: Value) -> str:
    return id_set((int(value),))


def _set_of_text(value: Value) -> str:
    return text_set((str(value),))


def _not_ended(query: Query, as_of: int, void: Sequence[Span]) -> Sql:
    """Of an engine that changes `seq_to` when a version ends; it has transactions, and nothing void."""
    if void:
        raise ValueError("an engine with transactions has no void commits")
    return Sql("seq <= ? AND seq_to > ?", (as_of, as_of))


_IN_DUCKDB: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **COMMON,
    Op.BEGINS: _begins("starts_with({}, ?)", _LOWER_IN_DUCKDB),
    Op.CONTAINS: number("contains({}, ?)", _LOWER_IN_DUCKDB),
    Op.IS: _is(_LOWER_IN_DUCKDB),
    Op.ANY_ID: _any_of_list,
    Op.ANY_OF_SET: any_in_text("regexp_matches"),
    Op.ANY_TEXT_OF_SET: any_text_in_text("regexp_matches"),
    Op.ANY_UUID: any_uuid(UUID),
}
_IN_SQLITE: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **COMMON,
    Op.BEGINS: _begins("instr({}, ?) = 1", LOWER),
    Op.CONTAINS: number("instr({}, ?) > 0", LOWER),
    Op.IS: _is(LOWER),
    Op.ANY_OF_SET: _any_of_set("instr({}, ?) > 0", _set_of_id),
    Op.ANY_TEXT_OF_SET: _any_of_set("instr({}, ?) > 0", _set_of_text),
    Op.ANY_UUID: any_uuid(uuid_bytes),
}

DUCKDB: Final = Dialect(
    types={
        Kind.CODE: "UTINYINT",
        Kind.NUMBER: "INTEGER",
        Kind.ID: "BIGINT",
        Kind.BITS: "BIGINT",
        Kind.WORD: "VARCHAR",
        # Searching parts of numbers reads the whole column: uncompressed it takes two thirds of the time.
        Kind.PHONE: "VARCHAR USING COMPRESSION uncompressed",
        Kind.ID_SET: "VARCHAR",
        Kind.TEXT_SET: "VARCHAR",
        Kind.PASSED: "VARCHAR",
        Kind.YES_NO: "UTINYINT",
        Kind.SECONDS: "BIGINT",
        Kind.ANSWER: "BIGINT",
    },
    key_type="BIGINT",
    conditions=_IN_DUCKDB,
    reach=by_ids(_IN_DUCKDB),
    live=_not_ended,
    uuid=UUID,
)
SQLITE: Final = Dialect(
    types={
        Kind.CODE: "INTEGER",
        Kind.NUMBER: "INTEGER",
        Kind.ID: "INTEGER",
        Kind.BITS: "INTEGER",
        Kind.WORD: "TEXT",
        Kind.PHONE: "TEXT",
        Kind.ID_SET: "TEXT",
        Kind.TEXT_SET: "TEXT",
        Kind.PASSED: "TEXT",
        Kind.YES_NO: "INTEGER",
        Kind.SECONDS: "INTEGER",
        Kind.ANSWER: "INTEGER",
    },
    key_type="INTEGER",
    conditions=_IN_SQLITE,
    reach=by_ids(_IN_SQLITE),
    live=_not_ended,
    uuid=uuid_bytes,
)


def _where_in_duckdb(how: str, value: str, condition: str) -> str:
    function = {
        "sum": "coalesce(sum({0}) FILTER (WHERE {1}), 0)",
        "avg": "avg({0}) FILTER (WHERE {1})",
        "max": "max({0}) FILTER (WHERE {1})",
        "median": "quantile_disc({0}, 0.5) FILTER (WHERE {1})",
        "p90": "quantile_disc({0}, 0.9) FILTER (WHERE {1})",
    }[how]
    return function.format(value, condition)


DUCKDB_FUNCTIONS: Final = Functions(
    count=lambda condition: f"count(*) FILTER (WHERE {condition})",
    where=_where_in_duckdb,
    month="epoch_ms(date_trunc('month', make_timestamp(wall * 1000)))",
    teams="unnest(string_split(trim(team_ids, ','), ','))",
    uuid="CAST(uuid AS VARCHAR)",
    hashed="sum(CAST('0x' || left(sha256({0} || ':' || number), 16) AS UBIGINT))",
    div="//",
)
DUCKDB_WORDS: Final = Words(
    table="kept.cdr",
    # Nearly all are digits, and looking whether they are in lower case takes a third of the time that `translate` does.
    number=f"CASE WHEN lower({{0}}) = {{0}} THEN {{0}} ELSE {_LOWER_IN_DUCKDB.format('{0}')} END",
    uuid=DUCKDB_FUNCTIONS.uuid,
    newest=f"list(uuid ORDER BY started_ms DESC, uuid DESC)[1:{MOST_UUIDS}]",
    listed="(SELECT unnest(?::VARCHAR[]))",
)
