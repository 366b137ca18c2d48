"""The accounts of an installation, and the users of an account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from calldex.directory.database import Part, now_ms
from calldex.directory.lookups import write_names
from calldex.directory.model import (
    ROLE_NAMES,
    Account,
    ListedUser,
    Seen,
    User,
    UserFilter,
    email_problem,
    handle_problem,
    role_problem,
    text_problem,
    timezone_problem,
)
from calldex.directory.tables import accounts, team_members, users
from calldex.errors import BadParameters, Conflict, NotFound, Problem, suggest
from calldex.record import Team, stable_id

MOST_SKILLS: Final = 100
MOST_TEAMS: Final = 50

effective_timezone: Final = func.coalesce(users.c.timezone, accounts.c.timezone, "UTC")


class People(Part):
    """Accounts and users."""

    def accounts(self) -> list[Account]:
        """Every account, by name."""
        with self._db.read() as connection:
            return _accounts(connection)

    def account(self, name: str = "main") -> Account:
        """The account of that name; `NotFound` names those that exist."""
        with self._db.read() as connection:
            return find_account(connection, name)

    def add_account(self, name: str, timezone: str | None = None) -> Account:
        """Add an account; `Conflict` if there is one of that name."""
        _refuse([*handle_problem("name", name), *timezone_problem(timezone)])
        with self._db.write() as connection:
            if any(account.name == name for account in _accounts(connection)):
                raise Conflict(f"there is already an account {name!r}")
            connection.execute(insert(accounts).values(name=name, timezone=timezone, created_at=now_ms()))
            return find_account(connection, name)

    def set_account_timezone(self, name: str, timezone: str | None) -> None:
        """Set the zone in which the days of an account's users are cut who have none of their own."""
        _refuse(timezone_problem(timezone))
        with self._db.write(access=True) as connection:
            account = find_account(connection, name)
            connection.execute(update(accounts).where(accounts.c.id == account.id).values(timezone=timezone))

    def add_user(
        self,
        email: str,
        name: str,
        role: str,
        *,
        timezone: str | None = None,
        account: str = "main",
        extension: str | None = None,
        sip_account: str | None = None,
        caller_id: str | None = None,
        skills: Sequence[str] = (),
        agent_id: int | None = None,
        teams: Sequence[Team] = (),
        supervises: Sequence[Team] = (),
    ) -> User:
        """Add a user; `BadParameters` with everything that is wrong, `Conflict` if e-mail address or agent id is taken.

        Without `agent_id` he gets the id under which records name an agent of his name; if another user of the account
        has that, the one of his e-mail address.
        """
        problems = [*email_problem(email), *role_problem(role), *timezone_problem(timezone)]
        problems += text_problem("name", name, 200)
        short = {"extension": extension, "sip_account": sip_account, "caller_id": caller_id}
        problems += [problem for parameter, given in short.items() for problem in text_problem(parameter, given, 64)]
        problems += [problem for skill in skills for problem in text_problem("skills", skill, 64)]
        problems += [problem for team in (*teams, *supervises) for problem in text_problem("teams", team.name, 200)]
        problems += _number_problems(agent_id, skills, teams, supervises)
        _refuse(problems)
        email = email.lower()
        with self._db.write(access=True) as connection:
            account_id = find_account(connection, account).id
            if connection.execute(select(users.c.id).where(users.c.email == email)).first():
                raise Conflict(f"there is already a user with the e-mail address {email}")
            values = {
                **short,
                "account_id": account_id,
                "email": email,
                "name": name,
                "role": role,
                "timezone": timezone,
                "skills": list(skills),
                "agent_id": _free_agent_id(connection, account_id, agent_id, name, email),
                "created_at": now_ms(),
            }
            user_id = connection.execute(insert(users).values(values).returning(users.c.id)).scalar_one()
            self._join(connection, account_id, user_id, teams, as_supervisor=False)
            self._join(connection, account_id, user_id, supervises, as_supervisor=True)
            return _users(connection, users.c.id == user_id)[0]

    def user(self, email: str) -> User:
        """The user with that e-mail address, in any letter case."""
        with self._db.read() as connection:
            return find_user(connection, email)

    def users(self, account: str | None = None) -> list[User]:
        """The users of one account or of all, by e-mail address, the disabled ones as well."""
        with self._db.read() as connection:
            if account is None:
                return _users(connection)
            return _users(connection, users.c.account_id == find_account(connection, account).id)

    def list_users(self, account_id: int, wanted: UserFilter) -> list[ListedUser]:
        """The users of an account that fit and are not disabled, by name, then id."""
        with self._db.read() as connection:
            enabled = _users(connection, users.c.account_id == account_id, users.c.disabled_at.is_(None))
        return sorted(
            (_listed(user) for user in enabled if wanted.matches(user)), key=lambda user: (user.name, user.id)
        )

    def disable_user(self, email: str) -> None:
        """From now on none of the user's keys works; his name and his keys stay listed."""
        self._set_disabled(email, now_ms())

    def enable_user(self, email: str) -> None:
        """Undo `disable_user`: those of the user's keys that were not revoked work again."""
        self._set_disabled(email, None)

    def _set_disabled(self, email: str, at: int | None) -> None:
        with self._db.write(access=True) as connection:
            user = find_user(connection, email)
            connection.execute(update(users).where(users.c.id == user.id).values(disabled_at=at))

    def _join(
        self, connection: Connection, account_id: int, user_id: int, teams: Sequence[Team], *, as_supervisor: bool
    ) -> None:
        # A team is known from now on, whether or not a record names it.
        write_names(self._db, connection, account_id, [Seen("team", t.id, t.name, now_ms()) for t in teams])
        for team_id in sorted({team.id for team in teams}):
            values = {"account_id": account_id, "team_id": team_id, "user_id": user_id, "as_supervisor": as_supervisor}
            connection.execute(insert(team_members).values(values))


