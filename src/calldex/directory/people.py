"""The users of an account."""

from __future__ import annotations

from typing import Final, get_args

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, delete, select

from calldex.access import KeyScope, Principal
from calldex.access.guard import Guard
from calldex.directory.changes import changing
from calldex.directory.database import Repository
from calldex.directory.model import Imported, ListedUser, User, UserChanges, UserFilter, refuse
from calldex.directory.people_csv import take_users
from calldex.directory.principals import find_account, principals
from calldex.directory.roster import Roster, read_users
from calldex.directory.tables import api_keys, group_members, saved_views, sessions, team_members, users
from calldex.errors import NotFound, suggest

_ALL: Final[tuple[KeyScope, ...]] = get_args(KeyScope)


class People(Repository):
    """Users by their e-mail addresses, which are unique over all accounts and compare without letter case."""

    def add_user(
        self,
        email: str,
        name: str,
        role: str | None = None,
        *,
        account: str = "main",
        groups: tuple[str, ...] = (),
        timezone: str | None = None,
        extension: str | None = None,
        sip_account: str | None = None,
        caller_id: str | None = None,
        skills: tuple[str, ...] = (),
        agent_id: int | None = None,
        teams: tuple[int | str, ...] = (),
        supervises: tuple[int | str, ...] = (),
        disabled: bool = False,
        guard: Guard | None = None,
    ) -> User:
        """Add a user; `BadParameters` with everything that is wrong, `Conflict` if e-mail address or agent id is taken.

        Without `agent_id` they get the id under which records name an agent of their name; if another user of the
        account has that, the one of their e-mail address. Groups are given by name, teams by id or name; of their
        teams they count as an agent ever since.
        """
        wanted = UserChanges(
            email=email,
            name=name,
            role=role,
            groups=tuple(groups),
            timezone=timezone,
            extension=extension,
            sip_account=sip_account,
            caller_id=caller_id,
            skills=tuple(skills),
            agent_id=UNSET if agent_id is None else agent_id,
            teams=tuple(teams),
            supervises=tuple(supervises),
            disabled=disabled,
        )
        refuse(wanted.problems())
        with changing(self._db, account, guard) as change:
            roster = Roster(change, ())
            roster.add(email.lower(), wanted)
            roster.write()
            return find_user(change.connection, email)

    def change_user(self, email: str, changes: UserChanges, *, guard: Guard | None = None) -> User:
        """Change a user; what is not given stays. `BadParameters`, and `Conflict` as `add_user` says, or if their
        account would be left without an admin. They join new teams now, and what they were before in teams they left
        stays known."""
        refuse(changes.problems())
        with changing(self._db, self.user(email).account, guard) as change:
            roster = Roster(change, (email.lower(),))
            becomes = roster.change(find_user(change.connection, email), changes)
            roster.write()
            return find_user(change.connection, becomes.email)

    def import_users(self, account: str, text: bytes, *, guard: Guard | None = None) -> Imported:
        """Add and change users as a CSV file lists them (see `people_csv`); all of them, or none: `BadParameters` with
        everything that is wrong, by line."""
        with changing(self._db, account, guard) as change:
            roster = Roster(change)
            done = take_users(text, roster.put)
            roster.write()
        return done

    def remove_user(self, email: str, *, guard: Guard | None = None) -> User:
        """Remove a user with their keys, sessions, memberships and saved views. Their records stay, and so does their
        name in look-ups. `Conflict` if their account would be left without an admin."""
        with changing(self._db, self.user(email).account, guard) as change:
            user = find_user(change.connection, email)
            change.touches((user.id,))
            if user.teams:
                change.moves((user.id,))
            for table in (api_keys, sessions, team_members, group_members, saved_views):
                change.connection.execute(delete(table).where(table.c.user_id == user.id))
            change.connection.execute(delete(users).where(users.c.id == user.id))
        return user

    def disable_user(self, email: str, *, guard: Guard | None = None) -> User:
        """From now on none of the user's keys works, and their sessions have ended; their name and their keys stay
        listed. `Conflict` if their account would be left without an admin."""
        return self.change_user(email, UserChanges(disabled=True), guard=guard)

    def enable_user(self, email: str, *, guard: Guard | None = None) -> User:
        """Undo `disable_user`: those of the user's keys that were not revoked work again."""
        return self.change_user(email, UserChanges(disabled=False), guard=guard)

    def user(self, email: str) -> User:
        """The user with that e-mail address; `NotFound` names the nearest."""
        with self._db.read() as connection:
            return find_user(connection, email)

    def user_of_id(self, account: str, id_: int) -> User:
        """The user of an account with that id; `NotFound`."""
        with self._db.read() as connection:
            found = read_users(
                connection, users.c.account_id == find_account(connection, account).id, users.c.id == id_
            )
        if not found:
            raise NotFound(f"there is no user {id_}")
        return found[0]

    def users(self, account: str | None = None) -> list[User]:
        """The users of one account or of all, by e-mail address, the disabled ones as well."""
        with self._db.read() as connection:
            if account is None:
                return read_users(connection)
            return read_users(connection, users.c.account_id == find_account(connection, account).id)

    def principal(self, email: str, *, scopes: tuple[KeyScope, ...] = _ALL, credential: str = "") -> Principal:
        """What a user may, by a key or session with these scopes; as if they were enabled."""
        with self._db.read() as connection:
            user_id = find_user(connection, email).id
            found = principals(connection, users.c.id == user_id)[user_id]
        return msgspec.structs.replace(found, scopes=scopes, credential=credential)

    def list_users(
        self,
        account_id: int,
        wanted: UserFilter,
        *,
        agents: frozenset[int] | None = None,
        teams: frozenset[int] | None = None,
    ) -> list[ListedUser]:
        """The users of an account that fit and are not disabled, by name, then id; where `agents` are given, only those
        with one of these agent ids, and of their teams only `teams`."""
        with self._db.read() as connection:
            enabled = read_users(connection, users.c.account_id == account_id, users.c.disabled_at.is_(None))
        fitting = (user for user in enabled if (agents is None or user.agent_id in agents) and wanted.matches(user))
        return sorted((_listed(user, teams) for user in fitting), key=lambda user: (user.name, user.id))


def find_user(connection: Connection, email: str) -> User:
    """The user with that e-mail address, in any letter case; `NotFound` names the nearest that exists."""
    found = read_users(connection, users.c.email == email.lower())
    if not found:
        known = connection.execute(select(users.c.email)).scalars()
        raise NotFound(f"there is no user with the e-mail address {email[:254]!r}{suggest(email, known)}")
    return found[0]


def _listed(user: User, teams: frozenset[int] | None) -> ListedUser:
    def shown(ids: tuple[int, ...]) -> str:
        return ", ".join(str(id_) for id_ in ids if teams is None or id_ in teams)

    return ListedUser(
        id=user.agent_id,
        name=user.name,
        email=user.email,
        extension=user.extension,
        sag=", ".join(user.sags),
        timezone=user.effective_timezone,
        agent_in_teams=shown(user.teams),
        supervisor_in_teams=shown(user.supervises),
        assigned_skills=", ".join(user.skills),
    )
