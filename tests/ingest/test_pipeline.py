"""Records and rows come in: everything is counted, nothing lost, and rows of calls make the same calls in any order."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.directory import Directory, Named, WrapupCode
from calldex.errors import IdempotencyMismatch
from calldex.formats import UNFINISHED, RowFormat, RowSettings, lines
from calldex.formats.asterisk import FORMAT as ASTERISK
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.formats.jsonl import FORMAT as JSONL
from calldex.formats.jsonl import JsonlSettings
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest, Post, Summary
from calldex.ingest.workers import Followed, block
from calldex.records import codec
from calldex.records.record import CallRow, Cdr, Rejected, Team, stable_id, time_uuid
from calldex.store import Batch, Outcome, Quarantined, Receipt, Reject, Store
from tests import reference
from tests.engines import answer, disagreeing, embedded, erase, everything, put
from tests.examples import examples
from tests.strategies import batches

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


class PlainSettings(RowSettings, frozen=True):
    """`unread`: a row with this text cannot be read."""

    unread: str = "x"


class Plain:
    """Rows of calls as plainly as they can be: `key;link,link;text`. A call is named after the least of its links, is
    as many seconds long as it has rows, and is none before a row says `end`, if a row says `later`."""

    name = "plain"
    settings: type[RowSettings] = PlainSettings

    def sniff(self, head: bytes) -> bool:
        """Never."""
        return not head

    def rows(self, chunks: Iterable[bytes], settings: Any) -> Iterator[CallRow | Rejected]:
        """One a line."""
        for number, (line, _) in enumerate(lines(chunks), 1):
            match line.decode(errors="replace").split(";"):
                case [key, links, text] if text != settings.unread:
                    yield CallRow(key.encode(), tuple(filter(None, links.split(","))), text)
                case [""]:
                    pass
                case _:
                    yield Rejected("no row", f"line {number}", line)

    def links(self, row: CallRow) -> tuple[str, ...]:
        """Those it came with."""
        return row.links

    def assemble(self, rows: Sequence[CallRow], settings: Any, source: str) -> Cdr | None:
        """The call that rows are."""
        texts = sorted(row.text for row in rows)
        if not rows or ("later" in texts and "end" not in texts):
            return None
        return Cdr(
            uuid=time_uuid(0, source, min(link for row in rows for link in row.links)),
            type="inbound",
            disposition="answered",
            started_at=AT + timedelta(seconds=len(rows)),
            duration_s=len(rows),
            comment=" ".join(texts),
        )


PLAIN: Final[RowFormat] = Plain()


class Site:
    """A store and a directory, and an account and a source that nobody else uses."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self.store = store
        self.directory = directory
        self.ingest = Ingest(directory, store)
        self._accounts = itertools.count()
        self.account_id = 0

    def anew(self) -> None:
        """Turn to an account that holds nothing."""
        self.account_id = self.directory.add_account(f"account-{next(self._accounts)}").id

    def feed(self, unread: str = "x", source: str = "pbx") -> Feed:
        """A source of rows."""
        known = PlainSettings(unread=unread)
        return Feed(account_id=self.account_id, source=source, format=PLAIN, settings=known)

    def records(self, source: str = "") -> Feed:
        """A source of JSON Lines."""
        return Feed(account_id=self.account_id, source=source, format=JSONL, settings=JsonlSettings())

    def take(self, rows: Iterable[str], feed: Feed | None = None) -> Summary:
        """Take in rows."""
        return self.ingest.run(feed or self.feed(), ["\n".join(rows).encode()], "file")

    def calls(self) -> list[tuple[int, str | None]]:
        """Length and comment of every call."""
        _, json = answer(self.store, everything(self.account_id))
        return sorted((each["duration_s"], each["comment"]) for each in map(msgspec.json.decode, json.splitlines()))

    def post(self, records: Sequence[Cdr], key: str | None, digest: bytes = b"digest") -> bytes:
        """Send records as a request does; its answer are the outcomes."""
        return self.ingest.post(Post(self.account_id, block(records, ""), key, digest, told))


