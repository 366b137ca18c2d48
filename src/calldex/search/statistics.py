"""Statistics: how records are grouped, what is measured of each group, and how that is told. Pure.

A record counts in each of its teams. A length that is not known is not measured: it counts neither in a mean nor as 0.
Percentiles are nearest ranks: the smallest value that so many per cent do not exceed. Times are cut in a zone: an hour
that comes twice is two hours, a day that lacks one is a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from calldex.access import Mask
from calldex.errors import Forbidden
from calldex.records.fields import COLUMN
from calldex.records.record import DISPOSITIONS, INTERACTION_TYPES, from_ms, to_ms
from calldex.records.vocabulary import SERVED_AS, Vocabulary

Bucket = Literal["hour", "day", "week", "month", "weekday", "hour_of_day"]
Group = Literal["type", "disposition", "end_reason", "agent", "queue", "team", "campaign", "wrapup_code"]
Times = Literal["utc", "local", "epoch_ms"]
How = Literal["count", "sum", "avg", "median", "p90", "max", "hash"]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
Offsets = tuple[tuple[int, int], ...]
_FIRST_MS: Final = 0
_LAST_MS: Final = 4_102_444_800_000
_STEP_MS: Final = 7 * DAY_MS
"""No zone changes twice within this."""
MOST_GROUPS: Final = 10_000
GROUP_COLUMN: Final[Mapping[Group, str]] = {
    "type": "type",
    "disposition": "disposition",
    "end_reason": "end_reason",
    "agent": "agent_id",
    "queue": "queue_id",
    "team": "team_ids",
    "campaign": "campaign_id",
    "wrapup_code": "wrapup_code",
}
GROUPS: Final = get_args(Group)
LENGTHS: Final = ("duration_s", "talk_s", "ring_s", "wait_s", "hold_s", "wrapup_s")
WAITED_S: Final = (5, 10, 20, 30, 60, 120, 300, 600)
"""Within how many seconds calls are counted that waited, for how waiting times are spread."""
_LONGEST_S: Final = 2**31 - 3
_OF_LENGTH: Final[Mapping[str, How]] = {"": "sum", "avg_": "avg", "median_": "median", "p90_": "p90", "max_": "max"}


class Measure(msgspec.Struct, frozen=True):
    """What is measured of a group: `how`, of which column, of the records with these outcomes alone (codes; none: all),
    and of those that waited so many seconds at the most."""

    name: str
    how: How
    column: str = ""
    outcomes: tuple[int, ...] = ()
    waited_s: int | None = None


class Grouping(msgspec.Struct, frozen=True):
    """What is wanted of records: by which columns they are grouped, how their begins are cut, and what is measured.
    `offsets` tell the zone: from which instant on a wall clock shows how many milliseconds more than UTC."""

    by: tuple[str, ...]
    bucket: Bucket | Literal["record"] | None
    measures: tuple[Measure, ...]
    offsets: Offsets = ((0, 0),)
    alike: tuple[tuple[int, int], ...] = ()
    """Types (codes) that count as another, as they are one word in the reader's vocabulary."""
    shifts: bool = False
    """Measured is not `measures`, but for how many milliseconds agents were busy, and of how many: see `OCCUPANCY`."""


CHECKSUM: Final = (Measure("count", "count"), Measure("hash", "hash"))


def _measures() -> Iterator[Measure]:
    yield Measure("calls", "count")
    for code, word in enumerate(DISPOSITIONS, 1):
        yield Measure(word, "count", outcomes=(code,))
    for column in LENGTHS:
        for prefix, how in _OF_LENGTH.items():
            yield Measure(f"{prefix}{column}", how, column)
    answered = (DISPOSITIONS.index("answered") + 1,)
    yield Measure("avg_speed_of_answer_s", "avg", "wait_s", answered)
    yield Measure("waited", "count", waited_s=_LONGEST_S)
    for seconds in WAITED_S:
        yield Measure(f"waited_{seconds}_s", "count", waited_s=seconds)


MEASURES: Final = {measure.name: measure for measure in _measures()}
RATES: Final[Mapping[str, tuple[str, str]]] = {
    "answered_rate": ("answered", "calls"),
    "abandoned_rate": ("abandoned", "calls"),
    "service_level": ("_in_time", "_offered"),
    "service_level_of_answered": ("_in_time", "answered"),
}
"""Shares from 0 to 1: of what, in what. `service_level` is of all that were answered or abandoned."""
OCCUPANCY: Final = "occupancy"
"""The share of their time in which agents talked, held and wrapped up. Records do not say when somebody was signed in,
so their time is, on each day of the zone, from the begin of their first answered interaction to the end of their last
with its wrap-up; those count whose talk time is known. Of an hour, or a queue, that would say nothing."""
SHIFT: Final = ("_busy_ms", "_shift_ms")
OCCUPIED_BY: Final[tuple[Group, ...]] = ("agent", "team")
OCCUPIED_IN: Final[tuple[Bucket, ...]] = ("day", "week", "month", "weekday")
ALL_MEASURES: Final = (*MEASURES, *RATES, OCCUPANCY)
ANSWERED_CODE: Final = DISPOSITIONS.index("answered") + 1
_ABANDONED: Final = DISPOSITIONS.index("abandoned") + 1


