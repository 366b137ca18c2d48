"""Commits that were given up: whatever was written under their numbers is seen by nobody, whenever the engine puts rows
together and whenever what is left is dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import insert, update

from calldex.directory import Directory, tables
from calldex.directory.commits import DirectoryCommits, Turn
from calldex.errors import Unavailable
from calldex.records import codec
from calldex.records.record import Cdr, time_uuid
from calldex.store import Batch, Receipt, Span
from calldex.store import clickhouse as module
from calldex.store.clickhouse import ClickhouseStore
from calldex.store.clickhouse.address import Dsn
from calldex.store.clickhouse.changes import DATED_MS
from calldex.store.clickhouse.client import Hosts
from calldex.store.clickhouse.dialect import ended
from calldex.store.sql import Sql, uuid_bytes
from tests import reference
from tests.engines import answer, chdb_database, disagreeing, erase, everything, put
from tests.examples import examples
from tests.patience import patient

AT: Final = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
UUIDS: Final = tuple(time_uuid(0, str(n)) for n in range(5))
LATER_MS: Final = 2**52
FAST_S: Final = 2.0


class Died(Exception):
    """A node ended at the worst moment."""


class _Mortal(Turn):
    """The turn of a node that ends when everything is written and nothing is published."""

    def publish(self, batch: Batch, receipts: Mapping[str, Receipt], grown: int) -> None:
        raise Died


class MortalCommits(DirectoryCommits):
    """Commits, of which some are given up."""

    dies = False

    @contextmanager
    def turn(self, account_id: int) -> Iterator[Turn]:
        """See `Commits.turn`."""
        with super().turn(account_id) as turn:
            yield _Mortal(self._db, account_id, turn.point) if self.dies else turn


class Life(RuleBasedStateMachine):
    """Records live as they do in any store, beside nodes that die while they write."""

    def __init__(self, store: ClickhouseStore, commits: MortalCommits, engine: Hosts, account_id: int) -> None:
        super().__init__()
        self.store, self.commits, self.engine, self.account_id = store, commits, engine, account_id
        self.live: dict[str, Cdr] = {}
        self.past: dict[int, dict[str, Cdr]] = {}

    @rule(
        changes=st.lists(
            st.tuples(st.sampled_from(UUIDS), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4
        ),
        dies=st.booleans(),
    )
    def write(self, changes: list[tuple[str, int, int]], dies: bool) -> None:
        """New, changed and moved records, into the next month as well."""
        records = [
            Cdr(
                uuid=uuid,
                type="inbound",
                disposition="answered",
                started_at=AT + timedelta(hours=later),
                duration_s=length,
            )
            for uuid, length, later in changes
        ]
        if self.done(dies, lambda: put(self.store, records, self.account_id)):
            self.live |= {cdr.uuid: cdr for cdr in records}

    @rule(uuids=st.lists(st.sampled_from(UUIDS), min_size=1, max_size=2, unique=True), dies=st.booleans())
    def erase(self, uuids: list[str], dies: bool) -> None:
        """Records are erased."""
        if self.done(dies, lambda: erase(self.store, self.account_id, uuids)):
            for uuid in uuids:
                self.live.pop(uuid, None)

    def done(self, dies: bool, work: object) -> bool:
        """Do something as a node that dies, or not; whether it was acknowledged."""
        assert callable(work)
        self.commits.dies = dies
        try:
            work()
        except Died:
            return False
        finally:
            self.commits.dies = False
        return True

    @rule()
    def put_together(self) -> None:
        """The engine merges what it has."""
        for table in ("cdr", "cdr_uuid"):
            self.engine.command(Sql(f"OPTIMIZE TABLE {table} FINAL"))

    @rule()
    def forget(self) -> None:
        """A day later: what was given up is dropped."""
        for account_id, span in self.commits.void_before(LATER_MS):
            self.store._forget(account_id, span)  # noqa: SLF001 - `purge` would drop what searches of before need
        assert () == self.commits.point(self.account_id).void

    @rule()
    def look(self) -> None:
        """A search begins, and will go on later."""
        self.past[self.store.head(self.account_id)] = dict(self.live)

    @precondition(lambda self: self.past)
    @rule()
    def go_on(self) -> None:
        """It sees what it saw."""
        for as_of, live in self.past.items():
            assert text(live) == answer(self.store, everything(self.account_id), as_of)

    @invariant()
    def nothing_else(self) -> None:
        """Searches, look-ups and histories know what was acknowledged and nothing else."""
        assert text(self.live) == answer(self.store, everything(self.account_id))
        for uuid in UUIDS:
            found, cdr = self.store.get(self.account_id, uuid), self.live.get(uuid)
            assert (None if cdr is None else codec.encode(cdr)) == (None if found is None else found.json)
            live = [v for v in self.store.history(self.account_id, uuid) if v.json is not None and v.seq_to is None]
            assert len(live) == (cdr is not None)


def text(live: dict[str, Cdr]) -> tuple[int, bytes]:
    """The answer that these records make."""
    return len(live), b"\n".join(map(codec.encode, reference.answer(live.values(), {})))


@pytest.fixture
def address(tmp_path: Path) -> Dsn:
    """Of a database of the test's own."""
    return chdb_database(tmp_path)


