"""The connection to the directory database: opening, migrating, reading and writing it.

SQLite on one machine, PostgreSQL where several nodes share a directory; only this module knows which.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from calldex.directory import tables
from calldex.errors import (
    BadSettings,
    Conflict,
    DiskFull,
    Problem,
    StoreDamaged,
    Unavailable,
    UnreadableInput,
    UsageProblem,
    WrongVersion,
)

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a writer waits for another process to finish its writing."""

_CONNECT_S: Final = 3
"""How long one address of a PostgreSQL server has for answering; a name may have two."""
_IDLE_MS: Final = 60_000
"""When PostgreSQL ends the transaction of a node that has stopped in the middle of it."""
_POOL: Final = 10
"""Connections of one node that are kept, and as many more that are made when these are in use."""
_FORM: Final = "postgresql://user:password@host:5432/database, where an @ in the password is %40, a % is %25"

_MIGRATION_LOCK: Final = 0x43414C4C444558
"""The PostgreSQL advisory lock under which a node migrates."""
RESERVED_BYTES: Final = 32 << 20
"""Room that a directory in a file keeps for itself while there is enough, for the audit on a full disk: some 50,000
entries, which is an hour and more at ten searches a second."""
RESERVED_LOG_BYTES: Final = 8 << 20
"""Room that its write-ahead log keeps: twice as much as is folded in at once."""
_SPARE_BYTES: Final = 1 << 20
"""Room that the log leaves to the rest, where there is less."""
_NUMBERED: Final = re.compile(r"[0-9]{4}")
_DAMAGED: Final = (
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_CORRUPT_SEQUENCE),
    *(sqlite3.SQLITE_CORRUPT_VTAB, sqlite3.SQLITE_NOTADB),
)
_FULL: Final = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC),
    *(sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN),
    *(sqlite3.SQLITE_IOERR_SHMMAP, "53100"),
)
_LITTLE: Final = 64 * 1024
"""Bytes left on a disk below which a file that cannot be opened is one that has no room."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, "55P03")


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


def postgresql_engine(address: str) -> Engine:
    """An engine on a PostgreSQL database, named as `postgresql://user:password@host:5432/database`.

    `BadSettings` if that is no such address; it never repeats the password.
    """
    from calldex.directory import texts  # here, so that a directory on SQLite does not wait for another's driver

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        url = None
    named = url is not None and url.drivername == "postgresql" and url.host and url.database
    if url is None or not named or "@" in f"{url.host}{url.database}":  # a part of the password, then
        raise BadSettings([Problem("directory", "", "is not the address of a PostgreSQL database", _FORM)])
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=_POOL,
        max_overflow=_POOL,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "application_name": "calldex",
            "client_encoding": "utf8",
            "options": f"-c lock_timeout={BUSY_TIMEOUT_MS} -c idle_in_transaction_session_timeout={_IDLE_MS}",
            # A server that is gone without a word is given up after some ten seconds, not after hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": BUSY_TIMEOUT_MS,
        },
    )
    event.listen(engine, "connect", texts.prepare)
    return engine


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads an SQLite file which nobody has open, and leaves no trace in its folder: SQLite makes an
    index for a write-ahead log before it reads from it; that goes again."""
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    logged, indexed = log.exists() and log.stat().st_size > 0, index.exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if logged else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise UnreadableInput(
            f"the directory database {path} cannot be read: {error}; put the right file in its place, or restore a"
            " backup"
        ) from error
    finally:
        if logged and not indexed:
            index.unlink(missing_ok=True)


