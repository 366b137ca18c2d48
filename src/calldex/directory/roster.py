"""Users as they are to become: found out first, checked against all others, and written at once, however many they are.

Within one transaction; `people` adds, changes and imports users through this alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from calldex.clock import now_ms
from calldex.directory.changes import Change
from calldex.directory.lookups import names_of
from calldex.directory.members import Member, join, leave
from calldex.directory.model import Done, User, UserChanges
from calldex.directory.principals import effective_timezone
from calldex.directory.refs import Refs
from calldex.directory.tables import accounts, group_members, groups, sessions, team_members, users
from calldex.errors import BadParameters, CalldexError, Conflict, Problem
from calldex.records.record import stable_id

_NEW: Final = 0
"""The id of a user who is not written yet."""
_PLAIN: Final = ("email", "name", "role", "timezone", "extension", "sip_account", "caller_id", "agent_id")
_WRITTEN: Final = (*_PLAIN, "skills", "disabled_at")


class Roster:
    """Users of an account, with changes to them: those of these e-mail addresses (in lower case), or all."""

    def __init__(self, change: Change, emails: Iterable[str] | None = None) -> None:
        connection, account_id = change.connection, change.account.id
        self._change = change
        self._emails: set[str] = set()
        self._agents: set[int] = set()
        for email, account, agent_id in connection.execute(select(users.c.email, users.c.account_id, users.c.agent_id)):
            self._emails.add(email)
            if account == account_id:
                self._agents.add(agent_id)
        these = () if emails is None else (users.c.email.in_(tuple(emails)),)
        self._before = {user.id: user for user in read_users(connection, users.c.account_id == account_id, *these)}
        self._users = {user.email: user for user in self._before.values()}
        self._teams = Refs("team", names_of(connection, account_id, "team"))
        own = select(groups.c.id, groups.c.name).where(groups.c.account_id == account_id)
        self._groups = Refs("group", dict(connection.execute(own).all()))
        self._planned: dict[str, User] = {}

    def put(self, email: str, wanted: UserChanges) -> Done:
        """Plan to change the user with an e-mail address (in lower case), or to add them if there is none."""
        user = self._users.get(email)
        if user is None:
            self._add(email, wanted)
            return "added"
        return "changed" if self.change(user, wanted) != user else "unchanged"

    def add(self, email: str, wanted: UserChanges) -> User:
        """Plan to add a user; `Conflict` if the e-mail address is somebody's. Without `agent_id` they get the id under
        which records name an agent of their name; if another user of the account has that, the one of their address."""
        if email in self._emails:
            raise _taken(email)
        return self._add(email, wanted)

    def _add(self, email: str, wanted: UserChanges) -> User:
        if not isinstance(wanted.name, str):
            raise BadParameters([Problem("name", "", "is needed for a new user", "their name")])
        if wanted.agent_id is UNSET:
            named = (stable_id("agent", wanted.name), stable_id("agent", email))
            wanted = msgspec.structs.replace(
                wanted, agent_id=next((id_ for id_ in named if id_ not in self._agents), named[0])
            )
        account = self._change.account
        unnamed = User(
            id=_NEW,
            account_id=account.id,
            account=account.name,
            email="",
            name="",
            role=None,
            groups=(),
            timezone=None,
            effective_timezone="",
            extension=None,
            sip_account=None,
            caller_id=None,
            skills=(),
            agent_id=0,
            created_at=now_ms(),
            disabled_at=None,
            teams=(),
            supervises=(),
        )
        return self.change(unnamed, msgspec.structs.replace(wanted, email=email))

    def change(self, user: User, wanted: UserChanges) -> User:
        """Plan to change a user: what they are to become. `BadParameters`; `Conflict` if an e-mail address or agent id
        is somebody else's."""
        given = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not UNSET}
        problems: list[Problem] = []
        for name, refs in (("groups", self._groups), ("teams", self._teams), ("supervises", self._teams)):
            if name in given:
                try:
                    given[name] = refs.ids(name, given[name])
                except BadParameters as error:
                    problems += error.problems
        if problems:
            raise BadParameters(problems)
        if "groups" in given:
            given["groups"] = tuple(sorted(self._groups.names[id_] for id_ in given["groups"]))
        if "email" in given:
            given["email"] = given["email"].lower()
        disabled = given.pop("disabled", None)
        if disabled is not None and disabled != (user.disabled_at is not None):
            given["disabled_at"] = now_ms() if disabled else None
        becomes: User = msgspec.structs.replace(user, **given)
        self._claim(user, becomes)
        self._planned[becomes.email] = becomes
        return becomes

    def _claim(self, user: User, becomes: User) -> None:
        """See to it that nobody else has their e-mail address or agent id."""
        if becomes.email != user.email:
            if becomes.email in self._emails:
                raise _taken(becomes.email)
            self._emails.discard(user.email)
            self._emails.add(becomes.email)
            self._users.pop(user.email, None)
        if becomes.agent_id != user.agent_id:
            if becomes.agent_id in self._agents:
                raise Conflict(
                    f"another user of the account has the agent id {becomes.agent_id}; give one that is free"
                )
            self._agents.discard(user.agent_id)
            self._agents.add(becomes.agent_id)
        self._users[becomes.email] = becomes

    def write(self) -> None:
        """Write what was planned. Teams count ever since for who is new, for all others from now on."""
        changed = [user for user in self._planned.values() if user.id != _NEW and user != self._before[user.id]]
        new = [user for user in self._planned.values() if user.id == _NEW]
        self._change.touches(user.id for user in changed)
        self._change.moves(user.id for user in changed if _calls(user) != _calls(self._before[user.id]))
        if changed:
            columns: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _WRITTEN}
            self._change.connection.execute(
                update(users).where(users.c.id == bindparam("user_id")).values(columns),
                [{"user_id": user.id, **{f"new_{name}": _cell(user, name) for name in _WRITTEN}} for user in changed],
            )
        self._sign_out([user.id for user in changed if user.disabled_at and not self._before[user.id].disabled_at])
        ids = self._inserted(new)
        self._change.adds(ids.values())
        self._change.moves(ids[user.email] for user in new if user.teams)
        self._regroup([(user.id, self._before[user.id].groups, user.groups) for user in changed])
        self._regroup([(ids[user.email], (), user.groups) for user in new])
        account_id = self._change.account.id
        at = now_ms()
        before = {member for user in changed for member in _members(user.id, self._before[user.id])}
        after = {member for user in changed for member in _members(user.id, user)}
        leave(self._change.connection, before - after, at)
        join(self._change.connection, account_id, after - before, at)
        join(self._change.connection, account_id, (each for user in new for each in _members(ids[user.email], user)), 0)

    def _sign_out(self, user_ids: list[int]) -> None:
        """End the sessions of users for good: they do not go on when these are enabled again."""
        if user_ids:
            matches = sessions.c.user_id == bindparam("who")
            self._change.connection.execute(delete(sessions).where(matches), [{"who": id_} for id_ in user_ids])

    def _inserted(self, new: Iterable[User]) -> dict[str, int]:
        """The ids of new users by e-mail address."""
        rows = [{name: _cell(user, name) for name in (*_WRITTEN, "account_id", "created_at")} for user in new]
        if not rows:
            return {}
        inserted = self._change.connection.execute(insert(users).returning(users.c.email, users.c.id), rows)
        return dict(inserted.all())

    def _regroup(self, changes: Iterable[tuple[int, tuple[str, ...], tuple[str, ...]]]) -> None:
        """Let users into groups and out of them: user id, groups before, groups after."""
        gone: list[dict[str, int]] = []
        came: list[dict[str, int]] = []
        for user_id, before, after in changes:
            gone += [{"left": self._groups.id(name), "who": user_id} for name in before if name not in after]
            came += [{"group_id": self._groups.id(name), "user_id": user_id} for name in after if name not in before]
        if gone:
            matches = (group_members.c.group_id == bindparam("left"), group_members.c.user_id == bindparam("who"))
            self._change.connection.execute(delete(group_members).where(*matches), gone)
        if came:
            self._change.connection.execute(insert(group_members), came)


