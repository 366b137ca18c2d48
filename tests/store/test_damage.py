"""The columns of the embedded store are deleted, damaged or exchanged: answers stay the same, the ledger has it all.

A file is damaged while nobody has it open, or under a store that is running.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import msgspec
import pytest

from calldex.access import Scope
from calldex.errors import StoreNotReady, UnreadableInput, WrongVersion
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.search.query import parse
from calldex.store import Outcome, Store
from calldex.store.embedded import COLUMNS_FILE, LEDGER_FILE, EmbeddedStore
from calldex.store.embedded.columns import Columns
from tests.engines import LONG_S, answer, disagreeing, embedded, erase, everything, put

WAL: Final = f"{COLUMNS_FILE}.wal"
SEARCHES: Final[tuple[dict[str, str], ...]] = (
    {},
    {"min_duration": "4"},
    {"cli": "44"},
    {"start_date": "2025-06-15", "end_date": "2025-06-15"},
    {"uuid": time_uuid(7, "damage")},
)

Answers = list[tuple[int, bytes]]
_T = TypeVar("_T")


def record(n: int, comment: str | None = None) -> Cdr:
    """The n-th record."""
    return Cdr(
        uuid=time_uuid(n, "damage"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(1_750_000_000_000 + n * 60_000),
        duration_s=n % 9,
        from_=f"{44 + n % 3}7700900{n:03d}",
        comment=comment,
    )


def answers(store: Store) -> Answers:
    """What two accounts see of a store."""
    return [
        answer(store, parse(asked.items(), Scope(account_id=account_id, whole=True), "UTC")[0])
        for account_id in (1, 2)
        for asked in SEARCHES
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Answers]:
    """The files of a store with versions and erasures: of one that was closed, of one that was killed, and what it
    answers."""
    folder = tmp_path_factory.mktemp("kept")
    killed, closed = folder / "killed", folder / "closed"
    closed.mkdir()
    with closing(embedded(closed)) as store:
        store.settle()
        put(store, [record(n) for n in range(300)])
        put(store, [record(n, "changed") for n in range(0, 300, 7)])
        put(store, [record(n, "of the other account") for n in range(50)], 2)
        erase(store, 1, [record(n).uuid for n in range(0, 300, 11)])
        shutil.copytree(closed, killed)
        found = answers(store)
    assert (300 - 28, 50) == (found[0][0], found[len(SEARCHES)][0])
    return closed, killed, found


def same_again(folder: Path, expected: Answers) -> None:
    """The store answers as before, and its parts agree; a second start finds nothing wrong."""
    for _ in range(2):
        with closing(embedded(folder)) as store:
            assert expected == answers(store)
            assert [] == disagreeing(store)


def flipped(path: Path, places: list[int], bits: int = 0xFF) -> None:
    """Change some bytes of a file."""
    content = bytearray(path.read_bytes())
    for place in places:
        content[place % len(content)] ^= bits
    path.write_bytes(content)


def other_columns(closed: Path, folder: Path) -> None:
    """The columns of another store, in good order, holding something else."""
    other = folder / "other"
    other.mkdir()
    with closing(embedded(other)) as store:
        store.settle()
        put(store, [record(n, "from elsewhere") for n in range(400)])
    shutil.copy(other / COLUMNS_FILE, folder / COLUMNS_FILE)
    shutil.rmtree(other)


DAMAGE: Final[dict[str, Callable[[Path, Path], object]]] = {
    "none": lambda _, here: None,
    "deleted": lambda _, here: (here / COLUMNS_FILE).unlink(),
    "empty": lambda _, here: (here / COLUMNS_FILE).write_bytes(b""),
    "text": lambda _, here: (here / COLUMNS_FILE).write_text("no database\n" * 5000),
    "zeroes": lambda _, here: (here / COLUMNS_FILE).write_bytes(bytes(200_000)),
    "cut in the header": lambda _, here: (here / COLUMNS_FILE).write_bytes((here / COLUMNS_FILE).read_bytes()[:5000]),
    "cut in the middle": lambda _, here: (here / COLUMNS_FILE).write_bytes(
        (here / COLUMNS_FILE).read_bytes()[: (here / COLUMNS_FILE).stat().st_size // 2]
    ),
    "cut by a byte": lambda _, here: (here / COLUMNS_FILE).write_bytes((here / COLUMNS_FILE).read_bytes()[:-1]),
    "of another store": other_columns,
    "a strange log": lambda _, here: (here / WAL).write_bytes(b"log\n" * 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_columns_are_made_again(
    kept: tuple[Path, Path, Answers], tmp_path: Path, damage: Callable[[Path, Path], object]
) -> None:
    """Whatever lies where the columns ought to: the same answers after the start."""
    closed, _, expected = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    damage(closed, folder)
    same_again(folder, expected)


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bytes(kept: tuple[Path, Path, Answers], tmp_path: Path, seed: int) -> None:
    """A changed byte anywhere (headers, data, the log of a store that was killed) gives no other answer."""
    closed, killed, expected = kept
    chance, folder = random.Random(seed), tmp_path / "data"
    source, name, upto = ((closed, COLUMNS_FILE, 12_288), (closed, COLUMNS_FILE, 1 << 30), (killed, WAL, 1 << 30))[
        seed % 3
    ]
    shutil.copytree(source, folder)
    size = min((folder / name).stat().st_size, upto)
    flipped(folder / name, [chance.randrange(size) for _ in range(1 + seed // 9)], chance.randrange(1, 256))
    same_again(folder, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 236))
def test_many_flipped_bytes(kept: tuple[Path, Path, Answers], tmp_path: Path, seed: int) -> None:
    """The same at more places."""
    test_flipped_bytes(kept, tmp_path, seed)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_a_log_that_was_cut(kept: tuple[Path, Path, Answers], tmp_path: Path, part: float) -> None:
    """Of the columns' log only a part reached the disk: what is missing comes from the ledger."""
    _, killed, expected = kept
    folder = tmp_path / "data"
    shutil.copytree(killed, folder)
    log = (folder / WAL).read_bytes()
    assert len(log) > 1000
    (folder / WAL).write_bytes(log[: int(len(log) * part)])
    same_again(folder, expected)


