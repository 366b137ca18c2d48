"""A Query becomes SQL, for each engine's dialect. Pure; values never become text, they travel as parameters.

The scope is always the first term, and there is no branch around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Final
from uuid import UUID

import msgspec

from calldex.access import Scope
from calldex.records import codec
from calldex.records.fields import COLUMNS, Column, Kind, Op, id_set, prefix_key, prefix_range, text_set
from calldex.records.record import Cdr, to_ms
from calldex.search.query import Condition, Query, Value
from calldex.store import Position, Ready, Span

LIVE: Final = 1 << 62
"""`seq_to` of a version that is not superseded."""

Parameter = int | str | bytes | bool | UUID | list[int] | list[str] | list[bytes]


class Sql(msgspec.Struct, frozen=True):
    """A piece of SQL and its parameters, in the order of its question marks."""

    text: str
    parameters: tuple[Parameter, ...] = ()


class Dialect(msgspec.Struct, frozen=True):
    """What differs between engines: the types of columns (without a `key_type`, numbers have no prefix keys), how a
    condition is written, by which conditions the lists of a scope are told (any of them suffices), the condition that a
    version was live, and a uuid as a parameter."""

    types: Mapping[Kind, str]
    key_type: str | None
    conditions: Mapping[Op, Callable[[Condition], Sql]]
    reach: Callable[[Scope], tuple[Sql, ...]]
    live: Callable[[Query, int, Sequence[Span]], Sql]
    uuid: Callable[[str], Parameter]


def _any(condition: Condition) -> Sql:
    return Sql(f"{condition.column} IN ({_marks(condition.values)})", condition.values)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_LETTER: Final = re.compile("[a-z]")
_LOWER_IN_DUCKDB: Final = f"translate({{}}, '{ascii_uppercase}', '{ascii_lowercase}')"
"""A text with its letters A to Z in lower case; DuckDB's `lower` changes others as well."""
_LOWER: Final = "lower({})"


def _number(template: str, lower: str) -> Callable[[Condition], Sql]:
    """Compares numbers; those that are words in any case of their letters, of which the value's are lower."""

    def write(condition: Condition) -> Sql:
        text = str(condition.values[0])
        column = lower.format(condition.column) if _LETTER.search(text) else condition.column
        return Sql(template.format(column), (text,))

    return write


def _begins(template: str, lower: str) -> Callable[[Condition], Sql]:
    with_text = _number(template, lower)

    def write(condition: Condition) -> Sql:
        keys = prefix_range(str(condition.values[0]))
        return with_text(condition) if keys is None else Sql(f"{condition.column}_key BETWEEN ? AND ?", keys)

    return write


def _one(template: str) -> Callable[[Condition], Sql]:
    return lambda condition: Sql(template.format(condition.column), condition.values)


def _lacks(condition: Condition) -> Sql:
    return Sql(f"{condition.column} {'=' if condition.values[0] else '<>'} ''")


_FEW: Final = 16
"""Up to so many ids DuckDB compares one by one; more it plans and compares faster as a list."""


def _any_of_list(condition: Condition) -> Sql:
    if len(condition.values) <= _FEW:
        return _any(condition)
    ids = [int(value) for value in condition.values]
    return Sql(f"{condition.column} IN (SELECT unnest(?::BIGINT[]))", (ids,))


def _is(lower: str) -> Callable[[Condition], Sql]:
    same = _number("{} = ?", lower)

    def write(condition: Condition) -> Sql:
        key = Sql(f"{condition.column}_key = ?", (prefix_key(str(condition.values[0])),))
        return both(key, same(condition))

    return write


def _any_in_text(function: str) -> Callable[[Condition], Sql]:
    """One look at the text for all ids; of a column stored with a dictionary, one at each different text."""

    def write(condition: Condition) -> Sql:
        ids = "|".join(str(int(value)) for value in condition.values)
        return Sql(f"{function}({condition.column}, ?)", (f",({ids}),",))

    return write


def _any_text_in_text(function: str) -> Callable[[Condition], Sql]:
    """The same for all texts."""

    def write(condition: Condition) -> Sql:
        texts = "|".join(re.escape(text_set((str(value),))) for value in condition.values)
        return Sql(f"{function}({condition.column}, ?)", (texts,))

    return write


