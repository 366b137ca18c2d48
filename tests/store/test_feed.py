"""The change feed: a copy that applies its pages is what its reader sees, whatever happens; on every engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.errors import BadToken, CursorExpired, ScopeChanged
from calldex.records.record import Cdr, from_ms, time_uuid, to_ms
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search.feed import ChangeFeed, Versions
from calldex.search.query import Query, parse
from calldex.store import Changes, Store
from calldex.store.embedded import sqlite
from tests.engines import answer, changes_of, embedded, erase, everything, put
from tests.examples import examples

SEALING: Final = Sealing(bytes(KEY_BYTES), "a test")


def call(number: int, *, agent: int = 1, disposition: str = "answered", comment: str | None = None) -> Cdr:
    """One of few calls, in one of many versions."""
    return msgspec.convert(
        {
            "uuid": time_uuid(number, "feed"),
            "type": "inbound",
            "disposition": disposition,
            "started_at": from_ms(1_780_000_000_000 + number * 1000),
            "duration_s": number,
            "agent": f"Agent {agent}",
            "agent_id": agent,
            "comment": comment,
        },
        Cdr,
    )


class Copy:
    """What somebody holds who applies the feed page by page."""

    def __init__(self, store: Store, query: Query, versions: Versions = "latest") -> None:
        self.feed = ChangeFeed(store, SEALING)
        self.query = query
        self.versions = versions
        self.cursor = self.feed.began(query, "beginning", versions)
        self.records: dict[str, bytes] = {}
        self.seqs: list[int] = []
        self.complete_ms = 0

    def take(self, limit: int = 10_000) -> bool:
        """Apply a page; whether there is more."""
        page = self.feed.page(self.query, self.cursor, limit)
        for change in changes_of(page):
            if change.json is None:
                assert change.uuid in self.records or self.query.scope.whole, "it is told of what it never had"
                self.records.pop(change.uuid, None)
            else:
                self.records[change.uuid] = change.json
            self.seqs.append(change.seq)
        assert page.complete_ms >= self.complete_ms
        self.complete_ms = page.complete_ms
        self.cursor = self.feed.opened(self.query, page.cursor, self.versions)
        return page.more

    def drain(self, limit: int = 10_000) -> None:
        """Apply all there is."""
        while self.take(limit):
            pass


def newest_first(records: dict[str, bytes]) -> bytes:
    """A copy's records as a page."""
    order = sorted(records.items(), key=lambda one: one[0], reverse=True)  # uuids lead with the start
    return b"\n".join(json for _, json in order)