def test_a_ledger_older_than_its_columns(kept: tuple[Path, Path, Answers], tmp_path: Path) -> None:
    """The ledger was put back to an earlier copy: columns that know more than it are thrown away."""
    closed, _, expected = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    with closing(embedded(folder)) as store:
        put(store, [record(n, "later") for n in range(200, 350)])
        erase(store, 1, [record(5).uuid])
        assert expected != answers(store)
    shutil.copy(closed / LEDGER_FILE, folder / LEDGER_FILE)
    same_again(folder, expected)


def test_columns_older_than_their_ledger(kept: tuple[Path, Path, Answers], tmp_path: Path) -> None:
    """The columns were put back to an earlier copy: they catch up, with versions that were superseded since."""
    closed, _, _ = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    with closing(embedded(folder)) as store:
        put(store, [record(n, "later") for n in range(200, 350)])
        put(store, [record(n, "later still") for n in range(190, 340)])
        erase(store, 1, [record(5).uuid, record(339).uuid])
        expected = answers(store)
    shutil.copy(closed / COLUMNS_FILE, folder / COLUMNS_FILE)
    same_again(folder, expected)


@pytest.mark.parametrize("chunk", [pytest.param(1, marks=pytest.mark.slow), 7, 64])
def test_columns_made_in_pieces(
    kept: tuple[Path, Path, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """However many commits are taken in at once: versions superseded in a later piece count once."""
    closed, _, expected = kept
    monkeypatch.setattr("calldex.store.embedded.follower._CHUNK", chunk)
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    (folder / COLUMNS_FILE).unlink()
    same_again(folder, expected)


@pytest.mark.parametrize("how", ["overwritten", "cut", "flipped"])
def test_damage_while_running(kept: tuple[Path, Path, Answers], tmp_path: Path, how: str) -> None:
    """The file is damaged under a running store: every answer is right, or that there is none now; and after a restart
    every answer is right."""
    closed, _, expected = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    path = folder / COLUMNS_FILE
    refused = 0
    with closing(embedded(folder)) as store:
        store.settle()
        size = path.stat().st_size
        if how == "overwritten":
            with path.open("r+b") as file:
                file.write(bytes(size))
        elif how == "cut":
            with path.open("r+b") as file:
                file.truncate(size // 3)
        else:
            flipped(path, list(range(13_000, size, 501)))
        for n in range(5):
            try:
                assert expected == answers(store)
            except StoreNotReady:
                refused += 1
            put(store, [record(0, f"new {n}")], 3)
    assert refused < 5
    same_again(folder, expected)


def test_questions_wait_while_columns_are_made_again(kept: tuple[Path, Path, Answers], tmp_path: Path) -> None:
    """Searches that come while the columns are being made wait for them; look-ups do not; no answer is partial."""
    closed, _, expected = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    (folder / COLUMNS_FILE).unlink()
    found: list[Answers] = []
    with closing(embedded(folder)) as store:
        threads = [threading.Thread(target=lambda: found.append(answers(store))) for _ in range(6)]
        for thread in threads:
            thread.start()
        version = store.get(1, record(8).uuid)
        for thread in threads:
            thread.join()
        state = store.state()
    assert version is not None
    assert [expected] * 6 == found
    assert (True, 0, None) == (state.ready, state.behind, state.reason)


@pytest.mark.parametrize("left", [300, 200, 100])
def test_what_is_written_while_columns_are_made_is_seen(
    kept: tuple[Path, Path, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """Who writes while the columns are being made, and then searches, finds all that they wrote."""
    closed, _, expected = kept
    monkeypatch.setattr("calldex.store.embedded.follower._CHUNK", 8)
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    (folder / COLUMNS_FILE).unlink()
    with closing(embedded(folder)) as store:
        while store.state().behind > left:
            time.sleep(0.001)
        for n in range(400, 420):
            put(store, [record(n)])
        assert expected[0][0] + 20 == answer(store, everything())[0]


def patiently(ask: Callable[[], _T]) -> _T:
    """What a store with no patience answers, in the end."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except StoreNotReady:
            if time.monotonic() > deadline:
                raise


def test_settling_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for columns that come no nearer is told so after a time; what was committed is kept, and visible as
    soon as they go on."""
    going_on = threading.Event()
    apply = Columns.apply
    monkeypatch.setattr(Columns, "apply", lambda *given: going_on.wait(60) and apply(*given))
    with closing(
        EmbeddedStore(tmp_path, memory_mb=128, index_mb=64, threads=1, timeout_s=0.2, superseded_kept_s=LONG_S)
    ) as store:
        patiently(store.settle)
        put(store, [record(0), record(1)], wait=False)
        with pytest.raises(StoreNotReady, match=r"committed and is kept, but cannot be searched yet .* 100 %"):
            store.settle()
        assert store.get(1, record(1).uuid) is not None
        going_on.set()
        patiently(store.settle)
        assert 2 == answer(store, everything())[0]


def test_waiting_for_what_was_written_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that begin while the columns stand still do not answer without what was written: they are told so after
    a time. Who writes is, once the columns are far behind."""
    going_on = threading.Event()
    monkeypatch.setattr("calldex.store.embedded.follower._CHUNK", 3)
    apply = Columns.apply
    monkeypatch.setattr(Columns, "apply", lambda *given: going_on.wait(60) and apply(*given))
    with closing(
        EmbeddedStore(tmp_path, memory_mb=128, index_mb=64, threads=1, timeout_s=0.2, superseded_kept_s=LONG_S)
    ) as store:
        patiently(store.settle)
        assert [Outcome.ACCEPTED] * 2 == put(store, [record(0), record(1)])
        with pytest.raises(StoreNotReady, match="searches cannot be answered yet"):
            store.head(1)
        with pytest.raises(StoreNotReady, match="what was written is kept"):
            erase(store, 1, [record(0).uuid])
        going_on.set()
        assert [Outcome.UNCHANGED] == patiently(lambda: put(store, [record(1)]))
        assert 1 == answer(store, everything())[0]


def test_settling_waits_as_long_as_columns_come_nearer(
    kept: tuple[Path, Path, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that take longer to be made than a query may take are waited for."""
    closed, _, expected = kept
    monkeypatch.setattr("calldex.store.embedded.follower._CHUNK", 8)
    apply = Columns.apply

    def slowly(*given: Any) -> None:
        time.sleep(0.03)
        apply(*given)

    monkeypatch.setattr(Columns, "apply", slowly)
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    (folder / COLUMNS_FILE).unlink()
    with closing(
        EmbeddedStore(folder, memory_mb=128, index_mb=64, threads=1, timeout_s=0.5, superseded_kept_s=LONG_S)
    ) as store:
        began = time.monotonic()
        store.settle()
        assert time.monotonic() - began > 2 * 0.5
        assert expected == answers(store)


def test_ready_although_others_never_stop_writing(tmp_path: Path) -> None:
    """A store that opens under a constant stream of records answers soon; it does not wait for the stream to end."""
    folder, stop = tmp_path, threading.Event()
    with closing(embedded(folder)) as store:

        def stream() -> None:
            n = 0
            while not stop.is_set():
                n += 1
                put(store, [msgspec.structs.replace(record(0), uuid=time_uuid(n, "stream"))], wait=False)

        threads = [threading.Thread(target=stream) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            head = store.head(1)
            assert store.total(parse([("min_duration", "0")], Scope(account_id=1, whole=True), "UTC")[0], head) == 0
            assert store.state().ready
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_a_newer_ledger_is_refused(kept: tuple[Path, Path, Answers], tmp_path: Path) -> None:
    """A ledger that a newer program wrote is not touched: the error says so."""
    closed, _, _ = kept
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    connection = apsw.Connection(str(folder / LEDGER_FILE))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WrongVersion, match="schema version 99"):
        embedded(folder)


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """A file that is no database is named, and stays as it is."""
    (tmp_path / LEDGER_FILE).write_text("not a ledger\n" * 1000)
    with pytest.raises(UnreadableInput, match=LEDGER_FILE):
        embedded(tmp_path)
    assert (tmp_path / LEDGER_FILE).read_text().startswith("not a ledger\n")


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    """Nothing can be made again without the ledger: what is wrong, and that a backup helps, is said in one sentence."""
    with closing(embedded(tmp_path)) as store:
        put(store, [record(n) for n in range(300)])
    file = tmp_path / LEDGER_FILE
    whole = bytearray(file.read_bytes())
    whole[8192:8292] = b"\xff" * 100
    file.write_bytes(whole)

    def opened_and_checked() -> None:
        with closing(embedded(tmp_path)) as damaged:
            list(damaged.check())

    with pytest.raises(UnreadableInput, match=r"the ledger .* (is damaged|cannot be opened)"):
        opened_and_checked()


@pytest.mark.slow
def test_what_is_acknowledged_while_the_columns_start_is_seen_by_the_first_search(tmp_path: Path) -> None:
    """Writers go on while they are made again: whoever then asks sees all that was acknowledged before."""
    with closing(embedded(tmp_path)) as store:
        put(store, [record(n) for n in range(300)])
    numbers, acknowledged = itertools.count(300), list(range(300))
    for _ in range(5):
        (tmp_path / COLUMNS_FILE).unlink()
        stop = threading.Event()
        with closing(embedded(tmp_path)) as store, ThreadPoolExecutor(4) as writers:

            def write(store: Store = store, stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    n = next(numbers)
                    put(store, [record(n)])
                    acknowledged.append(n)

            writing = [writers.submit(write) for _ in range(4)]
            while not store.state().ready:
                pass
            before = len(acknowledged)
            found = answer(store, everything())[0]
            stop.set()
            for each in writing:
                each.result()
        assert before <= found
