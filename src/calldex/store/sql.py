"""A Query becomes SQL, by a dialect, which each engine has in its own folder. Pure; values never become text, they
travel as parameters.

The scope is always the first term, and there is no branch around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

from calldex.access import Scope
from calldex.records import codec
from calldex.records.fields import COLUMNS, Column, Kind, Op, id_set, prefix_key, text_set
from calldex.records.record import Cdr, to_ms
from calldex.search.query import Condition, Query
from calldex.store import Position, Prepared, Span

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


def any_of(condition: Condition) -> Sql:
    """Any of the values."""
    return Sql(f"{condition.column} IN ({_marks(condition.values)})", condition.values)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


LETTER: Final = re.compile("[a-z]")
LOWER: Final = "lower({})"


def number(template: str, lower: str) -> Callable[[Condition], Sql]:
    """Compares numbers; those that are words in any case of their letters, of which the value's are lower."""

    def write(condition: Condition) -> Sql:
        text = str(condition.values[0])
        column = lower.format(condition.column) if LETTER.search(text) else condition.column
        return Sql(template.format(column), (text,))

    return write


def one(template: str) -> Callable[[Condition], Sql]:
    """Compares with one value."""
    return lambda condition: Sql(template.format(condition.column), condition.values)


def lacks(condition: Condition) -> Sql:
    """Is not there."""
    return Sql(f"{condition.column} {'=' if condition.values[0] else '<>'} ''")


def any_in_text(function: str) -> Callable[[Condition], Sql]:
    """One look at the text for all ids; of a column stored with a dictionary, one at each different text."""

    def write(condition: Condition) -> Sql:
        ids = "|".join(str(int(value)) for value in condition.values)
        return Sql(f"{function}({condition.column}, ?)", (f",({ids}),",))

    return write


def any_text_in_text(function: str) -> Callable[[Condition], Sql]:
    """The same for all texts."""

    def write(condition: Condition) -> Sql:
        texts = "|".join(re.escape(text_set((str(value),))) for value in condition.values)
        return Sql(f"{function}({condition.column}, ?)", (texts,))

    return write


def any_uuid(uuid: Callable[[str], Parameter]) -> Callable[[Condition], Sql]:
    """Any of some uuids, as an engine takes them."""
    return lambda condition: Sql(
        f"{condition.column} IN ({_marks(condition.values)})", tuple(uuid(str(v)) for v in condition.values)
    )


def uuid_bytes(uuid: str) -> bytes:
    """The 16 bytes of a uuid, as which most engines keep it."""
    return bytes.fromhex(uuid.replace("-", ""))


COMMON: Final[Mapping[Op, Callable[[Condition], Sql]]] = {
    Op.ANY_WORD: any_of,
    Op.ANY_ID: any_of,
    Op.ANY_TEXT: any_of,
    Op.ANY_BIT: one("({} & ?) <> 0"),
    Op.LONGER: one("{} > ?"),
    Op.SHORTER: one("{} < ?"),
    Op.KNOWN_LONGER: one("{} - 1 > ?"),
    Op.KNOWN_SHORTER: one("{} BETWEEN 1 AND ?"),
    Op.YES: one("{} = ?"),
    Op.LACKS: lacks,
    Op.SINCE: one("{} >= ?"),
}


def by_ids(conditions: Mapping[Op, Callable[[Condition], Sql]]) -> Callable[[Scope], tuple[Sql, ...]]:
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


VALUE_NAMES: Final = (
    "started_ms",
    *(name for column in COLUMNS for name in (column.name, f"{column.name}_key")[: 1 + (column.kind is Kind.PHONE)]),
)
"""The names of `values`, in their order: behind each number its prefix key."""