def told(outcomes: Sequence[Outcome]) -> bytes:
    """Outcomes as a client reads them."""
    return ",".join(outcome.value for outcome in outcomes).encode()


def counts(summary: Summary) -> tuple[int, int, int, int]:
    """Accepted, updated, unchanged, rejected."""
    return summary.accepted, summary.updated, summary.unchanged, summary.rejected


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store and a directory for all tests here."""
    folder: Path = tmp_path_factory.mktemp("ingest")
    with closing(embedded(folder)) as store, Directory.open(folder / "directory.db") as directory:
        store.settle()
        yield Site(store, directory)


@pytest.fixture
def site(opened: Site) -> Site:
    """The same, with an account of the test's own."""
    opened.anew()
    return opened


def record(n: int = 0, **changes: Any) -> Cdr:
    """The n-th record."""
    plain = Cdr(
        uuid=time_uuid(n, "ingest"), type="inbound", disposition="answered", started_at=AT, duration_s=n, comment="a"
    )
    return msgspec.structs.replace(plain, **changes)


def jsonl(*records: Cdr) -> bytes:
    """Lines of records."""
    return b"\n".join(map(codec.encode, records))


# --- records ----------------------------------------------------------------------------------------------------------


def test_outcomes_are_counted(site: Site) -> None:
    """New, changed, unchanged and unreadable pieces, each once; what is kept is visible at the end."""
    put(site.store, [record(1), record(2)], site.account_id)
    lines_ = b"\n".join([jsonl(record(1), record(2, comment="b"), record(3), record(3)), b"", b"nonsense", b"{}"])
    summary = site.ingest.run(site.records(), [lines_], "file")
    assert ((1, 1, 2, 2), 6, 2) == (counts(summary), summary.read, summary.interactions)
    expected = reference.answer([record(1), record(2, comment="b"), record(3)], {})
    assert (3, b"\n".join(map(codec.encode, expected))) == answer(site.store, everything(site.account_id))


@settings(max_examples=examples(30), deadline=None)
@given(
    records=batches(1, 6),
    junk=st.lists(
        st.binary(min_size=1, max_size=9).filter(
            lambda raw: b"\n" not in raw and bool(raw.removeprefix(b"\xef\xbb\xbf").strip())  # alone it is nothing
        )
    ),
    data=st.data(),
)
def test_counts_add_up(opened: Site, records: list[Cdr], junk: list[bytes], data: st.DataObject) -> None:
    """Whatever comes, twice or broken: pieces in are pieces counted, in batches of any size; a second time everything
    is unchanged or rejected."""
    site = opened
    site.anew()
    pieces = data.draw(st.permutations([*map(codec.encode, [*records, *records[:2]]), *junk]))
    stream = b"\n".join(pieces)
    told_of: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calldex.ingest.pipeline.BATCH", data.draw(st.integers(1, 7)))
        summary = site.ingest.run(site.records(), [stream], "file", lambda so_far: told_of.append(so_far.read))
        again = site.ingest.run(site.records(), [stream], "file")
    assert len(pieces) == summary.read == told_of[-1]
    assert (len(records), len(junk)) == (summary.accepted, summary.rejected)
    assert (0, 0, len(pieces) - len(junk), len(junk)) == counts(again)
    assert len(records) == answer(site.store, everything(site.account_id))[0]
    assert Counter(set(junk)) == Counter(each.raw for each in site.store.quarantined(site.account_id))


def test_the_quarantine(site: Site) -> None:
    """What could not be read is kept whole, with where it came from and why, once, and apart for each account."""
    for _ in range(2):
        site.ingest.run(site.records("crm"), [jsonl(record(1)), b"\n{broken\n"], "calls.jsonl")
    (kept,) = site.store.quarantined(site.account_id)
    assert (site.account_id, "crm", "jsonl", "calls.jsonl", "line 2", b"{broken") == (
        kept.account_id,
        kept.source,
        kept.format,
        kept.origin,
        kept.where,
        kept.raw,
    )
    assert "not JSON" in kept.reason
    assert [] == list(site.store.quarantined(site.account_id + 1_000_000))
    assert kept.id in {each.id for each in site.store.quarantined()}


