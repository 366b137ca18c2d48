"""Records' JSON as columns: read by DuckDB, which takes neither Python's objects nor its lock for it.

A batch lies in a file that has no name but its number and is nowhere but in memory, as DuckDB reads and writes files.
Nothing is kept in this database, and nothing of a store is asked of it.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import duckdb
from arro3.core import DataType

from calldex.exports.lines import one_a_line

_TYPES: Final = ((DataType.is_int64, "BIGINT"), (DataType.is_float64, "DOUBLE"), (DataType.is_timestamp, "TIMESTAMPTZ"))


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    """One for all: opening it takes longer than a small export. Each query runs in the thread that asks."""
    opened = duckdb.connect(config={"threads": 1, "TimeZone": "UTC", "autoinstall_known_extensions": False})
    atexit.register(_database.cache_clear)
    return opened


class Reading:
    """Reads batches of records as columns of these types, by their names; of a text, what is no text is read as its
    JSON. `close` it."""

    def __init__(self, types: Mapping[str, DataType]) -> None:
        self._cursor = _database().cursor()
        self._batch, self._rows = _File(), _File()
        columns = ", ".join(f"{_text(name)}: {_text(_sql(type_))}" for name, type_ in types.items())
        self._records = (
            f"(SELECT * FROM read_json({_text(self._batch.path)}, format = 'newline_delimited',"  # noqa: S608 - ours
            f" columns = {{{columns}}}))"
        )

    def table(self, records: bytes, take: Callable[[Any], Any]) -> Any:
        """What is taken of the records, their JSON joined by commas, as an Arrow stream."""
        self._batch.write(one_a_line(records))
        return take(self._cursor.sql(f"FROM {self._records}"))

    def rows(self, records: bytes, quoted: Sequence[str], mark: str) -> bytes:
        """The records as CSV, without headings: values of the columns named in quotes, those that are null excepted,
        and behind all a column more, a mark."""
        self._batch.write(one_a_line(records))
        force = f", FORCE_QUOTE ({', '.join(map(_name, quoted))})" if quoted else ""
        self._cursor.execute(
            f"COPY (SELECT *, {_text(mark)} FROM {self._records}) TO {_text(self._rows.path)}"  # noqa: S608 - ours
            f" (FORMAT csv, HEADER false, USE_TMP_FILE false{force})"
        )
        return self._rows.read()

    def close(self) -> None:
        """Let go of its files."""
        self._cursor.close()
        self._batch.close()
        self._rows.close()


class _File:
    """A file in memory."""

    def __init__(self) -> None:
        self._number = os.memfd_create("calldex-export")
        self.path = f"/proc/self/fd/{self._number}"

    def write(self, content: bytes) -> None:
        """Make this its content."""
        os.ftruncate(self._number, 0)
        written = 0
        while written < len(content):
            written += os.pwrite(self._number, memoryview(content)[written:], written)

    def read(self) -> bytes:
        """Take its content from it."""
        size = os.fstat(self._number).st_size
        content = os.pread(self._number, size, 0)
        if len(content) != size:
            raise OSError("what was written to memory cannot be read back")
        os.ftruncate(self._number, 0)
        return content

    def close(self) -> None:
        """Let go of it; once."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


def _sql(type_: DataType) -> str:
    if DataType.is_list(type_):
        return f"{_sql(type_.value_type)}[]"
    if DataType.is_struct(type_):
        return f"STRUCT({', '.join(f'{_name(each.name)} {_sql(each.type)}' for each in type_.fields)})"
    return next((name for is_one, name in _TYPES if is_one(type_)), "VARCHAR")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
