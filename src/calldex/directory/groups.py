"""Access groups of an account: what those who are in one may do, and within which records.

The contract's roles are listed with them, and changed by nobody. Who is in a group is said of the user (`people`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, delete, insert, select, update

from calldex.access import ROLES
from calldex.access.guard import Guard
from calldex.clock import now_ms
from calldex.directory.changes import changing
from calldex.directory.database import Repository
from calldex.directory.model import Account, GroupChanges, GroupInfo, refuse
from calldex.directory.principals import custom_group, find_account, role_groups
from calldex.directory.refs import Refs
from calldex.directory.tables import group_members, groups, users
from calldex.errors import BadParameters, Conflict, Problem

MOST: Final = 1_000
"""How many groups an account may have."""


class Groups(Repository):
    """Groups, by id or name."""

    def groups(self, account: str = "main") -> list[GroupInfo]:
        """The roles, then the groups of an account by name."""
        with self._db.read() as connection:
            found = find_account(connection, account)
            return [*_roles(connection, found), *_groups(connection, found.id).values()]

    def group(self, account: str, group: int | str) -> GroupInfo:
        """The group of that id or name; `NotFound` names the nearest."""
        with self._db.read() as connection:
            return _group(_groups(connection, find_account(connection, account).id), group)

    def put_group(
        self, account: str, group: int | str | None, changes: GroupChanges, *, guard: Guard | None = None
    ) -> GroupInfo:
        """Change the group of that id or name, for everybody who is in it at once, or add one, of None; nobody is in
        that yet, and without permissions and reach it grants nothing. `BadParameters`; `NotFound`; `Conflict` if there
        is one of the name."""
        refuse(changes.problems())
        with changing(self._db, account, guard) as change:
            connection, account_id = change.connection, change.account.id
            known = _groups(connection, account_id)
            id_ = None if group is None else _group(known, group).id
            if changes.name is not UNSET:
                _refuse_taken(known, id_, changes.name)
            values = _values(changes)
            if id_ is None:
                id_ = _added(connection, account_id, len(known), values)
            elif values:
                change.concerns(_members(connection, id_))
                connection.execute(update(groups).where(groups.c.id == id_).values(values))
            return _groups(connection, account_id)[id_]

    def remove_group(self, account: str, group: int | str, *, guard: Guard | None = None) -> GroupInfo:
        """Remove a group; its members lose at once what it granted."""
        with changing(self._db, account, guard) as change:
            found = _group(_groups(change.connection, change.account.id), group)
            change.concerns(_members(change.connection, found.id))
            change.connection.execute(delete(group_members).where(group_members.c.group_id == found.id))
            change.connection.execute(delete(groups).where(groups.c.id == found.id))
        return found


def _members(connection: Connection, group_id: int | None) -> Iterable[int]:
    return connection.execute(select(group_members.c.user_id).where(group_members.c.group_id == group_id)).scalars()


def _added(connection: Connection, account_id: int, known: int, values: dict[str, Any]) -> int:
    if "name" not in values:
        raise BadParameters([Problem("name", "", "is needed for a new group", "its name")])
    if known >= MOST:
        raise BadParameters(
            [Problem("name", values["name"], "is one group more than an account may have", f"up to {MOST}")]
        )
    row = {"account_id": account_id, "created_at": now_ms(), "permissions": [], "reach": {}, **values}
    id_: int = connection.execute(insert(groups).values(row).returning(groups.c.id)).scalar_one()
    return id_


def _values(changes: GroupChanges) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if changes.name is not UNSET:
        values["name"] = changes.name
    if changes.permissions is not UNSET:
        values["permissions"] = sorted(set(changes.permissions))
    if changes.reach is not UNSET:
        values["reach"] = msgspec.to_builtins(changes.reach)
    return values


def _refuse_taken(known: dict[int, GroupInfo], id_: int | None, name: str) -> None:
    for group in known.values():
        if group.id != id_ and group.name.casefold() == name.casefold():
            raise Conflict(f"there is already a group {group.name!r}")


def _roles(connection: Connection, account: Account) -> list[GroupInfo]:
    members: dict[str | None, list[str]] = defaultdict(list)
    query = select(users.c.role, users.c.email).where(users.c.account_id == account.id)
    for role, email in connection.execute(query):
        members[role].append(email)
    return [
        GroupInfo(
            id=None,
            name=group.name,
            permissions=group.permissions,
            reach=group.reach,
            members=tuple(sorted(members[role])),
            system=True,
        )
        for role in ROLES
        for group in role_groups(role, account.agents_see_own)
    ]


def _groups(connection: Connection, account_id: int) -> dict[int, GroupInfo]:
    """The groups of an account by id, in order of their names."""
    members: dict[int, list[str]] = defaultdict(list)
    query = (
        select(group_members.c.group_id, users.c.email)
        .join_from(group_members, users)
        .where(users.c.account_id == account_id)
    )
    for group_id, email in connection.execute(query):
        members[group_id].append(email)
    rows = connection.execute(
        select(groups.c.id, groups.c.name, groups.c.permissions, groups.c.reach).where(
            groups.c.account_id == account_id
        )
    )
    found: dict[int, GroupInfo] = {}
    for row in sorted(rows, key=lambda row: str(row.name)):
        group = custom_group(*row)
        found[row.id] = GroupInfo(
            id=row.id,
            name=group.name,
            permissions=group.permissions,
            reach=group.reach,
            members=tuple(sorted(members[row.id])),
            system=False,
        )
    return found


def _group(known: dict[int, GroupInfo], group: int | str) -> GroupInfo:
    return known[Refs("group", {id_: each.name for id_, each in known.items()}).id(group)]
