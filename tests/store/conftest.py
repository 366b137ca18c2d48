"""Stores to test with, on each engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from calldex.store import Store
from tests.engines import ENGINES, LONG_S, Opener


# A small write takes ClickHouse twenty milliseconds, so its turn is not among the quick tests.
@pytest.fixture(scope="session", params=["embedded", pytest.param("chdb", marks=pytest.mark.slow)])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Opens the store in a folder, on one engine after the other."""
    return ENGINES[request.param]


@pytest.fixture
def reopened(opener: Opener, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the test's own store, again when it is open already; closes it in the end."""
    with ExitStack() as last:

        def reopen() -> Store:
            last.close()
            return last.enter_context(closing(opener(tmp_path, LONG_S)))

        yield reopen


@pytest.fixture
def store(reopened: Callable[[], Store]) -> Store:
    """A store of the test's own."""
    return reopened()


@pytest.fixture
def forgetful(opener: Opener, tmp_path: Path) -> Iterator[Store]:
    """A store of the test's own that keeps superseded versions for no time."""
    with closing(opener(tmp_path, 0)) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared(opener: Opener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all that is content with an account of its own."""
    with closing(opener(tmp_path_factory.mktemp("shared"), LONG_S)) as opened:
        yield opened


@pytest.fixture(scope="session")
def new_account() -> Callable[[], int]:
    """Gives the id of an account that holds nothing yet."""
    return itertools.count(1).__next__
