"""What is ClickHouse's: how it writes conditions and measures, and how it knows what is live. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from calldex.records.fields import Kind, Op
from calldex.search.query import Condition, Query
from calldex.store import Span
from calldex.store.aggregates import Functions
from calldex.store.callbacks import MOST_UUIDS, Words
from calldex.store.sql import (
    LETTER,
    LOWER,
    Dialect,
    Sql,
    any_in_text,
    any_text_in_text,
    any_uuid,
    by_ids,
    conjunction,
    lacks,
    number,
    one,
    uuid_bytes,
    within,
)

CDR_TABLE: Final = "cdr"
"""What ClickHouse calls the table of versions."""


def _not_closed(query: Query, as_of: int, void: Sequence[Span]) -> Sql:
    """Of ClickHouse, where a version that ends gets another row under the same key, without content and with the
    commit that ended it in `seq_to`. The engine makes one of both in its own time, and 0 stands for not ended: so a
    row counts if it has content and no known end, and no other row tells of one."""
    closed = conjunction(
        Sql("account_id = ? AND content = 0", (query.scope.account_id,)), ended(as_of, void), *within(query)
    )
    return conjunction(
        together(as_of, void),
        Sql(f"seq NOT IN (SELECT seq FROM {CDR_TABLE} WHERE {closed.text})", closed.parameters),
    )


def together(as_of: int, void: Sequence[Span]) -> Sql:
    """The same where ClickHouse has put all rows of a version together (FINAL)."""
    end = ended(as_of, void)
    return conjunction(
        Sql("content = 1 AND seq <= ?", (as_of,)),
        *not_void("seq", void),
        Sql(f"NOT ({end.text})", end.parameters),
    )


def ended(as_of: int, void: Sequence[Span]) -> Sql:
    """The condition that a row of ClickHouse's tells of the end of a version, as of a commit."""
    return conjunction(Sql("seq_to BETWEEN 1 AND ?", (as_of,)), *not_void("seq_to", void))


def not_void(column: str, void: Sequence[Span]) -> list[Sql]:
    """The condition that a number is in none of the spans, which are ascending: the last that begins at it or before
    has ended before it. As long for many spans as for one, and a search in them for each row; none for none."""
    if not void:
        return []
    first, last = [0, *(span.first for span in void)], [0, *(span.last for span in void)]
    return [Sql(f"transform(roundDown(toInt64({column}), ?), ?, ?) < {column}", (first, first, last))]


def _like(condition: Condition) -> Sql:
    """As a pattern, for which ClickHouse has an index."""
    text = str(condition.values[0])
    column = LOWER.format(condition.column) if LETTER.search(text) else condition.column
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Sql(f"{column} LIKE ?", (f"%{pattern}%",))


def _in_list(condition: Condition) -> Sql:
    """All values as one parameter."""
    ids = [value for value in condition.values if isinstance(value, int)]
    return Sql(f"{condition.column} IN ?", (ids or [str(value) for value in condition.values],))


_IN_CLICKHOUSE: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    Op.BEGINS: number("startsWith({}, ?)", LOWER),
    Op.CONTAINS: _like,
    Op.IS: number("{} = ?", LOWER),
    Op.ANY_WORD: _in_list,
    Op.ANY_ID: _in_list,
    Op.ANY_TEXT: _in_list,
    Op.ANY_OF_SET: any_in_text("match"),
    Op.ANY_TEXT_OF_SET: any_text_in_text("match"),
    Op.ANY_BIT: one("bitAnd({}, ?) <> 0"),
    Op.LONGER: one("{} > ?"),
    Op.SHORTER: one("{} < ?"),
    Op.KNOWN_LONGER: one("{} - 1 > ?"),
    Op.KNOWN_SHORTER: one("{} BETWEEN 1 AND ?"),
    Op.YES: one("{} = ?"),
    Op.LACKS: lacks,
    Op.SINCE: one("{} >= ?"),
    Op.ANY_UUID: any_uuid(uuid_bytes),
}


CLICKHOUSE: Final = Dialect(
    types={
        Kind.CODE: "UInt8",
        Kind.NUMBER: "UInt32",
        Kind.ID: "UInt64",
        Kind.BITS: "UInt32",
        Kind.WORD: "LowCardinality(String)",
        Kind.PHONE: "String",
        Kind.ID_SET: "LowCardinality(String)",
        Kind.TEXT_SET: "LowCardinality(String)",
        Kind.PASSED: "LowCardinality(String)",
        Kind.YES_NO: "UInt8",
        Kind.SECONDS: "UInt32",
        Kind.ANSWER: "UInt64",
    },
    key_type=None,
    conditions=_IN_CLICKHOUSE,
    reach=by_ids(_IN_CLICKHOUSE),
    live=_not_closed,
    uuid=uuid_bytes,
)


def _where_in_clickhouse(how: str, value: str, condition: str) -> str:
    rank = "arraySort(groupArrayIf({0}, {1}))[toUInt64(ceil(%s * countIf({1})))]"
    function = {
        "sum": "sumIf({0}, {1})",
        "avg": "avgIf({0}, {1})",
        "max": "maxIf({0}, {1})",
        "median": rank % "0.5",
        "p90": rank % "0.9",
    }[how]
    found = function.format(value, condition)
    return found if how == "sum" else f"if(countIf({condition}) = 0, NULL, {found})"


_HEX: Final = "lower(hex(uuid))"
FUNCTIONS: Final = Functions(
    count=lambda condition: f"countIf({condition})",
    where=_where_in_clickhouse,
    month="toInt64(toUnixTimestamp(toStartOfMonth(toDateTime64(wall / 1000, 3, 'UTC'), 'UTC'))) * 1000",
    teams="arrayJoin(splitByChar(',', trim(BOTH ',' FROM team_ids)))",
    uuid=(
        f"concat(substring({_HEX}, 1, 8), '-', substring({_HEX}, 9, 4), '-', substring({_HEX}, 13, 4), '-',"
        f" substring({_HEX}, 17, 4), '-', substring({_HEX}, 21, 12))"
    ),
    hashed="sum(reinterpretAsUInt64(reverse(substring(SHA256(concat({0}, ':', toString(seq))), 1, 8))))",
    div="DIV",
)
WORDS: Final = Words(
    table=CDR_TABLE,
    number=LOWER,
    uuid=FUNCTIONS.uuid,
    newest=f"arraySlice(arrayMap(x -> x.2, arrayReverseSort(groupArray((started_ms, uuid)))), 1, {MOST_UUIDS})",
    listed="?",
)
