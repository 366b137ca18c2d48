"""Users and teams from CSV files."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.access import Reach
from calldex.directory import Directory, GroupChanges, Imported, TeamChanges, UserChanges, people_csv
from calldex.directory.model import Done
from calldex.errors import BadParameters, Problem, TooLarge
from calldex.records.record import stable_id

HEAD = "email,name,role,groups,timezone,extension,sip_account,caller_id,skills,agent_id,teams,supervises"
ANN = "Ann@Example.com,Ann Lee,agent,A;B,Europe/Paris,201,sip1,442071838750,French;Billing,5,Sales; 2 ,"
SEMICOLONS = 'Ann@Example.com;Ann Lee;agent;"A;B";Europe/Paris;201;sip1;442071838750;"French;Billing";5;"Sales; 2 ";'
MAIL, NAME = "Ann@Example.com,Ann Lee", "Ann Lee,ann@example.com"


@pytest.fixture
def centre(directory: Directory) -> Directory:
    """A directory with two groups and two teams."""
    for name in ("A", "B"):
        directory.put_group("main", None, GroupChanges(name=name, reach=Reach(own=True)))
    for id_, name in ((1, "Sales"), (2, "Care")):
        directory.put_team("main", id_, TeamChanges(name=name))
    return directory


def told(directory: Directory, text: str | bytes) -> list[str]:
    """What is wrong with a file of users."""
    with pytest.raises(BadParameters) as error:
        directory.import_users("main", text if isinstance(text, bytes) else text.encode())
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}\n{ANN}\n".encode(),
        f"{HEAD}\r\n{ANN}\r\n\r\n,,,,,,,,,,,\r\n".encode("utf-8-sig"),
        f"{HEAD.replace(',', ';')}\n{SEMICOLONS}".encode(),
        f"{HEAD.replace('email,name', ' Name ,EMAIL')}\n{ANN.replace(MAIL, NAME)}".encode(),
    ],
    ids=["plain", "of a spreadsheet", "with semicolons", "in another order"],
)
def test_a_user_as_listed(centre: Directory, text: bytes) -> None:
    """Every way to write the file gives the same user."""
    assert Imported(1, 0, 0) == centre.import_users("main", text)
    user = centre.user("ann@example.com")
    assert ("Ann Lee", "agent", ("A", "B"), "Europe/Paris") == (user.name, user.role, user.groups, user.timezone)
    assert ("201", "sip1", "442071838750") == (user.extension, user.sip_account, user.caller_id)
    assert (("French", "Billing"), 5, (1, 2), ()) == (user.skills, user.agent_id, user.teams, user.supervises)
    assert (1, 2) == tuple(team.id for team in centre.teams_at(user.account_id, 5, 0))
    assert Imported(0, 0, 1) == centre.import_users("main", text)


def test_known_users_are_changed(centre: Directory) -> None:
    """A missing column changes nothing, an empty cell takes away but for what everybody has."""
    centre.import_users("main", f"{HEAD}\n{ANN}\n".encode())
    key = centre.create_key("ann@example.com")
    done = centre.import_users(
        "main", b"email,role,groups,extension,name\nann@example.com,,B,,\nbo@example.com,agent,,,Bo\n"
    )
    assert Imported(1, 1, 0) == done
    user = centre.user("ann@example.com")
    assert ("Ann Lee", None, ("B",), None, "sip1", (1, 2)) == (
        user.name,
        user.role,
        user.groups,
        user.extension,
        user.sip_account,
        user.teams,
    )
    assert stable_id("agent", "Bo") == centre.user("bo@example.com").agent_id
    found = centre.find_key(key)
    assert found is not None
    assert ["B"] == [group.name for group in found.groups]


def test_every_bad_line_is_told_and_nothing_is_done(centre: Directory) -> None:
    """Each with its number, what was given and what is valid; the good ones are not taken either."""
    centre.add_account("north")
    centre.add_user("nora@example.com", "Nora", account="north", agent_id=5)
    problems = told(
        centre,
        "email,name,role,groups,agent_id,teams,timezone\n"
        "good@example.com,Good,agent,A,,Sales,\n"
        "bad,Bad,agnet,C,x,,Moon\n"
        "\n"
        "a@example.com,,,,,,\n"
        "b@example.com,B,,C,7,Slaes;9,\n"
        "good@EXAMPLE.com,Again,,,,,\n"
        "c@example.com,C,agent\n"
        "nora@example.com,Nora,,,,,\n"
        "d@example.com,D,,,8,,\n"
        "e@example.com,E,,,8,,\n",
    )
    assert [
        "line 3 'x': agent_id: is not an id. Valid: a whole number",
        "line 5: name: is needed for a new user. Valid: their name",
        "line 6 'C': groups: there is no group 'C'",
        "line 6 'Slaes': teams: there is no team 'Slaes', did you mean 'Sales'?",
        "line 6 '9': teams: there is no team 9",
        "line 7 'good@EXAMPLE.com': email: stands on line 2 as well. Valid: one line",
        "line 8 '3': cells: is not the number of columns of the first line. Valid: 7",
        "line 9: there is already a user with the e-mail address nora@example.com",
        "line 11: another user of the account has the agent id 8; give one that is free",
    ] == problems
    assert ["nora@example.com"] == [user.email for user in centre.users()]
    wrong = told(centre, "email,name,role,timezone\nbad,Bad,agnet,Moon\n")
    assert ["email", "role", "timezone"] == [problem.split(": ")[1] for problem in wrong]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "line 1: is missing. Valid: the names of columns: email, name, role"),
        (b"\n\n", "line 1: has no column email"),
        (b"name,rolle\nx,y\n", "line 1 'rolle': is no column, did you mean 'role'?"),
        (b"email,email\n", "line 1 'email': names two columns"),
        (b"name\nx\n", "line 1: has no column email"),
        ("email,name\na@example.com,Jos\xe9\n".encode("latin-1"), "line 2: is not UTF-8"),
        (b'email,name\na@example.com,"A\nb@example.com,B\n', "line 2: cells: cannot be told apart: unexpected end"),
        (b"email,name\n,A\n", "line 2: email: is empty"),
    ],
)
def test_what_is_no_list_of_users(directory: Directory, text: bytes, expected: str) -> None:
    """A file that cannot be read is refused with the line and the reason."""
    assert any(problem.startswith(expected) for problem in told(directory, text)), told(directory, text)


CELLS = st.lists(st.sampled_from(["a@example.com", "b@example.com", "A", "1", "", " ", '"', "x;y"]), max_size=4)
FILES = st.binary(max_size=80) | st.lists(CELLS, max_size=5).map(
    lambda lines: "\n".join(("email,name,agent_id", *map(",".join, lines))).encode()
)


@given(FILES)
def test_any_file_is_taken_or_refused(text: bytes) -> None:
    """Whatever bytes there are, every user of the file is handed on once, or what is wrong is told by line."""
    taken: list[str] = []

    def take(email: str, changes: UserChanges) -> Done:
        assert [] == list(changes.problems())
        taken.append(email)
        return "added"

    problems: tuple[Problem, ...] = ()
    added = len(taken)
    try:
        added = people_csv.take_users(text, take).added
    except BadParameters as error:
        problems = error.problems
    assert len(taken) == len(set(taken))
    assert (added == len(taken)) if not problems else all(re.match(r"line \d+$", p.parameter) for p in problems)


def test_lines_are_numbered_as_they_stand(directory: Directory) -> None:
    """A cell may hold a line break; the line that counts is the one where the user begins."""
    wrong = told(directory, 'email,name\na@example.com,"A\nB"\nb@example.com,\n')
    assert ["line 2", "line 4"] == [problem.split(":")[0].split(" '")[0] for problem in wrong]


def test_files_are_bounded(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many bytes or lines are refused; of too many problems the first are told, and that there are more."""
    with pytest.raises(TooLarge, match="larger than 16777216 bytes"):
        directory.import_users("main", b"email\n" + b"x" * (16 << 20))
    wrong = told(directory, "email,name\n" + "\n".join(f"x{n},X" for n in range(1_005)))
    assert (101, "there are more problems than these 100") == (len(wrong), wrong[-1].partition(": ")[2])
    monkeypatch.setattr(people_csv, "MOST_LINES", 2)
    with pytest.raises(TooLarge, match="more than 2 lines"):
        directory.import_users("main", b"email,name\na@b.c,A\nb@b.c,B\nc@b.c,C\n")
    assert [] == directory.users()