@pytest.mark.slow
def test_any_life_beside_nodes_that_die(tmp_path: Path, address: Dsn) -> None:
    """Any sequence of writes and erasures, some of nodes that die before they publish, of merges and of clearing up."""
    with Directory.open(tmp_path / "directory.db") as directory:
        commits = MortalCommits(directory.commits()._db)  # noqa: SLF001 - the same database, other turns
        store = ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=1e6)
        with closing(store), closing(Hosts(address, 20)) as engine:
            accounts = count(1)
            run_state_machine_as_test(
                lambda: Life(store, commits, engine, next(accounts)),  # type: ignore[arg-type] # called, whatever it is
                settings=settings(max_examples=examples(12), stateful_step_count=12, deadline=None),
            )
            assert [] == disagreeing(store)


def test_a_node_dies(tmp_path: Path, address: Dsn) -> None:
    """What it wrote is seen neither before nor after others write, nor when it is dropped."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    changed = msgspec.structs.replace(record, duration_s=2)
    with Directory.open(tmp_path / "directory.db") as directory:
        commits = MortalCommits(directory.commits()._db)  # noqa: SLF001 - likewise
        with closing(ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=0)) as store:
            put(store, [record])
            commits.dies = True
            with pytest.raises(Died):
                put(store, [changed])
            with pytest.raises(Died):
                erase(store, 1, UUIDS[:1])
            commits.dies = False
            assert text({record.uuid: record}) == answer(store, everything())
            other = msgspec.structs.replace(record, uuid=UUIDS[1])
            put(store, [other])
            both = {cdr.uuid: cdr for cdr in (record, other)}
            assert (text(both), 1) == (answer(store, everything()), len(commits.point(1).void))
            assert 0 == store.purge(LATER_MS)
            assert (text(both), 0) == (answer(store, everything()), len(commits.point(1).void))
            put(store, [changed])
            assert 1 == store.purge(LATER_MS)
            assert [codec.encode(changed)] == [version.json for version in store.history(1, UUIDS[0])]


def test_a_directory_of_another_time(tmp_path: Path, address: Dsn) -> None:
    """A directory that counted less than ClickHouse has is written to by nobody: numbers would be given twice."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    for name, refused in (("one.db", False), ("another.db", True)):
        with Directory.open(tmp_path / name) as directory:
            store = ClickhouseStore(address, directory.commits(), timeout_s=20, superseded_kept_s=1e6)
            with closing(store), pytest.raises(Unavailable) if refused else nullcontext() as raised:
                put(store, [record])
            assert refused == ("restored from another time" in str(raised and raised.value))


