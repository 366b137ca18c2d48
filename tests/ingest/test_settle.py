"""Calls whose end never came: open until a stated time has passed, then over, once, until a row tells more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from calldex.access import Scope
from calldex.ingest.settle import settle
from calldex.node import Node
from calldex.records import codec
from calldex.records.record import Cdr
from calldex.search.query import Query
from calldex.settings import Settings

HOUR_MS: Final = 3_600_000
BEGAN: Final = 1_780_000_000
ENTERED: Final = f"{BEGAN}|call-1|support|NONE|ENTERQUEUE||447700900100|1\n"
CONNECTED: Final = f"{BEGAN + 9}|call-1|support|Alice|CONNECT|9|call-2|3\n"
COMPLETED: Final = f"{BEGAN + 60}|call-1|support|Alice|COMPLETECALLER|9|51|1\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with two sources that settle at different times."""
    with Node(Settings(data=tmp_path / "data", threads=1)) as node:
        node.directory.add_source("pbx", "asterisk", {"zone": "UTC"})
        node.directory.add_source("soon", "asterisk", {"zone": "UTC", "settle_after": "90m"})
        yield node


def take(node: Node, text: str, source: str = "pbx") -> None:
    """Take in some lines of a queue_log."""
    node.ingest.run(node.feed(source, None), [text.encode()], "queue_log")


def call(node: Node) -> tuple[str, tuple[str, ...], int]:
    """Outcome and flags of the one call, and how many versions it has."""
    account = node.directory.account().id
    query = Query(scope=Scope(account_id=account, whole=True))
    as_of = node.store.head(account)
    found = node.store.slice(query, as_of, limit=10, total=node.store.total(query, as_of))
    cdr = codec.decode(found.json, "")
    assert isinstance(cdr, Cdr)
    return cdr.disposition, cdr.flags, len(node.store.history(account, cdr.uuid))


def at(node: Node, hours: float) -> int:
    """How many calls are settled so long after the first."""
    settled = settle(node.directory, node.store, BEGAN * 1000 + int(hours * HOUR_MS))
    node.store.settle()
    return settled


@pytest.mark.parametrize(
    ("rows", "before", "after"),
    [(ENTERED, "waiting", "abandoned"), (ENTERED + CONNECTED, "active", "answered")],
)
def test_an_open_call_is_settled_once(node: Node, rows: str, before: str, after: str) -> None:
    """Four hours after the last thing known of it, and not a moment earlier; then it is left alone."""
    take(node, rows)
    assert (before, ("provisional",), 1) == call(node)
    assert 0 == at(node, 3.999)
    assert (before, ("provisional",), 1) == call(node)
    assert 1 == at(node, 4.01)
    assert (after, ("unfinished",), 2) == call(node)
    assert 0 == at(node, 5)
    assert (after, ("unfinished",), 2) == call(node)


def test_a_row_that_comes_later_tells_the_truth(node: Node) -> None:
    """A call that was taken to be over is made of all its rows when one more comes; the same rows again change
    nothing."""
    take(node, ENTERED + CONNECTED)
    assert 1 == at(node, 5)
    take(node, ENTERED + CONNECTED)
    assert ("answered", ("unfinished",), 2) == call(node)
    take(node, COMPLETED)
    assert ("answered", (), 3) == call(node)
    assert 0 == at(node, 6)


def test_each_source_has_its_own_time(node: Node) -> None:
    """The setting of the source counts."""
    take(node, ENTERED, "soon")
    assert (0, 1) == (at(node, 1.49), at(node, 1.51))


def test_a_call_that_is_over_is_left_alone(node: Node) -> None:
    """Rows that end a call leave nothing to settle."""
    take(node, ENTERED + CONNECTED + COMPLETED)
    assert 0 == at(node, 100)
    assert ("answered", (), 1) == call(node)


def test_several_at_once_settle_it_once(node: Node) -> None:
    """Whoever comes first does it; the others see that it is done."""
    take(node, ENTERED)
    with ThreadPoolExecutor(4) as pool:
        assert 1 == sum(pool.map(lambda _: settle(node.directory, node.store, (BEGAN + 90_000) * 1000), range(4)))
    node.store.settle()
    assert ("abandoned", ("unfinished",), 2) == call(node)


def test_many_calls_are_settled_in_pieces(node: Node) -> None:
    """More than are read at once."""
    many = 2_100
    take(node, "".join(f"{BEGAN + n}|c-{n}|support|NONE|ENTERQUEUE||4477009{n:05}|1\n" for n in range(many)))
    assert many == at(node, 10)
    assert 0 == at(node, 10)


def test_housekeeping_does_it(node: Node) -> None:
    """The node does so by itself, now and then."""
    take(node, ENTERED.replace(str(BEGAN), "1700000000"))
    node.housekeeping()
    node.store.settle()
    assert "abandoned" == call(node)[0]
