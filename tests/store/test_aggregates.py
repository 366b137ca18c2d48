"""Statistics are what counting one by one gives, on every engine; checksums are what a copy by the feed gives."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.demo import interactions
from calldex.records.record import DISPOSITIONS, Cdr, Team, time_uuid, to_ms
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search import statistics
from calldex.search.feed import ChangeFeed
from calldex.search.query import Query
from calldex.search.statistics import ALL_MEASURES, CHECKSUM, GROUP_COLUMN, Bucket, Group, Grouping, offsets_of
from calldex.store import Store
from tests.engines import changes_of, put
from tests.examples import examples

ZONE: Final = ZoneInfo("America/New_York")
MEASURES: Final = ("calls", "answered", "talk_s", "avg_wait_s", "median_duration_s", "p90_duration_s", "max_talk_s")


@pytest.fixture(scope="module")
def records() -> list[Cdr]:
    """Demo records, and some around the ends of summer time."""
    moments = [datetime(2025, 11, 2, hour, 30, tzinfo=UTC) for hour in range(3, 9)]
    moments += [datetime(2026, 3, 8, hour, 30, tzinfo=UTC) for hour in range(4, 9)]
    some = [
        Cdr(
            uuid=time_uuid(number, "aggregates"),
            type="inbound",
            disposition="answered",
            started_at=at,
            duration_s=number,
            wait_s=number if number % 2 else None,
            talk_s=0,
            teams=(Team(1, "One"), Team(2, "Two")) if number % 2 else (),
        )
        for number, at in enumerate(moments)
    ]
    return [*interactions(300, seed=11), *some]


@pytest.fixture(scope="module")
def account(shared: Store, new_account: Callable[[], int], records: list[Cdr]) -> int:
    """An account that has them."""
    account_id = new_account()
    put(shared, records, account_id)
    shared.settle()
    return account_id


def everything(account_id: int) -> Query:
    """All of an account."""
    return Query(scope=Scope(account_id=account_id, whole=True))


def bucket_of(record: Cdr, bucket: Bucket | None) -> Any:
    """Where a record belongs."""
    return bucket_at(record.started_at, bucket)


def bucket_at(at: datetime, bucket: Bucket | None) -> Any:
    """By the clock on the wall."""
    wall = at.astimezone(ZONE)
    day = wall.date()
    match bucket:
        case None:
            return None
        case "hour":
            begun = wall.replace(minute=0, second=0, microsecond=0)
            return begun.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case "day":
            return day.isoformat()
        case "week":
            return (day - timedelta(days=day.weekday())).isoformat()
        case "month":
            return day.replace(day=1).isoformat()
        case "weekday":
            return day.isoweekday()
        case "hour_of_day":
            return wall.hour


def values_of(record: Cdr, group: Group) -> list[Any]:
    """What a record counts under."""
    if group == "team":
        return [team.id for team in record.teams] or [None]
    attribute = f"{group}_id" if group in ("agent", "queue", "campaign") else group
    return [getattr(record, attribute)]


def measured(records: Sequence[Cdr], name: str) -> Any:
    """One by one."""
    if name == "calls":
        return len(records)
    if name in DISPOSITIONS:
        return sum(record.disposition == name for record in records)
    if name.startswith("waited"):
        within = int(name.split("_")[1]) if "_" in name else math.inf
        return sum(record.wait_s is not None and record.wait_s <= within for record in records)
    prefix, _, column = name.rpartition("_s")[0].rpartition("_")
    values = sorted(v for record in records if (v := getattr(record, f"{column}_s")) is not None)
    if not prefix:
        return sum(values)
    if not values:
        return None
    rank = {"median": 0.5, "p90": 0.9}
    if prefix in rank:
        return values[max(math.ceil(rank[prefix] * len(values)), 1) - 1]
    return values[-1] if prefix == "max" else round(sum(values) / len(values), 3)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    groups=st.lists(st.sampled_from(statistics.GROUPS), max_size=2, unique=True),
    bucket=st.sampled_from([None, "hour", "day", "week", "month", "weekday", "hour_of_day"]),
)
def test_every_group_is_what_counting_gives(
    shared: Store, account: int, records: list[Cdr], groups: list[Group], bucket: Bucket | None
) -> None:
    """By any groups and buckets, in a zone with summer time."""
    grouping = Grouping(
        tuple(GROUP_COLUMN[group] for group in groups),
        bucket,
        statistics.measured(MEASURES, 20),
        offsets_of(ZONE, None, None),
    )
    expected: dict[tuple[Any, ...], list[Cdr]] = defaultdict(list)
    for record in records:
        keys: list[tuple[Any, ...]] = [() if bucket is None else (bucket_of(record, bucket),)]
        for group in groups:
            keys = [(*key, value) for key in keys for value in values_of(record, group)]
        for key in keys:
            expected[key].append(record)
    found = {}
    for row in shared.aggregate(everything(account), shared.head(account), grouping):
        values = list(row)
        key = () if bucket is None else (statistics.bucket_label(bucket, values.pop(0)),)
        key = (*key, *(statistics.group_label(group, values.pop(0)) for group in groups))
        found[key] = statistics.chosen(MEASURES, dict(zip(MEASURES, values, strict=True)))
    assert {key: {name: measured(some, name) for name in MEASURES} for key, some in expected.items()} == found


def test_shares(shared: Store, account: int, records: list[Cdr]) -> None:
    """Of what was answered in time, both usual ways."""
    names = ("answered_rate", "service_level", "service_level_of_answered", "avg_speed_of_answer_s")
    measures = statistics.measured(names, 10)
    (row,) = shared.aggregate(everything(account), shared.head(account), Grouping((), None, measures))
    told = statistics.chosen(names, {each.name: value for each, value in zip(measures, row, strict=True)})
    answered = [record for record in records if record.disposition == "answered"]
    offered = [record for record in records if record.disposition in ("answered", "abandoned")]
    in_time = [record for record in answered if record.wait_s is not None and record.wait_s <= 10]
    waits = [record.wait_s for record in answered if record.wait_s is not None]
    assert {
        "answered_rate": round(len(answered) / len(records), 4),
        "service_level": round(len(in_time) / len(offered), 4),
        "service_level_of_answered": round(len(in_time) / len(answered), 4),
        "avg_speed_of_answer_s": round(sum(waits) / len(waits), 3),
    } == told


def test_every_measure_can_be_measured(shared: Store, account: int, new_account: Callable[[], int]) -> None:
    """Of records, and of none."""
    measures = statistics.measured(ALL_MEASURES, 20)

    def told_of(account_id: int) -> dict[str, Any]:
        (row,) = shared.aggregate(everything(account_id), shared.head(account_id), Grouping((), None, measures))
        return statistics.chosen(ALL_MEASURES, {each.name: value for each, value in zip(measures, row, strict=True)})

    assert list(ALL_MEASURES) == list(told_of(account))
    told = told_of(new_account())
    assert (0, 0, None, None) == tuple(told[name] for name in ("calls", "talk_s", "avg_talk_s", "answered_rate"))


def test_agents_days_are_measured(shared: Store, account: int, records: list[Cdr]) -> None:
    """How long each agent was busy, of how long, by the days of the zone."""
    days: dict[Any, list[tuple[int, int, int]]] = defaultdict(list)
    for record in records:
        if record.disposition == "answered" and record.agent_id and record.talk_s is not None:
            begin, wrapped = to_ms(record.started_at), (record.wrapup_s or 0) * 1000
            day = record.started_at.astimezone(ZONE).date()
            days[record.agent_id, day].append(
                (begin, begin + record.duration_s * 1000 + wrapped, record.talk_s * 1000 + wrapped)
            )
    expected: dict[Any, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for (agent, _), several in days.items():
        busy, shift = expected[agent]
        span = max(each[1] for each in several) - min(each[0] for each in several)
        expected[agent] = busy + sum(each[2] for each in several), shift + span
    grouping = Grouping(("agent_id",), None, (), offsets_of(ZONE, None, None), shifts=True)
    rows = shared.aggregate(everything(account), shared.head(account), grouping)
    assert expected == {agent: (int(busy), int(shift)) for agent, busy, shift in rows}


@pytest.mark.parametrize("level", ["day", "hour", "record"])
def test_a_copy_can_be_proved_equal(shared: Store, account: int, level: Any) -> None:
    """By what the feed gave alone."""
    feed = ChangeFeed(shared, Sealing(bytes(KEY_BYTES), "a test"))
    query = everything(account)
    page = feed.page(query, feed.began(query, "beginning", "latest"), 10_000)
    expected: dict[Any, int] = defaultdict(int)
    for change in changes_of(page):
        assert change.json is not None
        started_at = datetime.fromisoformat(json.loads(change.json)["started_at"])
        at = change.uuid if level == "record" else bucket_at(started_at, level)
        first = int.from_bytes(hashlib.sha256(f"{change.uuid}:{change.seq}".encode()).digest()[:8])
        expected[at] = (expected[at] + first) % 2**64
    rows = shared.aggregate(query, shared.head(account), Grouping((), level, CHECKSUM, offsets_of(ZONE, None, None)))
    told = statistics.bucket_label
    assert expected == {
        str(key) if level == "record" else told(level, key): int(summed) % 2**64 for key, _, summed in rows
    }
