"""What is a matter of SQLite's alone: files and who may read them, full disks, damage, locks and copies."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from calldex.directory import Directory
from calldex.directory.database import sqlite_engine
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import Conflict, DiskFull, Unavailable, UnreadableInput
from tests.directory.places import SqlitePlace


def execute(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What another program does to the database."""
    return SqlitePlace(path).execute(sql)


def small_engine(path: Path, pages: int) -> Engine:
    """An engine on a file that cannot grow beyond some pages."""
    engine = sqlite_engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count = {pages}"))
    return engine


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


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """What is not a database, or lies nowhere, is named."""
    (tmp_path / "text").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(UnreadableInput, match=r"text cannot be read: file is not a database"):
        Directory.open(tmp_path / "text")
    with pytest.raises(UnreadableInput, match=r"nowhere/d cannot be opened: No such file"):
        Directory.open(tmp_path / "nowhere" / "d")


def test_a_first_opening_on_a_full_disk(tmp_path: Path) -> None:
    """It leaves an empty database, which opens the next time."""
    path = tmp_path / "d.sqlite"
    with pytest.raises(DiskFull, match="no room left"):
        Directory(small_engine(path, pages=5), tmp_path / SEALING_FILE)
    assert execute(path, "SELECT name FROM sqlite_master") == []
    with Directory.open(path) as directory:
        assert directory.check() == []


def test_full_disk_changes_nothing(path: Path) -> None:
    """A write that finds no room is refused whole; reading goes on."""
    pages = execute(path, "PRAGMA page_count")[0][0]
    with Directory(small_engine(path, pages), path.with_name(SEALING_FILE)) as directory:
        with pytest.raises(DiskFull, match="nothing was changed"):
            directory.add_source("pbx", "asterisk", {f"k{i}": "x" * 4000 for i in range(10)})
        assert directory.sources() == []


def test_writer_that_waits_too_long(path: Path) -> None:
    """While another process writes for too long, the writer is told to come again."""
    engine = sqlite_engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 10"))
    with Directory(engine, path.with_name(SEALING_FILE)) as directory, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked") as refused:
            directory.add_account("second")
        assert refused.value.retry_after == 1
        other.rollback()
        assert directory.add_account("second").name == "second"


def test_check_finds_what_dangles(path: Path) -> None:
    """References to nothing, which foreign keys prevent where they are checked, are named one by one."""
    execute(
        path,
        "INSERT INTO api_keys (user_id, prefix, hash, scopes, networks, created_at)"
        " VALUES (99, 'cdx_1234', x'00', 'read', '[]', 0)",
    )
    with Directory.open(path) as directory:
        assert directory.check() == ["api_keys row 1 names a row of users that is not there"]


def test_check_finds_damage(path: Path) -> None:
    """A page overwritten by something else is found."""
    with Directory.open(path) as directory:
        for number in range(40):
            directory.add_source(f"s{number}", "jsonl", {"note": "x" * 300})
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    root = execute(path, "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_sources%'")[0][0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 + 2000 : root * 4096] = bytes(2096)
    path.write_bytes(content)
    with Directory.open(path) as directory:
        assert any(problem.startswith("the file is damaged: ") for problem in directory.check())


def test_backup_while_in_use(path: Path, tmp_path: Path) -> None:
    """A copy is whole, opens by itself, and is never written over something."""
    with Directory.open(path) as directory:
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
