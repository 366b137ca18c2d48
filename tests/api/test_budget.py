"""`query_timeout_s` over HTTP: it is the time of a whole request, however many statements and pieces it is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from calldex.access import Reach, masking
from calldex.api.app import public
from calldex.demo import interactions
from calldex.directory.model import GroupChanges
from calldex.node import Node
from calldex.settings import Settings
from calldex.store.embedded.changes import LedgerLog
from calldex.store.embedded.engine import Engine
from tests.api.conftest import Api, write

LIMIT_S: Final = 1
LONG_AFTER_S: Final = 8.0
"""Beyond what a busy machine adds to the limit."""


class Slow:
    """A cursor whose statements take longer, in the engine: they are interrupted as every statement is."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, longer_s: float) -> None:
        self._cursor = cursor
        self._longer_ms = int(longer_s * 1000)

    def execute(self, text: str, parameters: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        """The statement, later."""
        self._cursor.execute("SELECT sleep_ms(?)", [self._longer_ms]).fetchall()
        return self._cursor.execute(text, parameters)


def slower(monkeypatch: pytest.MonkeyPatch, statement_s: float, piece_s: float) -> None:
    """Every statement and every piece of a mask takes so much longer."""
    cursor_of, masked_part = Engine._cursor, masking._masked_part  # noqa: SLF001 - what takes time

    @contextmanager
    def cursor(engine: Engine, timeout_s: float | None) -> Iterator[Slow]:
        with cursor_of(engine, timeout_s) as given:
            yield Slow(given, statement_s)

    def part(json: bytes, mask: Any) -> bytes:
        time.sleep(piece_s)
        return masked_part(json, mask)

    monkeypatch.setattr(Engine, "_cursor", cursor)
    monkeypatch.setattr(masking, "_masked_part", part)


@pytest.mark.parametrize(
    ("role", "longer_s"),
    [("admin", (0.7, 0.0)), (None, (0.4, 0.4)), (None, (0.0, 0.4))],
    ids=["statements", "statements and a mask", "a mask"],
)
def test_a_search_has_one_time_in_all(
    role: str | None,
    longer_s: tuple[float, float],
    tmp_path: Path,
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The total, the page and the pieces of its mask, each of them shorter than the limit, are over with it: 503 soon
    behind it, where all of them would take longer. Who sees numbers has no mask, which would look at the time."""
    with Node(Settings(data=tmp_path / "data", threads=1, query_timeout_s=LIMIT_S)) as node:
        write(node, "main", list(interactions(1_200, seed=4)))
        blind = GroupChanges(name="Blind", permissions=("see_cdrs",), reach=Reach(whole=True))
        node.directory.put_group("main", None, blind)
        node.directory.add_user("ann@example.com", "Ann", role, groups=() if role else ("Blind",))
        key, api = node.directory.create_key("ann@example.com"), Api(public(node), runner)
        slower(monkeypatch, *longer_s)
        began = time.monotonic()
        reply = api.get("/api/v2/cdr", key, min_duration=0, per_page=1_200)
        took = time.monotonic() - began
    assert (503, "urn:calldex:error:query_timeout") == (reply.status_code, reply.json().get("type"))
    assert f"longer than {LIMIT_S} s" in reply.text
    assert LIMIT_S <= took < LONG_AFTER_S


def test_a_page_of_the_feed_has_one_time_in_all(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no statement of the engine is part of it; and who asks then has the whole time again."""
    since, longer_s = LedgerLog.since, [1.2 * LIMIT_S]

    def slow(self: LedgerLog, *given: Any) -> Any:
        time.sleep(longer_s[0])
        return since(self, *given)

    with Node(Settings(data=tmp_path / "data", threads=1, query_timeout_s=LIMIT_S)) as node:
        write(node, "main", list(interactions(50, seed=4)))
        node.directory.add_user("ann@example.com", "Ann", "admin")
        key, api = node.directory.create_key("ann@example.com"), Api(public(node), runner)
        monkeypatch.setattr(LedgerLog, "since", slow)
        for least in (0, 1):
            reply = api.get("/api/v2/cdr/changes", key, min_duration=least)
            assert (503, "urn:calldex:error:query_timeout") == (reply.status_code, reply.json().get("type"))
        longer_s[0] = 0
        assert 50 == len(api.get("/api/v2/cdr/changes", key).json()["changes"])
