"""Records become rows: the quick way says what the slow one says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from calldex.client import Record
from calldex.exports.columns import DEFAULT
from calldex.records import codec
from calldex.sync.destinations import Change
from tests.sync.conftest import some

pytest.importorskip("pyarrow")
tables: Any = pytest.importorskip("calldex.sync.destinations.tables")


def record_of(number: int = 0, **values: Any) -> Record:
    """A record as it is served, with other values."""
    made: Record = msgspec.json.decode(codec.encode(some(number + 1, seed=7)[number]))
    return made | values


def rows(*records: Record) -> list[dict[str, Any]]:
    """The rows of records."""
    changes = [Change.of(record["uuid"], at, record) for at, record in enumerate(records)]
    found: list[dict[str, Any]] = tables.table("main", changes, DEFAULT).to_pylist()
    return found


@pytest.mark.slow
def test_the_quick_way_is_the_slow_way() -> None:
    """Column by column, of records without objects of what is nested, and of records as objects."""
    records = [record_of(number) for number in range(48)]
    records += [record_of(48, custom=None, tags=None), record_of(49, custom={"null": "null\0\u00e9\U0001f4de"})]
    quick = tables.as_they_are([Change.of(each["uuid"], 1, each) for each in records], DEFAULT)
    slow, others = tables.one_by_one(records, DEFAULT)
    assert {name: column.to_pylist() for name, column in slow.items()} == {
        name: column.to_pylist() for name, column in quick.items()
    }
    assert [None] * 50 == others.to_pylist()


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"weather": "fair"}, {"weather": "fair"}),
        ({"talk_s": "long"}, {"talk_s": "long"}),
        ({"answered_at": "soon"}, {"answered_at": "soon"}),
        ({"agent_id": 2**70}, {"agent_id": 2**70}),
        ({"comment": 5}, {"comment": 5}),
    ],
)
def test_what_no_column_takes_stands_with_the_others(values: dict[str, Any], other: dict[str, Any]) -> None:
    """A member that no column has, and a value that its column cannot have; the record beside it is as it was."""
    odd, plain = record_of(0, **values), record_of(1)
    first, second = rows(odd, plain)
    assert other == msgspec.json.decode(first["other"])
    assert second["other"] is None
    without = {name: value for name, value in odd.items() if value is not None}
    assert without == tables.record(first)
    assert {name: value for name, value in plain.items() if value is not None} == tables.record(second)


def test_a_record_of_the_contract_alone_has_a_begin() -> None:
    """`started_at` is `timestamp` where an endpoint has the latter alone, and what is not there is null."""
    full = record_of(0)
    (row,) = rows({name: full[name] for name in ("uuid", "timestamp", "type")})
    assert full["timestamp"] == tables.record(row)["started_at"]
    assert {"uuid", "timestamp", "type", "started_at"} == tables.record(row).keys()


def test_no_rows_have_the_same_columns() -> None:
    """Also of deletions alone."""
    one = tables.table("main", [Change("a", 1, None)], DEFAULT)
    assert (0, tables.table("main", [Change.of("a", 1, record_of(0))], DEFAULT).schema) == (len(one), one.schema)
