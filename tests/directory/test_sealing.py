"""Secrets of others are sealed by a key beside the database: neither it nor a backup of it tells them."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from calldex.directory import Directory, OpenidClient
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import Unavailable

SECRET = "correct-horse-battery-staple"
CLIENT = OpenidClient(
    account="main",
    issuer="https://id.example.com",
    client_id="c",
    client_secret=SECRET,
    claim="groups",
    groups={"a": ("agent",)},
)


def held(folder: Path) -> bool:
    """Whether a file of the folder holds the secret."""
    return any(SECRET.encode() in path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_the_database_does_not_tell_a_providers_secret(tmp_path: Path) -> None:
    """Neither its file nor its log nor a backup holds it; with the key beside it the directory tells it, from a backup
    alone nobody does, and says what to do."""
    path = tmp_path / "directory.db"
    with Directory.open(path) as directory:
        directory.set_openid(CLIENT)
        assert not held(tmp_path)
        directory.backup(tmp_path / "backup.db")
    assert not held(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / SEALING_FILE).stat().st_mode)
    with Directory.open(path) as directory:
        assert CLIENT == directory.openid_client("main")
    elsewhere = tmp_path / "restored"
    elsewhere.mkdir()
    shutil.copy(tmp_path / "backup.db", elsewhere / "directory.db")
    with Directory.open(elsewhere / "directory.db") as directory:
        assert "https://id.example.com" == directory.openid("main").issuer
        with pytest.raises(Unavailable, match=r"sealing\.key"):
            directory.openid_client("main")
        directory.set_openid(CLIENT)
        assert SECRET == directory.openid_client("main").client_secret


def test_what_an_earlier_version_kept_is_sealed(tmp_path: Path) -> None:
    """As the directory is opened, and nothing of it is left in the file."""
    path = tmp_path / "directory.db"
    with Directory.open(path) as directory:
        directory.set_openid(CLIENT)
    (tmp_path / SEALING_FILE).unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE openid SET client_secret = ?", (SECRET,))
        connection.commit()
    assert held(tmp_path)
    with Directory.open(path) as directory:
        assert SECRET == directory.openid_client("main").client_secret
    assert not held(tmp_path)
