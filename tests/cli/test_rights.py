"""Teams, groups, names, and the question who sees what."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calldex.records import codec
from calldex.records.record import Cdr, canonical, stable_id
from tests.cli.test_people import listed
from tests.cli.tools import calldex


@pytest.fixture
def staff(people: Path) -> Path:
    """A data directory with a team of an agent, Bo, supervised by Cy, and a group that nobody is in."""
    for words in (
        ("users", "add", "bo@example.com", "--name", "Bo", "--role", "agent", "--agent-id", 5),
        ("users", "add", "cy@example.com", "--name", "Cy", "--role", "supervisor"),
        ("names", "set", "queue", 501, "Orders"),
        ("teams", "add", "Sales", "--id", 101, "--queue", "Orders", "--agent", "bo@example.com"),
        ("teams", "set", "Sales", "--supervisor", "cy@example.com"),
        ("groups", "add", "History", "--permission", "see_cdrs", "--queue", 9, "--reach", "own"),
    ):
        result = calldex(*words, data=people)
        assert 0 == result.exit_code, result.output
    return people


@pytest.mark.slow
def test_teams(staff: Path) -> None:
    """They are listed with everybody in them, changed part by part, and removed."""
    before = {
        "id": 101,
        "name": "Sales",
        "queues": [501],
        "agents": ["bo@example.com"],
        "supervisors": ["cy@example.com"],
    }
    assert [before] == listed("teams", "list", data=staff)
    assert "bo@example.com" in calldex("teams", "list", data=staff).stdout
    words = ("--name", "Shop", "--queue", "", "--agent", "")
    assert 0 == calldex("teams", "set", 101, *words, data=staff).exit_code
    assert [before | {"name": "Shop", "queues": [], "agents": []}] == listed("teams", "list", data=staff)
    again = calldex("teams", "add", "Other", "--id", 101, data=staff)
    assert (1, True) == (again.exit_code, "there is already a team with the id 101" in again.stderr)
    assert 0 == calldex("teams", "remove", "Shop", data=staff).exit_code
    assert [] == listed("teams", "list", data=staff)


def test_teams_of_a_file(people: Path) -> None:
    """They are added and changed, all or none."""
    text = b"name,id,queues,supervisors\nSales,101,501;502,ana@example.com\nCare,,,\n"
    assert (
        "Teams added: 2, changed: 0, unchanged: 0.\n" == calldex("teams", "import", "-", data=people, stdin=text).stderr
    )
    assert {"Care": stable_id("team", "Care"), "Sales": 101} == {
        str(team["name"]): team["id"] for team in listed("teams", "list", data=people)
    }
    refused = calldex("teams", "import", "-", data=people, stdin=b"name,supervisors\nX,\nY,nobody@example.com\n")
    assert (2, True) == (refused.exit_code, "line 3 'nobody@example.com': supervisors:" in refused.stderr)
    assert 2 == len(listed("teams", "list", data=people))


@pytest.mark.slow
def test_groups(staff: Path) -> None:
    """Roles come first; a group is changed, its reach as a whole, and removed."""
    found = listed("groups", "list", data=staff)
    assert ["Admin", "Supervisor", "Analyst", "Agent", "Hardware phone", "History"] == [each["name"] for each in found]
    assert (["see_cdrs"], {"own": True, "queues": [9]}) == (found[-1]["permissions"], found[-1]["reach"])
    assert "own; queues 9" in calldex("groups", "list", data=staff).stdout
    for words, expected in (
        (("--team", 101, "--agent", 5), (["see_cdrs"], {"teams": [101], "agents": [5]})),
        (("--permission", "export", "--permission", "listen"), (["export", "listen"], {"teams": [101], "agents": [5]})),
        (("--reach", "", "--permission", ""), ([], {})),
        (("--reach", "whole", "--reach", "supervised"), ([], {"whole": True, "supervised": True})),
    ):
        assert 0 == calldex("groups", "set", "History", *words, data=staff).exit_code
        group = listed("groups", "list", data=staff)[-1]
        assert expected == (group["permissions"], group["reach"])
    wrong = calldex("groups", "set", "History", "--permission", "see_cdr", data=staff)
    assert (2, True) == (wrong.exit_code, "--permission 'see_cdr': there is no such permission" in wrong.stderr)
    calldex("users", "set", "bo@example.com", "--group", "History", data=staff)
    assert ["bo@example.com"] == listed("groups", "list", data=staff)[-1]["members"]
    assert 0 == calldex("groups", "remove", "History", data=staff).exit_code
    assert 5 == len(listed("groups", "list", data=staff))


def test_names(staff: Path) -> None:
    """A name that is set is listed as such, by id or code, until it is removed."""
    calldex("names", "set", "wrapup_code", "0100", "Sale", data=staff)
    assert [{"key": "0100", "name": "Sale", "pinned": True}] == listed("names", "list", "wrapup_code", data=staff)
    assert "Orders" in calldex("names", "list", "queue", data=staff).stdout
    assert 0 == calldex("names", "remove", "wrapup_code", "0100", data=staff).exit_code
    assert [] == listed("names", "list", "wrapup_code", data=staff)
    assert 1 == calldex("names", "remove", "queue", "502", data=staff).exit_code
    assert 2 == calldex("names", "set", "queue", "Orders", "X", data=staff).exit_code


def call(number: int, **ids: Any) -> Cdr:
    """A call with an agent and a queue."""
    return canonical(
        Cdr(
            uuid=f"01980c1e-6f3a-8d21-9a3b-{number:012}",
            type="inbound",
            disposition="answered",
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            duration_s=1,
            **ids,
        )
    )


def explained(*words: object, data: Path) -> dict[str, Any]:
    """What `access explain` tells, as JSON."""
    result = calldex("access", "explain", *words, "--json", data=data)
    assert 0 == result.exit_code, result.output
    return msgspec.json.decode(result.stdout, type=dict[str, Any])


def test_what_somebody_sees_is_explained(staff: Path) -> None:
    """By which group they may do what and see which records, what is masked, and why they see one record or not."""
    calldex("users", "set", "bo@example.com", "--role", "", "--group", "History", data=staff)
    own, other = call(1, agent_id=5, queue_id=1), call(2, agent_id=6, queue_id=501)
    lines = b"".join(codec.encode(each) + b"\n" for each in (own, other))
    assert 0 == calldex("import", "--format", "jsonl", "-", data=staff, stdin=lines).exit_code

    found = explained("bo@example.com", data=staff)
    assert (["History"], {"see_cdrs": ["History"]}) == (found["groups"], found["permissions"])
    assert ["own", "queues"] == [line["by"] for line in found["reach"]]
    assert found["mask"]["numbers"]
    verdicts = [
        [explained(who, "--record", each.uuid, data=staff)["record"]["visible"] for each in (own, other)]
        for who in ("bo@example.com", "cy@example.com", "ana@example.com")
    ]
    assert [[True, False], [False, True], [True, True]] == verdicts
    shown = calldex("access", "explain", "cy@example.com", "--record", other.uuid, data=staff).stdout
    for words in ("supervised teams 101 (Sales) and queues 501 (Orders)", "visible: it lies within the reach of"):
        assert words in shown
    shown = calldex("access", "explain", "bo@example.com", "--record", other.uuid, data=staff).stdout
    for words in ("masked", "not visible: no part of their reach holds its agent", "not held by"):
        assert words in shown


def test_what_cannot_be_explained(staff: Path) -> None:
    """Nobody of that address, no uuid, no such record."""
    uuid = "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"
    for words, code, message in (
        (("boo@example.com",), 1, "did you mean 'bo@example.com'?"),
        (("bo@example.com", "--record", "x"), 2, "--record 'x': is not a uuid"),
        (("bo@example.com", "--record", uuid), 1, f"there is no record {uuid}"),
    ):
        result = calldex("access", "explain", *words, data=staff)
        assert (code, True) == (result.exit_code, message in result.stderr), result.stderr


@pytest.mark.slow
def test_who_may_nothing(staff: Path) -> None:
    """It is told as plainly, and so is it that somebody is disabled."""
    calldex("users", "set", "bo@example.com", "--role", "", data=staff)
    calldex("users", "disable", "bo@example.com", data=staff)
    shown = calldex("access", "explain", "bo@example.com", data=staff).stdout
    for words in ("none of their keys works", "nothing", "nobody"):
        assert words in shown