def _like(condition: Condition) -> Sql:
    """As a pattern, for which ClickHouse has an index."""
    text = str(condition.values[0])
    column = _LOWER.format(condition.column) if _LETTER.search(text) else condition.column
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Sql(f"{column} LIKE ?", (f"%{pattern}%",))


def _in_list(condition: Condition) -> Sql:
    """All values as one parameter."""
    ids = [value for value in condition.values if isinstance(value, int)]
    return Sql(f"{condition.column} IN ?", (ids or [str(value) for value in condition.values],))


def _any_of_set(template: str, set_of: Callable[[Value], str]) -> Callable[[Condition], Sql]:
    def write(condition: Condition) -> Sql:
        term = template.format(condition.column)
        return Sql(f"({' OR '.join([term] * len(condition.values))})", tuple(map(set_of, condition.values)))

    return write


def _set_of_id(value: Value) -> str:
    return id_set((int(value),))


def _set_of_text(value: Value) -> str:
    return text_set((str(value),))


def _any_uuid(uuid: Callable[[str], Parameter]) -> Callable[[Condition], Sql]:
    return lambda condition: Sql(
        f"{condition.column} IN ({_marks(condition.values)})", tuple(uuid(str(v)) for v in condition.values)
    )


def uuid_bytes(uuid: str) -> bytes:
    """The 16 bytes of a uuid, as which SQLite keeps it."""
    return bytes.fromhex(uuid.replace("-", ""))


def _not_ended(query: Query, as_of: int, void: Sequence[Span]) -> Sql:
    """Of an engine that changes `seq_to` when a version ends; it has transactions, and nothing void."""
    if void:
        raise ValueError("an engine with transactions has no void commits")
    return Sql("seq <= ? AND seq_to > ?", (as_of, as_of))


CDR_TABLE: Final = "cdr"
"""What ClickHouse calls the table of versions."""


def _not_closed(query: Query, as_of: int, void: Sequence[Span]) -> Sql:
    """Of ClickHouse, where a version that ends gets another row under the same key, without content and with the
    commit that ended it in `seq_to`. The engine makes one of both in its own time, and 0 stands for not ended: so a
    row counts if it has content and no known end, and no other row tells of one."""
    closed = both(Sql("account_id = ? AND content = 0", (query.scope.account_id,)), ended(as_of, void), *_within(query))
    return both(
        together(as_of, void),
        Sql(f"seq NOT IN (SELECT seq FROM {CDR_TABLE} WHERE {closed.text})", closed.parameters),
    )


def together(as_of: int, void: Sequence[Span]) -> Sql:
    """The same where ClickHouse has put all rows of a version together (FINAL)."""
    end = ended(as_of, void)
    return both(
        Sql("content = 1 AND seq <= ?", (as_of,)),
        *not_void("seq", void),
        Sql(f"NOT ({end.text})", end.parameters),
    )


def ended(as_of: int, void: Sequence[Span]) -> Sql:
    """The condition that a row of ClickHouse's tells of the end of a version, as of a commit."""
    return both(Sql("seq_to BETWEEN 1 AND ?", (as_of,)), *not_void("seq_to", void))


def not_void(column: str, void: Sequence[Span]) -> list[Sql]:
    """The condition that a number is in none of the spans, which are ascending: the last that begins at it or before
    has ended before it. As long for many spans as for one, and a search in them for each row; none for none."""
    if not void:
        return []
    first, last = [0, *(span.first for span in void)], [0, *(span.last for span in void)]
    return [Sql(f"transform(roundDown(toInt64({column}), ?), ?, ?) < {column}", (first, first, last))]


_COMMON: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    Op.ANY_WORD: _any,
    Op.ANY_ID: _any,
    Op.ANY_TEXT: _any,
    Op.ANY_BIT: _one("({} & ?) <> 0"),
    Op.LONGER: _one("{} > ?"),
    Op.SHORTER: _one("{} < ?"),
    Op.KNOWN_LONGER: _one("{} - 1 > ?"),
    Op.KNOWN_SHORTER: _one("{} BETWEEN 1 AND ?"),
    Op.YES: _one("{} = ?"),
    Op.LACKS: _lacks,
    Op.SINCE: _one("{} >= ?"),
}

