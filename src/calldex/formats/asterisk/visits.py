"""Stays of callers in queues, from the lines of queue_log. CDR rows, directions and outcomes are not known here.

A caller is in one queue at a time, and a log may lack lines: an Asterisk that was restarted never says how a stay
ended. So a stay is over at the latest when the same caller's next one begins, or when the caller's own channel is
gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from calldex.formats.asterisk.rows import MOST_SECONDS, SECOND, QueueRow, digits, epoch_of, whole_seconds
from calldex.records.record import from_ms

_ORDER: Final = {"DID": 0, "ENTERQUEUE": 1, "CONNECT": 3}
_STAYING: Final = frozenset(("ENTERQUEUE", "CONNECT", "RINGNOANSWER", "RINGCANCELED"))
"""Events that show a caller in a queue, also when the log lacks the one by which they came."""
WAITED: Final = {"ABANDON": 2, "EXITWITHTIMEOUT": 2, "EXITEMPTY": 2, "WITHDRAW": 2, "EXITWITHKEY": 3}
"""Events by which a caller leaves a queue unserved, and where they say how long the wait was."""
SERVED: Final = {
    "COMPLETEAGENT": (0, 1),
    "COMPLETECALLER": (0, 1),
    "BLINDTRANSFER": (2, 3),
    "TRANSFER": (2, 3),
    "ATTENDEDTRANSFER": (-3, -2),
}
"""Events that end an agent's part, and where they say how long the caller waited and talked."""
_FIRST_S: Final = 946_684_800
_LAST_S: Final = 4_102_444_800
"""The years 2000 to 2099, beyond which no queue was logged."""
_JITTER: Final = 2 * SECOND
"""How far two times of one moment may lie apart in two logs."""
_ROUNDING_S: Final = 2
"""How far a length that the queue counted may lie beyond the times of its events."""


class QueueEvent(msgspec.Struct, frozen=True):
    """A queue_log line with its time, which is never before its caller's channel was made."""

    row: QueueRow
    at: datetime
    suspect: bool

    def seconds(self, position: int) -> int | None:
        """A parameter that is a number of seconds; None if it is missing, as in old versions, or no number."""
        parameters = self.row.parameters
        if not -len(parameters) <= position < len(parameters):
            return None
        text = parameters[position]
        return min(digits(text), MOST_SECONDS) if digits(text) >= 0 else None


class Visit:
    """One stay of a caller in one queue, from what is known of it."""

    def __init__(self, event: QueueEvent) -> None:
        self.queue = event.row.queue
        self.caller = event.row.callid
        self.begun = event.at
        self.seen = event.at
        self.entered: QueueEvent | None = None
        self.connected: QueueEvent | None = None
        self.left: QueueEvent | None = None
        self.until: datetime | None = None
        """When it must have been over, if the log does not say how it ended."""
        self.not_taken: list[QueueEvent] = []
        """The offers that agents let ring."""

    @property
    def finish(self) -> datetime | None:
        """When it was over; None while it may still go on."""
        return self.left.at if self.left is not None else self.until

    @property
    def served(self) -> QueueEvent | None:
        """The event that says which agent answered."""
        if self.connected is None and self.left is not None and self.left.row.event in SERVED:
            return self.left
        return self.connected

    @property
    def answered_at(self) -> datetime | None:
        """When an agent answered."""
        if self.connected is not None:
            return self.connected.at
        if self.served is None:
            return None
        return max(self.begun, self.served.at - (self.talk_s or 0) * SECOND)

    @property
    def wait_s(self) -> int | None:
        """How long the caller waited, as the queue says as far as that fits the times, or else by the times."""
        said = None
        if self.left is not None:
            position = SERVED.get(self.left.row.event, (None,))[0]
            position = WAITED.get(self.left.row.event) if position is None else position
            said = None if position is None else self.left.seconds(position)
        if self.connected is not None and self.connected.seconds(0) is not None:
            said = self.connected.seconds(0)
        until = self.connected.at if self.connected is not None else self.finish
        return self._fitting(said, self.entered, until)

    @property
    def talk_s(self) -> int | None:
        """How long caller and agent talked, as wait_s is known; None if nobody served, or while they still talk."""
        said = None
        if self.left is not None and self.left.row.event in SERVED:
            said = self.left.seconds(SERVED[self.left.row.event][1])
        return self._fitting(said, self.connected, self.finish)

    def _fitting(self, said: int | None, begin: QueueEvent | None, until: datetime | None) -> int | None:
        if begin is None or until is None:
            return said
        span = whole_seconds(until - begin.at)
        is_suspect = begin.suspect or (self.left is not None and self.left.suspect)
        if said is None or (said > span + _ROUNDING_S and not is_suspect):
            return span
        return said


