"""Backup, restore, check, settings, and a data directory that cannot be used."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import msgspec
import pytest

from calldex.datadir import Lock
from tests.api.test_full_disk import fill_wholly
from tests.cli.tools import calldex, jsonl
from tests.store.test_durability import small_disk


@pytest.fixture
def full(people: Path) -> Path:
    """A data directory with a user and 50 records."""
    assert 0 == calldex("import", "-", data=people, stdin=jsonl(50)).exit_code
    return people


def test_a_restored_backup_is_equal(full: Path, tmp_path: Path) -> None:
    """The same records and users; a store of its own, so that search tokens of the old one are refused."""
    assert 0 == calldex("backup", tmp_path / "b" / "one", data=full).exit_code
    restored = calldex("restore", tmp_path / "b" / "one", data=tmp_path / "new")
    assert 0 == restored.exit_code, restored.output
    search = ("search", "--all", "--format", "jsonl")
    assert calldex(*search, data=full).stdout == calldex(*search, data=tmp_path / "new").stdout
    assert calldex("users", "list", data=full).stdout == calldex("users", "list", data=tmp_path / "new").stdout
    ids = set()
    for path in (full, tmp_path / "new"):
        with closing(sqlite3.connect(path / "ledger.db")) as ledger:
            ids.add(ledger.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone())
    assert 2 == len(ids)
    assert 0 == calldex("check", data=tmp_path / "new").exit_code


def test_a_backup_is_nobody_elses(full: Path, tmp_path: Path) -> None:
    """Its folder and its files are for their owner alone."""
    calldex("backup", tmp_path / "b", data=full)
    assert {0} == {path.stat().st_mode & 0o077 for path in (tmp_path / "b", *(tmp_path / "b").glob("*.db"))}


def test_a_backup_overwrites_nothing(full: Path, tmp_path: Path) -> None:
    """A folder with something in it is refused and left as it was, an empty one is filled."""
    target = tmp_path / "b"
    target.mkdir()
    (target / "mine").touch()
    assert 1 == calldex("backup", target, data=full).exit_code
    assert ["mine"] == [path.name for path in target.iterdir()]
    (target / "mine").unlink()
    assert 0 == calldex("backup", target, data=full).exit_code


def test_restoring_overwrites_nothing(full: Path, tmp_path: Path) -> None:
    """A directory with data is refused; one with only a settings file is not."""
    calldex("backup", tmp_path / "b", data=full)
    result = calldex("restore", tmp_path / "b", data=full)
    assert (1, True) == (result.exit_code, "is not empty" in result.stderr)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "calldex.toml").write_text("port = 9000\n")
    assert 0 == calldex("restore", tmp_path / "b", data=tmp_path / "new").exit_code


@pytest.mark.parametrize("name", ["ledger.db", "directory.db", "manifest.json"])
def test_a_damaged_backup_is_refused(name: str, full: Path, tmp_path: Path) -> None:
    """One changed byte is seen, and nothing of the backup is left in the directory; exit code 5."""
    calldex("backup", tmp_path / "b", data=full)
    content = bytearray((tmp_path / "b" / name).read_bytes())
    content[len(content) // 2] ^= 0x80
    (tmp_path / "b" / name).write_bytes(content)
    assert 5 == calldex("restore", tmp_path / "b", data=tmp_path / "new").exit_code
    left = {path.name for path in (tmp_path / "new").iterdir()} if (tmp_path / "new").exists() else set()
    assert left <= {"calldex.lock"}


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    """Exit code 5, and the missing file is named."""
    result = calldex("restore", tmp_path, data=tmp_path / "new")
    assert (5, True) == (result.exit_code, "manifest.json: No such file" in result.stderr)


@pytest.mark.parametrize("left", [0, 1 << 14])
def test_restoring_and_exporting_on_a_full_disk(full: Path, tmp_path: Path, left: int) -> None:
    """Exit code 4, the name of what had no room, and nothing is left."""
    assert 0 == calldex("backup", tmp_path / "backup", data=full).exit_code
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk):
        (disk / "ballast").write_bytes(bytes((12 << 20) - (1 << 17)))
        fill_wholly(disk)
        with (disk / "ballast").open("r+b") as file:
            file.truncate((disk / "ballast").stat().st_size - left)
        for words in (
            ("restore", tmp_path / "backup", "--data", disk / "data"),
            ("export", "--format", "ndjson", "-o", disk / "data", "--data", full),
        ):
            ended = calldex(*words)
            assert (4, True) == (ended.exit_code, str(disk) in ended.stderr), ended.stderr
            assert [disk / "ballast"] == list(disk.iterdir())


def test_a_folder_that_has_no_room_is_no_unreadable_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    assert 4 == calldex("users", "add", "a@example.com", "--name", "A", data=tmp_path / "data").exit_code


def test_check_finds_a_changed_record(full: Path) -> None:
    """A record that the columns have otherwise than the ledger is found by its day; exit code 1."""
    assert 0 == calldex("check", data=full).exit_code
    with duckdb.connect(str(full / "columns.duckdb")) as columns:
        changed = "(SELECT min(uuid) FROM cdr)"
        columns.execute(f"UPDATE cdr SET duration_s = duration_s + 1 WHERE uuid = {changed}")
        day = columns.execute(
            f"SELECT strftime(make_timestamp(started_ms * 1000), '%Y-%m-%d') FROM cdr WHERE uuid = {changed}"
        ).fetchall()[0][0]
    result = calldex("check", data=full)
    assert (1, True) == (result.exit_code, day in result.stdout)
    found = msgspec.json.decode(calldex("check", "--json", data=full).stdout)
    assert [day] == [each["day"] for each in found["days"] if not each["equal"]]


def test_settings_tell_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag, environment, file, default."""
    (tmp_path / "calldex.toml").write_text("threads = 1\n")
    monkeypatch.setenv("CALLDEX_PORT", "9000")
    found = msgspec.json.decode(calldex("settings", "--json", data=tmp_path).stdout)
    assert {"value": str(tmp_path), "origin": "flag"} == found["data"]
    assert {"value": 9000, "origin": "environment"} == found["port"]
    assert {"value": 1, "origin": "file"} == found["threads"]
    assert {"value": "127.0.0.1", "origin": "default"} == found["host"]
    assert "environment" in calldex("settings", data=tmp_path).stdout


