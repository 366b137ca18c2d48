"""A store's answers against a plain-Python reference, for every filter and combination, and two accounts apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records import codec
from calldex.records.fields import FILTER, Op
from calldex.records.record import Cdr, from_ms, time_uuid, to_ms
from calldex.search.query import Query, parse
from calldex.store import Position, Span, Store
from calldex.store.sql import Dialect, Sql, where
from tests import reference
from tests.engines import answer, put
from tests.examples import examples
from tests.strategies import ZONES, batches, searches


def searched(account_id: int, asked: dict[str, str], zone: str = "UTC") -> Query:
    """The search that parameters mean in an account."""
    return parse(asked.items(), Scope(account_id=account_id, whole=True), zone)[0]


def text(records: list[Cdr]) -> bytes:
    """The JSON of a page."""
    return b"\n".join(map(codec.encode, records))


@pytest.mark.parametrize("name", FILTER)
@settings(max_examples=examples(12), deadline=None)
@given(data=st.data())
def test_every_filter_finds_what_it_says(
    shared: Store, new_account: Callable[[], int], name: str, data: st.DataObject
) -> None:
    """Each filter alone, under each of its names, gives the reference's records, in its order, to the byte."""
    records = data.draw(batches(3, 12))
    account_id = new_account()
    put(shared, records, account_id)
    for asked in data.draw(st.lists(searches(records, (name,)), min_size=1, max_size=6)):
        expected = reference.answer(records, asked)
        assert (len(expected), text(expected)) == answer(shared, searched(account_id, asked))


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), zone=st.sampled_from(ZONES))
def test_filters_combine(shared: Store, new_account: Callable[[], int], data: st.DataObject, zone: str) -> None:
    """Several filters and days, in any zone: each must hold."""
    records = data.draw(batches(2, 20))
    account_id = new_account()
    put(shared, records, account_id)
    for asked in data.draw(st.lists(searches(records), min_size=1, max_size=8)):
        expected = reference.answer(records, asked, zone)
        assert (len(expected), text(expected)) == answer(shared, searched(account_id, asked, zone))


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data(), by_uuid=st.booleans())
def test_slices(shared: Store, new_account: Callable[[], int], data: st.DataObject, by_uuid: bool) -> None:
    """Any slice (behind any record, after any skip, of any size) is that slice of the whole; on both ways to answer:
    a search that names uuids, and one that does not."""
    records = data.draw(batches(1, 20))
    account_id = new_account()
    put(shared, records, account_id)
    asked = {"uuid": ",".join(cdr.uuid for cdr in records)} if by_uuid else {}
    query, whole = searched(account_id, asked), reference.answer(records, {})
    as_of = shared.head(account_id)
    for _ in range(6):
        passed = data.draw(st.integers(0, len(whole)))
        skip, limit = data.draw(st.integers(0, len(whole))), data.draw(st.integers(1, len(whole) + 1))
        after = Position(to_ms(whole[passed - 1].started_at), whole[passed - 1].uuid) if passed else None
        found = shared.slice(query, as_of, limit=limit, total=len(whole), after=after, skip=skip)
        expected = whole[passed + skip : passed + skip + limit]
        last = Position(to_ms(expected[-1].started_at), expected[-1].uuid) if expected else None
        assert (text(expected), len(expected), last) == (found.json, found.count, found.last)


def test_no_filter_is_left_out() -> None:
    """The reference knows every filter that the table has, and no other."""
    related = {name for name, each in FILTER.items() if each.op is Op.CALLED_BACK}
    assert {"callback_state", "callback_state_not"} == related
    assert set(FILTER) == set(reference.MEANING) | related


