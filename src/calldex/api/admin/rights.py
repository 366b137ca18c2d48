"""The one rule for every change of what others may.

Nobody hands out what he does not have, and nobody takes away what he could not have given: whoever changes a user, a
key, a team or a group may do everything, and see all, that those whom the change concerns may before it and after it.
What counts is what his groups give him: a key that may manage need not read as well.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final, get_args

import msgspec

from calldex.access import PERMISSIONS, Group, KeyScope, Principal, Reach, outranks, permissions_of
from calldex.api.admin.endpoint import Call
from calldex.directory import Guard
from calldex.errors import Forbidden
from calldex.node import Node
from calldex.search.reader import agents_with_calls

_ALL_CALLS: Final = Group(id=None, name="all calls", permissions=("see_cdrs",), reach=Reach(whole=True))


class RightsGuard:
    """What the directory asks of everybody whom an actor's change concerns, as they were and as they become."""

    def __init__(self, actor: Principal, node: Node) -> None:
        self._actor = _unnarrowed(actor)
        self._node = node

    def __call__(self, other: Principal) -> None:
        """`Forbidden` for whom the actor does not outrank."""
        if not outranks(self._actor, other):
            raise Forbidden(f"{other.email} may more than you: {_excess(self._actor, other)}")

    def with_calls(self, agent_ids: AbstractSet[int]) -> AbstractSet[int]:
        """Those of these agents whom records name; `StoreNotReady` while that cannot be told. All of them, for who sees
        all calls anyway."""
        if outranks(self._actor, msgspec.structs.replace(self._actor, groups=(_ALL_CALLS,))):
            return agent_ids
        return agent_ids & agents_with_calls(self._node.store, self._actor.account_id)


def guard_of(call: Call) -> Guard:
    """The guard of what a request changes."""
    return RightsGuard(call.actor, call.node)


def permit_group(actor: Principal, group: Group) -> None:
    """Likewise of a group by itself: whoever is in it is asked about by the directory, but who gets into it later may
    be decided by others, and by the groups of an OpenID Connect provider."""
    # What one's own records and teams are is decided by who one is. A reach counts for who sees records by another one.
    reach = msgspec.structs.replace(group.reach, own=False, supervised=False)
    permissions = group.permissions if reach == Reach() else (*group.permissions, "see_cdrs")
    alone = msgspec.structs.replace(group, permissions=permissions, reach=reach)
    himself = _unnarrowed(actor)
    member = msgspec.structs.replace(himself, groups=(alone,))
    if not outranks(himself, member):
        raise Forbidden(f"the group {group.name} grants more than you have: {_excess(himself, member)}")


def _unnarrowed(actor: Principal) -> Principal:
    return msgspec.structs.replace(actor, scopes=get_args(KeyScope))


def _excess(actor: Principal, other: Principal) -> str:
    missing = permissions_of(other) - permissions_of(actor)
    return ", ".join(permission for permission in PERMISSIONS if permission in missing) or "records beyond your reach"
