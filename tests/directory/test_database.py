"""Opening, migrating, checking and copying the directory database."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.schema import CreateTable

from calldex import directory as package
from calldex.directory import Directory
from calldex.directory.database import sqlite_engine
from calldex.directory.tables import VERSION, metadata
from calldex.errors import Conflict, DiskFull, Unavailable, UnreadableInput, WrongVersion
from calldex.record import Team


def execute(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What another program does to the database."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(sql).fetchall()
        connection.commit()
    return rows


def test_the_steps_make_the_tables(path: Path) -> None:
    """A migrated database is what `tables.py` says, and its newest step is `VERSION`."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert [] == compare_metadata(context, metadata)
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == VERSION
    assert execute(path, "SELECT version_num FROM alembic_version") == [(VERSION,)]


def test_checks_of_the_steps_are_those_of_the_tables(path: Path, tmp_path: Path) -> None:
    """The tables' own DDL has the same constraints as the steps, which Alembic does not compare on SQLite."""
    made = tmp_path / "made.sqlite"
    engine = create_engine(f"sqlite:///{made}")
    metadata.create_all(engine)
    engine.dispose()
    sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version' ORDER BY name"

    def parts(database: Path) -> dict[object, list[str]]:
        return {
            name: sorted(line.strip(" ,\t") for line in str(ddl).split("\n")) for name, ddl in execute(database, sql)
        }

    assert parts(path) == parts(made)


def test_tables_exist_in_postgresql() -> None:
    """Every table can be made in PostgreSQL, where names compare by code point as well."""
    dialect = URL.create("postgresql").get_dialect()()
    ddl = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    assert len(ddl) == 8
    assert any('VARCHAR(200) COLLATE "C"' in each for each in ddl)


def test_main_exists_and_opening_again_changes_nothing(path: Path) -> None:
    """The account `main` is there from the first opening, once."""
    for _ in range(2):
        with Directory.open(path) as directory:
            assert [account.name for account in directory.accounts()] == ["main"]
            assert directory.account().id == directory.account("main").id


def test_settings_of_the_engine(path: Path) -> None:
    """Every connection is durable, checks references, and waits for other writers."""
    engine = sqlite_engine(path)
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    engine.dispose()
    assert found == ["wal", 2, 1, 10_000]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The file holds secrets, and so does a copy of it."""
    with Directory.open(tmp_path / "d.sqlite") as directory:
        directory.backup(tmp_path / "copy.sqlite")
    for name in ("d.sqlite", "copy.sqlite"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_newer_database_is_refused_and_left_alone(path: Path) -> None:
    """A database of a later version is not touched, and the message names both versions."""
    execute(path, "UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(WrongVersion, match=rf"has version 0999, this Calldex knows none above {VERSION}"):
        Directory.open(path)
    assert execute(path, "SELECT version_num FROM alembic_version") == [("0999",)]


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """What is not a database, or lies nowhere, is named."""
    (tmp_path / "text").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(UnreadableInput, match=r"text cannot be read: file is not a database"):
        Directory.open(tmp_path / "text")
    with pytest.raises(UnreadableInput, match=r"nowhere/d cannot be opened: No such file"):
        Directory.open(tmp_path / "nowhere" / "d")


def test_concurrent_first_opening(tmp_path: Path) -> None:
    """Several processes and threads that open a new database at once all get it, made once."""
    path = tmp_path / "d.sqlite"
    program = f"import pathlib, calldex.directory as d; d.Directory.open(pathlib.Path({str(path)!r})).close()"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: Directory.open(path), range(6)))
    assert [0, 0] == [process.wait(timeout=30) for process in processes]
    assert {len(directory.accounts()) for directory in opened} == {1}
    for directory in opened:
        directory.close()


def test_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """An opening that fails half-way leaves an empty database, which opens the next time."""
    path = tmp_path / "d.sqlite"
    with pytest.raises(DiskFull, match="no room left"):
        Directory(_small_engine(path, pages=5))
    assert execute(path, "SELECT name FROM sqlite_master") == []
    with Directory.open(path) as directory:
        assert directory.check() == []


def test_full_disk_changes_nothing(path: Path) -> None:
    """A write that finds no room is refused whole; reading goes on."""
    pages = int(str(execute(path, "PRAGMA page_count")[0][0]))
    with Directory(_small_engine(path, pages)) as directory:
        with pytest.raises(DiskFull, match="nothing was changed"):
            directory.add_source("pbx", "asterisk", {f"k{i}": "x" * 4000 for i in range(10)})
        assert directory.sources() == []


def test_writer_that_waits_too_long(path: Path) -> None:
    """While another process writes for too long, the writer is told to come again."""
    engine = sqlite_engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 10"))
    with Directory(engine) as directory, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked") as refused:
            directory.add_account("second")
        assert refused.value.retry_after == 1
        other.rollback()
        assert directory.add_account("second").name == "second"


def test_check_finds_what_dangles(directory: Directory, path: Path) -> None:
    """References to nothing, which foreign keys or nothing at all prevent, are named one by one."""
    directory.add_user("ann@example.com", "Ann", "agent", teams=[Team(7, "Sales")])
    assert directory.check() == []
    execute(path, "DELETE FROM named")
    execute(
        path,
        "INSERT INTO api_keys (user_id, prefix, hash, scope, created_at) VALUES (99, 'cdx_1234', x'00', 'read', 0)",
    )
    assert directory.check() == [
        "api_keys row 1 names a row of users that is not there",
        "ann@example.com is in the team 7, which is not there",
    ]


def test_check_finds_damage(path: Path) -> None:
    """A page overwritten by something else is found."""
    with Directory.open(path) as directory:
        for number in range(40):
            directory.add_source(f"s{number}", "jsonl", {"note": "x" * 300})
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    root = int(
        str(
            execute(
                path,
                "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_sources%'",
            )[0][0]
        )
    )
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 + 2000 : root * 4096] = bytes(2096)
    path.write_bytes(content)
    with Directory.open(path) as directory:
        assert any(problem.startswith("the file is damaged: ") for problem in directory.check())


def test_backup_while_in_use(directory: Directory, tmp_path: Path) -> None:
    """A copy is whole, opens by itself, and is never written over something."""
    key = directory.create_key(directory.add_user("ann@example.com", "Ann", "admin").email)
    with directory._db.write() as writing:  # noqa: SLF001 - a transaction that is open meanwhile
        writing.exec_driver_sql("DELETE FROM api_keys")
        directory.backup(tmp_path / "copy.sqlite")
        writing.rollback()
    with Directory.open(tmp_path / "copy.sqlite") as copy:
        assert copy.check() == []
        assert copy.find_key(key) == directory.find_key(key) is not None
    with pytest.raises(Conflict, match=r"copy\.sqlite exists already"):
        directory.backup(tmp_path / "copy.sqlite")
    with pytest.raises(UnreadableInput, match="cannot be written: No such file"):
        directory.backup(tmp_path / "nowhere" / "copy.sqlite")


def _small_engine(path: Path, pages: int) -> Engine:
    engine = sqlite_engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count = {pages}"))
    return engine
