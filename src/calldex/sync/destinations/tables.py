"""Records as rows: one column for each field, with nested values as JSON text. Needs pyarrow.

A member that no column has, or whose value does not fit its column, stands in the column `other`: nothing of a record
is lost on the way, whatever endpoint it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from calldex.client import Record
from calldex.exports.columns import DEFAULT, Column, Kind
from calldex.sync.destinations import Change

KEY: Final = ("account", "uuid")
OTHER: Final = "other"
_ALWAYS: Final = ("uuid", "timestamp", "started_at")
_STAMP: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final[Mapping[Kind, pa.DataType]] = {
    Kind.TEXT: pa.string(),
    Kind.WHOLE: pa.int64(),
    Kind.LENGTH: pa.int64(),
    Kind.DECIMAL: pa.float64(),
    Kind.INSTANT: _STAMP,
    Kind.NESTED: pa.string(),
}
_TEXT: Final = pa.string()
_PLAIN: Final = {
    Kind.TEXT: str,
    Kind.WHOLE: int,
    Kind.LENGTH: int,
    Kind.DECIMAL: float,
    Kind.INSTANT: str,
}
"""What a value has to be, so that its column takes it; what is nested stays as it is."""
_UNFIT: Final = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
_PART: Final = 1000
"""So many records are objects at once: few enough to stay in the processor's cache."""


def columns(fields: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a pipe with these fields; of all, where none is named."""
    return tuple(column for column in DEFAULT if not fields or column.name in fields or column.name in _ALWAYS)


def table(account: str, changes: Sequence[Change], of: Sequence[Column]) -> pa.Table:
    """The rows of changed records: `account`, the columns, `other`, and `seq`."""
    kept = [change for change in changes if change.json is not None]
    parts = [_rows(account, kept[at : at + _PART], of) for at in range(0, max(len(kept), 1), _PART)]
    return pa.concat_tables(parts)


def _rows(account: str, changes: Sequence[Change], of: Sequence[Column]) -> pa.Table:
    try:
        made = as_they_are(changes, of)
        others = pa.nulls(len(changes), _TEXT)
    except (msgspec.ValidationError, *_UNFIT):
        made, others = one_by_one([change.record or {} for change in changes], of)
    seqs = pa.array([change.seq for change in changes], pa.int64())
    return pa.table({"account": pa.array([account] * len(changes), _TEXT), **made, OTHER: others, "seq": seqs})


def as_they_are(changes: Sequence[Change], of: Sequence[Column]) -> dict[str, pa.Array]:
    """The columns of records that have no other members than Calldex's: no object is made of what is nested."""
    rows = _flat(tuple(of))(b"[%b]" % b",".join([change.json for change in changes]))  # type: ignore[misc]  # Raw is a buffer
    values = zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else [()] * len(DEFAULT)
    named = dict(zip((column.name for column in DEFAULT), values, strict=True))
    made = {
        column.name: (_nested if column.kind is Kind.NESTED else partial(_array, column.kind))(named[column.name])
        for column in of
    }
    if made["started_at"].null_count:
        made["started_at"] = pc.coalesce(made["started_at"], made["timestamp"])
    return made


def _nested(values: Sequence[msgspec.Raw]) -> pa.Array:
    """The texts of what is nested, null where it is null: cut by Arrow, at a byte that no JSON has."""
    if not values:
        return pa.array([], _TEXT)
    whole = pa.array([b"\0".join(values)], pa.binary()).cast(_TEXT)
    texts = pc.split_pattern(whole, "\0").flatten()
    return pc.if_else(pc.equal(texts, "null"), None, texts)


@lru_cache(maxsize=64)
def _flat(of: tuple[Column, ...]) -> Callable[[bytes], list[Any]]:
    """What reads records as structs of all columns, in their order; those that are not among these are not looked into.
    It refuses a record with members that no column has."""
    fields: list[tuple[str, Any, Any]] = []
    for number, column in enumerate(DEFAULT):
        wanted = _PLAIN.get(column.kind) if column in of else msgspec.Raw
        default = msgspec.Raw(b"null") if wanted in (None, msgspec.Raw) else None
        type_ = msgspec.Raw if wanted in (None, msgspec.Raw) else wanted | None
        fields.append((f"c{number}", type_, msgspec.field(name=column.name, default=default)))
    row = msgspec.defstruct("Row", fields, gc=False, forbid_unknown_fields=True)
    return msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]  # it is made here


def one_by_one(records: Sequence[Record], of: Sequence[Column]) -> tuple[dict[str, pa.Array], pa.Array]:
    """The columns of any records, and what stands in `other`."""
    others = _unknown(records)
    values = _values(records, [column.name for column in of])
    made = {column.name: _column(column, each, records, others) for column, each in zip(of, values, strict=True)}
    return made, pa.array([None if other is None else _json(other) for other in others], _TEXT)


def schema(of: Sequence[Column]) -> pa.Schema:
    """The columns of such a table and their types."""
    return table("", (), of).schema


def _unknown(records: Sequence[Record]) -> list[dict[str, Any] | None]:
    """Of each record the members that no column has."""
    known = {column.name for column in DEFAULT}
    return [
        None if record.keys() <= known else {name: value for name, value in record.items() if name not in known}
        for record in records
    ]


def _values(records: Sequence[Record], names: Sequence[str]) -> list[list[Any]]:
    """What records have of each name."""
    return [[record.get(name) for record in records] for name in names]


def _column(
    column: Column, values: Sequence[Any], records: Sequence[Record], others: list[dict[str, Any] | None]
) -> pa.Array:
    if column.name == "started_at":
        values = [
            record.get("timestamp") if value is None else value for value, record in zip(values, records, strict=True)
        ]
    if column.kind is Kind.NESTED:
        return pa.array([None if value is None else _json(value) for value in values], _TEXT)
    try:
        return _array(column.kind, values)
    except _UNFIT:
        fitting = [_fitting(column, value, others, at) for at, value in enumerate(values)]
        return _array(column.kind, fitting)


def _array(kind: Kind, values: Sequence[Any]) -> pa.Array:
    if kind is Kind.INSTANT:
        return pa.array(values, _TEXT).cast(_STAMP)
    return pa.array(values, _TYPES[kind])


def _fitting(column: Column, value: Any, others: list[dict[str, Any] | None], at: int) -> Any:
    """The value, if its column can have it; else None, and it stands with the others."""
    try:
        _array(column.kind, [value])
    except _UNFIT:
        others[at] = {**(others[at] or {}), column.name: value}
        return None
    return value


def _json(value: Any) -> str:
    if value == []:
        return "[]"
    if value == {}:
        return "{}"
    return _cached(msgspec.json.encode(value))


@lru_cache(maxsize=4096)
def _cached(raw: bytes) -> str:
    return raw.decode()


def record(row: Mapping[str, Any]) -> Record:
    """The record that a row is, for whoever compares: without what is null."""
    found = {}
    for column in DEFAULT:
        value = row.get(column.name)
        if value is None:
            continue
        if column.kind is Kind.NESTED:
            value = msgspec.json.decode(value) if isinstance(value, str | bytes) else value
        elif column.kind is Kind.INSTANT:
            value = msgspec.to_builtins(value.astimezone(UTC))
        found[column.name] = value
    other = row.get(OTHER)
    return found | ({} if other is None else msgspec.json.decode(other) if isinstance(other, str) else other)
