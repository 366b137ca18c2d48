"""Records change: versions, erasures, what a search as of an earlier commit sees, and what is dropped in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from structlog.testing import capture_logs

from calldex.access import Scope
from calldex.errors import TokenExpired
from calldex.records import codec
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.search.query import Query, parse
from calldex.store import Batch, Outcome, Receipt, Store, Version
from tests import reference
from tests.engines import answer, disagreeing, erase, everything, put
from tests.examples import examples

AT = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
UUIDS = tuple(time_uuid(0, str(n)) for n in range(6))


def record(uuid: str = UUIDS[0], **changes: object) -> Cdr:
    """A record of which only the uuid and what is named matter."""
    plain = Cdr(uuid=uuid, type="inbound", disposition="answered", started_at=AT, duration_s=10)
    return msgspec.structs.replace(plain, **changes)


def contents(versions: list[Version]) -> list[bytes | None]:
    """What each version holds; None for a tombstone."""
    return [version.json for version in versions]


def test_outcomes(store: Store) -> None:
    """A new record is accepted, the same again is unchanged and makes no version, another one updates it."""
    first, second = record(), record(comment="corrected")
    assert [Outcome.ACCEPTED] == put(store, [first])
    assert [Outcome.UNCHANGED] == put(store, [first])
    assert [Outcome.UPDATED] == put(store, [second])
    assert [Outcome.UPDATED] == put(store, [first])
    history = store.history(1, UUIDS[0])
    assert [codec.encode(first), codec.encode(second), codec.encode(first)] == contents(history)
    assert [history[1].seq, history[2].seq, None] == [version.seq_to for version in history]
    assert history[-1] == store.get(1, UUIDS[0])


def test_changed_since(store: Store) -> None:
    """Records are found by when they were written as they are now, the instant itself included, with other filters and
    by their uuids."""
    put(store, [record(UUIDS[0]), record(UUIDS[1])])
    time.sleep(0.005)  # the clock of commits has milliseconds
    put(store, [record(UUIDS[0], comment="corrected")])
    old, new = (store.get(1, uuid) for uuid in (UUIDS[1], UUIDS[0]))
    assert old is not None
    assert new is not None
    assert old.written_ms < new.written_ms
    for ms, expected in ((old.written_ms, 2), (old.written_ms + 1, 1), (new.written_ms, 1), (new.written_ms + 1, 0)):
        since = from_ms(ms).isoformat()
        for more in ({}, {"type": "inbound"}, {"uuid": ",".join(UUIDS)}):
            asked = parse({"changed_since": since, **more}.items(), Scope(account_id=1, whole=True), "UTC")[0]
            assert expected == answer(store, asked)[0]


def test_one_batch_may_be_of_many_months(store: Store) -> None:
    """Records of twelve years are written at once, changed at once, moved at once."""
    months = [datetime(2010 + n // 12, n % 12 + 1, 2, tzinfo=UTC) for n in range(150)]
    batch = [record(time_uuid(0, str(month)), started_at=month) for month in months]
    moved = [msgspec.structs.replace(each, started_at=each.started_at.replace(day=3)) for each in batch]
    assert [Outcome.ACCEPTED] * 150 == put(store, batch)
    assert [Outcome.UPDATED] * 150 == put(store, moved)
    assert (150, b"\n".join(map(codec.encode, reversed(moved)))) == answer(store, everything())


def test_one_batch_may_hold_a_record_several_times(store: Store) -> None:
    """Within one batch the order counts as it does between batches."""
    batch = [record(), record(UUIDS[1]), record(), record(comment="b"), record(comment="b"), record()]
    expected = [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.UNCHANGED, Outcome.UPDATED, Outcome.UNCHANGED]
    assert [*expected, Outcome.UPDATED] == put(store, batch)
    assert 3 == len(store.history(1, UUIDS[0]))
    assert 2 == answer(store, everything())[0]
    assert [] == disagreeing(store)


@pytest.mark.parametrize("changes", [1, 2, 5])
def test_changes_that_nobody_waited_for(store: Store, changes: int) -> None:
    """Several commits that become visible together leave one live version of each record: the last."""
    for n in range(changes):
        put(store, [record(duration_s=n), record(UUIDS[1])], wait=False)
    erase(store, 1, [UUIDS[1]])
    put(store, [record(UUIDS[2])], wait=False)
    put(store, [record(UUIDS[2], comment="b")], wait=False)
    store.settle()
    expected = reference.answer([record(duration_s=changes - 1), record(UUIDS[2], comment="b")], {})
    assert (2, b"\n".join(map(codec.encode, expected))) == answer(store, everything())
    assert [] == disagreeing(store)


def test_a_write_is_visible_soon(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for their records to be visible does not wait until there are more: however long that is."""
    monkeypatch.setattr("calldex.store.embedded.follower._UNSEEN_S", 600.0)  # longer than a question may take
    for n in range(20):
        put(store, [record(duration_s=n)])
    assert (1, codec.encode(record(duration_s=19))) == answer(store, everything())


