"""The ledger's write-ahead log: folded into the database beside the commits, and never longer than it may be."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from calldex.errors import Unavailable
from calldex.store.embedded import sqlite

_CHECKPOINT_PAGES: Final = 8192
_MOST_PAGES: Final = 2 * _CHECKPOINT_PAGES
"""When so many pages lie in the write-ahead log, nothing is written before it was folded in: with the largest batch, it
never holds more than twice as many."""
_FOLDINGS: Final = 3


class WriteAheadLog:
    """The log that one connection writes."""

    def __init__(self, path: Path, writer: sqlite.Connection) -> None:
        self._writer = writer
        self._beside = sqlite.connect(path)
        self._folder = ThreadPoolExecutor(1, "ledger-folder")
        self._folding: Future[None] | None = None
        self._pages = 0
        writer.set_wal_hook(self._after_commit)

    def bound(self) -> None:
        """If the log has become so long that no more may come to it, fold it in here, and wait for that. To be called
        before a commit. Raises `Unavailable` if somebody reads what lies in it and does not end."""
        if self._pages < _MOST_PAGES:
            return
        if self._folding is not None:
            self._folding.result()  # of two that fold, SQLite refuses the second
        if not sqlite.fold(self._writer, wholly=True):
            raise Unavailable(
                "somebody has read the ledger for too long, and its write-ahead log must not grow further; nothing of"
                " this was kept",
                retry_after=2,
            )
        self._pages = 0

    def close(self) -> None:
        """Return when nothing is folded any more."""
        with closing(self._beside):
            self._folder.shutdown()

    def _after_commit(self, connection: sqlite.Connection, name: str, pages: int) -> int:
        """Have the log folded into the database, beside the commits that follow: it takes a quarter of the time that
        they do."""
        self._pages = pages
        if pages >= _CHECKPOINT_PAGES and (self._folding is None or self._folding.done()):
            self._folding = self._folder.submit(self._fold_beside)
        return sqlite.OK

    def _fold_beside(self) -> None:
        """The first time takes long, and commits were added meanwhile; without these the log cannot begin anew."""
        for _ in range(_FOLDINGS):
            if sqlite.fold(self._beside):
                return
