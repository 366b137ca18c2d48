"""Records' JSON as columns: read by DuckDB, which takes neither Python's objects nor its lock for it.

A batch lies in a file that has no name but its number and is nowhere but in memory, as DuckDB reads and writes files.
Nothing is kept in this database, and nothing of a store is asked of it.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, Final

import duckdb
from arro3.core import DataType

_SURE: Final = (
    "CASE WHEN regexp_matches({0}, '(^|:)-?([0-9.]+e|0\\.000|[0-9]{{17}})') THEN error('unsure') ELSE {0} END AS {0}"
)
"""A number, or JSON, if it has no number outside of its texts that may be written in several ways."""


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    """One for all: opening it takes longer than a small export. Each query runs in the thread that asks."""
    opened = duckdb.connect(config={"threads": 1, "temp_directory": "", "autoinstall_known_extensions": False})
    atexit.register(_database.cache_clear)
    return opened


class Reading:
    """Reads batches of records as columns shaped as these types, by their names: lists and structs as such, all other
    values as texts, or as their JSON. Any thread, several at once. `close` it when none reads any more."""

    def __init__(self, types: Mapping[str, DataType]) -> None:
        columns = ", ".join(f"{_text(name)}: {_text(_sql(type_))}" for name, type_ in types.items())
        self._shape = f"format = 'newline_delimited', columns = {{{columns}}}"
        self._idle: SimpleQueue[_Desk] = SimpleQueue()

    def table(self, records: bytes, take: Callable[[Any], Any]) -> Any:
        """What is taken of the records, their JSON a line each, as an Arrow stream."""
        with self._desk() as desk:
            desk.batch.write(records)
            if desk.columns is None:
                desk.columns = desk.cursor.sql(f"FROM {self._records(desk)}")
            return take(desk.columns)

    def rows(self, records: bytes, quoted: Sequence[str], numbers: Sequence[str]) -> bytes | None:
        """The records as CSV, without headings: values of the columns `quoted` in quotes, those that are null excepted.
        None if one of the columns `numbers` has a number that may be written in several ways: very large, very small,
        or with an exponent."""
        sure = ", ".join(_SURE.format(_name(name)) for name in numbers)
        force = f", FORCE_QUOTE ({', '.join(map(_name, quoted))})" if quoted else ""
        with self._desk() as desk:
            desk.batch.write(records)
            desk.rows.write(b"")
            try:
                desk.cursor.execute(
                    f"COPY (SELECT *{sure and f' REPLACE ({sure})'} FROM {self._records(desk)})"  # noqa: S608 - ours
                    f" TO {_text(desk.rows.path)} (FORMAT csv, HEADER false, NEW_LINE '\\r\\n',"
                    f" USE_TMP_FILE false{force})"
                )
            except duckdb.InvalidInputException:
                return None
            return desk.rows.read()

    def close(self) -> None:
        """Let go of its files."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _records(self, desk: _Desk) -> str:
        return f"(SELECT * FROM read_json({_text(desk.batch.path)}, {self._shape}))"  # noqa: S608 - ours

    @contextmanager
    def _desk(self) -> Iterator[_Desk]:
        try:
            desk = self._idle.get_nowait()
        except Empty:
            desk = _Desk()
        try:
            yield desk
        finally:
            self._idle.put(desk)


class _Desk:
    """What one thread needs to read a batch. `columns`: what is read of whatever `batch` holds, understood once."""

    def __init__(self) -> None:
        self.cursor = _database().cursor()
        self.columns: duckdb.DuckDBPyRelation | None = None
        self.batch, self.rows = _File(), _File()

    def close(self) -> None:
        """Let go of it."""
        self.cursor.close()
        self.batch.close()
        self.rows.close()


class _File:
    """A file in memory."""

    def __init__(self) -> None:
        self._number = os.memfd_create("calldex-export")
        self.path = f"/proc/self/fd/{self._number}"

    def write(self, content: bytes) -> None:
        """Make this its content. The memory of what it held before is used again."""
        written = 0
        while written < len(content):
            written += os.pwrite(self._number, memoryview(content)[written:], written)
        os.ftruncate(self._number, len(content))

    def read(self) -> bytes:
        """Take its content from it."""
        size = os.fstat(self._number).st_size
        content = os.pread(self._number, size, 0)
        if len(content) != size:
            raise OSError("what was written to memory cannot be read back")
        return content

    def close(self) -> None:
        """Let go of it; once."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


def _sql(type_: DataType) -> str:
    """Every value is a text here: of other types, what lies in memory where a value is null would be anything."""
    item = type_.value_type
    if item is not None:
        return f"{_sql(item)}[]"
    if type_.fields:
        return f"STRUCT({', '.join(f'{_name(each.name)} {_sql(each.type)}' for each in type_.fields)})"
    return "VARCHAR"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
