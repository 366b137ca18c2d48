"""Schedules: each day once, at the zone's time, where the operator said; what was missed is made up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from starlette.applications import Starlette

from calldex.api.app import public
from calldex.clock import now_ms
from calldex.demo import interactions
from calldex.directory import AuditFilter, GroupChanges, Schedule
from calldex.jobs import exports as jobs
from calldex.jobs import schedules
from calldex.jobs.schedules import due_days, due_ms, first_day, run_due
from calldex.node import DAY_MS, Node
from calldex.settings import Settings
from calldex.targets import Targets
from tests.api.conftest import Api, Site, people, write
from tests.s3 import ACCESS_KEY, S3, SECRET_KEY, s3

PATH = "/api/admin/v1/export-schedules"
LONDON = ZoneInfo("Europe/London")


def ms(*parts: int) -> int:
    """An instant in UTC, in epoch milliseconds."""
    year, month, day, hour, minute = (*parts, 0, 0)[:5]
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


def planned(at: str = "02:00", timezone: str = "Europe/London", next_day: str = "2026-03-28") -> Schedule:
    """A schedule."""
    return Schedule(
        account_id=1,
        user_id=0,
        key_id=None,
        email="owner",
        credential="",
        id=1,
        name="nightly",
        at=at,
        timezone=timezone,
        next_day=next_day,
        parameters=[],
        target="lake",
        created_at=0,
    )


@pytest.mark.parametrize(
    ("day", "at", "due"),
    [
        (date(2026, 3, 28), "01:30", (2026, 3, 28, 1, 30)),
        (date(2026, 3, 29), "01:30", (2026, 3, 29, 1, 30)),  # 01:30 is none in London: an hour later, 02:30 there
        (date(2026, 3, 30), "01:30", (2026, 3, 30, 0, 30)),
        (date(2026, 10, 25), "01:30", (2026, 10, 25, 0, 30)),  # there are two: the first
        (date(2026, 10, 26), "01:30", (2026, 10, 26, 1, 30)),
    ],
)
def test_days_on_which_clocks_change(day: date, at: str, due: tuple[int, ...]) -> None:
    """Each day has one run."""
    assert ms(*due) == due_ms(day, at, LONDON)


def test_the_first_run_is_the_next_one() -> None:
    """Today, if its time is still to come; else tomorrow, in the schedule's zone."""
    assert date(2026, 7, 1) == first_day("02:00", "Europe/London", ms(2026, 7, 1, 0, 59))
    assert date(2026, 7, 2) == first_day("02:00", "Europe/London", ms(2026, 7, 1, 1, 0))
    assert date(2026, 7, 1) == first_day("02:00", "America/New_York", ms(2026, 7, 1, 3, 0))