def test_the_quarantine_is_read_in_pages(site: Site) -> None:
    """Any number of pieces, oldest first, each once."""
    junk = [f"junk {n}".encode() for n in range(1203)]
    site.ingest.run(site.records(), [b"\n".join(junk)], "file")
    assert junk == [each.raw for each in site.store.quarantined(site.account_id)]


def test_retry(site: Site) -> None:
    """What can be read by now leaves the quarantine and becomes a record; what cannot stays, as it was."""
    site.take(["1;a;x", "2;a;fine", "3;b;y", "nonsense"])
    kept = list(site.store.quarantined(site.account_id))
    assert [b"1;a;x", b"nonsense"] == [each.raw for each in kept]
    pieces = [(each.id, each.raw) for each in kept]
    assert (0, 0, 0, 2) == counts(site.ingest.retry(site.feed(), pieces, "retry"))
    assert kept == list(site.store.quarantined(site.account_id))
    assert (0, 1, 0, 1) == counts(site.ingest.retry(site.feed(unread="y"), pieces, "retry"))
    assert kept[1:] == list(site.store.quarantined(site.account_id))
    assert [(1, "y"), (2, "fine x")] == site.calls()


def test_a_piece_that_is_retried_stays_one(site: Site) -> None:
    """Whatever its parts are: those that can be read are, and it is kept as it was, with the reason of now."""
    raw = b'"one\n' + pbx_row(1) + b"two"
    feed = Feed(account_id=site.account_id, source="pbx", format=ASTERISK, settings=AsteriskSettings(zone="UTC"))
    site.ingest.run(feed, [raw], "file")
    kept = list(site.store.quarantined(site.account_id))
    for each in kept:
        site.ingest.retry(feed, [(each.id, each.raw)], "retry")
    assert [(each.id, each.raw) for each in kept] == [
        (each.id, each.raw) for each in site.store.quarantined(site.account_id)
    ]


def test_records_are_kept_in_one_form(site: Site) -> None:
    """What other systems write is kept as what it means; a record says which source it came from, unless it knows."""
    loose = b'{"uuid":"01980C1E6F3A8D219A3B5C1F0E7D2B44","type":"campaign","disposition":"ANSWERED",'
    loose += b'"timestamp":"2026-01-01T02:00:00.1234567+02:00","duration":"00:00:09","from":"+44 7700","agent":"Anna"}'
    site.ingest.run(site.records("crm"), [loose], "file")
    site.ingest.run(site.records("crm"), [jsonl(record(1, source="other"))], "file")
    found = site.store.get(site.account_id, "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44")
    assert found is not None
    served = msgspec.json.decode(found.json or b"")
    assert ("dialer", "answered", "447700", stable_id("agent", "Anna"), "crm") == tuple(
        served[name] for name in ("type", "disposition", "from", "agent_id", "source")
    )
    assert ("2026-01-01T00:00:00.123000Z", "2026-01-01T00:00:00Z") == (served["started_at"], served["timestamp"])
    other = site.store.get(site.account_id, record(1).uuid)
    assert other is not None
    assert "other" == msgspec.json.decode(other.json or b"")["source"]


