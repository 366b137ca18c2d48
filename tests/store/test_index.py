"""The index: searches of some combinations or numbers are answered from memory, and no differently."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.records import codec
from calldex.records.fields import prefix_key
from calldex.records.record import Cdr, Team, from_ms
from calldex.search.query import Query, parse
from calldex.store.embedded import EmbeddedStore, index, parts, segment
from calldex.store.embedded.index import is_narrow
from tests import reference
from tests.engines import LONG_S, answer, disagreeing, embedded, erase, put
from tests.examples import examples

WHOLE = Scope(account_id=1, whole=True)
NUMBERS = (
    "447700900001",
    "447700900002",
    "4477",
    "44770",
    "anonymous",
    "447700900001;ext=5",
    "4" * 19,
    "4" * 18,
    None,
    "Lobby",
    "LOBBY",
    "447700900001;EXT=5",
)
PARTS = st.sampled_from(("4477", "7", "0001", "900001", "4" * 17, "4" * 18, "4" * 19, "9", "obby", "LOB", "5", "7009"))
UUIDS = [f"01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b{at:02d}" for at in range(12)]


def records() -> st.SearchStrategy[Cdr]:
    """Few combinations, numbers and instants, so that many records share them; also of before 1970."""
    return st.builds(
        Cdr,
        uuid=st.sampled_from(UUIDS),
        type=st.sampled_from(("inbound", "outbound")),
        disposition=st.sampled_from(("answered", "abandoned")),
        started_at=st.sampled_from((-86_400_001, 0, 1, 2, 10**12)).map(from_ms),
        duration_s=st.integers(0, 3),
        agent_id=st.sampled_from((None, 1, 2)),
        queue_id=st.sampled_from((None, 1, 2)),
        teams=st.sampled_from(((), (Team(1, "a"),), (Team(1, "a"), Team(12, "b")))),
        wrapup_code=st.sampled_from((None, "0100", "0200")),
        from_=st.sampled_from(NUMBERS),
        to=st.sampled_from(NUMBERS),
    )


def narrow() -> st.SearchStrategy[tuple[dict[str, str], Scope]]:
    """Searches that an index answers: parameters and a scope."""
    ids = st.sampled_from(("1", "2", "12", "1,12", "7"))
    asked = st.fixed_dictionaries(
        {},
        optional={
            "agent_ids": ids,
            "queue_ids": ids,
            "team_ids": ids,
            "from": st.sampled_from(("447700900001", "4477", "4" * 18)),
            "cli": st.sampled_from(("4477", "44", "447700900001")),
            "number": st.sampled_from(("4477", "9")),
            "wildcard_cli": PARTS,
            "wildcard_number": PARTS,
            "party": PARTS,
            "type": st.just("inbound"),
            "disposition": st.just("answered,abandoned"),
            "wrapup_codes": st.sampled_from(("0100", "0200,0300", "0300")),
            "min_duration": st.sampled_from(("0", "1", "2147483000")),
            "max_duration": st.sampled_from(("2", "3")),
            "start_date": st.just("1970-01-01"),
            "end_date": st.sampled_from(("1970-01-01", "2001-09-08")),
        },
    )
    reach = st.builds(
        Scope,
        account_id=st.just(1),
        whole=st.booleans(),
        agents=st.sampled_from(((), (1,), (1, 2))),
        teams=st.sampled_from(((), (12,))),
    )
    return st.tuples(asked, reach).filter(lambda each: is_narrow(meant(*each)))


def meant(given: dict[str, str], scope: Scope) -> Query:
    """The search that is meant."""
    return parse(given.items(), scope, "UTC")[0]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of few versions, so that there are many, and they are merged; times are found in both ways."""
    monkeypatch.setattr(index, "SEGMENT", 8)
    monkeypatch.setattr(index, "_WAITING", 3)
    monkeypatch.setattr(segment, "_HALVED", 1)


def indexed(store: EmbeddedStore) -> index.Index:
    """The index of a store, when it has all versions."""
    made = store.index()
    while not made.complete:
        time.sleep(0.001)
    return made


