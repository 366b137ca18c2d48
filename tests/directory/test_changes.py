"""What every change of rights has in common: an account keeps an admin, guards are asked, and it counts at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Principal, Reach, permissions_of, scope_of
from calldex.access.guard import Guard
from calldex.clock import now_ms
from calldex.directory import Client, Directory, GroupChanges, Seen, TeamChanges, UserChanges, snapshot
from calldex.errors import CalldexError, Conflict, Forbidden, NotFound
from tests.directory.places import Place
from tests.examples import examples

ENDS: list[Callable[[Directory, str], object]] = [
    lambda directory, email: directory.remove_user(email),
    lambda directory, email: directory.disable_user(email),
    lambda directory, email: directory.change_user(email, UserChanges(role="analyst")),
    lambda directory, email: directory.change_user(email, UserChanges(role=None)),
    lambda directory, email: directory.import_users("main", f"email,role\n{email},agent\n".encode()),
]
NAMES = ("removed", "disabled", "demoted", "without a role", "imported")


@pytest.mark.parametrize("end", ENDS, ids=NAMES)
def test_the_last_admin_stays(directory: Directory, end: Callable[[Directory, str], object]) -> None:
    """An account's only admin who is not disabled can be neither removed, disabled nor demoted; one of two can."""
    directory.add_account("north")
    directory.add_user("north@example.com", "N", "admin", account="north")
    directory.add_user("ann@example.com", "Ann", "admin")
    directory.disable_user(directory.add_user("bob@example.com", "Bob", "admin").email)
    before = directory.users()
    with pytest.raises(Conflict, match="the account main would have no active admin left"):
        end(directory, "ann@example.com")
    assert before == directory.users()
    directory.enable_user("bob@example.com")
    end(directory, "ann@example.com")
    with pytest.raises(Conflict, match="no active admin"):
        end(directory, "bob@example.com")


def test_an_account_without_an_admin_can_be_changed(directory: Directory) -> None:
    """Where there is no admin, none is lost."""
    directory.add_user("ann@example.com", "Ann", "agent")
    assert directory.remove_user("ann@example.com").name == "Ann"
    assert [] == directory.users()


def test_two_admins_who_demote_each_other(place: Place) -> None:
    """Of changes at the same time that together would take the last admin, one is refused."""
    for _ in range(5):
        with place.open() as one, place.open() as other:
            for name in ("ann", "bob"):
                if not any(user.email == f"{name}@example.com" for user in one.users()):
                    one.add_user(f"{name}@example.com", name, "admin")
                one.change_user(f"{name}@example.com", UserChanges(role="admin"))

            def demote(directory: Directory, email: str) -> bool:
                try:
                    directory.change_user(email, UserChanges(role="agent"))
                except Conflict:
                    return False
                return True

            with ThreadPoolExecutor(2) as pool:
                done = list(pool.map(demote, (one, other), ("ann@example.com", "bob@example.com")))
            assert [False, True] == sorted(done)
            assert 1 == sum(user.role == "admin" for user in one.users())


