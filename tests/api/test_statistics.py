"""`GET /api/v2/cdr/stats` and `/checksums` over HTTP."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import pytest

from calldex.demo import interactions
from tests.api.conftest import Site, write

ROOT = Path(__file__).parents[2]
STATS = "/api/v2/cdr/stats"
CHECKSUMS = "/api/v2/cdr/checksums"


def stats(site: Site, key: str = "admin", **params: Any) -> dict[str, Any]:
    """The reply."""
    reply = site.api.get(STATS, site.keys[key], **params)
    assert 200 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    return found


@pytest.mark.parametrize("key", ["admin", "supervisor", "analyst", "other"])
@pytest.mark.parametrize("asked", [{}, {"type": "inbound"}, {"min_duration": "60"}])
def test_it_adds_up_to_what_the_list_has(site: Site, key: str, asked: dict[str, Any]) -> None:
    """Under the same filters and the same rights."""
    listed = site.cdr(key, per_page=10_000, **asked).json()["records"]
    found = stats(site, key, group_by="disposition,queue", measures="calls,talk_s", **asked)
    assert (len(listed), sum(one["talk_s"] or 0 for one in listed)) == tuple(found["total"].values())
    expected = Counter((one["disposition"], one["queue_id"], one["queue"]) for one in listed)
    assert expected == {(one["disposition"], one["queue_id"], one["queue"]): one["calls"] for one in found["groups"]}


@pytest.mark.parametrize("vocabulary", ["documented", "compatible"])
def test_types_are_told_in_the_words_of_the_list(empty: Site, vocabulary: Any) -> None:
    """What is one word there is one group here."""
    records = list(interactions(60, seed=3))
    records[0] = msgspec.structs.replace(records[0], type="scheduled_callback")
    records[1] = msgspec.structs.replace(records[1], type="queue_callback")
    write(empty.node, "main", records)
    empty.node.directory.set_account("main", vocabulary=vocabulary)
    listed = empty.cdr(per_page=10_000).json()["records"]
    found = stats(empty, group_by="type")["groups"]
    assert Counter(one["type"] for one in listed) == {one["type"]: one["calls"] for one in found}
    assert len(found) == len({one["type"] for one in found})


def test_buckets_are_in_the_zone(site: Site) -> None:
    """That of the caller, or the one that is named."""
    found = stats(site, bucket="day", timezone="Asia/Tokyo")
    assert "Asia/Tokyo" == found["timezone"]
    assert found["total"]["calls"] == sum(one["calls"] for one in found["groups"])
    assert [one["bucket"] for one in found["groups"]] == sorted(one["bucket"] for one in found["groups"])
    day = found["groups"][0]["bucket"]
    total = site.cdr(start_date=day, end_date=day, timezone="Asia/Tokyo").json()["total"]
    assert total == found["groups"][0]["calls"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"group_by": "agnet"}, "agent"),
        ({"bucket": "year"}, "hour_of_day"),
        ({"measures": "call"}, "calls"),
        ({"measures": "calls,calls"}, "more than once"),
        ({"group_by": "queue,queue"}, "more than once"),
        ({"per_page": "10"}, "unknown"),
        ({"measures": "occupancy", "bucket": "hour"}, "no finer"),
        ({"measures": "occupancy", "group_by": "queue"}, "agent, team"),
    ],
)
def test_what_is_refused(site: Site, asked: dict[str, Any], told: str) -> None:
    """With what is valid."""
    reply = site.api.get(STATS, site.keys["admin"], **asked)
    assert (400, True) == (reply.status_code, told in reply.text), reply.text


def test_what_is_valid_can_be_written(site: Site) -> None:
    """In a query string nobody can give null, so nobody is told to."""
    error = site.api.get("/api/v2/cdr/stats", site.keys["admin"], bucket="minute").json()["error"]
    assert error.endswith("Valid: day, hour, hour_of_day, month, week, weekday")


def test_a_copy_is_proved_equal(site: Site) -> None:
    """By the recipe of the reference, from what the feed gave."""
    page = site.api.get("/api/v2/cdr/changes", site.keys["admin"], limit=10_000).json()
    summed: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for change in page["changes"]:
        day = change["record"]["timestamp"][:10]
        digest = hashlib.sha256(f"{change['uuid']}:{change['seq']}".encode()).digest()
        summed[day] = (summed[day] + int.from_bytes(digest[:8])) % 2**64
        counts[day] += 1
    reply = site.api.get(CHECKSUMS, site.keys["admin"], timezone="UTC").json()
    expected = [{"from": day, "to": day, "count": counts[day], "hash": f"{summed[day]:016x}"} for day in sorted(summed)]
    assert expected == reply["checksums"]
    records = site.api.get(CHECKSUMS, site.keys["admin"], timezone="UTC", level="record").json()["checksums"]
    assert {change["uuid"] for change in page["changes"]} == {one["uuid"] for one in records}
    assert 403 == site.api.get(CHECKSUMS, site.keys["phone"]).status_code


@pytest.mark.parametrize("level", ["day", "hour"])
def test_a_difference_is_narrowed_down_by_what_is_told(site: Site, level: str) -> None:
    """`from` and `to` are the days or instants of a request: it finds as many records, and proves the same."""
    asked = {"level": level, "timezone": "Asia/Kolkata"}
    admin = site.keys["admin"]
    told = site.api.get(CHECKSUMS, admin, None, **asked).json()["checksums"]
    for one in told[:5]:
        narrowed = asked | {"start_date": one["from"], "end_date": one["to"]}
        assert [one] == site.api.get(CHECKSUMS, admin, None, **narrowed).json()["checksums"]
        records = {**narrowed, "level": "record"}
        assert one["count"] == len(site.api.get(CHECKSUMS, admin, None, **records).json()["checksums"])


@pytest.mark.parametrize(
    "asked", [{}, {"group_by": "agent"}, {"bucket": "week"}, {"group_by": "team", "bucket": "day"}]
)
def test_occupancy_alone(site: Site, asked: dict[str, str]) -> None:
    """As it is beside other measures."""
    alone, beside = (stats(site, measures=measures, **asked) for measures in ("occupancy", "occupancy,calls"))
    without = [{name: value for name, value in one.items() if name != "calls"} for one in beside["groups"]]
    assert (without, beside["total"]["occupancy"]) == (alone["groups"], alone["total"]["occupancy"])
    assert ["occupancy"] == list(alone["total"])


@pytest.mark.parametrize("group", ["agent", "team"])
@pytest.mark.parametrize("bucket", ["", "day", "weekday"])
def test_occupancy_is_of_agents_days(site: Site, group: str, bucket: str) -> None:
    """By what a walk over the same records gives: talk and wrap-up, in the time from the first to the last."""
    zone = ZoneInfo("America/New_York")
    days: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for one in site.cdr(per_page=10_000).json()["records"]:
        if one["disposition"] == "answered" and one["agent_id"] and one["talk_s"] is not None:
            begin = datetime.fromisoformat(one["started_at"])
            day, wrapped = begin.astimezone(zone).date(), one["wrapup_s"] or 0
            cut = {"": None, "day": day.isoformat(), "weekday": day.isoweekday()}[bucket]
            for key in [one["agent_id"]] if group == "agent" else [team["id"] for team in one["teams"]] or [None]:
                end = begin + timedelta(seconds=one["duration_s"] + wrapped)
                days[cut, key, one["agent_id"], day].append((begin, end, one["talk_s"] + wrapped))
    busy: Counter[Any] = Counter()
    shift: Counter[Any] = Counter()
    for (cut, key, *_), several in days.items():
        busy[cut, key] += sum(each[2] for each in several)
        shift[cut, key] += (max(e[1] for e in several) - min(e[0] for e in several)).total_seconds()
    asked = {"bucket": bucket} if bucket else {}
    found = stats(site, group_by=group, measures="occupancy,calls", timezone=zone.key, **asked)
    told = {(one.get("bucket"), one[f"{group}_id"]): one["occupancy"] for one in found["groups"]}
    assert {key: round(busy[key] / shift[key], 4) for key in busy} == {
        key: value for key, value in told.items() if value is not None
    }
    assert list(found["groups"][0])[-2:] == ["occupancy", "calls"]
    assert 0 < found["total"]["occupancy"] < 1


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_begins_are_told_for_programs(site: Site, bucket: str) -> None:
    """As instants in milliseconds, or on the zone's clock without an offset: the same moments."""
    zone = ZoneInfo("America/New_York")

    def told(times: str) -> list[Any]:
        return [one["bucket"] for one in stats(site, bucket=bucket, timezone=zone.key, times=times)["groups"]]

    moments = [datetime.fromtimestamp(ms / 1000, zone) for ms in told("epoch_ms")]
    assert [moment.strftime("%Y-%m-%dT%H:%M:%S") for moment in moments] == told("local")
    if bucket == "hour":
        assert moments == [datetime.fromisoformat(text) for text in told("utc")]
    else:
        assert [moment.date().isoformat() for moment in moments] == told("utc")


