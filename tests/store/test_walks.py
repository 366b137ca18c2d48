"""Walks over many pages: the three loops of the contract see every record of their first page exactly once."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records import codec
from calldex.records.record import Cdr, time_uuid
from calldex.search.page import Page, Pager
from calldex.search.query import MAX_PER_PAGE, PageRequest, Query, parse
from calldex.search.token import KEY_BYTES, Sealer
from calldex.store import Store, embedded
from calldex.store.embedded.columns import Columns
from tests import reference
from tests.engines import disagreeing, erase, everything, put
from tests.engines import embedded as engine
from tests.examples import examples, first_are_quick

DAY_MS = 86_400_000
NOW = 1_780_000_000_000
SEALER = Sealer(bytes(range(KEY_BYTES)), "a store")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Walk = Callable[[Pager, Query, int], Iterator[Page]]


def pager(store: Store) -> Pager:
    """Reads pages; tokens live for a day."""
    return Pager(store, SEALER, DAY_MS)


def page(reader: Pager, query: Query, request: PageRequest) -> Page:
    """One page, as a request for it gets it."""
    return reader.read(query, reader.place(query, request, NOW), request.per_page)


def documented(reader: Pager, query: Query, per_page: int) -> Iterator[Page]:
    """The first loop: the page stays 1, the token is replaced."""
    found = page(reader, query, PageRequest(1, per_page))
    yield found
    while found.token is not None:
        found = page(reader, query, PageRequest(1, per_page, found.token))
        yield found


def growing(reader: Pager, query: Query, per_page: int) -> Iterator[Page]:
    """The second loop: the page grows and the token is replaced."""
    found = page(reader, query, PageRequest(1, per_page))
    yield found
    for number in itertools.count(2):
        if found.token is None:
            return
        found = page(reader, query, PageRequest(number, per_page, found.token))
        yield found


def keeping(reader: Pager, query: Query, per_page: int) -> Iterator[Page]:
    """The third loop: the page grows and the first token is kept, until a page is short or the total is reached."""
    first = found = page(reader, query, PageRequest(1, per_page))
    yield first
    seen = first.count
    for number in itertools.count(2):
        if found.count < per_page or seen >= first.total:
            return
        found = page(reader, query, PageRequest(number, per_page, first.token))
        seen += found.count
        yield found


LOOPS: tuple[Walk, ...] = (documented, growing, keeping)


def record(n: int, **changes: object) -> Cdr:
    """The n-th of many records: three in each minute, so that the order needs the uuid."""
    plain = Cdr(
        uuid=time_uuid(n * 1_000_003 % 997, "walk", str(n)),
        type="inbound",
        disposition="answered",
        started_at=BEGIN + timedelta(minutes=n // 3),
        duration_s=n % 10,
    )
    return msgspec.structs.replace(plain, **changes)


def text(pages: Iterable[Page]) -> bytes:
    """The JSON of pages, one behind the other."""
    return b",".join(each.json for each in pages if each.json)


def as_it_was(store: Store, uuids: Iterable[str], as_of: int) -> list[Cdr]:
    """The records that were live as of a commit, by their histories."""
    found = []
    for uuid in uuids:
        for version in store.history(1, uuid):
            if version.json is not None and version.seq <= as_of < (version.seq_to or 1 << 62):
                cdr = codec.decode(version.json, uuid)
                assert isinstance(cdr, Cdr)
                found.append(cdr)
    return found


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("count", "per_page"), [(0, 5), (1, 5), (5, 5), (6, 5), (10, 5), (23, 7), (3, 1)])
def test_every_loop_ends(store: Store, loop: Walk, count: int, per_page: int) -> None:
    """Each loop sees everything once, in order, with one total; a token says that more follows, and only then."""
    records = [record(n) for n in range(count)]
    put(store, records)
    pages = list(loop(pager(store), everything(), per_page))
    assert b",".join(map(codec.encode, reference.answer(records, {}))) == text(pages)
    assert {count} == {each.total for each in pages}
    more = [sum(each.count for each in pages[:n]) < count for n in range(1, len(pages) + 1)]
    assert more == [each.token is not None for each in pages]


class Disturbance:
    """Records that arrive, change, move and are erased while others walk."""

    def __init__(self, store: Store, known: int) -> None:
        self._store = store
        self._numbers = itertools.count(known)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed),)) for seed in range(2)]
        self.uuids = {record(n).uuid for n in range(known)}
        self.written = 0

    def _run(self, chance: random.Random) -> None:
        while not self._stop.is_set():
            new = [record(next(self._numbers)) for _ in range(3)]
            old = [record(chance.randrange(400)) for _ in range(5)]
            moved = [
                msgspec.structs.replace(cdr, started_at=BEGIN + timedelta(minutes=chance.randrange(150)))
                for cdr in old[:3]
            ]
            changed = [msgspec.structs.replace(cdr, comment=str(chance.random())) for cdr in old[3:]]
            self.uuids |= {cdr.uuid for cdr in new}
            put(self._store, [*new, *moved, *changed], wait=chance.random() < 0.5)
            erase(self._store, 1, [record(chance.randrange(400)).uuid])
            self.written += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("asked", first_are_quick([{}, {"min_duration": "4"}, {"uuid": ""}]))
def test_walks_see_the_data_as_of_their_first_page(store: Store, asked: dict[str, str]) -> None:
    """While records arrive, change, move and are erased: each of the three loops sees exactly what there was at its
    first page, each record once, and the same total on every page."""
    put(store, [record(n) for n in range(400)])
    given_ = {name: value or ",".join(record(n).uuid for n in range(0, 450, 2)) for name, value in asked.items()}
    query = parse(given_.items(), Scope(account_id=1, whole=True), "UTC")[0]
    walks: list[tuple[int, list[Page]]] = []
    with Disturbance(store, 400) as disturbance:
        for loop in LOOPS * 2:
            pages = list(loop(pager(store), query, 23))
            walks.append((SEALER.unseal(str(pages[0].token)).as_of, pages))
    assert disturbance.written > 3
    assert len({as_of for as_of, _ in walks}) > 1
    for as_of, pages in walks:
        expected = reference.answer(as_it_was(store, disturbance.uuids, as_of), given_)
        assert b",".join(map(codec.encode, expected)) == text(pages)
        assert {len(expected)} == {each.total for each in pages}
    assert [] == disagreeing(store)


def test_the_same_token_is_the_same_page(reopened: Callable[[], Store]) -> None:
    """A page by its token is the same after any changes, and after a restart."""
    store = reopened()
    put(store, [record(n) for n in range(100)])
    walked = list(documented(pager(store), everything(), 9))
    requests = [PageRequest(1, 9, each.token) for each in walked[:-1]]
    with Disturbance(store, 100):
        while store.head(1) < 200:
            assert walked[1:] == [page(pager(store), everything(), request) for request in requests]
    store = reopened()
    assert walked[1:] == [page(pager(store), everything(), request) for request in requests]


@settings(max_examples=examples(60), deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.booleans()), min_size=1, max_size=8),
    first=st.integers(1, 3),
)
def test_pages_may_be_skipped_and_change_their_size(
    shared: Store, walked_account: int, steps: list[tuple[int, int, bool]], first: int
) -> None:
    """With a token, page 1 or the next continue right behind its page; a larger one skips whole pages of the size asked
    for now. Without one, pages are counted from the newest record."""
    reader, query = pager(shared), everything(walked_account)
    whole = [codec.encode(cdr) for cdr in reference.answer([record(n) for n in range(60)], {})]
    found = page(reader, query, PageRequest(first, 5))
    number, passed = first, first * 5
    assert b",".join(whole[passed - 5 : passed]) == found.json
    for skipped, per_page, by_one in steps:
        if found.token is None:
            break
        wanted = 1 if by_one and not skipped else number + 1 + skipped
        found = page(reader, query, PageRequest(wanted, per_page, found.token))
        begin = passed + skipped * per_page
        assert b",".join(whole[begin : begin + per_page]) == found.json
        assert (60, begin + per_page < 60) == (found.total, found.token is not None)
        number, passed = number + 1 + skipped, begin + per_page


@pytest.fixture(scope="session")
def walked_account(shared: Store, new_account: Callable[[], int]) -> int:
    """An account with 60 records."""
    account_id = new_account()
    put(shared, [record(n) for n in range(60)], account_id)
    return account_id


@pytest.mark.parametrize("size", [1, 7, 60, 100])
def test_a_match_in_slices(shared: Store, walked_account: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slice by slice it is what it is at once, from any place on, and of uuids; however far ahead is asked."""
    monkeypatch.setattr(embedded, "_AHEAD", 25)
    query, head = everything(walked_account), shared.head(walked_account)
    whole = [codec.encode(cdr) for cdr in reference.answer([record(n) for n in range(60)], {})]
    slices = list(shared.walk(query, head, size=size, total=60))
    assert whole == b"\n".join(each.json for each in slices).split(b"\n")
    assert 60 == sum(each.count for each in slices)
    assert max(each.count for each in slices) <= size
    passed, after = slices[0].count, slices[0].last
    rest = [each.json for each in shared.walk(query, head, size=size, total=60, passed=passed, after=after)]
    assert whole[passed:] == [one for each in rest for one in each.split(b"\n")]
    asked = {"uuid": ",".join(record(n).uuid for n in (3, 50))}
    two = parse(asked.items(), Scope(account_id=walked_account, whole=True), "UTC")[0]
    found = [each.json for each in shared.walk(two, head, size=size, total=2)]
    assert [codec.encode(record(n)) for n in (50, 3)] == [one for each in found for one in each.split(b"\n")]


