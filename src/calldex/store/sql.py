"""A Query becomes SQL, for each engine's dialect. Pure; values never become text, they travel as parameters.

The scope is always the first term, and there is no branch around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from calldex.access import Scope
from calldex.fields import COLUMNS, Kind, Op, id_set, prefix_key, prefix_range
from calldex.query import Condition, Query, Value
from calldex.record import Cdr, Event, to_ms
from calldex.store import Position, Ready
from calldex.wire import v2

LIVE: Final = 1 << 62
"""`seq_to` of a version that is not superseded."""

Parameter = int | str | bytes | bool | UUID | list[int]


class Sql(msgspec.Struct, frozen=True):
    """A piece of SQL and its parameters, in the order of its question marks."""

    text: str
    parameters: tuple[Parameter, ...] = ()


class Dialect(msgspec.Struct, frozen=True):
    """What differs between engines: the types of columns, how a condition is written, by which conditions the lists of
    a scope are told (any of them suffices), and a uuid as a parameter."""

    types: Mapping[Kind, str]
    key_type: str
    uuid_type: str
    json_type: str
    conditions: Mapping[Op, Callable[[Condition], Sql]]
    reach: Callable[[Scope], tuple[Sql, ...]]
    uuid: Callable[[str], Parameter]


def _any(condition: Condition) -> Sql:
    return Sql(f"{condition.column} IN ({_marks(condition.values)})", condition.values)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _begins(with_text: str) -> Callable[[Condition], Sql]:
    def write(condition: Condition) -> Sql:
        prefix = str(condition.values[0])
        keys = prefix_range(prefix)
        if keys is None:
            return Sql(with_text.format(condition.column), (prefix,))
        return Sql(f"{condition.column}_key BETWEEN ? AND ?", keys)

    return write


def _one(template: str) -> Callable[[Condition], Sql]:
    return lambda condition: Sql(template.format(condition.column), condition.values)


_FEW: Final = 16
"""Up to so many ids DuckDB compares one by one; more it plans and compares faster as a list."""


def _any_of_list(condition: Condition) -> Sql:
    if len(condition.values) <= _FEW:
        return _any(condition)
    ids = [int(value) for value in condition.values]
    return Sql(f"{condition.column} IN (SELECT unnest(?::BIGINT[]))", (ids,))


def _is(condition: Condition) -> Sql:
    number = str(condition.values[0])
    return Sql(f"{condition.column}_key = ? AND {condition.column} = ?", (prefix_key(number), number))


def _any_in_text(condition: Condition) -> Sql:
    """One look at the text for all ids; of a column stored with a dictionary, one at each different text."""
    ids = "|".join(str(int(value)) for value in condition.values)
    return Sql(f"regexp_matches({condition.column}, ?)", (f",({ids}),",))


def _any_of_set(template: str) -> Callable[[Condition], Sql]:
    def write(condition: Condition) -> Sql:
        term = template.format(condition.column)
        return Sql(
            f"({' OR '.join([term] * len(condition.values))})", tuple(id_set((int(v),)) for v in condition.values)
        )

    return write


def _any_uuid(uuid: Callable[[str], Parameter]) -> Callable[[Condition], Sql]:
    return lambda condition: Sql(
        f"{condition.column} IN ({_marks(condition.values)})", tuple(uuid(str(v)) for v in condition.values)
    )


def uuid_bytes(uuid: str) -> bytes:
    """The 16 bytes of a uuid, as which SQLite keeps it."""
    return bytes.fromhex(uuid.replace("-", ""))


_COMMON: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    Op.IS: _is,
    Op.ANY_WORD: _any,
    Op.ANY_ID: _any,
    Op.ANY_TEXT: _any,
    Op.ANY_BIT: _one("({} & ?) <> 0"),
    Op.LONGER: _one("{} > ?"),
    Op.SHORTER: _one("{} < ?"),
}

_IN_DUCKDB: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **_COMMON,
    Op.BEGINS: _begins("starts_with({}, ?)"),
    Op.CONTAINS: _one("contains({}, ?)"),
    Op.ANY_ID: _any_of_list,
    Op.ANY_OF_SET: _any_in_text,
    Op.ANY_UUID: _any_uuid(UUID),
}
_IN_SQLITE: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    **_COMMON,
    Op.BEGINS: _begins("instr({}, ?) = 1"),
    Op.CONTAINS: _one("instr({}, ?) > 0"),
    Op.ANY_OF_SET: _any_of_set("instr({}, ?) > 0"),
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
    },
    key_type="BIGINT",
    uuid_type="UUID",
    json_type="VARCHAR",
    conditions=_IN_DUCKDB,
    reach=_by_ids(_IN_DUCKDB),
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
    },
    key_type="INTEGER",
    uuid_type="BLOB",
    json_type="TEXT",
    conditions=_IN_SQLITE,
    reach=_by_ids(_IN_SQLITE),
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
        if column.kind is Kind.PHONE:
            columns.append(Layout(f"{column.name}_key", dialect.key_type))
    return tuple(columns)


VALUE_NAMES: Final = ("started_ms", *(column.name for column in layout(SQLITE)))
"""The names of `values`, in their order."""

_EXPRESSIONS: Final[Mapping[Kind, str]] = {
    Kind.CODE: "codes[{name!r}][r.{attribute}]",
    Kind.NUMBER: "r.{attribute}",
    Kind.ID: "r.{attribute} or 0",
    Kind.MASK: "mask(r.{attribute}, codes[{name!r}])",
    Kind.WORD: "r.{attribute} or ''",
    Kind.PHONE: "r.{attribute} or '', prefix_key(r.{attribute} or '')",
    Kind.ID_SET: "id_set(tuple([each.id for each in r.{attribute}])) if r.{attribute} else ''",
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
    parts = [_EXPRESSIONS[column.kind].format(name=column.name, attribute=column.attribute) for column in COLUMNS]
    known = {"codes": codes, "mask": _mask, "prefix_key": prefix_key, "id_set": id_set, "to_ms": to_ms}
    made: Callable[[Cdr], tuple[int | str, ...]] = eval(  # noqa: S307 - the text is made of the table alone
        f"lambda r: (to_ms(r.started_at), {', '.join(parts)})", known
    )
    return made


def _mask(events: tuple[Event, ...], bits: Mapping[str, int]) -> int:
    mask = 0
    for event in events:
        mask |= bits[event.type]
    return mask


values: Final = _compiled()
"""What a store keeps of a record beside its identity and JSON: `VALUE_NAMES`."""


def ready(cdr: Cdr) -> Ready:
    """A record, in its canonical form, as stores keep it."""
    return Ready(cdr.uuid, values(cdr), v2.encode(cdr))


def columns_ddl(dialect: Dialect) -> str:
    """The definitions of the columns that `values` fills, comma-separated."""
    names = ["started_ms " + ("BIGINT" if dialect is DUCKDB else "INTEGER") + " NOT NULL"]
    names += [f"{column.name} {_not_null(column.type)}" for column in layout(dialect)]
    return ", ".join(names)


def _not_null(type_: str) -> str:
    name, _, rest = type_.partition(" ")
    return f"{name} NOT NULL {rest}".rstrip()


def where(query: Query, as_of: int, dialect: Dialect) -> Sql:
    """The condition that a version is among the rows granted, was live as of a commit, and matches the filters."""
    terms = [
        granted(query.scope, dialect),
        Sql("seq <= ? AND seq_to > ?", (as_of, as_of)),
    ]
    if query.start_ms is not None:
        terms.append(Sql("started_ms >= ?", (query.start_ms,)))
    if query.end_ms is not None:
        terms.append(Sql("started_ms < ?", (query.end_ms,)))
    terms += [dialect.conditions[condition.op](condition) for condition in query.where]
    return both(*terms)


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
    "columns_ddl",
    "granted",
    "ready",
    "uuid_bytes",
    "values",
    "where",
]
