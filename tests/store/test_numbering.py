"""Each account's versions have numbers of their own, whatever others write; on every engine, and of older stores."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from itertools import groupby
from pathlib import Path
from typing import Final

import apsw
from hypothesis import given
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.errors import StoreNotReady
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search.feed import ChangeFeed
from calldex.search.query import parse
from calldex.search.statistics import CHECKSUM, Grouping
from calldex.store import Batch, Head, Store
from calldex.store.embedded import LEDGER_FILE
from calldex.store.embedded.ledger import Ledger
from calldex.store.embedded.numbering import Numbering
from calldex.store.embedded.reader import LedgerReader
from calldex.store.embedded.schema import LEDGER
from tests.engines import answer, changes_of, disagreeing, embedded, erase, everything, put
from tests.store import older

SEALING: Final = Sealing(bytes(KEY_BYTES), "a test")
TO_NUMBERS: Final = LEDGER[4].text


def call(number: int, comment: str = "") -> Cdr:
    """One of some calls, in one of many versions."""
    return Cdr(
        uuid=time_uuid(number, "numbers"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(number * 1000),
        duration_s=1,
        comment=comment,
    )


def told(store: Store, account_id: int) -> list[int]:
    """The numbers that the feed tells."""
    return [change.seq for change in store.log.since(everything(account_id), 0, 0, 10_000).changes]


def proof(store: Store, account_id: int) -> int:
    """The checksum of all live records."""
    rows = store.aggregate(everything(account_id), store.head(account_id), Grouping((), None, CHECKSUM))
    return int(rows[0][1] or 0) % 2**64


def held(store: Store, account_id: int) -> int:
    """The same of what a copy holds that read the feed."""
    feed = ChangeFeed(store, SEALING)
    query = everything(account_id)
    changes = changes_of(feed.page(query, feed.began(query, "beginning", "latest"), 10_000))
    digests = (hashlib.sha256(f"{one.uuid}:{one.seq}".encode()).digest() for one in changes if one.json is not None)
    return sum(int.from_bytes(digest[:8]) for digest in digests) % 2**64


def until_numbered(store: Store) -> None:
    """Wait until the columns have all numbers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(StoreNotReady):
            proof(store, 1)
            return
        time.sleep(0.02)


def test_turns_go_on_when_the_store_is_opened_again(reopened: Callable[[], Store]) -> None:
    """Who wrote last before that is nobody special: the other writes, and then the first one again; all is there when
    it is opened once more."""
    put(reopened(), [call(0)], 1)
    store = reopened()
    for number, account_id in enumerate((2, 1, 2, 1), 1):
        put(store, [call(number)], account_id)
    store = reopened()
    assert ([1, 2, 3], [1, 2]) == (told(store, 1), told(store, 2))


def test_two_accounts_write_in_turn(reopened: Callable[[], Store]) -> None:
    """Each sees 1, 2, 3 and so on in the feed, in histories, as what a search is as of, and nothing of the other's:
    neither that there is more, nor a later head. So it stays when the store is opened again."""
    store = reopened()
    for round_ in range(3):
        put(store, [call(round_)], 1)
        head = store.head(1), store.log.last(1)
        put(store, [call(number, f"{round_}") for number in range(10)], 2)
        assert (round_ + 1, round_ + 1) == head == (store.head(1), store.log.last(1))
    put(store, [call(1, "changed")], 1)
    erase(store, 1, [call(2).uuid])
    opened = store
    for again in (False, True):
        opened = reopened() if again else store
        opened.settle()
        assert [1, 2, 3, 4, 5] == told(opened, 1)
        assert list(range(1, 31)) == told(opened, 2)
        assert [(2, 4), (4, None)] == [(one.seq, one.seq_to) for one in opened.history(1, call(1).uuid)]
        assert [(3, 5), (5, 5)] == [(one.seq, one.seq_to) for one in opened.history(1, call(2).uuid)]
        assert (5, 30, 0) == (opened.head(1), opened.head(2), opened.head(3))
        assert [(1, 1), (2, 2), (3, 3), (4, 3), (5, 2)] == [
            (n, answer(opened, everything(1), n)[0]) for n in range(1, 6)
        ]
        assert 10 == answer(opened, everything(2), 17)[0]
        assert (held(opened, 1), held(opened, 2)) == (proof(opened, 1), proof(opened, 2))
        assert [] == disagreeing(opened)
    put(opened, [call(7)], 1)
    assert [4, 5, 6] == [one.seq for one in opened.log.since(everything(1), 3, 0, 10).changes]


def test_a_feed_goes_on_over_what_was_purged(forgetful: Store) -> None:
    """Numbers of versions that are gone are no end of the feed, and are given to no other version."""
    for comment in "abcdef":
        put(forgetful, [call(1, comment)], 1)
        put(forgetful, [call(1, comment)], 2)
    put(forgetful, [call(2)], 1)
    forgetful.settle()
    assert 10 == forgetful.purge(int(time.time() * 1000) + 1000)
    found = forgetful.log.since(everything(1), 0, 0, 1)
    assert ([6], 6, True) == ([one.seq for one in found.changes], found.upto, found.more)
    assert 6 == forgetful.purged_upto(1)
    put(forgetful, [call(3)], 1)
    assert [6, 7, 8] == told(forgetful, 1)


