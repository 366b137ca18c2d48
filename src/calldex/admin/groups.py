"""`groups`: access groups, what they grant and who is in them."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

from calldex.access import Group, Reach
from calldex.access.guard import permit_group
from calldex.admin.verb import MANAGE_ACCESS, Call, Listing, Nothing, Paging, Verb, paged
from calldex.directory import GroupChanges, GroupInfo
from calldex.directory.model import refuse


class NewGroup(GroupChanges, frozen=True, kw_only=True):
    """A group to be added; without permissions it grants nothing, without a reach no records."""

    name: str


def list_groups(call: Call, paging: Paging) -> Listing[GroupInfo]:
    """List the groups.

    The system's come first: they are the roles, have no id, and nobody changes them.
    """
    return paged(call.directory.groups(call.actor.account), paging)


def create_group(call: Call, new: NewGroup) -> GroupInfo:
    """Add a group."""
    call.noted.target = new.name
    return _put(call, Group(id=None, name=new.name, permissions=(), reach=Reach()), new)


def show_group(call: Call, _: Nothing) -> GroupInfo:
    """Show a group that is not the system's."""
    group = call.directory.group(call.actor.account, call.reference("group"))
    call.noted.target = group.name
    return group


def change_group(call: Call, changes: GroupChanges) -> GroupInfo:
    """Change a group.

    What is not sent stays. It counts with the next request of everybody who is in the group.
    """
    group = _known(call)
    return _put(call, group, changes)


def remove_group(call: Call, _: Nothing) -> None:
    """Remove a group.

    Its members lose at once what it granted.
    """
    call.directory.remove_group(call.actor.account, _known(call).id or 0, guard=call.guard)


def _known(call: Call) -> Group:
    found = show_group(call, Nothing())
    group = Group(id=found.id, name=found.name, permissions=found.permissions, reach=found.reach)
    permit_group(call.actor, group)
    return group


def _put(call: Call, group: Group, changes: GroupChanges) -> GroupInfo:
    refuse(changes.problems())
    given = {name: value for name in group.__struct_fields__ if (value := getattr(changes, name, UNSET)) is not UNSET}
    permit_group(call.actor, msgspec.structs.replace(group, **given))
    return call.directory.put_group(call.actor.account, group.id, changes, guard=call.guard)


VERBS: Final = (
    Verb("GET", "/groups", list_groups, MANAGE_ACCESS),
    Verb("POST", "/groups", create_group, MANAGE_ACCESS, "group_added"),
    Verb("GET", "/groups/{id}", show_group, MANAGE_ACCESS),
    Verb("PATCH", "/groups/{id}", change_group, MANAGE_ACCESS, "group_changed"),
    Verb("DELETE", "/groups/{id}", remove_group, MANAGE_ACCESS, "group_removed"),
)