def queue_event_of(row: QueueRow, shifted: timedelta) -> QueueEvent:
    """A line with its time as an instant, moved by what the clock of the call's CDR rows is off."""
    at, epoch = from_ms(row.time * 1000), epoch_of(row.callid)
    if not _FIRST_S <= row.time < _LAST_S and (epoch is None or at > epoch):
        return QueueEvent(row, at + shifted, True)
    if epoch is not None and at < epoch:
        # The clock was set back, or the file has relative times: the caller's channel was there before the queue.
        return QueueEvent(row, epoch + shifted, True)
    return QueueEvent(row, at + shifted, False)


def order_in_second(row: QueueRow) -> int:
    """The place of an event among those of the same second."""
    return 4 if row.event in SERVED or row.event in WAITED else _ORDER.get(row.event, 2)


def visits_of(events: Sequence[QueueEvent], gone: Callable[[str], datetime | None]) -> list[Visit]:
    """The stays in queues, of events in their order; `gone` says when a caller's own channel was gone, if it is known.

    An event belongs to the oldest stay in its queue that still lacks one of its kind, unless a younger one had begun.
    """
    visits: list[Visit] = []
    lacking: dict[tuple[str, str], tuple[deque[Visit], deque[Visit]]] = {}
    for event in events:
        word = event.row.event
        leaves = word in SERVED or word in WAITED
        if not leaves and word not in _STAYING:
            continue
        of = event.row.callid, event.row.queue
        known = lacking.get(of)
        visit = None if known is None or word == "ENTERQUEUE" else _oldest(known[leaves], event, leaves)
        if visit is None:
            if known is not None and word not in ("ENTERQUEUE", "CONNECT"):
                continue  # ABANDON after COMPLETE: the first of the two is what happened
            visit = Visit(event)
            visits.append(visit)
            for stays in lacking.setdefault(of, (deque(), deque())):
                stays.append(visit)
        _note(visit, event, leaves)
    _close(visits, gone)
    return visits


def _oldest(stays: deque[Visit], event: QueueEvent, leaves: bool) -> Visit | None:
    """The oldest stay that still lacks such an event; one behind which another had begun before is over."""
    while stays and (
        stays[0].left is not None
        or (not leaves and stays[0].connected is not None)
        or (len(stays) > 1 and stays[1].begun < event.at)
    ):
        stays.popleft()
    return stays[0] if stays else None


def _note(visit: Visit, event: QueueEvent, leaves: bool) -> None:
    visit.seen = event.at
    if leaves:
        visit.left = event
    elif event.row.event == "ENTERQUEUE":
        visit.entered = event
    elif event.row.event == "CONNECT":
        visit.connected = event
    elif event.row.event == "RINGNOANSWER":
        visit.not_taken.append(event)


def _close(visits: Sequence[Visit], gone: Callable[[str], datetime | None]) -> None:
    """Say of stays without an end when they must have been over."""
    following: dict[str, datetime] = {}
    for visit in reversed(visits):
        if visit.left is None:
            over = following.get(visit.caller)
            if over is None and (ended := gone(visit.caller)) is not None and ended >= visit.seen - _JITTER:
                over = ended
            visit.until = None if over is None else max(over, visit.seen)
        following[visit.caller] = visit.begun
