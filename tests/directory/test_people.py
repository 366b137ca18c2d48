"""Accounts and users."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.access import PERMISSIONS, permissions_of
from calldex.directory import Directory, GroupChanges, ListedUser, Named, Seen, TeamChanges, UserChanges, UserFilter
from calldex.directory.model import email_problem
from calldex.errors import BadParameters, Conflict, NotFound
from calldex.records.record import stable_id


def refused(error: pytest.ExceptionInfo[BadParameters]) -> list[str]:
    """The parameters that were refused."""
    return [problem.parameter for problem in error.value.problems]


def test_a_user_as_added(directory: Directory) -> None:
    """Everything that was given is kept, e-mail addresses in lower case."""
    directory.set_account("main", timezone="Asia/Tokyo")
    for id_, name in ((9, "Support"), (2, "Sales")):
        directory.put_team("main", id_, TeamChanges(name=name))
    user = directory.add_user(
        "Ann.Lee@Example.com",
        "Ann Lee",
        "supervisor",
        extension="201",
        sip_account="ann",
        caller_id="442071838750",
        skills=("English", "Sales"),
        teams=(9, "Sales"),
        supervises=(2,),
    )
    assert (user.email, user.name, user.role, user.account) == ("ann.lee@example.com", "Ann Lee", "supervisor", "main")
    assert (user.extension, user.sip_account, user.caller_id) == ("201", "ann", "442071838750")
    assert (user.skills, user.teams, user.supervises) == (("English", "Sales"), (2, 9), (2,))
    assert (user.timezone, user.effective_timezone, user.disabled_at) == (None, "Asia/Tokyo", None)
    assert user.agent_id == stable_id("agent", "Ann Lee")
    assert directory.user("ANN.LEE@example.com") == user
    assert directory.users() == [user]
    assert directory.lookup(user.account_id, "team") == [Named(2, "Sales"), Named(9, "Support")]


def test_effective_timezone(directory: Directory) -> None:
    """The user's own zone, else their account's, else UTC."""
    directory.add_account("tokyo", "Asia/Tokyo")
    zones = [
        directory.add_user("a@example.com", "A", "agent").effective_timezone,
        directory.add_user("b@example.com", "B", "agent", account="tokyo").effective_timezone,
        directory.add_user("c@example.com", "C", "agent", account="tokyo", timezone="Europe/Paris").effective_timezone,
    ]
    assert zones == ["UTC", "Asia/Tokyo", "Europe/Paris"]


def test_agent_ids_of_namesakes(directory: Directory) -> None:
    """Of two users of one name the second is known by their e-mail address; in another account there is no clash."""
    directory.add_account("other")
    first = directory.add_user("a@example.com", "Sam", "agent")
    second = directory.add_user("b@example.com", "Sam", "agent")
    elsewhere = directory.add_user("c@example.com", "Sam", "agent", account="other")
    assert first.agent_id == elsewhere.agent_id == stable_id("agent", "Sam")
    assert second.agent_id == stable_id("agent", "b@example.com")
    with pytest.raises(Conflict, match=f"another user of the account has the agent id {first.agent_id}"):
        directory.add_user("d@example.com", "Kim", "agent", agent_id=first.agent_id)


def test_email_is_unique_in_any_letter_case_and_account(directory: Directory) -> None:
    """One e-mail address is one user of the whole installation."""
    directory.add_account("other")
    directory.add_user("ann@example.com", "Ann", "admin")
    with pytest.raises(Conflict, match=r"already a user with the e-mail address ann@example\.com"):
        directory.add_user("ANN@EXAMPLE.COM", "Ann", "admin", account="other")


def test_everything_wrong_is_told_at_once(directory: Directory) -> None:
    """A refused user is refused for all their faults, with the nearest valid words, and not half added."""
    with pytest.raises(BadParameters) as error:
        directory.add_user(
            "ann@",
            " ",
            "supervizor",
            timezone="Europe/Lodnon",
            extension="",
            skills=("\n",),
            agent_id=2**53,
            supervises=tuple(range(1, 52)),
        )
    assert refused(error) == [
        "email",
        "role",
        "timezone",
        "name",
        "extension",
        "agent_id",
        "skills",
        "supervises",
    ]
    assert "did you mean 'supervisor'? Valid: admin, supervisor, analyst, agent, hardware_phone" in str(error.value)
    assert "timezone 'Europe/Lodnon': is not a time zone, did you mean 'Europe/London'?" in str(error.value)
    with pytest.raises(NotFound, match=r"no account 'mian', did you mean 'main'\? Accounts: main"):
        directory.add_user("ann@example.com", "Ann", "admin", account="mian")
    assert directory.users() == []


@pytest.mark.parametrize(
    "email", ["ann@example.com", "a.b+c@mail.example.co.uk", "root@localhost", "jürgen@example.de"]
)
def test_email_addresses(email: str) -> None:
    """Usual addresses pass."""
    assert list(email_problem(email)) == []


@pytest.mark.parametrize(
    "email", ["", "ann", "@example.com", "a@b@c", "a b@c", "a@-b.com", "a@b..com", "a@b.com\n", "a" * 250 + "@b.de"]
)
def test_what_is_no_email_address(email: str) -> None:
    """What no mail would reach is refused."""
    assert [problem.parameter for problem in email_problem(email)] == ["email"]


def test_accounts(directory: Directory) -> None:
    """Accounts have names that are unique and can be typed."""
    added = directory.add_account("north", "Europe/Oslo")
    assert directory.account("north") == added
    assert [account.name for account in directory.accounts()] == ["main", "north"]
    with pytest.raises(Conflict, match="already an account 'north'"):
        directory.add_account("north")
    with pytest.raises(BadParameters) as error:
        directory.add_account("-x y", "Oslo/Europe")
    assert refused(error) == ["name", "timezone"]


def test_users_of_one_account(directory: Directory) -> None:
    """Users are listed by e-mail address, of one account or of all."""
    directory.add_account("north")
    directory.add_user("b@example.com", "B", "agent")
    directory.add_user("a@example.com", "A", "agent", account="north")
    assert [user.email for user in directory.users()] == ["a@example.com", "b@example.com"]
    assert [user.email for user in directory.users("north")] == ["a@example.com"]
    with pytest.raises(NotFound, match=r"e-mail address 'a@exmple\.com', did you mean 'a@example\.com'\?"):
        directory.user("a@exmple.com")


def test_lists_are_in_order_of_code_points(directory: Directory) -> None:
    """On every engine, however its own text is sorted."""
    for name in ("a", "B"):
        directory.add_account(name)
        directory.add_source(name, "jsonl", {})
    directory.put_group("main", None, GroupChanges(name="Night"))
    for email in ("\u00e9@example.com", "z@example.com"):
        directory.add_user(email, email, "admin", groups=("Night",))
    assert ["B", "a", "main"] == [account.name for account in directory.accounts()]
    assert ["B", "a"] == [source.name for source in directory.sources()]
    emails = ("z@example.com", "\u00e9@example.com")
    assert emails == tuple(user.email for user in directory.users())
    assert emails == directory.group("main", "Night").members == directory.groups()[0].members


@pytest.mark.parametrize("text", ["\0", "ann@example.com\0", "a\0@example.com"])
def test_what_no_text_has_is_not_found(directory: Directory, text: str) -> None:
    """Who asks for something with a NUL in it learns that there is none."""
    directory.add_user("ann@example.com", "Ann", "admin")
    for ask in (directory.user, directory.account, directory.openid, directory.revoke_key, directory.list_keys):
        with pytest.raises(NotFound):
            ask(text)


def listed(directory: Directory) -> None:
    """Three users, one of another account."""
    directory.add_account("north")
    for id_ in (1, 2, 3):
        directory.put_team("main", id_, TeamChanges(name=f"Team {id_}"))
    for name in ("Sales", "Night"):
        directory.put_group("main", None, GroupChanges(name=name))
    directory.add_user(
        "ann@example.com",
        "Ann Lee",
        "supervisor",
        extension="201",
        sip_account="Ann",
        caller_id="100",
        agent_id=5,
        timezone="Asia/Tokyo",
        teams=(2, 1),
        supervises=(3,),
        skills=("A", "B"),
        groups=("Sales", "Night"),
    )
    directory.add_user("bob@example.org", "Bob Ström", "hardware_phone", agent_id=6)
    directory.add_user("cy@example.com", "Ann Other", "agent", account="north")


def test_listed_users(directory: Directory) -> None:
    """A user looks as the contract has them; those of other accounts and the disabled do not show."""
    listed(directory)
    assert directory.list_users(directory.account().id, UserFilter()) == [
        ListedUser(
            id=5,
            name="Ann Lee",
            email="ann@example.com",
            extension="201",
            sag="Supervisor, Night, Sales",
            timezone="Asia/Tokyo",
            agent_in_teams="1, 2",
            supervisor_in_teams="3",
            assigned_skills="A, B",
        ),
        ListedUser(
            id=6,
            name="Bob Ström",
            email="bob@example.org",
            extension=None,
            sag="Hardware phone",
            timezone="UTC",
            agent_in_teams="",
            supervisor_in_teams="",
            assigned_skills="",
        ),
    ]
    directory.disable_user("ann@example.com")
    assert [user.id for user in directory.list_users(directory.account().id, UserFilter())] == [6]
    directory.enable_user("ann@example.com")
    assert len(directory.list_users(directory.account().id, UserFilter())) == 2


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (UserFilter(name="nn l"), [5]),
        (UserFilter(name="STRÖM"), [6]),
        (UserFilter(email="@EXAMPLE"), [5, 6]),
        (UserFilter(sip_account="ann"), [5]),
        (UserFilter(sip_account="an"), []),
        (UserFilter(sag="hardware PHONE"), [6]),
        (UserFilter(sag="supervisor"), [5]),
        (UserFilter(sag="sales"), [5]),
        (UserFilter(sag="Supervisor, Night, Sales"), [5]),
        (UserFilter(sag="Night, Sales"), []),
        (UserFilter(sag="Sale"), []),
        (UserFilter(extension="201"), [5]),
        (UserFilter(extension="20"), []),
        (UserFilter(caller_id="100"), [5]),
        (UserFilter(timezone="utc"), [6]),
        (UserFilter(name="ann", timezone="utc"), []),
    ],
)
def test_filters_of_listed_users(directory: Directory, wanted: UserFilter, ids: list[int]) -> None:
    """Name and e-mail address match by part, the others whole, all without letter case, and all must fit."""
    listed(directory)
    assert [user.id for user in directory.list_users(directory.account().id, wanted)] == ids


def test_only_those_who_may_be_seen_are_listed(directory: Directory) -> None:
    """Of users those with the given agent ids, of their teams the given ones; of none, nobody and none."""
    listed(directory)
    main = directory.account().id

    def seen(agents: set[int], teams: set[int]) -> list[tuple[int, str, str]]:
        found = directory.list_users(main, UserFilter(), agents=frozenset(agents), teams=frozenset(teams))
        return [(user.id, user.agent_in_teams, user.supervisor_in_teams) for user in found]

    assert [(5, "1, 2", "3"), (6, "", "")] == seen({5, 6, 7}, {1, 2, 3})
    assert [(5, "2", "")] == seen({5}, {2})
    assert [] == seen(set(), {1})


def test_a_user_is_changed(directory: Directory) -> None:
    """What is given is changed, None takes away, and all else stays."""
    listed(directory)
    before = directory.user("ann@example.com")
    assert before == directory.change_user("ANN@example.com", UserChanges())
    changes = UserChanges(
        email="Ann.Lee@Example.com",
        name="Ann L.",
        role="agent",
        groups=("Night",),
        timezone=None,
        extension=None,
        caller_id="101",
        skills=("C",),
        agent_id=9,
        teams=("Team 3", 1),
        supervises=(),
    )
    changed = directory.change_user("ann@example.com", changes)
    assert changed == directory.user("ann.lee@example.com")
    assert (
        msgspec.structs.replace(
            before,
            email="ann.lee@example.com",
            name="Ann L.",
            role="agent",
            groups=("Night",),
            timezone=None,
            effective_timezone="UTC",
            extension=None,
            caller_id="101",
            skills=("C",),
            agent_id=9,
            teams=(1, 3),
            supervises=(),
        )
        == changed
    )
    with pytest.raises(NotFound):
        directory.user("ann@example.com")
    directory.add_user("ann@example.com", "New Ann", agent_id=5)


def test_a_change_that_cannot_be(directory: Directory) -> None:
    """What is taken, unknown or wrong is refused, and nothing is changed."""
    listed(directory)
    before = directory.users()
    for error, message, changes in (
        (Conflict, r"already a user .* bob@example\.org", UserChanges(email="BOB@example.org")),
        (Conflict, r"already a user .* cy@example\.com", UserChanges(email="cy@example.com")),
        (Conflict, "another user of the account has the agent id 6", UserChanges(agent_id=6, name="X")),
        (BadParameters, r"groups 'Nigth': .* did you mean 'Night'\?", UserChanges(groups=("Nigth",), name="X")),
        (BadParameters, "teams '9': there is no team 9", UserChanges(teams=(9,))),
        (BadParameters, "groups '101': are too many", UserChanges(groups=tuple(map(str, range(101))))),
        (BadParameters, "role 'boss': there is no such role", UserChanges(role="boss")),
    ):
        with pytest.raises(error, match=message):
            directory.change_user("ann@example.com", changes)
    assert before == directory.users()


def test_a_removed_user_leaves_their_name(directory: Directory) -> None:
    """They are gone from teams and groups; what records call them stays in the look-ups."""
    listed(directory)
    main = directory.account().id
    directory.note_seen(main, [Seen("agent", 5, "Ann Lee", 1)])
    assert "Ann Lee" == directory.remove_user("ann@example.com").name
    assert [Named(5, "Ann Lee")] == directory.lookup(main, "agent")
    assert [()] * 3 == [team.agents + team.supervisors for team in directory.teams()]
    assert () == directory.group("main", "Sales").members
    assert [] == directory.check()
    with pytest.raises(NotFound, match="there is no user"):
        directory.remove_user("ann@example.com")


def test_what_an_account_is_set_to(directory: Directory) -> None:
    """What is not given stays; only fields that can be sensitive are."""
    assert ((), True) == (directory.account().sensitive, directory.account().agents_see_own)
    directory.set_account("main", sensitive=("tags", "comment"), agents_see_own=False, timezone="Europe/Oslo")
    account = directory.set_account("main", timezone=None)
    assert (None, ("comment", "tags"), False) == (account.timezone, account.sensitive, account.agents_see_own)
    directory.add_user("ann@example.com", "Ann", "analyst")
    assert ("comment", "tags") == directory.principal("ann@example.com").sensitive
    with pytest.raises(BadParameters, match=r"sensitive 'coment': .* did you mean 'comment'"):
        directory.set_account("main", sensitive=("coment",))
    with pytest.raises(BadParameters, match="sensitive 'uuid'"):
        directory.set_account("main", sensitive=("uuid",))
    assert account == directory.account()


def test_a_principal_is_narrowed_by_their_scopes(directory: Directory) -> None:
    """What a user may is what their groups grant, of that what the scopes leave."""
    directory.add_user("ann@example.com", "Ann", "admin")
    assert permissions_of(directory.principal("ann@example.com")) == set(PERMISSIONS)
    narrowed = directory.principal("ann@example.com", scopes=("ingest",), credential="session")
    assert (("ingest",), "session") == (tuple(permissions_of(narrowed)), narrowed.credential)


@given(st.text(max_size=300))
def test_any_text_is_an_email_address_or_a_problem(text: str) -> None:
    """An address that passes has one @ and something printable on both sides of it."""
    if not list(email_problem(text)):
        local, _, domain = text.partition("@")
        assert local
        assert domain
        assert "@" not in domain
        assert not any(character.isspace() for character in text)