def test_teams_as_listed(directory: Directory) -> None:
    """Teams are added and changed, by id where a line has one, else by name."""
    directory.add_user("ann@example.com", "Ann", "supervisor")
    directory.add_user("bo@example.com", "Bo", "agent")
    directory.put_team("main", 7, TeamChanges(name="Care", queues=(1,), agents=("bo@example.com",)))
    text = b"name,id,queues,supervisors\nSales,,5;6,ANN@example.com\nCare,,,\nNight,9,,\n"
    assert Imported(2, 1, 0) == directory.import_teams("main", text)
    assert Imported(0, 0, 3) == directory.import_teams("main", text)
    found = {team.name: (team.id, team.queues, team.agents, team.supervisors) for team in directory.teams()}
    assert {
        "Care": (7, (), ("bo@example.com",), ()),
        "Night": (9, (), (), ()),
        "Sales": (stable_id("team", "Sales"), (5, 6), (), ("ann@example.com",)),
    } == found
    assert Imported(0, 1, 0) == directory.import_teams("main", b"name,id\nCustomer care,7\n")
    assert "Customer care" == directory.team("main", 7).name


def test_bad_lines_of_teams(directory: Directory) -> None:
    """All of them are told, and nothing is done."""
    directory.put_team("main", 7, TeamChanges(name="Care"))
    text = (
        b"name,id,queues,supervisors\nSales,,Ordres,nobody@example.com\nCare,8,,\n,9,,\nNight,x,,\n"
        b"Day,,,nobody@example.com\n"
    )
    with pytest.raises(BadParameters) as error:
        directory.import_teams("main", text)
    assert [
        "line 2 'Ordres': queues: there is no queue 'Ordres'",
        "line 3: there is already a team 'Care'",
        "line 4: name: is empty. Valid: what it is known by",
        "line 5 'x': id: is not an id. Valid: a whole number",
        "line 6 'nobody@example.com': supervisors: there is no such user. Valid: e-mail addresses of users",
    ] == [str(problem).removesuffix(" of the account") for problem in error.value.problems]
    assert ["Care"] == [team.name for team in directory.teams()]


@pytest.mark.slow
def test_a_large_file_is_taken_in_reasonable_time(directory: Directory) -> None:
    """Ten thousand users, all new and then all changed, in seconds: the directory is locked meanwhile."""
    directory.put_team("main", 1, TeamChanges(name="Sales"))
    for role, expected in (("agent", Imported(10_000, 0, 0)), ("analyst", Imported(0, 10_000, 0))):
        lines = "\n".join(f"u{n}@example.com,User {n},{role},1" for n in range(10_000))
        began = time.thread_time()
        assert expected == directory.import_users("main", f"email,name,role,teams\n{lines}\n".encode())
        assert time.thread_time() - began < 15
