"""Commits of a store of several nodes: numbers, turns, what is void, and what becomes durable with a commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from calldex.directory import Directory
from calldex.errors import Conflict, Unavailable
from calldex.records.record import CallRow
from calldex.store import Batch, Receipt, Reject, Span
from calldex.store.commits import Commits, Point
from tests.directory.places import Place, PostgresqlPlace

ACCOUNT = 7


def batch(
    rows: Sequence[CallRow] = (),
    rejects: Sequence[Reject] = (),
    released: Sequence[int] = (),
    receipt_key: str | None = None,
) -> Batch:
    """What is kept with a commit beside records."""
    return Batch(
        account_id=ACCOUNT,
        source="pbx",
        format="asterisk",
        origin="Master.csv",
        rows=rows,
        rejects=rejects,
        released=released,
        receipt_key=receipt_key,
    )


def commit(commits: Commits, count: int = 1, kept: Batch | None = None, receipt: Receipt | None = None) -> int:
    """One commit of some numbers; the last of them."""
    with commits.turn(ACCOUNT) as turn:
        first = turn.reserve(count)
        kept = kept or batch()
        turn.publish(kept, {kept.receipt_key: receipt} if kept.receipt_key and receipt else {}, count)
    return first + count - 1


def test_numbers_follow_each_other(directory: Directory) -> None:
    """Each account counts from 1, and what is published is visible."""
    commits = directory.commits()
    assert Point() == commits.point(ACCOUNT)
    assert [3, 4, 9] == [commit(commits, 3), commit(commits), commit(commits, 5)]
    assert (Point(seq=9, live=9), Point()) == (commits.point(ACCOUNT), commits.point(ACCOUNT + 1))
    assert [ACCOUNT] == commits.accounts()


def test_what_was_not_published_is_void(directory: Directory) -> None:
    """Numbers of turns that ended without publishing are never visible nor given again, whoever comes next."""
    commits = directory.commits()
    commit(commits, 2)
    for count in (3, 4):
        with commits.turn(ACCOUNT) as turn:
            turn.reserve(count)
    assert Point(seq=2, live=2) == commits.point(ACCOUNT)
    assert 10 == commit(commits)
    assert Point(seq=10, live=3, void=(Span(3, 9),)) == commits.point(ACCOUNT)
    with suppress(OSError), commits.turn(ACCOUNT) as turn:
        turn.reserve(5)
        raise OSError("the engine is gone")
    assert 17 == commit(commits, 2)
    assert (Span(3, 9), Span(11, 15)) == commits.point(ACCOUNT).void
    assert [(ACCOUNT, Span(3, 9)), (ACCOUNT, Span(11, 15))] == sorted(
        commits.void_before(2**60), key=lambda v: v[1].first
    )
    assert [] == commits.void_before(0)
    commits.forgotten(ACCOUNT, Span(3, 9))
    assert (Span(11, 15),) == commits.point(ACCOUNT).void


def test_a_turn_that_was_taken_over_publishes_nothing(place: Place) -> None:
    """Of two processes that believe that it is their turn one publishes; nothing of the other is kept, and what it
    reserved is void."""
    with place.open() as one, place.open() as other:
        first, second = one.commits(), other.commits()
        commit(first)
        # As if a lock had been lost: on SQLite processes share none, on PostgreSQL it is ended below.
        with first.turn(ACCOUNT) as slow:
            slow.reserve(4)
            if isinstance(place, PostgresqlPlace):
                place.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            assert 7 == commit(second, 2)
            reject = Reject("bad", "line 1", b"raw")
            with pytest.raises(Unavailable, match="another node took over") as refused:
                slow.publish(batch(rejects=[reject]), {"k": Receipt(b"d", b"a")}, 4)
            assert 1 == refused.value.retry_after
        assert Point(seq=7, live=3, void=(Span(2, 5),)) == first.point(ACCOUNT)
        assert (None, []) == (first.receipt(ACCOUNT, "k"), list(first.quarantined(None, None)))


def test_a_turn_that_is_late_reserves_nothing(place: Place) -> None:
    """Who read how far the account is before another published has to look again."""
    with place.open() as one, place.open() as other:
        commits = one.commits()
        commit(commits)
        with commits.turn(ACCOUNT) as slow:
            if isinstance(place, PostgresqlPlace):
                place.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            commit(other.commits())
            with pytest.raises(Unavailable, match="another node took over"):
                slow.reserve(1)


def test_turns_wait_for_each_other(place: Place) -> None:
    """Many writers in two processes' worth of directories: no number is given twice, none is void."""
    with place.open() as one, place.open() as other, ThreadPoolExecutor(8) as pool:
        shared = [one.commits()] if not isinstance(place, PostgresqlPlace) else [one.commits(), other.commits()]
        taken: list[tuple[int, int]] = []
        lock = threading.Lock()

        def work(n: int) -> None:
            count = n % 3 + 1
            last = commit(shared[n % len(shared)], count)
            with lock:
                taken.append((last - count + 1, last))

        list(pool.map(work, range(24)))
        taken.sort()
        assert [last + 1 for _, last in taken[:-1]] == [first for first, _ in taken[1:]]
        assert Point(seq=taken[-1][1], live=taken[-1][1]) == shared[0].point(ACCOUNT)


