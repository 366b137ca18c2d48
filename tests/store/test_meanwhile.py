"""What happens in the columns between the parts of one answer: it is as if it had not."""

# ruff: noqa: SLF001 - between two of their own steps

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from calldex.access import Scope
from calldex.records.record import Cdr, Team, from_ms, time_uuid
from calldex.search.query import parse
from calldex.store.embedded import EmbeddedStore
from calldex.store.embedded.columns import Columns
from calldex.store.sql import Sql
from tests.engines import embedded, put


def call(n: int, duration_s: int, team: int = 1) -> Cdr:
    """The n-th call."""
    return Cdr(
        uuid=time_uuid(n, "meanwhile"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(1_750_000_000_000 + n),
        duration_s=duration_s,
        from_=f"44770090{n:04d}",
        teams=(Team(team),),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """One that keeps superseded versions for no time, with six calls."""
    with closing(embedded(tmp_path, 0)) as opened:
        put(opened, [call(n, 5) for n in range(6)])
        opened.settle()
        yield opened


def once_before_counting(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Do something when the engine is asked for a number the next time, before it answers."""
    count, todo = Columns._count_of, [work]

    def interrupted(columns: Columns, condition: Sql) -> int:
        while todo:
            todo.pop()()
        return count(columns, condition)

    monkeypatch.setattr(Columns, "_count_of", interrupted)


def test_what_ended_is_purged_while_it_is_counted(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is worked out of the one before it does without what is gone."""
    longer = parse({"min_duration": "4"}.items(), Scope(account_id=1, whole=True), "UTC")[0]
    assert 6 == store.total(longer, store.head(1))
    put(store, [call(n, 6) for n in range(3)])
    store.settle()
    purged: list[int] = []
    once_before_counting(monkeypatch, lambda: purged.append(store.purge(int(time.time() * 1000) + 1000)))
    assert (6, [3]) == (store.total(longer, store.head(1)), purged)


def test_what_ended_is_taken_off_a_number_that_was_counted(store: EmbeddedStore) -> None:
    """A number is worked out of the one before it: what has come is added, what is not so any more is not counted."""
    longer = parse({"min_duration": "4"}.items(), Scope(account_id=1, whole=True), "UTC")[0]
    assert 6 == store.total(longer, store.head(1))
    put(store, [call(0, 3), call(1, 3), call(2, 7), call(10, 8)])
    store.settle()
    assert 5 == store.total(longer, store.head(1))


def test_an_unknown_combination_comes_while_a_reach_is_counted(store: EmbeddedStore) -> None:
    """The bits of a reach say nothing of it, whichever condition of a search the engine looks at first."""
    columns = store._follower._ready(0)
    reach = columns._within(Scope(account_id=1, teams=(1,), whole=False))
    put(store, [call(100 + n, 5, team=100 + n) for n in range(40)])
    store.settle()
    assert 6 == columns._count_of(reach)
