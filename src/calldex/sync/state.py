"""What is kept of pipes beside the file: a small SQLite database.

Of every pipe, how it fares. Of a pipe whose destination holds no rows that can be read back (a CRM, another server)
also its place, what was delivered, what failed and is to be tried again, and what the destination remembers. Of copies
the truth lies in the destination: without this file they go on where they are.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from calldex.errors import DataDirInUse, Unavailable, UnreadableInput, WrongVersion
from calldex.sync.destinations import Change, Failed

VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE place (pipe TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT;
CREATE TABLE status (pipe TEXT PRIMARY KEY, told TEXT NOT NULL) STRICT;
CREATE TABLE delivered (pipe TEXT, uuid TEXT, seq INTEGER NOT NULL, started_ms INTEGER NOT NULL, content INTEGER,
    PRIMARY KEY (pipe, uuid)) STRICT, WITHOUT ROWID;
CREATE INDEX delivered_by_time ON delivered (pipe, started_ms);
CREATE TABLE failed (pipe TEXT, uuid TEXT, seq INTEGER NOT NULL, record BLOB, message TEXT NOT NULL,
    retry INTEGER NOT NULL, tries INTEGER NOT NULL, next_ms INTEGER NOT NULL, PRIMARY KEY (pipe, uuid)) STRICT;
CREATE TABLE seen (pipe TEXT, part TEXT, uuid TEXT, PRIMARY KEY (pipe, part, uuid)) STRICT, WITHOUT ROWID;
CREATE TABLE remembered (pipe TEXT, name TEXT, text TEXT NOT NULL, PRIMARY KEY (pipe, name)) STRICT, WITHOUT ROWID;
"""
_FROM_1: Final = "ALTER TABLE delivered ADD COLUMN content INTEGER;"
"""What a version means is another thing once its source was restored from a backup, so what it said is known too."""
FIRST_PAUSE_MS: Final = 60_000
LONGEST_PAUSE_MS: Final = 6 * 3600 * 1000


class Failure(msgspec.Struct, frozen=True):
    """A record that a destination did not take: the vendor's message, whether it is tried again, how often it was."""

    uuid: str
    message: str
    retry: bool
    tries: int


class Totals(msgspec.Struct, frozen=True):
    """How many records failed, and how many of them are tried again."""

    failed: int
    retried: int


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What cannot be used, on a disk that is full, say, or because it is damaged, is told in a sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{path} cannot be written: {error}") from None
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # a fault of ours
            raise
        raise UnreadableInput(f"{path} is damaged ({error}); without it copies lose nothing, see the guide") from None