_EXPRESSIONS: Final[Mapping[Kind, str]] = {
    Kind.CODE: "codes[{name!r}][r.{attribute}]",
    Kind.NUMBER: "r.{attribute}",
    Kind.ID: "r.{attribute} or 0",
    Kind.BITS: "bits({all}, codes[{name!r}]) if r.{attribute} else 0",
    Kind.WORD: "r.{attribute} or ''",
    Kind.PHONE: "r.{attribute} or '', prefix_key(r.{attribute} or '')",
    Kind.ID_SET: "id_set(tuple({all})) if r.{attribute} else ''",
    Kind.TEXT_SET: "text_set(r.{attribute}) if r.{attribute} else ''",
    Kind.PASSED: "passed(r.{member}, tuple({all})) if r.{member} or r.{attribute} else ''",
    Kind.YES_NO: "int(r.{attribute} is not None)",
    Kind.SECONDS: "0 if r.{attribute} is None else r.{attribute} + 1",
    Kind.ANSWER: "0 if r.{attribute} is None else max((r.{attribute} - r.started_at) // ms, 0) + 1",
}
"""How a column of each kind is made from its attribute of a record `r`."""


def _compiled() -> Callable[[Cdr], tuple[int | str, ...]]:
    """One function for all columns, written out from the table as `dataclasses` writes its methods: it is on the way
    of every record, and calling a function for each column takes twice as long."""
    codes: dict[str, dict[str | None, int]] = {}
    for column in COLUMNS:
        if column.kind is Kind.CODE:
            codes[column.name] = {None: 0} | {word: code for code, word in enumerate(column.words, 1)}
        elif column.kind is Kind.BITS:
            codes[column.name] = {word: 1 << bit for bit, word in enumerate(column.words)}
    parts = [
        _EXPRESSIONS[column.kind].format(
            name=column.name, attribute=column.attribute, member=column.member, all=_all(column)
        )
        for column in COLUMNS
    ]
    known = {
        "codes": codes,
        "bits": _bits,
        "prefix_key": prefix_key,
        "id_set": id_set,
        "text_set": text_set,
        "passed": _passed,
        "to_ms": to_ms,
        "ms": timedelta(milliseconds=1),
    }
    made: Callable[[Cdr], tuple[int | str, ...]] = eval(  # noqa: S307 - the text is made of the table alone
        f"lambda r: (to_ms(r.started_at), {', '.join(parts)})", known
    )
    return made


def _all(column: Column) -> str:
    return f"[each.{column.member} for each in r.{column.attribute}]" if column.member else f"r.{column.attribute}"


@lru_cache(maxsize=16_384)
def _passed(last: str | None, met: tuple[str | None, ...]) -> str:
    return text_set(tuple(sorted({name for name in (last, *met) if name})))


def _bits(words: Iterable[str], bits: Mapping[str, int]) -> int:
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


def prepared(cdr: Cdr) -> Prepared:
    """A record, in its canonical form, as stores keep it."""
    return Prepared(cdr.uuid, values(cdr), codec.encode(cdr))


def where(query: Query, as_of: int, dialect: Dialect, void: Sequence[Span] = ()) -> Sql:
    """The condition that a version is among the rows granted, was live as of a commit (those that are void count as if
    they were not there), and matches the filters."""
    return conjunction(granted(query.scope, dialect), dialect.live(query, as_of, void), *_filters(query, dialect))


def meant(query: Query, dialect: Dialect) -> Sql:
    """The condition that a version is among the rows granted and matches the filters, whenever it was live."""
    return conjunction(granted(query.scope, dialect), *_filters(query, dialect))


def _filters(query: Query, dialect: Dialect) -> list[Sql]:
    return [*within(query), *(_term(condition, dialect) for condition in query.where)]


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


def within(query: Query) -> list[Sql]:
    """The conditions that a record began within the time of a search."""
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


def following(position: Position, dialect: Dialect) -> Sql:
    """The condition that a record comes after a position, newest first. The first term lets engines skip by time."""
    at, uuid = position.started_ms, dialect.uuid(position.uuid)
    return Sql("started_ms <= ? AND (started_ms < ? OR uuid < ?)", (at, at, uuid))


def conjunction(*terms: Sql) -> Sql:
    """The conjunction of some conditions."""
    return Sql(
        " AND ".join(term.text for term in terms),
        tuple(parameter for term in terms for parameter in term.parameters),
    )
