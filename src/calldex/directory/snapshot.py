"""What is read from the directory with every request, kept in memory until it changes.

Keys, sessions and memberships of teams are: the database counts every change to them (`write(access=True)`), and is
asked for that number alone when the last answer is `RECHECK_S` old.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, select

from calldex.directory.database import Database
from calldex.directory.tables import change

RECHECK_S: Final = 2.0
"""After how long a change that another process made is noticed at the latest."""

T = TypeVar("T")


class _State(msgspec.Struct, Generic[T], frozen=True):
    """The content as of `change` in the database and `generation` in this process."""

    content: T
    change: int
    generation: int
    checked_at: float


class Snapshot(Generic[T]):
    """The content that `load` reads. Safe to use from several threads."""

    def __init__(self, database: Database, load: Callable[[Connection], T]) -> None:
        self._db = database
        self._load = load
        self._state: _State[T] | None = None

    def recent(self) -> T:
        """The content with all that this process changed, and with what others changed up to `RECHECK_S` ago."""
        known = self.known()
        return self.current() if known is None else known

    def known(self) -> T | None:
        """The same from memory; None if the database has to be asked."""
        state = self._state
        if (
            state is not None
            and state.generation == self._db.generation
            and time.monotonic() < state.checked_at + RECHECK_S
        ):
            return state.content
        return None

    def current(self) -> T:
        """The content as it is in the database now."""
        # Taken before the database is asked: what this process changes from here on makes the state old again.
        generation = self._db.generation
        checked_at = time.monotonic()
        old = self._state
        with self._db.read() as connection:
            changed = connection.execute(select(change.c.n)).scalar_one()
            content = old.content if old is not None and old.change == changed else self._load(connection)
        self._state = _State(content, changed, generation, checked_at)
        return content
