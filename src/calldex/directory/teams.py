"""The teams of an account: their queues, their agents, and who supervises them.

A team is also a name in the look-ups, of which records may tell as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from msgspec import UNSET
from sqlalchemy import Connection, bindparam, delete, insert, select

from calldex.access.guard import Guard
from calldex.clock import now_ms
from calldex.directory.changes import Change, changing
from calldex.directory.database import Database
from calldex.directory.lookups import Lookups, names_of, pin, unname
from calldex.directory.members import Member, join, leave, members_now, stays
from calldex.directory.model import MOST_TEAMS, Done, Imported, TeamChanges, TeamInfo, id_problem, refuse
from calldex.directory.people_csv import take_teams
from calldex.directory.principals import find_account
from calldex.directory.refs import Refs
from calldex.directory.snapshot import Snapshot
from calldex.directory.tables import team_queues, users
from calldex.errors import MOST_PROBLEMS, BadParameters, Conflict, Problem, suggest
from calldex.records.record import Team, stable_id

_Part = tuple[int, bool]
"""Team id, and whether it is about its supervisors, else about its agents."""


class Teams(Lookups):
    """Teams."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._stays = Snapshot(database, stays)

    def teams(self, account: str = "main") -> list[TeamInfo]:
        """The teams of an account, by name, then id."""
        with self._db.read() as connection:
            return list(_teams(connection, find_account(connection, account).id).values())

    def team(self, account: str, team: int | str) -> TeamInfo:
        """The team of that id or name; `NotFound` names the nearest, `Conflict` the ids of several of one name."""
        with self._db.read() as connection:
            return _team(_teams(connection, find_account(connection, account).id), team)

    def put_team(
        self, account: str, team: int | str | None, changes: TeamChanges, *, guard: Guard | None = None
    ) -> TeamInfo:
        """Change the team of that id or name, or add one: of None, with the id that records whose source has no ids
        give its name; or with an id that no team has yet.

        Agents are in it from now on, and those who are not listed any more until now. `BadParameters`; `NotFound` for a
        name that no team has; `Conflict` if what is to be added is there.
        """
        refuse(changes.problems())
        with changing(self._db, account, guard) as change:
            plan = TeamsPlan(self._db, change)
            id_, _ = plan.put(team, changes)
            plan.write()
            return _teams(change.connection, change.account.id)[id_]

    def remove_team(self, account: str, team: int | str, *, guard: Guard | None = None) -> TeamInfo:
        """Remove a team; nobody is in it from now on. Records of its time stay its records, and a record that names it
        makes it known again."""
        self.flush_seen()
        with changing(self._db, account, guard) as change:
            connection, account_id = change.connection, change.account.id
            found = _team(_teams(connection, account_id), team)
            id_ = found.id
            members = [member for member in members_now(connection, account_id) if member[1] == id_]
            change.touches(user_id for user_id, _, _ in members)
            change.moves(user_id for user_id, _, as_supervisor in members if not as_supervisor)
            leave(connection, members, now_ms())
            connection.execute(
                delete(team_queues).where(team_queues.c.account_id == account_id, team_queues.c.team_id == id_)
            )
            unname(connection, account_id, "team", id_)
        return found

    def import_teams(self, account: str, text: bytes, *, guard: Guard | None = None) -> Imported:
        """Add and change teams as a CSV file lists them (see `people_csv`); all of them, or none: `BadParameters` with
        everything that is wrong, by line."""
        with changing(self._db, account, guard) as change:
            plan = TeamsPlan(self._db, change)
            done = take_teams(text, plan.put_line)
            plan.write()
        return done

    def teams_at(self, account_id: int, agent_id: int, at_ms: int) -> tuple[Team, ...]:
        """The teams in which an agent was at a moment, by id. From memory: it is asked for every call."""
        found = self._stays.recent().get((account_id, agent_id), ())
        return tuple(team for since, until, team in found if since <= at_ms and (until is None or at_ms < until))