def test_columns_that_are_damaged_during_a_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they name that is not there is asked for again."""
    wrong = [np.array([10**9], dtype=np.int64)]
    right = Columns.page

    def page_of(self: Columns, *args: Any, **asked: Any) -> Any:
        return wrong.pop() if wrong else right(self, *args, **asked)

    with closing(engine(tmp_path)) as store:
        put(store, [record(n) for n in range(9)])
        monkeypatch.setattr(Columns, "page", page_of)
        assert [5, 4] == [each.count for each in store.walk(everything(), store.head(1), size=5, total=9)]
    assert not wrong


@pytest.mark.slow
def test_deep_pages(store: Store) -> None:
    """Pages far behind are found: beyond 10,000 records, across crowded and empty stretches of time, with filters."""
    crowded = [record(n, started_at=BEGIN - timedelta(days=9)) for n in range(12_000)]
    sparse = [record(n, started_at=BEGIN + timedelta(minutes=7 * n)) for n in range(12_000, 25_000)]
    put(store, crowded + sparse)
    for asked in ({}, {"min_duration": "5"}, {"uuid": sparse[5].uuid}, {"start_date": "2026-03-03"}):
        query = parse(asked.items(), Scope(account_id=1, whole=True), "UTC")[0]
        whole = [codec.encode(cdr) for cdr in reference.answer(crowded + sparse, asked)]
        first = page(pager(store), query, PageRequest(1, 100))
        assert len(whole) == first.total
        for number in (2, 3, 101, 102, 121, 131, 180, 250, 251, 10**9):
            begin = (number - 1) * 100
            if first.token is not None:
                found = page(pager(store), query, PageRequest(number, 100, first.token))
                assert b",".join(whole[begin : begin + 100]) == found.json, f"{asked} page {number}"
        pages = list(documented(pager(store), query, MAX_PER_PAGE))
        assert b",".join(whole) == text(pages)


def test_a_walk_goes_on_over_what_was_erased(store: Store) -> None:
    """Everything is erased in the middle of a walk, and new records come: the walk still sees what it began with."""
    records = [record(n) for n in range(30)]
    put(store, records)
    walk = documented(pager(store), everything(), 10)
    first = next(walk)
    erase(store, 1, [cdr.uuid for cdr in records])
    put(store, [record(n, comment="new") for n in range(25, 60)])
    assert b",".join(map(codec.encode, reference.answer(records, {}))) == text([first, *walk])
    assert 35 == page(pager(store), everything(), PageRequest(1, 10)).total
