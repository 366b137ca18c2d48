"""The connection to the directory database: opening, migrating, reading and writing it.

SQLite on one machine, PostgreSQL where several nodes share a directory; only this module knows which.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, inspect, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from calldex.directory import tables
from calldex.errors import Conflict, DiskFull, Unavailable, UnreadableInput, UsageProblem, WrongVersion

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a writer waits for another process to finish its writing."""

_MIGRATION_LOCK: Final = 0x43414C4C444558
"""The PostgreSQL advisory lock under which a node migrates."""


def sqlite_engine(path: Path) -> Engine:
    """An engine on an SQLite file, made readable by its owner alone if it is new."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise UnreadableInput(f"the directory database {path} cannot be opened: {error.strerror}") from error
    engine = create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not when the driver sees fit
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer takes its lock before it reads, or what it read may be old when it writes.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """Transactions on a directory database of this version; opening it brings it there.

    `generation` grows when this process changed what decides about keys. Safe to use from several threads.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.generation = 0
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.name = engine.url.database
        try:
            self._migrate()
        except DatabaseError as error:
            engine.dispose()
            if _sqlite_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
                raise _unavailable(error) from error
            raise UnreadableInput(f"the directory database {self.name} cannot be read: {error.orig}") from error
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, access: bool = False) -> Iterator[Connection]:
        """A transaction that changes the database, or nothing if it raises; `access`: it changes what keys may.

        `DiskFull` and `Unavailable` if it cannot be done now, `Conflict` if another process was faster.
        """
        try:
            with self._writer.begin() as connection:
                yield connection
                if access:
                    connection.execute(update(tables.change).values(n=tables.change.c.n + 1))
        except OperationalError as error:
            raise _unavailable(error) from error
        except IntegrityError as error:
            raise Conflict("the directory was changed by another process at the same time; try again") from error
        if access:
            self.generation += 1

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that can say what happens on a conflict; both engines spell it alike."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def copy_to(self, path: Path) -> None:
        """Copy an SQLite database, as of one moment and while it is in use, into a new file."""
        if not self.is_sqlite:
            raise UsageProblem("a directory on PostgreSQL is backed up by PostgreSQL's own means")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError as error:
            raise Conflict(f"{path} exists already; a backup overwrites nothing") from error
        except OSError as error:
            raise UnreadableInput(f"{path} cannot be written: {error.strerror}") from error
        try:
            with self.read() as connection, closing(sqlite3.connect(path)) as copy:
                original: Any = connection.connection.driver_connection
                original.backup(copy)
        except sqlite3.Error as error:
            path.unlink()
            raise DiskFull(f"the directory database could not be copied to {path}: {error}") from error

    def _migrate(self) -> None:
        with self.read() as connection:
            if _version(connection) == tables.VERSION:
                return
        with self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            found = _version(connection)
            if found is not None and found > tables.VERSION:
                raise WrongVersion(
                    f"the directory database {self.name} has version {found}, "
                    f"this Calldex knows none above {tables.VERSION}; use the Calldex that wrote it, or a newer one"
                )
            _upgrade(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    # Imported when needed: it takes as long as all the rest of a start.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _sqlite_code(error: DatabaseError) -> int | None:
    return getattr(error.orig, "sqlite_errorcode", None)


def _unavailable(error: DatabaseError) -> Unavailable:
    if _sqlite_code(error) == sqlite3.SQLITE_FULL:
        return DiskFull("there is no room left to write the directory database; nothing was changed")
    return Unavailable(f"the directory database cannot be written now: {error.orig}", retry_after=1)


def now_ms() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Part:
    """A part of the directory: methods on one database."""

    def __init__(self, database: Database) -> None:
        self._db = database
