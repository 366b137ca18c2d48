"""Stores of an older Calldex are brought up to date: at once what is new, in the background what was there."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from structlog.testing import capture_logs

from calldex.access import Scope
from calldex.errors import StoreNotReady
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.search.query import parse
from calldex.store import Store
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.schema import PLAIN
from calldex.store.embedded import LEDGER_FILE, EmbeddedStore, fill
from calldex.store.embedded.ledger import Ledger
from calldex.store.embedded.packing import Packing
from calldex.store.embedded.versions import Versions
from calldex.store.sql import Sql, values_of
from tests import reference
from tests.engines import answer, chdb, chdb_database, disagreeing, embedded, erase, put
from tests.store import older

PATIENCE_S: Final = 60.0
ASKED: Final[tuple[dict[str, str], ...]] = (
    {},
    *(
        {"tags": text}
        for text in ("vip", "VIP,renewal", "a|b", "\xfcber,none", "x\x1fy", "x", "\x1e1", 'say "no"', "changed")
    ),
    *({"flags": text} for text in ("provisional", "TIME_SUSPECT", "disposition_unknown,provisional")),
    {"tags": "vip", "disposition": "answered", "queue_ids": "501"},
    *({name: "vip,renewal"} for name in ("tags_not",)),
    *({"has_recording": "yes"}, {"has_recording": "no", "flags_not": "provisional"}, {"withheld": "yes"}),
    *({"passed_queues": text} for text in ("Support", "Sales,Support", "none")),
    *({"party": "4420"}, {"queue_ids_not": "501"}, {"changed_since": "2001-01-01T00:00:00Z"}),
)
LACKING: Final = {"tags": "vip"}
NEW: Final = (
    "tags",
    "flags",
    "has_recording",
    "answer_ms",
    "talk_s",
    "ring_s",
    "wait_s",
    "hold_s",
    "wrapup_s",
    "passed_queues",
)
"""The columns that version 1 had not."""


def asked(store: Store, given: dict[str, str], account_id: int = 1) -> tuple[int, bytes]:
    """What a search finds."""
    return answer(store, parse(given.items(), Scope(account_id=account_id, whole=True), "UTC")[0])


def until_filled(store: Store) -> None:
    """Wait until searches by what is new are answered."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            asked(store, LACKING)
            asked(store, {"has_recording": "yes"})
        except StoreNotReady:
            time.sleep(0.02)
        else:
            return
    asked(store, LACKING)


def expected(records: list[Cdr], given: dict[str, str]) -> tuple[int, bytes]:
    """What it ought to find."""
    from calldex.records import codec

    found = reference.answer(records, given)
    return len(found), b"\n".join(map(codec.encode, found))


