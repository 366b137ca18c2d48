"""Accounts and users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.directory import Directory, ListedUser, Named, UserFilter
from calldex.directory.model import email_problem
from calldex.errors import BadParameters, Conflict, NotFound
from calldex.record import Team, stable_id


def refused(error: pytest.ExceptionInfo[BadParameters]) -> list[str]:
    """The parameters that were refused."""
    return [problem.parameter for problem in error.value.problems]


def test_a_user_as_added(directory: Directory) -> None:
    """Everything that was given is kept, e-mail addresses in lower case."""
    directory.set_account_timezone("main", "Asia/Tokyo")
    user = directory.add_user(
        "Ann.Lee@Example.com",
        "Ann Lee",
        "supervisor",
        extension="201",
        sip_account="ann",
        caller_id="442071838750",
        skills=["English", "Sales"],
        teams=[Team(9, "Support"), Team(2, "Sales")],
        supervises=[Team(2)],
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
    """The user's own zone, else his account's, else UTC."""
    directory.add_account("tokyo", "Asia/Tokyo")
    zones = [
        directory.add_user("a@example.com", "A", "agent").effective_timezone,
        directory.add_user("b@example.com", "B", "agent", account="tokyo").effective_timezone,
        directory.add_user("c@example.com", "C", "agent", account="tokyo", timezone="Europe/Paris").effective_timezone,
    ]
    assert zones == ["UTC", "Asia/Tokyo", "Europe/Paris"]


def test_agent_ids_of_namesakes(directory: Directory) -> None:
    """Of two users of one name the second is known by his e-mail address; in another account there is no clash."""
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
    """A refused user is refused for all his faults, with the nearest valid words, and not half added."""
    with pytest.raises(BadParameters) as error:
        directory.add_user(
            "ann@",
            " ",
            "supervizor",
            timezone="Europe/Lodnon",
            extension="",
            skills=["\n"],
            agent_id=2**53,
            teams=[Team(0)],
            supervises=[Team(n) for n in range(1, 52)],
        )
    assert refused(error) == [
        "email",
        "role",
        "timezone",
        "name",
        "extension",
        "skills",
        "agent_id",
        "teams",
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


def listed(directory: Directory) -> None:
    """Three users, one of another account."""
    directory.add_account("north")
    directory.add_user(
        "ann@example.com", "Ann Lee", "supervisor", extension="201", sip_account="Ann", caller_id="100", agent_id=5,
        timezone="Asia/Tokyo", teams=[Team(2), Team(1)], supervises=[Team(3)], skills=["A", "B"],
    )  # fmt: skip
    directory.add_user("bob@example.org", "Bob Ström", "hardware_phone", agent_id=6)
    directory.add_user("cy@example.com", "Ann Other", "agent", account="north")


def test_listed_users(directory: Directory) -> None:
    """A user looks as the contract has him; those of other accounts and the disabled do not show."""
    listed(directory)
    assert directory.list_users(directory.account().id, UserFilter()) == [
        ListedUser(
            id=5, name="Ann Lee", email="ann@example.com", extension="201", sag="Supervisor", timezone="Asia/Tokyo",
            agent_in_teams="1, 2", supervisor_in_teams="3", assigned_skills="A, B",
        ),
        ListedUser(
            id=6, name="Bob Ström", email="bob@example.org", extension=None, sag="Hardware phone", timezone="UTC",
            agent_in_teams="", supervisor_in_teams="", assigned_skills="",
        ),
    ]  # fmt: skip
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


@given(st.text(max_size=300))
def test_any_text_is_an_email_address_or_a_problem(text: str) -> None:
    """An address that passes has one @ and something printable on both sides of it."""
    if not list(email_problem(text)):
        local, _, domain = text.partition("@")
        assert local
        assert domain
        assert "@" not in domain
        assert not any(character.isspace() for character in text)
