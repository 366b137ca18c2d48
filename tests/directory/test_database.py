"""Opening, migrating and checking the directory database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from calldex.access import Reach
from calldex.directory import Directory, GroupChanges, Named, TeamChanges
from calldex.directory import migrations as steps
from calldex.directory.tables import VERSION, metadata
from calldex.errors import UnreadableInput, WrongVersion
from tests.directory.places import Place


def config() -> Config:
    """What Alembic needs to find the steps."""
    found = Config()
    found.set_main_option("script_location", str(Path(steps.__file__).parent))
    return found


def tables(place: Place) -> list[str]:
    """The names of the tables there are."""
    engine = place.engine()
    found = sorted(inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_the_steps_make_the_tables(place: Place) -> None:
    """A migrated database is what `tables.py` says, and its newest step is `VERSION`."""
    engine = place.engine()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert [] == compare_metadata(context, metadata)
    engine.dispose()
    assert ScriptDirectory.from_config(config()).get_current_head() == VERSION
    assert place.execute("SELECT version_num FROM alembic_version") == [(VERSION,)]


def test_constraints_of_the_steps_are_those_of_the_tables(empty_place: Place) -> None:
    """The tables' own DDL has the same constraints and collations as the steps, which Alembic does not compare."""
    engine = empty_place.engine()
    metadata.create_all(engine)
    made = empty_place.ddl()
    metadata.drop_all(engine)
    engine.dispose()
    empty_place.open().close()
    migrated = [line for line in empty_place.ddl() if "alembic_version" not in line and "version_num" not in line]
    assert set(made) == set(migrated)


def test_main_exists_and_opening_again_changes_nothing(place: Place) -> None:
    """The account `main` is there from the first opening, once."""
    for _ in range(2):
        with place.open() as directory:
            assert [account.name for account in directory.accounts()] == ["main"]
            assert directory.account().id == directory.account("main").id


def test_newer_database_is_refused_and_left_alone(place: Place) -> None:
    """A database of a later version is not touched, and the message names both versions."""
    place.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(WrongVersion, match=rf"has version 0999, this Calldex knows none above {VERSION}"):
        place.open()
    assert place.execute("SELECT version_num FROM alembic_version") == [("0999",)]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM alembic_version",
        *(f"UPDATE alembic_version SET version_num = '{text}'" for text in ("", "x", "00091")),
    ],
)
def test_a_version_that_is_none(place: Place, damage: str) -> None:
    """What cannot be a version tells of damage, not of a newer Calldex."""
    place.execute(damage)
    with pytest.raises(UnreadableInput, match="is damaged"):
        place.open()


def test_concurrent_first_opening(empty_place: Place) -> None:
    """Several processes and threads that open a new database at once all get it, made once."""
    processes = [subprocess.Popen([sys.executable, "-c", empty_place.opening]) for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: empty_place.open(), range(6)))
    assert [0, 0] == [process.wait(timeout=30) for process in processes]
    assert {len(directory.accounts()) for directory in opened} == {1}
    for directory in opened:
        directory.close()


def test_failed_migration_leaves_nothing(empty_place: Place) -> None:
    """An opening that fails half-way changes nothing, and succeeds when what was in its way is gone."""
    empty_place.execute("CREATE TABLE audit_chain (n INTEGER)")
    with pytest.raises(UnreadableInput, match=r"audit_chain.* already exists"):
        empty_place.open()
    assert ["audit_chain"] == tables(empty_place)
    empty_place.execute("DROP TABLE audit_chain")
    with empty_place.open() as directory:
        assert [] == directory.check()


def test_from_the_first_version(empty_place: Place) -> None:
    """Everything that a directory of the first version held is there in this one, and can be worked with."""
    engine = empty_place.engine()
    with engine.connect() as connection, connection.begin():
        at_first = config()
        at_first.attributes["connection"] = connection
        command.upgrade(at_first, "0001")
    engine.dispose()
    key = "cdx_" + "k" * 43
    for table, rows in {
        "accounts (name, timezone, created_at)": ["'north', 'Europe/Oslo', 1"],
        "users (account_id, email, name, role, skills, agent_id, created_at, disabled_at)": [
            "2, 'ann@example.com', 'Ann', 'supervisor', '[\"French\"]', 5, 1, NULL",
            "1, 'bob@example.com', 'Bob', 'admin', '[]', 5, 1, 7",
        ],
        "named (account_id, kind, id, code, name, seen_ms)": ["2, 'team', 7, '', 'Sales', 3"],
        "team_members (account_id, user_id, team_id, as_supervisor)": ["2, 1, 7, TRUE", "2, 1, 7, FALSE"],
        "api_keys (user_id, prefix, hash, scope, created_at)": [
            f"1, 'cdx_kkkk', {empty_place.binary(hashlib.sha256(key.encode()).digest())}, 'read', 4"
        ],
        "sources (account_id, name, format, settings, created_at)": ["2, 'pbx', 'asterisk', '{\"zone\": \"UTC\"}', 4"],
        "secrets (name, value)": [f"'token', {empty_place.binary(b'x' * 32)}"],
    }.items():
        for row in rows:
            empty_place.execute(f"INSERT INTO {table} VALUES ({row})")
    with empty_place.open() as directory:
        owner = directory.find_key(key)
        assert owner is not None
        assert ("north", 5, ("read",), (), (7,)) == (
            owner.account,
            owner.agent_id,
            owner.scopes,
            owner.networks,
            owner.supervised_teams,
        )
        ann, bob = directory.users()
        assert ("supervisor", ("French",), (7,), (7,)) == (ann.role, ann.skills, ann.teams, ann.supervises)
        assert ("Europe/Oslo", 7) == (ann.effective_timezone, bob.disabled_at)
        assert [((), True)] * 2 == [(account.sensitive, account.agents_see_own) for account in directory.accounts()]
        assert [Named(7, "Sales")] == directory.lookup(ann.account_id, "team")
        assert ["Sales"] == [team.name for team in directory.teams_at(ann.account_id, 5, 0)]
        assert {"zone": "UTC"} == directory.source("pbx").settings
        assert b"x" * 32 == directory.secret("token", 32)
        assert [] == directory.check()
        group = GroupChanges(name="Night", permissions=("see_cdrs",), reach=Reach(own=True))
        directory.put_group("north", None, group)
        assert [3] == [directory.add_user("c@example.com", "C", account="north", groups=("Night",)).id]
        directory.remove_user("c@example.com")
        assert [4] == [directory.add_user("c@example.com", "C", account="north").id]


def test_check_finds_who_is_in_no_team(directory: Directory, place: Place) -> None:
    """Who is in a team that is not there is named."""
    directory.put_team("main", 7, TeamChanges(name="Sales"))
    directory.add_user("ann@example.com", "Ann", "agent", teams=(7,))
    assert [] == directory.check()
    place.execute("DELETE FROM named")
    assert ["ann@example.com is in the team 7, which is not there"] == directory.check()