def test_turns_come_in_the_order_of_those_who_wait(directory: Directory) -> None:
    """Who has just had a turn has the next one behind those who waited for it."""
    commits = directory.commits()
    done: list[str] = []

    def other() -> None:
        with commits.turn(1):
            done.append("other")

    with ThreadPoolExecutor(1) as threads:
        with commits.turn(1):
            waiting = threads.submit(other)
            while len(commits._lines[1]) == 1:  # noqa: SLF001 - that it waits is seen nowhere else
                time.sleep(0.001)
        with commits.turn(1):
            done.append("again")
        waiting.result()
    assert ["other", "again"] == done


def test_rows_of_calls(directory: Directory) -> None:
    """Rows are found by every link they are tied to, directly or through others; they keep their text to the byte, and
    get the call they are part of now."""
    commits = directory.commits()
    rows = [
        CallRow(b"1", ("a", "b"), "text \0 é", None),
        CallRow(b"2", ("b", "c"), "two", "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"),
        CallRow(b"3", ("d",), "three", None),
    ]
    commit(commits, kept=batch(rows=rows))
    found = commits.rows_of_calls(ACCOUNT, "pbx", ["a"])
    assert rows[:2] == sorted(found, key=lambda row: row.key)
    assert [] == commits.rows_of_calls(ACCOUNT, "pbx", ["z"])
    assert [] == commits.rows_of_calls(ACCOUNT, "other", ["a"])
    assert {b"1", b"3"} == commits.known_rows(ACCOUNT, "pbx", [b"1", b"3", b"4"])
    moved = CallRow(b"3", ("d",), "three", "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b45")
    commit(commits, kept=batch(rows=[moved]))
    assert [moved] == commits.rows_of_calls(ACCOUNT, "pbx", ["d"])


def test_many_rows(directory: Directory) -> None:
    """More than fit in one statement."""
    commits = directory.commits()
    rows = [CallRow(str(n).encode(), (f"call {n // 2}", "all"), "t", None) for n in range(1234)]
    commit(commits, kept=batch(rows=rows))
    assert 1234 == len(commits.rows_of_calls(ACCOUNT, "pbx", ["call 3"]))
    assert 1234 == len(commits.known_rows(ACCOUNT, "pbx", [row.key for row in rows]))


def test_the_quarantine(directory: Directory) -> None:
    """A piece lies in it once until it is released, however long it is, for the reason that was given last."""
    commits = directory.commits()
    rejects = [Reject("bad", f"line {n}", b"\0raw\xff" * 10_000 + str(n).encode()) for n in range(3)]
    commit(commits, kept=batch(rejects=rejects))
    commit(commits, kept=batch(rejects=[rejects[0], rejects[0]]))
    kept = list(commits.quarantined(ACCOUNT, None))
    assert [reject.raw for reject in rejects] == [piece.raw for piece in kept]
    assert ["bad"] * 3 == [piece.reason for piece in commits.quarantined(None, "bad")]
    assert [] == list(commits.quarantined(ACCOUNT + 1, None)) == list(commits.quarantined(None, "good"))
    commit(commits, kept=batch(rejects=[Reject("worse", "line 9", rejects[0].raw)]))
    assert [(kept[0].id, "line 0")] == [(piece.id, piece.where) for piece in commits.quarantined(None, "worse")]
    commit(commits, kept=batch(released=[kept[1].id]))
    assert [rejects[0].raw, rejects[2].raw] == [piece.raw for piece in commits.quarantined(ACCOUNT, None)]


def test_the_first_receipt_stays(directory: Directory) -> None:
    """Another one under the same key does not replace it, unless it was dropped."""
    commits = directory.commits()
    for answer in (b"one", b"two"):
        commit(commits, kept=batch(receipt_key="k"), receipt=Receipt(b"digest", answer))
        assert Receipt(b"digest", b"one") == commits.receipt(ACCOUNT, "k")
    commits.drop_receipts(2**60)
    assert None is commits.receipt(ACCOUNT, "k")


def test_loading(directory: Directory) -> None:
    """What is loaded is visible when all of it is there; an account with records of its own is left alone."""
    commits = directory.commits()
    commits.load(ACCOUNT, 10)
    commits.load(ACCOUNT, 10)
    assert (10, Point()) == (commits.reserved(ACCOUNT), commits.point(ACCOUNT))
    for _ in range(2):
        commits.load(ACCOUNT, 25, 20)
    assert Point(seq=25, live=20) == commits.point(ACCOUNT)
    assert 26 == commit(commits)
    with pytest.raises(Conflict, match="were not loaded"):
        commits.load(ACCOUNT, 30)


def test_purged(directory: Directory) -> None:
    """The greatest bound counts."""
    commits = directory.commits()
    commit(commits, 9)
    for upto in (4, 3):
        commits.purged(ACCOUNT, upto)
    assert Point(seq=9, live=9, purged=4) == commits.point(ACCOUNT)


def test_the_name_stays(place: Place) -> None:
    """Every node calls the store by the same name, and no other store has it."""
    with place.open() as one:
        name = one.commits().name()
    with place.open() as other:
        assert (name, 32) == (other.commits().name(), len(name))