def test_a_bad_setting_stops_every_command(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is valid; exit code 2."""
    monkeypatch.setenv("CALLDEX_PORT", "nine")
    for words in (("settings",), ("serve",), ("users", "list")):
        result = calldex(*words, data=data)
        assert (2, True) == (result.exit_code, "CALLDEX_PORT 'nine'" in result.stderr)


def test_a_newer_data_directory_is_refused(full: Path) -> None:
    """Exit code 7, and what to do."""
    with closing(sqlite3.connect(full / "ledger.db")) as ledger, ledger:
        ledger.execute("PRAGMA user_version = 99")
    result = calldex("search", data=full)
    assert (7, True) == (result.exit_code, "se a newer Calldex" in result.stderr)


def test_a_damaged_ledger_is_told(full: Path) -> None:
    """One line, exit code 5."""
    (full / "ledger.db").write_bytes(b"no database at all" * 1000)
    result = calldex("search", data=full)
    assert (5, 1) == (result.exit_code, result.stderr.count("\n"))


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    """One line, exit code 5."""
    (tmp_path / "f").touch()
    result = calldex("accounts", "add", "north", data=tmp_path / "f")
    assert (5, 1) == (result.exit_code, result.stderr.count("\n"))


def test_an_owner_that_does_not_answer(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, then named by its process; exit code 6."""
    monkeypatch.setattr("calldex.cli.client.PATIENCE_S", 0.3)
    lock = Lock(full)
    try:
        result = calldex("search", data=full)
    finally:
        lock.release()
    assert (6, True) == (result.exit_code, f"in use by process {os.getpid()}" in result.stderr)
