"""Rows of one call come in at two nodes at once, and make one call of all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calldex.directory import Directory
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import Unavailable
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest, Summary
from calldex.records.record import CallRow, Cdr
from calldex.store import Store
from calldex.store.clickhouse import ClickhouseStore
from tests import postgres
from tests.engines import answer, chdb_database, everything
from tests.ingest.test_pipeline import Plain, PlainSettings

WAIT_S = 0.5


class Slow(Plain):
    """A node that is held up while it puts calls together."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self.begun, self.go_on = threading.Event(), threading.Event()

    def assemble(self, rows: Sequence[CallRow], settings: Any, source: str) -> Cdr | None:
        """See `Plain.assemble`."""
        made = super().assemble(rows, settings, source)
        self.begun.set()
        self.go_on.wait(self._wait_s)
        return made


class Node:
    """A node on a store and a directory that it shares."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self.store, self._ingest = store, Ingest(directory, store)

    def take(self, row: str, account_id: int, format_: Plain) -> Summary:
        """Take in a row."""
        feed = Feed(account_id=account_id, source="pbx", format=format_, settings=PlainSettings())
        return self._ingest.run(feed, [row.encode()], "file")

    def calls(self, account_id: int) -> list[tuple[int, str]]:
        """Length and comment of every call."""
        _, json = answer(self.store, everything(account_id))
        return sorted((each["duration_s"], each["comment"]) for each in map(msgspec.json.decode, json.splitlines()))


@pytest.fixture
def two(shared: str, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes."""
    address = chdb_database(tmp_path)
    with ExitStack() as opened:

        def node() -> Node:
            directory = opened.enter_context(Directory.shared(shared, tmp_path / SEALING_FILE))
            commits = directory.commits()
            store = ClickhouseStore(address, commits, timeout_s=20, superseded_kept_s=1e6)
            return Node(opened.enter_context(closing(store)), directory)

        yield node(), node()


def test_two_nodes_put_one_call_together(two: tuple[Node, Node], new_account: Callable[[], int]) -> None:
    """Who comes second sees the rows of who came first, although both began before either was done."""
    account_id, slow = 1000 + new_account(), Slow(WAIT_S)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(two[0].take, "1;a;one", account_id, slow)
        assert slow.begun.wait(10)
        second = threads.submit(two[1].take, "2;a;two", account_id, Plain())
        assert (1, 1) == (first.result().accepted, second.result().updated)
    assert [(2, "one two")] == two[0].calls(account_id) == two[1].calls(account_id)


@pytest.mark.parametrize("text", ["one", "later"])
def test_a_node_that_stood_still(
    two: tuple[Node, Node], server: postgres.Server, new_account: Callable[[], int], text: str
) -> None:
    """A node whose turn was taken away while it put a call together is refused, whether or not that makes a record, and
    sees the rows of the other when it tries again."""
    account_id, slow = 1000 + new_account(), Slow(10)
    row = f"1;a;{text}"
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(two[0].take, row, account_id, slow)
        assert slow.begun.wait(10)
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'", "nodes")
        two[1].take("2;a;end", account_id, Plain())
        slow.go_on.set()
        with pytest.raises(Unavailable, match="took over"):
            first.result()
    two[0].take(row, account_id, Plain())
    assert [(2, f"end {text}")] == two[1].calls(account_id)
