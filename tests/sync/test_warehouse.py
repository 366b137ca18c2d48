"""Pipes into warehouses, from the real server into PostgreSQL and DuckDB."""

from __future__ import annotations

import gc
import weakref
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pytest

from calldex.client import Client
from calldex.demo import interactions
from calldex.records import codec
from calldex.sync.destinations import Batch, Change, Context
from calldex.sync.destinations.tables import record
from calldex.sync.destinations.warehouse import Duckdb
from tests.sync.conftest import Database, Rig, Source, changed, some, without_nulls
from tests.sync.front import Front

pytestmark = pytest.mark.slow
TABLES = {
    **dict.fromkeys(("agents", "queues", "teams", "campaigns"), ("id", "name")),
    "wrapup_codes": ("code", "description"),
}


def rig(folder: Path, source: Source, database: Database, url: str | None = None, **pipe: object) -> Rig:
    """A pipe into PostgreSQL."""
    destination = {"kind": "postgres", "url": database.url}
    return Rig(folder, url or source.url, source.keys["admin"], destination, **pipe)


def test_a_copy_follows_the_feed(source: Source, database: Database, tmp_path: Path) -> None:
    """It has what the source has, after late, corrected and erased records, and its look-ups; when nothing is new, a
    run asks the feed once and each look-up once, and loads nothing."""
    with Front(source.url) as front:
        pipe = rig(tmp_path, source, database, front.url)
        status = pipe.run()
        assert ("", 0) == (status.problem, status.failed)
        assert without_nulls(source.records()) == database.records()
        late = some(20, seed=11)
        source.post([*late, changed(late[0], comment="corrected", tags=("a", "b"))])
        erased = [each.uuid for each in late[5:9]]
        source.delete([*erased, some(1, seed=99)[0].uuid])
        assert 0 < pipe.run().changes <= 20
        assert without_nulls(source.records()) == database.records()
        with Client(source.url, source.keys["admin"]) as client:
            for name, columns in TABLES.items():
                told = {tuple(row[column] for column in columns) for row in client.lookup(name)}
                assert told == {tuple(row[column] for column in columns) for row in database.rows(name)}, name
        front.seen.clear()
        assert 0 == pipe.run().changes
        assert {f"/api/v2/cdr/{name}": 1 for name in ("changes", *TABLES)} == front.seen
    source.delete([each.uuid for each in late])


def test_a_list_alone_is_read_by_days(source: Source, database: Database, tmp_path: Path) -> None:
    """With the parameters of the contract alone: every day once, then those of the look-back, in which is found what
    came late, was corrected or erased."""
    with Front(source.url, v2=True) as front:
        pipe = rig(tmp_path, source, database, front.url)
        assert "" == pipe.run().problem
        assert without_nulls(source.records()) == database.records()
        late = list(interactions(20, seed=12, end=datetime.now(UTC), days=1))
        source.post(late)
        assert 20 == pipe.run().changes
        source.post([changed(late[0], comment="corrected")])
        source.delete([late[1].uuid])
        assert 2 == pipe.run().changes
        assert without_nulls(source.records()) == database.records()
        front.seen.clear()
        assert 0 == pipe.run().changes
        assert 3 == front.seen["/api/v2/cdr"]
    source.delete([each.uuid for each in late])


def test_a_day_that_cannot_be_read(source: Source, database: Database, tmp_path: Path) -> None:
    """Is not marked as done, and told with the reason; the others go on, and it comes when it can be read."""
    day = next(iter(source.records().values()))["started_at"][:10]
    with Front(source.url, v2=True) as front:
        pipe = rig(tmp_path, source, database, front.url)
        front.fail[day] = 404
        status = pipe.run()
        assert [day] == list(status.not_whole)
        assert "this day cannot be read" in status.not_whole[day]
        assert not status.done
        assert status.current_ms is None
        expected = {uuid: each for uuid, each in source.records().items() if each["started_at"][:10] != day}
        assert without_nulls(expected) == database.records()
        assert [day] == list(pipe.run().not_whole)
        front.fail.clear()
        assert {} == pipe.run().not_whole
        assert without_nulls(source.records()) == database.records()


