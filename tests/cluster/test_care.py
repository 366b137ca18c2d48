"""Backup, restore and check where records or the directory lie elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec
import pytest
from sqlalchemy import select

from calldex.address import DirectoryAddress, StoreAddress
from calldex.demo import interactions
from calldex.directory import tables
from calldex.node import Node
from calldex.records.record import canonical
from calldex.settings import Settings
from calldex.store.sql import Sql
from tests.cli.tools import calldex, jsonl
from tests.directory.places import PostgresqlPlace
from tests.engines import answer, disagreeing, erase, everything, put

pytestmark = pytest.mark.slow
GUIDE: Final = Path(__file__).parents[2] / "docs" / "guides" / "cluster.md"
LATER: Final = 2
"""An account that was first written to after the backup."""


def test_a_backup_is_refused(postgresql: PostgresqlPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a directory or records elsewhere, and told by what means they are backed up; nothing is left behind."""
    for name, variable, address, means in (
        ("one", "CALLDEX_DIRECTORY", postgresql.address, "Back up the directory by PostgreSQL's own pg_dump;"),
        ("two", "CALLDEX_STORE", f"chdb://{tmp_path}/chdb", "Back up records by ClickHouse's own BACKUP DATABASE;"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, address)
            assert 0 == calldex("import", "-", data=tmp_path / name, stdin=jsonl(20)).exit_code
            told = calldex("backup", tmp_path / "backup", data=tmp_path / name)
            assert (2, True) == (told.exit_code, means in told.stderr), told.stderr
            checked = calldex("check", data=tmp_path / name)
            assert (0, True) == (checked.exit_code, "20 records: none differ" in checked.stdout), checked.output
    assert not (tmp_path / "backup").exists()


def test_restoring_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings say that records lie elsewhere, a restored data directory would not be used."""
    assert 0 == calldex("import", "-", data=tmp_path / "data", stdin=jsonl(20)).exit_code
    assert 0 == calldex("backup", tmp_path / "backup", data=tmp_path / "data").exit_code
    monkeypatch.setenv("CALLDEX_STORE", "clickhouse://ann:not-for-messages@one/cdr")
    told = calldex("restore", tmp_path / "backup", data=tmp_path / "new")
    assert (2, True, False) == (
        told.exit_code,
        "then use `calldex migrate`" in told.stderr,
        (tmp_path / "new").exists(),
    )


def test_a_directory_that_is_older_than_its_records(postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """When `reserved` is raised as the guide says, what was written after the directory's backup counts as if it were
    not there: searches see what they saw then, and new records are neither mixed with it nor lost."""
    settings = Settings(
        data=tmp_path / "data",
        store=StoreAddress(f"chdb://{tmp_path}/chdb"),
        directory=DirectoryAddress(postgresql.address),
    )
    records = [canonical(record) for record in interactions(300, seed=2)]
    longer = [msgspec.structs.replace(record, duration_s=record.duration_s + 1) for record in records]
    with Node(settings) as node:
        put(node.store, records[:200])
        then = answer(node.store, everything())
        with node.directory._db.read() as connection:  # noqa: SLF001 - a backup of the database
            backup = connection.execute(select(tables.commits)).one()
        put(node.store, longer[150:250])
        erase(node.store, 1, [records[0].uuid])
        put(node.store, records[:9], LATER)
    # The guide's statements: what ClickHouse has, and what is done with it.
    with Node(settings) as node:
        hosts = node.store.hosts  # type: ignore[attr-defined]  # it is ClickHouse
        last = hosts.rows(Sql("SELECT account_id, max(greatest(seq, seq_to)) AS last FROM cdr GROUP BY account_id"))
    restored = ", ".join(f"{name} = {value}" for name, value in backup._asdict().items())
    postgresql.execute(f"DELETE FROM commits WHERE account_id = {LATER}")
    postgresql.execute(f"UPDATE commits SET {restored}")
    guide = re.search(r"INSERT INTO commits .*?;", GUIDE.read_text(), re.DOTALL)
    for account_id, number in last:
        assert guide is not None
        postgresql.execute(guide[0].replace("<account_id>", str(account_id)).replace("<last>", str(number)))
    with Node(settings) as node:
        assert then == answer(node.store, everything())
        put(node.store, [records[299]])
        assert (201, []) == (answer(node.store, everything())[0], disagreeing(node.store))
        put(node.store, records[20:25], LATER)
        assert 5 == answer(node.store, everything(LATER))[0]
        put(node.store, longer[:200])
        found = list(map(msgspec.json.decode, answer(node.store, everything())[1].splitlines()))
        expected = {each.uuid: each.duration_s for each in (*longer[:200], records[299])}
        assert expected == {each["uuid"]: each["duration_s"] for each in found}
        assert len(expected) == len(found)
        assert [] == disagreeing(node.store)
