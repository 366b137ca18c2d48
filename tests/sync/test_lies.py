"""An endpoint that answers what cannot be: what is doubtful is not marked as done, and stands in the status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calldex.sync import reading, source
from calldex.sync.destinations import Nothing
from calldex.sync.runner import Status
from calldex.sync.sink import digest
from calldex.sync.state import StateFile
from calldex.sync.stopping import Stopped
from tests.examples import first_are_quick
from tests.sync.chaos import Hurried, clock_ahead
from tests.sync.conftest import Rig
from tests.sync.crm import call
from tests.sync.vendors.server import Answer, Request, Vendor

PAGE = 3
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
Lie = Callable[[dict[str, str], dict[str, Any]], Any]


class Listing(Vendor):
    """An endpoint of the contract: a walk sees records as of its first page. `lie` makes another reply of a right one;
    tokens that are `expired` are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Any]] = {}
        self.lie: Lie = lambda asked, reply: reply
        self.expired = False
        self.away_after: int | None = None
        """After so many requests nothing is answered any more."""
        self._walks: dict[str, list[dict[str, Any]]] = {}

    def add(self, at: int, day: datetime = TODAY, **other: Any) -> str:
        """A record of a day; its uuid."""
        began = (day + timedelta(minutes=at)).isoformat().replace("+00:00", "Z")
        record = call(at, timestamp=began, started_at=began, ended_at=None, **other)
        self.records[record["uuid"]] = record
        return str(record["uuid"])

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if self.away_after is not None and len(self.requests) > self.away_after:
            return Answer(503)
        if request.path != "/api/v2/cdr":
            return Answer(404, {"error": "not in the contract"})
        asked = request.query
        if (token := asked.get("search_token")) is not None:
            if self.expired:
                self.expired = False
                return Answer(410, {"error": "the token is too old"})
            found = self._walks[token]
        else:
            days = asked.get("start_date", ""), asked.get("end_date", "9999")
            found = [each for each in self.records.values() if days[0] <= each["timestamp"][:10] <= days[1]]
            token = f"{len(self._walks)}:0"
        name, begin = token.split(":")
        start, end = int(begin), int(begin) + int(asked["per_page"])
        follows = f"{name}:{end}" if end < len(found) else None
        if follows:
            self._walks[follows] = found
        reply = {"records": found[start:end], "total": len(found), "page": 1, "search_token": follows}
        return Answer(200, self.lie(asked, reply))


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    """An endpoint with ten records of today, read by threes."""
    for module in (reading, source):
        monkeypatch.setattr(module, "PAGE", PAGE)
    monkeypatch.setattr(Nothing, "batch_size", PAGE)
    with Listing() as made:
        for at in range(10):
            made.add(at)
        yield made
    clock_ahead(timedelta())


@pytest.fixture
def rig(listing: Listing, tmp_path: Path) -> Rig:
    """A pipe that reads it."""
    made = Rig(tmp_path, listing.url, "cdx_any", {"kind": "nothing"})
    made.text["source"]["main"]["kind"] = "v2"
    made.stopping = Hurried
    return made


def held(rig: Rig) -> set[str]:
    """What was delivered."""
    with StateFile(rig.config.state) as file:
        return {uuid for uuid, _, _ in file.held("calls", None, None)}


def of_a_day(lie: Lie) -> Lie:
    """A lie of walks alone, not of the search for the first day."""
    return lambda asked, reply: lie(asked, reply) if "start_date" in asked else reply


