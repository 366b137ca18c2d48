"""Teams: who is in them, when they were, and what their supervisors see."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calldex.directory import Directory, Named, Seen, TeamChanges, TeamInfo, UserChanges, teams
from calldex.directory import roster as rosters
from calldex.errors import BadParameters, Conflict, NotFound
from calldex.records.record import Team, stable_id
from tests.examples import examples

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time at which teams are changed."""

    def set_(at_ms: int) -> None:
        for module in (teams, rosters):
            monkeypatch.setattr(module, "now_ms", lambda: at_ms)

    set_(1_000)
    return set_


def test_a_team_is_kept_and_changed(directory: Directory) -> None:
    """What is given is kept, what is not given stays; without an id it gets the one that records give its name."""
    for email in (ANN, BOB):
        directory.add_user(email, email[:3])
    directory.note_seen(directory.account().id, [Seen("queue", 5, "Orders", 1)])
    wanted = TeamChanges(name="Sales", queues=("Orders", 6), agents=("Ann@example.com",), supervisors=(BOB,))
    added = directory.put_team("main", None, wanted)
    id_ = stable_id("team", "Sales")
    assert added == TeamInfo(id=id_, name="Sales", queues=(5, 6), agents=(ANN,), supervisors=(BOB,))
    assert added == directory.team("main", "Sales") == directory.team("main", id_)
    assert ((id_,), (id_,)) == (directory.user(ANN).teams, directory.user(BOB).supervises)
    renamed = directory.put_team("main", "Sales", TeamChanges(name="Orders", queues=()))
    assert renamed == TeamInfo(id=id_, name="Orders", queues=(), agents=(ANN,), supervisors=(BOB,))
    assert [Named(id_, "Orders")] == directory.lookup(directory.account().id, "team")
    assert 101 == directory.put_team("main", 101, TeamChanges(name="Night")).id
    assert ["Night", "Orders"] == [team.name for team in directory.teams()]


def test_a_team_that_is_removed(directory: Directory) -> None:
    """Nobody is in it any more; a record that names it makes it known again."""
    directory.put_team("main", 7, TeamChanges(name="Sales", queues=(5,)))
    directory.note_seen(directory.account().id, [Seen("team", 7, "Verkauf", 5)])
    directory.add_user(ANN, "Ann", "supervisor", teams=(7,), supervises=(7,))
    assert "Sales" == directory.remove_team("main", "Sales").name
    assert ([], (), ()) == (directory.teams(), directory.user(ANN).teams, directory.user(ANN).supervises)
    assert ((), ()) == (
        directory.principal(ANN).supervised_teams,
        directory.principal(ANN).supervised_queues,
    )
    assert [] == directory.check()
    directory.note_seen(directory.account().id, [Seen("team", 7, "Verkauf", 5)])
    assert [TeamInfo(id=7, name="Verkauf", queues=(), agents=(), supervisors=())] == directory.teams()


def test_what_supervisors_are_told_of(directory: Directory) -> None:
    """A supervisor has the teams they supervise and the queues of these, each once."""
    for id_, queues in ((1, (10, 11)), (2, (11, 12)), (3, (13,))):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}", queues=queues))
    directory.add_account("north")
    directory.put_team("north", 1, TeamChanges(name="T1", queues=(99,)))
    directory.add_user(ANN, "Ann", "supervisor", supervises=(2, 1), teams=(3,))
    principal = directory.principal(ANN)
    assert ((1, 2), (10, 11, 12)) == (principal.supervised_teams, principal.supervised_queues)


def test_teams_at_a_time(directory: Directory, clock: Callable[[int], None]) -> None:
    """A new user's teams count ever since; one they join from then on, one they leave until then; and again."""
    account = directory.account().id
    for id_ in (1, 2):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}"))
    directory.add_user(ANN, "Ann", "agent", agent_id=5, teams=(1,))
    clock(2_000)
    directory.change_user(ANN, UserChanges(teams=(2,)))
    clock(3_000)
    directory.put_team("main", 1, TeamChanges(agents=(ANN,)))
    clock(4_000)
    directory.change_user(ANN, UserChanges(teams=()))
    seen = {at: [team.id for team in directory.teams_at(account, 5, at)] for at in (-5, 0, 1_999, 2_000, 2_999, 3_000)}
    assert {-5: [], 0: [1], 1_999: [1], 2_000: [2], 2_999: [2], 3_000: [1, 2]} == seen
    assert (Team(1, "T1"), Team(2, "T2")) == directory.teams_at(account, 5, 3_999)
    assert () == directory.teams_at(account, 5, 4_000)
    assert () == directory.teams_at(account, 6, 1_000)
    assert () == directory.teams_at(account + 1, 5, 1_000)


def test_supervising_is_no_membership(directory: Directory) -> None:
    """Calls of a supervisor are not calls of the teams they supervise."""
    directory.put_team("main", 1, TeamChanges(name="T1"))
    directory.add_user(ANN, "Ann", "supervisor", agent_id=5, supervises=(1,))
    assert () == directory.teams_at(directory.account().id, 5, int(time.time() * 1000) + 5_000)