class StateFile:
    """The database. One process at a time has it for writing; reading it is always possible."""

    def __init__(self, path: Path, *, writing: bool = True) -> None:
        self._lock = threading.RLock()
        self._held: int | None = None
        if writing:
            self._held = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._held)
                raise DataDirInUse(f"another `calldex sync` works with {path}; only one does at a time") from None
            path.touch(mode=0o600)  # records that failed are in it
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            self.close()
            raise WrongVersion(f"{path} is of a newer Calldex ({version}; this one knows {VERSION})")
        if version < VERSION:
            steps = _FROM_1 if version else _SCHEMA
            self._db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._db.close()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @contextmanager
    def commit(self) -> Iterator[None]:
        """What is done within is durable together, or not at all."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise

    def one(self, sql: str, *values: Any) -> Any:
        """The first value of the first row; None if there is none."""
        with self._lock:
            found = self._db.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """All rows."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def change(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """A statement with each of some rows, durable together."""
        with self.commit():
            self._db.executemany(sql, rows)

    # --- how pipes fare -----------------------------------------------------------------------------------------------

    def status(self, pipe: str) -> str | None:
        """How a pipe fares, as it was kept last."""
        found: str | None = self.one("SELECT told FROM status WHERE pipe = ?", pipe)
        return found

    def keep_status(self, pipe: str, status: str) -> None:
        """Keep how a pipe fares."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO status VALUES (?, ?)", (pipe, status))

    # --- pipes into what cannot be read back --------------------------------------------------------------------------

    def place(self, pipe: str) -> str:
        """The state of a pipe; empty if there is none."""
        return self.one("SELECT state FROM place WHERE pipe = ?", pipe) or ""

    def keep_place(self, pipe: str, state: str) -> None:
        """Keep the state of a pipe."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (pipe, state))

    def differing(self, pipe: str, changes: Sequence[Change]) -> list[Change]:
        """Those of the changes that are not delivered yet, nor failed as they are: these come when they are due."""
        with self._lock:
            return [change for change in changes if not self._dealt_with(pipe, change)]

    def _dealt_with(self, pipe: str, change: Change) -> bool:
        failed = self.rows("SELECT seq, record FROM failed WHERE pipe = ? AND uuid = ?", pipe, change.uuid)
        if failed:
            return bool(failed[0] == (change.seq, _bytes(change)))
        found = self.rows("SELECT seq, content FROM delivered WHERE pipe = ? AND uuid = ?", pipe, change.uuid)
        if change.json is None or not found:
            return change.json is None and not found
        seq, content = found[0]
        return bool(seq == change.seq and content in (None, _content(change)))

    def delivered(
        self, pipe: str, changes: Iterable[tuple[Change, int]], failed: Sequence[Failed], now_ms: int
    ) -> None:
        """Note what became of changes (with the begin of each): delivered, or failed and when to try again."""
        why = {each.uuid: each for each in failed}
        with self.commit():
            for change, started_ms in changes:
                if change.uuid in why:
                    self._failed(pipe, change, why[change.uuid], now_ms)
                    continue
                self._db.execute("DELETE FROM failed WHERE pipe = ? AND uuid = ?", (pipe, change.uuid))
                if change.json is None:
                    self._db.execute("DELETE FROM delivered WHERE pipe = ? AND uuid = ?", (pipe, change.uuid))
                else:
                    row = (pipe, change.uuid, change.seq, started_ms, _content(change))
                    self._db.execute("INSERT OR REPLACE INTO delivered VALUES (?, ?, ?, ?, ?)", row)

    def _failed(self, pipe: str, change: Change, why: Failed, now_ms: int) -> None:
        tries = 1 + (self.one("SELECT tries FROM failed WHERE pipe = ? AND uuid = ?", pipe, change.uuid) or 0)
        next_ms = now_ms + min(FIRST_PAUSE_MS * 2 ** min(tries - 1, 16), LONGEST_PAUSE_MS)
        row = (pipe, change.uuid, change.seq, _bytes(change), why.message[:2000], why.retry, tries, next_ms)
        self._db.execute("INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def due(self, pipe: str, now_ms: int, most: int) -> list[Change]:
        """Records that failed and are to be tried again now."""
        rows = self.rows(
            "SELECT uuid, seq, record FROM failed WHERE pipe = ? AND retry AND (next_ms <= ? OR next_ms > ?)"
            " ORDER BY next_ms LIMIT ?",
            *(pipe, now_ms, now_ms + LONGEST_PAUSE_MS, most),  # beyond that, the clock was wrong when it was noted
        )
        return [Change(uuid, seq, None if record is None else msgspec.Raw(record)) for uuid, seq, record in rows]

    def failures(self, pipe: str, most: int) -> list[Failure]:
        """Records that failed, the latest to be tried first."""
        rows = self.rows(
            "SELECT uuid, message, retry, tries FROM failed WHERE pipe = ? ORDER BY next_ms DESC LIMIT ?", pipe, most
        )
        return [Failure(uuid, message, bool(retry), tries) for uuid, message, retry, tries in rows]

    def totals(self, pipe: str) -> Totals:
        """How many records failed."""
        with self._lock:
            found = self._db.execute("SELECT count(*), sum(retry) FROM failed WHERE pipe = ?", (pipe,)).fetchone()
        return Totals(found[0], found[1] or 0)

    def held(self, pipe: str, start_ms: int | None, end_ms: int | None) -> Iterator[tuple[str, int, int]]:
        """Uuid, seq and begin of what was delivered, of a time."""
        yield from self.rows(
            "SELECT uuid, seq, started_ms FROM delivered WHERE pipe = ? AND started_ms >= ? AND started_ms < ?",
            *(pipe, -(1 << 62) if start_ms is None else start_ms, (1 << 62) if end_ms is None else end_ms),
        )

    def remembered(self, pipe: str) -> MutableMapping[str, str]:
        """What the destination of a pipe remembers."""
        return _Remembered(self, pipe)

    # --- what was seen of a part that is read whole -------------------------------------------------------------------

    def see(self, pipe: str, part: str, uuids: Iterable[str]) -> None:
        """Note that these came in a reading."""
        with self.commit():
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", ((pipe, part, one) for one in uuids))

    def unseen(self, pipe: str, part: str, uuids: Sequence[str]) -> list[str]:
        """Those of some uuids that did not come."""
        sql = "SELECT 1 FROM seen WHERE pipe = ? AND part = ? AND uuid = ?"
        return [uuid for uuid in uuids if self.one(sql, pipe, part, uuid) is None]

    def count_seen(self, pipe: str, part: str) -> int:
        """How many came."""
        return int(self.one("SELECT count(*) FROM seen WHERE pipe = ? AND part = ?", pipe, part))

    def forget_seen(self, pipe: str, part: str | None = None) -> None:
        """Begin a reading anew; without a part, all of the pipe."""
        with self._lock:
            self._db.execute("DELETE FROM seen WHERE pipe = ? AND part = coalesce(?, part)", (pipe, part))


def _bytes(change: Change) -> bytes | None:
    return None if change.json is None else bytes(change.json)


def _content(change: Change) -> int:
    """A number that another content would have by a rare chance alone."""
    return zlib.crc32(_bytes(change) or b"")


class _Remembered(MutableMapping[str, str]):
    """Texts by name, of one pipe."""

    def __init__(self, file: StateFile, pipe: str) -> None:
        self._file = file
        self._pipe = pipe

    def __getitem__(self, name: str) -> str:
        found = self._file.one("SELECT text FROM remembered WHERE pipe = ? AND name = ?", self._pipe, name)
        if found is None:
            raise KeyError(name)
        return str(found)

    def __setitem__(self, name: str, text: str) -> None:
        self.update({name: text})

    def update(self, other: Any = (), /, **more: str) -> None:
        """Set several, durably together: at once where a CRM has a thousand."""
        rows = [(self._pipe, name, text) for name, text in dict(other, **more).items()]
        if rows:
            self._file.change("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", rows)

    def __delitem__(self, name: str) -> None:
        self._file.change("DELETE FROM remembered WHERE pipe = ? AND name = ?", [(self._pipe, name)])

    def __iter__(self) -> Iterator[str]:
        return iter([name for (name,) in self._file.rows("SELECT name FROM remembered WHERE pipe = ?", self._pipe)])

    def __len__(self) -> int:
        return int(self._file.one("SELECT count(*) FROM remembered WHERE pipe = ?", self._pipe))