LIES: dict[str, tuple[Lie, str]] = {
    "a walk that never ends": (
        lambda asked, reply: reply | {"search_token": reply["search_token"] or "0:3"},
        "nothing new",
    ),
    "an empty page in its middle": (
        lambda asked, reply: reply | ({"records": []} if "search_token" in asked else {}),
        "nothing new",
    ),
    "fewer than it counts": (lambda asked, reply: reply | {"total": 11}, "gave 10 records of 11"),
    "a total that moves, and fewer than any": (
        lambda asked, reply: reply | {"total": 20 + len(asked), "records": reply["records"][:1]},
        "gave 4 records of 24",
    ),
    "a page for people": (lambda asked, reply: "<html>welcome</html>", "none of the contract"),
    "no total": (lambda asked, reply: {"records": []}, "`total`"),
    "records that are none": (lambda asked, reply: reply | {"records": [1]}, "`$.records[0]`"),
    "a token that is a number": (lambda asked, reply: reply | {"search_token": 5}, "`$.search_token`"),
    "a record without a uuid": (
        lambda asked, reply: reply | {"records": [each | {"uuid": None} for each in reply["records"]]},
        "without a uuid",
    ),
}


@pytest.mark.parametrize("name", first_are_quick(LIES, 3))
def test_a_day_that_is_told_wrong_is_not_done(listing: Listing, rig: Rig, name: str) -> None:
    """It ends, is told with the reason, deletes nothing, and goes right as soon as the endpoint does."""
    assert {} == rig.run().not_whole
    there = held(rig)
    assert 10 == len(there)
    gone = listing.records.pop(min(listing.records))
    listing.add(30)
    lie, words = LIES[name]
    listing.lie = of_a_day(lie)
    status = rig.run()
    assert words in status.not_whole[str(TODAY.date())] + status.problem
    assert not status.done
    assert there <= held(rig)
    listing.lie = lambda asked, reply: reply
    assert {} == rig.run().not_whole
    assert listing.records.keys() == held(rig)
    assert gone["uuid"] not in held(rig)


class Feed(Vendor):
    """A change feed that says that more follows, and stays where it is."""

    def answer(self, request: Request) -> Answer:
        """See `Vendor`."""
        if request.path.endswith("/changes"):
            return Answer(200, {"changes": [], "next_cursor": "here", "has_more": True})
        return Answer(200, {"records": [], "total": 0, "page": 1, "search_token": None})


def test_a_feed_that_stands_still(tmp_path: Path) -> None:
    """Is not asked for ever."""
    with Feed() as feed:
        rig = Rig(tmp_path, feed.url, "cdx_any", {"kind": "nothing"})
        rig.text["source"]["main"]["kind"] = "calldex"
        rig.stopping = Hurried
        assert "stays where it is" in rig.run().problem


@pytest.mark.slow
def test_what_a_walk_gave_that_was_refused_may_be_gone(listing: Listing, rig: Rig, monkeypatch: Any) -> None:
    """A record that is erased between a walk that cannot go on and the one that is begun instead is not kept."""
    monkeypatch.setattr(Nothing, "batch_size", 1000)  # what came waits
    (old, *_) = listing.records

    def lie(asked: dict[str, str], reply: Any) -> Any:
        if "start_date" in asked and "search_token" not in asked and old in listing.records:
            listing.expired = True
            del listing.records[old]
        return reply

    day = TODAY - timedelta(days=30)  # no look-back would find it
    for at, uuid in enumerate(list(listing.records)):
        listing.records[uuid] |= {name: f"{day.date()}T00:{at:02}:00Z" for name in ("timestamp", "started_at")}
    listing.lie = lie
    status = rig.run()
    assert ("", {}) == (status.problem, status.not_whole)
    assert listing.records.keys() == held(rig)


def test_a_walk_is_not_gone_on_with_on_another_day(listing: Listing, rig: Rig, monkeypatch: Any) -> None:
    """It sees the day as it was when it began, before the day was over: what came later would be a gap for ever, if the
    sync was off for longer than the look-back."""
    asked = source.Endpoint.page
    monkeypatch.setattr(source.Endpoint, "page", stopped_after(asked, 2))
    with pytest.raises(Stopped):
        rig.run()
    assert 0 < len(held(rig)) < 10
    monkeypatch.setattr(source.Endpoint, "page", asked)
    for at in range(20, 25):
        listing.add(at)
    listing.ahead_s = timedelta(days=6).total_seconds()
    clock_ahead(timedelta(days=6))
    assert {} == rig.run().not_whole
    assert listing.records.keys() == held(rig)


