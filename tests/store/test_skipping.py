"""Skipping many records counts them by quarter hours, no further back than so many should reach."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from calldex.access import Scope
from calldex.records import codec
from calldex.records.record import Cdr, from_ms
from calldex.search.query import parse
from calldex.store import Position
from calldex.store.embedded import columns
from tests import reference
from tests.engines import embedded, put

QUARTER_MS = 15 * 60 * 1000


def test_a_page_behind_many_skipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all records, of those a filter means, however they lie (dense of late, sparse before, some at once), and
    behind a position: the page is the one that reading everything gives, wherever it begins, to beyond the end."""
    monkeypatch.setattr(columns, "_DIRECT_SKIP", 3)
    monkeypatch.setattr(columns, "_AT_LEAST", 2)
    starts = [at * QUARTER_MS // 3 for at in range(30)] + [(1000 + at // 20) * QUARTER_MS + at % 7 for at in range(70)]
    records = [
        Cdr(
            uuid=f"01980c1e-6f3a-8d21-9a3b-5c1f0e{number:06d}",
            type="inbound" if number % 9 else "outbound",
            disposition="answered",
            started_at=from_ms(10**12 + started),
            duration_s=0,
        )
        for number, started in enumerate(starts)
    ]
    with closing(embedded(tmp_path)) as store:
        put(store, records)
        for asked in ({}, {"type": "outbound"}, {"type": "inbound", "start_date": "2001-09-09"}):
            query = parse(asked.items(), Scope(account_id=1, whole=True), "UTC")[0]
            expected = reference.answer(records, asked)
            for passed in (0, 5):
                last = expected[passed - 1]
                after = Position(int(last.started_at.timestamp() * 1000), last.uuid) if passed else None
                for skip in range(len(expected) - passed + 2):
                    page = expected[passed + skip :][:4]
                    found = store.slice(query, store.head(1), limit=4, total=len(expected), after=after, skip=skip)
                    assert b"\n".join(map(codec.encode, page)) == found.json, (asked, passed, skip)
