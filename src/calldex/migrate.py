"""A data directory moved into a store and a directory that several nodes share.

Beside the way of a record. The ledger is not written, and nobody may serve the data directory meanwhile. What is moved
is seen by nobody before all of it is there and proved equal, by number and checksum of the live records of each day. A
migration that was interrupted goes on when it is begun again. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from calldex.datadir import DIRECTORY_FILE, Lock
from calldex.directory import tables
from calldex.directory.copying import Copying
from calldex.errors import Conflict, RecordDamaged, UnreadableInput, UsageProblem
from calldex.node import open_directory, open_store
from calldex.settings import Settings
from calldex.store import Loaded
from calldex.store.commits import Commits, Point
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.reader import LedgerReader

AT_ONCE: Final = 10_000
"""Versions and rows that are moved in one piece."""

Tell = Callable[[str, int, int], None]
"""Is told what is being moved, how much of it is done, and how much there is."""


@runtime_checkable
class Loading(Protocol):
    """What a store offers that can be filled from another one."""

    def holds_any(self) -> bool:
        """Whether anything lies in it already, seen or not."""

    def load(self, account_id: int, versions: Sequence[Loaded]) -> None:
        """Take versions of an account, in the order of their commits; the same ones may be given again."""

    def loaded_upto(self, account_id: int) -> int:
        """The last commit of an account that was loaded."""

    def publish(self, account_id: int, upto: int) -> None:
        """Let searches see what was loaded, which is all there is up to a commit."""

    def days(self, account_id: int, point: Point) -> Mapping[str, tuple[int, int]]:
        """For each UTC day the number of live records and a checksum, see `LedgerReader.days`."""


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved: versions and, of them, live records on how many days, in how many accounts; rows of calls, pieces
    of the quarantine, and rows of the directory (None: it stayed where it is)."""

    versions: int
    records: int
    days: int
    accounts: int
    rows_of_calls: int
    quarantined: int
    directory: int | None


def migrate(settings: Settings, tell: Tell) -> Migrated:
    """Move what lies in the data directory to where `store` and `directory` of the settings are.

    If `directory` is in the data directory itself, it stays there, and takes in what the ledger keeps beside records.
    Raises `UsageProblem` for settings that name no other store, `DataDirInUse`, `Conflict` where the databases are in
    use or what came to be there is not equal, `UnreadableInput`, `WrongVersion`, and what the stores raise.
    """
    ledger_file, directory_file = settings.data / LEDGER_FILE, settings.data / DIRECTORY_FILE
    if settings.store.embedded:
        raise UsageProblem("no target is given: name the store with --to, or in the setting `store`")
    for path in (ledger_file, directory_file):
        if not path.exists():
            raise UnreadableInput(f"there is no {path}, so there is no data directory to be moved")
    with ExitStack() as opened:
        lock = Lock(settings.data)
        opened.callback(lock.release)
        ledger = LedgerReader(ledger_file)
        opened.callback(ledger.close)
        _proved(ledger, tell)
        directory = open_directory(settings)
        opened.callback(directory.close)
        store = open_store(settings, directory)
        opened.callback(store.close)
        if not isinstance(store, Loading):
            raise UsageProblem(f"the store {settings.store} cannot be filled from another")
        copying, apart = directory.copying(), not settings.directory.embedded
        mark = f"{ledger.store_id} {ledger.last_seq}"
        if not copying.is_claimed() and store.holds_any():
            raise Conflict(f"{settings.store} has records already; move into databases that are empty")
        copying.begin(mark, new=apart)
        copied = _directory(copying, directory_file, tell) if apart else None
        _beside(copying, ledger, tell)
        _versions(store, ledger, tell)
        days = _verified(store, ledger, tell)
        _published(store, directory.commits(), ledger)
        copying.end()
        rows, pieces = ledger.total_rows()
        return Migrated(
            versions=sum(ledger.accounts().values()),
            records=sum(count for count, _ in days.values()),
            days=len(days),
            accounts=len(ledger.accounts()),
            rows_of_calls=rows,
            quarantined=pieces,
            directory=copied,
        )


def _proved(ledger: LedgerReader, tell: Tell) -> None:
    """`RecordDamaged` if a version is not what was written: nothing of it is moved."""
    tell("versions proved", 0, ledger.last_seq)
    if found := ledger.faults():
        raise RecordDamaged(
            f"{len(found)} of the versions in the ledger are not what was written, so nothing is moved: {found[0]}."
            " `calldex check` lists them; send those records again, or erase them"
        )
    tell("versions proved", ledger.last_seq, ledger.last_seq)


def _directory(copying: Copying, source: Path, tell: Tell) -> int:
    return copying.directory(source, lambda done, total: tell("directory", done, total))


def _beside(copying: Copying, ledger: LedgerReader, tell: Tell) -> None:
    """Move what the ledger keeps beside records."""
    rows, pieces = ledger.total_rows()
    done, at = 0, copying.upto(tables.call_rows)
    while some := ledger.rows_of_calls(at, AT_ONCE):
        copying.rows_of_calls(some)
        done, at = done + len(some), some[-1][0]
        tell("rows of calls", done, rows)
    done, at = 0, copying.upto(tables.quarantine)
    while found := ledger.quarantined(at, AT_ONCE):
        copying.quarantined(found)
        done, at = done + len(found), found[-1].id
        tell("quarantine", done, pieces)
    copying.receipts(ledger.receipts())


def _versions(store: Loading, ledger: LedgerReader, tell: Tell) -> None:
    counted = ledger.accounts()
    done, total = 0, sum(counted.values())
    for account_id, count in sorted(counted.items()):
        left = count
        for versions in ledger.versions(account_id, store.loaded_upto(account_id), AT_ONCE):
            store.load(account_id, versions)
            left -= len(versions)
            done += len(versions)
            tell("versions", done, total)
        done += left  # what was loaded before
        tell("versions", done, total)


def _verified(store: Loading, ledger: LedgerReader, tell: Tell) -> dict[tuple[int, str], tuple[int, int]]:
    """The days, proved equal."""
    expected = ledger.days()
    found: dict[tuple[int, str], tuple[int, int]] = {}
    accounts = sorted(ledger.accounts())
    for number, account_id in enumerate(accounts, 1):
        days = store.days(account_id, Point(seq=ledger.last_seq))
        found |= {(account_id, day): (count, sum_) for day, (count, sum_) in days.items()}
        tell("accounts compared", number, len(accounts))
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if differing:
        listed = ", ".join(f"{day} of account {account_id}" for account_id, day in differing[:5])
        raise Conflict(
            f"{len(differing)} of {len(expected)} days are not what the ledger has, as {listed}; nothing of it can be"
            " seen. Empty the new databases and begin again; `calldex check` tells whether the"
            " data directory itself is sound"
        )
    return expected


def _published(store: Loading, commits: Commits, ledger: LedgerReader) -> None:
    for account_id in sorted(ledger.accounts()):
        store.publish(account_id, store.loaded_upto(account_id))
    for account_id, upto in ledger.purged().items():
        commits.purged(account_id, upto)