def _taken(email: str) -> CalldexError:
    return Conflict(f"there is already a user with the e-mail address {email}")


def _calls(user: User) -> set[tuple[int, int]]:
    """Which teams show whose calls because of a user."""
    return {(user.agent_id, team) for team in user.teams}


def _members(user_id: int, user: User) -> set[Member]:
    return {(user_id, team, False) for team in user.teams} | {(user_id, team, True) for team in user.supervises}


def _cell(user: User, name: str) -> Any:
    value = getattr(user, name)
    return list(value) if isinstance(value, tuple) else value


# --- reading ----------------------------------------------------------------------------------------------------------


def read_users(connection: Connection, *conditions: ColumnElement[bool]) -> list[User]:
    """The users that fulfil conditions on `users`, by e-mail address."""
    query = (
        select(
            *(column for column in users.c if column.name != "password_hash"),
            accounts.c.name.label("account"),
            effective_timezone.label("effective_timezone"),
        )
        .join(accounts)
        .where(*conditions)
    )
    teams: dict[tuple[int, bool], list[int]] = defaultdict(list)
    in_teams = (
        select(team_members.c.user_id, team_members.c.as_supervisor, team_members.c.team_id)
        .join_from(team_members, users)
        .where(team_members.c.until_ms.is_(None), *conditions)
        .order_by(team_members.c.team_id)
    )
    for user_id, as_supervisor, team_id in connection.execute(in_teams):
        teams[user_id, as_supervisor].append(team_id)
    names: dict[int, list[str]] = defaultdict(list)
    in_groups = (
        select(group_members.c.user_id, groups.c.name)
        .join_from(group_members, users)
        .join(groups, groups.c.id == group_members.c.group_id)
        .where(*conditions)
    )
    for user_id, name in connection.execute(in_groups):
        names[user_id].append(name)
    found = []
    for row in connection.execute(query):
        values = row._asdict()
        values["skills"] = tuple(values["skills"])
        found.append(
            User(
                **values,
                groups=tuple(sorted(names.get(row.id, ()))),
                teams=tuple(teams.get((row.id, False), ())),
                supervises=tuple(teams.get((row.id, True), ())),
            )
        )
    return sorted(found, key=lambda user: user.email)
