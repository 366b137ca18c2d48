"""When schedules run, and what a run asks for.

A run of a day is due when that day has come to the schedule's time in its zone. Where clocks are put forward over that
time, it is due as much later; where they are put back, at the first of the two. What was missed, as nothing ran, is
made up, day by day, up to `MOST_MADE_UP` days.
"""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import structlog

from calldex.directory import Export, Maker, Schedule
from calldex.node import DAY_MS, Node
from calldex.records.record import to_ms

MOST_MADE_UP: Final = 31
_DAY: Final = timedelta(days=1)
_log = structlog.get_logger(__name__)


def due_ms(day: date, at: str, zone: ZoneInfo) -> int:
    """When the run of a day is due, in epoch milliseconds."""
    return to_ms(datetime.combine(day, time.fromisoformat(at), zone).astimezone(UTC))


def first_day(at: str, timezone: str, now_ms: int) -> date:
    """The day on which a new schedule runs first."""
    zone = ZoneInfo(timezone)
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    return today if due_ms(today, at, zone) > now_ms else today + _DAY


def due_days(schedule: Schedule, now_ms: int) -> tuple[list[date], date]:
    """The days whose runs are due, oldest first, and the day behind them."""
    day = date.fromisoformat(schedule.next_day)
    behind = first_day(schedule.at, schedule.timezone, now_ms)
    return [day + _DAY * n for n in range(max(0, (behind - day).days))], max(day, behind)


def parameters_of(schedule: Schedule, day: date) -> list[tuple[str, str]]:
    """What the run of a day asks for: the records of the day before."""
    before = (day - _DAY).isoformat()
    days = [("start_date", before), ("end_date", before), ("timezone", schedule.timezone)]
    return [*schedule.parameters, *days]


def run_due(node: Node, name: str, at_ms: int) -> None:
    """Let the node of this name make everything whose time has come; blocks."""
    for schedule in node.directory.schedules():
        days, behind = due_days(schedule, at_ms)
        for day in days:
            run = _run_of(node, name, schedule, day, at_ms) if (behind - day).days <= MOST_MADE_UP else None
            following = (day + _DAY).isoformat()
            if not node.directory.claim_run(schedule, following, run):
                break  # another node was faster
            if run is None:
                _log.warning("export_left_out", schedule=schedule.name, day=day.isoformat())
            schedule = msgspec.structs.replace(schedule, next_day=following)  # noqa: PLW2901 - the next run of it


def _run_of(node: Node, name: str, schedule: Schedule, day: date, at_ms: int) -> Export:
    return Export(
        id=secrets.token_hex(16),
        node=name,
        parameters=parameters_of(schedule, day),
        scope=None,
        store_id=node.store.store_id,
        schedule_id=schedule.id,
        day=(day - _DAY).isoformat(),
        created_at=at_ms,
        expires_at=at_ms + node.settings.export_days * DAY_MS,
        **{member: getattr(schedule, member) for member in Maker.__struct_fields__},
    )