class Guarded:
    """A guard that remembers whom it saw, and refuses who may ingest."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, principal: Principal) -> None:
        """Have a look at somebody."""
        self.seen.append((principal.email, tuple(group.name for group in principal.groups)))
        if "ingest" in permissions_of(principal):
            raise Forbidden("no")

    def with_calls(self, _: AbstractSet[int]) -> AbstractSet[int]:
        """Nobody has calls."""
        return set()


@pytest.fixture
def staff(directory: Directory) -> Directory:
    """An admin, two agents of a team, and their supervisor, who is in a group."""
    directory.put_team("main", 7, TeamChanges(name="Sales", queues=(5,)))
    directory.put_group("main", None, GroupChanges(name="History", permissions=("see_cdrs",)))
    directory.add_user("adam@example.com", "Adam", "admin")
    directory.add_user("bea@example.com", "Bea", "supervisor", supervises=("Sales",), groups=("History",))
    for name in ("cy", "di"):
        directory.add_user(f"{name}@example.com", name, "agent", teams=("Sales",))
    return directory


BEA, CY, DI = (f"{name}@example.com" for name in ("bea", "cy", "di"))
LEADS = ("Supervisor", "History")
ALLOWED: list[tuple[Callable[[Directory, Guarded], object], list[tuple[str, tuple[str, ...]]]]] = [
    (lambda d, guard: d.change_user(CY, UserChanges(extension="12"), guard=guard), [(CY, ("Agent",))]),
    (
        lambda d, guard: d.change_user(CY, UserChanges(role="analyst"), guard=guard),
        [(CY, ("Agent",)), (CY, ("Analyst",))],
    ),
    (lambda d, guard: d.disable_user(CY, guard=guard), [(CY, ("Agent",))]),
    (lambda d, guard: d.remove_user(CY, guard=guard), [(CY, ("Agent",))]),
    (lambda d, guard: d.add_user("eve@example.com", "Eve", guard=guard), [("eve@example.com", ())]),
    (lambda d, guard: d.create_key(CY, guard=guard), [(CY, ("Agent",))]),
    (
        lambda d, guard: d.put_group("main", "History", GroupChanges(reach=Reach(teams=(7,))), guard=guard),
        [(BEA, LEADS)] * 2,
    ),
    (
        lambda d, guard: d.remove_group("main", "History", guard=guard),
        [(BEA, LEADS), (BEA, ("Supervisor",))],
    ),
    (lambda d, guard: d.put_team("main", "Sales", TeamChanges(queues=()), guard=guard), [(BEA, LEADS)] * 2),
    (lambda d, guard: d.put_team("main", "Sales", TeamChanges(agents=(DI,)), guard=guard), [(CY, ("Agent",))]),
    (
        lambda d, guard: d.remove_team("main", "Sales", guard=guard),
        [(BEA, LEADS), (BEA, LEADS), (CY, ("Agent",)), (DI, ("Agent",))],
    ),
    (
        lambda d, guard: d.set_account("main", agents_see_own=False, guard=guard),
        [(CY, ("Agent",)), (CY, ("Agent",)), (DI, ("Agent",)), (DI, ("Agent",))],
    ),
    (lambda d, guard: d.set_account("main", agents_see_own=True, sensitive=("tags",), guard=guard), []),
    (
        lambda d, guard: d.import_users("main", f"email,skills\n{CY},French\n{DI},\n".encode(), guard=guard),
        [(CY, ("Agent",))],
    ),
]


@pytest.mark.parametrize(("change", "expected"), ALLOWED)
def test_a_guard_sees_everybody_concerned(
    staff: Directory, change: Callable[[Directory, Guarded], object], expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    """Before and after, once where nothing changes, and nobody else."""
    guard = Guarded()
    change(staff, guard)
    assert expected == guard.seen


@pytest.mark.parametrize(
    "change",
    [
        lambda d, guard: d.change_user("adam@example.com", UserChanges(name="Eve"), guard=guard),
        lambda d, guard: d.change_user(CY, UserChanges(role="admin"), guard=guard),
        lambda d, guard: d.add_user("eve@example.com", "Eve", "admin", guard=guard),
        lambda d, guard: d.put_group("main", "History", GroupChanges(permissions=("ingest",)), guard=guard),
        lambda d, guard: d.create_key("adam@example.com", guard=guard),
        lambda d, guard: d.import_users("main", b"email,name,role\neve@example.com,Eve,admin\n", guard=guard),
        lambda d, guard: d.put_team("main", None, TeamChanges(name="X", agents=("adam@example.com",)), guard=guard),
    ],
)
def test_what_a_guard_refuses_did_not_happen(staff: Directory, change: Callable[[Directory, Guarded], object]) -> None:
    """Whom it does not let pass, before or after, nothing is changed about."""
    before = staff.users(), staff.groups(), staff.teams(), staff.list_keys()
    with pytest.raises(Forbidden):
        change(staff, Guarded())
    assert before == (staff.users(), staff.groups(), staff.teams(), staff.list_keys())


def test_a_revoked_key_is_guarded(staff: Directory) -> None:
    """Whose rights the asker does not have, their keys they cannot revoke."""
    key = staff.create_key("adam@example.com")
    with pytest.raises(Forbidden):
        staff.revoke_key(key, guard=Guarded())
    assert staff.find_key(key) is not None


RIGHTS: list[Callable[[Directory], object]] = [
    lambda d: d.change_user(BEA, UserChanges(supervises=())),
    lambda d: d.change_user(BEA, UserChanges(role="agent")),
    lambda d: d.change_user(BEA, UserChanges(groups=())),
    lambda d: d.put_team("main", "Sales", TeamChanges(queues=(6,))),
    lambda d: d.put_team("main", "Sales", TeamChanges(supervisors=())),
    lambda d: d.put_group("main", "History", GroupChanges(reach=Reach(queues=(9,)))),
    lambda d: d.remove_group("main", "History"),
    lambda d: d.remove_team("main", "Sales"),
    lambda d: d.set_account("main", sensitive=("comment",)),
]


@pytest.mark.parametrize("change", RIGHTS)
def test_a_key_has_the_rights_of_the_moment(staff: Directory, change: Callable[[Directory], object]) -> None:
    """The next look for a key finds what its owner may since the change."""
    staff.put_group("main", "History", GroupChanges(reach=Reach(queues=(8,))))
    key = staff.create_key(BEA)
    before = staff.find_key(key)
    change(staff)
    after = staff.find_key(key)
    assert before is not None
    assert after is not None
    assert (before.groups, before.sensitive, scope_of(before)) != (after.groups, after.sensitive, scope_of(after))
    assert scope_of(after) == scope_of(staff.principal(BEA, scopes=("read",)))


@pytest.mark.parametrize("change", RIGHTS)
def test_a_change_on_another_node(
    staff: Directory, place: Place, change: Callable[[Directory], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts where it was made at once, and elsewhere within the time between two looks, for keys and sessions."""
    staff.put_group("main", "History", GroupChanges(reach=Reach(queues=(8,))))
    key = staff.create_key(BEA)
    token = staff.open_session(staff.user(BEA).id, Client(address=""), now_ms()).token

    def seen(directory: Directory) -> list[object]:
        found = directory.find_key(key), directory.find_session(token, now_ms())
        return [each and (each.groups, each.sensitive, scope_of(each)) for each in found]

    before = seen(staff)
    with place.open() as other:
        assert before == seen(other)
        change(other)
        after = seen(other)
        assert before == seen(staff)
        monkeypatch.setattr(snapshot, "RECHECK_S", 0.0)
        assert before != after == seen(staff)
        assert None not in before + after


