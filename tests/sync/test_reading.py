"""What is in memory while a source is quicker than the destination."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from calldex.sync import reading
from calldex.sync import source as sources
from calldex.sync.beside import ahead
from calldex.sync.destinations import Batch, Failed, Nothing
from tests.patience import patient
from tests.sync.conftest import RECORDS, Rig, Source
from tests.sync.front import Front

PAGE: Final = 10
BATCH: Final = 20


def test_rows_in_flight_are_bounded(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that takes its time makes the reader wait: beside its batch there are never more than two pages,
    however much there is to read; and there are those three."""
    in_flight: list[int] = []
    taken = 0
    most = BATCH + sources.AHEAD * PAGE

    def slow(_: Nothing, batch: Batch) -> Sequence[Failed]:
        nonlocal taken
        deadline = time.monotonic() + patient(10)
        while (asked := front.seen["/api/v2/cdr/changes"] * PAGE - taken) < most and asked + taken < RECORDS:
            assert time.monotonic() < deadline, f"nobody reads ahead: {asked} rows"
            time.sleep(0.001)
        if not in_flight:
            time.sleep(0.2)  # in which more would come, if it could
        in_flight.append(front.seen["/api/v2/cdr/changes"] * PAGE - taken)
        taken += len(batch.changes)
        return ()

    monkeypatch.setattr(Nothing, "apply", slow)
    monkeypatch.setattr(Nothing, "batch_size", BATCH)
    for module in (reading, sources):
        monkeypatch.setattr(module, "PAGE", PAGE)
    with Front(source.url) as front:
        pipe = Rig(tmp_path, front.url, source.keys["admin"], {"kind": "nothing"})
        pipe.text["source"]["main"]["kind"] = "calldex"
        status = pipe.run()
    assert ("", taken) == (status.problem, status.changes)
    assert most == max(in_flight)


def test_what_is_made_ahead() -> None:
    """Comes in its order, with the error that ended it; and when nobody takes it any more, no more is made."""
    made: list[int] = []
    ended = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            for number in range(5):
                made.append(number)
                yield number
            raise ValueError("no more")
        finally:
            ended.set()

    def taken(given: Iterator[int]) -> Iterator[Any]:
        try:
            yield from given
        except ValueError as error:
            yield str(error)

    assert [0, 1, 2, 3, 4, "no more"] == list(taken(ahead(numbers(), 2)))
    made.clear()
    ended.clear()
    some = ahead(numbers(), 2)
    assert 0 == next(some)
    while len(made) < 3:
        time.sleep(0.001)
    assert not ended.wait(0.2)
    assert [0, 1, 2] == made
    some.close()  # type: ignore[attr-defined]  # it is a generator
    assert ended.wait(patient(10))
    assert [0, 1, 2] == made