def test_every_day_once_over_a_year() -> None:
    """Whenever it is looked: none is left out, none comes twice."""
    schedule, found = planned(at="01:30", next_day="2026-01-01"), list[date]()
    at_ms = ms(2026, 1, 1)
    while at_ms < ms(2027, 1, 1, 1):
        at_ms += 5 * 3_600_000 + 1_234_567
        days, behind = due_days(schedule, at_ms)
        found += days
        schedule = msgspec.structs.replace(schedule, next_day=behind.isoformat())
    assert [date(2026, 1, 1) + timedelta(days=n) for n in range(len(found))] == found
    assert len(found) in (365, 366)


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3]:
    """Where objects go."""
    with s3() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bucket: S3) -> Iterator[Site]:
    """A site whose operator named a folder, a bucket, and a folder that is not there."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "share").mkdir()
    targets = Targets(
        f"share={folder}/share,lake=s3://bucket/raw?endpoint={bucket.url}&region=eu-west-1,gone={folder}/gone"
    )
    with asyncio.Runner() as runner, Node(Settings(data=folder / "data", threads=2, export_targets=targets)) as node:
        keys = people(node)
        write(node, "main", list(interactions(200, seed=3)))
        yield Site(node, Api(public(node), runner), keys, [], [])


@pytest.fixture(autouse=True)
def none_left(site: Site, bucket: S3) -> Iterator[None]:
    """Each test has schedules of its own."""
    bucket.objects.clear()
    yield
    for schedule in site.node.directory.schedules():
        site.node.directory.remove_schedule(schedule.account_id, schedule.id)


def asked(site: Site, key: str = "admin", **given: Any) -> dict[str, Any]:
    """A schedule that is made over HTTP."""
    body = {"name": "nightly", "at": "02:00", "timezone": "Europe/London", "target": "share", "format": "csv"} | given
    reply = site.api.request("POST", PATH, json=body, headers={"Authorization": f"Bearer {site.keys[key]}"})
    assert 201 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    return found


def later(site: Site, monkeypatch: pytest.MonkeyPatch, days: int = 1) -> None:
    """So many days later, when what is due has been made."""
    assert isinstance(site.api.app, Starlette)
    at_ms = now_ms() + days * DAY_MS
    monkeypatch.setattr(jobs, "now_ms", lambda: at_ms)
    site.api.runner.run(site.api.app.state.exporting.settled())


def test_a_folder_gets_yesterday(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a dated name; the records are those of that day in the schedule's zone; nothing stays behind."""
    made = asked(site, format="ndjson", filters={"type": "inbound"})
    schedule = site.node.directory.schedule(1, made["id"])
    later(site, monkeypatch)
    (run,) = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    day = (date.fromisoformat(schedule.next_day) - timedelta(days=1)).isoformat()
    assert ("done", day) == (run.state, run.day), run.reason
    share = Path(site.node.settings.export_targets["share"])
    path = share / "main" / f"nightly-{day}.ndjson"
    asked_for: dict[str, Any] = {"start_date": day, "end_date": day, "timezone": "Europe/London", "type": "inbound"}
    same = site.api.get("/api/v2/cdr/export", site.keys["admin"], **asked_for)
    assert same.content == path.read_bytes()
    assert [path] == list(path.parent.iterdir())
    assert not (site.node.settings.data / "exports" / run.id).exists()
    entry = site.node.directory.audit_entries(None, AuditFilter(action="export_delivered"), 1)[0]
    assert (run.id, "share", "admin@main.example.com") == (entry.target, entry.detail["place"], entry.actor)