def measured(names: Sequence[str], service_level_s: int) -> tuple[Measure, ...]:
    """What has to be measured for what is wanted."""
    helpers = {
        "_in_time": Measure("_in_time", "count", outcomes=(ANSWERED_CODE,), waited_s=service_level_s),
        "_offered": Measure("_offered", "count", outcomes=(ANSWERED_CODE, _ABANDONED)),
    }
    needed = dict.fromkeys(part for name in names if name != OCCUPANCY for part in RATES.get(name, (name,)))
    needed = needed or {"calls": None}  # occupancy alone: its groups are those that have records
    return tuple(MEASURES.get(part) or helpers[part] for part in needed)


def permit_groups(groups: Sequence[Group], mask: Mask) -> None:
    """`Forbidden` for what somebody may not see of a record."""
    hidden = [group for group in groups if COLUMN[GROUP_COLUMN[group]].attribute in mask.hidden]
    if hidden:
        raise Forbidden(f"group_by {', '.join(hidden)}: this needs the permission see_sensitive")


def offsets_of(zone: ZoneInfo, start_ms: int | None, end_ms: int | None) -> Offsets:
    """How far a zone is from UTC between two instants: from which on how many milliseconds. Without bounds, in the
    years 1970 to 2099: what begins before or after is cut as the nearest of these."""
    at = max(_FIRST_MS, start_ms if start_ms is not None else _FIRST_MS)
    last = min(_LAST_MS, end_ms if end_ms is not None else _LAST_MS)
    found = [(at, _offset(zone, at))]
    while at < last:
        after = min(at + _STEP_MS, last)
        if _offset(zone, after) != found[-1][1]:
            low, high = at, after
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == found[-1][1] else (low, middle)
            found.append((high, _offset(zone, high)))
        at = after
    return tuple(found)


@lru_cache(maxsize=65_536)
def _offset(zone: ZoneInfo, ms: int) -> int:
    offset = from_ms(ms).astimezone(zone).utcoffset() or timedelta(0)
    return round(offset.total_seconds() * 1000)


def bucket_label(bucket: Bucket, value: int, times: Times = "utc", timezone: str = "UTC") -> str | int:
    """A bucket as it is told: an hour by the instant of its begin, a day, week or month by its first day, the others by
    their number (weekdays from 1, Monday). `times` other than `utc`: what begins at an instant by that, on the clock of
    the zone without an offset, or in epoch milliseconds."""
    if bucket in ("weekday", "hour_of_day"):
        return value
    if bucket == "hour":
        begin = from_ms(value)
    else:
        day = date(1970, 1, 1) + timedelta(days=value // DAY_MS)
        if times == "utc":
            return day.isoformat()
        begin = datetime.combine(day, time(), ZoneInfo(timezone))
    if times == "utc":
        return begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    return to_ms(begin) if times == "epoch_ms" else begin.astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%dT%H:%M:%S")


def bucket_ends(bucket: Literal["day", "hour"], value: int) -> str:
    """Where a day or an hour ends, so that its begin and this are `start_date` and `end_date` of its records: days are
    included in both, an instant is not in `end_date`."""
    return str(bucket_label(bucket, value if bucket == "day" else value + HOUR_MS))


def alike(vocabulary: Vocabulary | None) -> tuple[tuple[int, int], ...]:
    """Of types that are one word in a vocabulary, the code of each but the first, and that of the first."""
    words = [_said(word, vocabulary) for word in INTERACTION_TYPES]
    return tuple((code, words.index(word) + 1) for code, word in enumerate(words, 1) if words.index(word) + 1 < code)


def _said(word: str, vocabulary: Vocabulary | None) -> str:
    served = {} if vocabulary is None else {str(own): said for own, said in SERVED_AS[vocabulary].items()}
    return served.get(word, word)


def group_label(group: Group, value: Any, vocabulary: Vocabulary | None = None) -> Any:
    """A group's value as it is told: a word, an id, a code; null where there is none."""
    words = COLUMN[GROUP_COLUMN[group]].words
    if group == "type":
        return _said(words[value - 1], vocabulary)
    if words:
        return words[value - 1] if value else None
    if group == "team":
        return int(value) if value else None
    return value or None


def chosen(names: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The measures that are wanted, of what was measured."""
    found: dict[str, Any] = {}
    for name in names:
        if name in RATES or name == OCCUPANCY:
            part, whole = (values.get(each, 0) for each in RATES.get(name, SHIFT))
            found[name] = round(part / whole, 4) if whole else None
        else:
            value = values[name]
            found[name] = round(value, 3) if isinstance(value, float) else value
    return found