def is_there(path: Path) -> bool:
    """Whether a file holds a directory; not if there is none, or one that was begun and got no tables.
    `UnreadableInput` for what is something else."""
    if not path.exists() or not path.stat().st_size:
        return False
    with looking(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if names and "alembic_version" not in names:
        raise UnreadableInput(
            f"{path} is a database of something else (it has {', '.join(sorted(names)[:3])}); put the directory back in"
            " its place, or restore a backup"
        )
    return bool(names)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not when the driver sees fit
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("migrates"):  # a table that is made again is dropped meanwhile; `_migrate` checks the references
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    # A writer takes its lock before it reads, or what it read may be old when it writes.
    writes = options.get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """Transactions on a directory database of this version; opening it brings it there.

    `generation` grows when this process changed what decides about keys. Safe to use from several threads.
    """

    def __init__(self, engine: Engine, *, migrate: bool = True) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.generation = 0
        self.is_sqlite = engine.dialect.name == "sqlite"
        # One state of the database for all statements of a transaction, which SQLite gives by itself.
        self._reader = engine if self.is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self.name = _name(engine.url)
        self._opened = ExitStack()
        self._holder: sqlite3.Connection | None = None
        """Keeps the room in the write-ahead log, see `reserve`."""
        try:
            if migrate:
                self._migrate()
            else:
                self._refuse_other()
        except DatabaseError as error:
            engine.dispose()
            no_room = (
                self.is_sqlite and _code(error) == sqlite3.SQLITE_CANTOPEN and _room(Path(self.name or ".")) < _LITTLE
            )
            if no_room:
                raise DiskFull(f"there is no room left to open the directory database {self.name}") from error
            if _code(error) in (*_FULL, *_BUSY):
                raise _unavailable(error) from error
            hint = "" if self.is_sqlite else "; check the setting `directory`, or start when that server answers"
            raise UnreadableInput(
                f"the directory database {self.name} cannot be read: {_reason(error)}{hint}"
            ) from error
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._opened.close()
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing; `Unavailable` if it cannot be
        reached now."""
        with _reaching(), self._reader.begin() as connection:
            yield connection

    def connection(self) -> Connection:
        """A connection that its user keeps and closes, for transactions of `write(on=...)`.

        On SQLite it does not wait for the disk: a commit survives the end of the process, not surely a loss of power.
        """
        with _reaching():
            connection = self._writer.connect()
        if self.is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA synchronous=NORMAL")
            connection.detach()  # it is not for others
        return connection

    @contextmanager
    def write(self, *, access: bool = False, on: Connection | None = None) -> Iterator[Connection]:
        """A transaction that changes the database, or nothing if it raises; `access`: it changes what keys may. `on`:
        on this connection.

        `DiskFull` and `Unavailable` if it cannot be done now, `Conflict` if another process was faster.
        """
        try:
            with (
                _reaching(),
                nullcontext(on) if on else self._writer.connect() as connection,
                connection.begin(),
            ):
                if access:  # first of all, so that one such transaction waits for another on PostgreSQL as well
                    connection.execute(update(tables.change).values(n=tables.change.c.n + 1))
                yield connection
        except IntegrityError as error:
            raise Conflict("the directory was changed by another process at the same time; try again") from error
        if access:
            self.generation += 1

    @contextmanager
    def lock(self, kind: int, number: int) -> Iterator[None]:
        """Keep a PostgreSQL advisory lock meanwhile; `Unavailable` if others keep it for too long.

        It belongs to a transaction that does nothing: when its process stops in the middle, PostgreSQL ends it.
        """
        with _reaching():
            connection = self._engine.connect()
        try:
            with _reaching():
                connection.begin()
                connection.execute(select(func.pg_advisory_xact_lock(kind, number)))
            yield
        finally:
            with suppress(DatabaseError):  # ended from without; whoever needs to know finds out when they publish
                connection.close()

    def answers(self) -> None:
        """Return if it can be read and written now; `Unavailable` if not."""
        with self.read() as connection:
            connection.execute(select(tables.change.c.n))
            if not self.is_sqlite and connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                raise Unavailable("the directory database can only be read now", retry_after=1)

    def secret(self, name: str, size: int) -> bytes:
        """The secret of that name: `size` random bytes, made when first asked for and the same ever after."""
        statement = self.insert(tables.secrets).values(name=name, value=secrets.token_bytes(size))
        with self.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())
            value = connection.execute(select(tables.secrets.c.value).where(tables.secrets.c.name == name)).scalar_one()
        if len(value) != size:
            raise ValueError(f"the secret {name!r} has {len(value)} bytes, not {size}")
        return bytes(value)

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that can say what happens on a conflict; both engines spell it alike."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def reserve(self) -> None:
        """Keep room within the file, and within its write-ahead log, that nobody else on the disk can take: on a full
        disk what is written uses it up. Nothing is done where it is kept already, or there is not much more room.

        Pages that were written and are in use no more are what SQLite takes first for what is new.
        """
        if not self.is_sqlite or self._engine.url.database is None:
            return
        path = Path(self._engine.url.database)
        with _reaching():
            driver = self._holder
            if driver is None:  # open as long as the database: with the last connection the log would go
                connection = self._engine.connect()
                driver = self._holder = cast(sqlite3.Connection, connection.connection.driver_connection)
                connection.detach()  # its cache is small from now on
                self._opened.callback(connection.close)
                driver.execute("PRAGMA cache_size=-512")
            try:
                free = driver.execute("PRAGMA freelist_count").fetchone()[0]
                page = driver.execute("PRAGMA page_size").fetchone()[0]
                if free * page < RESERVED_BYTES // 2 and _room(path) > 4 * RESERVED_BYTES:
                    _fill(driver, RESERVED_BYTES - free * page, "COMMIT")
                    driver.execute("PRAGMA wal_checkpoint(PASSIVE)")  # now they are in the file, not in the log alone
                    driver.execute("DROP TABLE reserve")
                log, size = Path(f"{path}-wal"), min(RESERVED_LOG_BYTES, _room(path) - _SPARE_BYTES)
                if log.exists() and log.stat().st_size < size:
                    _fill(driver, size, "ROLLBACK")  # what does not fit in the cache has gone to the log
            except sqlite3.OperationalError as error:
                raise Unavailable(f"no room could be reserved in the directory database: {error}") from error

    def copy_to(self, path: Path) -> None:
        """Copy an SQLite database, as of one moment and while it is in use, into a new file."""
        if not self.is_sqlite:
            raise UsageProblem("a directory in PostgreSQL is backed up by PostgreSQL's own pg_dump")
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
                if copy.execute("PRAGMA freelist_count").fetchone()[0] * 4096 > RESERVED_BYTES // 8:
                    copy.execute("VACUUM")  # what is reserved here need not be there
        except sqlite3.Error as error:
            path.unlink()
            raise DiskFull(f"the directory database could not be copied to {path}: {error}") from error

    def _refuse_other(self) -> None:
        """`WrongVersion` if it is not of this version; nothing is changed."""
        with self._engine.begin() as connection:
            found = version_of(connection)
        if found != tables.VERSION:
            raise WrongVersion(
                f"the directory database {self.name} has version {found}, this Calldex has {tables.VERSION};"
                f" {'use a newer one' if (found or '') > tables.VERSION else 'start it on it once'}"
            )

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            if version_of(connection) == tables.VERSION:
                return
        with self._writer.execution_options(migrates=True).connect() as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                encoding = connection.execute(select(func.current_setting("server_encoding"))).scalar()
                if encoding != "UTF8":
                    raise UnreadableInput(
                        f"the directory database {self.name} has the encoding {encoding}, which cannot keep every name;"
                        " use one that was created with ENCODING 'UTF8' TEMPLATE template0"
                    )
            found = version_of(connection)
            if found is not None and found > tables.VERSION:
                raise WrongVersion(
                    f"the directory database {self.name} has version {found}, "
                    f"this Calldex knows none above {tables.VERSION}; use the Calldex that wrote it, or a newer one"
                )
            if found != tables.VERSION:  # else another process was faster
                _upgrade(connection)
            if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise UnreadableInput(f"the directory database {self.name} has rows that name others that do not exist")
        self._engine.dispose()  # connections that migrated do not check references


def _fill(driver: sqlite3.Connection, size: int, end: str) -> None:
    """Write so many bytes into a table of their own."""
    driver.execute("BEGIN IMMEDIATE")
    try:
        driver.execute("DROP TABLE IF EXISTS reserve")
        driver.execute("CREATE TABLE reserve (room BLOB)")
        for _ in range(size >> 20):
            driver.execute("INSERT INTO reserve VALUES (zeroblob(1048576))")
    except BaseException:
        driver.execute("ROLLBACK")
        raise
    driver.execute(end)


def _room(path: Path) -> int:
    """Bytes left on the disk of a file."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


def version_of(connection: Connection) -> str | None:
    """The migration that a directory database has come to; None if it is none. `UnreadableInput` where its version
    should be and is not."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if not isinstance(found, str) or not _NUMBERED.fullmatch(found):
        raise UnreadableInput(
            f"the directory database is damaged: what should be its version, as {tables.VERSION}, is {found!r:.40};"
            " restore a backup"
        )
    return found


def _upgrade(connection: Connection) -> None:
    # Imported when needed: it takes as long as all the rest of a start.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _name(url: URL) -> str | None:
    """What a database is called in messages: without a password, wherever in the address it stood."""
    if url.drivername == "sqlite":
        return url.database
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()


def _code(error: DatabaseError) -> int | str | None:
    """What the engine calls the error: SQLite by a number, PostgreSQL by a text."""
    return getattr(error.orig, "sqlite_errorcode", None) or getattr(error.orig, "sqlstate", None)


def _reason(error: DatabaseError) -> str:
    """What the engine says about the error, in one line."""
    return " ".join(str(error.orig).split())


@contextmanager
def _reaching() -> Iterator[None]:
    """Turn what says that the database cannot be used now into `Unavailable`, and what says that its file is damaged
    into `StoreDamaged`."""
    try:
        yield
    except (OperationalError, InternalError) as error:  # the latter of a server that has become a read-only one
        raise _unavailable(error) from error
    except NoConnection as error:
        raise Unavailable("too many requests use the directory database at once", retry_after=1) from error
    except DatabaseError as error:
        if _code(error) in _DAMAGED:
            raise StoreDamaged(
                f"the directory database is damaged: {_reason(error)}; stop Calldex and restore a backup"
            ) from error
        raise


def _unavailable(error: DatabaseError) -> Unavailable:
    if _code(error) in _FULL:
        fails = "" if _code(error) in (sqlite3.SQLITE_FULL, "53100") else f", or its disk fails ({_reason(error)})"
        return DiskFull(f"there is no room left to write the directory database{fails}; nothing was changed")
    return Unavailable(f"the directory database cannot be used now: {_reason(error)}", retry_after=1)


class Repository:
    """A part of the directory: methods on one database."""

    def __init__(self, database: Database) -> None:
        self._db = database
