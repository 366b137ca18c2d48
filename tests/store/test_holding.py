"""The embedded store holds what it promises although others hold its files, clocks are set, and readers do not end."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from calldex.access import Scope
from calldex.errors import CalldexError, DiskFull, Unavailable
from calldex.search.query import parse
from calldex.store import Batch, Outcome
from calldex.store.embedded import COLUMNS_FILE, LEDGER_FILE, EmbeddedStore, follower, sqlite
from calldex.store.embedded.columns import Columns
from calldex.store.embedded.engine import Engine, changing
from tests.engines import answer, embedded, erase, everything, put
from tests.store.test_durability import small_disk
from tests.store.test_proof import record


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with 3,000 records."""
    folder = tmp_path_factory.mktemp("kept")
    with closing(embedded(folder)) as store:
        put(store, [record(n) for n in range(3000)])
        store.settle()
    return folder


# --- the columns' engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_one_flipped_bit_changes_no_answer(kept: Path, tmp_path: Path, seed: int) -> None:
    """Whatever the engine makes of it, at the start or in the middle of a search: every answer is the right one."""
    shutil.copytree(kept, tmp_path / "data")
    path, chance = tmp_path / "data" / COLUMNS_FILE, random.Random(seed)
    content = bytearray(path.read_bytes())
    content[chance.randrange(12_288 if seed % 2 else 0, len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    whole = Scope(account_id=1, whole=True)
    asked = [parse(each.items(), whole, "UTC")[0] for each in ({}, {"min_duration": "4"}, {"cli": "447"})]
    with closing(embedded(kept)) as right, closing(embedded(tmp_path / "data")) as store:
        for query in asked:
            assert answer(right, query) == answer(store, query)


@pytest.mark.parametrize(
    "said",
    [
        duckdb.InvalidInputException("Invalid unicode in the dictionary"),
        duckdb.ConversionException("Could not convert"),
        duckdb.OutOfRangeException("Overflow"),
        duckdb.InternalException("Assertion"),
        duckdb.TransactionException("Current transaction is aborted"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        RuntimeError("unknown type of block"),
        OverflowError("too large"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_engine_says_has_the_columns_made_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Exception
) -> None:
    """One error of any kind in a search: the columns are made again while serving, and the same search is answered."""
    shutil.copytree(kept, tmp_path / "data")
    with closing(embedded(tmp_path / "data")) as store:
        store.settle()
        page, first = Columns.page, store._follower.columns  # noqa: SLF001 - the columns that break

        def broken(self: Columns, *given: Any, **more: Any) -> Any:
            if self is first:
                raise type(said)(*said.args)  # `said` itself would keep the frames it went through
            return page(self, *given, **more)

        monkeypatch.setattr(Columns, "page", broken)
        assert 3000 == answer(store, everything())[0]
        assert store._follower.columns is not first  # noqa: SLF001 - likewise


def test_a_question_that_no_columns_can_answer_does_not_have_them_made_again_and_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What new columns say as well is about the question."""
    shutil.copytree(kept, tmp_path / "data")
    made: list[Columns] = []

    def impossible(self: Columns, *_: Any, **__: Any) -> Any:
        if self not in made:
            made.append(self)
        raise duckdb.InvalidInputException("such a thing cannot be asked")

    with closing(embedded(tmp_path / "data")) as store:
        store.settle()
        monkeypatch.setattr(Columns, "page", impossible)
        for _ in range(4):
            with pytest.raises(duckdb.InvalidInputException):
                answer(store, everything())
    assert 2 == len(made)


@contextmanager
def holding(path: Path, *statements: str) -> Iterator[None]:
    """Another program that has done this to the ledger, and holds what it has until the block ends. (Locks of one
    process do not stand against each other.)"""
    program = (
        "import sqlite3, sys\n"
        "ledger = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: ledger.execute(statement).fetchall()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert b"held\n" == other.stdout.readline()
        try:
            yield
        finally:
            other.communicate()


# --- others -----------------------------------------------------------------------------------------------------------


def test_a_foreign_lock_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the ledger's lock, writers are told to come again, readers go on; afterwards all is
    well."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 100)
    with closing(embedded(tmp_path)) as store:
        put(store, [record(1)])
        with holding(tmp_path / LEDGER_FILE, "BEGIN EXCLUSIVE"):
            for write in (lambda: put(store, [record(2)]), lambda: erase(store, 1, [record(1).uuid])):
                with pytest.raises(Unavailable, match="another program holds the lock") as refused:
                    write()
                assert refused.value.retry_after
            assert store.get(1, record(1).uuid) is not None
            assert 1 == answer(store, everything())[0]
        assert [Outcome.ACCEPTED] == put(store, [record(2)])
        assert 2 == answer(store, everything())[0]


def test_a_start_under_a_foreign_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3: it may work later."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 100)
    embedded(tmp_path).close()
    with holding(tmp_path / LEDGER_FILE, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
        with pytest.raises(CalldexError) as refused:
            embedded(tmp_path)
        assert 3 == refused.value.exit_code


def test_the_log_is_bounded_although_somebody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not end keeps the log from being folded in: from a length on writers are refused, and go on
    when it has ended."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 100)
    monkeypatch.setattr("calldex.store.embedded.wal._CHECKPOINT_PAGES", 50)
    monkeypatch.setattr("calldex.store.embedded.wal._MOST_PAGES", 100)
    log, longest, kept = tmp_path / f"{LEDGER_FILE}-wal", 0, 0
    with closing(embedded(tmp_path)) as store:
        put(store, [record(0)])
        with holding(tmp_path / LEDGER_FILE, "BEGIN", "SELECT count(*) FROM version"):
            for n in range(30):
                with suppress(Unavailable):
                    put(store, [record(n * 20 + i, "x" * 2000) for i in range(20)], wait=False)
                    kept += 1
                longest = max(longest, log.stat().st_size)
            assert 0 < kept < 30
            assert longest < 200 * 8192
        assert {Outcome.ACCEPTED} == set(put(store, [record(n + 5000) for n in range(20)]))


def test_writers_wait_for_each_other_only_so_long(tmp_path: Path) -> None:
    """Whoever cannot write within the time of a query is told so."""
    store = EmbeddedStore(tmp_path, memory_mb=128, index_mb=0, threads=1, timeout_s=0.2, superseded_kept_s=0)
    writing = store._turns.writing  # noqa: SLF001 - somebody who writes and does not end
    with closing(store), writing, pytest.raises(Unavailable, match="nothing of this was kept"):
        put(store, [record(1)])


def test_a_ledger_that_is_taken_away_is_told(tmp_path: Path) -> None:
    """What would be written to a file without a name would be lost when the store closes: it is refused."""
    with closing(embedded(tmp_path)) as store:
        put(store, [record(1)])
        (tmp_path / LEDGER_FILE).rename(tmp_path / "elsewhere")
        for ask in (lambda: put(store, [record(2)]), store.answers):
            with pytest.raises(Unavailable, match="removed or replaced while it is in use"):
                ask()
        (tmp_path / "elsewhere").rename(tmp_path / LEDGER_FILE)
        assert [Outcome.ACCEPTED] == put(store, [record(2)])


# --- the clock --------------------------------------------------------------------------------------------------------


def clock(monkeypatch: pytest.MonkeyPatch, *modules: str) -> SimpleNamespace:
    """A clock that is set; the one that nobody sets goes on."""
    told = SimpleNamespace(shift_s=0.0, past_s=0.0)
    fake = SimpleNamespace(
        time_ns=lambda: time.time_ns() + int(told.shift_s * 1e9),
        time=lambda: time.time() + told.shift_s,
        monotonic=lambda: time.monotonic() + told.past_s,
    )
    for module in modules:
        monkeypatch.setattr(f"{module}.time", fake)
    return told


def test_a_clock_that_is_set_back_dates_no_commit_before_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their dates it is told what may be dropped."""
    told = clock(monkeypatch, "calldex.clock")
    with closing(embedded(tmp_path)) as store:
        for shift in (0, -3600, 60, -86_400 * 400):
            told.shift_s = shift
            put(store, [record(1, f"at {shift}")])
        dates = [version.written_ms for version in store.history(1, record(1).uuid)]
    assert sorted(dates) == dates


def test_a_clock_that_is_set_forward_drops_nothing_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that started with a clock of 1970 keeps what walks see, when the right time comes; later it is
    dropped."""
    told = clock(monkeypatch, "calldex.clock", "calldex.store.embedded.turns")
    told.shift_s = -time.time()
    with closing(embedded(tmp_path, superseded_kept_s=100)) as store:
        put(store, [record(1)])
        put(store, [record(1, "changed")])
        store.settle()
        told.shift_s = 0
        assert 0 == store.purge(time.time_ns() // 1_000_000)
        told.past_s = 101
        assert 1 == store.purge(time.time_ns() // 1_000_000 + 200_000)


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_pages_are_answered_on_a_full_disk(kept: Path, tmp_path: Path) -> None:
    """While it fills up, and after a restart on it, of a store that was killed as well; what is refused says whether it
    was kept."""
    with small_disk(tmp_path):
        data = Path(shutil.copytree(kept, tmp_path / "data"))
        with closing(embedded(data)) as store:
            store.settle()
            put(store, [record(n) for n in range(3000, 3200)])
            assert 3200 == answer(store, everything())[0]
            killed = Path(shutil.copytree(data, tmp_path / "killed"))
            fill_up(tmp_path)
            for n in range(20):
                said = ""
                try:
                    put(store, [record(10_000 + n * 50 + i, "y" * 900) for i in range(50)])
                except DiskFull as full:
                    said = full.message
                found = store.get(1, record(10_000 + n * 50).uuid)
                assert (not said or "is kept" in said) == (found is not None), said
                assert 3200 <= answer(store, everything())[0]
        for folder in (data, killed):
            with closing(embedded(folder)) as store:
                assert 3200 <= answer(store, everything())[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG], ids=errno.errorcode.get)
def test_columns_that_cannot_be_written_are_kept(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whatever their engine says why: they answer as far as they had come, every time they are asked, and go on by
    themselves when they can be written again."""
    data, change = Path(shutil.copytree(kept, tmp_path / "data")), Engine.change
    monkeypatch.setattr(follower, "_NO_ROOM_S", 0.2)  # twice within one question would be refused
    said = f'Cannot open file "columns.duckdb.wal": {os.strerror(number)}'

    @contextmanager
    def refused(self: Engine) -> Iterator[None]:
        with changing(), change(self):
            yield
            raise duckdb.IOException(said)

    with closing(embedded(data)) as store:
        store.settle()
        monkeypatch.setattr(Engine, "change", refused)
        put(store, [record(9000)], wait=False)
        assert {3000} == {answer(store, everything())[0] for _ in range(50)}
        with pytest.raises(DiskFull, match="is kept"):
            store.settle()
        assert store.get(1, record(9000).uuid) is not None
        monkeypatch.setattr(Engine, "change", change)
        while store.state().behind:
            time.sleep(0.01)
        assert 3001 == answer(store, everything())[0]


def test_columns_that_cannot_be_thrown_away_are_thrown_away_later(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged ones on a disk that refuses that for a while."""
    data, unlink = Path(shutil.copytree(kept, tmp_path / "data")), Path.unlink
    (data / COLUMNS_FILE).write_bytes(bytes(1 << 16))
    refused = threading.Event()

    def first(self: Path, missing_ok: bool = False) -> None:
        if self.name == COLUMNS_FILE and not refused.is_set():
            refused.set()
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", first)
    with closing(embedded(data)) as store:
        store.settle()
        assert refused.is_set()
        assert 3000 == answer(store, everything())[0]


def fill_up(folder: Path) -> None:
    """Leave no byte on a disk, but for the logs that a start needs."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    with (folder / "ballast").open("r+b") as file:
        file.truncate((folder / "ballast").stat().st_size - 120_000)


def test_a_backup_of_a_store_that_is_written_to_ends(kept: Path, tmp_path: Path) -> None:
    """However many write meanwhile, and however often the log is folded in."""
    data = Path(shutil.copytree(kept, tmp_path / "data"))
    (tmp_path / "copy").mkdir()
    stop = threading.Event()
    with closing(embedded(data)) as store:

        def stream() -> None:
            n = 20_000
            while not stop.is_set():
                n += 1
                store.write(
                    Batch(account_id=1, source="", format="jsonl", origin="test", records=[record(n)]), wait=False
                )

        thread = threading.Thread(target=stream)
        thread.start()
        try:
            assert [] == store.backup(tmp_path / "copy")
        finally:
            stop.set()
            thread.join()
    with closing(embedded(tmp_path / "copy")) as copied:
        assert [] == copied.integrity()
        assert 3000 <= answer(copied, everything())[0]
