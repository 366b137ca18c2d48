"""Whether what is kept is sound: of a node that runs, or of the files of one that does not.

Makes, deletes and migrates nothing, and does not end at what it is to report; only what keeps anything from being read,
as a file that is lost, is raised. The one thing it writes is which versions are damaged, so that nobody is given them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from calldex.datadir import DIRECTORY_FILE, Belonging, held, refuse_strange
from calldex.directory import Directory
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import CalldexError
from calldex.node import Node, open_store
from calldex.settings import Settings
from calldex.store import DayCheck, Store
from calldex.store.embedded.looking import look


class Checked(msgspec.Struct, frozen=True):
    """What a check found: each UTC day of each account, what is wrong with the files, the versions, the directory and
    the audit, and what is not wrong and good to know."""

    days: list[DayCheck]
    problems: list[str]
    notes: list[str] = []


def of_node(node: Node) -> Checked:
    """Check what a node has open."""
    return _checked(node.store, node.directory)


def of_files(settings: Settings) -> Checked:
    """Check what nobody has open. Raises `UnreadableInput` for files that are lost or do not belong together,
    `DataDirInUse`, `WrongVersion` for those of another version."""
    refuse_strange(settings.data, os.R_OK)
    with held(settings.data):
        belonging = Belonging(settings)
        with _looked(settings) as directory:
            belonging.compare(directory)
            if settings.store.embedded:
                found = look(settings.data, settings.columns_memory_mb, settings.threads)
                return Checked(found.days, [*_of_store(found.problems), *_of_directory(directory)], found.notes)
            store = open_store(settings, directory)
            try:
                return _checked(store, directory)
            finally:
                store.close()


@contextmanager
def _looked(settings: Settings) -> Iterator[Directory]:
    """The directory, not migrated; of a store of several nodes the store writes to it what it is called."""
    address, path = settings.directory, settings.data / DIRECTORY_FILE
    with ExitStack() as opened:
        if not address.embedded:
            yield opened.enter_context(Directory.shared(address.whole, path.with_name(SEALING_FILE), migrate=False))
        elif settings.store.embedded:
            yield opened.enter_context(Directory.look(path))
        else:
            yield opened.enter_context(Directory.open(path, migrate=False))


def _checked(store: Store, directory: Directory) -> Checked:
    days: list[DayCheck] = []
    problems = _of_store(store.integrity())
    try:
        days += store.check()
    except CalldexError as error:
        problems.append(f"store: days could not be compared: {error.message}")
    return Checked(days, problems + _of_directory(directory))


def _of_store(problems: list[str]) -> list[str]:
    return [f"store: {line}" for line in problems]


def _of_directory(directory: Directory) -> list[str]:
    problems: list[str] = []
    try:
        problems += [f"directory: {line}" for line in directory.check()]
        problems += [f"audit: entry {fault.n} {fault.what}" for fault in directory.verify_audit().faults]
    except CalldexError as error:
        problems.append(f"directory: {error.message}")
    return problems
