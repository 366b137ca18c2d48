"""Backups: a data directory's truth as a folder of plain files, and a data directory made from such a folder.

Beside the way of a record. What a backup holds was committed at one moment; what can be derived (the columns) is not
in it. It is made under another name and gets its own when it is complete and on disk, so what has the name of a backup
is one. Knows no engine: the store and the directory copy themselves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from calldex import __version__
from calldex.errors import Conflict, DataDirInUse, DiskFull, UnreadableInput, UsageProblem
from calldex.node import DIRECTORY_FILE, LOCK_FILE, Lock, Node, is_served
from calldex.settings import FILE_NAME, Settings
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.ledger import renew

MANIFEST_FILE: Final = "manifest.json"
_FILES: Final = (LEDGER_FILE, DIRECTORY_FILE)
_MAY_BE_THERE: Final = frozenset({LOCK_FILE, FILE_NAME, "lost+found"})
"""What a folder may hold and still be empty enough for a data directory."""
_HALF: Final = ".half"


class BackedUpFile(msgspec.Struct, frozen=True):
    """A file of a backup: its size, and the SHA-256 of its content in hexadecimal digits."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: which version made it, when (epoch milliseconds), and its files."""

    calldex: str
    made_ms: int
    files: tuple[BackedUpFile, ...]


def backup(node: Node, target: Path) -> Manifest:
    """Write a backup into a new or empty folder, while the node serves.

    Raises `UsageProblem` where records or the directory lie elsewhere, `Conflict` if the folder holds something,
    `UnreadableInput` if it cannot be made, `DiskFull`; then nothing of it is left.
    """
    parts = (("records", node.store.backed_up_by), ("the directory", node.directory.backed_up_by))
    if told := [f"{part} by {means}" for part, means in parts if means is not None]:
        raise UsageProblem(
            f"not all of this lies in the data directory, so a copy of that is no backup. Back up {' and '.join(told)};"
            " docs/guides/cluster.md says how they stay in step"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Conflict(f"{target} exists and is not an empty folder; a backup overwrites nothing")
    half = target.with_name(f".{target.name}.{os.getpid()}{_HALF}")
    with _told(target):
        try:
            half.mkdir(parents=True, mode=0o700)
            # The ledger first: the accounts of all its records are in the directory's later copy.
            node.store.backup(half)
            node.directory.backup(half / DIRECTORY_FILE)
            for name in _FILES:
                (half / name).chmod(0o600)
            manifest = Manifest(
                calldex=__version__,
                made_ms=time.time_ns() // 1_000_000,
                files=tuple(_described(half / name) for name in _FILES),
            )
            (half / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
            _on_disk(*(half / name for name in (*_FILES, MANIFEST_FILE)), half)
            half.rename(target)
            _on_disk(target.parent)
        finally:
            shutil.rmtree(half, ignore_errors=True)
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
    with _told(data):
        if is_served(data):
            raise DataDirInUse(f"the data directory {data} is in use; stop what uses it, or name another with --data")
        if data.exists() and (found := sorted({path.name for path in data.iterdir()} - _MAY_BE_THERE)):
            raise Conflict(f"{data} is not empty (it holds {', '.join(found[:5])}); restoring overwrites nothing")
        lock = Lock(data)
        halves = {name: data / f"{name}{_HALF}" for name in _FILES}
        try:
            for file in manifest.files:
                _copy(source / file.name, halves[file.name], file)
            renew(halves[LEDGER_FILE])
            _on_disk(*halves.values())
            for name, half in halves.items():
                half.rename(data / name)
            _on_disk(data)
        finally:
            for half in halves.values():
                half.unlink(missing_ok=True)
            lock.release()
    return manifest


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
def _told(where: Path) -> Iterator[None]:
    """An error of the operating system, in our words."""
    try:
        yield
    except OSError as error:
        name = error.filename or where
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"there is no room left to write {name}; nothing of it was kept") from error
        raise UnreadableInput(f"{name}: {error.strerror}") from error
