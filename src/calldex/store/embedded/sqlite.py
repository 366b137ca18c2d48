"""SQLite as the ledger uses it: connections, and its errors in our words. The only module that knows apsw.

Knows no table. Every statement goes through `each` or `rows`, every commit through `commit`, so that whatever SQLite
says comes out as one of our errors: what a full disk says, what another program that holds a lock does, what a damaged
file is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from calldex import budget
from calldex.errors import CalldexError, DiskFull, StoreDamaged, Unavailable, UnreadableInput

Connection = apsw.Connection
Readers = Callable[[], AbstractContextManager[Connection]]
"""Gives a connection for a while."""
carray = apsw.carray
OK: Final = int(apsw.SQLITE_OK)

BUSY_MS: Final = 5_000
"""How long a statement waits for another program that holds a lock, in milliseconds."""
PAGE_BYTES: Final = 8192
_CACHE_KIB: Final = 64 * 1024
_READER_CACHE_KIB: Final = 8192
_PAGES_COPIED: Final = 2048
_STEPS: Final = 100_000
"""Instructions of a statement, some milliseconds, after which it looks at the time."""
_LITTLE_ROOM: Final = 16 << 20
"""Bytes left on a disk, or a 64th of a small one, below which there is no room."""
_UNWRITTEN: Final = frozenset(
    (
        *(apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC, apsw.SQLITE_IOERR_TRUNCATE),
        *(apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMOPEN, apsw.SQLITE_IOERR_SHMMAP),
    )
)
"""Input or output that failed while something was to be written: there is no room, or no more than a file may have."""


Unknown = apsw.SQLError
"""A statement names what is not there."""


class Rejected(Exception):
    """A constraint did not hold: what was to be inserted is there already."""


def connect(path: Path) -> Connection:
    """A connection that writes, to a file that is made if there is none. Commits are on disk when they return."""
    return _opened(
        path,
        apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
        *(f"cache_size = -{_CACHE_KIB}", f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "synchronous = FULL"),
        "wal_autocheckpoint = 0",
    )


def reading(path: Path) -> Connection:
    """A connection that only reads, beside one that writes. What it is asked ends with the budget of who asks."""
    connection = _opened(path, apsw.SQLITE_OPEN_READONLY, f"cache_size = -{_READER_CACHE_KIB}")
    connection.set_progress_handler(_in_time, _STEPS)
    return connection


def _in_time() -> bool:
    budget.check()
    return False


def _opened(path: Path, flags: int, *pragmas: str) -> Connection:
    with translated(path):
        connection = apsw.Connection(str(path), flags=flags)
        try:
            connection.set_busy_timeout(BUSY_MS)
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def alone(path: Path) -> Iterator[Connection]:
    """A connection that writes to a file that is there and that nobody else has open; leaves it one file."""
    connection = _opened(path, apsw.SQLITE_OPEN_READWRITE, "journal_mode = DELETE")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def looking(path: Path) -> Iterator[Connection]:
    """A connection to a file that nobody has open, which leaves no trace in its folder.

    SQLite makes an index for a write-ahead log before it reads from it; it goes again. Without a log none is made.
    """
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    logged, indexed = log.exists() and log.stat().st_size > 0, index.exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if logged else '&immutable=1'}"
    try:
        with translated(path):
            connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            connection.set_busy_timeout(BUSY_MS)
            yield connection
        finally:
            connection.close()
    finally:
        if logged and not indexed:
            index.unlink(missing_ok=True)


def each(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement."""
    with _reading(connection):
        yield from connection.execute(text, parameters)


