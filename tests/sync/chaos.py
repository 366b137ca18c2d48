"""A sync that is killed again and again, in a process of its own, beside a source that changes all the while."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from calldex.demo import interactions
from calldex.records.record import Cdr
from tests.sync.conftest import Rig, Source
from tests.sync.front import Front

_PRELOADED: Final = ("dlt", "dlt.destinations", "pyarrow", "calldex.sync.destinations.warehouse", "tests.sync.conftest")
_LONGEST_S: Final = 0.05
_sleep: Final = time.sleep


def _hurried(seconds: float) -> None:
    """Nobody waits as long between two tries as outside of tests."""
    _sleep(min(seconds, _LONGEST_S))


def sync(folder: str, url: str, key: str, destination: dict[str, Any], given: dict[str, Any]) -> None:
    """Run a pipe until it is killed; what it says goes to a file."""
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    sys.stdout = os.fdopen(log, "w", buffering=1)  # a line at a time: nobody writes the rest when it is killed
    time.sleep = _hurried  # type: ignore[assignment]  # its parameter is called otherwise
    rig = Rig(Path(folder), url, key, destination, **given)
    while True:
        rig.run()


class Story:
    """What happens to the source: records come, late ones too, are corrected and erased. All of the last two days."""

    def __init__(self, source: Source, seed: int) -> None:
        self._source = source
        self._chance = random.Random(seed)
        self._coming = list(interactions(20_000, seed=seed, end=datetime.now(UTC), days=1))
        self._chance.shuffle(self._coming)
        self._there: dict[str, Cdr] = {}
        self.told = 0

    def go_on(self) -> None:
        """One thing more."""
        match self._chance.choice(("new", "new", "correct", "move", "erase")):
            case "new":
                self._post([self._coming.pop() for _ in range(self._chance.randint(1, 40))])
            case "correct":
                self._post([msgspec.structs.replace(each, comment=str(self.told)) for each in self._some()])
            case "move":  # to another time, and it may be another day
                by = timedelta(hours=self._chance.randint(-20, -1))
                self._post([_moved(each, by) for each in self._some() if _recent(each, by)])
            case "erase":
                uuids = [each.uuid for each in self._some()]
                self._source.delete(uuids)
                for uuid in uuids:
                    self._there.pop(uuid, None)
        self.told += 1

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


def _recent(record: Cdr, by: timedelta) -> bool:
    """Whether a look-back of three days still finds it when it has moved."""
    return record.started_at + by > datetime.now(UTC) - timedelta(days=1, hours=12)


def killed(rig: Rig, front: Front, story: Story, chance: random.Random, lives: Sequence[int]) -> None:
    """Let a sync run beside the story, killed and started again: in each of its lives a moment after so many requests,
    so that a busy machine only makes it take longer."""
    starting = multiprocessing.get_context("forkserver")
    starting.set_forkserver_preload(list(_PRELOADED))
    given = {name: value for name, value in rig.text["pipe"]["calls"].items() if name not in ("from", "to")}
    words = (str(rig.folder), rig.text["source"]["main"]["url"], rig.environment["CDR_KEY"])
    for requests in lives:
        process = starting.Process(target=sync, args=(*words, rig.text["destination"]["out"], given), daemon=True)
        process.start()
        try:
            until = front.seen.total() + requests
            while front.seen.total() < until:  # for as long as a test may take
                assert process.is_alive(), (rig.folder / "log").read_text()[-2000:]
                story.go_on()
                _sleep(chance.uniform(0.01, 0.1))
            _sleep(chance.uniform(0, 1))
        finally:
            process.kill()  # whatever becomes of the test, it does not write into the database of the next one
            process.join()
