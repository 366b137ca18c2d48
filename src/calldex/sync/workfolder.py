"""Folders to work in that go with their process: what one that was killed left behind goes when the next is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from calldex.clock import now_ms

PREFIX: Final = "calldex-sync-"
_YOUNG_MS: Final = 60_000
"""A folder that is just being made is not taken for one that was left."""


class WorkFolder:
    """An empty folder of this process, as long as it is open."""

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError), _unheld(left):
            if now_ms() - left.stat().st_mtime * 1000 > _YOUNG_MS:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _unheld(path: Path) -> Iterator[None]:
    """Raises `OSError` if a process has it, or it is not ours."""
    found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(found).st_uid != os.geteuid():
            raise PermissionError(path)
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(found)