def test_a_directory_of_another_time_and_half_a_commit(tmp_path: Path, address: Dsn) -> None:
    """Nor if ClickHouse has no more of what was counted since than the end of a version: it would be the end of
    another commit."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    with Directory.open(tmp_path / "one.db") as directory:
        store = ClickhouseStore(address, directory.commits(), timeout_s=20, superseded_kept_s=1e6)
        with closing(store):
            put(store, [record])
        with closing(Hosts(address, 20)) as engine:
            columns = "account_id, started_ms, uuid, seq, seq_to"
            engine.command(Sql(f"INSERT INTO cdr ({columns}) SELECT 1, started_ms, uuid, 1, 2 FROM cdr"))
        again = ClickhouseStore(address, directory.commits(), timeout_s=20, superseded_kept_s=1e6)
        with closing(again), pytest.raises(Unavailable, match="restored from another time"):
            put(again, [msgspec.structs.replace(record, uuid=UUIDS[1])])


def test_a_commit_that_took_too_long(tmp_path: Path, address: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up: the feed has said that nothing so old comes any more."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    times = count(1_790_000_000_000, DATED_MS + 1)
    with Directory.open(tmp_path / "directory.db") as directory:
        commits = directory.commits()
        with closing(ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=1e6)) as store:
            with monkeypatch.context() as slow:
                slow.setattr(module, "now_ms", times.__next__)
                with pytest.raises(Unavailable, match="took too long"):
                    put(store, [record])
            assert text({}) == answer(store, everything())
            put(store, [record])
            assert text({record.uuid: record}) == answer(store, everything())


def test_what_is_dropped_is_gone_from_the_disk(tmp_path: Path, address: Dsn) -> None:
    """An erased record's text is in no row any more, not in one that is only marked as deleted either."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    with Directory.open(tmp_path / "directory.db") as directory:
        commits = directory.commits()
        with closing(ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=0)) as store:
            put(store, [record, msgspec.structs.replace(record, uuid=UUIDS[1])])
            erase(store, 1, UUIDS[:1])
            assert 1 == store.purge(LATER_MS)
            kept = store.hosts.rows(Sql("SELECT uuid FROM cdr WHERE content = 1 SETTINGS apply_deleted_mask = 0"))
            assert [(uuid_bytes(UUIDS[1]),)] == kept


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=8))
@settings(max_examples=examples(50), deadline=None)
def test_which_numbers_are_void(found: list[tuple[int, int]]) -> None:
    """Those within a span, its first and its last among them, and no others, however many spans there are."""
    spans, at = [], 0
    for gap, more in found:
        spans.append(Span(at + gap, at + gap + more))
        at += gap + more
    numbers = list(range(1, at + 3))
    with closing(Hosts(chdb_database(Path("/numbers")), 20)) as engine:
        ending = ended(at + 2, spans)
        rows = engine.rows(
            Sql(f"SELECT toUInt64(arrayJoin(?)) AS seq_to WHERE {ending.text}", (numbers, *ending.parameters))
        )
    assert [n for n in numbers if not any(span.first <= n <= span.last for span in spans)] == [n for (n,) in rows]


def test_many_spans(tmp_path: Path, address: Dsn) -> None:
    """After an hour in which every other batch failed, searches take no longer than they may."""
    record = Cdr(uuid=UUIDS[0], type="inbound", disposition="answered", started_at=AT, duration_s=1)
    with Directory.open(tmp_path / "directory.db") as directory:
        commits = directory.commits()
        with closing(ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=1e6)) as store:
            put(store, [record])
            void = [{"account_id": 1, "first": n, "last": n, "at_ms": 0} for n in range(2, 6002, 2)]
            with commits._db.write() as connection:  # noqa: SLF001 - as if it had been so
                connection.execute(insert(tables.void_commits), void)
                connection.execute(update(tables.commits).values(published=6001, reserved=6001))
            began = time.monotonic()
            assert text({record.uuid: record}) == answer(store, everything())
            assert time.monotonic() - began < patient(FAST_S)
            erase(store, 1, [record.uuid])
            assert text({}) == answer(store, everything())
            assert text({record.uuid: record}) == answer(store, everything(), 6001)
