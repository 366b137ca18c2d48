"""What somebody changes between two runs: the file, the destination, the source."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from calldex.client import Client
from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from calldex.sync.destinations import Change, Failed
from calldex.sync.runner import workers
from calldex.sync.state import StateFile
from tests.api.conftest import people, write
from tests.api.serving import Server
from tests.sync.conftest import DAYS, RECORDS, Database, Rig, Source, without_nulls
from tests.sync.front import Front
from tests.sync.test_warehouse import TABLES, rig
from tests.sync.vendors.inbox import Inbox

pytestmark = pytest.mark.slow
Rows = dict[str, set[tuple[Any, ...]]]


def told(source: Source) -> Rows:
    """The look-ups of a source."""
    with Client(source.url, source.keys["admin"]) as client:
        return {
            name: {tuple(row[column] for column in columns) for row in client.lookup(name)}
            for name, columns in TABLES.items()
        }


def there(database: Database) -> Rows:
    """Those of a copy."""
    return {
        name: {tuple(row[column] for column in columns) for row in database.rows(name)}
        for name, columns in TABLES.items()
    }


def test_a_new_place_gets_the_look_ups(source: Source, database: Database, tmp_path: Path) -> None:
    """What a copy has, it alone knows: one that was lost, or is another, gets look-ups as well as records."""
    pipe = rig(tmp_path, source, database)
    pipe.run()
    assert told(source) == there(database)
    database.execute("DROP SCHEMA calls CASCADE")
    assert "" == pipe.run().problem
    assert without_nulls(source.records()) == database.records()
    assert told(source) == there(database)


@pytest.mark.parametrize("verb", ["verify", "reset"])
def test_look_ups_are_repaired(source: Source, database: Database, tmp_path: Path, verb: str) -> None:
    """What somebody did to look-ups is undone by a proof, and when everything is read again."""
    pipe = rig(tmp_path, source, database)
    pipe.run()
    database.execute("DELETE FROM calls.teams; UPDATE calls.queues SET name = 'Nobody'")
    pipe.run(verb)
    assert "" == pipe.run().problem
    assert told(source) == there(database)


def test_a_table_that_is_gone(source: Source, database: Database, tmp_path: Path) -> None:
    """Somebody dropped a table or a column: the run that needs it says so, and the next ones make it anew."""
    pipe = rig(tmp_path, source, database)
    pipe.run()
    for table in ("cdrs", "agents"):
        database.execute(f"DROP TABLE calls.{table}")
        assert f'"calls.{table}" does not exist' in pipe.run("verify").problem
        assert "" == pipe.run("verify").problem
        assert without_nulls(source.records()) == database.records()
        assert told(source) == there(database)
    database.execute("ALTER TABLE calls.cdrs DROP COLUMN agent")
    pipe.run("verify", deep=True)
    assert ("", "") == ((status := pipe.run("verify", deep=True)).problem, status.unequal)
    assert without_nulls(source.records()) == database.records()


@pytest.mark.parametrize("v2", [False, True], ids=["feed", "days"])
def test_another_account(source: Source, database: Database, tmp_path: Path, v2: bool) -> None:
    """A copy calls its source otherwise from now on: everything comes again under that name."""
    with Front(source.url, v2=v2) as front:
        pipe = rig(tmp_path, source, database, front.url)
        pipe.run()
        pipe.text["source"]["main"]["account"] = "other"
        pipe.run()
        assert len(source.records()) == len(database.rows("cdrs", "WHERE account = 'other'"))
        assert database.rows("agents", "WHERE account = 'other'")


def test_an_earlier_first_day(source: Source, database: Database, tmp_path: Path) -> None:
    """`since` is moved back: the days before are read as well."""
    with Front(source.url, v2=True) as front:
        pipe = rig(tmp_path, source, database, front.url)
        today = datetime.now(UTC).date()
        for days in (1, 30):
            pipe.text["source"]["main"]["since"] = today - timedelta(days=days)
            assert "" == pipe.run().problem
        assert without_nulls(source.records()) == database.records()


def test_another_address(source: Source, tmp_path: Path) -> None:
    """What is remembered as delivered was delivered to one address: a pipe that goes to another one is refused, until
    somebody says that it is the same place."""
    with Inbox() as first, Inbox() as second:
        pipe = Rig(tmp_path, source.url, source.keys["admin"], {"kind": "push", "url": first.url, "rate": "1000/1s"})
        assert "" == pipe.run().problem
        pipe.text["destination"]["out"]["url"] = second.url
        status = pipe.run()
        assert ("another one than what was delivered went to" in status.problem, False) == (True, status.later)
        assert second.url not in status.problem
        assert [] == second.requests
        pipe.run("reset")
        assert ("", 0) == (pipe.run().problem, len(second.requests))
        pipe.text["pipe"]["more"] = pipe.text["pipe"].pop("calls")
        assert "" == pipe.run(pipe="more").problem
        assert len(first.requests) == len(second.requests)


def test_a_source_that_was_restored(tmp_path: Path) -> None:
    """Its versions begin anew where the backup was made: what has a number that was delivered, and says something else,
    is delivered; what says the same is not, nor what a state file of before has."""
    with StateFile(tmp_path / "state") as file:

        def due(seq: int, comment: str) -> list[Change]:
            return file.differing("calls", [Change.of("a", seq, {"uuid": "a", "comment": comment})])

        first = due(5, "of before")
        file.delivered("calls", [(first[0], 0)], (), 0)
        assert ([], 1, 1) == (due(5, "of before"), len(due(5, "other")), len(due(6, "of before")))
        file.delivered("calls", [(first[0], 0)], [Failed("a", "no", retry=False)], 0)
        assert ([], 1) == (due(5, "of before"), len(due(5, "other")))
    with sqlite3.connect(tmp_path / "state") as older:
        older.executescript("DELETE FROM failed; ALTER TABLE delivered DROP COLUMN content; PRAGMA user_version = 1;")
    older.close()
    with StateFile(tmp_path / "state") as file:
        assert [] == file.differing("calls", [Change.of("a", 5, {"uuid": "a", "comment": "other"})])


@pytest.fixture
def berlin(tmp_path: Path) -> Iterator[Source]:
    """A server whose users cut days in Berlin."""
    with Node(Settings(data=tmp_path / "data", threads=1)) as node:
        node.directory.set_account("main", timezone="Europe/Berlin")
        keys = people(node)
        write(node, "main", list(interactions(RECORDS, seed=3, end=datetime.now(UTC), days=DAYS)))
    server = Server(tmp_path / "data")
    yield Source(server.url, keys)
    server.end()


def test_dates_among_the_filters(berlin: Source, database: Database, tmp_path: Path) -> None:
    """Days and instants choose the same records for a run, a proof and a backfill, whose days are UTC's; what lies
    outside is brought by none of them."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    begin, end = day.replace(hour=8, minute=30), day + timedelta(days=2)
    (folder := tmp_path / "sync").mkdir()
    for dates, first in (({"start_date": f"{day:%F}"}, day), ({"start_date": f"{begin:%FT%TZ}"}, begin)):
        pipe = rig(folder, berlin, database, filters={**dates, "end_date": f"{end:%FT%TZ}"})
        assert "" == pipe.run().problem
        expected = {
            uuid: record
            for uuid, record in without_nulls(berlin.records()).items()
            if first <= datetime.fromisoformat(record["started_at"]) < end
        }
        assert expected == database.records()
        database.execute(f"DELETE FROM calls.cdrs WHERE uuid = '{min(expected)}'")
        status = pipe.run("verify")
        assert ("", 1) == (status.unequal, status.repaired)
        pipe.run("backfill", str((day - timedelta(days=2)).date()), str((end + timedelta(days=1)).date()))
        assert expected == database.records()
        status = pipe.run("verify", deep=True)
        assert ("", 0) == (status.unequal, status.repaired)
    for wrong in ("yesterday", "2026-11-01T08:00:00"):
        status = rig(folder, berlin, database, filters={"start_date": wrong}).run()
        assert (True, False) == ("filters.start_date: " in status.problem, status.later)


class Noted(Event):
    """Nobody waits, and how long they would have is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Not at all."""
        self.waits.append(timeout or 0)
        return super().wait(0)


def test_a_budget_is_the_sources(source: Source, tmp_path: Path) -> None:
    """However many pipes read a source, they have its requests a minute between them."""
    pipe = Rig(tmp_path, source.url, source.keys["admin"], {"kind": "nothing"})
    pipe.text["source"]["main"]["requests_per_minute"] = 1
    for number in range(9):
        pipe.text["pipe"][f"p{number}"] = {"from": "main", "to": "out"}
    config = pipe.config
    noted = Noted()
    with StateFile(config.state) as file:
        made = workers(config, list(config.pipes), file, stopping=noted)
        for worker in made.values():
            worker.run()
            worker.close()
    sent = sum(worker.status.requests for worker in made.values())
    assert sent > 20
    assert sum(wait > 30 for wait in noted.waits) >= sent - 10 - 1
