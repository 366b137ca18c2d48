"""The look-ups that records fill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.directory import Directory, Named, NamedKind, NameEntry, Seen, WrapupCode, lookups, snapshot
from calldex.errors import BadParameters, Conflict, NotFound
from tests.directory.places import Place, SqlitePlace
from tests.examples import examples

NAMES = st.sampled_from(["Ann", "Bob", "Zoë", "\U0001f600", "\uffff"]) | st.none()
SEEN = st.builds(Seen, st.sampled_from(["agent", "queue"]), st.integers(1, 3), NAMES, st.integers(0, 5)) | st.builds(
    Seen, st.just("wrapup_code"), st.sampled_from(["0100", "0200"]), NAMES, st.integers(0, 5)
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=st.lists(st.tuples(st.booleans(), st.lists(SEEN, max_size=6)), max_size=6))
def test_order_does_not_count(directory: Directory, place: Place, batches: list[tuple[bool, list[Seen]]]) -> None:
    """However records are ordered, batched and shared by two processes, the newest, then larger, name stays."""
    account = directory.add_account(f"a{len(directory.accounts())}").id
    with place.open() as other:
        for by_other, batch in batches:
            (other if by_other else directory).note_seen(account, batch)
    directory.flush_seen()
    expected: dict[tuple[str, str], tuple[int, str]] = {}
    for each in [seen for _, batch in batches for seen in batch]:
        key = (each.kind, str(each.key))
        stamp = (-(2**62), "") if each.name is None else (each.at_ms, each.name)
        expected[key] = max(stamp, expected.get(key, stamp))
    rows = place.execute(f"SELECT kind, id, code, seen_ms, name FROM named WHERE account_id = {account}")
    assert {(kind, code or str(id_)): (at, name) for kind, id_, code, at, name in rows} == expected


def test_entries_and_their_order(directory: Directory) -> None:
    """Entries come by name, then id; without a name, an id or code stands for it."""
    main, other = directory.account().id, directory.add_account("other").id
    directory.note_seen(
        main,
        {
            Seen("agent", 2, "Bob", 10),
            Seen("agent", 9, "Ann", 10),
            Seen("agent", 3, "Ann", 10),
            Seen("agent", 4, None, 10),
            Seen("queue", 2, "Sales", 10),
            Seen("wrapup_code", "0200", "Sale", 10),
            Seen("wrapup_code", "0100", None, 10),
        },
    )
    assert directory.lookup(main, "agent") == [Named(4, "4"), Named(3, "Ann"), Named(9, "Ann"), Named(2, "Bob")]
    assert directory.lookup(main, "queue") == [Named(2, "Sales")]
    assert directory.wrapup_codes(main) == [WrapupCode("0100", "0100"), WrapupCode("0200", "Sale")]
    assert directory.lookup(main, "campaign") == []
    assert directory.lookup(other, "agent") == []


def test_new_names_show_at_once(directory: Directory, place: Place) -> None:
    """A new or changed name is written before the call returns; an older one or none changes nothing."""
    main = directory.account().id
    shown = []
    with place.open() as other:
        for name, at in (("Ann", 10), ("Ann Lee", 20), ("Ann", 15), (None, 30), ("Ann", 20), ("Ann L.", 21)):
            directory.note_seen(main, [Seen("agent", 1, name, at)])
            shown += [entry.name for entry in other.lookup(main, "agent")]
    assert shown == ["Ann", "Ann Lee", "Ann Lee", "Ann Lee", "Ann Lee", "Ann L."]


def test_known_names_are_not_written_again(watched: tuple[Directory, list[str]]) -> None:
    """A known name costs no query, whether it was seen at a time before or later."""
    directory, statements = watched
    main = directory.account().id
    directory.note_seen(main, [Seen("agent", 1, "Ann", 5)])
    statements.clear()
    for at in (5, 4, 6, 7):
        directory.note_seen(main, [Seen("agent", 1, "Ann", at), Seen("agent", 1, None, at)])
    assert statements == []


def test_later_times_are_written_in_time(directory: Directory, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a known name was seen again is written with the next new name, after a minute, and at the closing."""
    main = directory.account().id

    def written() -> list[tuple[int]]:
        return place.execute("SELECT seen_ms FROM named WHERE kind = 'queue'")

    directory.note_seen(main, [Seen("queue", 1, "Sales", 5)])
    directory.note_seen(main, [Seen("queue", 1, "Sales", 6)])
    assert written() == [(5,)]
    directory.note_seen(main, [Seen("agent", 1, "Ann", 5)])
    assert written() == [(6,)]
    directory.note_seen(main, [Seen("queue", 1, "Sales", 7)])
    assert written() == [(6,)]
    monkeypatch.setattr(lookups, "FLUSH_S", 0)
    directory.flush_seen()
    assert written() == [(7,)]
    directory.note_seen(main, [Seen("queue", 1, "Sales", 8)])
    assert written() == [(8,)]


