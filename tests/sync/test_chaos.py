"""Whatever happens on the way, the copy equals the source in the end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.sync.chaos import Story, killed
from tests.sync.conftest import Database, Rig, Source, without_nulls
from tests.sync.front import Front


def chaos(source: Source, database: Database, folder: Path, *, v2: bool, lives: Sequence[int], seed: int) -> None:
    """An endpoint that is slow, overloaded, broken and cut off, tokens that are refused, records that come late, are
    corrected, moved and erased; and a sync that is killed in the middle. Then peace: one run makes the copy equal, and
    a proof finds nothing to repair."""
    with Front(source.url, v2=v2, seed=seed) as front:
        destination = {"kind": "postgres", "url": database.url}
        rig = Rig(folder, front.url, source.keys["admin"], destination)
        front.trouble = 20
        story = Story(source, seed)
        killed(rig, front, story, random.Random(seed), lives)
        front.trouble = 0
        status = rig.run()
        assert ("", {}) == (status.problem, status.not_whole)
        assert without_nulls(source.records()) == database.records()
        assert 0 == rig.run("verify").repaired
    log = (folder / "log").read_text()
    assert "pipe ran" in log, log[-2000:]
    assert front.made


@pytest.mark.slow
@pytest.mark.parametrize("v2", [False, True], ids=["feed", "days"])
def test_a_short_chaos(source: Source, database: Database, tmp_path: Path, v2: bool) -> None:
    """Three lives of a sync."""
    chaos(source, database, tmp_path, v2=v2, lives=(3, 45, 9) if v2 else (2, 15, 5), seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("v2", [False, True], ids=["feed", "days"])
def test_a_long_chaos(source: Source, database: Database, tmp_path: Path, v2: bool, seed: int) -> None:
    """A hundred lives, four times."""
    chaos(source, database, tmp_path, v2=v2, lives=random.Random(seed).choices(range(1, 60), k=100), seed=seed)