def find_account(connection: Connection, name: str) -> Account:
    """The account of that name; `NotFound` names those that exist."""
    known = {account.name: account for account in _accounts(connection)}
    if name not in known:
        raise NotFound(f"there is no account {name[:100]!r}{suggest(name, known)} Accounts: {', '.join(known)}")
    return known[name]


def find_user(connection: Connection, email: str) -> User:
    """The user with that e-mail address, in any letter case; `NotFound` names the nearest that exists."""
    found = _users(connection, users.c.email == email.lower())
    if not found:
        known = connection.execute(select(users.c.email)).scalars()
        raise NotFound(f"there is no user with the e-mail address {email[:254]!r}{suggest(email, known)}")
    return found[0]


def _accounts(connection: Connection) -> list[Account]:
    query = select(accounts.c.id, accounts.c.name, accounts.c.timezone).order_by(accounts.c.name)
    return [Account(*row) for row in connection.execute(query)]


def _users(connection: Connection, *conditions: ColumnElement[bool]) -> list[User]:
    query = (
        select(users, accounts.c.name.label("account"), effective_timezone.label("effective_timezone"))
        .join(accounts)
        .where(*conditions)
        .order_by(users.c.email)
    )
    members: dict[tuple[int, bool], list[int]] = defaultdict(list)
    in_teams = select(team_members).join(users).where(*conditions).order_by(team_members.c.team_id)
    for row in connection.execute(in_teams):
        members[row.user_id, row.as_supervisor].append(row.team_id)
    return [_user(row._asdict(), members) for row in connection.execute(query)]


def _user(values: dict[str, Any], members: dict[tuple[int, bool], list[int]]) -> User:
    values["skills"] = tuple(values["skills"])
    teams, supervises = (tuple(members.get((values["id"], as_supervisor), ())) for as_supervisor in (False, True))
    return User(**values, teams=teams, supervises=supervises)


def _listed(user: User) -> ListedUser:
    return ListedUser(
        id=user.agent_id,
        name=user.name,
        email=user.email,
        extension=user.extension,
        sag=ROLE_NAMES[user.role],
        timezone=user.effective_timezone,
        agent_in_teams=", ".join(map(str, user.teams)),
        supervisor_in_teams=", ".join(map(str, user.supervises)),
        assigned_skills=", ".join(user.skills),
    )


def _free_agent_id(connection: Connection, account_id: int, wanted: int | None, name: str, email: str) -> int:
    candidates = [stable_id("agent", name), stable_id("agent", email)] if wanted is None else [wanted]
    taken = select(users.c.agent_id).where(users.c.account_id == account_id, users.c.agent_id.in_(candidates))
    free = [each for each in candidates if each not in set(connection.execute(taken).scalars())]
    if not free:
        raise Conflict(f"another user of the account has the agent id {candidates[0]}; give one that is free")
    return free[0]


def _number_problems(
    agent_id: int | None, skills: Sequence[str], teams: Sequence[Team], supervises: Sequence[Team]
) -> Iterable[Problem]:
    ids = [("agent_id", agent_id)] if agent_id is not None else []
    ids += [("teams", team.id) for team in teams] + [("supervises", team.id) for team in supervises]
    for parameter, each in ids:
        if not 1 <= each < 2**53:
            yield Problem(parameter, str(each)[:100], "is not an id", "a whole number from 1 to 9007199254740991")
    for parameter, many, most in (
        ("skills", skills, MOST_SKILLS),
        ("teams", teams, MOST_TEAMS),
        ("supervises", supervises, MOST_TEAMS),
    ):
        if len(many) > most:
            yield Problem(parameter, str(len(many)), "are too many", f"up to {most}")


def _refuse(problems: Iterable[Problem]) -> None:
    found = tuple(problems)
    if found:
        raise BadParameters(found)
