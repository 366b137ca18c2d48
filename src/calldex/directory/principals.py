"""Principals as the directory knows them: users with all that decides what they may.

The only way from rows to `access.Principal`: for keys, for sessions, for questions about somebody's rights, and for the
guards of changes. A handful of queries for any number of users.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, func, select

from calldex.access import ROLES, Group, Principal, Reach, Role
from calldex.directory.tables import accounts, group_members, groups, team_members, team_queues, users

effective_timezone: Final = func.coalesce(users.c.timezone, accounts.c.timezone, "UTC")


def principals(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, Principal]:
    """The users that fulfil conditions on `users` and `accounts`, the disabled ones as well, by user id.

    With all scopes and without a `credential`; who came with a key or a session replaces these.
    """
    in_groups = _custom_groups(connection, *conditions)
    supervised: dict[int, list[int]] = defaultdict(list)
    leads = (
        select(team_members.c.user_id, team_members.c.team_id)
        .join_from(team_members, users)
        .join(accounts, accounts.c.id == users.c.account_id)
        .where(team_members.c.as_supervisor, team_members.c.until_ms.is_(None), *conditions)
    )
    for user_id, team_id in connection.execute(leads):
        supervised[user_id].append(team_id)
    queues: dict[tuple[int, int], list[int]] = defaultdict(list)
    if supervised:
        for account_id, team_id, queue_id in connection.execute(select(team_queues)):
            queues[account_id, team_id].append(queue_id)
    found = {}
    query = select(
        users.c.id.label("user_id"),
        users.c.email,
        users.c.role,
        users.c.agent_id,
        users.c.account_id,
        accounts.c.name.label("account"),
        accounts.c.sensitive,
        accounts.c.agents_see_own,
        effective_timezone.label("timezone"),
    )
    for row in connection.execute(query.join_from(users, accounts).where(*conditions)):
        teams = sorted(supervised.get(row.user_id, ()))
        found[row.user_id] = Principal(
            account_id=row.account_id,
            account=row.account,
            user_id=row.user_id,
            email=row.email,
            agent_id=row.agent_id,
            timezone=row.timezone,
            groups=(*role_groups(row.role, row.agents_see_own), *in_groups.get(row.user_id, ())),
            supervised_teams=tuple(teams),
            supervised_queues=tuple(sorted({id_ for team in teams for id_ in queues.get((row.account_id, team), ())})),
            sensitive=tuple(row.sensitive),
            credential="",
        )
    return found


def role_groups(role: Role | None, agents_see_own: bool) -> tuple[Group, ...]:
    """The group that a role is in its account."""
    if role is None:
        return ()
    group = ROLES[role]
    if role == "agent" and not agents_see_own:
        group = msgspec.structs.replace(group, permissions=(), reach=Reach())
    return (group,)


def custom_group(id_: int, name: str, permissions: object, reach: object) -> Group:
    """A group from its row."""
    return msgspec.convert({"id": id_, "name": name, "permissions": permissions, "reach": reach}, Group)


def _custom_groups(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, list[Group]]:
    """The groups that users are in beside their roles, by name."""
    members = (
        select(group_members.c.user_id, group_members.c.group_id)
        .join_from(group_members, users)
        .join(accounts, accounts.c.id == users.c.account_id)
        .where(*conditions)
    )
    groups_of: dict[int, list[int]] = defaultdict(list)
    for user_id, group_id in connection.execute(members):
        groups_of[user_id].append(group_id)
    if not groups_of:
        return {}
    query = select(groups.c.id, groups.c.name, groups.c.permissions, groups.c.reach)
    known = {row.id: custom_group(*row) for row in connection.execute(query)}
    return {
        user_id: sorted((known[id_] for id_ in ids), key=lambda group: group.name) for user_id, ids in groups_of.items()
    }
