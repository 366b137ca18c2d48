"""What every change of rights has in common: an account keeps an admin, guards are asked, and it counts at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from calldex.access import Principal, Reach, permissions_of, scope_of
from calldex.directory import Client, Directory, GroupChanges, TeamChanges, UserChanges, snapshot
from calldex.directory.database import now_ms
from calldex.errors import CalldexError, Conflict, Forbidden
from tests.directory.places import Place

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
    with pytest.raises(Conflict, match="the account main would be left without an admin"):
        end(directory, "ann@example.com")
    assert before == directory.users()
    directory.enable_user("bob@example.com")
    end(directory, "ann@example.com")
    with pytest.raises(Conflict, match="without an admin"):
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
    """Whose rights the asker does not have, his keys he cannot revoke."""
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
