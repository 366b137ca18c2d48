"""Questions while ClickHouse merges: what a search and its subqueries see is the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calldex.directory import Directory
from calldex.errors import UnreadableInput
from calldex.records import codec
from calldex.records.record import Cdr, time_uuid
from calldex.store import Outcome
from calldex.store.clickhouse import ClickhouseStore, client
from calldex.store.clickhouse.address import Dsn
from calldex.store.clickhouse.client import Hosts
from calldex.store.sql import Sql
from tests.engines import answer, chdb_database, everything, put

RECORD = Cdr(
    uuid=time_uuid(0, "1"),
    type="inbound",
    disposition="answered",
    started_at=datetime(2026, 3, 31, tzinfo=UTC),
    duration_s=1,
)
PAUSE_S = 1.0
"""How long the engine waits between looking which parts the one and the other table of a question has."""


@pytest.fixture
def address(tmp_path: Path) -> Dsn:
    """Of a database of the test's own."""
    return chdb_database(tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """A directory of the test's own."""
    with Directory.open(tmp_path / "directory.db") as opened:
        yield opened


def opened(address: Dsn, directory: Directory) -> ClickhouseStore:
    """The store there."""
    return ClickhouseStore(address, directory.commits(), timeout_s=20, superseded_kept_s=1e6)


@pytest.mark.slow
def test_a_merge_in_the_middle_of_a_question(address: Dsn, directory: Directory) -> None:
    """A version that has ended is seen neither by searches nor by who writes next, when ClickHouse makes one row of it
    and its end between looking for the one and for the other."""
    changed = msgspec.structs.replace(RECORD, duration_s=2)
    with closing(opened(address, directory)) as store, closing(Hosts(address, 20)) as engine:
        put(store, [RECORD])
        put(store, [changed])
        store.hosts._hosts[0].set({"merge_tree_storage_snapshot_sleep_ms": round(PAUSE_S * 1000)})  # noqa: SLF001 - its one host
        with ThreadPoolExecutor(2) as threads:
            search = threads.submit(answer, store, everything())
            write = threads.submit(put, store, [changed])
            time.sleep(1.5 * PAUSE_S)
            engine.command(Sql("OPTIMIZE TABLE cdr FINAL"))
            assert (1, codec.encode(changed)) == search.result()
            assert [Outcome.UNCHANGED] == write.result()


def test_a_clickhouse_that_is_too_old(address: Dsn, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot answer so is not used, and the start says which it needs."""
    monkeypatch.setattr(client, "_SAME_PARTS", "what_an_old_one_has_not")
    with pytest.raises(UnreadableInput, match=r"is ClickHouse \d+\.\d+.*; Calldex needs 25\.6 or newer"):
        opened(address, directory)


def test_a_page_reads_the_text_of_its_records_alone(
    address: Dsn, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a large one, and one that lies behind many."""
    with closing(opened(address, directory)) as store:
        put(store, [RECORD])
        asked: list[Sql] = []
        columns = store.hosts.columns

        def noted(sql: Sql) -> Sequence[Sequence[Any]]:
            asked.append(sql)
            return columns(sql)

        monkeypatch.setattr(store.hosts, "columns", noted)
        for limit, skip in ((100, 0), (10_001, 0), (1, 500_000)):
            store.slice(everything(), store.head(1), limit=limit, total=10**6, skip=skip)
        plans = [[row[0] for row in store.hosts.rows(Sql(f"EXPLAIN {sql.text}", sql.parameters))] for sql in asked[:]]
    assert [1] * 3 == [sum("Lazily read columns: json" in line for line in plan) for plan in plans]


def test_every_setting_is_known(address: Dsn) -> None:
    """ClickHouse has all settings that it is sent, those for replicated tables as well."""
    sent = {*client._SETTINGS, *client._REPLICATED}  # noqa: SLF001 - nothing else can tell without a cluster
    with closing(Hosts(address, 20)) as engine:
        known = engine.rows(Sql("SELECT name FROM system.settings WHERE name IN ?", (sorted(sent),)))
    assert sent == {name for (name,) in known}
