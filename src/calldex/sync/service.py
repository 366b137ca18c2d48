"""`calldex sync run --every`: each pipe in a thread of its own, until it is told to stop.

Whoever ends the process may do so at any moment; a signal only makes it end between two steps.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from calldex.sync.config import seconds
from calldex.sync.runner import Worker
from calldex.sync.stopping import Stopped

_log: Final = structlog.get_logger(__name__)
WAIT_S: Final = 30
"""How long a feed is asked to wait for something new; a pipe that waits is told up to date when it has waited, so not
longer than half of what it may be behind."""
PAUSE_S: Final = 1.0
"""Between two readings of a feed that always has something: so that a destination gets it in larger pieces."""
LOOK_S: Final = 2.0
LEAVE_S: Final = 10.0


def serve(
    pipes: Mapping[str, Worker], every: str, stopping: threading.Event, look: Callable[[], None], lag: str
) -> bool:
    """Run pipes until it is told to stop; `look` is called again and again meanwhile. `lag`: how long one may be
    behind. False if a pipe is still in the middle of something after `LEAVE_S`."""
    wait_s = max(1, min(WAIT_S, seconds(lag) // 2))
    threads = [
        threading.Thread(
            target=_keep, args=(worker, seconds(worker.pipe.every or every), stopping, wait_s), daemon=True
        )
        for worker in pipes.values()
    ]
    for thread in threads:
        thread.start()
    while not stopping.wait(LOOK_S):
        look()
    deadline = time.monotonic() + LEAVE_S
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in threads)


def _keep(worker: Worker, every_s: int, stopping: threading.Event, wait_s: int) -> None:
    """One pipe: a feed is followed, a list read every so often; look-ups are asked for every so often in both cases."""
    lookups_at = 0.0
    while not stopping.is_set():
        lookups = time.monotonic() >= lookups_at
        if lookups:
            lookups_at = time.monotonic() + every_s
        failed = True
        try:
            worker.run(min(wait_s, every_s) if worker.follows and not lookups else 0, lookups=lookups)
            failed = bool(worker.status.problem)
        except Stopped:
            break
        except sqlite3.OperationalError as error:  # of a disk that is full, say
            _log.error("what is kept beside the file cannot be written", pipe=worker.name, reason=str(error))
            worker.close()
        except Exception:  # noqa: BLE001 - a fault of ours in one pipe: the others go on, and so may this one
            _log.exception("fault", pipe=worker.name)
            worker.close()
        stopping.wait(min(every_s, WAIT_S) if failed else PAUSE_S if worker.follows else every_s)
    worker.close()