def test_erased(store: Store) -> None:
    """An erasure closes the live version and leaves a tombstone; the record may come again."""
    put(store, [record(), record(UUIDS[1])])
    before = store.head(1)
    assert 1 == erase(store, 1, [UUIDS[0], UUIDS[2]])
    assert 0 == erase(store, 1, [UUIDS[0]])
    assert 0 == erase(store, 2, [UUIDS[1]])
    assert None is store.get(1, UUIDS[0])
    assert [codec.encode(record()), None] == contents(store.history(1, UUIDS[0]))
    assert (1, codec.encode(record(UUIDS[1]))) == answer(store, everything())
    assert 2 == answer(store, everything(), before)[0]
    assert [Outcome.ACCEPTED] == put(store, [record()])
    assert [codec.encode(record()), None, codec.encode(record())] == contents(store.history(1, UUIDS[0]))
    assert [] == disagreeing(store)


def remove(store: Store, uuids: list[str], account_id: int = 1, records: tuple[Cdr, ...] = ()) -> list[Outcome]:
    """Take records back, in a batch that may bring others."""
    return store.write(
        Batch(account_id=account_id, source="", format="jsonl", origin="test", records=records, removed=uuids)
    )


def test_removed(store: Store) -> None:
    """Of each uuid it is told whether it was there, in their order, behind what became of records; one that is named
    twice was there once, and one that the same batch brings is there."""
    put(store, [record(UUIDS[n]) for n in range(4)])
    assert [] == remove(store, [])
    assert [Outcome.ABSENT] == remove(store, [UUIDS[0]], 2)
    named = [UUIDS[3], UUIDS[5], UUIDS[0], UUIDS[3], UUIDS[4]]
    deleted, absent = Outcome.DELETED, Outcome.ABSENT
    expected = [Outcome.ACCEPTED, Outcome.UNCHANGED, deleted, absent, deleted, absent, deleted]
    assert expected == remove(store, named, records=(record(UUIDS[4]), record(UUIDS[1])))
    left = reference.answer([record(UUIDS[1]), record(UUIDS[2])], {})
    assert (2, b"\n".join(map(codec.encode, left))) == answer(store, everything())
    before = store.head(1)
    assert [absent] * 5 == remove(store, named)
    assert before == store.head(1)
    assert [] == disagreeing(store)


@pytest.mark.parametrize(
    "at",
    [
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 52, 30, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    ],
    ids=str,
)
def test_far_times(reopened: Callable[[], Store], at: datetime) -> None:
    """Records of any time a record may have are counted and checked as others are, before and after a restart."""
    records = [record(started_at=at), record(UUIDS[1])]
    put(reopened(), records)
    searches: list[dict[str, str]] = [{}, {"min_duration": "5"}]
    if 1 < at.year < 9999:
        searches += [{"start_date": "1969-12-31", "end_date": "1969-12-31"}, {"end_date": "1970-01-01"}]
    for _ in range(2):
        store = reopened()
        for each in searches:
            expected = reference.answer(records, each)
            query = parse(each.items(), Scope(account_id=1, whole=True), "UTC")[0]
            assert (len(expected), b"\n".join(map(codec.encode, expected))) == answer(store, query)
        assert [] == disagreeing(store)


