"""Backups: a data directory's truth as a folder of plain files, and a data directory made from such a folder.

Beside the way of a record. What a backup holds was committed at one moment; what can be derived (the columns) is not
in it. It is made under another name and gets its own when it is complete and on disk, so what has the name of a backup
is one. Knows no engine: the store and the directory copy themselves.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from calldex import __version__
from calldex.clock import now_ms
from calldex.datadir import DIRECTORY_FILE, HALF, LOCK_FILE, Lock, is_served
from calldex.directory import Directory
from calldex.errors import Conflict, DataDirInUse, DiskFull, UnreadableInput, UsageProblem
from calldex.node import Node
from calldex.settings import FILE_NAME, Settings
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.opening import renew
from calldex.store.embedded.reader import LedgerReader

MANIFEST_FILE: Final = "manifest.json"
_FILES: Final = (LEDGER_FILE, DIRECTORY_FILE)
_MAY_BE_THERE: Final = frozenset({LOCK_FILE, FILE_NAME, "lost+found"})
"""What a folder may hold and still be empty enough for a data directory."""
_PARTS: Final = frozenset({*_FILES, MANIFEST_FILE})


class BackedUpFile(msgspec.Struct, frozen=True):
    """A file of a backup: its size, and the SHA-256 of its content in hexadecimal digits."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: which version made it, when (epoch milliseconds), its files, and what of it was damaged when it
    was made, a line each."""

    calldex: str
    made_ms: int
    files: tuple[BackedUpFile, ...]
    damaged: tuple[str, ...] = ()


def backup(node: Node, target: Path) -> Manifest:
    """Write a backup into a new or empty folder, while the node serves. It is proved: the manifest tells what of it is
    not what was written. What a killed backup left beside it goes.

    Raises `UsageProblem` where records or the directory lie elsewhere, `Conflict` if the folder holds something,
    `UnreadableInput` if it cannot be made, `DiskFull`; then nothing of it is left.
    """
    parts = (("records", node.store.capabilities.backed_up_by), ("the directory", node.directory.backed_up_by))
    if others := [f"{part} by {means}" for part, means in parts if means is not None]:
        raise UsageProblem(
            "not all of this lies in the data directory, so a copy of that is no backup. Back up"
            f" {' and '.join(others)};"
            " docs/guides/cluster.md says how they stay in step"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Conflict(f"{target} exists and is not an empty folder; a backup overwrites nothing")
    half = target.with_name(f".{target.name}.{os.getpid()}{HALF}")
    with _own_errors(target), ExitStack() as made:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        half.mkdir(mode=0o700)
        made.callback(shutil.rmtree, half, ignore_errors=True)
        made.enter_context(_alone(half))
        # The ledger first: the accounts of all its records are in the directory's later copy.
        damaged = node.store.backup(half)
        node.directory.backup(half / DIRECTORY_FILE)
        for name in _FILES:
            (half / name).chmod(0o600)
        manifest = Manifest(
            calldex=__version__,
            made_ms=now_ms(),
            files=tuple(_described(half / name) for name in _FILES),
            damaged=tuple(damaged),
        )
        (half / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        _on_disk(*(half / name for name in (*_FILES, MANIFEST_FILE)), half)
        half.rename(target)
        _on_disk(target.parent)
    return manifest


def restore(source: Path, settings: Settings) -> Manifest:
    """Make a data directory from a backup; its settings file may be there already, nothing else.

    It is a store of its own: search tokens issued by the one that was backed up are refused. Raises `UsageProblem` if
    these settings say that records or the directory lie elsewhere, `Conflict` for a directory that holds something,
    `DataDirInUse`, `UnreadableInput` for what is no complete backup, `DiskFull`; then the directory holds nothing of
    it.
    """
    data = settings.data
    if not (settings.store.embedded and settings.directory.embedded):
        raise UsageProblem(
            "a backup becomes a data directory, but the settings `store` or `directory` name others;"
            " restore without them, then use `calldex migrate`"
        )
    manifest = read_manifest(source)
    with _own_errors(data):
        if is_served(data):
            raise DataDirInUse(f"the data directory {data} is in use; stop what uses it, or name another with --data")
        with Lock(data) as lock, ExitStack() as made:
            _remove_unfinished(data)
            if found := sorted({path.name for path in data.iterdir()} - _MAY_BE_THERE):
                lock.is_new = False  # whose that is, nobody knows
                raise Conflict(f"{data} is not empty (it holds {', '.join(found[:5])}); restoring overwrites nothing")
            halves = {name: data / f"{name}{HALF}" for name in _FILES}
            for half in halves.values():
                made.callback(half.unlink, missing_ok=True)
            for file in manifest.files:
                _copy(source / file.name, halves[file.name], file)
            _renew(halves[LEDGER_FILE], halves[DIRECTORY_FILE])
            _on_disk(*halves.values())
            # The ledger last: as long as it is not there, the restore is not done, and nothing starts on what is.
            for name in (DIRECTORY_FILE, LEDGER_FILE):
                halves[name].rename(data / name)
            _on_disk(data)
    return manifest


def _renew(ledger: Path, directory: Path) -> None:
    """Give a restored ledger a name of its own, which the directory restored with it knows."""
    store_id = renew(ledger)
    with LedgerReader(ledger, older=True) as reader:
        head = reader.head()
    with Directory.open(directory) as opened:
        opened.keep_ledger_head(store_id, head, alone=True)


def _remove_unfinished(data: Path) -> None:
    """Take away what a restore that was killed has left in a directory, which cannot have been used since."""
    if (data / LEDGER_FILE).exists() or not (
        halves := [path for name in _FILES for path in data.glob(f"{name}{HALF}*")]
    ):
        return
    for path in (*halves, *data.glob(f"{DIRECTORY_FILE}*")):
        path.unlink(missing_ok=True)


@contextmanager
def _alone(half: Path) -> Iterator[None]:
    """A backup that is being made, by which others know that it is not abandoned."""
    opened = os.open(half, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def _remove_abandoned(folder: Path) -> None:
    """Take away what backups that were killed have left in a folder."""
    for half in folder.glob(f".*.*{HALF}"):
        if (
            half.is_dir()
            and not half.is_symlink()
            and {path.name.partition("-")[0] for path in half.iterdir()} <= _PARTS
        ):
            with suppress(OSError), _alone(half):  # BlockingIOError: somebody makes it
                shutil.rmtree(half)


def read_manifest(source: Path) -> Manifest:
    """What a folder says it is a backup of; `UnreadableInput` if it is none."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST_FILE).read_bytes(), type=Manifest)
    except OSError as error:
        raise UnreadableInput(f"{source} is not a backup: {MANIFEST_FILE}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{source} is not a backup: {MANIFEST_FILE} cannot be read: {error}") from None
    if sorted(file.name for file in manifest.files) != sorted(_FILES):
        raise UnreadableInput(f"{source} is not a backup: {MANIFEST_FILE} does not list {' and '.join(_FILES)}")
    return manifest


def _described(path: Path) -> BackedUpFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BackedUpFile(path.name, path.stat().st_size, digest)


def _copy(source: Path, target: Path, expected: BackedUpFile) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)
    found = msgspec.structs.replace(_described(target), name=expected.name)
    if found != expected:
        raise UnreadableInput(f"{source} is damaged: it is not the file that {MANIFEST_FILE} describes")


def _on_disk(*paths: Path) -> None:
    """Return when files, and the names in folders, survive a loss of power."""
    for path in paths:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def _own_errors(where: Path) -> Iterator[None]:
    """An error of the operating system, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a file that is copied would be told by where it comes from
            raise DiskFull(f"there is no room left to write {where}; nothing of it was kept") from error
        raise UnreadableInput(f"{error.filename or where}: {error.strerror}") from error
