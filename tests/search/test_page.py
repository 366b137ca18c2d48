"""Which page is meant, and which tokens are refused. The walks themselves are in `tests/store/test_walks.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import pytest

from calldex.access import Scope
from calldex.errors import BadParameters, BadToken, ScopeChanged, TokenExpired
from calldex.records.record import Cdr, from_ms, time_uuid
from calldex.search.page import Page, Pager
from calldex.search.query import PageRequest, Query, parse
from calldex.search.token import KEY_BYTES, Sealer, Token
from calldex.store import Store
from tests.engines import embedded, erase, everything, put

NOW: Final = 1_780_000_000_000
LIFE_MS: Final = 2 * 86_400_000
SEALER: Final = Sealer(bytes(KEY_BYTES), "a store")


def records(count: int) -> list[Cdr]:
    """Some records, half of them answered."""
    return [
        Cdr(
            uuid=time_uuid(n, "page"),
            type="inbound",
            disposition="answered" if n % 2 else "missed",
            started_at=from_ms(n * 1000),
            duration_s=n,
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with 30 records in each of two accounts."""
    with closing(embedded(tmp_path_factory.mktemp("page"))) as opened:
        for account_id in (1, 2):
            put(opened, records(30), account_id)
        opened.settle()
        yield opened


def searched(**asked: str) -> Query:
    """A search in the first account."""
    return parse(asked.items(), Scope(account_id=1, whole=True), "UTC")[0]


def read(store: Store, query: Query, request: PageRequest, now_ms: int = NOW) -> Page:
    """The page that a request gets."""
    pager = Pager(store, SEALER, LIFE_MS)
    return pager.read(query, pager.place(query, request, now_ms), request.per_page)


def test_a_token_of_another_account(store: Store) -> None:
    """It is refused, even for the same search."""
    token = read(store, everything(1), PageRequest(1, 5)).token
    with pytest.raises(BadToken, match="another account"):
        read(store, everything(2), PageRequest(1, 5, token))