def test_a_copy_is_proved_equal_and_repaired(source: Source, database: Database, tmp_path: Path) -> None:
    """What somebody else deleted, added or brought back to what it was is found by checksums, or by reading where there
    are none, and repaired."""
    for name, v2 in (("feed", False), ("days", True)):
        with Front(source.url, v2=v2) as front:
            (folder := tmp_path / name).mkdir()
            pipe = rig(folder, source, database, front.url)
            assert 0 == pipe.run("verify").repaired
            one, two, three = sorted(database.records())[:3]
            database.execute(f"DELETE FROM calls.cdrs WHERE uuid = '{one}'")
            database.execute(f"UPDATE calls.cdrs SET seq = 0, agent = 'Nobody' WHERE uuid = '{two}'")
            database.execute(f"UPDATE calls.cdrs SET uuid = '{one[:-1]}x' WHERE uuid = '{three}'")
            status = pipe.run("verify")
            assert ("", "") == (status.problem, status.unequal)
            assert 4 == status.repaired
            assert without_nulls(source.records()) == database.records()
        pipe.run("reset")


@pytest.mark.parametrize("v2", [False, True], ids=["feed", "days"])
def test_what_rows_say_is_proved(source: Source, database: Database, tmp_path: Path, v2: bool) -> None:
    """A column that somebody changed by hand, under the right version, is found and repaired by a deep proof; one that
    is not deep does not see it."""
    with Front(source.url, v2=v2) as front:
        pipe = rig(tmp_path, source, database, front.url)
        assert 0 == pipe.run("verify", deep=True).repaired
        one, two, three = sorted(database.records())[:3]
        database.execute(f"UPDATE calls.cdrs SET agent = 'Nobody' WHERE uuid = '{one}'")
        database.execute(f"UPDATE calls.cdrs SET duration_s = coalesce(duration_s, 0) + 1 WHERE uuid = '{two}'")
        database.execute(f"UPDATE calls.cdrs SET custom = '{{\"a\": 1}}', comment = NULL WHERE uuid = '{three}'")
        assert 0 == pipe.run("verify").repaired
        status = pipe.run("verify", deep=True)
        assert ("", "", 3) == (status.problem, status.unequal, status.repaired)
        assert without_nulls(source.records()) == database.records()
        assert 0 == pipe.run("verify", deep=True).repaired


def test_a_warehouse_that_cannot_be_used(source: Source, database: Database, tmp_path: Path) -> None:
    """It is away, refuses, or has a table that is somebody else's: told in the driver's words and without the password,
    and gone on with when it can be used again."""
    pipe = rig(tmp_path, source, database)
    pipe.text["destination"]["out"]["url"] = "postgresql://somebody:very-secret@127.0.0.1:1/warehouse"
    status = pipe.run()
    assert "refused" in status.problem
    assert "very-secret" not in status.problem
    assert status.later
    database.execute("CREATE SCHEMA calls")
    database.execute("CREATE TABLE calls.cdrs (uuid int)")
    pipe.text["destination"]["out"]["url"] = database.url
    assert "" != pipe.run().problem
    database.execute("DROP TABLE calls.cdrs")
    assert "" == pipe.run().problem
    assert without_nulls(source.records()) == database.records()
    database.execute("ALTER TABLE calls.cdrs DROP COLUMN comment")
    late = some(3, seed=61)
    source.post([changed(each, comment="here") for each in late])
    assert "comment" in pipe.run().problem
    database.execute("ALTER TABLE calls.cdrs ADD COLUMN comment text")
    assert 3 == pipe.run().changes
    assert 3 == len(database.rows("cdrs", "WHERE comment = 'here'"))
    source.delete([each.uuid for each in late])