_IN_DUCKDB: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **_COMMON,
    Op.BEGINS: _begins("starts_with({}, ?)", _LOWER_IN_DUCKDB),
    Op.CONTAINS: _number("contains({}, ?)", _LOWER_IN_DUCKDB),
    Op.IS: _is(_LOWER_IN_DUCKDB),
    Op.ANY_ID: _any_of_list,
    Op.ANY_OF_SET: _any_in_text("regexp_matches"),
    Op.ANY_TEXT_OF_SET: _any_text_in_text("regexp_matches"),
    Op.ANY_UUID: _any_uuid(UUID),
}
_IN_SQLITE: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **_COMMON,
    Op.BEGINS: _begins("instr({}, ?) = 1", _LOWER),
    Op.CONTAINS: _number("instr({}, ?) > 0", _LOWER),
    Op.IS: _is(_LOWER),
    Op.ANY_OF_SET: _any_of_set("instr({}, ?) > 0", _set_of_id),
    Op.ANY_TEXT_OF_SET: _any_of_set("instr({}, ?) > 0", _set_of_text),
    Op.ANY_UUID: _any_uuid(uuid_bytes),
}
_IN_CLICKHOUSE: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    Op.BEGINS: _number("startsWith({}, ?)", _LOWER),
    Op.CONTAINS: _like,
    Op.IS: _number("{} = ?", _LOWER),
    Op.ANY_WORD: _in_list,
    Op.ANY_ID: _in_list,
    Op.ANY_TEXT: _in_list,
    Op.ANY_OF_SET: _any_in_text("match"),
    Op.ANY_TEXT_OF_SET: _any_text_in_text("match"),
    Op.ANY_BIT: _one("bitAnd({}, ?) <> 0"),
    Op.LONGER: _one("{} > ?"),
    Op.SHORTER: _one("{} < ?"),
    Op.KNOWN_LONGER: _one("{} - 1 > ?"),
    Op.KNOWN_SHORTER: _one("{} BETWEEN 1 AND ?"),
    Op.YES: _one("{} = ?"),
    Op.LACKS: _lacks,
    Op.SINCE: _one("{} >= ?"),
    Op.ANY_UUID: _any_uuid(uuid_bytes),
}


def _by_ids(conditions: Mapping[Op, Callable[[Condition], Sql]]) -> Callable[[Scope], tuple[Sql, ...]]:
    """A condition for each list of a scope that is not empty."""

    def reach(scope: Scope) -> tuple[Sql, ...]:
        lists = (
            (Op.ANY_ID, "agent_id", scope.agents),
            (Op.ANY_ID, "queue_id", scope.queues),
            (Op.ANY_ID, "campaign_id", scope.campaigns),
            (Op.ANY_OF_SET, "team_ids", scope.teams),
        )
        return tuple(conditions[op](Condition(op, column, ids)) for op, column, ids in lists if ids)

    return reach


