"""The engine of the columns: DuckDB, with one file and a limit of time on each query. Only this module knows duckdb.

It knows nothing of what is in the file. What the engine says while something is changed becomes `Damaged` or `NoRoom`;
of a query, only what says nothing against the file gets words of ours.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from calldex import budget
from calldex.errors import DiskFull, QueryTimeout, Unavailable

ROW_GROUP: Final = 20_480
"""Rows that DuckDB stores together; as many at once it writes in their final form, without its write-ahead log. The
default, six times as many, makes bulk loading in batches half as fast."""
VERSION: Final = duckdb.__version__.partition(".")[0]
"""Of the engine; it reads no files of another one."""
_WAL_LIMIT: Final = "64MB"
_UNWRITABLE: Final = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)))
"""What the engine quotes where it may not write, which says nothing against what is there."""

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""One for each column."""
Error = duckdb.Error
"""Whatever the engine says."""


class NoRoom(Exception):
    """The disk is full, or must not be written; what is there is sound, and can be added to later."""


class Damaged(Exception):
    """The file cannot be read as what was written; it must be made again."""


class Engine:
    """The engine, with the file open as `kept`. One thread changes it at a time; any asks."""

    def __init__(self, path: Path, *, memory_mb: int, threads: int, timeout_s: float, look: bool) -> None:
        """Open or create the file; with `look`, without ever writing to it. `timeout_s`: how long a query may take.
        Raises `Damaged`, `NoRoom`."""
        self._timeout_s = timeout_s
        self._running: dict[int, tuple[float, duckdb.DuckDBPyConnection]] = {}
        self._idle = threading.Condition()
        self.closed = False
        with changing():
            self._connection = duckdb.connect(
                ":memory:",
                config={
                    "threads": threads,
                    "memory_limit": f"{memory_mb}MB",
                    "checkpoint_threshold": _WAL_LIMIT,
                    "preserve_insertion_order": False,
                    # The first value tells a column's type: a thousand, the default, take an eighth of a small batch.
                    "pandas_analyze_sample": 1,
                    "temp_directory": str(path.with_suffix(".tmp")),
                },
            )
            try:
                quoted = str(path).replace("'", "''")  # ATTACH takes no parameter
                how = "READ_ONLY" if look else f"ROW_GROUP_SIZE {ROW_GROUP}"
                self._connection.execute(f"ATTACH '{quoted}' AS kept ({how})")
                # Nothing but this file is to be read or written, whatever a query says.
                self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")
            except BaseException:
                self._connection.close()
                raise
        self._watchdog = threading.Thread(target=self._watch, name="query-time-limit", daemon=True)
        self._watchdog.start()

    # --- changing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[None]:
        """All that is changed within, or nothing. Raises `Damaged`, `NoRoom`."""
        with changing():
            self._connection.begin()
            try:
                yield
                self._connection.commit()
            except BaseException:
                with suppress(duckdb.Error):  # an error that ended the transaction itself
                    self._connection.rollback()
                raise

    def execute(self, text: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> duckdb.DuckDBPyConnection:
        """A statement within `change` or `changing`; what it finds can be fetched."""
        return self._connection.execute(text, parameters)

    def execute_with(self, source: Arrays, text: str, parameters: Sequence[Any] = ()) -> None:
        """A statement within `change` that reads some arrays as the table `source`."""
        self._connection.register("source", source)
        self._connection.execute(text, parameters)
        self._connection.unregister("source")

    # --- asking -------------------------------------------------------------------------------------------------------

    def rows(
        self, text: str, parameters: Sequence[Any] | Mapping[str, Any] = (), timeout_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        """What a query finds. `timeout_s`: not what is left of the time of a request, but this."""
        with self._cursor(timeout_s) as cursor:
            return cursor.execute(text, parameters).fetchall()

    def arrays(self, text: str, parameters: Sequence[Any], timeout_s: float | None = None) -> Arrays:
        """The same as one array for each column."""
        with self._cursor(timeout_s) as cursor:
            return cursor.execute(text, parameters).fetchnumpy()

    @contextmanager
    def _cursor(self, timeout_s: float | None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of its own for each query; DuckDB's cursors must not be shared."""
        timeout_s = budget.left(self._timeout_s) if timeout_s is None else timeout_s
        with self._idle:
            if self.closed:
                raise Damaged("being made again")
            cursor = self._connection.cursor()
            self._running[id(cursor)] = (time.monotonic() + timeout_s, cursor)
        try:
            with _named_errors(self._timeout_s):
                yield cursor
        except QueryTimeout:
            if self.closed:  # that it ended has nothing to do with its time
                raise Damaged("being made again") from None
            raise
        finally:
            with self._idle:
                del self._running[id(cursor)]
                self._idle.notify_all()
            cursor.close()

    def _watch(self) -> None:
        """Interrupt what runs beyond its time."""
        while not self.closed:
            with self._idle:
                now = time.monotonic()
                late = [cursor for deadline, cursor in self._running.values() if deadline < now]
                for cursor in late:
                    cursor.interrupt()
                self._idle.wait(0.05 if late else min(self._timeout_s / 10, 0.2))

    def stop(self) -> None:
        """Interrupt what is running, and wait for it. Nothing is answered from then on."""
        with self._idle:
            self.closed = True
            self._idle.notify_all()
            while self._running:
                for _, cursor in self._running.values():
                    cursor.interrupt()
                self._idle.wait(0.05)
        self._watchdog.join()

    def close(self, *, fold: bool = True) -> None:
        """Let go of the file, and before that fold into it what lies in its log. Closed again, nothing happens."""
        connection = self.__dict__.pop("_connection", None)  # what is closed keeps nothing of the engine alive
        if connection is None:
            return
        if fold:
            with suppress(duckdb.Error):  # what is not folded into the file now is replayed when it is opened
                connection.execute("CHECKPOINT kept; DETACH kept")
        connection.close()


@contextmanager
def changing() -> Iterator[None]:
    """What the engine says while the file is opened or changed becomes `Damaged` or `NoRoom`."""
    try:
        yield
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise (NoRoom(reason) if _is_unwritable(error) else Damaged(reason)) from error


def _is_unwritable(error: duckdb.Error) -> bool:
    return any(said in str(error) for said in _UNWRITABLE)


@contextmanager
def _named_errors(timeout_s: float) -> Iterator[None]:
    """What a query may end with although nothing is wrong, in our words; whatever else the engine says stays as it is,
    and whoever asked takes it for damage."""
    try:
        yield
    except duckdb.InterruptException:
        raise budget.spent(timeout_s) from None
    except duckdb.OutOfMemoryException:
        raise Unavailable(
            "the query needs more memory than `columns_memory_mb` permits; ask for less at once, or raise that setting"
        ) from None
    except duckdb.IOException as error:
        if _is_unwritable(error):
            raise DiskFull("the query needs room on the disk, and there is none; ask for less at once") from None
        raise