OTHERS: Final[dict[str, dict[str, str]]] = {
    "no filter": {},
    "other value": {"disposition": "missed"},
    "one more value": {"disposition": "answered,missed"},
    "one more filter": {"disposition": "answered", "min_duration": "0"},
    "other filter of the same column": {"type": "inbound"},
    "days": {"disposition": "answered", "start_date": "1970-01-01"},
    "end": {"disposition": "answered", "end_date": "1970-01-01"},
    "uuid": {"disposition": "answered", "uuid": time_uuid(1, "page")},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_token_of_another_search(store: Store, other: dict[str, str]) -> None:
    """A token goes with the filters of its search, exactly; in either direction, and never falls back to a new one."""
    mine = searched(disposition="answered")
    for one, two in ((mine, searched(**other)), (searched(**other), mine)):
        token = SEALER.seal(msgspec.structs.replace(token_of(store, mine), filters=one.fingerprint()))
        with pytest.raises(BadToken, match="other filters"):
            read(store, two, PageRequest(1, 5, token))


def token_of(store: Store, query: Query) -> Token:
    """What the token of a search's first page holds."""
    return SEALER.unseal(str(read(store, query, PageRequest(1, 5)).token))


def test_the_same_search_in_other_words(store: Store) -> None:
    """Spelling, order and aliases of the values make no other search; neither does the size of pages."""
    token = read(store, searched(disposition="answered,missed", cli=""), PageRequest(1, 5)).token
    again = searched(disposition="MISSED , answered")
    assert 7 == read(store, again, PageRequest(2, 7, token)).count


def test_swapped_columns_are_another_search() -> None:
    """The same values in another filter, and one bound in place of the other, are told apart."""
    prints = [
        searched(**asked).fingerprint()
        for asked in (
            {"cli": "1", "number": "2"},
            {"cli": "2", "number": "1"},
            {"wildcard_cli": "1", "number": "2"},
            {"agent_ids": "1,2"},
            {"queue_ids": "1,2"},
            {"agent_ids": "12"},
            {"min_duration": "1"},
            {"max_duration": "1"},
            {"start_date": "2026-01-01"},
            {"end_date": "2025-12-31"},
            {"end_date": "2026-01-01"},
            {"start_date": "2026-01-01", "timezone": "Asia/Kathmandu"},
        )
    ]
    assert len(prints) == len(set(prints))


def test_the_scope_changed(store: Store) -> None:
    """Rights that changed since the first page: 409, and nothing is shown."""
    query = everything()
    token = read(store, query, PageRequest(1, 5)).token
    with pytest.raises(ScopeChanged):
        read(store, msgspec.structs.replace(query, scope=Scope(account_id=1, whole=False)), PageRequest(1, 5, token))


@pytest.mark.parametrize(
    ("age_ms", "ends"),
    [(0, False), (LIFE_MS, False), (LIFE_MS + 1, True), (-1, False), (10 * LIFE_MS, True)],
)
def test_tokens_end(store: Store, age_ms: int, ends: bool) -> None:
    """A walk may go on for as long as tokens live, counted from its first page; a clock that goes back ends none."""
    token = read(store, everything(), PageRequest(1, 5)).token
    if ends:
        with pytest.raises(TokenExpired, match="older than 2 days"):
            read(store, everything(), PageRequest(1, 5, token), NOW + age_ms)
    else:
        second = read(store, everything(), PageRequest(1, 5, token), NOW + age_ms)
        with pytest.raises(TokenExpired):
            read(store, everything(), PageRequest(1, 5, second.token), NOW + LIFE_MS + 1)


@pytest.mark.parametrize("page", [2, 3])
def test_no_way_back(store: Store, page: int) -> None:
    """A page at or before the one that issued the token is refused with what is valid."""
    token = read(store, everything(), PageRequest(3, 5)).token
    with pytest.raises(BadParameters) as refused:
        read(store, everything(), PageRequest(page, 5, token))
    assert [("page", str(page), "1, or 4 and above")] == [
        (problem.parameter, problem.given, problem.valid) for problem in refused.value.problems
    ]


@pytest.mark.parametrize("page", [1, 4])
def test_the_next_page_by_either_number(store: Store, page: int) -> None:
    """With the token of page 3, 1 and 4 are the same page."""
    token = read(store, everything(), PageRequest(3, 5)).token
    found = read(store, everything(), PageRequest(page, 5, token))
    assert [14, 13, 12, 11, 10] == [each["duration_s"] for each in msgspec.json.decode(b"[" + found.json + b"]")]


def test_a_token_counts_what_was_skipped(store: Store) -> None:
    """What lies behind a page is what was passed over to reach it, and the page."""
    token = read(store, everything(), PageRequest(3, 5)).token
    assert token is not None
    assert (3, 15) == (SEALER.unseal(token).page, SEALER.unseal(token).passed)


def test_behind_the_end(store: Store) -> None:
    """A page behind the last one is empty, has the total, and no token."""
    token = read(store, everything(), PageRequest(1, 5)).token
    for request in (PageRequest(7, 5), PageRequest(7, 5, token), PageRequest(10**9, 10_000, token)):
        assert Page(b"", 0, 30, None) == read(store, everything(), request)


def test_nothing_for_nobody(store: Store) -> None:
    """An empty scope sees an empty page with the total 0."""
    nobody = Query(scope=Scope(account_id=1, whole=False))
    assert Page(b"", 0, 0, None) == read(store, nobody, PageRequest(1, 5))


def test_fingerprints_of_places(store: Store) -> None:
    """The entity tag of a page is the same for the same content, and another as soon as anything may differ."""
    pager = Pager(store, SEALER, LIFE_MS)
    token = read(store, everything(), PageRequest(1, 5)).token
    held = token_of(store, everything())
    counted_otherwise = SEALER.seal(msgspec.structs.replace(held, total=held.total + 1))
    asked = [
        (everything(), PageRequest(1, 5)),
        (everything(), PageRequest(1, 6)),
        (everything(), PageRequest(2, 5)),
        (everything(), PageRequest(1, 5, token)),
        (everything(), PageRequest(3, 5, token)),
        (everything(), PageRequest(1, 5, counted_otherwise)),
        (searched(min_duration="0"), PageRequest(1, 5)),
        (everything(2), PageRequest(1, 5)),
        (Query(scope=Scope(account_id=1, whole=False)), PageRequest(1, 5)),
    ]

    def tags() -> list[str]:
        return [pager.place(query, request, NOW).fingerprint(query, request.per_page) for query, request in asked]

    assert len(asked) == len(set(tags()))
    assert tags() == tags()


def test_a_change_is_another_entity(tmp_path: Path) -> None:
    """Every change of an account changes the tag of its first page; one of another account does not."""
    with closing(embedded(tmp_path)) as store:
        store.settle()
        pager, query = Pager(store, SEALER, LIFE_MS), everything()
        changes: list[Callable[[], object]] = [
            lambda: put(store, records(3)),
            lambda: put(store, [msgspec.structs.replace(records(1)[0], comment="b")]),
            lambda: erase(store, 1, [records(1)[0].uuid]),
        ]
        tags = set()
        for change in changes:
            change()
            tags.add(pager.place(query, PageRequest(1, 5), NOW).fingerprint(query, 5))
        put(store, records(4), 2)
        tags.add(pager.place(query, PageRequest(1, 5), NOW).fingerprint(query, 5))
        assert 3 == len(tags)


def test_a_walk_over_what_was_purged(tmp_path: Path) -> None:
    """When versions that a token's walk would see are gone, it is refused: never a page with holes. New walks of the
    account go on, and so do those of others."""
    with closing(embedded(tmp_path, 0)) as store:
        store.settle()
        for account_id in (1, 2):
            put(store, records(10), account_id)
        tokens = {account_id: read(store, everything(account_id), PageRequest(1, 5)).token for account_id in (1, 2)}
        erase(store, 1, [cdr.uuid for cdr in records(3)])
        assert 5 == read(store, everything(), PageRequest(1, 5, tokens[1])).count
        store.purge(int(time.time() * 1000) + 1000)
        with pytest.raises(TokenExpired):
            read(store, everything(), PageRequest(1, 5, tokens[1]))
        assert 5 == read(store, everything(2), PageRequest(1, 5, tokens[2])).count
    with closing(embedded(tmp_path, 0)) as store:
        first = read(store, everything(), PageRequest(1, 5))
        assert (2, 7) == (read(store, everything(), PageRequest(1, 5, first.token)).count, first.total)