class TeamsPlan:
    """What is to become of teams: found out first and written at once, however many they are."""

    def __init__(self, database: Database, change: Change) -> None:
        connection, account_id = change.connection, change.account.id
        self._db = database
        self._change = change
        self._teams = Refs("team", names_of(connection, account_id, "team"))
        self._queues = Refs("queue", names_of(connection, account_id, "queue"))
        emails = select(users.c.id, users.c.email).where(users.c.account_id == account_id)
        self._emails = dict(connection.execute(emails).all())
        self._users = {email: id_ for id_, email in self._emails.items()}
        self._names: dict[int | str, str] = {}
        self._queues_now = _queues(connection, account_id)
        self._queues_then: dict[int, frozenset[int]] = {}
        self._members_now: dict[_Part, set[int]] = defaultdict(set)
        for user_id, team_id, as_supervisor in members_now(connection, account_id):
            self._members_now[team_id, as_supervisor].add(user_id)
        self._members_then: dict[_Part, frozenset[int]] = {}
        self._teams_of = Counter((user, part[1]) for part, members in self._members_now.items() for user in members)

    def put(self, team: int | str | None, changes: TeamChanges) -> tuple[int, Done]:
        """Plan what `Teams.put_team` says: the id of the team, and what becomes of it."""
        id_ = self._id(team, changes)
        new = id_ not in self._teams.names
        changed = new
        if changes.name is not UNSET:
            if any(other != id_ for other in self._teams.named(changes.name)):
                raise Conflict(f"there is already a team {changes.name!r}")
            changed |= self._teams.names.get(id_) != changes.name
            self._teams.set(id_, changes.name)
            self._names[id_] = changes.name
        if changes.queues is not UNSET:
            named = self._queues.ids("queues", (ref for ref in changes.queues if isinstance(ref, str)))
            queues = frozenset((*named, *(ref for ref in changes.queues if isinstance(ref, int))))
            changed |= queues != self._queues_now.get(id_, set())
            self._queues_then[id_] = queues
        if changes.agents is not UNSET:
            changed |= self._set_members("agents", (id_, False), changes.agents)
        if changes.supervisors is not UNSET:
            changed |= self._set_members("supervisors", (id_, True), changes.supervisors)
        return id_, "added" if new else "changed" if changed else "unchanged"

    def put_line(self, id_: int | None, changes: TeamChanges) -> Done:
        """Plan what a line of a file says: without an id it means the team of its name, if there is one."""
        if id_ is None and changes.name is not UNSET and self._teams.named(changes.name):
            return self.put(changes.name, changes)[1]
        return self.put(id_, changes)[1]

    def _id(self, team: int | str | None, changes: TeamChanges) -> int:
        if isinstance(team, str) or team in self._teams.names:
            return self._teams.id(team)
        if changes.name is UNSET:
            raise BadParameters([Problem("name", "", "is needed for a new team", "its name")])
        if team is not None:
            refuse(id_problem("id", team))
            return team
        id_ = stable_id("team", changes.name)
        if id_ in self._teams.names:
            raise Conflict(f"there is already a team {self._teams.names[id_] or id_!r} with the id {id_}")
        return id_

    def _set_members(self, parameter: str, part: _Part, emails: Iterable[str]) -> bool:
        """Plan who is in a team; whether that is a change."""
        problems: list[Problem] = []
        members: set[int] = set()
        for email in emails:
            if len(problems) >= MOST_PROBLEMS:
                break
            user_id = self._users.get(email.lower())
            if user_id is None:
                message = f"there is no such user{suggest(email, self._users)}"
                problems.append(Problem(parameter, email[:100], message, "e-mail addresses of users of the account"))
            else:
                members.add(user_id)
        before = self._members_then.get(part, self._members_now.get(part, set()))
        for user_id in before - members:
            self._teams_of[user_id, part[1]] -= 1
        for user_id in members - before:
            self._teams_of[user_id, part[1]] += 1
            if self._teams_of[user_id, part[1]] > MOST_TEAMS:
                problems.append(
                    Problem(
                        parameter, self._emails[user_id], "is in the most teams that a user can be in already", "fewer"
                    )
                )
        refuse(problems)
        self._members_then[part] = frozenset(members)
        return members != before

    def write(self) -> None:
        """Write what was planned."""
        connection, account_id = self._change.connection, self._change.account.id
        gone = {(id_, queue) for id_, then in self._queues_then.items() for queue in self._queue_ids(id_) - then}
        new = {(id_, queue) for id_, then in self._queues_then.items() for queue in then - self._queue_ids(id_)}
        joined: set[Member] = set()
        left: set[Member] = set()
        for (team_id, as_supervisor), then in self._members_then.items():
            now = self._members_now.get((team_id, as_supervisor), set())
            joined |= {(user_id, team_id, as_supervisor) for user_id in then - now}
            left |= {(user_id, team_id, as_supervisor) for user_id in now - then}
        for team_id, _ in gone | new:
            self._change.concerns(self._members_now.get((team_id, True), ()))
        self._change.touches(user_id for user_id, _, _ in joined | left)
        self._change.moves(user_id for user_id, _, as_supervisor in joined | left if not as_supervisor)
        pin(self._db, connection, account_id, "team", self._names)
        _change_queues(connection, account_id, gone, new)
        at = now_ms()
        leave(connection, left, at)
        join(connection, account_id, joined, at)

    def _queue_ids(self, team_id: int) -> set[int]:
        return self._queues_now.get(team_id, set())


def _change_queues(
    connection: Connection, account_id: int, gone: set[tuple[int, int]], new: set[tuple[int, int]]
) -> None:
    if gone:
        matches = (
            team_queues.c.account_id == account_id,
            team_queues.c.team_id == bindparam("team"),
            team_queues.c.queue_id == bindparam("queue"),
        )
        connection.execute(delete(team_queues).where(*matches), [{"team": t, "queue": q} for t, q in sorted(gone)])
    if new:
        rows = [{"account_id": account_id, "team_id": team, "queue_id": queue} for team, queue in sorted(new)]
        connection.execute(insert(team_queues), rows)


def _queues(connection: Connection, account_id: int) -> dict[int, set[int]]:
    query = select(team_queues.c.team_id, team_queues.c.queue_id).where(team_queues.c.account_id == account_id)
    found: dict[int, set[int]] = defaultdict(set)
    for team_id, queue_id in connection.execute(query):
        found[team_id].add(queue_id)
    return dict(found)


def _teams(connection: Connection, account_id: int) -> dict[int, TeamInfo]:
    """The teams of an account by id, in order of their names."""
    queues = _queues(connection, account_id)
    emails = select(users.c.id, users.c.email).where(users.c.account_id == account_id)
    email_of = dict(connection.execute(emails).all())
    members: dict[_Part, list[str]] = defaultdict(list)
    for user_id, team_id, as_supervisor in members_now(connection, account_id):
        members[team_id, as_supervisor].append(email_of[user_id])
    names = names_of(connection, account_id, "team")
    found = [
        TeamInfo(
            id=id_,
            name=name or str(id_),
            queues=tuple(sorted(queues.get(id_, ()))),
            agents=tuple(sorted(members.get((id_, False), ()))),
            supervisors=tuple(sorted(members.get((id_, True), ()))),
        )
        for id_, name in names.items()
    ]
    return {team.id: team for team in sorted(found, key=lambda team: (team.name, team.id))}


def _team(teams: Mapping[int, TeamInfo], team: int | str) -> TeamInfo:
    return teams[Refs("team", {each.id: each.name for each in teams.values()}).id(team)]