def found(store: EmbeddedStore, query: Query, as_of: int) -> list[bytes]:
    """What a search finds, by the index, page after page of two."""
    made = indexed(store)
    total = store.total(query, as_of)
    assert made.count(query, as_of) == total
    parts: list[bytes] = []
    after = None
    while len(parts) * 2 < total:
        page = store.slice(query, as_of, limit=2, total=total, after=after)
        parts.append(page.json)
        after = page.last
    return parts


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_any_life_of_records(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Records are written, changed, erased, what is superseded dropped, the store opened again, in any order: every
    search is answered as the reference does, as of each commit that can still be asked for, page after page, and
    `check` finds nothing."""
    folder = tmp_path_factory.mktemp("life")
    live: dict[str, Cdr] = {}
    past: dict[int, dict[str, Cdr]] = {}
    queries = data.draw(st.lists(narrow(), min_size=1, max_size=3))
    store = embedded(folder, 0)
    try:
        if data.draw(st.booleans()):
            indexed(store)
        for step in data.draw(st.lists(st.sampled_from("wwwwecpo"), min_size=1, max_size=10)):
            match step:
                case "w":
                    written = data.draw(st.lists(records(), min_size=1, max_size=8))
                    put(store, written)
                    live |= {cdr.uuid: cdr for cdr in written}
                case "e":
                    erase(store, 1, [uuid := data.draw(st.sampled_from(UUIDS))])
                    live.pop(uuid, None)
                case "p":
                    store.purge(2**60)
                    past = {as_of: kept for as_of, kept in past.items() if as_of >= store.purged_upto(1)}
                case "o":
                    store.close()
                    store = embedded(folder, 0)
                case _:
                    assert [] == disagreeing(store)
            past[store.head(1)] = dict(live)
        for as_of, kept in past.items():
            for asked, scope in queries:
                visible = [cdr for cdr in kept.values() if scope.admits(cdr)]
                expected = list(map(codec.encode, reference.answer(visible, asked)))
                pages = [b"\n".join(expected[at : at + 2]) for at in range(0, len(expected), 2)]
                assert pages == found(store, meant(asked, scope), as_of)
        indexed(store)
        assert [] == disagreeing(store)
    finally:
        store.close()


def lasting(number: int, seconds: int = 5) -> Cdr:
    """A record of agent 1."""
    return Cdr(
        uuid=f"01980c1e-6f3a-8d21-9a3b-5c1f0e{number:06d}",
        type="inbound",
        disposition="answered",
        started_at=from_ms(10**12 + number),
        duration_s=seconds,
        agent_id=1,
    )


OWN = parse([("agent_ids", "1")], WHOLE, "UTC")[0]


@pytest.mark.slow
def test_without_memory_the_columns_answer(tmp_path: Path) -> None:
    """An index that needs more than it may have is let go, while it is made and later; answers are the same."""
    for index_mb, first in ((0, 10), (1, 9000), (1, 10)):
        folder = tmp_path / f"{index_mb} {first}"
        folder.mkdir()
        with closing(
            EmbeddedStore(folder, memory_mb=128, index_mb=index_mb, threads=1, timeout_s=60, superseded_kept_s=LONG_S)
        ) as store:
            put(store, list(map(lasting, range(first))))
            made = store.index()
            made.most_bytes = min(made.most_bytes, 300_000)
            assert first == answer(store, OWN)[0]
            for at in range(first, 30_000, 3000):
                put(store, list(map(lasting, range(at, at + 3000))))
            deadline = time.monotonic() + 60
            while not made.given_up and time.monotonic() < deadline:
                time.sleep(0.01)
            assert made.given_up
            assert made.count(OWN, store.head(1)) is None
            assert store.total(OWN, store.head(1)) >= 30_000


def test_what_check_finds_in_an_index(tmp_path: Path) -> None:
    """One value that is not the table's is told with its day, in whichever column, and the index is made again."""
    with closing(embedded(tmp_path)) as store:
        named = {"from_": "447700900001", "to": "44", "disposition": "answered"}
        put(store, [msgspec.structs.replace(lasting(at), **named, wrapup_code=f"{at}") for at in range(5)])
        for name in ("seqs", "started_ms", "combinations", *segment.KEPT, "caller", "by_number", "digits"):
            made = indexed(store)
            assert [] == disagreeing(store)
            (own,) = made.segments(1)
            beside = {"seqs": own.seqs, "started_ms": own.started_ms, "combinations": own.combinations}
            beside |= {"by_number": own.by_number["callee"], "digits": own.parts["callee"].digits[0]}
            column = {**beside, **own.kept}[name]
            column[0] = column[1] if name == "by_number" else (int(column[0]) + 1) % 5
            assert ["1 2001-09-09: 5 5"] == disagreeing(store) or name == "started_ms", name
            assert store.index() is not made


def test_many_records_of_one_instant(tmp_path: Path) -> None:
    """Where too many records began at once for their uuids to be looked up, the columns give the page."""
    with closing(embedded(tmp_path)) as store:
        same = [msgspec.structs.replace(lasting(at), started_at=from_ms(10**12)) for at in range(6000)]
        put(store, same)
        made = indexed(store)
        head = store.head(1)
        assert 6000 == made.count(OWN, head)
        assert None is made.newest(OWN, head, start_ms=None, end_ms=None, after=None, most=10)
        expected = b"\n".join(map(codec.encode, reference.answer(same, {})[:10]))
        assert expected == store.slice(OWN, head, limit=10, total=6000).json


def test_keys_tell_numbers_from_what_only_begins_so() -> None:
    """The key of a number is even if the number is all there is; else it is the odd one behind."""
    texts = ["44", "44;x", "4" * 18, "4" * 19, "", "anonymous"]
    made = index.keys_of(np.array([prefix_key(text) for text in texts]), texts)
    assert [0, 1, 0, 1, 1, 1] == [int(key) % 2 for key in made]


@pytest.mark.parametrize("halved", [0, 1 << 60])
def test_times_are_found_in_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halved: int) -> None:
    """By halving in each combination, and by a look at each start: the same records lie within a time."""
    monkeypatch.setattr(segment, "_HALVED", halved)
    day = 86_400_000
    with closing(embedded(tmp_path)) as store:
        put(
            store,
            [
                msgspec.structs.replace(lasting(at), started_at=from_ms(at * day // 4), agent_id=at % 3 + 1)
                for at in range(60)
            ],
        )
        made, head = indexed(store), store.head(1)
        for first in range(1, 13):
            given = {"agent_ids": "1,2", "start_date": f"1970-01-{first:02}", "end_date": "1970-01-12"}
            query = meant(given, WHOLE)
            right = [at for at in range(60) if (first - 1) * 4 <= at < 48 and at % 3 < 2]
            assert len(right) == made.count(query, head)
            page = made.newest(query, head, start_ms=query.start_ms, end_ms=query.end_ms, after=None, most=60)
            assert page is not None
            assert [at + 1 for at in reversed(right)] == page.tolist()


def test_teams_and_queues_lie_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many agents answer for them, in whatever order they first did: so a search of one looks at few
    stretches."""
    monkeypatch.setattr(index, "_MOST_STRETCHES", 2)
    with closing(embedded(tmp_path)) as store:
        of = [{"agent_id": at + 1, "queue_id": at % 3 + 1, "teams": (Team(at % 2 + 1),)} for at in range(60)]
        put(store, [msgspec.structs.replace(lasting(at), **each) for at, each in enumerate(of)])
        made, head = indexed(store), store.head(1)
        assert [30, 20] == [made.count(meant(given, WHOLE), head) for given in ({"team_ids": "1"}, {"queue_ids": "2"})]


def part(text: str) -> Query:
    """Who called or was called, by a part of the number."""
    return parse([("party", text)], WHOLE, "UTC")[0]


def test_parts_are_found_where_keys_do_not_tell_them(tmp_path: Path) -> None:
    """In words, in any case of their letters, behind the digits that keys know, and in either number."""
    texts = ["Lobby", "447700900001;ext=77", "44" * 10, "4477", None, "lobby 2"]
    with closing(embedded(tmp_path)) as store:
        put(store, [msgspec.structs.replace(lasting(at), from_=text, to="901") for at, text in enumerate(texts)])
        made, head = indexed(store), store.head(1)
        asked = {
            "lobby": 2,
            "OBBY": 2,
            "77": 2,
            "ext=77": 1,
            "4" * 19: 1,
            "4" * 20: 1,
            "90": 6,
            "9009": 0,
            "1": 6,
            "2": 1,
        }
        assert asked == {text: made.count(part(text), head) for text in asked}
        erase(store, 1, [lasting(1).uuid])
        assert [3, 1, 2] == [
            made.count(part("4"), head),
            made.count(part("77"), store.head(1)),
            made.count(part("77"), head),
        ]
        assert [] == disagreeing(store)


def test_parts_beside_other_conditions(tmp_path: Path) -> None:
    """Whichever of them a segment is looked at by, the others hold as well."""
    with closing(embedded(tmp_path)) as store:
        made_of = [(f"44{at % 7}", f"55{at % 5}", at % 3 + 1) for at in range(210)]
        put(
            store,
            [
                msgspec.structs.replace(lasting(at), from_=caller, to=callee, agent_id=agent)
                for at, (caller, callee, agent) in enumerate(made_of)
            ],
        )
        made = indexed(store)
        for given in (
            {"wildcard_cli": "46", "wildcard_number": "52"},
            {"wildcard_cli": "46", "cli": "44"},
            {"wildcard_cli": "4", "cli": "446"},
            {"wildcard_cli": "46", "agent_ids": "1"},
            {"wildcard_cli": "4", "wildcard_number": "54", "agent_ids": "2", "max_duration": "9"},
            {"party": "5", "wildcard_number": "53", "end_date": "2001-09-09"},
        ):
            query = meant(given, WHOLE)
            right = [
                agent
                for caller, callee, agent in made_of
                if given.get("wildcard_cli", "") in caller
                and given.get("wildcard_number", "") in callee
                and caller.startswith(given.get("cli", ""))
                and given.get("agent_ids", f"{agent}") == f"{agent}"
            ]
            assert len(right) == made.count(query, store.head(1)), given
            page = made.newest(query, store.head(1), start_ms=None, end_ms=None, after=None, most=300)
            assert page is not None
            assert len(right) == len(page)


def test_more_texts_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the columns tell which numbers contain something, as nobody else can; all else the index tells as before."""
    monkeypatch.setattr(parts, "_MOST_TEXTS", 2)
    with closing(embedded(tmp_path)) as store:
        put(store, [msgspec.structs.replace(lasting(at), from_=f"desk {'abc'[at]}") for at in range(2)])
        made = indexed(store)
        assert 2 == made.count(part("desk"), store.head(1))
        put(store, [msgspec.structs.replace(lasting(2), from_="desk c")])
        assert 3 == made.count(OWN, store.head(1))
        assert None is made.count(part("desk"), store.head(1))
        assert 3 == answer(store, part("desk"))[0]
        assert [] == disagreeing(store)
        assert store.index() is made