def test_nothing_is_half_done(staff: Directory) -> None:
    """A change that fails after it wrote leaves everything as it was, in the database and in memory."""
    key = staff.create_key(BEA)
    found = staff.find_key(key)
    with pytest.raises(CalldexError):
        staff.put_team("main", "Sales", TeamChanges(queues=(6,), supervisors=("nobody@example.com",)))
    assert found == staff.find_key(key)
    assert (5,) == staff.team("main", "Sales").queues


# --- whom a change concerns -------------------------------------------------------------------------------------------

ADA = "ada@example.com"
PEOPLE = (ADA, BEA, CY, DI)
TEAMS = ("Sales", "Care")
ROLE = st.sampled_from((None, "agent", "supervisor", "analyst"))
SOME_TEAMS = st.lists(st.sampled_from(TEAMS), max_size=2, unique=True).map(tuple)
SOME_PEOPLE = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True).map(tuple)
SOME_GROUPS = st.lists(st.sampled_from(("History", "Own")), max_size=2, unique=True).map(tuple)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "role": ROLE,
        "groups": SOME_GROUPS,
        "teams": SOME_TEAMS,
        "supervises": SOME_TEAMS,
        "agent_id": st.integers(1, 6),
        "extension": st.sampled_from(("1", "2")),
        "disabled": st.booleans(),
    },
)
TEAM = st.fixed_dictionaries(
    {},
    optional={
        "queues": st.lists(st.integers(1, 3), max_size=2, unique=True).map(tuple),
        "agents": SOME_PEOPLE,
        "supervisors": SOME_PEOPLE,
    },
)
GROUP = st.fixed_dictionaries(
    {},
    optional={
        "permissions": st.lists(st.sampled_from(("see_cdrs", "listen")), max_size=2, unique=True).map(tuple),
        "reach": st.builds(Reach, own=st.booleans(), teams=st.sampled_from(((), (7,)))),
    },
)
Step = Callable[[Directory, Guard], object]


