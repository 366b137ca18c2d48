"""A sync that is killed again and again, in a process of its own, beside a source that changes all the while."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from calldex import clock
from calldex.demo import interactions
from calldex.records.record import Cdr
from calldex.sync import reading
from calldex.sync import source as sources
from calldex.sync.destinations import Copy
from tests.sync.conftest import Rig, Source
from tests.sync.front import Front

_PRELOADED: Final = ("dlt", "dlt.destinations", "pyarrow", "calldex.sync.destinations.warehouse", "tests.sync.conftest")
SKEWS: Final = [timedelta(), *(timedelta(hours=hours) for hours in (-200, -26, -1, 1, 26, 200))]
"""By how much a sync's clock is ahead of the endpoint's."""
_LONGEST_S: Final = 0.05
FEWEST: Final = 25
PAGE: Final = 100


class Hurried(threading.Event):
    """Nobody waits as long between two tries as outside of tests."""

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is told to stop, or not so long."""
        return super().wait(None if timeout is None else min(timeout, _LONGEST_S))


def clock_ahead(by: timedelta) -> None:
    """From now on this process is wrong about the time."""
    seconds = by.total_seconds()
    moved_time = SimpleNamespace(time_ns=lambda: time.time_ns() + round(seconds * 1e9))
    vars(clock).update(time=moved_time, datetime=SimpleNamespace(now=lambda zone: datetime.now(zone) + by))


def sync(folder: str, key: str, text: dict[str, Any], ahead: timedelta) -> None:
    """Run a pipe until it is killed, by a clock that is wrong; what it says goes to a file."""
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    sys.stdout = os.fdopen(log, "w", buffering=1)  # a line at a time: nobody writes the rest when it is killed
    clock_ahead(ahead)
    for module in (reading, sources):
        vars(module)["PAGE"] = PAGE  # so that there are walks to be killed in
    Copy.batch_size = 2 * PAGE  # likewise
    rig = Rig(Path(folder), "", key, {})
    rig.text, rig.stopping = text, Hurried
    while True:
        rig.run()


class Story:
    """What happens to the source: records come, late ones too, are corrected and erased. All of the last two days
    before `now`."""

    def __init__(self, source: Source, seed: int, now: datetime) -> None:
        self._source = source
        self._now = now
        self._chance = random.Random(seed)
        self._coming = list(interactions(20_000, seed=seed, end=now, days=1))
        self._chance.shuffle(self._coming)
        self._there: dict[str, Cdr] = {}
        self.told = 0

    def go_on(self) -> None:
        """One thing more."""
        match self._chance.choice(("new", "new", "correct", "move", "erase")):
            case "new":
                count = min(len(self._coming), self._chance.randint(1, 40))  # a slow machine comes to the end of them
                self._post([self._coming.pop() for _ in range(count)])
            case "correct":
                self._post([msgspec.structs.replace(each, comment=str(self.told)) for each in self._some()])
            case "move":  # to another time, and it may be another day
                by = timedelta(hours=self._chance.randint(-20, -1))
                self._post([_moved(each, by) for each in self._some() if self._recent(each, by)])
            case "erase":
                uuids = [each.uuid for each in self._some()]
                self._source.delete(uuids)
                for uuid in uuids:
                    self._there.pop(uuid, None)
        self.told += 1

    def _recent(self, record: Cdr, by: timedelta) -> bool:
        """Whether a look-back of three days still finds it when it has moved."""
        return record.started_at + by > self._now - timedelta(days=1, hours=12)

    def _some(self) -> list[Cdr]:
        return self._chance.sample(list(self._there.values()), min(len(self._there), self._chance.randint(1, 5)))

    def _post(self, records: list[Cdr]) -> None:
        if records:
            self._source.post(records)
            self._there |= {each.uuid: each for each in records}


def _moved(record: Cdr, by: timedelta) -> Cdr:
    times = {name: getattr(record, name) for name in ("started_at", "answered_at", "ended_at")}
    return msgspec.structs.replace(
        record, events=(), legs=(), **{name: None if at is None else at + by for name, at in times.items()}
    )


def killed(
    rig: Rig, front: Front, story: Story, chance: random.Random, lives: Sequence[int], *, longest_s: float
) -> None:
    """Let a sync run beside the story, killed and started again: in each of its lives a moment after so many requests,
    so that a busy machine only makes it take longer. In each, its clock is wrong by something else. After so many
    seconds only as many lives follow as make `FEWEST`."""
    began = time.monotonic()
    starting = multiprocessing.get_context("forkserver")
    starting.set_forkserver_preload(list(_PRELOADED))
    words = (str(rig.folder), rig.environment["CDR_KEY"], rig.text)
    for number, requests in enumerate(lives):
        if number >= FEWEST and time.monotonic() - began > longest_s:
            return
        ahead = timedelta(seconds=front.ahead_s) + chance.choice(SKEWS)
        process = starting.Process(target=sync, args=(*words, ahead), daemon=True)
        process.start()
        try:
            until = front.seen.total() + requests
            while front.seen.total() < until:  # for as long as a test may take
                assert process.is_alive(), (rig.folder / "log").read_text()[-2000:]
                story.go_on()
                time.sleep(chance.uniform(0.01, 0.1))
            time.sleep(chance.uniform(0, 1))
        finally:
            process.kill()  # whatever becomes of the test, it does not write into the database of the next one
            process.join()
