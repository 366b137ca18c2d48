"""A directory to test with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from calldex.directory import Directory
from calldex.directory.database import sqlite_engine


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as it is after its first opening; migrating once saves the time of every other test."""
    path = tmp_path_factory.mktemp("directory") / "new.sqlite"
    Directory.open(path).close()
    return path


@pytest.fixture
def path(new_database: Path, tmp_path: Path) -> Path:
    """A new database of the test's own."""
    return Path(shutil.copy(new_database, tmp_path / "directory.sqlite"))


@pytest.fixture
def directory(path: Path) -> Iterator[Directory]:
    """The directory in `path`, open."""
    with Directory.open(path) as opened:
        yield opened


@pytest.fixture
def watched(path: Path) -> Iterator[tuple[Directory, list[str]]]:
    """The directory in `path`, open, and the statements it sends."""
    engine = sqlite_engine(path)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with Directory(engine) as opened:
        yield opened, statements
