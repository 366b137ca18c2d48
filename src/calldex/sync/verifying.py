"""Whether a destination is equal to what the source shows, and its repair.

Calldex tells checksums: of each day, then of the hours of a day that differs; what began in an hour that differs is
read again. Another endpoint has none, so there everything is read and compared. Both prove that every record is there
in its version; a deep proof reads everything and compares what rows say as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from calldex.sync.reading import DayReader, FeedReader
from calldex.sync.sink import Sink

_MS: Final = 1000
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_TIMES: Final = 3
"""Records change while they are compared: what differs is looked at so often before it is called different."""

Sums = dict[str, tuple[int, str]]
"""How many records each time has, by its begin (ISO 8601), and their sum."""


class Verified(msgspec.Struct, frozen=True):
    """How many records differed and were repaired, and what differs all the same; empty where all is equal."""

    repaired: int
    unequal: str


def verified(reader: FeedReader | DayReader, sink: Sink) -> Verified:
    """Compare, repair, and compare again."""
    if isinstance(reader, DayReader):
        return _by_reading(reader)
    repaired = _deeply(reader, sink) if reader.deep else 0
    for _ in range(_TIMES):
        if not (days := _differing(reader, sink)):
            return Verified(repaired, "")
        for day in days:
            repaired += _repaired(reader, sink, day)
        reader.run()
    days = _differing(reader, sink)
    return Verified(repaired, f"these days (UTC) differ: {', '.join(days)}" if days else "")


def _deeply(reader: FeedReader, sink: Sink) -> int:
    """Read every day again; how many records were repaired."""
    days = sorted(_served(reader, "day").keys() | _sums(sink.held(), _DAY_MS, _date).keys())
    total = 0
    for done, day in enumerate(days):
        total += reader.range(day, day)
        reader.progress(done + 1, len(days))
    return total


def _by_reading(reader: DayReader) -> Verified:
    repaired = reader.whole()
    problems = "; ".join(f"{day}: {why}" for day, why in reader.problems.items())
    return Verified(repaired, problems and f"these days could not be read whole: {problems}")


def _differing(reader: FeedReader, sink: Sink) -> list[str]:
    theirs = _served(reader, "day")
    ours = _sums(sink.held(), _DAY_MS, _date)
    return sorted(day for day in theirs.keys() | ours.keys() if theirs.get(day) != ours.get(day))


def _repaired(reader: FeedReader, sink: Sink, day: str) -> int:
    start_ms = round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * _MS)
    theirs = _served(reader, "hour", start_ms, start_ms + _DAY_MS)
    ours = _sums(sink.held(start_ms, start_ms + _DAY_MS), _HOUR_MS, _hour)
    total = 0
    for hour in sorted(theirs.keys() | ours.keys()):
        if theirs.get(hour) != ours.get(hour):
            at_ms = round(datetime.fromisoformat(hour).timestamp() * _MS)
            total += reader.again(at_ms, at_ms + _HOUR_MS)
    return total


def _served(reader: FeedReader, level: str, *time_ms: int) -> Sums:
    asked = reader.within(*time_ms) if time_ms else reader.filters
    if asked is None:
        return {}
    found = reader.endpoint.checksums({**asked, "timezone": "UTC", "level": level})
    return {_begin(each.begin, level): (each.count, each.hash) for each in found}


def _begin(text: str, level: str) -> str:
    return text if level == "day" else _hour(datetime.fromisoformat(text))


def _date(at: datetime) -> str:
    return str(at.date())


def _hour(at: datetime) -> str:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0).isoformat()


def _sums(rows: Iterable[tuple[str, int, int]], unit_ms: int, label: Callable[[datetime], str]) -> Sums:
    found: dict[int, tuple[int, int]] = {}
    for uuid, seq, began in rows:
        count, total = found.get(began // unit_ms, (0, 0))
        part = int.from_bytes(hashlib.sha256(f"{uuid}:{seq}".encode()).digest()[:8], "big")
        found[began // unit_ms] = count + 1, total + part
    return {
        label(datetime.fromtimestamp(at * unit_ms / _MS, UTC)): (count, f"{total % 2**64:016x}")
        for at, (count, total) in found.items()
    }
