"""`users`: the people and phones of the account, with their roles, groups and teams, and what each of them may see."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import Explanation, Role, explain, permit
from calldex.admin.verb import (
    EITHER,
    MANAGE_ACCESS,
    MANAGE_USERS,
    Call,
    Id,
    Listing,
    Nothing,
    Paging,
    Verb,
    note_changes,
    paged,
)
from calldex.directory import Directory, Imported, User, UserChanges
from calldex.errors import BadParameters, NotFound, Problem
from calldex.records.record import from_ms, plain_uuid

_Part = Annotated[str, msgspec.Meta(description="A part of it; letter case does not count.")]
_Group = Annotated[str, msgspec.Meta(description="The name of a group they are in beside their role.")]
_Team = Annotated[Id, msgspec.Meta(description="The id of a team in which they are an agent.")]
_YesNo = Annotated[Literal["true", "false"], msgspec.Meta(description="Whether they are disabled: true or false.")]


class UserList(Paging, frozen=True, kw_only=True):
    """Which users: those that fit everything that is given."""

    name: _Part | UnsetType = UNSET
    email: _Part | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    group: _Group | UnsetType = UNSET
    team: _Team | UnsetType = UNSET
    disabled: _YesNo | UnsetType = UNSET

    def fits(self, user: User) -> bool:
        """Whether a user is one of them."""
        return (
            (self.name is UNSET or self.name.casefold() in user.name.casefold())
            and (self.email is UNSET or self.email.casefold() in user.email.casefold())
            and self.role in (UNSET, user.role)
            and (self.group is UNSET or self.group in user.groups)
            and (self.team is UNSET or self.team in user.teams)
            and (self.disabled is UNSET or (self.disabled == "true") == (user.disabled_at is not None))
        )


class NewUser(UserChanges, frozen=True, kw_only=True):
    """A user to be added; without role and groups they may do nothing. `groups` are names, `teams` and `supervises` ids
    or names. Without `agent_id` they get the id under which records name an agent of their name."""

    email: str
    name: str


class ShownUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `agent_id` is the id under which they appear in records; `timezone` their own, `effective_timezone` that
    in which their days are cut; `groups` the names of those they are in beside their role."""

    id: int
    account: str
    email: str
    name: str
    role: Role | None
    groups: tuple[str, ...]
    teams: tuple[int, ...]
    supervises: tuple[int, ...]
    disabled: bool
    timezone: str | None
    effective_timezone: str
    extension: str | None
    sip_account: str | None
    caller_id: str | None
    skills: tuple[str, ...]
    agent_id: int
    created_at: datetime
    disabled_at: datetime | None


class Explained(msgspec.Struct, frozen=True):
    """Of which record it is asked whether they see it, if of one."""

    record: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})] | UnsetType = UNSET


def list_users(call: Call, wanted: UserList) -> Listing[ShownUser]:
    """List the users who fit every parameter, by e-mail address."""
    return paged([_shown(user) for user in call.directory.users(call.actor.account) if wanted.fits(user)], wanted)


def create_user(call: Call, new: NewUser) -> ShownUser:
    """Add a user.

    With a role or groups it needs `manage_access` as well.
    """
    call.noted.target = new.email.lower()
    if new.role or new.groups:
        permit(call.actor, MANAGE_ACCESS)
    given = {name: value for name in new.__struct_fields__ if (value := getattr(new, name)) is not UNSET}
    return _shown(call.directory.add_user(**given, account=call.actor.account, guard=call.guard))


def import_users(call: Call, csv: bytes) -> Imported:
    """Add and change users as a CSV file lists them.

    All of them or, if a line is wrong, none; `problems` tells of each wrong line what is wrong with it. It needs
    `manage_access` as well.
    """
    permit(call.actor, MANAGE_ACCESS)
    done = call.directory.import_users(call.actor.account, csv, guard=call.guard)
    note_changes(call, done)
    return done


def show_user(call: Call, _: Nothing) -> ShownUser:
    """Show a user."""
    return _shown(found_user(call))


def change_user(call: Call, changes: UserChanges) -> ShownUser:
    """Change a user.

    What is not sent stays, null takes away, each list replaces the one there was. To change the role or the groups it
    needs `manage_access` as well. It counts with their next request.
    """
    email = found_user(call).email
    if changes.role is not UNSET or changes.groups is not UNSET:
        permit(call.actor, MANAGE_ACCESS)
    return _shown(call.directory.change_user(email, changes, guard=call.guard))


def remove_user(call: Call, _: Nothing) -> None:
    """Remove a user, with their keys and sessions.

    Their records stay, and so does their name in the look-ups.
    """
    call.directory.remove_user(found_user(call).email, guard=call.guard)


def explain_access(call: Call, asked: Explained) -> Explanation:
    """Explain what a user sees and may do, and by which groups; of a record, why they see it or why not.

    This is what the groups grant; a key of the user may have less. `record` needs `see_cdrs` as well, and 404 is the
    answer for a record that you do not see yourself.
    """
    record = None if asked.record is UNSET else call.node.record(call.actor, _uuid(asked.record))
    return explain(call.directory.principal(found_user(call).email), record)


def found_user(call: Call) -> User:
    """The user in the address, who is noted as the target; `NotFound` if there is none of the account."""
    if call.by_name and not call.subject.isdecimal():
        user = call.directory.user(call.subject)
        if user.account != call.actor.account:
            raise NotFound(f"there is no user {call.subject[:200]!r} in the account {call.actor.account}")
    else:
        user = call.directory.user_of_id(call.actor.account, call.id("user"))
    call.noted.target = user.email
    return user


def _uuid(text: str) -> str:
    uuid = plain_uuid(text)
    if uuid is None:
        raise BadParameters([Problem("record", text[:100], "is not a uuid", "the uuid of a record")])
    return uuid


def _shown(user: User) -> ShownUser:
    made = ("disabled", "created_at", "disabled_at")
    return ShownUser(
        disabled=user.disabled_at is not None,
        created_at=from_ms(user.created_at),
        disabled_at=None if user.disabled_at is None else from_ms(user.disabled_at),
        **{name: getattr(user, name) for name in ShownUser.__struct_fields__ if name not in made},
    )


def home_of_user(directory: Directory, email: str) -> str:
    """The account of the user of an e-mail address."""
    return directory.user(email).account


VERBS: Final = (
    Verb("GET", "/users", list_users, EITHER),
    Verb("POST", "/users", create_user, MANAGE_USERS, "user_added"),
    Verb("POST", "/users/import", import_users, MANAGE_USERS, "user_changed"),
    Verb("GET", "/users/{id}", show_user, EITHER, home=home_of_user),
    Verb("PATCH", "/users/{id}", change_user, MANAGE_USERS, "user_changed", home=home_of_user),
    Verb("DELETE", "/users/{id}", remove_user, MANAGE_USERS, "user_removed", home=home_of_user),
    Verb("GET", "/users/{id}/access", explain_access, EITHER, home=home_of_user),
)