def test_what_was_missed_is_made_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Day by day, each once, however often it is looked and by how many."""
    made = asked(site, name="missed", target="lake", format="csv", fields=["uuid"])
    site.node.directory.set_bucket_secret(
        "export_target", "lake", json.dumps({"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY})
    )
    for _ in range(2):
        run_due(site.node, "", now_ms() + 3 * DAY_MS)
    later(site, monkeypatch, 3)
    runs = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    assert ({"done"}, 3) == ({each.state for each in runs}, len({each.day for each in runs})), runs[0].reason


def test_a_bucket_gets_a_dated_object(site: Site, bucket: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the credentials that are kept, sealed: the database does not tell them."""
    asked(site, name="objects", target="lake", format="csv", fields=["uuid"])
    site.node.directory.set_bucket_secret(
        "export_target", "lake", json.dumps({"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY})
    )
    later(site, monkeypatch)
    (name,) = bucket.objects
    assert name.startswith("/bucket/raw/main/objects-20")
    assert bucket.objects[name].startswith(b"uuid\r\n")
    files = b"".join(path.read_bytes() for path in site.node.settings.data.glob("directory.db*"))
    assert SECRET_KEY.encode() not in files


def test_not_more_than_a_month_is_made_up(site: Site) -> None:
    """The newest days are; the others are left out, and the log says so."""
    made = asked(site, name="long", target="gone")
    run_due(site.node, "elsewhere", now_ms() + 40 * DAY_MS)
    runs = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    assert schedules.MOST_MADE_UP == len(runs)
    assert max(str(each.day) for each in runs) >= (datetime.now(UTC) + timedelta(days=37)).date().isoformat()
    for run in runs:
        site.node.directory.remove_export(run.id)


def test_a_place_that_is_away_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it fails with the reason; it is not made anew each time."""
    made = asked(site, name="away", target="gone")
    monkeypatch.setattr(jobs, "LONGEST_PAUSE_S", 0.0)
    later(site, monkeypatch)
    (run,) = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    assert ("failed", True) == (run.state, "no such folder" in str(run.reason))


def test_a_bucket_that_refuses(site: Site, bucket: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret is no reason to try again: the run has failed, and says why, without the secret."""
    site.node.directory.set_bucket_secret(
        "export_target", "lake", json.dumps({"access_key_id": ACCESS_KEY, "secret_access_key": "a wrong secret"})
    )
    made = asked(site, name="refused", target="lake")
    later(site, monkeypatch)
    (run,) = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    assert ("failed", True) == (run.state, "SignatureDoesNotMatch" in str(run.reason))
    assert "a wrong secret" not in str(run.reason)
    assert {} == bucket.objects


def test_it_has_the_rights_of_its_maker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key that was revoked nothing is made any more."""
    key = site.node.directory.create_key("analyst@main.example.com", ("read",))
    site.keys["revoked"] = key
    made = asked(site, "revoked", name="of-analyst")
    site.node.directory.revoke_key(key)
    later(site, monkeypatch)
    (run,) = [each for each in site.node.directory.exports(1, None) if each.schedule_id == made["id"]]
    assert ("failed", True) == (run.state, "is not valid any more" in str(run.reason))


def test_whose_they_are(site: Site) -> None:
    """Everybody sees and removes their own; who manages access those of others up to their own rights."""
    asked(site, "analyst", name="of-analyst", filters={"cli": "4477"})
    asked(site, "supervisor", name="of-supervisor")
    listed = site.api.get(PATH, site.keys["supervisor"]).json()
    assert ["of-supervisor"] == [each["name"] for each in listed["items"]]
    manager = site.node.directory.create_key("admin@main.example.com", ("manage",))
    found = {each["name"]: each for each in site.api.get(PATH, manager).json()["items"]}
    assert {"of-analyst", "of-supervisor"} == set(found)
    assert "4 digits" == found["of-analyst"]["parameters"]["cli"]
    site.node.directory.put_group("main", None, GroupChanges(name="small", permissions=("export", "manage_access")))
    site.node.directory.add_user("small@main.example.com", "Small", groups=("small",))
    small = site.node.directory.create_key("small@main.example.com", ("manage",))
    assert [] == site.api.get(PATH, small).json()["items"]
    other = {"Authorization": f"Bearer {site.keys['supervisor']}"}
    assert 404 == site.api.request("DELETE", f"{PATH}/{found['of-analyst']['id']}", headers=other).status_code
    manages = {"Authorization": f"Bearer {manager}"}
    assert 204 == site.api.request("DELETE", f"{PATH}/{found['of-analyst']['id']}", headers=manages).status_code
    assert 403 == site.api.get(PATH, site.keys["phone"]).status_code


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": " blank"}, "name"),
        ({"name": ".hidden"}, "name"),
        ({"target": "elsewhere"}, "target"),
        ({"target": "/etc"}, "target"),
        ({"at": "24:00"}, "at"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"filters": {"start_date": "2026-01-01"}}, "start_date"),
        ({"filters": {"color": "red"}}, "color"),
        ({"fields": ["nothing"]}, "fields"),
        ({"name": "../up"}, "name"),
        ({"format": "xls"}, "format"),
    ],
)
def test_what_cannot_be_planned(site: Site, given: dict[str, Any], parameter: str) -> None:
    """400 with what is wrong, when it is asked for."""
    body = {"name": "nightly", "at": "02:00", "timezone": "UTC", "target": "share", "format": "csv"} | given
    reply = site.api.request("POST", PATH, json=body, headers={"Authorization": f"Bearer {site.keys['admin']}"})
    assert 400 == reply.status_code
    assert [parameter] == [each["parameter"] for each in reply.json()["problems"]], reply.text


@pytest.mark.parametrize("given", ["here=relative", "x", "lake=s3://", "a=/b,a=/c", "A=/b", "lake=s3://bucket?key=x"])
def test_what_is_no_place(given: str) -> None:
    """The setting is refused."""
    with pytest.raises(ValueError, match=r"no name|neither|no bucket"):
        Targets(given)
