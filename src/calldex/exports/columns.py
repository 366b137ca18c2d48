"""The columns that files have: one for each field of a record, in the order of the table, and `updated_at`.

What a column holds follows from the type that the field has in a record. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, get_type_hints

import msgspec

from calldex.errors import BadParameters, Problem, suggest
from calldex.records.codec import Record
from calldex.records.fields import FIELDS
from calldex.records.record import Id, Instant, Score, Seconds

UPDATED_AT: Final = "updated_at"
"""When the version was committed; it leaves only where it is asked for."""


Times = Literal["utc", "local", "epoch_ms"]


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    WHOLE = auto()
    DECIMAL = auto()
    INSTANT = auto()
    LENGTH = auto()
    """Seconds."""
    NESTED = auto()
    """A list or an object."""


class Column(msgspec.Struct, frozen=True):
    """A column: its name, what it holds, and the type of the record's member (as `get_type_hints` tells it)."""

    name: str
    kind: Kind
    type: Any


class Layout(msgspec.Struct, frozen=True):
    """What a file is to hold: its columns, in which zone times are told where people read them, and how many records
    will come. Without chosen columns, formats that can serve records as they are do so. `times`: how CSV for machines
    tells them."""

    columns: tuple[Column, ...]
    timezone: str
    total: int
    chosen: bool = False
    times: Times = "utc"


class Writer(Protocol):
    """Makes a file: `begin`, then `add` for each batch of records, in order, then `end`; what each returns are the
    file's next bytes. What is added is what `convert` made of a batch. Whoever breaks off calls `close` instead of
    `end`."""

    def begin(self) -> bytes:
        """The bytes before the first record."""

    def convert(self, records: bytes) -> object:
        """What can be made of some records by themselves, their JSON a line each; called in several threads at
        once, so for what takes place beside Python's lock."""

    def add(self, converted: Any) -> bytes:
        """The bytes that are ready now that these records have come."""

    def end(self) -> bytes:
        """The last bytes."""

    def close(self) -> None:
        """Let go of everything, whether or not it ended."""


def _columns() -> Iterable[Column]:
    # `__struct_fields__` has the names in Python, `__struct_encode_fields__` those in JSON.
    hints = get_type_hints(Record, include_extras=True)
    types = dict(zip(Record.__struct_encode_fields__, map(hints.__getitem__, Record.__struct_fields__), strict=True))
    for field in FIELDS:
        yield Column(field.name, _kind(types[field.name]), types[field.name])
    yield Column(UPDATED_AT, Kind.INSTANT, Instant)


def _kind(type_: Any) -> Kind:
    for known, kind in ((Instant, Kind.INSTANT), (Seconds, Kind.LENGTH), (Id, Kind.WHOLE), (Score, Kind.DECIMAL)):
        if type_ in (known, known | None):
            return kind
    return Kind.TEXT if _is_text(msgspec.inspect.type_info(type_)) else Kind.NESTED


def _is_text(info: msgspec.inspect.Type) -> bool:
    match info:
        case msgspec.inspect.Metadata(type=inner):
            return _is_text(inner)
        case msgspec.inspect.UnionType(types=types):
            return all(isinstance(part, msgspec.inspect.NoneType) or _is_text(part) for part in types)
        case _:
            return isinstance(info, msgspec.inspect.StrType | msgspec.inspect.LiteralType)


ALL: Final = tuple(_columns())
COLUMN: Final = {column.name: column for column in ALL}
DEFAULT: Final = tuple(column for column in ALL if column.name != UPDATED_AT)


def chosen(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of these names in their order; all but `updated_at` where none is named. `BadParameters`."""
    problems = [
        Problem("fields", name[:100], f"there is no such column{suggest(name, COLUMN)}", ", ".join(COLUMN))
        for name in names
        if name not in COLUMN
    ]
    problems += [
        Problem("fields", name, "named more than once", "each column once")
        for name in dict.fromkeys(names)
        if name in COLUMN and names.count(name) > 1
    ]
    if problems:
        raise BadParameters(problems)
    return tuple(COLUMN[name] for name in names) or DEFAULT


Cell = str | int | float | datetime | None
"""A value of a flat file; what is nested is JSON text."""


@lru_cache(maxsize=256)
def flat(columns: tuple[Column, ...], instants: bool) -> Callable[[bytes], list[list[Cell]]]:
    """What reads records, their JSON a line each, as rows of these columns. `instants`: times as `datetime`,
    else as they are served."""
    names = [f"c{number}" for number in range(len(columns))]
    fields: list[tuple[str, Any, Any]] = []
    for name, column in zip(names, columns, strict=True):
        if column.kind is Kind.NESTED:
            fields.append((name, msgspec.Raw, msgspec.field(name=column.name, default=msgspec.Raw(b"null"))))
        else:
            type_ = datetime if column.kind is Kind.INSTANT and instants else str | int | float
            fields.append((name, type_ | None, msgspec.field(name=column.name, default=None)))
    decode = msgspec.json.Decoder(msgspec.defstruct("Flat", fields, gc=False)).decode_lines
    nested = [number for number, column in enumerate(columns) if column.kind is Kind.NESTED]

    def rows(records: bytes) -> list[list[Cell]]:
        made = []
        for record in decode(records):
            row = list(msgspec.structs.astuple(record))
            for number in nested:
                row[number] = _json(bytes(row[number]))
            made.append(row)
        return made

    return rows


@lru_cache(maxsize=4096)
def _json(raw: bytes) -> str:
    return "" if raw == b"null" else raw.decode()