def test_names_appear_in_the_look_ups(opened: Site) -> None:
    """What records name can be looked up as soon as they are in, under the name mentioned last in time."""
    site = opened
    site.account_id = site.directory.account("main").id
    records = [
        record(1, agent="Anna", agent_id=5, queue="Sales", campaign="Spring", teams=(Team(7, "North"), Team(8))),
        record(2, agent="Anna B.", agent_id=5, started_at=AT + timedelta(days=1), wrapup_code="0100"),
        record(3, agent="Anne", agent_id=5, started_at=AT - timedelta(days=1), wrapup_code="0200"),
        record(4, wrapup_code="0200", wrapup_description="0200: No sale"),
    ]
    for cdr in records:
        site.ingest.run(site.records(), [jsonl(cdr)], "file")
    account_id = site.account_id
    assert [Named(5, "Anna B.")] == site.directory.lookup(account_id, "agent")
    assert [Named(stable_id("queue", "Sales"), "Sales")] == site.directory.lookup(account_id, "queue")
    assert [Named(stable_id("campaign", "Spring"), "Spring")] == site.directory.lookup(account_id, "campaign")
    assert [Named(8, "8"), Named(7, "North")] == site.directory.lookup(account_id, "team")
    assert [WrapupCode("0100", "0100"), WrapupCode("0200", "0200: No sale")] == site.directory.wrapup_codes(account_id)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_request_is_answered_once(site: Site) -> None:
    """Under a key the first answer is given again, and nothing is written; without one every request is its own."""
    records = [record(1), record(2), record(1)]
    assert b"accepted,accepted,unchanged" == site.post(records, "key")
    assert 2 == answer(site.store, everything(site.account_id))[0]
    erase(site.store, site.account_id, [record(1).uuid])
    assert b"accepted,accepted,unchanged" == site.post(records, "key")
    assert 1 == answer(site.store, everything(site.account_id))[0]
    assert b"accepted,unchanged,unchanged" == site.post(records, "another key")
    assert b"unchanged,unchanged,unchanged" == site.post(records, None)
    assert b"unchanged,unchanged,unchanged" == site.post(records, None)


def test_a_key_with_another_body(site: Site) -> None:
    """It is refused, and nothing of it is kept; the first answer stays. In another account the key is free."""
    assert b"accepted" == site.post([record(1)], "key")
    with pytest.raises(IdempotencyMismatch):
        site.post([record(2)], "key", b"another digest")
    assert 1 == answer(site.store, everything(site.account_id))[0]
    assert b"accepted" == site.post([record(1)], "key")
    site.anew()
    assert b"accepted" == site.post([record(2)], "key", b"another digest")


def test_the_same_request_several_times_at_once(site: Site) -> None:
    """However many copies run at the same time: one is written, and all get its answer."""
    answers: list[bytes] = []
    start = threading.Barrier(6)

    def send() -> None:
        start.wait()
        answers.append(site.post([record(n) for n in range(40)], "key"))

    together([send] * 6)
    assert [b",".join([b"accepted"] * 40)] * 6 == answers
    assert 40 == answer(site.store, everything(site.account_id))[0]


def test_one_key_with_two_bodies_at_once(site: Site) -> None:
    """One of them wins; of the other one nothing is kept, and its sender is told."""
    for n in range(8):
        refused: list[IdempotencyMismatch] = []
        start = threading.Barrier(2)

        def send(
            number: int, start: threading.Barrier = start, refused: list[IdempotencyMismatch] = refused, n: int = n
        ) -> None:
            start.wait()
            try:
                site.post([record(2 * n + number)], f"key {n}", f"body {number}".encode())
            except IdempotencyMismatch as error:
                refused.append(error)

        together([partial(send, 0), partial(send, 1)])
        assert (n + 1, 1) == (answer(site.store, everything(site.account_id))[0], len(refused))


