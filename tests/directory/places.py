"""Where a directory can be: in a file of SQLite's, or in a database of PostgreSQL's. Most tests run on both."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from calldex.directory import Directory
from calldex.directory.database import postgresql_engine, sqlite_engine
from calldex.directory.sealing import SEALING_FILE
from tests.postgres import Server

_OPENING: Final = """
from pathlib import Path
from calldex.directory import Directory, database
Directory(database.{}({}), Path({!r})).close()
"""


class Place(ABC):
    """A directory database of the test's own, as others than the directory under test see it.

    `opening` are the lines of a program that opens a directory there and closes it, `sealing` is the file of its key to
    others' secrets.
    """

    opening: str
    sealing: Path

    @abstractmethod
    def engine(self) -> Engine:
        """Another engine on it."""

    def open(self) -> Directory:
        """What another process has open."""
        return Directory(self.engine(), self.sealing)

    @abstractmethod
    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What another program does to it."""

    @abstractmethod
    def binary(self, some: bytes) -> str:
        """How its SQL writes them."""

    @abstractmethod
    def ddl(self) -> list[str]:
        """The lines that make its tables, sorted, as the order of columns does not count."""

    @abstractmethod
    def holds(self, some: bytes) -> bool:
        """Whether they stand anywhere in it."""


class SqlitePlace(Place):
    """A file, in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sealing = path.with_name(SEALING_FILE)
        self.opening = _OPENING.format("sqlite_engine", f"Path({str(path)!r})", str(self.sealing))

    def engine(self) -> Engine:
        """Another engine on it."""
        return sqlite_engine(self.path)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What another program does to it."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(sql).fetchall()
            connection.commit()
        return rows

    def binary(self, some: bytes) -> str:
        """How its SQL writes them."""
        return f"x'{some.hex()}'"

    def ddl(self) -> list[str]:
        """The lines that make its tables, each with the table's name before it."""
        tables = self.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql <> ''")
        lines = (f"{name} {line}" for name, sql in tables for line in sql.replace('"', "").split("\n"))
        return sorted(line.strip(" ,\t") for line in lines)

    def holds(self, some: bytes) -> bool:
        """Whether they stand in the file or in one beside it."""
        return any(some in file.read_bytes() for file in self.path.parent.iterdir())


class PostgresqlPlace(Place):
    """A database of a server, and a folder for the key."""

    def __init__(self, server: Server, name: str, folder: Path) -> None:
        self.server = server
        self.name = name
        self.sealing = folder / SEALING_FILE
        self.address = server.address.set(database=name).render_as_string()
        self.opening = _OPENING.format("postgresql_engine", repr(self.address), str(self.sealing))

    def engine(self) -> Engine:
        """Another engine on it."""
        return postgresql_engine(self.address)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What another program does to it."""
        return self.server.execute(sql, self.name)

    def binary(self, some: bytes) -> str:
        """How its SQL writes them."""
        return f"'\\x{some.hex()}'"

    def ddl(self) -> list[str]:
        """The lines that make its tables."""
        lines = self.server.dump(self.name, "--schema-only").decode().split("\n")
        return sorted(line.strip(" ,") for line in lines if not line.startswith(("--", "\\")))

    def holds(self, some: bytes) -> bool:
        """Whether they stand in a dump, as they are or as binary columns are written."""
        dump = self.server.dump(self.name)
        return some in dump or some.hex().encode() in dump

    def cut(self) -> None:
        """End all connections that others have to it."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
