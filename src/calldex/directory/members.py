"""Who is in which team, as an agent or as a supervisor, from when until when.

Leaving a team closes an interval, joining opens one; so it stays known in which teams somebody was when a call took
place.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from calldex.directory.tables import named, team_members, users
from calldex.records.record import Team

Member = tuple[int, int, bool]
"""User id, team id, whether as supervisor."""
Stay = tuple[int, int | None, Team]
"""From when, until when (excluded; None: still), in which team."""


def members_now(connection: Connection, account_id: int) -> set[Member]:
    """Who is in the teams of an account."""
    query = select(team_members.c.user_id, team_members.c.team_id, team_members.c.as_supervisor).where(
        team_members.c.account_id == account_id, team_members.c.until_ms.is_(None)
    )
    return {(user_id, team_id, as_supervisor) for user_id, team_id, as_supervisor in connection.execute(query)}


def join(connection: Connection, account_id: int, members: Iterable[Member], at_ms: int) -> None:
    """Let users join teams."""
    rows = [
        {
            "account_id": account_id,
            "user_id": user_id,
            "team_id": team_id,
            "as_supervisor": as_supervisor,
            "since_ms": at_ms,
        }
        for user_id, team_id, as_supervisor in sorted(members)
    ]
    if rows:
        connection.execute(insert(team_members), rows)


def leave(connection: Connection, members: Iterable[Member], at_ms: int) -> None:
    """Let users leave teams. A stay without length, as after two changes within a millisecond, was none."""
    rows = [
        {"user": user_id, "team": team_id, "supervises": as_supervisor, "at": at_ms}
        for user_id, team_id, as_supervisor in sorted(members)
    ]
    if not rows:
        return
    still = (
        team_members.c.user_id == bindparam("user"),
        team_members.c.team_id == bindparam("team"),
        team_members.c.as_supervisor == bindparam("supervises"),
        team_members.c.until_ms.is_(None),
    )
    connection.execute(delete(team_members).where(*still, team_members.c.since_ms >= bindparam("at")), rows)
    connection.execute(update(team_members).where(*still).values(until_ms=bindparam("at")), rows)


def stays(connection: Connection) -> dict[tuple[int, int], list[Stay]]:
    """The teams that agents were and are in, by account and agent id, in order of team ids."""
    query = (
        select(
            team_members.c.account_id,
            users.c.agent_id,
            team_members.c.since_ms,
            team_members.c.until_ms,
            team_members.c.team_id,
            named.c.name,
        )
        .join_from(team_members, users)
        .outerjoin(
            named,
            (named.c.account_id == team_members.c.account_id)
            & (named.c.kind == "team")
            & (named.c.id == team_members.c.team_id),
        )
        .where(~team_members.c.as_supervisor)
        .order_by(team_members.c.team_id, team_members.c.since_ms)
    )
    found: dict[tuple[int, int], list[Stay]] = {}
    for account_id, agent_id, since, until, team_id, name in connection.execute(query):
        found.setdefault((account_id, agent_id), []).append((since, until, Team(team_id, name or None)))
    return found
