"""Missed and not returned: on every engine what looking at the records one by one gives, walked and grouped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records import codec
from calldex.records.fields import CALLBACK_STATES
from calldex.records.record import Cdr, canonical, from_ms, time_uuid, to_ms
from calldex.search.query import Query, parse
from calldex.store import MissedAsk, MissedLine, Store
from tests import reference
from tests.engines import answer, put
from tests.examples import examples

NUMBERS = ("447700900412", "447700900413", "alice", "Alice", None)
TYPES: tuple[Any, ...] = ("inbound", "inbound", "outbound", "queue_callback", "internal", "whatsapp")
OUTCOMES: tuple[Any, ...] = ("answered", "answered", "missed", "abandoned", "answered_by_VM", "active", "no_answer")
HOURS = ("1", "2", "24")


@st.composite
def calls(draw: st.DrawFn, some: int = 14) -> list[Cdr]:
    """Calls of few numbers within some hours, several at once, of two agents."""
    found = []
    for index in range(draw(st.integers(1, some))):
        at = 10**12 + draw(st.integers(0, 12)) * 1_800_000 + draw(st.sampled_from((0, 0, 1)))
        record = Cdr(
            uuid=time_uuid(at, str(index)),
            type=draw(st.sampled_from(TYPES)),
            disposition=draw(st.sampled_from(OUTCOMES)),
            started_at=from_ms(at),
            from_=draw(st.sampled_from(NUMBERS)),
            to=draw(st.sampled_from(NUMBERS)),
            agent_id=draw(st.sampled_from((1, 2))),
            queue_id=draw(st.sampled_from((None, 7))),
            duration_s=1,
        )
        found.append(canonical(record))
    return found


def searched(account_id: int, asked: dict[str, str], scope: Scope | None = None) -> Query:
    """The search that parameters mean."""
    return parse(asked.items(), scope or Scope(account_id=account_id, whole=True), "UTC")[0]


def text(records: list[Cdr]) -> bytes:
    """The JSON of a page."""
    return b"\n".join(map(codec.encode, records))


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    records=calls(),
    states=st.lists(st.sampled_from(CALLBACK_STATES), min_size=1, max_size=2, unique=True),
    negated=st.booleans(),
    hours=st.sampled_from(HOURS),
    more=st.sampled_from(({}, {"queue_ids": "7"}, {"disposition_not": "missed"})),
    agent=st.sampled_from((0, 1)),
)
def test_states_are_what_looking_at_each_gives(
    *,
    shared: Store,
    new_account: Callable[[], int],
    records: list[Cdr],
    states: list[str],
    negated: bool,
    hours: str,
    more: dict[str, str],
    agent: int,
) -> None:
    """In every list, whatever else is asked, and within the reach of whoever asks: a call that they do not see returns
    nothing. Other filters choose calls that were missed, not those that return them."""
    account_id = new_account()
    put(shared, records, account_id)
    asked = {f"callback_state{'_not' * negated}": ",".join(states), "callback_hours": hours}
    scope = Scope(account_id=account_id, whole=not agent, agents=(agent,) if agent else ())
    seen = [record for record in records if not agent or record.agent_id == agent]
    chosen = reference.answer(seen, asked)
    expected = [record for record in chosen if record in reference.answer(seen, more)]
    query = searched(account_id, asked | more, scope)
    assert (len(expected), text(expected)) == answer(shared, query)
    named = searched(account_id, asked | more | {"uuid": ",".join(record.uuid for record in records)}, scope)
    assert (len(expected), text(expected)) == answer(shared, named)


@settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
@given(records=calls(30), size=st.integers(1, 4), state=st.sampled_from(CALLBACK_STATES))
def test_a_walk_gives_each_once(
    shared: Store, new_account: Callable[[], int], records: list[Cdr], size: int, state: str
) -> None:
    """Page by page, as of the commit at which it began, whatever is written meanwhile."""
    account_id = new_account()
    put(shared, records, account_id)
    query, as_of = searched(account_id, {"callback_state": state, "callback_hours": "2"}), shared.head(account_id)
    expected = reference.answer(records, {"callback_state": state, "callback_hours": "2"})
    total = shared.total(query, as_of)
    later = [
        msgspec.structs.replace(
            record,
            uuid=time_uuid(0, record.uuid),
            disposition="answered",
            started_at=record.started_at + timedelta(0, 1),
        )
        for record in records[:3]
    ]
    put(shared, later, account_id)
    found, after = b"", None
    while (page := shared.slice(query, as_of, limit=size, total=total, after=after)).count:
        found, after = found + b"\n" * bool(found) + page.json, page.last
    assert (len(expected), text(expected)) == (total, found)
    both = [*records, *later]
    expected = reference.answer(both, {"callback_state": state, "callback_hours": "2"})
    assert (len(expected), text(expected)) == answer(shared, query)


def lines_of(records: list[Cdr], hours: int) -> list[tuple[Any, ...]]:
    """The lines, one by one."""
    groups: dict[Any, list[Cdr]] = defaultdict(list)
    for record in filter(reference.is_missed, records):
        state, by = reference.answer_to(record, records, hours)
        who = (record.from_ or "").lower() or record.uuid
        groups[who, state, by.uuid if by else None, to_ms(by.started_at) if by else None].append(record)
    found = []
    for (_, state, by, at), several in groups.items():
        newest = sorted(several, key=lambda record: (record.started_at, record.uuid), reverse=True)
        first, last = to_ms(newest[-1].started_at), to_ms(newest[0].started_at)
        uuids = [record.uuid for record in newest]
        found.append((first, last, len(several), uuids[:20], CALLBACK_STATES.index(state) + 1, at, by))
    return sorted(found, key=lambda line: (line[1], line[3][0]), reverse=True)


@settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
@given(records=calls(24), hours=st.sampled_from((1, 24)), size=st.integers(1, 3))
def test_callers_are_grouped(
    shared: Store, new_account: Callable[[], int], records: list[Cdr], hours: int, size: int
) -> None:
    """A line for each caller and what became of them; those who withheld their number are never one. In pages, by
    state, and by the uuids that they end with."""
    account_id = new_account()
    put(shared, records, account_id)
    as_of, expected = shared.head(account_id), lines_of(records, hours)

    def found(ask: MissedAsk, **asked: str) -> tuple[int, list[tuple[Any, ...]]]:
        query = searched(account_id, asked)
        query = msgspec.structs.replace(query, callback_hours=hours)
        total, lines = shared.missed(query, as_of, ask)
        return total, [msgspec.structs.astuple(line) for line in lines]

    assert expected == found(MissedAsk(limit=100))[1]
    walked: list[tuple[Any, ...]] = []
    after = None
    while (page := found(MissedAsk(limit=size, after=after))[1]) and len(walked) <= len(expected):
        walked += page
        after = MissedLine(*page[-1]).position
    assert expected == walked
    if expected:
        assert (len(expected), expected[-1:]) == found(MissedAsk(limit=1, skip=len(expected) - 1))
    for number, state in enumerate(CALLBACK_STATES, 1):
        some = [line for line in expected if line[4] == number]
        assert some == found(MissedAsk(limit=100), callback_state=state)[1]
        assert [line for line in expected if line[4] != number] == found(
            MissedAsk(limit=100), callback_state_not=state
        )[1]
    ends = [line[3][0] for line in expected[::2]]
    assert expected[::2] == found(MissedAsk(limit=100, last=ends))[1]
    assert expected[1::2] == found(MissedAsk(limit=100, last=ends, without=True))[1]


@pytest.mark.parametrize("hours", [1, 24])
def test_the_hours_end_where_they_say(shared: Store, new_account: Callable[[], int], hours: int) -> None:
    """A return that begins on the last millisecond counts, one that begins later does not, nor one at the same time."""
    at = 10**12
    missed = Cdr(
        uuid=time_uuid(at, "m"), type="inbound", disposition="missed", started_at=from_ms(at), from_="44", duration_s=0
    )
    for late, state in ((0, "open"), (1, "returned"), (hours * 3_600_000, "returned"), (hours * 3_600_000 + 1, "open")):
        account_id = new_account()
        back = Cdr(
            uuid=time_uuid(at, "b"),
            type="outbound",
            disposition="answered",
            started_at=from_ms(at + late),
            to="44",
            duration_s=0,
        )
        put(shared, [missed, back], account_id)
        query = searched(account_id, {"callback_state": state, "callback_hours": str(hours)})
        assert 1 == answer(shared, query)[0], (late, state)
