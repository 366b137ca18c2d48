"""Principals as the directory knows them: users with all that decides what they may, and the accounts they are of.

The only way from rows to `access.Principal`: for keys, for sessions, for questions about somebody's rights, and for the
guards of changes. A handful of queries for any number of users.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, func, select

from calldex.access import ROLES, Group, Principal, Reach, Role
from calldex.access.guard import Guard
from calldex.directory.model import Account
from calldex.directory.tables import accounts, group_members, groups, team_members, team_queues, users
from calldex.errors import NotFound, suggest

effective_timezone: Final = func.coalesce(users.c.timezone, accounts.c.timezone, "UTC")


def principals(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, Principal]:
    """The users that fulfil conditions on `users`, the disabled ones as well, by user id.

    With all scopes and without a `credential`; who came with a key or a session replaces these.
    """
    in_groups = _custom_groups(connection, *conditions)
    supervised: dict[int, list[int]] = defaultdict(list)
    leads = (
        select(team_members.c.user_id, team_members.c.team_id)
        .join_from(team_members, users)
        .where(team_members.c.as_supervisor, team_members.c.until_ms.is_(None), *conditions)
    )
    for user_id, team_id in connection.execute(leads):
        supervised[user_id].append(team_id)
    queues: dict[tuple[int, int], list[int]] = defaultdict(list)
    if supervised:
        for account_id, team_id, queue_id in connection.execute(select(team_queues)):
            queues[account_id, team_id].append(queue_id)
    account_of = {account.id: account for account in read_accounts(connection)}
    found = {}
    query = select(users.c.id, users.c.email, users.c.role, users.c.agent_id, users.c.account_id, users.c.timezone)
    for user_id, email, role, agent_id, account_id, timezone in connection.execute(query.where(*conditions)):
        account = account_of[account_id]
        teams = sorted(supervised.get(user_id, ()))
        found[user_id] = Principal(
            account_id=account_id,
            account=account.name,
            user_id=user_id,
            email=email,
            agent_id=agent_id,
            timezone=timezone or account.timezone or "UTC",
            groups=(*role_groups(role, account.agents_see_own), *in_groups.get(user_id, ())),
            supervised_teams=tuple(teams),
            supervised_queues=tuple(sorted({id_ for team in teams for id_ in queues.get((account_id, team), ())})),
            sensitive=account.sensitive,
            vocabulary=account.vocabulary,
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
        select(group_members.c.user_id, group_members.c.group_id).join_from(group_members, users).where(*conditions)
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


def ask_guard(guard: Guard | None, connection: Connection, *conditions: ColumnElement[bool]) -> None:
    """Let the guard, if there is one, see the users that fulfil conditions on `users`: of whom something is changed
    that leaves their rights as they are."""
    if guard is not None:
        for principal in principals(connection, *conditions).values():
            guard(principal)


def find_account(connection: Connection, name: str) -> Account:
    """The account of that name; `NotFound` names those that exist."""
    known = {account.name: account for account in read_accounts(connection)}
    if name not in known:
        raise NotFound(f"there is no account {name[:100]!r}{suggest(name, known)} Accounts: {', '.join(sorted(known))}")
    return known[name]


def read_accounts(connection: Connection) -> list[Account]:
    """Every account."""
    columns = [accounts.c[name] for name in Account.__struct_fields__]
    return [
        Account(**row._asdict() | {"sensitive": tuple(row.sensitive)}) for row in connection.execute(select(*columns))
    ]