def test_a_walk_is_gone_on_with(listing: Listing, rig: Rig, monkeypatch: Any) -> None:
    """On the same day: no page is asked for twice but the one that was not delivered. Then the day is read once more,
    as the walk saw it as it was: what was corrected meanwhile is right after that run, and what was erased is gone."""
    asked = source.Endpoint.page
    monkeypatch.setattr(source.Endpoint, "page", stopped_after(asked, 2))
    with pytest.raises(Stopped):
        rig.run()
    monkeypatch.setattr(source.Endpoint, "page", asked)
    before = len(listing.requests)
    *_, erased, corrected = sorted(listing.records)
    del listing.records[erased]
    listing.records[corrected] = listing.records[corrected] | {"comment": "corrected"}
    assert {} == rig.run().not_whole
    with StateFile(rig.config.state) as file:
        versions = {uuid: seq for uuid, seq, _ in file.held("calls", None, None)}
    assert {uuid: digest(record) for uuid, record in listing.records.items()} == versions
    first = listing.requests[before:][0].query
    assert "search_token" in first
    assert listing.records.keys() == held(rig)


def stopped_after(page: Any, count: int) -> Any:
    """The pages of days, so many; then the sync is to end."""
    came = 0

    def stopped(self: Any, asked: Any) -> Any:
        nonlocal came
        if "start_date" in asked:
            came += 1
            if came > count:
                raise Stopped
        return page(self, asked)

    return stopped


@pytest.mark.slow
def test_a_proof_finds_what_is_older_than_the_first_day(listing: Listing, rig: Rig) -> None:
    """Records of a time before the first day that there was may come later: no look-back finds them, a proof does; it
    takes out again what is no more of then."""
    rig.run()
    old = listing.add(50, TODAY - timedelta(days=400))
    assert 0 == rig.run().changes
    status = rig.run("verify")
    assert (1, "", {}) == (status.repaired, status.unequal, status.not_whole)
    assert listing.records.keys() == held(rig)
    del listing.records[old]
    assert 1 == rig.run("verify").repaired
    assert listing.records.keys() == held(rig)
    assert 0 == rig.run("verify").repaired


def test_an_endpoint_that_goes_away(listing: Listing, rig: Rig) -> None:
    """In the middle of many days it ends the run, which would wait for each of them; the next one goes on."""
    for back in range(1, 30):
        listing.add(1, TODAY - timedelta(days=back))
    rig.text["source"]["main"]["since"] = (TODAY - timedelta(days=29)).date()
    asked = len(listing.requests)
    listing.away_after = 12
    status = rig.run()
    assert (True, True) == (bool(status.problem), status.later)
    assert len(listing.requests) - asked <= 12 + 2 * source.TRIES
    listing.away_after = None
    assert ("", {}) == ((status := rig.run()).problem, status.not_whole)
    assert listing.records.keys() == held(rig)


def test_days_are_no_filters(rig: Rig) -> None:
    """Of an endpoint that is read by days; they are not ignored."""
    rig.text["pipe"]["calls"]["filters"] = {"start_date": "2026-01-01"}
    status = rig.run()
    assert "`since` of the source" in status.problem
    assert not status.later


@pytest.mark.slow
def test_a_fault_is_in_the_status(listing: Listing, rig: Rig, monkeypatch: Any) -> None:
    """Whatever it is: the pipe does not seem to be well, and the next run goes on."""

    def faulty(self: Nothing, batch: Any) -> Any:
        raise KeyError("cdx_secret")

    with monkeypatch.context() as patch:
        patch.setattr(Nothing, "apply", faulty)
        status: Status = rig.run()
    assert "KeyError" in status.problem
    assert "cdx_secret" not in status.problem
    assert status.current_ms is None
    assert "" == rig.run().problem
    assert listing.records.keys() == held(rig)