def test_a_repeated_deletion_spares_what_came_since(tmp_path: Path, site: Site) -> None:
    """Of two copies of a request that are both under way the later one does nothing, also if the record was written
    again between them."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Sequence[Outcome]) -> Receipt:
        begun.set()
        assert go_on.wait(60)
        return Receipt(b"", b"")

    with closing(embedded(tmp_path)) as store:
        ingest = Ingest(site.directory, store)

        def removed() -> bytes:
            return ingest.post(Post(1, block([], ""), "key", b"digest", told, removed=[record(1).uuid]))

        assert b"accepted" == ingest.post(Post(1, block([record(1)], ""), None, b"", told))
        held = Batch(account_id=1, source="", format="", origin="", receipt_key="held", receipt=hold)
        steps = [removed, lambda: ingest.post(Post(1, block([record(1)], ""), None, b"", told)), removed]
        with ThreadPoolExecutor(4) as threads:
            first = threads.submit(store.write, held)
            assert begun.wait(60)
            done = []
            for count, step in enumerate(steps, 1):
                done.append(threads.submit(step))
                while len(store.queue) < count:
                    threading.Event().wait(0.001)
            go_on.set()
            first.result(60)
            assert [b"deleted", b"accepted", b"deleted"] == [each.result(60) for each in done]
        assert 1 == answer(store, everything())[0]


def test_calls_that_become_one_are_one_change(site: Site) -> None:
    """What is removed since two calls are one is not counted as made or changed."""
    assert 2 == site.take(["a;1;p", "b;2;q"]).interactions
    assert 1 == site.take(["c;1,2;r"]).interactions
    assert 1 == answer(site.store, everything(site.account_id))[0]


def test_keys_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a key is free again, and then remembers the new answer."""
    assert b"accepted" == site.post([record(1)], "key", b"first")
    time.sleep(0.01)
    with monkeypatch.context() as patch:
        patch.setattr("calldex.store.embedded.staging.RECEIPT_MS", 1)
        assert b"accepted" == site.post([record(2)], "key", b"second")
    assert b"accepted" == site.post([record(2)], "key", b"second")
    with pytest.raises(IdempotencyMismatch):
        site.post([record(1)], "key", b"first")


def together(work: Sequence[Callable[[], object]]) -> None:
    """Do several things at the same time."""
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- rows of calls ----------------------------------------------------------------------------------------------------


def components(rows: Iterable[str]) -> list[tuple[int, str]]:
    """The calls that rows make, by union and find over their links."""
    parents: dict[str, str] = {}

    def root(link: str) -> str:
        parents.setdefault(link, link)
        while parents[link] != link:
            link = parents[link]
        return link

    by_key = {row.split(";")[0]: row.split(";")[1:] for row in rows}
    for links, _ in by_key.values():
        first, *others = links.split(",")
        for other in others:
            parents[root(other)] = root(first)
    texts: dict[str, list[str]] = {}
    for links, text in by_key.values():
        if links:
            texts.setdefault(root(links.split(",")[0]), []).append(text)
    found = [sorted(each) for each in texts.values()]
    return sorted((len(each), " ".join(each)) for each in found if "later" not in each or "end" in each)


LINKS: Final = st.lists(st.sampled_from("abcdefgh"), max_size=3, unique=True).map(",".join)
ROWS: Final = st.lists(st.tuples(LINKS, st.sampled_from(("one", "two", "later", "end"))), min_size=1, max_size=14).map(
    lambda rows: [f"{n};{links};{text}" for n, (links, text) in enumerate(rows)]
)


