"""A believable contact centre, of any size, from a seed.

`centre` casts the people, teams, queues and campaigns; `interactions` streams what they did, oldest first, as records
that stand where those of a format stand: before ingest. The same arguments give the same records, byte for byte, on
every machine and Python; how that is kept is told in `calldex.demo.chance`.

Nobody real is in it: mail addresses end in example.com, and telephone numbers come from the ranges that Ofcom (UK),
NANPA (555-01xx), ARCEP (France), Bundesnetzagentur (Germany) and ACMA (Australia) keep for fiction.

It knows no store, no file, no account and no clock; whoever calls it decides what becomes of the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from calldex.demo.cast import Campaign, Centre, DemoUser, Queue, WrapupCode, centre, users
from calldex.demo.chance import Draw, draws
from calldex.demo.course import CURVE, DAY, HALF_HOUR, WEEKDAYS, launch, outage, weekday
from calldex.demo.floor import Floor
from calldex.records.record import Cdr, to_ms

__all__ = ["END", "Campaign", "Centre", "DemoUser", "Queue", "WrapupCode", "centre", "interactions", "users"]

END: Final = datetime(2026, 10, 1, tzinfo=UTC)
"""Where the records of a demo end if nothing else is asked for. Not today: the same seed gives the same records
tomorrow. A Thursday, so that the last day in the demo is a working day."""

DAYS_LIMIT: Final = 3_660


class _Slot(msgspec.Struct, frozen=True):
    """Half an hour: when it begins (ms), and how many interactions begin in it."""

    begin: int
    records: int


def interactions(records: int, seed: int, end: datetime = END, days: int = 90) -> Iterator[Cdr]:
    """So many interactions that begin in the `days` times 24 hours before `end`, in order of their start.

    The centre is as large as so many ask for. They are made one by one: memory grows with what happens within an hour
    or two, not with their number. A record named in another's `linked_uuids` is among them and names that one too. An
    hour after the end all are over, but for conversations in writing that have no end yet. `ValueError` for a negative
    number, days outside 1 to 3660, or an `end` without a zone.
    """
    if records < 0:
        raise ValueError(f"the number of records must not be negative; {records} was given")
    if not 1 <= days <= DAYS_LIMIT:
        raise ValueError(f"days must be from 1 to {DAYS_LIMIT}; {days} was given")
    if end.tzinfo is None:
        raise ValueError(f"the end needs a time zone; {end.isoformat()} was given")
    return _interactions(records, seed, to_ms(end), days)


def _interactions(records: int, seed: int, end: int, days: int) -> Iterator[Cdr]:
    begin = end - days * DAY
    floor = Floor(centre(seed, records, days), seed, begin, end)
    for place, start in enumerate(_arrivals(seed, records, end, days)):
        # What follows from other interactions takes the place of the next that would begin of itself.
        floor.room = records - place
        floor.play(start)
        floor.room -= 1
        if floor.extra:
            floor.extra -= 1
        else:
            floor.begin(start)
        yield from floor.records(start)
    yield from floor.finish()


def _arrivals(seed: int, records: int, end: int, days: int) -> Iterator[int]:
    """When each interaction begins (ms, rising)."""
    draw = draws(seed, "arrivals")
    for slot in _slots(draw, records, end, days):
        yield from sorted(slot.begin + int(draw() * HALF_HOUR) for _ in range(slot.records))


def _slots(draw: Draw, records: int, end: int, days: int) -> Iterator[_Slot]:
    """The half hours before the end, with their shares of the records. No day is quite like another, one is a bad one,
    and some belong to a campaign."""
    begin = end - days * DAY
    bad, launched = outage(end), launch(end)
    moods = [92 + int(draw() * 17) for _ in range(days)]

    def weight(slot: int) -> int:
        at = begin + slot * HALF_HOUR
        usual = CURVE[at % DAY // HALF_HOUR] * WEEKDAYS[weekday(at)] * moods[slot // 48]
        if bad[0] <= at < bad[1]:
            return usual * 2
        return usual * 6 // 5 if launched[0] <= at < launched[1] else usual

    whole = sum(weight(slot) for slot in range(48 * days))
    before = 0
    for slot in range(48 * days):
        own = weight(slot)
        count = records * (before + own) // whole - records * before // whole
        yield _Slot(begin + slot * HALF_HOUR, count)
        before += own