DUCKDB: Final = Dialect(
    types={
        Kind.CODE: "UTINYINT",
        Kind.NUMBER: "INTEGER",
        Kind.ID: "BIGINT",
        Kind.MASK: "BIGINT",
        Kind.WORD: "VARCHAR",
        # Searching parts of numbers reads the whole column: uncompressed it takes two thirds of the time.
        Kind.PHONE: "VARCHAR USING COMPRESSION uncompressed",
        Kind.ID_SET: "VARCHAR",
        Kind.TEXT_SET: "VARCHAR",
        Kind.YES_NO: "UTINYINT",
        Kind.SECONDS: "BIGINT",
        Kind.ANSWER: "BIGINT",
    },
    key_type="BIGINT",
    conditions=_IN_DUCKDB,
    reach=_by_ids(_IN_DUCKDB),
    live=_not_ended,
    uuid=UUID,
)
SQLITE: Final = Dialect(
    types={
        Kind.CODE: "INTEGER",
        Kind.NUMBER: "INTEGER",
        Kind.ID: "INTEGER",
        Kind.MASK: "INTEGER",
        Kind.WORD: "TEXT",
        Kind.PHONE: "TEXT",
        Kind.ID_SET: "TEXT",
        Kind.TEXT_SET: "TEXT",
        Kind.YES_NO: "INTEGER",
        Kind.SECONDS: "INTEGER",
        Kind.ANSWER: "INTEGER",
    },
    key_type="INTEGER",
    conditions=_IN_SQLITE,
    reach=_by_ids(_IN_SQLITE),
    live=_not_ended,
    uuid=uuid_bytes,
)
CLICKHOUSE: Final = Dialect(
    types={
        Kind.CODE: "UInt8",
        Kind.NUMBER: "UInt32",
        Kind.ID: "UInt64",
        Kind.MASK: "UInt32",
        Kind.WORD: "LowCardinality(String)",
        Kind.PHONE: "String",
        Kind.ID_SET: "LowCardinality(String)",
        Kind.TEXT_SET: "LowCardinality(String)",
        Kind.YES_NO: "UInt8",
        Kind.SECONDS: "UInt32",
        Kind.ANSWER: "UInt64",
    },
    key_type=None,
    conditions=_IN_CLICKHOUSE,
    reach=_by_ids(_IN_CLICKHOUSE),
    live=_not_closed,
    uuid=uuid_bytes,
)


class Layout(msgspec.Struct, frozen=True):
    """A column as a store lays it out: its name and its type."""

    name: str
    type: str


def layout(dialect: Dialect) -> tuple[Layout, ...]:
    """The columns of the table, as this dialect lays them out: a number is followed by its prefix key."""
    columns: list[Layout] = []
    for column in COLUMNS:
        columns.append(Layout(column.name, dialect.types[column.kind]))
        if column.kind is Kind.PHONE and dialect.key_type is not None:
            columns.append(Layout(f"{column.name}_key", dialect.key_type))
    return tuple(columns)


VALUE_NAMES: Final = ("started_ms", *(column.name for column in layout(SQLITE)))
"""The names of `values`, in their order."""

_EXPRESSIONS: Final[Mapping[Kind, str]] = {
    Kind.CODE: "codes[{name!r}][r.{attribute}]",
    Kind.NUMBER: "r.{attribute}",
    Kind.ID: "r.{attribute} or 0",
    Kind.MASK: "mask({all}, codes[{name!r}]) if r.{attribute} else 0",
    Kind.WORD: "r.{attribute} or ''",
    Kind.PHONE: "r.{attribute} or '', prefix_key(r.{attribute} or '')",
    Kind.ID_SET: "id_set(tuple({all})) if r.{attribute} else ''",
    Kind.TEXT_SET: "text_set(r.{attribute}) if r.{attribute} else ''",
    Kind.YES_NO: "int(r.{attribute} is not None)",
    Kind.SECONDS: "0 if r.{attribute} is None else r.{attribute} + 1",
    Kind.ANSWER: "0 if r.{attribute} is None else max(to_ms(r.{attribute}) - to_ms(r.started_at), 0) + 1",
}
"""How a column of each kind is made from its attribute of a record `r`."""


def _compiled() -> Callable[[Cdr], tuple[int | str, ...]]:
    """One function for all columns, written out from the table as `dataclasses` writes its methods: it is on the way
    of every record, and calling a function for each column takes twice as long."""
    codes: dict[str, dict[str | None, int]] = {}
    for column in COLUMNS:
        if column.kind is Kind.CODE:
            codes[column.name] = {None: 0} | {word: code for code, word in enumerate(column.words, 1)}
        elif column.kind is Kind.MASK:
            codes[column.name] = {word: 1 << bit for bit, word in enumerate(column.words)}
    parts = [
        _EXPRESSIONS[column.kind].format(name=column.name, attribute=column.attribute, all=_all(column))
        for column in COLUMNS
    ]
    known = {
        "codes": codes,
        "mask": _mask,
        "prefix_key": prefix_key,
        "id_set": id_set,
        "text_set": text_set,
        "to_ms": to_ms,
    }
    made: Callable[[Cdr], tuple[int | str, ...]] = eval(  # noqa: S307 - the text is made of the table alone
        f"lambda r: (to_ms(r.started_at), {', '.join(parts)})", known
    )
    return made