class Life(RuleBasedStateMachine):
    """Whatever happens to records, in whatever order: answers are the reference's, as of now and as of before."""

    def __init__(self, store: Store, account_id: int) -> None:
        super().__init__()
        self.store, self.account_id = store, account_id
        self.live: dict[str, Cdr] = {}
        self.past: dict[int, dict[str, Cdr]] = {}
        self.history: dict[str, list[bytes | None]] = {}

    def note(self, uuid: str, cdr: Cdr | None) -> None:
        """Remember a version."""
        self.history.setdefault(uuid, []).append(None if cdr is None else codec.encode(cdr))

    @rule(
        changes=st.lists(
            st.tuples(st.sampled_from(UUIDS), st.integers(0, 3), st.integers(-1, 1)), min_size=1, max_size=5
        ),
        wait=st.booleans(),
    )
    def write(self, changes: list[tuple[str, int, int]], wait: bool) -> None:
        """New, changed, moved and unchanged records, some of them twice in one batch."""
        records = [
            record(uuid, duration_s=length, started_at=AT.replace(day=29 + day)) for uuid, length, day in changes
        ]
        expected = []
        for cdr in records:
            known = self.live.get(cdr.uuid)
            expected.append(
                Outcome.ACCEPTED if known is None else Outcome.UNCHANGED if known == cdr else Outcome.UPDATED
            )
            if known != cdr:
                self.note(cdr.uuid, cdr)
            self.live[cdr.uuid] = cdr
        assert expected == put(self.store, records, self.account_id, wait=wait)

    @rule(uuids=st.lists(st.sampled_from(UUIDS), min_size=1, max_size=3, unique=True))
    def erase(self, uuids: list[str]) -> None:
        """Records are erased, known ones and others."""
        known = [uuid for uuid in uuids if self.live.pop(uuid, None) is not None]
        for uuid in known:
            self.note(uuid, None)
        assert len(known) == erase(self.store, self.account_id, uuids)

    @rule(
        removed=st.lists(st.sampled_from(UUIDS), min_size=1, max_size=4),
        written=st.lists(st.tuples(st.sampled_from(UUIDS), st.integers(0, 3)), max_size=2),
    )
    def remove(self, removed: list[str], written: list[tuple[str, int]]) -> None:
        """Records are taken back, some named twice, in a batch that brings others or the same."""
        records = tuple(record(uuid, duration_s=length) for uuid, length in written)
        for cdr in records:
            if self.live.get(cdr.uuid) != cdr:
                self.note(cdr.uuid, cdr)
            self.live[cdr.uuid] = cdr
        expected = []
        for uuid in removed:
            expected.append(Outcome.ABSENT if self.live.pop(uuid, None) is None else Outcome.DELETED)
            if expected[-1] is Outcome.DELETED:
                self.note(uuid, None)
        assert expected == remove(self.store, removed, self.account_id, records)[len(records) :]

    @rule()
    def look(self) -> None:
        """A search begins now, and will go on later."""
        self.store.settle()
        self.past[self.store.head(self.account_id)] = dict(self.live)

    @precondition(lambda self: self.past)
    @rule(length=st.integers(0, 3))
    def go_on(self, length: int) -> None:
        """Searches as of every commit remembered see what there was, by columns and by uuids."""
        filters: list[dict[str, str]] = [{}, {"min_duration": str(length)}, {"start_date": "2026-03-29"}]
        filters += [{"uuid": ",".join(UUIDS[:3]), **each} for each in filters]
        for as_of, live in self.past.items():
            for each in filters:
                expected = reference.answer(live.values(), each)
                query = parse(each.items(), Scope(account_id=self.account_id, whole=True), "UTC")[0]
                assert (len(expected), b"\n".join(map(codec.encode, expected))) == answer(self.store, query, as_of)

    @invariant()
    def kept(self) -> None:
        """Look-ups and histories need no waiting."""
        for uuid in UUIDS:
            found = self.store.get(self.account_id, uuid)
            cdr = self.live.get(uuid)
            assert (None if cdr is None else codec.encode(cdr)) == (None if found is None else found.json)
            versions = self.store.history(self.account_id, uuid)
            assert self.history.get(uuid, []) == contents(versions)
            assert sum(version.json is not None and version.seq_to is None for version in versions) == (cdr is not None)


def test_any_life_of_records(shared: Store, new_account: Callable[[], int]) -> None:
    """Any sequence of writes, erasures and searches."""

    run_state_machine_as_test(
        lambda: Life(shared, new_account()),  # type: ignore[arg-type] # called, whatever it is
        settings=settings(max_examples=examples(25), stateful_step_count=15, deadline=None),
    )
    assert [] == disagreeing(shared)


def hour(n: int) -> Cdr:
    """The n-th of many records."""
    return record(time_uuid(n, "many"), duration_s=n % 7, started_at=AT.replace(hour=n % 24))