def test_a_commit_of_several_accounts(tmp_path: Path) -> None:
    """Batches that share a commit are numbered each for its account; one that is refused takes no number."""

    def batch(account_id: int, *records: Cdr) -> Batch:
        return Batch(account_id=account_id, source="", format="jsonl", origin="test", records=records)

    with closing(Ledger(tmp_path / LEDGER_FILE)) as ledger:
        ledger.write([batch(1, call(1)), batch(2, call(1), call(2)), batch(1, call(2)), batch(1, call(2))])
        ledger.write([batch(2, call(3))])
        assert [1, 1, 2, 2, 3] == [row[-1] for row in ledger.versions.rows_after(0, 10)]
        assert (2, 3) == (ledger.numbering.last(1), ledger.numbering.last(2))


def test_a_data_directory_of_the_version_before(tmp_path: Path) -> None:
    """Its versions get the numbers of their accounts, in their order, and its columns are not made again: they get them
    in the background. What is written then goes on from there; a copy is proved by checksums."""
    older.unpack(tmp_path)
    with closing(apsw.Connection(str(tmp_path / LEDGER_FILE))) as reader:
        before = list(reader.execute("SELECT account_id, count(*) FROM version GROUP BY account_id"))
        json = dict(reader.execute("SELECT seq, json FROM version"))
        mine = [seq for (seq,) in reader.execute("SELECT seq FROM version WHERE account_id = 1 ORDER BY seq")]
    assert len(mine) < mine[-1], "accounts wrote in turn"
    with closing(embedded(tmp_path)) as store:
        store.settle()
        for account_id, count in before:
            assert list(range(1, count + 1)) == told(store, account_id)
        texts = [text for seq in mine if (text := json[seq]) is not None]
        assert "\n".join(texts).encode() == store.log.since(everything(1), 0, 0, 10_000).json
        put(store, [call(1)], 2)
        put(store, [call(1)], 1)
        assert len(mine) + 1 == store.head(1)
        until_numbered(store)
        assert (held(store, 1), held(store, 2)) == (proof(store, 1), proof(store, 2))
        assert [] == disagreeing(store)
    with closing(LedgerReader(tmp_path / LEDGER_FILE)) as ledger:
        assert [] == ledger.faults()
        (loaded,) = ledger.versions(1, 0, 10_000)
        assert list(range(1, len(mine) + 2)) == [version.seq for version in loaded]
        assert loaded[5:] == next(ledger.versions(1, 5, 10_000))


@given(st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=40))
def test_both_counts_are_one(written: Sequence[int]) -> None:
    """Whoever wrote which version of an older ledger, and whatever of it was dropped (0) but its end: numbers are
    counted, and each stands for its place and back; between places, for the last one before."""
    written = [*written, 1]
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE version (seq INTEGER PRIMARY KEY, account_id, uuid, seq_to)")
        connection.execute("CREATE INDEX version_uuid ON version (account_id, uuid, seq_to)")
        connection.execute("CREATE TABLE fill (name, upto, last)")
        rows = [(seq, account_id) for seq, account_id in enumerate(written, 1) if account_id]
        connection.executemany("INSERT INTO version VALUES (?, ?, 0, 0)", rows)
        connection.execute(TO_NUMBERS)

        numbering = Numbering(connection, lambda: nullcontext(connection), len(written))
        begun = numbering.begin(len(written), Head(0, b""))
        for account_id, some in groupby(later := [1, 1, 2, 1, 3]):
            begun.put(connection, account_id, len(list(some)))
        numbering.keep(begun)
        whole = [*written, *later]
        for account_id in (1, 2, 3):
            places = [seq for seq, each in enumerate(whole, 1) if each == account_id]
            assert len(places) == numbering.last(account_id)
            for number, seq in enumerate(places, 1):
                assert seq == numbering.seq(account_id, number)
            for seq in range(len(whole) + 1):
                assert sum(place <= seq for place in places) == numbering.number(account_id, seq)
        reread = Numbering(connection, lambda: nullcontext(connection), len(whole))
        assert [numbering.last(id_) for id_ in (1, 2, 3)] == [reread.last(id_) for id_ in (1, 2, 3)]


def test_searches_of_an_account_ask_for_what_is_there(reopened: Callable[[], Store]) -> None:
    """A search as of any number sees what was live then, with filters and by uuid alike."""
    store = reopened()
    for number in range(4):
        put(store, [call(number)], 1)
        put(store, [call(number), call(number + 10)], 2)
    filtered = parse([("min_duration", "0")], Scope(account_id=1, whole=True), "UTC")[0]
    named = parse([("uuid", ",".join(call(n).uuid for n in range(4)))], Scope(account_id=1, whole=True), "UTC")[0]
    for number in range(5):
        assert [number] * 3 == [answer(store, query, number)[0] for query in (everything(1), filtered, named)]
