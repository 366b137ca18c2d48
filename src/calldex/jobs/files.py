"""The files of a node's exports: a folder in its data directory, a file for each under its id, whole or under another
name.

Knows no rights and no records. A file's name is no secret; its folder is for the owner of the data directory alone.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from calldex.datadir import HALF
from calldex.errors import DiskFull, Unavailable
from calldex.settings import Settings

FOLDER: Final = "exports"
LEAST_ROOM: Final = 64 << 20
"""Bytes that an export leaves on the disk, for what must be written."""
_NODE_FILE: Final = "node"
_STARTS: Final = ".starts"
"""The end of the name of a file with a byte for each time that making one began and did not end."""


class ExportFiles:
    """The files of a node, and what the node is called in a directory that several share. Everything blocks."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data / FOLDER
        self._shared = not settings.directory.embedded

    def name(self) -> str:
        """What this node is called; empty where it is the only one."""
        if not self._shared:
            return ""
        self._made()
        path = self._folder / _NODE_FILE
        with suppress(FileExistsError):
            half = self._folder / f"{_NODE_FILE}{HALF}"
            half.write_text(f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}")
            with suppress(OSError):
                os.link(half, path)
            half.unlink()
        return path.read_text()

    def path(self, id_: str) -> Path:
        """Where a whole file is."""
        return self._folder / id_

    def half(self, id_: str) -> Path:
        """Where it is as long as it is not whole."""
        self._made()
        return self._folder / f"{id_}{HALF}"

    def size_of_half(self, id_: str) -> int:
        """How many bytes of it there are."""
        try:
            return self.half(id_).stat().st_size
        except FileNotFoundError:
            return 0

    def is_whole(self, id_: str) -> bool:
        """Whether it is there."""
        return self.path(id_).is_file()

    def begin(self, id_: str) -> int:
        """Its making begins; how many times it began and did not end, this one included: those that ended the process
        that made it."""
        self._made()
        with (self._folder / f"{id_}{_STARTS}").open("ab") as starts:
            starts.write(b".")
            starts.flush()
            os.fsync(starts.fileno())
            return starts.tell()

    def end(self, id_: str) -> None:
        """Its making has ended, whatever came of it."""
        path = self._folder / f"{id_}{_STARTS}"
        with suppress(FileNotFoundError):
            if path.stat().st_size > 1:
                os.truncate(path, path.stat().st_size - 1)
            else:
                path.unlink()

    def finish(self, id_: str) -> None:
        """It is whole, and on disk."""
        self.half(id_).replace(self.path(id_))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, id_: str) -> None:
        """Neither it nor a part of it is there any more."""
        for path in (self.path(id_), self._folder / f"{id_}{HALF}", self._folder / f"{id_}{_STARTS}"):
            path.unlink(missing_ok=True)

    def sweep(self, kept: Iterable[str]) -> int:
        """Remove the files that are of none of these exports; how many there were."""
        known = {_NODE_FILE, *kept}
        gone = 0
        if not self._folder.is_dir():
            return 0
        for path in list(self._folder.iterdir()):
            if path.name.removesuffix(HALF).removesuffix(_STARTS) not in known and stat.S_ISREG(path.lstat().st_mode):
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def check_room(self) -> None:
        """`DiskFull` if there is so little room that none may be taken."""
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize < LEAST_ROOM:
            raise DiskFull(f"less than {LEAST_ROOM >> 20} MiB are left on the disk, which an export leaves to others")

    def _made(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be made: {error.strerror}") from error