CALLS: Final = st.builds(
    call,
    st.integers(0, 5),
    agent=st.integers(1, 3),
    disposition=st.sampled_from(["answered", "missed"]),
    comment=st.sampled_from([None, "a", "b"]),
)
STEPS: Final[st.SearchStrategy[list[tuple[str, Any]]]] = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(CALLS, min_size=1, max_size=3, unique_by=lambda one: one.uuid)),
        st.tuples(st.just("erase"), st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True)),
        st.tuples(st.just("take"), st.integers(1, 4)),
    ),
    max_size=12,
)
FILTERS: Final = st.sampled_from(
    [{}, {"disposition": "answered"}, {"min_duration": "2"}, {"agent_ids": "1,2"}, {"type": "outbound"}]
)
REACHES: Final[st.SearchStrategy[dict[str, Any]]] = st.sampled_from(
    [{"whole": True}, {"agents": (1,)}, {"agents": (2, 3)}, {}]
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("versions", ["latest", "all"])
def test_a_copy_is_what_its_reader_sees(
    shared: Store, new_account: Callable[[], int], versions: Versions, data: st.DataObject
) -> None:
    """Under any filters and any reach, with pages of any size at any time; in order, nothing twice, nothing of what the
    reader never saw."""
    account_id = new_account()
    scope = Scope(account_id=account_id, **data.draw(REACHES))
    query = parse(data.draw(FILTERS).items(), scope, "UTC")[0]
    put(shared, [call(n, agent=n % 3 + 1) for n in range(4)], account_id)
    for before in data.draw(
        st.lists(st.lists(CALLS, min_size=1, max_size=3, unique_by=lambda one: one.uuid), max_size=4)
    ):
        put(shared, before, account_id)
    copy = Copy(shared, query, versions)
    for step, what in data.draw(STEPS):
        if step == "put":
            put(shared, what, account_id)
        elif step == "erase":
            erase(shared, account_id, [call(number).uuid for number in what])
        else:
            copy.take(what)
    copy.drain(data.draw(st.integers(1, 5)))
    shared.settle()
    assert answer(shared, query)[1] == newest_first(copy.records)
    assert sorted(set(copy.seqs)) == copy.seqs


@pytest.mark.parametrize("versions", ["latest", "all"])
def test_what_ceased_to_match_before_the_feed_began(
    shared: Store, new_account: Callable[[], int], versions: Versions
) -> None:
    """With pages that end between its versions it is not in the copy, as it is not in the list."""
    account_id = new_account()
    query = parse({"disposition": "answered"}.items(), Scope(account_id=account_id, whole=True), "UTC")[0]
    put(shared, [call(1)], account_id)
    put(shared, [call(1, comment="b")], account_id)
    put(shared, [call(1, disposition="missed")], account_id)
    copy = Copy(shared, query, versions)
    copy.drain(1)
    assert {} == copy.records


def whole(account_id: int) -> Query:
    """All of an account."""
    return Query(scope=Scope(account_id=account_id, whole=True))


def test_a_long_page(shared: Store, new_account: Callable[[], int]) -> None:
    """A page of more records than are read one by one has all of them, in the order of their commits."""
    account_id = new_account()
    put(shared, [call(number) for number in range(2_500)], account_id)
    copy = Copy(shared, whole(account_id))
    copy.drain()
    assert 2_500 == len(copy.records)
    assert sorted(copy.seqs) == copy.seqs


def test_every_version_in_order(shared: Store, new_account: Callable[[], int]) -> None:
    """`all` gives each of them, and each end."""
    account_id = new_account()
    for comment in ("a", "b", None):
        put(shared, [call(1, comment=comment)], account_id)
    erase(shared, account_id, [call(1).uuid])
    put(shared, [call(1, comment="again")], account_id)
    feed = ChangeFeed(shared, SEALING)
    page = feed.page(whole(account_id), feed.began(whole(account_id), "beginning", "all"), 100)
    comments = [None if one.json is None else msgspec.json.decode(one.json)["comment"] for one in changes_of(page)]
    assert ["a", "b", None, None, "again"] == comments
    assert [True, True, True, False, True] == [one.json is not None for one in changes_of(page)]
    latest = feed.page(whole(account_id), feed.began(whole(account_id), "beginning", "latest"), 100)
    assert [changes_of(page)[-1]] == changes_of(latest)


def test_what_ceases_to_match_is_told_once(shared: Store, new_account: Callable[[], int]) -> None:
    """Of all versions, with the one that ceases to, and not again with one behind it that does not match either."""
    account_id = new_account()
    for disposition, comment in (("answered", None), ("missed", None), ("missed", "a"), ("answered", "b")):
        put(shared, [call(1, disposition=disposition, comment=comment)], account_id)
    feed, query = ChangeFeed(shared, SEALING), parse([("disposition", "answered")], whole(account_id).scope, "UTC")[0]
    page = feed.page(query, feed.began(query, "beginning", "all"), 10)
    assert [True, False, True] == [change.json is not None for change in changes_of(page)]


def test_where_a_chain_begins(shared: Store, new_account: Callable[[], int]) -> None:
    """Now, or at an instant: with what is committed since."""
    account_id = new_account()
    put(shared, [call(1)], account_id)
    feed, query = ChangeFeed(shared, SEALING), whole(account_id)
    now = feed.began(query, "now", "latest")
    time.sleep(0.02)
    at_ms = time.time_ns() // 1_000_000
    time.sleep(0.02)
    put(shared, [call(2)], account_id)
    for cursor in (now, feed.began(query, at_ms, "latest")):
        assert [call(2).uuid] == [one.uuid for one in changes_of(feed.page(query, cursor, 10))]
    assert [] == changes_of(feed.page(query, feed.began(query, "now", "latest"), 10))
    page = feed.page(query, feed.began(query, at_ms - 10_000, "latest"), 10)
    assert [call(1).uuid, call(2).uuid] == [one.uuid for one in changes_of(page)]


def test_a_cursor_is_for_what_it_was_given_for(shared: Store, new_account: Callable[[], int]) -> None:
    """Other filters, other versions, another account, other rights, a changed text: each is refused as what it is."""
    account_id = new_account()
    put(shared, [call(1)], account_id)
    feed, query = ChangeFeed(shared, SEALING), whole(account_id)
    text = feed.page(query, feed.began(query, "beginning", "latest"), 10).cursor
    assert feed.opened(query, text, "latest").after > 0
    filtered = parse([("disposition", "answered")], query.scope, "UTC")[0]
    narrower = Query(scope=Scope(account_id=account_id, agents=(1,)))
    refused: list[tuple[Query, Versions, str, type[Exception]]] = [
        (filtered, "latest", text, BadToken),
        (query, "all", text, BadToken),
        (whole(new_account()), "latest", text, BadToken),
        (query, "latest", text[:-1] + ("A" if text[-1] != "A" else "B"), BadToken),
        (query, "latest", "x", BadToken),
        (narrower, "latest", text, ScopeChanged),
    ]
    for asked, versions, given_text, error in refused:
        with pytest.raises(error):
            feed.opened(asked, given_text, versions)
    restored = feed.began(query, "now", "latest")
    with pytest.raises(CursorExpired):
        feed.opened(query, SEALING.seal(msgspec.structs.replace(restored, store="another")), "latest")


def test_a_cursor_that_needs_what_was_dropped(forgetful: Store) -> None:
    """With filters it is refused, with the earliest cursor there is; over the whole account it goes on."""
    put(forgetful, [call(n) for n in range(4)])
    filtered = parse([("disposition", "answered")], whole(1).scope, "UTC")[0]
    feed = ChangeFeed(forgetful, SEALING)
    texts = {
        query: feed.page(query, feed.began(query, "beginning", "latest"), 10).cursor for query in (filtered, whole(1))
    }
    put(forgetful, [call(1, disposition="missed")])
    erase(forgetful, 1, [call(2).uuid])
    forgetful.settle()
    forgetful.purge(int(time.time() * 1000) + 1000)
    with pytest.raises(CursorExpired) as refused:
        feed.opened(filtered, texts[filtered], "latest")
    assert refused.value.earliest_cursor is not None
    assert feed.opened(filtered, refused.value.earliest_cursor, "latest").after > 0
    page = feed.page(whole(1), feed.opened(whole(1), texts[whole(1)], "latest"), 10)
    assert [(call(1).uuid, True), (call(2).uuid, False)] == [
        (one.uuid, one.json is not None) for one in changes_of(page)
    ]
    copy = Copy(forgetful, filtered)
    copy.drain(1)
    assert {call(0).uuid, call(3).uuid} == set(copy.records)


@pytest.mark.parametrize("versions", ["latest", "all"])
def test_what_is_dropped_while_a_page_is_read(
    forgetful: Store, monkeypatch: pytest.MonkeyPatch, versions: Versions
) -> None:
    """The page is refused, as the cursor would be: it would lack that a record ceased to match."""
    put(forgetful, [call(n) for n in range(4)])
    filtered = parse([("disposition", "answered")], whole(1).scope, "UTC")[0]
    feed = ChangeFeed(forgetful, SEALING)
    text = feed.page(filtered, feed.began(filtered, "beginning", versions), 10).cursor
    put(forgetful, [call(1, disposition="missed")])
    forgetful.settle()
    superseded = forgetful.log.superseded

    def slowly(*asked: Any) -> dict[bytes, int]:
        forgetful.purge(int(time.time() * 1000) + 1000)
        return superseded(*asked)

    cursor = feed.opened(filtered, text, versions)
    monkeypatch.setattr(forgetful.log, "superseded", slowly)
    with pytest.raises(CursorExpired):
        feed.page(filtered, cursor, 10)


def test_what_was_called_complete_stays_so(forgetful: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later page of a chain tells no earlier instant, whatever the clock of the node that makes it says."""
    put(forgetful, [call(0)])
    copy = Copy(forgetful, whole(1))
    copy.drain()
    since = forgetful.log.since

    def behind(*asked: Any) -> Changes:
        found = since(*asked)
        return msgspec.structs.replace(found, complete_ms=found.complete_ms - 60_000)

    monkeypatch.setattr(forgetful.log, "since", behind)
    copy.drain()


def test_pages_over_numbers_that_are_not_there(forgetful: Store) -> None:
    """However many versions were dropped between two: the pages go on behind them, to the end."""
    put(forgetful, [call(0)])
    for number in range(60):
        put(forgetful, [call(1, comment=f"{number}")])
    put(forgetful, [call(2), call(3)])
    forgetful.settle()
    forgetful.purge(int(time.time() * 1000) + 1000)
    copy = Copy(forgetful, whole(1))
    copy.drain(2)
    assert {call(n).uuid for n in range(4)} == set(copy.records)


def test_writers_and_a_reader_at_once(shared: Store, new_account: Callable[[], int]) -> None:
    """While several write, change and erase, no page has a hole: in the end the copy is what is there; and what a page
    called complete was complete."""
    account_id = new_account()
    copy = Copy(shared, whole(account_id))
    ended = threading.Event()

    def writes(first: int) -> None:
        for number in range(8):
            put(shared, [call(first + number % 3, comment=f"{number}")], account_id, wait=False)
            if number % 4 == 3:
                erase(shared, account_id, [call(first).uuid])

    def reads() -> Iterator[bool]:
        while not ended.is_set():
            yield copy.take(2)

    reader = threading.Thread(target=lambda: list(reads()))
    writers = [threading.Thread(target=writes, args=(first,)) for first in (0, 10, 20)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    copy.drain()
    shared.settle()
    assert answer(shared, whole(account_id))[1] == newest_first(copy.records)
    assert sorted(set(copy.seqs)) == copy.seqs


def test_a_copy_goes_on_after_a_restart(reopened: Callable[[], Any]) -> None:
    """A cursor outlives the process."""
    store = reopened()
    put(store, [call(n) for n in range(3)])
    copy = Copy(store, whole(1))
    copy.take(2)
    store = reopened()
    copy.feed = ChangeFeed(store, SEALING)
    put(store, [call(1, comment="new")])
    copy.drain()
    store.settle()
    assert answer(store, whole(1))[1] == newest_first(copy.records)


def test_when_a_version_was_committed(shared: Store, new_account: Callable[[], int]) -> None:
    """A record's is what the feed says, as of any commit that sees it."""
    account_id = new_account()
    put(shared, [call(n) for n in range(3)], account_id)
    before = shared.log.last(account_id)
    time.sleep(0.01)
    put(shared, [call(1, comment="new")], account_id)
    feed = ChangeFeed(shared, SEALING)
    changes = changes_of(feed.page(whole(account_id), feed.began(whole(account_id), "beginning", "all"), 10))
    uuids = [call(n).uuid for n in range(3)]
    assert {one.uuid: to_ms(one.at) for one in changes} == shared.written(
        account_id, uuids, shared.log.last(account_id)
    )
    assert {one.uuid: to_ms(one.at) for one in changes[:3]} == shared.written(account_id, uuids, before)


def test_a_page_costs_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what the account holds: its rows are found by their places; those of an account that wrote little among
    many others by its index; and what ended by when it did."""
    ways: list[str] = []
    read = sqlite.rows

    def noted(connection: sqlite.Connection, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if "FROM version " in text and "uuid" in text and "carray" not in text:
            ways.append(str(read(connection, f"EXPLAIN QUERY PLAN {text}", parameters)[0][-1]))
        return read(connection, text, parameters)

    with closing(embedded(tmp_path)) as store:
        put(store, [call(number) for number in range(300)])
        put(store, [call(7)], account_id=2)
        put(store, [call(number, comment="again") for number in range(300)])
        feed = ChangeFeed(store, SEALING)
        monkeypatch.setattr(sqlite, "rows", noted)
        everyone, little = everything(), everything(2)
        assert feed.page(everyone, feed.began(everyone, "beginning", "latest"), 10).more
        assert 1 == feed.page(little, feed.began(little, "beginning", "latest"), 10).count
        agents = parse([("agent_ids", "1")], everyone.scope, "UTC")[0]
        assert 300 == feed.page(agents, feed.began(agents, 0, "latest"), 400).count
    assert ["INTEGER PRIMARY KEY", "version_uuid", "INTEGER PRIMARY KEY", "version_closed"] == [
        next(name for name in ("INTEGER PRIMARY KEY", "version_uuid", "version_closed") if name in way) for way in ways
    ]


def test_rows_of_a_source_cost_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is gone through by the places of its rows, and not read whole for each step."""
    read, ways = sqlite.rows, list[str]()

    def noted(connection: sqlite.Connection, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        ways.append(str(read(connection, f"EXPLAIN QUERY PLAN {text}", parameters)[0][-1]))
        return read(connection, text, parameters)

    with closing(embedded(tmp_path)) as store:
        monkeypatch.setattr("calldex.store.embedded.staging.rows", noted)
        assert [] == store.rows_of_source(1, "pbx", 0, 10)
    assert ["SEARCH call_row USING INTEGER PRIMARY KEY (rowid>?)"] == ways