def leaks(store: Store, mine: int, other: int, records: list[Cdr], asked: list[dict[str, str]]) -> Iterator[str]:
    """What one account can see of another: both hold records of the same uuids, told apart by a comment."""
    # The asker's come last: the others' lie before the commit that is asked as of, however commits are counted.
    for account_id, mark in ((other, "of the others"), (other, "of the others, changed"), (mine, "of the asker")):
        put(store, [msgspec.structs.replace(cdr, comment=mark) for cdr in records], account_id)
    as_of = store.head(mine)
    for each in [{}, *asked]:
        expected = len(reference.answer(records, each))
        total, json = answer(store, searched(mine, each), as_of)
        if b"of the others" in json or (expected, expected) != (total, json.count(b"of the asker")):
            yield f"{each}: {total} records instead of {expected}"
        nothing = msgspec.structs.replace(searched(mine, each), scope=Scope(account_id=mine, whole=False))
        if (0, b"") != answer(store, nothing, as_of):
            yield f"{each}: something for one who may see nothing"
    for cdr in records:
        found, history = store.get(mine, cdr.uuid), store.history(mine, cdr.uuid)
        if found is None or b"of the asker" not in (found.json or b"") or [found] != history:
            yield f"look-up of {cdr.uuid}"


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_nothing_crosses_between_accounts(shared: Store, new_account: Callable[[], int], data: st.DataObject) -> None:
    """Two accounts with records of the same uuids, numbers and ids: each sees its own, whatever it asks."""
    records = data.draw(batches(1, 8))
    asked = data.draw(st.lists(searches(records), max_size=5))
    assert [] == list(leaks(shared, new_account(), new_account(), records, asked))


@pytest.mark.parametrize(
    ("term", "instead", "dropped"),
    [
        ("account_id = ? AND (?)", "TRUE", slice(0, 2)),
        ("account_id = ? AND (?)", "?", slice(0, 1)),
        ("account_id = ? AND (?)", "account_id = ?", slice(1, 2)),
    ],
    ids=["no scope", "no account", "no rows granted"],
)
@pytest.mark.parametrize("asked", [{}, {"disposition": "answered"}, {"uuid": time_uuid(0, "a")}])
def test_the_scope_in_the_sql_is_what_keeps_accounts_apart(
    *,
    shared: Store,
    new_account: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    term: str,
    instead: str,
    dropped: slice,
    asked: dict[str, str],
) -> None:
    """Without the scope's term, or a part of it, what the test above looks for is found: it would fail."""

    def open_where(query: Query, as_of: int, dialect: Dialect, void: Sequence[Span] = ()) -> Sql:
        right = where(query, as_of, dialect, void)
        assert right.text.startswith(term)
        parameters = list(right.parameters)
        del parameters[dropped]
        return Sql(right.text.replace(term, instead, 1), tuple(parameters))

    for name, module in list(sys.modules.items()):
        if name.startswith("calldex.store.") and getattr(module, "where", None) is where:
            monkeypatch.setattr(module, "where", open_where)
    record = Cdr(
        uuid=time_uuid(0, "a"), type="inbound", disposition="answered", started_at=from_ms(10**12), duration_s=1
    )
    found = list(leaks(shared, new_account(), new_account(), [record], [asked]))
    assert found
    assert any(line.startswith(str(asked)) for line in found)


def test_values_never_become_sql(shared: Store, new_account: Callable[[], int]) -> None:
    """No value of a search can be found in the text of its SQL; text that looks like SQL is a value like any other."""
    hostile = "x' OR 1=1 --"
    account_id = new_account()
    records = [
        Cdr(
            uuid=time_uuid(n, "a"),
            type="inbound",
            disposition="answered",
            started_at=from_ms(n),
            duration_s=1,
            from_=text_,
            wrapup_code=text_,
        )
        for n, text_ in enumerate((hostile, "%", "_", "' --"))
    ]
    put(shared, records, account_id)
    for name in ("cli", "wildcard_cli", "wrapup_codes"):
        assert (1, text(records[:1])) == answer(shared, searched(account_id, {name: hostile}))
        with_uuids = {name: hostile, "uuid": ",".join(cdr.uuid for cdr in records)}
        assert (1, text(records[:1])) == answer(shared, searched(account_id, with_uuids))
    assert (1, text(records[1:2])) == answer(shared, searched(account_id, {"wildcard_cli": "%"}))
    assert (1, text(records[2:3])) == answer(shared, searched(account_id, {"cli": "_"}))