@settings(max_examples=examples(80), deadline=None)
@given(rows=ROWS, data=st.data())
def test_any_order_and_partition_makes_the_same_calls(opened: Site, rows: list[str], data: st.DataObject) -> None:
    """Rows in any order, some of them twice, cut into any files and batches, end in the calls that all of them make
    together; each row is counted once, and each call is there once."""
    site = opened
    site.anew()
    order = data.draw(st.permutations([*rows, *data.draw(st.lists(st.sampled_from(rows), max_size=3))]))
    cuts = sorted({0, len(order), *data.draw(st.lists(st.integers(0, len(order)), max_size=4))})
    total = Summary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calldex.ingest.pipeline.BATCH", data.draw(st.integers(1, 15)))
        for start, end in itertools.pairwise(cuts):
            summary = site.take(order[start:end])
            assert end - start == summary.read
            total.include(summary)
    assert components(rows) == site.calls()
    assert (len(rows), len(order) - len(rows), 0) == (
        total.accepted + total.updated,
        total.unchanged,
        total.rejected,
    )
    again = site.take(rows)
    assert ((0, 0, len(rows), 0), 0) == (counts(again), again.interactions)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_row_that_joins_two_calls(site: Site, order: tuple[int, ...]) -> None:
    """Two calls turn out to be one: it keeps the uuid of one of them, and the other is gone, with a tombstone."""
    rows = ["1;a;one", "2;b;two", "3;a,b;both"]
    for n in order:
        site.take([rows[n]])
    assert [(3, "both one two")] == site.calls()
    assert 1 == len([uuid for link in "ab" if site.store.get(site.account_id, uuid := time_uuid(0, "pbx", link))])
    if order == (0, 1, 2):
        history = site.store.history(site.account_id, time_uuid(0, "pbx", "b"))
        assert [False, True] == [version.json is None for version in history]


def test_joining_within_one_batch(site: Site) -> None:
    """The same when all rows come at once, the joining one last, or in the middle of many."""
    site.take(["1;a;one", "2;b;two", "3;c;three", "4;d;four", "5;a,b;x1", "6;d,c;x2", "7;b,d;x3", "8;e;alone"])
    assert [(1, "alone"), (7, "four one three two x1 x2 x3")] == site.calls()


def test_counts_of_rows(site: Site) -> None:
    """A row that begins a call is accepted, another one of it updates it, a known one is unchanged."""
    assert (2, 1, 1, 1) == counts(site.take(["1;a;one", "2;a;two", "3;b;one", "1;a;one", "bad"]))
    assert (0, 1, 1, 0) == counts(site.take(["1;a;one", "4;b;two"]))
    assert [(2, "one two")] * 2 == site.calls()


def test_rows_without_a_call(site: Site) -> None:
    """A row that is tied to nothing is kept, and known when it comes again; it makes no call, nor joins others."""
    assert (2, 0, 0, 0) == counts(site.take(["1;;one", "2;;two"]))
    assert (0, 0, 2, 0) == counts(site.take(["2;;two", "1;;one"]))
    assert [] == site.calls()


def test_calls_that_are_none_yet(site: Site) -> None:
    """Rows that make no call yet are kept until one comes that completes them; and a call may cease to be one."""
    site.take(["1;a;later"])
    assert [] == site.calls()
    site.take(["2;a;end"])
    assert [(2, "end later")] == site.calls()
    site.take(["3;b;one"])
    site.take(["4;b;later"])
    assert [(2, "end later")] == site.calls()
    assert None is site.store.get(site.account_id, time_uuid(0, "pbx", "b"))


def test_sources_are_apart(site: Site) -> None:
    """Rows of two sources, or two accounts, are never one call, whatever they are called."""
    for source in ("pbx", "other"):
        assert (1, 1, 0, 0) == counts(site.take(["1;a;one", "2;a;two"], site.feed(source=source)))
    assert [(2, "one two")] * 2 == site.calls()
    site.anew()
    assert (1, 0, 0, 0) == counts(site.take(["1;a;one"]))
    assert [(1, "one")] == site.calls()