def is_right(store: Store, records: dict[int, list[Cdr]]) -> None:
    """Every search finds what it ought to, and the parts of the store agree."""
    for account_id, theirs in records.items():
        for given in ASKED:
            assert expected(theirs, given) == asked(store, given, account_id), given
            named = given | {"uuid": ",".join(cdr.uuid for cdr in theirs)}
            assert expected(theirs, named) == asked(store, named, account_id), named
    assert [] == disagreeing(store)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of version 1."""
    older.unpack(tmp_path)
    return tmp_path


class Gate:
    """Lets the ledger be filled some versions at a time."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.steps = threading.Semaphore(0)
        self.done = threading.Semaphore(0)

    def step(self) -> None:
        """Let some be filled in, and wait until they are."""
        self.steps.release()
        assert self.done.acquire(timeout=PATIENCE_S)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Nothing is filled in but ten versions at each of its steps."""
    made, filled, texts = Gate(), Ledger.fill, Versions.texts

    def gated(*arguments: Any) -> object:
        if not made.free.is_set() and not made.steps.acquire(timeout=0.01):
            raise StoreNotReady("the test has not let it")
        return texts(*arguments)

    def told(*arguments: Any) -> None:
        filled(*arguments)
        made.done.release()

    monkeypatch.setattr(fill, "AGAIN_S", 0.01)
    monkeypatch.setattr(Versions, "texts", gated)
    monkeypatch.setattr(fill, "LEDGER_AT_ONCE", 10)
    monkeypatch.setattr(fill, "COLUMNS_AT_ONCE", 7)
    monkeypatch.setattr(Ledger, "fill", told)
    yield made
    made.free.set()


def test_a_data_directory_of_the_version_before(data: Path) -> None:
    """It is opened, its columns are not made again, and in a while it is searched by what is new; once it is done, that
    is remembered."""
    records = older.live(data)
    events = []
    for _ in range(2):
        with capture_logs() as logs, closing(embedded(data)) as store:
            until_filled(store)
            is_right(store, records)
        events.append({entry["event"] for entry in logs})
    assert not events[0] & {"columns_discarded"}
    assert {"ledger_filled", "columns_filled"} <= events[0]
    assert not events[1] & {"columns_discarded", "ledger_filled", "columns_filled"}


def test_everything_else_serves_meanwhile(data: Path, gate: Gate) -> None:
    """A search by what is lacking is refused with how far it is; others, writing, erasing and look-ups go on, and what
    is written meanwhile is found by it in the end."""
    records = older.live(data)
    told = []
    with closing(embedded(data)) as store:
        for step in range(4):
            with pytest.raises(StoreNotReady, match=r"by tags .* (\d+) % are made ready") as refused:
                asked(store, LACKING)
            with pytest.raises(StoreNotReady, match="by tags"):
                asked(store, LACKING | {"uuid": records[1][0].uuid})
            lacking, any_ = (parse(given.items(), Scope(account_id=1, whole=True), "UTC")[0] for given in (LACKING, {}))
            with pytest.raises(StoreNotReady, match="by tags"):
                store.log.since(lacking, 0, 0, 10)
            with pytest.raises(StoreNotReady, match="by tags"):
                store.log.superseded(lacking, 50, 50, 60)
            assert 10 == len(store.log.since(any_, 0, 0, 10).changes)
            assert refused.value.retry_after
            told.append(int(refused.value.message.partition(" %")[0].rpartition(" ")[2]))
            assert expected(records[1], {}) == asked(store, {})
            fresh = Cdr(
                uuid=time_uuid(step, "fresh"),
                type="inbound",
                disposition="busy",
                started_at=from_ms(step),
                duration_s=1,
                tags=("vip",),
            )
            gone = records[1].pop()
            put(store, [fresh])
            assert 1 == erase(store, 1, [gone.uuid])
            assert store.get(1, fresh.uuid) is not None
            records[1].append(fresh)
            assert [] == disagreeing(store)
            gate.step()
        assert [0, *sorted(set(told[1:]))] == told
        gate.free.set()
        until_filled(store)
        is_right(store, records)


def test_what_is_filled_in_is_what_would_be_written(data: Path) -> None:
    """Every column of every version, in the ledger; the columns agree with it."""
    with closing(embedded(data)) as store:
        until_filled(store)
        assert [] == disagreeing(store)
    with closing(apsw.Connection(str(data / LEDGER_FILE), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        packing = Packing(reader)
        found = list(reader.execute(f"SELECT json, {', '.join(NEW)} FROM version WHERE json IS NOT NULL"))
    assert len(found) > 70
    for packed, *values in found:
        json = packing.plain(packed)
        assert json is not None
        assert len(packed) < len(json) / 2
        assert [values_of(json)[name] for name in NEW] == values


def test_columns_made_again_meanwhile(data: Path, gate: Gate) -> None:
    """Columns that are lost while values are filled in are made again with those that are there, and get the rest."""
    records = older.live(data)
    with closing(embedded(data)) as store:
        gate.step()
        gate.step()
        store.close()
    for file in data.glob("columns.duckdb*"):
        file.unlink()
    with closing(embedded(data)) as store:
        gate.step()
        gate.free.set()
        until_filled(store)
        is_right(store, records)


@pytest.mark.slow
def test_killed_again_and_again(data: Path) -> None:
    """A process that is killed while it fills in goes on where it was; in the end all of it is right."""
    records = older.live(data)
    for line in range(1, 7):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.store.test_upgrades", str(data)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(line):
                process.stdout.readline()
            process.kill()
    with closing(embedded(data)) as store:
        until_filled(store)
        is_right(store, records)


@pytest.mark.slow
def test_a_clickhouse_store_of_the_version_before(tmp_path: Path) -> None:
    """It is opened and searched by what is new; opened again, nothing is done again; what merges leave is right."""
    scratch = tmp_path / "embedded"
    scratch.mkdir()
    older.make_clickhouse(tmp_path, scratch)
    records = older.live(scratch)
    migrated = []
    for _ in range(2):
        with capture_logs() as logs, closing(chdb(tmp_path)) as store:
            until_filled(store)
            is_right(store, records)
        migrated.append([entry["to"] for entry in logs if entry["event"] == "schema_migrated"])
    assert [[migration.name for migration in PLAIN[1:]], []] == migrated
    with closing(Hosts(chdb_database(tmp_path), 20)) as hosts:
        hosts.open()
        found = hosts.rows(Sql(f"SELECT json, {', '.join(NEW)} FROM cdr FINAL WHERE content = 1"))
    assert found
    for json, *values in found:
        assert [values_of(json)[name] for name in NEW] == values


def main() -> None:
    """Fill in slowly, and tell each step, until somebody ends it."""
    fill.LEDGER_AT_ONCE, fill.COLUMNS_AT_ONCE = 4, 3
    filled = Ledger.fill

    def told(*arguments: Any) -> None:
        filled(*arguments)
        sys.stdout.write("filled\n")
        sys.stdout.flush()

    Ledger.fill = told  # type: ignore[method-assign, assignment]  # as `gate` does, in a process of its own
    store: EmbeddedStore = embedded(Path(sys.argv[1]))
    until_filled(store)
    while True:
        sys.stdout.write("all\n")
        sys.stdout.flush()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