def csv_of(lines: list[tuple[str, str | None, tuple[str, ...]]]) -> bytes:
    """A file of users."""
    rows = {email: f"{email},{role or ''},{';'.join(teams)}\n" for email, role, teams in lines}
    return ("email,role,teams\n" + "".join(rows.values())).encode()


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda email, wanted: lambda d, guard: d.change_user(email, UserChanges(**wanted), guard=guard),
        st.sampled_from(PEOPLE),
        WANTED,
    ),
    st.builds(
        lambda wanted, id_, teams: (
            lambda d, guard: d.add_user(
                "new@example.com", "New", **{**wanted, "agent_id": id_, "teams": teams}, guard=guard
            )
        ),
        WANTED,
        st.sampled_from((5, 6)),
        SOME_TEAMS,
    ),
    st.builds(lambda email: lambda d, guard: d.remove_user(email, guard=guard), st.sampled_from(PEOPLE)),
    st.builds(
        lambda lines: lambda d, guard: d.import_users("main", csv_of(lines), guard=guard),
        st.lists(st.tuples(st.sampled_from(PEOPLE), ROLE, SOME_TEAMS), max_size=3),
    ),
    st.builds(
        lambda team, wanted: lambda d, guard: d.put_team("main", team, TeamChanges(**wanted), guard=guard),
        st.sampled_from(TEAMS),
        TEAM,
    ),
    st.builds(lambda team: lambda d, guard: d.remove_team("main", team, guard=guard), st.sampled_from(TEAMS)),
    st.builds(
        lambda group, wanted: lambda d, guard: d.put_group("main", group, GroupChanges(**wanted), guard=guard),
        st.sampled_from(("History", "Own")),
        GROUP,
    ),
    st.builds(lambda name: lambda d, guard: d.remove_group("main", name, guard=guard), st.sampled_from(("History",))),
    st.builds(lambda see: lambda d, guard: d.set_account("main", agents_see_own=see, guard=guard), st.booleans()),
)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Directory]]:
    """People with roles, groups and teams, some of whom records name; each example has a copy."""
    path = tmp_path_factory.mktemp("crowd") / "directory.sqlite"
    with Directory.open(path) as directory:
        for id_, name in ((7, "Sales"), (8, "Care")):
            directory.put_team("main", id_, TeamChanges(name=name, queues=(id_ - 6,)))
        directory.put_group("main", None, GroupChanges(name="History", permissions=("see_cdrs",)))
        directory.put_group("main", None, GroupChanges(name="Own", permissions=("see_cdrs",), reach=Reach(own=True)))
        directory.add_user("adam@example.com", "Adam", "admin", agent_id=99)
        people: tuple[tuple[str, dict[str, Any]], ...] = (
            (ADA, {"role": "supervisor", "supervises": ("Sales", "Care")}),
            (BEA, {"role": "supervisor", "supervises": ("Sales",), "groups": ("History",)}),
            (CY, {"role": "agent", "teams": ("Sales",)}),
            (DI, {"teams": ("Care",), "groups": ("History", "Own")}),
        )
        for id_, (email, more) in enumerate(people, 1):
            directory.add_user(email, email, agent_id=id_, **more)
        directory.note_seen(directory.account().id, [Seen("agent", id_, None, 1) for id_ in (1, 3, 5)])
        yield path, directory


def calls_shown(directory: Directory) -> set[tuple[int, int]]:
    """Which teams show whose calls: team id and agent id."""
    return {(team, user.agent_id) for user in directory.users("main") for team in user.teams}


class Seeing:
    """A guard that lets everything pass, and remembers whom it saw."""

    def __init__(self, shown: list[Principal]) -> None:
        self._shown = shown

    def __call__(self, principal: Principal) -> None:
        """Have a look at somebody."""
        self._shown.append(principal)

    def with_calls(self, agent_ids: AbstractSet[int]) -> AbstractSet[int]:
        """One agent has calls whose name is not known any more."""
        return agent_ids & {FORGOTTEN}