def test_days_are_read_again(source: Source, database: Database, tmp_path: Path) -> None:
    """`backfill` brings what is missing of some days, and nothing of others; `reset` everything."""
    pipe = rig(tmp_path, source, database)
    pipe.run()
    records = source.records()
    day = max(each["started_at"] for each in records.values())[:10]
    database.execute("DELETE FROM calls.cdrs")
    assert sum(each["started_at"][:10] == day for each in records.values()) == pipe.run("backfill", day, day).changes
    database.execute(f"UPDATE calls.cdrs SET uuid = 'x' WHERE uuid = '{max(database.records())}'")
    pipe.run("reset")
    assert "" == pipe.run().problem
    assert without_nulls(records) == database.records()


def test_other_filters_make_another_copy(source: Source, database: Database, tmp_path: Path) -> None:
    """What does not match any more is deleted; columns that are not chosen are not there."""
    rig(tmp_path, source, database).run()
    pipe = rig(tmp_path, source, database, filters={"type": "inbound"}, fields=["type", "agent"])
    assert "" == pipe.run().problem
    fields = ("uuid", "timestamp", "started_at", "type", "agent")
    expected = {
        uuid: {name: record[name] for name in fields} for uuid, record in source.records(type="inbound").items()
    }
    assert without_nulls(expected) == database.records()


def test_columns_are_added(source: Source, database: Database, tmp_path: Path) -> None:
    """When a pipe has more fields than before, or Calldex more."""
    assert "" == rig(tmp_path, source, database, fields=["type"]).run().problem
    assert "agent" not in database.rows("cdrs")[0]
    assert "" == rig(tmp_path, source, database).run().problem
    assert without_nulls(source.records()) == database.records()


class Kept(list[Change]):
    """Changes, of which can be told whether somebody has them still."""


def test_nothing_of_a_load_is_kept(tmp_path: Path) -> None:
    """Neither the changes nor their rows, and without the garbage collector, which comes late: what dlt keeps of its
    own has no end of ours."""
    options = Duckdb.Options(path=str(tmp_path / "warehouse.duckdb"))
    given = [Change(each.uuid, 1, msgspec.Raw(codec.encode(each))) for each in some(100, seed=14)]
    kept = []
    with closing(Duckdb(options, Context("calls", "main", (), {}))) as warehouse:
        warehouse.state()
        before = pa.total_allocated_bytes()
        gc.disable()
        try:
            for number in range(3):
                changes = Kept(given)
                kept.append(weakref.ref(changes))
                warehouse.apply(Batch(changes, f"place {number}"))
                del changes
                assert [None] * len(kept) == [each() for each in kept]
                assert pa.total_allocated_bytes() <= before
        finally:
            gc.enable()


def test_duckdb(source: Source, tmp_path: Path) -> None:
    """The same into a file of DuckDB's, read by DuckDB alone."""
    target = tmp_path / "warehouse.duckdb"
    pipe = Rig(tmp_path, source.url, source.keys["admin"], {"kind": "duckdb", "path": str(target)})
    late = some(5, seed=13)
    source.post(late)
    assert "" == pipe.run().problem
    source.delete([each.uuid for each in late])
    assert 5 == pipe.run().changes
    assert 0 == pipe.run("verify", deep=True).repaired
    with duckdb.connect(str(target)) as connection:
        connection.execute("UPDATE calls.cdrs SET agent = 'Nobody' WHERE uuid = (SELECT max(uuid) FROM calls.cdrs)")
    assert 1 == pipe.run("verify", deep=True).repaired
    with duckdb.connect(str(target), read_only=True) as connection:
        found = connection.execute("SELECT * FROM calls.cdrs")
        rows = [dict(zip([column[0] for column in found.description], row, strict=True)) for row in found.fetchall()]
    assert without_nulls(source.records()) == {row["uuid"]: record(row) for row in rows}


def test_days_of_another_zone(source: Source, database: Database, tmp_path: Path) -> None:
    """An endpoint that cuts days elsewhere than the file says is refused, and nothing is deleted for it."""
    with Front(source.url, v2=True) as front:
        pipe = rig(tmp_path, source, database, front.url)
        pipe.run()
        there = database.records()
        pipe.text["source"]["main"]["timezone"] = "Asia/Tokyo"
        status = pipe.run()
        assert "set `timezone` of the source" in status.problem
        assert not status.later
        assert there == database.records()
