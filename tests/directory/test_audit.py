"""The audit in the database: appended to by several at once, read, trimmed, and verified, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from calldex.audit.chain import Action, Actor, Entry, Link, entry
from calldex.directory import AuditFilter, Directory
from calldex.directory.audit import MOST_FAULTS
from calldex.directory.database import sqlite_engine
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import CalldexError, DiskFull, StoreDamaged, Unavailable
from tests.directory.places import Place, PostgresqlPlace
from tests.examples import examples

ALL = AuditFilter()


def made(number: int = 0, actor: str = "ana@example.com", account_id: int = 1, **more: Any) -> Entry:
    """An entry of the `number`th second."""
    action: Action = more.pop("action", "search")
    found = entry(Actor(actor=actor, account_id=account_id), action, rows=number, **more)
    return msgspec.structs.replace(found, at_ms=number * 1_000)


@contextmanager
def writing(directory: Directory) -> Iterator[Any]:
    """A writer, closed at the end."""
    writer = directory.audit_writer()
    try:
        yield writer
    finally:
        writer.close()


def append(directory: Directory, *some: Entry) -> Link:
    """Write entries in one commit."""
    with writing(directory) as writer:
        head: Link = writer.append(some)
        return head


def numbers(directory: Directory, account_id: int | None = None, limit: int = 100, **wanted: Any) -> list[int]:
    """The numbers of the entries that fit."""
    return [each.n for each in directory.audit_entries(account_id, AuditFilter(**wanted), limit)]


def where(directory: Directory, expected: Link | None = None) -> list[int]:
    """The numbers of what is wrong."""
    return [fault.n for fault in directory.verify_audit(expected).faults]


def test_a_new_audit_is_empty_and_whole(directory: Directory) -> None:
    """Its head is 0 and zeros, and it can be expected."""
    assert Link(0, bytes(32)) == directory.audit_head()
    found = directory.verify_audit(directory.audit_head())
    assert (1, 0, []) == (found.first, found.last, found.faults)


def test_what_is_appended_is_read(directory: Directory) -> None:
    """Newest first, counted from 1 without a gap, as it was given; the head is the last."""
    given_ = [made(5, target="bob@example.com", detail={"x": "\u00e4\U0001f600\u2028"}), made(6, action="export")]
    append(directory, *given_)
    head = append(directory, made(7))
    found = directory.audit_entries(None, ALL, 10)
    assert [3, 2, 1] == [each.n for each in found]
    assert given_ == [msgspec.structs.replace(each, n=0) for each in found[:0:-1]]
    assert (3, head) == (head.n, directory.audit_head())
    assert [] == where(directory, head)
    assert head == append(directory)


def test_filters(directory: Directory) -> None:
    """Each filter alone, several together, and reading on from a number."""
    append(
        directory,
        made(1, "ana@example.com"),
        made(2, "bob@example.com", target='say "x"'),
        made(3, "bob@example.com", action="export", detail={"a": '"target":"ghost"'}),
        made(4, "ana@example.com", account_id=2, target="bob@example.com"),
        made(5, "ana@example.com", target="bob"),
    )
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [5, 4, 3, 2, 1]),
        ({"limit": 2}, [5, 4]),
        ({"before": 4}, [3, 2, 1]),
        ({"account_id": 1}, [5, 3, 2, 1]),
        ({"actor": "Bob@Example.com"}, [3, 2]),
        ({"actor": "bob\x00"}, []),
        ({"action": "export"}, [3]),
        ({"target": "bob"}, [5]),
        ({"target": "bob@example.com"}, [4]),
        ({"target": 'say "x"'}, [2]),
        ({"target": "ghost"}, []),
        ({"target": "BOB"}, []),
        ({"target": "%"}, []),
        ({"from_ms": 2_000, "to_ms": 4_000}, [3, 2]),
        ({"from_ms": 2_000, "actor": "ana@example.com", "account_id": 1, "before": 5}, []),
    ]
    assert [expected for _, expected in cases] == [numbers(directory, **wanted) for wanted, _ in cases]


CHANGES = {
    "entry": ("UPDATE audit SET entry = replace(entry, '\"rows\":3', '\"rows\":4') WHERE n = 3", 3),
    "hash": ("UPDATE audit SET hash = (SELECT base_hash FROM audit_chain) WHERE n = 3", 3),
    "actor": ("UPDATE audit SET actor = 'bob@example.com' WHERE n = 3", 3),
    "first": ("DELETE FROM audit WHERE n = 1", 1),
    "middle": ("DELETE FROM audit WHERE n = 3", 3),
    "last": ("DELETE FROM audit WHERE n = 5", 5),
    "all": ("DELETE FROM audit", 1),
    "head": ("UPDATE audit_chain SET n = 4", 5),
    "base": ("UPDATE audit_chain SET base_n = 1", 1),
    "chain": ("DELETE FROM audit_chain", 0),
    "inserted": (
        (
            "INSERT INTO audit SELECT 6, at_ms, account_id, actor, action, replace(entry, ':5', ':6'), hash FROM audit"
            " WHERE n = 5"
        ),
        6,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_found(directory: Directory, place: Place, change: str) -> None:
    """Whatever somebody does to the tables, its number is told first."""
    append(directory, *map(made, range(1, 6)))
    sql, n = CHANGES[change]
    place.execute(sql)
    assert n == where(directory)[0]


def test_an_entry_that_is_none_is_told_by_its_number(directory: Directory, place: Place) -> None:
    """Reading does not skip it."""
    append(directory, made(1), made(2))
    place.execute("UPDATE audit SET entry = '{' WHERE n = 1")
    with pytest.raises(CalldexError, match="entry 1 of the audit is not as it was written"):
        directory.audit_entries(None, ALL, 10)
    assert [2] == numbers(directory, limit=1)


def test_a_chain_made_again_is_found(directory: Directory, place: Place) -> None:
    """Without a fault in itself, but not with the head that was noted."""
    noted = append(directory, *map(made, range(1, 4)))
    place.execute("DELETE FROM audit")
    place.execute("UPDATE audit_chain SET n = 0, hash = base_hash")
    append(directory, *map(made, range(2, 6)))
    assert ([], [3]) == (where(directory), where(directory, noted))


def test_only_some_faults_are_told(directory: Directory, place: Place) -> None:
    """A bounded number, and that there are more."""
    append(directory, *map(made, range(MOST_FAULTS + 50)))
    place.execute("UPDATE audit SET actor = 'bob@example.com'")
    found = directory.verify_audit()
    assert (MOST_FAULTS, True) == (len(found.faults), found.more)


def test_several_writers_make_one_chain(directory: Directory, place: Place) -> None:
    """Two nodes with two threads each leave no gap and no fork."""
    with place.open() as other:

        def write(which: int) -> None:
            with writing((directory, other)[which % 2]) as writer:
                for number in range(25):
                    writer.append([made(which), made(number)])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
    found = directory.verify_audit()
    assert (1, 200, []) == (found.first, found.last, found.faults)


# --- retention --------------------------------------------------------------------------------------------------------


def test_old_entries_are_dropped(directory: Directory) -> None:
    """Up to the first that is not older; the chain is whole, and says what was dropped up to which link."""
    links = [append(directory, made(number)) for number in range(1, 6)]
    assert 3 == directory.trim_audit(4_000, 100)
    assert [6, 5, 4] == numbers(directory)
    trimmed = directory.audit_entries(None, ALL, 1)[0]
    assert ("calldex", "audit_trimmed", str(links[2]), 3) == (
        trimmed.actor,
        trimmed.action,
        trimmed.target,
        trimmed.rows,
    )
    found = directory.verify_audit(links[3])
    assert (4, 6, []) == (found.first, found.last, found.faults)
    assert [] == where(directory, links[2])
    assert [2] == where(directory, links[1])


def test_some_at_a_time_are_dropped(directory: Directory) -> None:
    """No more than were asked for; where nothing is old, nothing is done."""
    append(directory, *map(made, range(1, 6)))
    assert [2, 2, 1, 0] == [directory.trim_audit(10_000, 2) for _ in range(4)]
    assert [8, 7, 6] == numbers(directory)
    assert [] == where(directory)


@pytest.mark.parametrize("trimmed", [False, True])
def test_moving_the_base_is_no_trimming(directory: Directory, place: Place, trimmed: bool) -> None:
    """Who takes out the oldest entries and moves the base behind them is found out: no entry tells of that, or one that
    tells of another base."""
    append(directory, *(made(number) for number in range(1, 7)))
    if trimmed:
        directory.trim_audit(3_000, 100)
    assert [] == where(directory)
    place.execute("UPDATE audit_chain SET base_n = 4, base_hash = (SELECT hash FROM audit WHERE n = 4)")
    place.execute("DELETE FROM audit WHERE n <= 4")
    assert [4] == where(directory)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET entry = CAST(entry AS BLOB) || x'00' WHERE n = 2",
        "UPDATE audit SET entry = CAST(x'ff' AS TEXT) WHERE n = 2",
        "UPDATE audit SET entry = 5 WHERE n = 2",
        "UPDATE audit SET actor = CAST(x'ff' AS TEXT) WHERE n = 2",
        "UPDATE audit SET at_ms = CAST(x'ff' AS TEXT) WHERE n = 2",
        "UPDATE audit SET account_id = CAST(x'ff' AS TEXT) WHERE n = 2",
        "UPDATE audit SET hash = CAST(x'ff' AS TEXT) WHERE n = 2",
        "UPDATE audit SET hash = 'text' WHERE n = 2",
        "UPDATE audit SET hash = CAST(hash AS TEXT) WHERE n = 2",
        "UPDATE audit SET at_ms = 'text' WHERE n = 2",
    ],
)
def test_what_is_no_entry_is_told(tmp_path: Path, change: str) -> None:
    """SQLite keeps anything anywhere: what is no text, or none in UTF-8, is a fault of that entry and no traceback."""
    with Directory.open(tmp_path / "directory.db") as directory:
        append(directory, *(made(number) for number in range(1, 4)))
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
            connection.execute(change)
        connection.close()
        assert 2 in where(directory)


@pytest.mark.parametrize("value", ["'text'", "5", "x''", "CAST(x'ff' AS TEXT)", "CAST(hash AS TEXT)"])
@pytest.mark.parametrize("column", ["hash", "base_hash", "n", "base_n"])
def test_a_head_or_base_of_another_kind_is_told(tmp_path: Path, column: str, value: str) -> None:
    """It is a fault of the chain, and no traceback; nothing is chained to what is no head."""
    with Directory.open(tmp_path / "directory.db") as directory:
        append(directory, *(made(number) for number in range(1, 4)))
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
            connection.execute(f"UPDATE audit_chain SET {column} = {value}")
        connection.close()
        assert where(directory)
        if (column, value) in (("hash", "'text'"), ("hash", "5"), ("n", "'text'"), ("n", "x''")):
            with pytest.raises(StoreDamaged, match="audit verify"):
                append(directory, made(4))


def test_without_a_chain_nothing_is_appended(tmp_path: Path) -> None:
    """The error says so, and the rest is told by looking."""
    with Directory.open(tmp_path / "directory.db") as directory:
        append(directory, made(1))
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
            connection.execute("DELETE FROM audit_chain")
        connection.close()
        assert [0] == where(directory)
        with pytest.raises(StoreDamaged, match="audit verify"):
            append(directory, made(2))


def test_the_first_missing_entry_is_found_after_trimming(directory: Directory, place: Place) -> None:
    """The base knows which entry is the oldest that is kept."""
    append(directory, *map(made, range(1, 6)))
    directory.trim_audit(3_000, 100)
    place.execute("DELETE FROM audit WHERE n = 3")
    assert [3] == where(directory)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.sampled_from(["append", "trim"]), st.integers(0, 7)), max_size=12))
def test_appending_and_trimming_never_breaks_it(directory: Directory, steps: list[tuple[str, int]]) -> None:
    """Whatever the order, the chain is whole, and its head only moves on."""
    for step, number in steps:
        before = directory.audit_head()
        if step == "append":
            append(directory, *(made(number) for _ in range(number)))
        else:
            directory.trim_audit(number * 1_000, 3)
        assert [] == where(directory, before)
        assert directory.audit_head().n >= before.n


# --- failure ----------------------------------------------------------------------------------------------------------


def test_a_full_disk(path: Path) -> None:
    """What finds no room is refused whole; when there is room again, the next entry is the next in the chain."""
    pages = 1_000_000
    engine = sqlite_engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count = {pages}"))
    with Directory(engine, path.with_name(SEALING_FILE)) as directory:
        append(directory, made(1))
        pages = 1  # below what there is: SQLite then takes the number of pages there are
        for _ in range(2):
            with pytest.raises(DiskFull):
                append(directory, *(made(n, target="x" * 200) for n in range(1_000)))
        pages = 1_000_000
        assert 2 == append(directory, made(2)).n
        assert [] == where(directory)


def test_a_writer_that_cannot_reach_the_database(postgresql: PostgresqlPlace) -> None:
    """Connections that the server ends are told as such, and the next attempt has a new one."""
    with postgresql.open() as directory, writing(directory) as writer:
        writer.append([made(1)])
        postgresql.cut()
        with pytest.raises(Unavailable):
            writer.append([made(2)])
        assert 2 == writer.append([made(3)]).n


def test_a_commit_does_not_wait_for_the_disk(path: Path) -> None:
    """On SQLite: the writer's connection is NORMAL, all others stay FULL, also when it was closed."""
    with Directory.open(path) as directory:
        connection = directory._db.connection()  # noqa: SLF001 - what the writer uses
        assert 1 == connection.exec_driver_sql("PRAGMA synchronous").scalar()
        connection.close()
        for _ in range(3):
            with directory._db.write() as other:  # noqa: SLF001 - what others write by
                assert 2 == other.exec_driver_sql("PRAGMA synchronous").scalar()
