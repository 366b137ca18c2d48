"""A data directory to test the command line with."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cli.tools import calldex


@pytest.fixture(autouse=True)
def left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting comes from outside, and what a process does once is undone."""
    for name in os.environ:
        if name.startswith("CALLDEX_"):
            monkeypatch.delenv(name)
    thresholds, handlers = gc.get_threshold(), logging.root.handlers[:]
    yield
    gc.set_threshold(*thresholds)
    logging.root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def people(data: Path) -> Path:
    """A data directory with a user, ana@example.com, who is an admin."""
    added = calldex("users", "add", "ana@example.com", "--name", "Ana Ruiz", "--role", "admin", data=data)
    assert 0 == added.exit_code, added.output
    return data
