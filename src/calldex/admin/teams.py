"""`teams`: what they are called, their queues, their agents, and who supervises them."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from calldex.admin.verb import MANAGE_USERS, Call, Id, Listing, Nothing, Paging, Verb, note_changes, paged
from calldex.directory import Imported, TeamChanges, TeamInfo
from calldex.errors import Conflict


class NewTeam(TeamChanges, frozen=True, kw_only=True):
    """A team to be added, with the id that the phone system gives it, if it gives one; `agents` and `supervisors` are
    e-mail addresses."""

    name: str
    id: Id | UnsetType = UNSET


def list_teams(call: Call, paging: Paging) -> Listing[TeamInfo]:
    """List the teams, by name."""
    return paged(call.directory.teams(call.actor.account), paging)


def create_team(call: Call, new: NewTeam) -> TeamInfo:
    """Add a team.

    Without `id` it gets the id under which records have a team of this name, if their source knows names alone.
    """
    call.noted.target = new.name
    if new.id is not UNSET and any(team.id == new.id for team in call.directory.teams(call.actor.account)):
        raise Conflict(f"there is already a team with the id {new.id}")
    wanted = None if new.id is UNSET else new.id
    return call.directory.put_team(call.actor.account, wanted, new, guard=call.guard)


def show_team(call: Call, _: Nothing) -> TeamInfo:
    """Show a team."""
    team = call.directory.team(call.actor.account, call.reference("team"))
    call.noted.target = team.name
    return team


def change_team(call: Call, changes: TeamChanges) -> TeamInfo:
    """Change a team.

    What is not sent stays; a list that is sent replaces the old one. A new agent's calls are the team's from now on,
    until the agent leaves.
    """
    id_ = show_team(call, Nothing()).id
    return call.directory.put_team(call.actor.account, id_, changes, guard=call.guard)


def remove_team(call: Call, _: Nothing) -> None:
    """Remove a team.

    Its records are kept, and still name it.
    """
    call.directory.remove_team(call.actor.account, show_team(call, Nothing()).id, guard=call.guard)


def import_teams(call: Call, csv: bytes) -> Imported:
    """Add and change teams as a CSV file lists them.

    All of them or, if a line is wrong, none; `problems` tells of each wrong line what is wrong with it.
    """
    done = call.directory.import_teams(call.actor.account, csv, guard=call.guard)
    note_changes(call, done)
    return done


VERBS: Final = (
    Verb("GET", "/teams", list_teams, MANAGE_USERS),
    Verb("POST", "/teams", create_team, MANAGE_USERS, "team_added"),
    Verb("POST", "/teams/import", import_teams, MANAGE_USERS, "team_changed"),
    Verb("GET", "/teams/{id}", show_team, MANAGE_USERS),
    Verb("PATCH", "/teams/{id}", change_team, MANAGE_USERS, "team_changed"),
    Verb("DELETE", "/teams/{id}", remove_team, MANAGE_USERS, "team_removed"),
)
