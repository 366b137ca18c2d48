"""The change feed through `kill -9`, while several write and calls become one: no hole, and nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.store import feeder

ROOT = Path(__file__).parents[2]


def killed(engine: str, folder: Path, seed: int, after_s: float) -> None:
    """Let the program run, and kill it some time after it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.feeder", engine, str(folder), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    try:
        begun = next((line for line in process.stdout if line == "begun\n"), "")
        time.sleep(after_s)
        ended = process.poll()
    finally:
        process.kill()
        _, said = process.communicate()
    assert ("begun\n", None) == (begun, ended), said[-4000:]


def faults(engine: str, folder: Path) -> list[str]:
    """What is wrong with the chains; told by another process, as one can have the engine of one store alone."""
    told = subprocess.check_output(
        [sys.executable, "-m", "tests.store.feeder", engine, str(folder)],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    found: list[str] = msgspec.json.decode(told.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["embedded", "chdb"])
def test_a_chain_survives_kills(engine: str, tmp_path: Path) -> None:
    """Killed at any moment, again and again: what was read and what is read after it are one chain, and a copy that
    applies it holds what the list has."""
    chance = random.Random(engine)
    for seed in range(3):
        killed(engine, tmp_path, seed, chance.random())
    assert feeder.told_of(tmp_path) >= 3 * feeder.ENOUGH
    assert [] == faults(engine, tmp_path)


@pytest.mark.slow
def test_a_hole_is_seen(tmp_path: Path) -> None:
    """A page that is lost, or kept twice, is found: the test above would fail."""
    killed("embedded", tmp_path, 0, 0.0)
    assert [] == faults("embedded", tmp_path)
    kept = sorted((tmp_path / "all").glob("*.json"))
    decoded = [(path, msgspec.json.decode(path.read_bytes(), type=feeder.Page)) for path in kept]
    full, page = next((path, page) for path, page in decoded if any(json for _, _, json in page.told))
    lost = next(one for one in page.told if one[2] is not None)
    left = [one for one in page.told if one != lost]
    full.write_bytes(msgspec.json.encode(msgspec.structs.replace(page, told=left)))
    assert any("left out" in fault for fault in faults("embedded", tmp_path))
    full.write_bytes(msgspec.json.encode(msgspec.structs.replace(page, told=[*page.told, page.told[0]])))
    assert any("times more" in fault for fault in faults("embedded", tmp_path))
