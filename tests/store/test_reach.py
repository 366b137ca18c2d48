"""Rows within a reach: what a store answers for any scope, against looking at each record, while records change."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records import codec
from calldex.records.record import Cdr, from_ms
from calldex.search.query import Query, parse
from calldex.store import Mentioned, Store
from tests import reference
from tests.engines import answer, erase, put
from tests.examples import examples
from tests.strategies import IDS, batches, searches

ID_LISTS = st.lists(IDS, max_size=3, unique=True).map(lambda ids: tuple(sorted(ids)))


def reaches(account_id: int) -> st.SearchStrategy[Scope]:
    """Scopes of an account: some of nothing, some of much."""
    return st.builds(
        Scope,
        account_id=st.just(account_id),
        whole=st.sampled_from((False, False, False, True)),
        teams=ID_LISTS,
        queues=ID_LISTS,
        campaigns=ID_LISTS,
        agents=ID_LISTS,
    )


def granted(cdr: Cdr, scope: Scope) -> bool:
    """Whether a scope grants a record, in words of its own."""
    named = [(cdr.agent_id, scope.agents), (cdr.queue_id, scope.queues), (cdr.campaign_id, scope.campaigns)]
    named += [(team.id, scope.teams) for team in cdr.teams]
    return scope.whole or any(id_ in listed for id_, listed in named)


def mentioned(records: list[Cdr]) -> Mentioned:
    """What records name."""
    return Mentioned(
        agents=frozenset(cdr.agent_id for cdr in records if cdr.agent_id),
        queues=frozenset(cdr.queue_id for cdr in records if cdr.queue_id),
        campaigns=frozenset(cdr.campaign_id for cdr in records if cdr.campaign_id),
        teams=frozenset(team.id for cdr in records for team in cdr.teams),
        wrapup_codes=frozenset(cdr.wrapup_code for cdr in records if cdr.wrapup_code),
    )


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_a_reach_grants_what_it_names(shared: Store, new_account: Callable[[], int], data: st.DataObject) -> None:
    """For any scope and search: the records it grants and no other, in number, bytes, and what they name."""
    account_id = new_account()
    records = data.draw(batches(2, 12))
    put(shared, records, account_id)
    for scope in data.draw(st.lists(reaches(account_id), min_size=1, max_size=4)):
        visible = [cdr for cdr in records if granted(cdr, scope)]
        assert mentioned(visible) == shared.mentioned(scope)
        for asked in [{}, *data.draw(st.lists(searches(records), max_size=2))]:
            expected = reference.answer(visible, asked)
            query = parse(asked.items(), scope, "UTC")[0]
            text = b"\n".join(map(codec.encode, expected))
            assert (len(expected), text) == answer(shared, query)


@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_totals_follow_every_change(shared: Store, new_account: Callable[[], int], data: st.DataObject) -> None:
    """Asked again after each commit, whatever it added, changed (into reach or out of it) or erased, total and names
    are those of the records as they are then."""
    account_id = new_account()
    records = data.draw(batches(2, 10))
    scope = data.draw(reaches(account_id))
    others = data.draw(batches(len(records), len(records)))
    kept: dict[str, Cdr] = {}
    for _ in range(5):
        chosen = data.draw(st.lists(st.integers(0, len(records) - 1), min_size=1, max_size=3, unique=True))
        match data.draw(st.sampled_from(("write", "change", "erase"))):
            case "write":
                written = [records[index] for index in chosen]
            case "change":
                written = [msgspec.structs.replace(others[index], uuid=records[index].uuid) for index in chosen]
            case _:
                written = []
                erase(shared, account_id, [records[index].uuid for index in chosen])
                for index in chosen:
                    kept.pop(records[index].uuid, None)
        if written:
            put(shared, written, account_id)
            kept |= {cdr.uuid: cdr for cdr in written}
        visible = [cdr for cdr in kept.values() if granted(cdr, scope)]
        assert len(visible) == shared.total(Query(scope=scope), shared.head(account_id))
        assert mentioned(visible) == shared.mentioned(scope)
        longer = parse([("min_duration", "50")], scope, "UTC")[0]
        assert sum(cdr.duration_s > 50 for cdr in visible) == shared.total(longer, shared.head(account_id))


def test_a_total_counted_before_versions_were_dropped(forgetful: Store) -> None:
    """What a remembered total needs to be brought up to date may be dropped; then it is counted anew."""
    scope = Scope(account_id=1, whole=True)
    query = parse([("min_duration", "0")], scope, "UTC")[0]
    first = [_lasting(index, 5) for index in range(4)]
    put(forgetful, first)
    assert 4 == forgetful.total(query, forgetful.head(1))
    put(forgetful, [msgspec.structs.replace(cdr, duration_s=0) for cdr in first[:3]])
    put(forgetful, [_lasting(9, 7)])
    assert 3 == forgetful.purge(2**60)
    assert 2 == forgetful.total(query, forgetful.head(1))


def _lasting(number: int, seconds: int) -> Cdr:
    return Cdr(
        uuid=f"01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b{number:02d}",
        type="inbound",
        disposition="answered",
        started_at=from_ms(10**12 + number),
        duration_s=seconds,
    )
