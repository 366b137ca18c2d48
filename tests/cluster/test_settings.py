"""A node whose directory is a shared PostgreSQL database: what lies where, and what a start tells that cannot be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from calldex.address import DirectoryAddress
from calldex.node import Node
from calldex.settings import Settings
from tests.cli.tools import calldex
from tests.directory.places import PostgresqlPlace


def test_a_node_on_a_shared_directory(postgresql: PostgresqlPlace, tmp_path: Path) -> None:
    """What one node writes is what the next one finds, in a data directory of its own, where no directory lies."""
    found = []
    for name in ("one", "two"):
        settings = Settings(data=tmp_path / name, directory=DirectoryAddress(postgresql.address))
        with Node(settings) as node:
            node.directory.add_account(name)
            found = [account.name for account in node.directory.accounts()]
        assert not list((tmp_path / name).glob("directory.*"))
    assert ["main", "one", "two"] == found


def test_commands_on_a_shared_directory(
    postgresql: PostgresqlPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They work on a data directory that has records, and refuse one that has none; the password is not shown."""
    address = postgresql.address.replace("calldex@", "calldex:not-for-messages@")
    monkeypatch.setenv("CALLDEX_DIRECTORY", address)
    assert 0 == calldex("users", "add", "ana@example.com", "--name", "Ana", data=tmp_path / "one").exit_code
    listed = calldex("users", "list", data=tmp_path / "one")
    assert (0, True) == (listed.exit_code, "ana@example.com" in listed.stdout)
    missing = calldex("users", "list", data=tmp_path / "two")
    assert (5, True) == (missing.exit_code, "there is no data directory" in missing.stderr)
    table, shown = (calldex("settings", *words, data=tmp_path / "one").stdout for words in ((), ("--json",)))
    for text in (table, shown):
        assert (False, True) == ("not-for-messages" in text, "calldex:***@" in text)
    found = msgspec.json.decode(shown)
    assert {"value": "embedded", "origin": "default"} == found["store"]
    assert "environment" == found["directory"]["origin"]


def test_the_password_is_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is refused is not repeated."""
    monkeypatch.setenv("CALLDEX_DIRECTORY", "postgresql://ann:not-for-messages@db")
    monkeypatch.setenv("CALLDEX_STORE", "clickhouse://ann:not-for-messages@db")
    told = calldex("users", "list", data=tmp_path)
    assert (2, False) == (told.exit_code, "not-for-messages" in told.output)
    assert "CALLDEX_DIRECTORY: not a value of this setting. Valid: postgresql://user:password@host" in told.stderr
