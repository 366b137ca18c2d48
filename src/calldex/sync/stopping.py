"""How a sync waits: for a limit, for another try, for what is new. Whoever waits does it here, so that all end at once
when the sync is to end."""

from __future__ import annotations

import threading


class Stopped(Exception):
    """The sync is to end."""


def pause(stopping: threading.Event, seconds: float) -> None:
    """Wait so long; `Stopped` as soon as the sync is to end."""
    if stopping.wait(max(seconds, 0)):
        raise Stopped
