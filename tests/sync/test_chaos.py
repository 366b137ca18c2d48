"""Whatever happens on the way, the copy equals the source in the end."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import people, write
from tests.api.serving import Server
from tests.sync.chaos import Hurried, Story, clock_ahead, killed
from tests.sync.conftest import DAYS, RECORDS, Database, Rig, Source, without_nulls
from tests.sync.front import Front

ZONE = "Europe/Berlin"
LONGEST_S = 1200.0
"""On a busy machine a hundred lives can take hours."""
DAYLIGHT = {
    "a day of 25 hours": datetime(2026, 10, 25, 20, tzinfo=UTC),
    "a day of 23 hours": datetime(2026, 3, 29, 20, tzinfo=UTC),
}
"""Evenings of days on which clocks were changed there."""


@pytest.fixture
def berlin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """A server with the records of some days before an instant, whose users cut days in Berlin."""
    with Node(Settings(data=tmp_path / "data", threads=1)) as node:
        node.directory.set_account("main", timezone=ZONE)
        keys = people(node)
        write(node, "main", list(interactions(RECORDS, seed=3, end=request.param, days=DAYS)))
    server = Server(tmp_path / "data")
    yield Source(server.url, keys)
    server.end()


@pytest.fixture
def clock_as_it_is() -> Iterator[None]:
    """What a test did to the clock ends with it."""
    yield
    clock_ahead(timedelta())


def chaos(
    source: Source,
    database: Database,
    folder: Path,
    *,
    v2: bool,
    lives: Sequence[int],
    seed: int,
    now: datetime | None = None,
    longest_s: float = math.inf,
) -> None:
    """An endpoint that is slow, overloaded, broken and cut off, tokens that are refused, records that come late, are
    corrected, moved and erased; and a sync whose clock is wrong and that is killed in the middle. Then peace: one run
    makes the copy equal, and a proof finds nothing to repair."""
    with Front(source.url, v2=v2, seed=seed) as front:
        destination = {"kind": "postgres", "url": database.url}
        rig = Rig(folder, front.url, source.keys["admin"], destination)
        rig.stopping = Hurried
        if now is not None:
            ahead = now - datetime.now(UTC)
            front.ahead_s = ahead.total_seconds()
            rig.text["source"]["main"]["timezone"] = ZONE
            clock_ahead(ahead)
        front.trouble = 20
        story = Story(source, seed, now or datetime.now(UTC))
        killed(rig, front, story, random.Random(seed), lives, longest_s=longest_s)
        front.trouble = 0
        status = rig.run()
        assert ("", {}) == (status.problem, status.not_whole)
        assert without_nulls(source.records()) == database.records()
        assert 0 == rig.run("verify", deep=True).repaired
    log = (folder / "log").read_text()
    assert "pipe ran" in log, log[-2000:]
    assert front.made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_chaos(source: Source, database: Database, tmp_path: Path) -> None:
    """Three lives of a sync that follows the feed."""
    chaos(source, database, tmp_path, v2=False, lives=(2, 15, 5), seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("clock_as_it_is")
@pytest.mark.parametrize("berlin", [DAYLIGHT["a day of 25 hours"]], indirect=True)
def test_a_short_chaos_of_days(berlin: Source, database: Database, tmp_path: Path) -> None:
    """Three lives of a sync that reads days, one of which has 25 hours."""
    now = DAYLIGHT["a day of 25 hours"]
    chaos(berlin, database, tmp_path, v2=True, lives=(3, 60, 9), seed=1, now=now)


@pytest.mark.slow
@pytest.mark.usefixtures("clock_as_it_is")
def test_a_clock_that_was_ahead_leaves_no_gap(source: Source, tmp_path: Path) -> None:
    """A day passes for whole only when it is over on the endpoint's clock: what comes in it is read, however late."""
    with Front(source.url, v2=True) as front:
        rig = Rig(tmp_path, front.url, source.keys["admin"], {"kind": "duckdb", "path": str(tmp_path / "copy.duckdb")})
        rig.stopping = Hurried
        clock_ahead(timedelta(days=10))
        assert "" == rig.run().problem
        late = list(interactions(5, seed=17, end=datetime.now(UTC) - timedelta(hours=1), days=1))
        source.post(late)
        clock_ahead(timedelta(days=5))
        front.ahead_s = timedelta(days=5).total_seconds()
        rig.run()
        with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as copy:
            there = {uuid for (uuid,) in copy.execute("SELECT uuid FROM calls.cdrs").fetchall()}
        today = str(datetime.now(UTC).date())
        assert {each.uuid for each in late if str(each.started_at.date()) == today} <= there
    source.delete([each.uuid for each in late])


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("v2", [False, True], ids=["feed", "days"])
def test_a_long_chaos(source: Source, database: Database, tmp_path: Path, v2: bool, seed: int) -> None:
    """A hundred lives, or as many as twenty minutes have, but never few; four times."""
    lives = random.Random(seed).choices(range(1, 60), k=100)
    chaos(source, database, tmp_path, v2=v2, lives=lives, seed=seed, longest_s=LONGEST_S)


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("clock_as_it_is")
@pytest.mark.parametrize(
    ("berlin", "now"), [(now, now) for now in DAYLIGHT.values()], ids=DAYLIGHT, indirect=["berlin"]
)
def test_a_long_chaos_of_days(berlin: Source, database: Database, tmp_path: Path, now: datetime) -> None:
    """The same while clocks are changed."""
    lives = random.Random(4).choices(range(1, 60), k=100)
    chaos(berlin, database, tmp_path, v2=True, lives=lives, seed=4, now=now, longest_s=LONGEST_S)