def test_changes_within_a_millisecond(directory: Directory, clock: Callable[[int], None]) -> None:
    """Who left and came back at once was there all the time, and who came and left at once never was."""
    account = directory.account().id
    for id_ in (1, 2):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}"))
    directory.add_user(ANN, "Ann", agent_id=5, teams=(1,))
    clock(2_000)
    for wanted in ((2,), (1,), (2,), (1,)):
        directory.change_user(ANN, UserChanges(teams=wanted))
    for at in (1_999, 2_000, 2_001):
        assert (1,) == tuple(team.id for team in directory.teams_at(account, 5, at))


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(1, 3)), st.booleans()), max_size=8))
def test_history_is_never_lost(
    directory: Directory, clock: Callable[[int], None], steps: list[tuple[int, set[int], bool]]
) -> None:
    """At every moment the teams are those that the last change up to then left, whichever way they were changed."""
    account = directory.account().id
    for user in directory.users():
        directory.remove_user(user.email)
    for id_ in (1, 2, 3):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}", agents=()))
    directory.add_user(ANN, "Ann", agent_id=5, teams=(1,))
    now, expected = 10, {0: {1}}
    for pause, wanted, by_user in steps:
        now += pause
        clock(now)
        if by_user:
            directory.change_user(ANN, UserChanges(teams=tuple(wanted)))
        else:
            for id_ in (1, 2, 3):
                directory.put_team("main", id_, TeamChanges(agents=(ANN,) if id_ in wanted else ()))
        expected[now] = wanted
    for at in range(now + 2):
        then = expected[max(moment for moment in expected if moment <= at)]
        assert then == {team.id for team in directory.teams_at(account, 5, at)}


def test_teams_at_costs_no_query(watched: tuple[Directory, list[str]]) -> None:
    """It is asked for every call that comes in, and answers from memory."""
    directory, statements = watched
    directory.put_team("main", 1, TeamChanges(name="T1"))
    directory.add_user(ANN, "Ann", agent_id=5, teams=(1,))
    account = directory.account().id
    directory.teams_at(account, 5, 1)
    statements.clear()
    assert (Team(1, "T1"),) == directory.teams_at(account, 5, 2)
    assert [] == statements


def test_what_is_wrong_is_told(directory: Directory) -> None:
    """Who or what is not there, with the nearest that is; what is there already."""
    directory.put_team("main", 1, TeamChanges(name="Sales"))
    directory.add_user(ANN, "Ann")
    for error, message, team, changes in (
        (NotFound, r"no team 'Slaes', did you mean 'Sales'\?", "Slaes", TeamChanges()),
        (BadParameters, "name: is needed for a new team", 9, TeamChanges()),
        (BadParameters, "name: is needed for a new team", None, TeamChanges()),
        (BadParameters, "id '0': is not an id", 0, TeamChanges(name="X")),
        (Conflict, "already a team 'Sales'", None, TeamChanges(name="Sales")),
        (Conflict, "already a team 'Sales'", 9, TeamChanges(name="Sales")),
        (BadParameters, r"queues 'Ordres': there is no queue 'Ordres'", 1, TeamChanges(queues=("Ordres",))),
        (
            BadParameters,
            r"agents 'anna@example.com': .* did you mean 'ann@",
            1,
            TeamChanges(agents=("anna@example.com",)),
        ),
        (BadParameters, "queues '1001': are too many", 1, TeamChanges(queues=tuple(range(1, 1002)))),
        (BadParameters, "name: cannot be used", 1, TeamChanges(name="")),
    ):
        with pytest.raises(error, match=message):
            directory.put_team("main", team, changes)
    assert [TeamInfo(id=1, name="Sales", queues=(), agents=(), supervisors=())] == directory.teams()


def test_several_of_one_name(directory: Directory) -> None:
    """Records may call several teams alike; by that name none is meant."""
    directory.note_seen(directory.account().id, [Seen("team", 1, "Sales", 1), Seen("team", 2, "Sales", 1)])
    with pytest.raises(Conflict, match="several are called 'Sales'; give the id of one of them: 1, 2"):
        directory.team("main", "Sales")
    assert 2 == directory.team("main", 2).id


def test_nobody_is_in_too_many_teams(directory: Directory) -> None:
    """As a record cannot name more teams of an agent."""
    directory.add_user(ANN, "Ann")
    for id_ in range(1, 51):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}", agents=(ANN,)))
    with pytest.raises(BadParameters, match=f"agents '{ANN}': is in the most teams that a user can be in already"):
        directory.put_team("main", 51, TeamChanges(name="T51", agents=(ANN,)))
    directory.put_team("main", 51, TeamChanges(name="T51", supervisors=(ANN,)))
    assert 50 == len(directory.user(ANN).teams)


def test_not_every_wrong_member_is_told(directory: Directory) -> None:
    """Of very many that are wrong the first are: what a list can cost is bounded."""
    for name, wrong in (("agents", tuple(f"x{n}@example.com" for n in range(500))), ("queues", tuple("abc" * 200))):
        with pytest.raises(BadParameters) as error:
            directory.put_team("main", None, TeamChanges(name="X", **{name: wrong}))
        assert 100 == len(error.value.problems)