def test_files_that_are_read_at_the_same_time(site: Site) -> None:
    """The rows of a call come in several files, which are read at once: one call, with all of them."""
    files = [[f"{n} {part};call {n};part {part}" for n in range(60)] for part in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calldex.ingest.pipeline.BATCH", 7)
        together([partial(site.take, rows) for rows in files])
    assert [(4, "part 0 part 1 part 2 part 3")] * 60 == site.calls()
    assert [] == disagreeing(site.store)


@pytest.mark.parametrize("kind", ["rows", "records", "records of a worker"])
def test_long_pieces_are_committed_sooner(site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends with its last piece or its last byte, whichever is reached first."""
    monkeypatch.setattr("calldex.ingest.workers.BATCH_BYTES", 2000)
    monkeypatch.setattr("calldex.ingest.pipeline.BATCH_BYTES", 2000)
    if kind == "records of a worker":
        monkeypatch.setattr("calldex.ingest.workers.ALONE", 1)
    feed, chunk = (site.feed(), "{n};a;" + "x" * 990) if kind == "rows" else (site.records(), "x" * 990 + "{n}")
    told: list[int] = []
    chunks = (chunk.format(n=n).encode() + b"\n" for n in range(12))
    site.ingest.run(feed, chunks, "file", lambda summary: told.append(summary.read))
    assert 12 == told[-1]
    assert 4 <= len(told) <= 6


# --- files that grow --------------------------------------------------------------------------------------------------

START: Final = '"","447700900100","442079460011","in","""Ann"" <447700900100>","PJSIP/carrier-0000000{0}","PJSIP/a-1",'
REST: Final = (
    '"Dial","","2026-07-01 10:00:0{0}","2026-07-01 10:00:0{0}","2026-07-01 10:01:00",60,60,"ANSWERED","","178290000'
    '0.{0}","user\n{0}","","1782900000.{0}",1{0}\n'
)


def pbx_row(n: int) -> bytes:
    """A row of `Master.csv`, each of a call of its own, over two lines."""
    return (START + REST).format(n).encode()


def master(site: Site) -> Callable[[bytes], Summary]:
    """Takes in what `Master.csv` holds at a time."""
    feed = Feed(
        account_id=site.account_id, source="pbx", format=ASTERISK, settings=AsteriskSettings(zone="UTC", trunks=("*",))
    )
    return lambda content: site.ingest.run(feed, [content], "Master.csv")


@pytest.mark.parametrize("first", range(1, len(pbx_row(1)), 23))
def test_a_file_that_grows(site: Site, first: int) -> None:
    """A row that is read before it is written to its end, cut behind any byte, waits in the quarantine, and leaves it
    with the import that brings more of it; in the end every row is there once, and nothing in the quarantine."""
    take = master(site)
    file = pbx_row(0) + pbx_row(1)
    for cut in range(first, min(first + 23, len(pbx_row(1)))):
        summary = take(file[: len(pbx_row(0)) + cut])
        assert (1, 1) == (summary.rejected, summary.unfinished)
        (piece,) = site.store.quarantined(site.account_id)
        assert (UNFINISHED, "line 3") == (piece.reason, piece.where)
        assert pbx_row(1)[:cut] == piece.raw
    assert (1, 0, 1, 0) == counts(take(file))
    assert [] == list(site.store.quarantined(site.account_id))
    assert 2 == answer(site.store, everything(site.account_id))[0]
    assert (0, 0, 2, 0) == counts(take(file))


def test_a_file_that_really_ends_within_a_row(site: Site) -> None:
    """The piece stays whatever else is read: rows in its place that begin otherwise, that begin alike in another place,
    the same file again; and rows of another source say nothing about it."""
    take = master(site)
    cut = pbx_row(1)[:60]
    for _ in range(2):
        assert (1, 1) == (take(pbx_row(0) + cut).rejected, len(list(site.store.quarantined(site.account_id))))
    (piece,) = site.store.quarantined(site.account_id)
    take(pbx_row(2) + pbx_row(3).replace(b"447700900100", b"447700900200"))
    take(pbx_row(4) + b"\n" + pbx_row(5))
    site.take(["x", "y", cut.decode() + ";;"])
    assert piece in list(site.store.quarantined(site.account_id))
    take(pbx_row(0) + pbx_row(1))
    assert piece not in list(site.store.quarantined(site.account_id))


def test_a_whole_row_that_cannot_be_read(site: Site) -> None:
    """It takes the place of its beginning in the quarantine, with the reason that it has now."""
    take = master(site)
    row = pbx_row(1).replace(b"10:01:00", b"noon").replace(b"user\n", b"user")
    for cut in (60, len(row) - 1):
        take(pbx_row(0) + row[:cut])
    summary = take(pbx_row(0) + row)
    assert (1, 0) == (summary.rejected, summary.unfinished)
    (piece,) = site.store.quarantined(site.account_id)
    assert (row[:-1], True) == (piece.raw, piece.reason.startswith("end is not a time"))


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("before", [0, 1, 700])
@pytest.mark.parametrize("alone", [1 << 20, pytest.param(1, marks=pytest.mark.slow)])
def test_lines_that_grow(site: Site, bom: bytes, before: int, alone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise the last line of a file of records, whoever reads it and however the stream is cut."""
    monkeypatch.setattr("calldex.ingest.workers.ALONE", alone)
    file = bom + b"".join(codec.encode(record(n)) + b"\n" for n in range(before + 2))
    last = file.rindex(b"\n", 0, -1) + 1 if before else len(bom + codec.encode(record(0))) + 1
    for cut in (last + 1, last + 9, last + 200, len(file) - 2):
        size = max(1, cut // 7)
        pieces = [file[start : min(start + size, cut)] for start in range(0, cut, size)]
        summary = site.ingest.run(site.records(), pieces, "calls.jsonl")
        assert (1, 1) == (summary.rejected, summary.unfinished)
        (piece,) = site.store.quarantined(site.account_id)
        assert (UNFINISHED, f"line {before + 2}", file[last:cut]) == (piece.reason, piece.where, piece.raw)
    assert (1, 0, before + 1, 0) == counts(site.ingest.run(site.records(), [file], "calls.jsonl"))
    assert [] == list(site.store.quarantined(site.account_id))


def test_a_first_line_that_grows(site: Site) -> None:
    """It is known again behind a byte order mark, too."""
    line = b"\xef\xbb\xbf" + codec.encode(record(1))
    assert 1 == site.ingest.run(site.records(), [line[:50]], "calls.jsonl").unfinished
    assert (1, 0, 0, 0) == counts(site.ingest.run(site.records(), [line[:2], line[2:49], line[49:]], "calls.jsonl"))
    assert [] == list(site.store.quarantined(site.account_id))


def test_a_place_that_is_no_line(site: Site) -> None:
    """A format may tell places in its own way: a piece within which its stream ended stays, and stops no import."""
    cut = Reject(UNFINISHED, "record 2", codec.encode(record(1))[:9])
    site.store.write(
        Batch(account_id=site.account_id, source="crm", format="jsonl", origin="file", rejects=[cut]), wait=False
    )
    assert (2, 0, 0, 0) == counts(site.ingest.run(site.records("crm"), [jsonl(record(0), record(1))], "file"))
    assert ["record 2"] == [each.where for each in site.store.quarantined(site.account_id)]


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_what_follows_a_piece(data: st.DataObject) -> None:
    """However a stream is cut, the pieces that stand in their lines with more behind them are those found."""
    text = st.text("ab\n", max_size=12).map(str.encode)
    stream = data.draw(text)
    pieces = [
        piece(n, data.draw(st.integers(1, 5)), data.draw(text.filter(bool)))
        for n in range(data.draw(st.integers(0, 4)))
    ]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    chunks = [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]
    followed = Followed(chunks, pieces)
    assert stream == b"".join(followed)
    expected = set()
    for each in pieces:
        before = int(each.where.removeprefix("line ")) - 1
        stands = stream.split(b"\n", before)[before:] or [b""]
        if stands[0].startswith(each.raw) and stands[0] != each.raw:
            expected.add(each.id)
    assert expected == followed.continued


def piece(id_: int, line: int, raw: bytes) -> Quarantined:
    """A piece that lies in the quarantine."""
    return Quarantined(
        id=id_,
        account_id=1,
        source="",
        format="jsonl",
        origin="file",
        where=f"line {line}",
        reason=UNFINISHED,
        raw=raw,
        at_ms=0,
    )