def test_searches_as_of_a_commit_do_not_move(store: Store) -> None:
    """While others write, change and erase, a search as of one commit gives the same answer every time."""
    put(store, [hour(n) for n in range(500)])
    as_of, stop, failed = store.head(1), threading.Event(), []

    def disturb(worker: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            put(
                store, [msgspec.structs.replace(hour((n * 7 + i) % 500), comment=f"{n}") for i in range(20)], wait=False
            )
            put(store, [record(time_uuid(n, f"new {worker}"))])
            erase(store, 1, [hour(n % 500).uuid])

    def look() -> Iterator[tuple[int, bytes]]:
        query = parse([("min_duration", "3")], Scope(account_id=1, whole=True), "UTC")[0]
        for _ in range(15):
            yield answer(store, everything(), as_of)
            failed.append(answer(store, query, as_of))

    threads = [threading.Thread(target=disturb, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        pages = set(look())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    expected = reference.answer([hour(n) for n in range(500)], {})
    assert {(500, b"\n".join(map(codec.encode, expected)))} == pages
    assert 1 == len(set(failed))
    assert [] == disagreeing(store)


def test_purge(forgetful: Store) -> None:
    """What was superseded long enough ago is dropped, and the commit up to which it is said; what is live stays, and
    so do tombstones."""
    store = forgetful
    store.settle()
    put(store, [record(), record(UUIDS[1])])
    put(store, [record(comment="b")])
    erase(store, 1, [UUIDS[1]])
    put(store, [record(UUIDS[2])], account_id=2)
    assert 0 == store.purged_upto(1)
    assert 2 == store.purge(int(time.time() * 1000) + 1000)
    assert [codec.encode(record(comment="b"))] == contents(store.history(1, UUIDS[0]))
    assert [None] == contents(store.history(1, UUIDS[1]))
    closed = store.history(1, UUIDS[1])[0].seq
    assert (closed, 0) == (store.purged_upto(1), store.purged_upto(2))
    assert (1, codec.encode(record(comment="b"))) == answer(store, everything())
    assert 0 == store.purge(int(time.time() * 1000) + 1000)
    assert [] == disagreeing(store)


def test_the_head_that_is_told_at_once(forgetful: Store) -> None:
    """It is the head, behind what was written, erased, written by others and purged; or, where it is not in this
    process, nothing."""
    forgetful.settle()
    told = forgetful.head_at_once(1)
    steps = (
        lambda: put(forgetful, [record(), record(UUIDS[1])]),
        lambda: erase(forgetful, 1, [UUIDS[1]]),
        lambda: put(forgetful, [record(UUIDS[2])], account_id=2),
        lambda: forgetful.purge(int(time.time() * 1000) + 1000),
    )
    for step in steps:
        step()
        assert (None if told is None else forgetful.head(1)) == forgetful.head_at_once(1)


def test_nothing_is_purged_before_its_time(store: Store) -> None:
    """A version that a search token may still see is kept."""
    put(store, [record()])
    put(store, [record(comment="b")])
    assert 0 == store.purge(int(time.time() * 1000))
    assert 2 == len(store.history(1, UUIDS[0]))
    assert 0 == store.purged_upto(1)


def test_new_searches_begin_behind_what_was_purged(tmp_path: Path, opener: Callable[[Path, float], Store]) -> None:
    """After a purge and a restart a new search is as of a commit that is not among the purged: its tokens work."""
    store = opener(tmp_path, 0)
    put(store, [record(), record(UUIDS[1])])
    erase(store, 1, [UUIDS[1]])
    store.settle()
    store.purge(int(time.time() * 1000) + 1000)
    store.close()
    store = opener(tmp_path, 0)
    store.settle()
    assert store.head(1) >= store.purged_upto(1) > 0
    assert (1, codec.encode(record())) == answer(store, everything())
    store.close()


@pytest.mark.parametrize("waited", [True, False])
def test_purge_at_once(forgetful: Store, waited: bool) -> None:
    """A purge that comes before the change is visible to searches takes nothing from them, and ends nothing twice."""
    store = forgetful
    put(store, [record(), record(UUIDS[1])])
    put(store, [record(comment="b")], wait=waited)
    store.purge(int(time.time() * 1000) + 1000)
    store.settle()
    store.purge(int(time.time() * 1000) + 1000)
    assert 2 == answer(store, everything())[0]
    assert [codec.encode(record(comment="b"))] == contents(store.history(1, UUIDS[0]))
    assert [] == disagreeing(store)


@pytest.mark.parametrize("asked", [{}, {"min_duration": "10"}, {"uuid": UUIDS[0]}], ids=["all", "filtered", "by uuid"])
def test_what_was_purged_is_not_searched(forgetful: Store, asked: dict[str, str]) -> None:
    """A search as of a commit whose versions are gone is refused rather than answered with what is left, and takes
    nothing for damaged; a new one is answered."""
    forgetful.settle()
    put(forgetful, [record(), record(UUIDS[1])])
    query = parse(asked.items(), Scope(account_id=1, whole=True), "UTC")[0]
    as_of = forgetful.head(1)
    total, _ = answer(forgetful, query, as_of)
    put(forgetful, [record(comment="b")])
    assert (total, 1) == (answer(forgetful, query, as_of)[0], forgetful.purge(int(time.time() * 1000) + 1000))
    with pytest.raises(TokenExpired, match="start a new search"):
        forgetful.total(query, as_of)
    with pytest.raises(TokenExpired, match="start a new search"):
        forgetful.slice(query, as_of, limit=10, total=total)
    assert forgetful.state().ready
    assert total == answer(forgetful, query)[0]


@pytest.mark.slow
def test_searches_while_what_they_see_is_purged(forgetful: Store) -> None:
    """However purges and searches meet: an answer is whole or refused, and nothing is taken for damaged."""
    done = threading.Event()
    put(forgetful, [record(uuid) for uuid in UUIDS])

    def disturb() -> None:
        n = 0
        while not done.is_set():
            n += 1
            put(forgetful, [record(uuid, duration_s=n) for uuid in UUIDS])
            forgetful.purge(int(time.time() * 1000) + 1000)

    disturber = threading.Thread(target=disturb)
    with capture_logs() as logs:
        disturber.start()
        refused = 0
        try:
            for _ in range(300):
                try:
                    total, json = answer(forgetful, everything())
                    assert (6, 6) == (total, len(json.splitlines()))
                except TokenExpired:
                    refused += 1
        finally:
            done.set()
            disturber.join()
    assert refused < 300
    assert [] == [entry for entry in logs if entry["event"] == "columns_discarded"]


def test_purge_while_others_write(forgetful: Store) -> None:
    """Purging and writing at the same time hurt neither."""
    done = threading.Event()

    def purge() -> None:
        while not done.is_set():
            forgetful.purge(int(time.time() * 1000) + 1000)

    purger = threading.Thread(target=purge)
    purger.start()
    for n in range(60):
        put(forgetful, [record(uuid, duration_s=n) for uuid in UUIDS], wait=n % 2 == 0)
    done.set()
    purger.join()
    forgetful.settle()
    expected = reference.answer([record(uuid, duration_s=59) for uuid in UUIDS], {})
    assert (6, b"\n".join(map(codec.encode, expected))) == answer(forgetful, everything())
    assert [] == disagreeing(forgetful)


@settings(max_examples=examples(20), deadline=None)
@given(cut=st.permutations(range(8)), parts=st.integers(1, 4))
def test_order_of_different_records_does_not_matter(
    shared: Store, new_account: Callable[[], int], cut: list[int], parts: int
) -> None:
    """The same records in any order and any batches make the same answer."""
    account_id = new_account()
    for start in range(0, 8, parts):
        put(shared, [hour(n) for n in cut[start : start + parts]], account_id)
    expected = reference.answer([hour(n) for n in range(8)], {})
    assert (8, b"\n".join(map(codec.encode, expected))) == answer(shared, everything(account_id))


def test_who_writes_finds_it(store: Store) -> None:
    """However many write and search at once: a search that begins when a write was acknowledged has its records."""

    def write_and_find(writer: int) -> list[int]:
        found = []
        for n in range(8):
            put(store, [record(time_uuid(n, f"writer {writer}"), agent_id=writer)])
            mine = parse([("agent_ids", str(writer))], Scope(account_id=1, whole=True), "UTC")[0]
            found.append(store.total(mine, store.head(1)))
        return found

    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(write_and_find, range(1, 5)):
            assert list(range(1, 9)) == found


def test_an_answer_is_made_to_be_kept(store: Store) -> None:
    """Without an idempotency key none is asked for: who asks for it counts what became of the records."""
    asked: list[Sequence[Outcome]] = []

    def receipt(outcomes: Sequence[Outcome]) -> Receipt:
        asked.append(outcomes)
        return Receipt(b"", b"")

    batch = Batch(account_id=1, source="", format="jsonl", origin="HTTP", records=[record()], receipt=receipt)
    assert [Outcome.ACCEPTED] == store.write(batch)
    assert [] == asked
    assert [Outcome.UNCHANGED] == store.write(msgspec.structs.replace(batch, receipt_key="key"))
    assert [[Outcome.UNCHANGED]] == asked


def test_a_query_needs_a_scope() -> None:
    """There is no search without one."""
    with pytest.raises(TypeError, match="scope"):
        Query()  # type: ignore[call-arg]  # that is refused
