"""Access groups."""

from __future__ import annotations

import pytest

from calldex.access import PERMISSIONS, ROLES, Group, Reach, permissions_of, scope_of
from calldex.directory import Directory, GroupChanges, GroupInfo, UserChanges
from calldex.errors import BadParameters, Conflict, NotFound

SALES = GroupChanges(name="Sales", permissions=("see_cdrs", "listen"), reach=Reach(teams=(7,), own=True))


def test_a_group_is_kept_and_changed(directory: Directory) -> None:
    """What is given is kept, what is not given stays; it is found by id and by name."""
    added = directory.put_group("main", None, SALES)
    assert added == GroupInfo(
        id=1,
        name="Sales",
        permissions=("listen", "see_cdrs"),
        reach=Reach(teams=(7,), own=True),
        members=(),
        system=False,
    )
    assert added == directory.group("main", "Sales") == directory.group("main", 1)
    renamed = directory.put_group("main", 1, GroupChanges(name="Orders"))
    assert ("Orders", added.permissions, added.reach) == (renamed.name, renamed.permissions, renamed.reach)
    narrowed = directory.put_group("main", "Orders", GroupChanges(permissions=(), reach=Reach(queues=(5,))))
    assert ((), Reach(queues=(5,))) == (narrowed.permissions, narrowed.reach)
    assert narrowed == directory.remove_group("main", "Orders")
    with pytest.raises(NotFound, match=r"there is no group 'Orders'"):
        directory.group("main", "Orders")


def test_an_id_is_never_given_again(directory: Directory) -> None:
    """The id of a group that was removed is not that of another one."""
    for expected in (1, 2):
        assert expected == directory.put_group("main", None, SALES).id
        directory.remove_group("main", "Sales")


def test_roles_are_listed_first_and_belong_to_nobody(directory: Directory) -> None:
    """The five roles come first with their members, in every account, and cannot be changed, removed or added."""
    directory.add_account("north")
    directory.add_user("ann@example.com", "Ann", "admin")
    directory.put_group("main", None, SALES)
    listed = directory.groups()
    assert [*(group.name for group in ROLES.values()), "Sales"] == [group.name for group in listed]
    assert [True] * 5 + [False] == [group.system for group in listed]
    assert [("ann@example.com",)] + [()] * 5 == [group.members for group in listed]
    assert 5 == len(directory.groups("north"))
    with pytest.raises(NotFound, match="no group 'Admin'"):
        directory.put_group("main", "Admin", GroupChanges(permissions=()))
    with pytest.raises(NotFound, match="no group 'Analyst'"):
        directory.remove_group("main", "Analyst")
    with pytest.raises(BadParameters, match="is the name of a role"):
        directory.put_group("main", None, GroupChanges(name="admin"))


def test_agents_that_may_not_see_their_own(directory: Directory) -> None:
    """Where the account does not allow it, the role agent grants nothing; other groups still do."""
    directory.add_user("ann@example.com", "Ann", "agent", agent_id=5)
    assert (5,) == scope_of(directory.principal("ann@example.com")).agents
    account = directory.set_account("main", agents_see_own=False)
    assert not account.agents_see_own
    principal = directory.principal("ann@example.com")
    assert (Group(id=None, name="Agent", permissions=(), reach=Reach()),) == principal.groups
    assert scope_of(principal).nothing
    agent = next(group for group in directory.groups() if group.name == "Agent")
    assert ((), Reach(), ("ann@example.com",)) == (agent.permissions, agent.reach, agent.members)
    directory.put_group("main", None, SALES)
    directory.change_user("ann@example.com", UserChanges(groups=("Sales",)))
    assert ((5,), (7,)) == (
        scope_of(directory.principal("ann@example.com")).agents,
        scope_of(directory.principal("ann@example.com")).teams,
    )


def test_users_in_groups(directory: Directory) -> None:
    """A user has the groups they are given, by name, and has lost at once those that are removed."""
    for name, permission in (("A", "see_cdrs"), ("B", "export")):
        directory.put_group("main", None, GroupChanges(name=name, permissions=(permission,)))
    user = directory.add_user("ann@example.com", "Ann", groups=("B", "A"))
    assert (None, ("A", "B")) == (user.role, user.groups)
    assert {"see_cdrs", "export"} == permissions_of(directory.principal("ann@example.com"))
    assert ("ann@example.com",) == directory.group("main", "A").members
    directory.remove_group("main", "A")
    assert ("B",) == directory.user("ann@example.com").groups
    assert {"export"} == permissions_of(directory.principal("ann@example.com"))
    assert () == directory.change_user("ann@example.com", UserChanges(groups=())).groups
    assert frozenset() == permissions_of(directory.principal("ann@example.com"))


def test_groups_of_another_account(directory: Directory) -> None:
    """Names are an account's own: another one has its own group of the name, and none of this one's."""
    directory.add_account("north")
    directory.put_group("main", None, SALES)
    with pytest.raises(NotFound):
        directory.group("north", "Sales")
    with pytest.raises(NotFound):
        directory.group("north", 1)
    with pytest.raises(BadParameters, match=r"groups 'Sales': there is no group 'Sales'"):
        directory.add_user("n@example.com", "N", groups=("Sales",), account="north")
    assert 2 == directory.put_group("north", None, SALES).id


def test_everything_wrong_is_told_at_once(directory: Directory) -> None:
    """Unknown permissions with the nearest that exist, ids out of range, and too many of them."""
    wrong = GroupChanges(
        name="1", permissions=("see_cdr", "export"), reach=Reach(teams=(0,), queues=tuple(range(1, 1002)))
    )
    with pytest.raises(BadParameters) as error:
        directory.put_group("main", None, wrong)
    assert ["name", "permissions", "reach.teams", "reach.queues"] == [p.parameter for p in error.value.problems]
    assert "there is no such permission, did you mean 'see_cdrs'? Valid: " + ", ".join(PERMISSIONS) in str(error.value)
    with pytest.raises(BadParameters, match="name: is needed for a new group"):
        directory.put_group("main", None, GroupChanges())
    directory.put_group("main", None, SALES)
    with pytest.raises(NotFound, match=r"no group 'Slaes', did you mean 'Sales'\?"):
        directory.put_group("main", "Slaes", GroupChanges())
    with pytest.raises(Conflict, match="already a group 'Sales'"):
        directory.put_group("main", None, GroupChanges(name="SALES"))
    assert "SALES" == directory.put_group("main", "Sales", GroupChanges(name="SALES")).name


@pytest.mark.parametrize("name", ["", "12", "a,b", "a;b", " a", "a\n", "hardware phone", "x" * 65])
def test_names_that_no_group_can_have(directory: Directory, name: str) -> None:
    """What could not be told from an id, a role or two names is refused."""
    with pytest.raises(BadParameters) as error:
        directory.put_group("main", None, GroupChanges(name=name))
    assert ["name"] == [problem.parameter for problem in error.value.problems]
