"""Combinations: how a reach is told by numbers instead of ids, when there are too many, and when one is wrong."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records.fields import id_set
from calldex.records.record import Cdr, Team, from_ms, time_uuid
from calldex.search.query import Query
from calldex.store.embedded import COLUMNS_FILE, combinations
from calldex.store.embedded.combinations import NO_COMBINATION, Combination, Combinations
from tests.engines import answer, disagreeing, embedded, put
from tests.store.test_reach import granted

IDS = st.integers(1, 4)
COMBINED = st.tuples(st.just(0) | IDS, st.just(0) | IDS, st.just(0) | IDS, st.sets(IDS, max_size=3)).map(
    lambda drawn: (drawn[0], drawn[1], drawn[2], id_set(tuple(drawn[3])) if drawn[3] else "")
)
LIST = st.sets(IDS, max_size=2).map(lambda ids: tuple(sorted(ids)))
SCOPE = st.builds(Scope, account_id=st.just(1), teams=LIST, queues=LIST, campaigns=LIST, agents=LIST)


def reached(known: Combinations, scope: Scope) -> list[int]:
    """The numbers whose bits are set."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(known.within(scope), np.uint8))).tolist()


def within(combination: Combination, scope: Scope) -> bool:
    """Whether a scope's lists hold a combination, in words of its own."""
    agent, queue, campaign, teams = combination
    return (
        agent in scope.agents
        or queue in scope.queues
        or campaign in scope.campaigns
        or any(f",{team}," in teams for team in scope.teams)
    )


@given(st.lists(st.lists(COMBINED, max_size=6), min_size=1, max_size=4), st.lists(SCOPE, min_size=1, max_size=3))
def test_bits_are_those_of_the_parties_within(batches: list[list[Combination]], scopes: list[Scope]) -> None:
    """However combinations come and whenever a scope is asked for: its bits are the numbers of those that it holds, and
    what was known before goes on with the same numbers."""
    known, numbers = Combinations(()), dict[Combination, int]()
    for batch in batches:
        before = len(known)
        numbers |= zip(batch, known.numbered(batch), strict=True)
        assert len(numbers) == len(known) == max(numbers.values(), default=0)
        assert {numbers[combination] for combination in numbers if numbers[combination] > before} == {
            number for number, *_ in known.since(before)
        }
        for scope in scopes:
            assert sorted(numbers[combination] for combination in numbers if within(combination, scope)) == reached(
                known, scope
            )
    again = Combinations(each[1:] for each in known.since(0))
    assert [numbers[combination] for combination in numbers] == again.numbered(list(numbers))


RECORDS = [
    Cdr(
        uuid=time_uuid(number, "combinations"),
        type="inbound",
        disposition="answered",
        started_at=from_ms(10**12 + number),
        duration_s=1,
        agent_id=agent,
        queue_id=queue,
        teams=teams,
    )
    for number, (agent, queue, teams) in enumerate(product((None, 1, 2), (None, 1, 3), ((), (Team(1), Team(12)))))
]
SCOPES = (
    Scope(account_id=1),
    Scope(account_id=1, whole=True),
    Scope(account_id=1, agents=(1,)),
    Scope(account_id=1, queues=(3,), teams=(2, 12)),
)


@pytest.mark.parametrize("most", [1, 5, 1000])
def test_more_parties_than_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Beyond the limit memory does not grow, and answers are the same; after the store is opened again as well."""
    monkeypatch.setattr(combinations, "MOST", most)
    for upto in (8, len(RECORDS), len(RECORDS)):
        with closing(embedded(tmp_path)) as store:
            put(store, RECORDS[:upto])
            for scope in SCOPES:
                assert sum(granted(cdr, scope) for cdr in RECORDS[:upto]) == answer(store, Query(scope=scope))[0]
            assert [] == disagreeing(store)
        with duckdb.connect(str(tmp_path / COLUMNS_FILE), read_only=True) as file:
            assert [(min(most, upto),)] == file.execute("SELECT count(*) FROM party").fetchall()


@pytest.mark.parametrize("wrong", [NO_COMBINATION, 3])
def test_a_wrong_combination_is_noticed(tmp_path: Path, wrong: int) -> None:
    """A number in the columns that stands for something else than the record's own ids is found by `check`."""
    with closing(embedded(tmp_path)) as store:
        put(store, RECORDS)
        assert [] == disagreeing(store)
    with duckdb.connect(str(tmp_path / COLUMNS_FILE)) as file:
        file.execute(
            "UPDATE cdr SET party = ? WHERE seq = (SELECT min(seq) FROM cdr WHERE party <> ?)",
            [wrong, wrong],
        )
    with closing(embedded(tmp_path)) as store:
        store.settle()
        assert 1 == len(disagreeing(store))