def _all(column: Column) -> str:
    return f"[each.{column.member} for each in r.{column.attribute}]" if column.member else f"r.{column.attribute}"


def _mask(words: Iterable[str], bits: Mapping[str, int]) -> int:
    mask = 0
    for word in words:
        mask |= bits[word]
    return mask


values: Final = _compiled()
"""What a store keeps of a record beside its identity and JSON: `VALUE_NAMES`."""


_STORED: Final = msgspec.json.Decoder(Cdr)


def values_of(json: bytes) -> dict[str, int | str]:
    """The values, by name, of a record whose JSON is stored: for columns that were not there when it was written."""
    return dict(zip(VALUE_NAMES, values(_STORED.decode(json)), strict=True))


def ready(cdr: Cdr) -> Ready:
    """A record, in its canonical form, as stores keep it."""
    return Ready(cdr.uuid, values(cdr), codec.encode(cdr))


def where(query: Query, as_of: int, dialect: Dialect, void: Sequence[Span] = ()) -> Sql:
    """The condition that a version is among the rows granted, was live as of a commit (those that are void count as if
    they were not there), and matches the filters."""
    return both(granted(query.scope, dialect), dialect.live(query, as_of, void), *_filters(query, dialect))


def meant(query: Query, dialect: Dialect) -> Sql:
    """The condition that a version is among the rows granted and matches the filters, whenever it was live."""
    return both(granted(query.scope, dialect), *_filters(query, dialect))


def _filters(query: Query, dialect: Dialect) -> list[Sql]:
    return [*_within(query), *(_term(condition, dialect) for condition in query.where)]


def numbered(query: Query, commit_before: Callable[[int], int]) -> Query:
    """A search that asks for commits since an instant by their numbers, for an engine that keeps no instants."""
    conditions = [
        msgspec.structs.replace(each, column="seq", values=(commit_before(int(each.values[0])) + 1,))
        if each.op is Op.SINCE
        else each
        for each in query.where
    ]
    return msgspec.structs.replace(query, where=tuple(conditions))


def _term(condition: Condition, dialect: Dialect) -> Sql:
    """No column is ever NULL, so what is not so is all else."""
    write = dialect.conditions[condition.op]
    term = write(condition)
    if condition.or_column:
        other = write(msgspec.structs.replace(condition, column=condition.or_column))
        term = Sql(f"({term.text} OR {other.text})", (*term.parameters, *other.parameters))
    return Sql(f"NOT ({term.text})", term.parameters) if condition.negated else term


def _within(query: Query) -> list[Sql]:
    terms = []
    if query.start_ms is not None:
        terms.append(Sql("started_ms >= ?", (query.start_ms,)))
    if query.end_ms is not None:
        terms.append(Sql("started_ms < ?", (query.end_ms,)))
    return terms


def granted(scope: Scope, dialect: Dialect) -> Sql:
    """The condition that a version is among the rows of a scope."""
    reached = dialect.reach(scope)
    return Sql(
        f"account_id = ? AND ({' OR '.join(['?', *(term.text for term in reached)])})",
        (scope.account_id, scope.whole, *(value for term in reached for value in term.parameters)),
    )


def behind(position: Position, dialect: Dialect) -> Sql:
    """The condition that a record comes after a position, newest first. The first term lets engines skip by time."""
    at, uuid = position.started_ms, dialect.uuid(position.uuid)
    return Sql("started_ms <= ? AND (started_ms < ? OR uuid < ?)", (at, at, uuid))


def both(*terms: Sql) -> Sql:
    """The conjunction of some conditions."""
    return Sql(
        " AND ".join(term.text for term in terms),
        tuple(parameter for term in terms for parameter in term.parameters),
    )


__all__ = [
    "DUCKDB",
    "LIVE",
    "SQLITE",
    "VALUE_NAMES",
    "Sql",
    "Value",
    "behind",
    "both",
    "ended",
    "granted",
    "meant",
    "not_void",
    "ready",
    "together",
    "uuid_bytes",
    "values",
    "values_of",
    "where",
]
