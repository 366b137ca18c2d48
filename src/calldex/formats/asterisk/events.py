"""What happened during a call, in order of time: from the queue log, and from CDR rows where it says nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.json import encode

from calldex.formats.asterisk.call import Call
from calldex.formats.asterisk.outcome import leg_agent, queue
from calldex.formats.asterisk.rows import SECOND, CdrPath, fit, number
from calldex.formats.asterisk.transfers import row_events
from calldex.formats.asterisk.visits import QueueEvent, Visit
from calldex.records.fields import TRANSFERS
from calldex.records.record import Event, EventType, InteractionType

_ORDER: Final[tuple[EventType, ...]] = (
    *("ring_no_answer", "exit_timeout", "exit_empty", "exit_key", "forwarded"),
    *("blind_transfer", "attended_transfer", "queue_transfer", "parked", "retrieved", "pickup"),
    *("queued", "answered", "conference", "voicemail"),
)
"""How events of one second follow each other: a transfer makes what comes after it."""
_EXITS: Final[dict[str, EventType]] = {
    "EXITWITHTIMEOUT": "exit_timeout",
    "EXITEMPTY": "exit_empty",
    "EXITWITHKEY": "exit_key",
}
_SAME: Final = 5 * SECOND
"""A transfer that both logs tell of lies no further apart in them."""


def events_of(call: Call, kind: InteractionType, talks: Sequence[CdrPath], most: int) -> tuple[tuple[Event, ...], int]:
    """The events, and how many there are beyond the most: first offers that were not taken are left out."""
    entries = sorted(visit.entered.at for visit in call.visits if visit.entered is not None)
    events = [event for visit in call.visits for event in _visit_events(visit, call, entries)]
    if not call.visits:
        events += [Event(type="queued", at=path.start, queue=queue(call)) for path in call.queue_paths[:1]]
    let_go = min((visit.finish for visit in call.served if visit.finish is not None), default=None)
    for path in talks:
        if not call.served or (let_go is not None and path.start >= let_go):
            at = path.answered_at or path.start
            events.append(Event(type="answered", at=at, agent=leg_agent(path.row, call.profile, kind)))
    events += [Event(type="voicemail", at=path.start) for path in call.paths if path.is_voicemail]
    found = _joined(events, row_events(call))
    found.sort(key=lambda event: (event.type == "ring_no_answer", event.at, _ORDER.index(event.type), encode(event)))
    kept = sorted(found[:most], key=lambda event: (event.at, _ORDER.index(event.type), encode(event)))
    return tuple(kept), len(found) - len(kept)


def _joined(events: list[Event], seen: Iterable[Event]) -> list[Event]:
    """The events of both logs; a transfer that both tell of is one event, with what each knows."""
    transfers = sorted((event.at, place) for place, event in enumerate(events) if event.type in TRANSFERS)
    for event in seen:
        nearest = bisect_left(transfers, (event.at - _SAME, 0)) if event.type in TRANSFERS else len(transfers)
        if nearest == len(transfers) or transfers[nearest][0] > event.at + _SAME:
            events.append(event)
            continue
        at = transfers[nearest][1]
        known = events[at]
        events[at] = msgspec.structs.replace(
            known,
            agent=known.agent or event.agent,
            number=known.number or event.number,
            to_agent=known.to_agent or event.to_agent,
        )
    return events


def _visit_events(visit: Visit, call: Call, entries: Sequence[datetime]) -> Iterator[Event]:
    name = fit(visit.queue, 200)
    if visit.entered is not None:
        yield Event(type="queued", at=visit.entered.at, queue=name)
    for offer in visit.not_taken:
        milliseconds = offer.seconds(0)
        yield Event(
            type="ring_no_answer",
            at=offer.at,
            queue=name,
            agent=call.member(offer.row.agent),
            duration_s=None if milliseconds is None else milliseconds // 1000,
        )
    if visit.served is not None and visit.answered_at is not None:
        yield Event(type="answered", at=visit.answered_at, queue=name, agent=call.member(visit.served.row.agent))
    left = visit.left
    if left is None:
        return
    if left.row.event in _EXITS:
        key = left.row.parameters[0] if left.row.event == "EXITWITHKEY" and left.row.parameters else None
        yield Event(
            type=_EXITS[left.row.event], at=left.at, queue=name, duration_s=visit.wait_s, detail=fit(key or "", 400)
        )
    elif "TRANSFER" in left.row.event:
        yield _transfer(visit, left, call, entries)


def _transfer(visit: Visit, left: QueueEvent, call: Call, entries: Sequence[datetime]) -> Event:
    """What the log says of an agent who handed the caller over; into a queue, if one was entered then or later."""
    name, agent = fit(visit.queue, 200), call.member(left.row.agent)
    if left.row.event == "ATTENDEDTRANSFER":
        detail = fit(" ".join(left.row.parameters[:-3]), 400)
        return Event(type="attended_transfer", at=left.at, queue=name, agent=agent, detail=detail)
    own = visit.entered is not None and visit.entered.at >= left.at
    onward = len(entries) - bisect_left(entries, left.at) > own
    word: EventType = "queue_transfer" if onward else "blind_transfer"
    target, context = (*left.row.parameters, "", "")[:2]
    return Event(type=word, at=left.at, queue=name, agent=agent, number=number(target), detail=fit(context, 400))
