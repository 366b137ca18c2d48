"""What was acknowledged is kept: through `kill -9`, again and again, and through a full disk."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from calldex.access import Scope
from calldex.errors import DiskFull
from calldex.records import codec
from calldex.records.record import CallRow, Cdr, from_ms, time_uuid
from calldex.search.query import parse
from calldex.store import Batch, Outcome, Receipt, Reject, Store
from calldex.store.embedded import LEDGER_FILE
from tests import reference
from tests.engines import answer, disagreeing, embedded, erase, everything, put
from tests.store import writer

ROOT = Path(__file__).parents[2]


def killed(folder: Path, first: int, after_s: float) -> int:
    """Let a writer run, kill it some time after its first step; the step that it acknowledged last."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", str(folder), str(first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        time.sleep(after_s)
    finally:
        process.kill()
        said += process.stdout.read()
        process.wait()
        process.stdout.close()
    # A line that was cut by the kill was not said.
    return max(int(line) for line in said[: said.rindex(b"\n")].split() if line.isdigit())


def applied(live: dict[str, Cdr], n: int) -> dict[str, Cdr]:
    """The records after one more step."""
    records, erased = writer.step(n)
    after = live | {cdr.uuid: cdr for cdr in records}
    return {uuid: cdr for uuid, cdr in after.items() if uuid not in erased}


def text(records: dict[str, Cdr]) -> tuple[int, bytes]:
    """The answer that these records make."""
    return len(records), b"\n".join(map(codec.encode, reference.answer(records.values(), {})))


def survives(folder: Path, rounds: int, seed: int) -> None:
    """Kill a writer some times; after each, the store holds what was acknowledged and at most one step more, whole."""
    chance = random.Random(seed)
    live: dict[str, Cdr] = {}
    done = -1
    for number in range(rounds):
        last = killed(folder, done + 1, chance.random() ** 2)
        for n in range(done + 1, last + 1):
            live = applied(live, n)
        one_more = applied(live, last + 1)
        with closing(embedded(folder)) as store:
            found = answer(store, everything())
            assert found in (text(live), text(one_more)), f"round {number}, step {last}: {found[0]} records"
            assert [] == disagreeing(store)
            assert [] == store.integrity()
        if found == text(one_more):
            last, live = last + 1, one_more
        done = last
    assert done > 5 * rounds


@pytest.mark.slow
def test_kill_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """Six kills at random moments."""
    survives(tmp_path, 6, 1)


@pytest.mark.slow
def test_many_kills(tmp_path: Path) -> None:
    """Forty more."""
    survives(tmp_path, 40, 2)


def many(n: int, size: int = 200) -> list[Cdr]:
    """The records of the n-th batch of a disk that fills up."""
    return [
        Cdr(
            uuid=time_uuid(n * size + i, "full"),
            type="inbound",
            disposition="answered",
            started_at=from_ms(1_750_000_000_000 + n * size + i),
            duration_s=i,
            comment=f"{n} {i} " + random.Random(n * size + i).randbytes(500).hex(),
        )
        for i in range(size)
    ]


def whole_batch(n: int) -> Batch:
    """A batch that writes to every table."""
    return Batch(
        account_id=1,
        source="s",
        format="jsonl",
        origin="test",
        records=many(n),
        removed=[many(0)[0].uuid],
        rows=[CallRow(f"row {n}".encode(), (f"link {n}",), "text", None)],
        rejects=[Reject("bad", "line 1", f"raw {n}".encode())],
        receipt_key=f"key {n}",
        receipt=lambda _: Receipt(b"digest", b"answer"),
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of 12 MiB in that folder."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)],  # noqa: S607 - found as the shell finds it
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - likewise


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Meanwhile no file may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(store: Store) -> int:
    """Write until there is no room; how many batches were acknowledged."""
    for n in range(200):
        try:
            *written, removed = store.write(whole_batch(n), wait=False)
            assert ({Outcome.ACCEPTED}, n == 0) == (set(written), removed is Outcome.DELETED)
        except DiskFull:
            return n
    raise AssertionError("the disk was never full")


def nothing_of(store: Store, n: int) -> None:
    """No table holds anything of the n-th batch."""
    batch = whole_batch(n)
    assert [] == [cdr.uuid for cdr in batch.records if store.history(1, cdr.uuid)]
    assert set() == store.known_rows(1, "s", [batch.rows[0].key])
    assert [] == store.rows_of_calls(1, "s", batch.rows[0].links)
    assert None is store.receipt(1, str(batch.receipt_key))
    assert batch.rejects[0].raw not in {kept.raw for kept in store.quarantined(1)}


def kept_after_full(store: Store, count: int) -> None:
    """With room again: everything that was acknowledged is there, the batch that was refused can be written."""
    live = {cdr.uuid: cdr for n in range(count) for cdr in many(n)}
    del live[many(0)[0].uuid]
    query = parse([("uuid", ",".join(cdr.uuid for cdr in many(count - 1)))], Scope(account_id=1, whole=True), "UTC")[0]
    store.settle()
    assert 200 == answer(store, query)[0]
    assert [Outcome.ACCEPTED] * 200 == put(store, many(count))
    live |= {cdr.uuid: cdr for cdr in many(count)}
    store.settle()
    assert text(live) == answer(store, everything())
    assert [] == disagreeing(store)
    assert [] == store.integrity()


def test_full_disk(tmp_path: Path) -> None:
    """On a disk that is full nothing of a batch is kept and it is said; what is there can be read; with room again the
    store goes on, and after a restart too."""
    with small_disk(tmp_path):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(5 << 20))
        with closing(embedded(tmp_path)) as store:
            store.settle()
            count = fill(store)
            assert count > 0
            nothing_of(store, count)
            with pytest.raises(DiskFull, match="nothing of this was kept"):
                store.write(whole_batch(count))
            assert codec.encode(many(count - 1)[0]) == getattr(store.get(1, many(count - 1)[0].uuid), "json", None)
            ballast.unlink()
            kept_after_full(store, count)
        with closing(embedded(tmp_path)) as store:
            assert 200 * (count + 1) - 1 == answer(store, everything())[0]
            assert [] == disagreeing(store)


def test_a_file_that_must_not_grow(tmp_path: Path) -> None:
    """The same where it is the size of files that is limited."""
    with closing(embedded(tmp_path)) as store:
        store.settle()
        with small_files(3 << 20):
            count = fill(store)
            assert count > 0
            nothing_of(store, count)
        kept_after_full(store, count)
    with closing(embedded(tmp_path)) as store:
        assert 200 * (count + 1) - 1 == answer(store, everything())[0]


def test_a_full_disk_at_the_start(tmp_path: Path) -> None:
    """A store that cannot even be made says that the disk is full."""
    with small_disk(tmp_path):
        (tmp_path / "ballast").write_bytes(bytes((12 << 20) - 8192))
        with pytest.raises(DiskFull, match=LEDGER_FILE):
            embedded(tmp_path)


def test_a_backup_on_a_full_disk(tmp_path: Path) -> None:
    """It says so, in words that are about that."""
    (tmp_path / "disk").mkdir()
    with closing(embedded(tmp_path)) as store, small_disk(tmp_path / "disk"):
        (tmp_path / "disk" / "ballast").write_bytes(bytes((12 << 20) - 32768))
        put(store, many(0))
        with pytest.raises(DiskFull, match=r"there is no room to copy the ledger to .*disk"):
            store.backup(tmp_path / "disk")


def test_the_log_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one commit follows another, the write-ahead log is folded into the database beside them, also while
    somebody reads; it begins anew, so that it stays a part of what is written, however busy the machine is."""
    monkeypatch.setattr("calldex.store.embedded.wal._CHECKPOINT_PAGES", 50)
    monkeypatch.setattr("calldex.store.embedded.wal._MOST_PAGES", 200)
    log, longest = tmp_path / f"{LEDGER_FILE}-wal", 0
    with closing(embedded(tmp_path)) as store:
        for n in range(60):
            store.write(whole_batch(n), wait=False)
            assert store.get(1, many(n)[1].uuid) is not None
            longest = max(longest, log.stat().st_size)
        assert (tmp_path / LEDGER_FILE).stat().st_size > 2 * longest
    assert not log.exists()


def test_erasing_on_a_full_disk(tmp_path: Path) -> None:
    """An erasure that cannot be written is refused whole."""
    with closing(embedded(tmp_path)) as store:
        store.settle()
        for n in range(3):
            put(store, many(n))
        # The log of the ledger is as long as it may be.
        log = tmp_path / f"{LEDGER_FILE}-wal"
        with small_files(log.stat().st_size), pytest.raises(DiskFull):
            erase(store, 1, [cdr.uuid for cdr in many(0)])
        assert 600 == answer(store, everything())[0]
        assert 200 == erase(store, 1, [cdr.uuid for cdr in many(0)])
        assert 400 == answer(store, everything())[0]
        assert [] == disagreeing(store)