def rows(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with _reading(connection):
        return list(connection.execute(text, parameters))


@contextmanager
def _reading(connection: Connection) -> Iterator[None]:
    with translated(connection.filename):
        try:
            yield
        except UnicodeDecodeError as error:
            raise StoreDamaged(
                f"the ledger {connection.filename} is damaged: it holds text that is not UTF-8"
            ) from error


def integrity(connection: Connection) -> list[str]:
    """What SQLite finds wrong with a file, a line each; nothing if it is sound."""
    try:
        found = [str(row[0]) for row in each(connection, "PRAGMA integrity_check(20)")]
    except CalldexError as error:
        return [error.message]
    return [] if found == ["ok"] else found


@contextmanager
def commit(connection: Connection) -> Iterator[None]:
    """What is written meanwhile becomes one commit, or a part of the one that goes on; all of it or nothing."""
    with translated(connection.filename, "; nothing of this was kept"), connection:
        yield


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """What is read meanwhile is read as of one commit."""
    with translated(connection.filename), connection:
        yield


def insert(connection: Connection, text: str, values: Iterable[Sequence[Any]]) -> None:
    """Insert some rows, all or none: `Rejected` if one is there already."""
    try:
        with connection:
            connection.executemany(text, values)
    except apsw.ConstraintError as error:
        raise Rejected from error


def fold(connection: Connection, *, wholly: bool = False) -> bool:
    """Fold the write-ahead log into the database as far as that can be without waiting; whether all of it was.
    `wholly`: wait for readers, and begin the log anew. On a full disk it stays, and is tried again later."""
    mode = apsw.SQLITE_CHECKPOINT_RESTART if wholly else apsw.SQLITE_CHECKPOINT_PASSIVE
    with suppress(apsw.BusyError, apsw.FullError, apsw.IOError):
        pages, folded = connection.wal_checkpoint(mode=mode)
        return pages == folded
    return False


def copy(writer: Connection, target: Path) -> Generator[bool, None, None]:
    """Copy a database into a new file, some pages at each step, through the connection that writes to it: between two
    steps it may write, and does so to the copy as well. (If another one did, SQLite would begin again.)"""
    with translated(target, room=f"there is no room to copy the ledger to {target}, or it cannot be written there"):
        copied = apsw.Connection(str(target))
        try:
            with copied.backup("main", writer, "main") as backup:
                while not backup.done:
                    backup.step(_PAGES_COPIED)
                    yield True
        finally:
            copied.close()


@contextmanager
def translated(path: Path | str, after: str = "", *, room: str = "") -> Iterator[None]:
    """What SQLite says about a file, as one of our errors. `after`: what becomes of what was being written; `room`:
    what is said where there is no room."""
    try:
        yield
    except apsw.Error as error:
        if room and isinstance(error, apsw.FullError | apsw.IOError):  # a copy has one word for all: "not an error"
            raise DiskFull(room) from error
        if (failure := _failure(error, path, after)) is None:
            raise
        raise failure from error


def _failure(error: apsw.Error, path: Path | str, after: str) -> CalldexError | None:
    """What an error means; None for a fault of ours."""
    what = f"the ledger {path}"
    match error:
        case apsw.FullError():
            return DiskFull(f"{what} cannot be written: there is no room left on the disk{after}")
        case apsw.IOError() if getattr(error, "extendedresult", 0) in _UNWRITTEN:
            why = "it may not grow, or its disk fails" if has_room(path) else "there is no room left on the disk"
            return DiskFull(f"{what} cannot be written: {why} ({error}){after}")
        case apsw.CantOpenError() if not has_room(path):
            return DiskFull(f"{what} cannot be opened: there is no room left on the disk{after}")
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(f"another program holds the lock of {what}{after}; try again", retry_after=2)
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return UnreadableInput(
                f"{what} cannot be opened: {error}; the file and its folder must be readable and writable for the user"
                " that runs Calldex"
            )
        # Its head says the former, of which it wrote another; what it keeps of its tables, the latter.
        case apsw.SQLError() if re.search("unsupported file format|no such (?:table|column)", str(error)):
            return StoreDamaged(f"{what} is damaged: {error}; stop Calldex and restore a backup")
        case apsw.NotADBError():
            return StoreDamaged(f"{what} cannot be opened: {error}; stop Calldex and restore a backup")
        case apsw.CorruptError() | apsw.IOError() | apsw.FormatError():
            return StoreDamaged(f"{what} is damaged: {error}; stop Calldex and restore a backup")
    return None


def has_room(path: Path | str) -> bool:
    """Whether something can be written beside a file: there is a little of its disk left."""
    with suppress(OSError):
        found = os.statvfs(Path(path).parent)
        little = min(_LITTLE_ROOM, found.f_blocks * found.f_frsize // 64)
        return found.f_bavail * found.f_frsize >= little and (found.f_files == 0 or found.f_favail > 0)
    return True
