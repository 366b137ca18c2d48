"""A data directory as a folder of files: whose it is, what lies in it, and whether that belongs together.

Looked at before anything is opened, so that a file that is lost, exchanged, older than its neighbour, or no file of
ours is told, and never made anew in its place. A first start that was killed on the way left less, and goes on: the
directory is made before the ledger, and knows of it only when it is made.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from calldex.directory import Directory
from calldex.directory.database import is_there as is_directory
from calldex.errors import DataDirInUse, DiskFull, UnreadableInput
from calldex.settings import Settings
from calldex.store.embedded import COLUMNS_FILE, LEDGER_FILE
from calldex.store.embedded.reader import LedgerReader
from calldex.store.embedded.reader import is_there as is_ledger

LOCK_FILE: Final = "calldex.lock"
SOCKET_FILE: Final = "calldex.sock"
DIRECTORY_FILE: Final = "directory.db"
HALF: Final = ".half"
"""What the name of a file ends with that a restore has not finished."""
RESERVE_FILE: Final = "calldex.reserve"
RESERVE_BYTES: Final = 16 << 20
"""Room for a start on a full disk: both databases make a log and its index when they are opened."""
_OURS: Final = (LEDGER_FILE, DIRECTORY_FILE, COLUMNS_FILE)
_BESIDE: Final = (
    *(f"{name}{end}" for name in (LEDGER_FILE, DIRECTORY_FILE) for end in ("-wal", "-shm", "-journal")),
    f"{COLUMNS_FILE}.wal",
)
"""What the engines keep beside their files."""
_BACKUP: Final = "or restore a backup into an empty folder with `calldex restore`"


class Lock:
    """The ownership of a data directory."""

    def __init__(self, data: Path) -> None:
        """Take it, and make the folder if there is none; `DataDirInUse` names the process that has it,
        `UnreadableInput` a folder that cannot be used, or whose parent is not there.

        From here on, every file this process makes is for its user alone: records are nobody else's business.
        """
        os.umask(0o077)
        self._data = data
        refuse_strange(data)
        try:
            self.made = not data.is_dir()
            if self.made:
                if not data.parent.is_dir():
                    raise UnreadableInput(
                        f"the data directory {data} cannot be made, as there is no folder {data.parent}: is its disk"
                        " mounted? Make that folder first, or name another data directory with --data"
                    )
                data.mkdir()
            self.is_new = not any((data / name).exists() for name in _OURS)
            """Whether nothing is kept in it yet."""
            self.unused = False
            """Whether it is to go again when it is released; whoever says so has closed it all."""
            self._folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._file = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else UnreadableInput
            raise kind(f"the data directory {data} cannot be used: {error.strerror}") from error
        if not (_locked(self._folder) and _locked(self._file)):
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise DataDirInUse(
                f"the data directory {data} is in use by process {owner}; stop it, or name another with --data"
            )
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError:  # a full disk: whose it is remains unknown to others, and nothing else depends on it
            return

    def release(self) -> None:
        """Give it up."""
        os.close(self._file)
        os.close(self._folder)

    def clear(self) -> None:
        """Take away what a start has left in a directory that was new."""
        for path in (
            *(path for name in (*_OURS, RESERVE_FILE) for path in self._data.glob(f"{name}*")),
            self._data / LOCK_FILE,
        ):
            path.unlink(missing_ok=True)
        if self.made and not any(self._data.iterdir()):
            self._data.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.unused or (kind is not None and self.is_new):
            self.clear()
        self.release()


def _locked(file: int) -> bool:
    """Lock a file, or the folder itself, of which no lock goes when somebody deletes a file; whether nobody had it. A
    folder on a network may have no locks: then that on the file counts alone."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Nobody opens the directory meanwhile; `DataDirInUse` if somebody has. Makes nothing."""
    with ExitStack() as opened:
        for path in (data, data / LOCK_FILE):
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW * (path != data))
                opened.callback(os.close, file)
                if not _locked(file):
                    raise DataDirInUse(f"the data directory {data} is in use by another process")
        yield


def refuse_strange(data: Path, needed: int = os.R_OK | os.W_OK) -> None:
    """`UnreadableInput` for what stands where a file of ours would, and is none that can be used."""
    for name in (*_OURS, *_BESIDE, LOCK_FILE, RESERVE_FILE):
        path = data / name
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            raise UnreadableInput(
                f"{path} is a symbolic link; put the file itself there, or name its folder with --data"
            )
        if not stat.S_ISREG(mode):
            raise UnreadableInput(f"{path} is no file; move it away, {_BACKUP}")
        if not os.access(path, needed):
            raise UnreadableInput(
                f"{path} may not be used by this user; give it the file (chown), or run Calldex as its owner"
            )