def test_memory_is_bounded(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more names than memory may hold nothing is forgotten and nothing old comes back."""
    monkeypatch.setattr(lookups, "CACHE_LIMIT", 10)
    main = directory.account().id
    directory.note_seen(main, [Seen("agent", 1, "New 01", 2)])
    directory.note_seen(main, [Seen("agent", 1, "New 01", 9)])
    directory.note_seen(main, [Seen("agent", number, f"New {number:02}", 9) for number in range(2, 21)])
    directory.note_seen(main, [Seen("agent", number, f"Old {number:02}", 3) for number in range(1, 21)])
    assert directory.lookup(main, "agent") == [Named(number, f"New {number:02}") for number in range(1, 21)]


def test_what_failed_is_not_taken_for_written(directory: Directory, place: Place) -> None:
    """After a write that failed the same names are written by the next call."""
    main = directory.account().id
    directory.note_seen(main, [Seen("agent", 2, "Bob", 1)])
    place.execute("CREATE UNIQUE INDEX one_of_each ON named (kind)")
    with pytest.raises(Conflict):
        directory.note_seen(main, [Seen("agent", 1, "Ann", 1)])
    place.execute("DROP INDEX one_of_each")
    directory.note_seen(main, [Seen("agent", 1, "Ann", 1)])
    assert directory.lookup(main, "agent") == [Named(1, "Ann"), Named(2, "Bob")]


def test_threads(directory: Directory) -> None:
    """Threads that note the same names at once end with the newest."""
    main = directory.account().id
    kinds: list[NamedKind] = ["agent", "queue", "team", "campaign"]

    def note(at: int) -> None:
        directory.note_seen(main, [Seen(kind, 1, f"name {at:03}", at) for kind in kinds])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, [(number * 37) % 101 for number in range(101)]))
    assert {entry.name for kind in kinds for entry in directory.lookup(main, kind)} == {"name 100"}


def test_a_name_that_is_set_stays(directory: Directory, place: Place) -> None:
    """Whatever records call it afterwards, in whichever process; it can be set again to any other."""
    main = directory.account().id
    with place.open() as other:
        for each in (directory, other):
            each.note_seen(main, [Seen("queue", 5, "Zulu", 10)])
        for name in ("Orders", "Care"):
            assert NameEntry(5, name, pinned=True) == directory.set_name("main", "queue", 5, name)
            for each in (directory, other):
                each.note_seen(main, [Seen("queue", 5, f"{name} {at}", at) for at in (5, 20, 2**52)])
                each.flush_seen()
            assert [Named(5, name)] == other.lookup(main, "queue")
    directory.set_name("main", "wrapup_code", "0100", "Sale")
    assert [WrapupCode("0100", "Sale")] == directory.wrapup_codes(main)


def test_names_of_a_kind(directory: Directory) -> None:
    """Both set and seen ones are listed, by name; those without a name by their id."""
    main = directory.account().id
    directory.note_seen(main, [Seen("queue", 7, "Care", 1), Seen("queue", 30, None, 1), Seen("queue", 4, None, 1)])
    directory.set_name("main", "queue", 9, "Billing")
    assert [
        NameEntry(4, "", False),
        NameEntry(30, "", False),
        NameEntry(9, "Billing", True),
        NameEntry(7, "Care", False),
    ] == (directory.names("main", "queue"))
    directory.add_account("north")
    assert [] == directory.names("north", "queue")


def test_a_name_that_is_removed(directory: Directory) -> None:
    """It is gone until a record names it again, though it was known before."""
    main = directory.account().id
    directory.note_seen(main, [Seen("queue", 5, "Zulu", 10)])
    directory.note_seen(main, [Seen("queue", 5, "Zulu", 11)])
    directory.set_name("main", "queue", 5, "Orders")
    directory.remove_name("main", "queue", 5)
    directory.flush_seen()
    assert [] == directory.names("main", "queue")
    directory.note_seen(main, [Seen("queue", 5, "Zulu", 3)])
    assert [NameEntry(5, "Zulu", pinned=False)] == directory.names("main", "queue")


def test_a_name_that_another_process_removes(directory: Directory, place: Place) -> None:
    """It does not come back by what was noted before, though that is written later; it does when a record tells again,
    to the process that knew it already."""
    main = directory.account().id
    with place.open() as other:
        for at in (10, 20):
            other.note_seen(main, [Seen("queue", 5, "Zulu", at), Seen("queue", 6, "Yankee", at)])
        directory.remove_name("main", "queue", 5)
        other.flush_seen()
        assert [NameEntry(6, "Yankee", pinned=False)] == directory.names("main", "queue")
        assert [(20,)] == place.execute("SELECT seen_ms FROM named WHERE kind = 'queue'")
        other.note_seen(main, [Seen("queue", 5, "Zulu", 3)])
        assert [6, 5] == [entry.key for entry in directory.names("main", "queue")]


def test_a_name_that_another_process_removed_a_while_ago(
    directory: Directory, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the time between two looks a process that ingests notices that it is gone."""
    main = directory.account().id
    with place.open() as other:
        for at, recheck_s, expected in ((10, 60.0, 0), (20, 60.0, 0), (30, 0.0, 1)):
            monkeypatch.setattr(snapshot, "RECHECK_S", recheck_s)
            other.note_seen(main, [Seen("queue", 5, "Zulu", at)])
            if at == 10:
                directory.remove_name("main", "queue", 5)
            assert expected == len(directory.names("main", "queue"))


def test_a_name_with_a_nul(directory: Directory, place: Place) -> None:
    """A record may have one. PostgreSQL, which keeps none, has another character in its place."""
    main = directory.account().id
    for at in (1, 2):
        directory.note_seen(main, [Seen("agent", 1, "A\0nn", at), Seen("wrapup_code", "01\0", "Sale", at)])
        directory.flush_seen()
    shown = "\0" if isinstance(place, SqlitePlace) else "\N{REPLACEMENT CHARACTER}"
    assert [Named(1, f"A{shown}nn")] == directory.lookup(main, "agent")
    assert [WrapupCode(f"01{shown}", "Sale")] == directory.wrapup_codes(main)


def test_names_that_cannot_be(directory: Directory) -> None:
    """Kinds, keys and names are checked; a team is not removed as a name."""
    wrong: list[tuple[str, int | str, str, str]] = [
        ("quue", 5, "X", "kind 'quue': is not a kind of thing that has a name, did you mean 'queue'?"),
        ("queue", 0, "X", "key '0': is not an id"),
        ("queue", "x", "X", "key 'x': is not the key of a queue"),
        ("wrapup_code", 5, "X", "key '5': is not the key of a wrapup_code"),
        ("wrapup_code", "x" * 65, "X", "cannot be used. Valid: 1 to 64"),
        ("queue", 5, "", "name: cannot be used"),
    ]
    for kind, key, name, message in wrong:
        with pytest.raises(BadParameters) as error:
            directory.set_name("main", kind, key, name)  # type: ignore[arg-type]  # what somebody may type
        assert message in str(error.value)
    directory.set_name("main", "team", 5, "Sales")
    with pytest.raises(BadParameters, match="a team is removed as a team"):
        directory.remove_name("main", "team", 5)
    with pytest.raises(NotFound, match="there is no queue '6'"):
        directory.remove_name("main", "queue", 6)
