"""Records as rows: one column for each field, with nested values as JSON text. Needs pyarrow.

A member that no column has, or whose value does not fit its column, stands in the column `other`: nothing of a record
is lost on the way, whatever endpoint it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec
import pyarrow as pa

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


def columns(fields: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a pipe with these fields; of all, where none is named."""
    return tuple(column for column in DEFAULT if not fields or column.name in fields or column.name in _ALWAYS)


def table(account: str, changes: Sequence[Change], of: Sequence[Column]) -> pa.Table:
    """The rows of changed records: `account`, the columns, `other`, and `seq`."""
    records = [change.record for change in changes if change.record is not None]
    seqs = [change.seq for change in changes if change.record is not None]
    made: dict[str, pa.Array] = {"account": pa.array([account] * len(records), _TEXT)}
    others = _unknown(records)
    for column, values in zip(of, _values(records, [column.name for column in of]), strict=True):
        made[column.name] = _column(column, values, records, others)
    texts = [None if other is None else _json(other) for other in others]
    return pa.table({**made, OTHER: pa.array(texts, _TEXT), "seq": pa.array(seqs, pa.int64())})


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


def _values(records: Sequence[Record], names: Sequence[str]) -> list[Sequence[Any]]:
    """What records have of each name. Calldex's have all of them, and then it takes half the time of all of this."""
    try:
        return list(zip(*map(itemgetter(*names), records), strict=True)) or [()] * len(names)
    except KeyError:
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
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
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
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
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