def keep_reserve(data: Path, *, but: int | None = None) -> None:
    """Keep room for a start, while there is much more; or whatever there is `but` so many bytes: what one start has
    left is for the next one."""
    path, room = data / RESERVE_FILE, _room(data)
    kept = path.stat().st_size if path.exists() else 0
    size = RESERVE_BYTES if but is None else min(RESERVE_BYTES, kept + room - but)
    if size <= kept or (room < 4 * RESERVE_BYTES and but is None):
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(file, 0, size)
    finally:
        os.close(file)


def use_reserve(data: Path, *, full: bool = False) -> bool:
    """Give the room for a start free, where there is no other, as far as can be seen or as it was found to be `full`;
    whether that was done."""
    path = data / RESERVE_FILE
    if (_room(data) >= RESERVE_BYTES and not full) or not path.exists():
        return False
    path.unlink()
    return True


def _room(data: Path) -> int:
    found = os.statvfs(data)
    return found.f_bavail * found.f_frsize


class Belonging:
    """What lies in a data directory, found before it is opened, and compared with what its directory knows."""

    def __init__(self, settings: Settings) -> None:
        """`UnreadableInput` where the directory is lost, or something stands in the place of a file."""
        self._settings = settings
        self._ledger = settings.data / LEDGER_FILE
        self._kept_here = settings.store.embedded
        self._has_ledger = self._kept_here and is_ledger(self._ledger)
        if not self._ledger.exists() and any(settings.data.glob(f"*.db{HALF}")):
            raise UnreadableInput(
                f"a restore into {settings.data} was not finished; run `calldex restore` again with the same backup"
            )
        if settings.directory.embedded:
            path = settings.data / DIRECTORY_FILE
            if not is_directory(path) and self._has_ledger:
                raise UnreadableInput(
                    f"{path} is {'empty' if path.exists() else 'gone'}, but there are records in {self._ledger}: users,"
                    f" keys and rights are lost. Put the file back, {_BACKUP}"
                )
        if self._kept_here and not self._has_ledger and (settings.data / COLUMNS_FILE).exists():
            raise self._lost()

    def compare(self, directory: Directory) -> None:
        """`UnreadableInput` where the ledger is lost, of another directory, or older or newer than this one knows."""
        if not self._kept_here:
            return
        heads = directory.ledger_heads()
        alone = self._settings.directory.embedded
        if not self._has_ledger:
            if alone and (heads or directory.is_used()):
                raise self._lost()
            return
        with LedgerReader(self._ledger, older=True) as ledger:
            head = heads.get(ledger.store_id)
            if head is None and (ledger.is_bound or (alone and heads)):
                raise UnreadableInput(
                    f"{self._ledger} and the directory {directory.name} do not belong together: one of them is of"
                    f" another installation, or an old copy. Put the right one in its place, {_BACKUP}"
                )
            if head is not None and not ledger.has(head):
                raise UnreadableInput(
                    f"{self._ledger} ends with the commit {ledger.last_seq}, or was changed; the directory knows of the"
                    f" commit {head.seq}: records are missing. Put the newest {LEDGER_FILE} back, and {LEDGER_FILE}-wal"
                    f" beside it if there was one, {_BACKUP}"
                )
            if head is not None and ledger.links_behind(head.seq) > 1:
                raise UnreadableInput(
                    f"the directory {directory.name} is older than {self._ledger} beside it: keys that were revoked"
                    f" would work again. Put the newest {DIRECTORY_FILE} back, and {DIRECTORY_FILE}-wal if there was"
                    f" one, {_BACKUP}"
                )

    def _lost(self) -> UnreadableInput:
        state = "empty" if self._ledger.exists() else "gone"
        return UnreadableInput(
            f"{self._ledger} is {state}, which held all records of this data directory. Put the file back, {_BACKUP}."
            f" To begin anew without these records, move what is left of them away: {DIRECTORY_FILE}, {COLUMNS_FILE}"
        )


def is_made(settings: Settings) -> bool:
    """Whether the data directory holds something of what these settings say that it holds."""
    held = [
        name for name, here in ((DIRECTORY_FILE, settings.directory), (LEDGER_FILE, settings.store)) if here.embedded
    ]
    return not held or any((settings.data / name).exists() for name in held)


def is_served(data: Path) -> bool:
    """Whether another process owns a data directory now. Makes nothing."""
    try:
        with held(data):
            return False
    except DataDirInUse:
        return True
