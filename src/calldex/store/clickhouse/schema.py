"""The tables in ClickHouse: their columns and their DDL, for one node, ClickHouse Cloud, and a cluster. Pure.

`cdr` has a row for each version of a record, and one more, without content, for each that ended (see
`store.sql.CLICKHOUSE`); the engine makes one of both when it merges parts: of every column the greatest value, which is
that of the row with content, as the other has zeroes and empty texts. `cdr_uuid` finds the begin of a record by its
uuid, so that the primary key of `cdr` finds the rest. See docs/decisions/0020.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from calldex.errors import BadSettings, Problem
from calldex.records.fields import COLUMNS, Kind
from calldex.store.sql import CDR_TABLE, CLICKHOUSE, layout

VERSION: Final = 1
"""Of the schema; it stands in the comments of the tables."""
UUID_TABLE: Final = "cdr_uuid"
LOCAL: Final = "_local"
"""What the names of a cluster's tables end in on each node, beside the distributed ones."""

# LZ4 is read twice as fast as ZSTD, which counts for what a search reads of every record; JSON is read of few.
_KEY: Final = (
    ("account_id", "UInt32", ""),
    ("started_ms", "Int64", "CODEC(Delta, LZ4)"),
    ("uuid", "FixedString(16)", ""),
    ("seq", "UInt64", "CODEC(Delta, LZ4)"),
)
_MERGED: Final = (
    ("seq_to", "UInt64", ""),
    ("content", "UInt8", ""),
    *((column.name, column.type, "") for column in layout(CLICKHOUSE)),
    ("written_ms", "Int64", "CODEC(Delta, LZ4)"),
    ("ended_ms", "Int64", ""),
    ("json", "String", "CODEC(ZSTD(1))"),
)
CDR_TYPES: Final = {name: type_ for name, type_, _ in (*_KEY, *_MERGED)}
"""The columns of `cdr` in their order, and the types of their values."""
UUID_TYPES: Final = {"account_id": "UInt32", "uuid": "FixedString(16)", "started_ms": "Int64"}

_GRANULE: Final = 1024
"""Rows that are found together. Eight times fewer than the default, as one is read with a kilobyte of JSON for each."""
_UUID_GRANULE: Final = 256
_GRAMS: Final = 6
"""Digits: of shorter parts of a number nearly every granule has all."""
_MONTH: Final = "toYYYYMM(fromUnixTimestamp64Milli(greatest(-2208988800000, least(started_ms, 10413791999999))))"
"""Months are those of UTC; what began before 1900 or after 2299, which the type cannot tell, counts to the last one."""
_DURABLE: Final = "fsync_after_insert = 1, fsync_part_directory = 1"
_CLUSTER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Table(msgspec.Struct, frozen=True):
    name: str
    definitions: tuple[str, ...]
    engine: str
    clauses: str
    granule: int


def _indexes() -> tuple[str, ...]:
    numbers = [column.name for column in COLUMNS if column.kind is Kind.PHONE]
    return (
        *(f"INDEX {name}_grams {name} TYPE ngrambf_v1({_GRAMS}, 4096, 2, 0) GRANULARITY 1" for name in numbers),
        "INDEX content_least content TYPE minmax GRANULARITY 1",
        "INDEX ended_most ended_ms TYPE minmax GRANULARITY 1",
    )


_TABLES: Final = (
    _Table(
        CDR_TABLE,
        (
            *(f"{name} {type_} {codec}".rstrip() for name, type_, codec in _KEY),
            *(f"{name} SimpleAggregateFunction(max, {type_}) {codec}".rstrip() for name, type_, codec in _MERGED),
            *_indexes(),
        ),
        "AggregatingMergeTree",
        f"PARTITION BY {_MONTH}\nPRIMARY KEY (account_id, started_ms, uuid)\n"
        "ORDER BY (account_id, started_ms, uuid, seq)",
        _GRANULE,
    ),
    _Table(
        UUID_TABLE,
        tuple(f"{name} {type_}" for name, type_ in UUID_TYPES.items()),
        "ReplacingMergeTree",
        "PRIMARY KEY (account_id, uuid)\nORDER BY (account_id, uuid, started_ms)",
        _UUID_GRANULE,
    ),
)


def ddl(cluster: str | None = None) -> list[str]:
    """The statements that make the tables: plain, for one node and for ClickHouse Cloud; or for a cluster of that name,
    with a replicated table on each node and a distributed one over them, all of an account on one shard.

    Raises `BadSettings` for what cannot be the name of a cluster.
    """
    if cluster is None:
        return [_table(table, table.name, table.engine, "") for table in _TABLES]
    if not _CLUSTER.fullmatch(cluster):
        raise BadSettings([Problem("--cluster", cluster[:100], "is no name of a cluster", "letters, digits, `_.-`")])
    statements = []
    for table in _TABLES:
        local, everywhere = f"{table.name}{LOCAL}", f" ON CLUSTER '{cluster}'"
        statements.append(_table(table, local, f"Replicated{table.engine}", everywhere))
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {table.name}{everywhere} AS {local}\n"
            f"ENGINE = Distributed('{cluster}', currentDatabase(), '{local}', cityHash64(account_id))\n"
            f"COMMENT '{comment()}'"
        )
    return statements


def _table(table: _Table, name: str, engine: str, where: str) -> str:
    # A node alone keeps no record of the blocks it was sent, unless it is told to.
    alone = "" if where else ", non_replicated_deduplication_window = 10000"
    columns = ",\n    ".join(table.definitions)
    return (
        f"CREATE TABLE IF NOT EXISTS {name}{where} (\n    {columns}\n)\nENGINE = {engine}\n{table.clauses}\n"
        f"SETTINGS index_granularity = {table.granule}, {_DURABLE}{alone}\nCOMMENT '{comment()}'"
    )


def comment() -> str:
    """What the tables of this version are commented with."""
    return f"calldex schema {VERSION}"


def version_of(text: str) -> int | None:
    """The version of a schema by its comment; None if it is none of ours."""
    found = re.fullmatch(r"calldex schema ([0-9]{1,9})", text)
    return int(found[1]) if found else None