def test_files_tell_times_for_programs(site: Site) -> None:
    """CSV does, in milliseconds or on the zone's clock; other formats have their own way."""
    asked = {"format": "csv", "fields": "uuid,started_at,answered_at,from", "timezone": "America/New_York"}

    def rows(times: str) -> list[list[str]]:
        reply = site.api.get("/api/v2/cdr/export", site.keys["admin"], None, **asked, times=times)
        return list(csv.reader(reply.text.splitlines()))[1:]

    for plain, local, epoch in zip(rows("utc"), rows("local"), rows("epoch_ms"), strict=True):
        for at in (1, 2):
            begin = datetime.fromisoformat(plain[at]) if plain[at] else None
            assert epoch[at] == (str(round(begin.timestamp() * 1000)) if begin else "")
            wall = begin and begin.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
            assert local[at] == (wall.isoformat(timespec="milliseconds") if wall else "")
        assert (plain[0], plain[3]) == (local[0], local[3]) == (epoch[0], epoch[3])
    refused = site.api.get("/api/v2/cdr/export", site.keys["admin"], None, format="ndjson", times="local")
    assert (400, True) == (refused.status_code, "with format csv" in refused.text)


def test_a_copy_is_proved_equal_in_sql(site: Site, tmp_path: Path) -> None:
    """By the guide's statement, over the pages of the feed as they came; and a copy that lacks one is not."""
    (statement,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "guides" / "reports.md").read_text(), re.DOTALL)
    (tmp_path / "changes").mkdir()
    cursor, number = "", 0
    while True:
        page = site.api.get("/api/v2/cdr/changes", site.keys["admin"], limit=50, cursor=cursor)
        (tmp_path / "changes" / f"{number}.json").write_text(page.text)
        cursor, number = page.json()["next_cursor"], number + 1
        if not page.json()["has_more"]:
            break
    served = site.api.get(CHECKSUMS, site.keys["admin"], timezone="UTC").json()["checksums"]
    told = [{name: one[name] for name in ("from", "count", "hash")} for one in served]

    def found() -> list[dict[str, Any]]:
        rows = duckdb.execute(statement.replace("changes/*.json", f"{tmp_path}/changes/*.json")).fetchall()
        return [dict(zip(("from", "count", "hash"), row, strict=True)) for row in rows]

    assert (told, True) == (found(), number > 1)
    (tmp_path / "changes" / "1.json").unlink()
    assert told != found()
