"""The tables in ClickHouse: numbered, literal files beside this one, and the columns that are read and written.

`cdr` has a row for each version of a record, and one more, without content, for each that ended (see
`dialect.CLICKHOUSE`); the engine makes one of both when it merges parts: of every column the greatest value, which is
that of the row with content, as the other has zeroes and empty texts. `cdr_uuid` finds the begin of a record by its
uuid, so that the primary key of `cdr` finds the rest. See docs/decisions/0020.

LZ4 is read twice as fast as ZSTD, which counts for what a search reads of every record; JSON is read of few. A granule
has eight times fewer rows than the default, as one is read with a kilobyte of JSON for each; parts of numbers are
indexed by six digits, as of shorter ones nearly every granule has all. Months are those of UTC; what began before 1900
or after 2299, which the type cannot tell, counts to the first or the last one.

`plain` is for one node and for ClickHouse Cloud, `cluster` for a cluster of that name: a replicated table on each node
and a distributed one over them, all of an account on one shard. A new column is one file for each of the two.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from calldex.errors import BadSettings, Problem
from calldex.store.clickhouse.dialect import CLICKHOUSE
from calldex.store.migrations import Migration, read
from calldex.store.sql import layout

PLAIN: Final = read(__name__, "plain")
CLUSTER: Final = read(__name__, "cluster")
VERSION: Final = len(PLAIN)
"""Of the schema; it stands in the comments of the tables."""
UUID_TABLE: Final = "cdr_uuid"
LOCAL: Final = "_local"
"""What the names of a cluster's tables end in on each node, beside the distributed ones."""

CDR_TYPES: Final = {
    "account_id": "UInt32",
    "started_ms": "Int64",
    "uuid": "FixedString(16)",
    "seq": "UInt64",
    "seq_to": "UInt64",
    "content": "UInt8",
    **{column.name: column.type for column in layout(CLICKHOUSE)},
    "written_ms": "Int64",
    "ended_ms": "Int64",
    "json": "String",
}
"""The columns of `cdr`, and the types of their values."""
UUID_TYPES: Final = {"account_id": "UInt32", "uuid": "FixedString(16)", "started_ms": "Int64"}

_CLUSTER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STEP: Final = re.compile(r"^-- blocks: (.+)\n((?:(?!--|\n).*\n)+)", re.MULTILINE)


class Step(msgspec.Struct, frozen=True):
    """A statement, and whether it blocks those who read and write meanwhile."""

    blocks: str
    statement: str


def steps(migration: Migration, cluster: str | None = None) -> tuple[Step, ...]:
    """The statements of a migration. Raises `BadSettings` for what cannot be the name of a cluster."""
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise BadSettings([Problem("--cluster", cluster[:100], "is no name of a cluster", "letters, digits, `_.-`")])
    text = migration.text.replace("$cluster", cluster or "")
    return tuple(Step(found[1], found[2].rstrip().removesuffix(";")) for found in _STEP.finditer(text))


def ddl(cluster: str | None = None, since: int = 0) -> list[str]:
    """The statements that make the tables, or bring those of an older version up to date: plain, for one node and for
    ClickHouse Cloud; or for a cluster of that name. Raises `BadSettings` for what cannot be the name of a cluster."""
    migrations = PLAIN if cluster is None else CLUSTER
    return [step.statement for migration in migrations[since:] for step in steps(migration, cluster)]


def comment() -> str:
    """What the tables of this version are commented with."""
    return f"calldex schema {VERSION}"


def version_of(text: str) -> int | None:
    """The version of a schema by its comment; None if it is none of ours."""
    found = re.fullmatch(r"calldex schema ([0-9]{1,9})", text)
    return int(found[1]) if found else None
