"""A directory to test with, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import event

from calldex.directory import Directory
from tests.conftest import database
from tests.directory.places import Place, SqlitePlace

# The quick part of the tests looks at PostgreSQL by what is its matter alone, and leaves the rest to SQLite.
BOTH: Final = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def migrated_once() -> None:
    """Here a first opening is one."""


@pytest.fixture
def path(new_directory: Path, tmp_path: Path) -> Path:
    """A new file of the test's own, for what is SQLite's matter alone."""
    return Path(shutil.copy(new_directory, tmp_path / "directory.sqlite"))


@pytest.fixture(params=BOTH)
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where no directory was opened yet."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path / "directory.sqlite")
    else:
        yield from database(request.getfixturevalue("server"), "empty", tmp_path)


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest) -> Place:
    """Where a new directory is."""
    if request.param == "sqlite":
        return SqlitePlace(request.getfixturevalue("path"))
    made: Place = request.getfixturevalue("postgresql")
    return made


@pytest.fixture
def directory(place: Place) -> Iterator[Directory]:
    """The directory in `place`, open."""
    with place.open() as opened:
        yield opened


@pytest.fixture
def watched(place: Place) -> Iterator[tuple[Directory, list[str]]]:
    """The directory in `place`, open, and the statements it sends."""
    engine = place.engine()
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with Directory(engine, place.sealing) as opened:
        yield opened, statements
