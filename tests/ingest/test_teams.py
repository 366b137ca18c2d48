"""Calls from rows, which know no teams, have those in which the directory had their agent when they took place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calldex.directory import Directory, TeamChanges, UserChanges, roster
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest
from calldex.records.record import CallRow, Cdr, Team, stable_id, time_uuid
from tests.engines import answer, embedded, everything
from tests.ingest.test_pipeline import Plain, PlainSettings

HOUR_MS = 3_600_000


class Calls(Plain):
    """Rows `key;call;hour`: a call of the agent Ann's, or nobody's if its name begins with `n`, or of one that names a
    team itself if it begins with `t`."""

    def links(self, row: CallRow) -> tuple[str, ...]:
        """Those it came with."""
        return row.links

    def assemble(self, rows: Sequence[CallRow], settings: Any, source: str) -> Cdr | None:
        """The call that rows are."""
        call = rows[0].links[0]
        return Cdr(
            uuid=time_uuid(0, source, call),
            type="inbound",
            disposition="answered",
            started_at=datetime.fromtimestamp(min(int(row.text) for row in rows) * 3600, UTC),
            duration_s=len(rows),
            agent=None if call.startswith("n") else "Ann",
            agent_id=None if call.startswith("n") else stable_id("agent", "Ann"),
            teams=(Team(99, "Own"),) if call.startswith("t") else (),
            comment=call,
        )


class Site:
    """A directory whose agent Ann moves from Sales to Care in hour 10, and an importer of calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._at = 0
        monkeypatch.setattr(roster, "now_ms", lambda: self._at)
        self.directory = Directory.open(folder / "directory.db")
        self.store = embedded(folder)
        self.account_id = self.directory.account().id
        for id_, name in ((1, "Sales"), (2, "Care")):
            self.directory.put_team("main", id_, TeamChanges(name=name))
        self.directory.add_user("ann@example.com", "Ann", "agent", teams=("Sales",))

    def move(self, hour: int, *teams: int) -> None:
        """Let Ann be in these teams from an hour on."""
        self._at = hour * HOUR_MS
        self.directory.change_user("ann@example.com", UserChanges(teams=teams))

    def take(self, *rows: str) -> None:
        """Take in rows."""
        feed = Feed(account_id=self.account_id, source="pbx", format=Calls(), settings=PlainSettings())
        Ingest(self.directory, self.store).run(feed, ["\n".join(rows).encode()], "file")

    def teams(self) -> dict[str, tuple[int, list[str]]]:
        """Rows and teams of every call."""
        _, json = answer(self.store, everything(self.account_id))
        found = list(map(msgspec.json.decode, json.splitlines()))
        return {each["comment"]: (each["duration_s"], [team["name"] for team in each["teams"]]) for each in found}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site."""
    opened = Site(tmp_path, monkeypatch)
    with closing(opened.store), opened.directory:
        yield opened


def test_the_teams_of_the_time(site: Site) -> None:
    """Whenever its rows come, a call has the teams that its agent was in when it began."""
    site.move(10, 2)
    site.move(20, 1, 2)
    site.move(30)
    site.take("1;a;5", "2;b;10", "3;c;20", "4;d;30", "5;n;5", "6;t;5")
    assert {
        "a": (1, ["Sales"]),
        "b": (1, ["Care"]),
        "c": (1, ["Sales", "Care"]),
        "d": (1, []),
        "n": (1, []),
        "t": (1, ["Own"]),
    } == site.teams()


def test_a_late_row_of_an_old_call(site: Site) -> None:
    """A row that comes after the agent moved leaves the call with the team it took place in; new calls have the new."""
    site.take("1;a;5")
    site.move(10, 2)
    site.take("2;a;11", "3;b;12")
    assert {"a": (2, ["Sales"]), "b": (1, ["Care"])} == site.teams()


def test_a_team_that_is_gone(site: Site) -> None:
    """What the calls of a removed team were is not changed by it; rows that come later tell its id."""
    site.take("1;a;5", "2;b;5")
    site.directory.remove_team("main", "Sales")
    site.take("3;b;6")
    assert {"a": (1, ["Sales"]), "b": (2, [None])} == site.teams()


def test_a_call_that_names_a_team_finds_it_under_its_name(site: Site) -> None:
    """The look-up of teams has a team that only rows' calls were stamped with, by the name the directory gives it."""
    site.take("1;a;5")
    assert ["Care", "Sales"] == [entry.name for entry in site.directory.lookup(site.account_id, "team")]
