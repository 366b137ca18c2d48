"""One budget of time for everything that a request causes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from calldex import budget
from calldex.access import Mask, Scope
from calldex.access.masking import masked
from calldex.demo import interactions
from calldex.errors import QueryTimeout
from calldex.node import Node
from calldex.records import codec
from calldex.records.record import canonical
from calldex.search.query import Query
from calldex.settings import Settings
from calldex.store.embedded import sqlite
from calldex.transport.replies import coded
from tests.api.conftest import write


@pytest.mark.slow
def test_many_short_statements_end_together(tmp_path: Path) -> None:
    """Each statement may take as long as a request, but not one after the other: the first that begins when the time is
    over is refused. Without a budget they go on."""
    with Node(Settings(data=tmp_path / "data", threads=1, query_timeout_s=30)) as node:
        write(node, "main", list(interactions(200, seed=4)))
        account = node.directory.account().id
        asked = 0

        def ask() -> None:
            nonlocal asked
            query = Query(scope=Scope(account_id=account, whole=True), start_ms=asked)
            node.store.total(query, node.store.head(account))
            asked += 1

        def go_on() -> None:
            while True:
                ask()

        with budget.within(0.5), pytest.raises(QueryTimeout, match=r"longer than 0\.5 s"):
            go_on()
        assert asked > 1
        ask()


def test_a_statement_of_the_ledger_ends_in_time(tmp_path: Path) -> None:
    """One that would never end; the connection can be used afterwards."""
    sqlite.connect(tmp_path / "a.db").close()
    with closing(sqlite.reading(tmp_path / "a.db")) as reader:
        endless = "WITH RECURSIVE one (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one) SELECT max(n) FROM one"
        with budget.within(0.1), pytest.raises(QueryTimeout, match=r"longer than 0\.1 s"):
            sqlite.rows(reader, endless)
        assert [(1,)] == sqlite.rows(reader, "SELECT 1")


def test_a_mask_ends_in_time() -> None:
    """It looks at the time again and again, and no further than there is some."""
    records = b"\n".join(codec.encode(canonical(cdr)) for cdr in interactions(300, seed=4))
    mask = Mask(numbers=True, match=False)
    with budget.within(0), pytest.raises(QueryTimeout):
        masked(records, mask)
    with budget.within(600), budget.within(60):
        assert 0 < budget.left() <= 60
        assert masked(records, mask)


def test_an_encoder_begins_in_time() -> None:
    """Nothing is compressed for a request whose time is over."""
    with budget.within(0), pytest.raises(QueryTimeout):
        coded(b"x" * 10_000, "gzip")


def test_a_budget_ends_with_its_block() -> None:
    """The longer one does not outlive a shorter one around it, and behind it the one before counts again."""
    with budget.within(5):
        with budget.within(100):
            assert budget.left() <= 5
        with budget.within(1):
            assert budget.left() <= 1
        assert 1 < budget.left() <= 5
    assert budget.left(7) == 7