FORGOTTEN = 2


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(step=STEPS)
def test_nobody_concerned_is_overlooked(crowd: tuple[Path, Directory], step: Step) -> None:
    """Whatever changes, everybody whose rights are others than before is shown as they were and are, and everybody
    whose calls other teams show now, if records name them: as somebody who sees them. Found out here by comparing all
    there is."""
    original, _ = crowd
    path = original.with_name("copy.sqlite")
    path.unlink(missing_ok=True)
    crowd[1].backup(path)
    shown: list[Principal] = []
    with Directory.open(path) as directory:

        def all_of_them() -> dict[int, Principal]:
            return {user.id: directory.principal(user.email) for user in directory.users("main")}

        before, calls_before = all_of_them(), calls_shown(directory)
        try:
            step(directory, Seeing(shown))
        except (Conflict, NotFound):
            assert before == all_of_them()
            return
        after, calls_after = all_of_them(), calls_shown(directory)
    for user_id in before.keys() | after.keys():
        was, becomes = before.get(user_id), after.get(user_id)
        if was != becomes:
            assert [] == [each for each in (was, becomes) if each is not None and each not in shown]
    moved = {agent for _, agent in calls_before ^ calls_after} & {1, FORGOTTEN, 3, 5}
    seeing = {each.agent_id for each in shown if ["their calls"] == [group.name for group in each.groups]}
    assert moved <= seeing


@pytest.mark.slow
def test_everything_is_noticed_on_another_node_in_time(staff: Directory, place: Place) -> None:
    """Within 5 s, really measured: keys and sessions of who was removed, disabled, signed out or has a new password;
    keys that were revoked, groups, teams, and names that were removed."""
    assert snapshot.RECHECK_S < 4
    names = ("removed", "disabled", "revoked", "ended", "password", "moved")
    emails = {name: f"{name}@example.com" for name in names}
    for name, email in emails.items():
        staff.add_user(email, name, "agent", teams=("Sales",), groups=("History",))
    keys = {name: staff.create_key(email) for name, email in emails.items()}
    client, at_ms = Client(address=""), now_ms()
    tokens = {name: staff.open_session(staff.user(email).id, client, at_ms) for name, email in emails.items()}
    main, agent = staff.account().id, staff.user(emails["moved"]).agent_id
    key_id = {key.email: key.id for key in staff.list_keys()}[emails["revoked"]]
    with place.open() as other:
        other.note_seen(main, [Seen("queue", 9, "Zulu", 1)])

        def seen(directory: Directory) -> tuple[dict[str, tuple[bool, bool]], list[str], list[int]]:
            found = {
                name: (
                    directory.find_key(keys[name]) is not None,
                    directory.find_session(tokens[name].token, at_ms) is not None,
                )
                for name in names
            }
            owner = directory.find_key(keys["moved"])
            groups = [] if owner is None else [group.name for group in owner.groups]
            return found, groups, [team.id for team in directory.teams_at(main, agent, now_ms())]

        everybody = dict.fromkeys(names, (True, True))
        assert (everybody, ["Agent", "History"], [7]) == seen(other)
        staff.remove_user(emails["removed"])
        staff.disable_user(emails["disabled"])
        staff.revoke_key(str(key_id))
        staff.end_session(tokens["ended"].session.id)
        staff.set_password(emails["password"], "correct horse battery")
        staff.change_user(emails["moved"], UserChanges(groups=(), teams=()))
        staff.remove_name("main", "queue", 9)
        time.sleep(snapshot.RECHECK_S + 0.1)
        gone = {"removed": (False, False), "disabled": (False, False), "revoked": (False, True)}
        gone |= {"ended": (True, False), "password": (True, False)}
        assert ({**everybody, **gone}, ["Agent"], []) == seen(other) == seen(staff)
        other.note_seen(main, [Seen("queue", 9, "Zulu", 1)])
        assert [9] == [entry.key for entry in staff.names("main", "queue")]
