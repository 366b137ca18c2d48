"""The one rule for every change of what others may.

Nobody hands out what they do not have, and nobody takes away what they could not have given: whoever changes a user, a
key, a team or a group may do everything, and see all, that those whom the change concerns may before it and after it.
What counts is what their groups give them: a key that may manage need not read as well.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final, Protocol, get_args

import msgspec

from calldex.access import PERMISSIONS, Group, KeyScope, Principal, Reach, outranks, permissions_of
from calldex.errors import Forbidden

_ALL_CALLS: Final = Group(id=None, name="all calls", permissions=("see_cdrs",), reach=Reach(whole=True))


class Guard(Protocol):
    """Whether somebody may act on users; asked within the transaction."""

    def __call__(self, other: Principal, /) -> None:
        """Raise what is wrong with it; then nothing is changed. Called with everybody whose rights or data are changed,
        as they were before and as they are after."""

    def with_calls(self, agent_ids: AbstractSet[int], /) -> AbstractSet[int]:
        """Those of these agents who have calls, as the records know it: names can be forgotten, records are not."""


class RightsGuard:
    """What the directory asks of everybody whom an actor's change concerns, as they were and as they become.
    `with_calls` tells which agents of an account records name."""

    def __init__(self, actor: Principal, with_calls: Callable[[int], AbstractSet[int]]) -> None:
        self._actor = _unnarrowed(actor)
        self._with_calls = with_calls

    def __call__(self, other: Principal, /) -> None:
        """`Forbidden` for whom the actor does not outrank."""
        if not outranks(self._actor, other):
            missing = _missing(self._actor, other)
            more = f"has permissions you lack: {missing}" if missing else "sees records beyond your reach"
            raise Forbidden(f"{other.email} {more}")

    def with_calls(self, agent_ids: AbstractSet[int], /) -> AbstractSet[int]:
        """Those of these agents whom records name; `StoreNotReady` while that cannot be told. All of them, for who sees
        all calls anyway."""
        if outranks(self._actor, msgspec.structs.replace(self._actor, groups=(_ALL_CALLS,))):
            return agent_ids
        return agent_ids & self._with_calls(self._actor.account_id)


def is_over(actor: Principal, other: Principal) -> bool:
    """Whether an actor's groups give them all that another may and sees."""
    return outranks(_unnarrowed(actor), other)


def permit_group(actor: Principal, group: Group) -> None:
    """Likewise of a group by itself: whoever is in it is asked about by the directory, but who gets into it later may
    be decided by others, and by the groups of an OpenID Connect provider."""
    # What one's own records and teams are is decided by who one is. A reach counts for who sees records by another one.
    reach = msgspec.structs.replace(group.reach, own=False, supervised=False)
    permissions = group.permissions if reach == Reach() else (*group.permissions, "see_cdrs")
    alone = msgspec.structs.replace(group, permissions=permissions, reach=reach)
    unnarrowed = _unnarrowed(actor)
    member = msgspec.structs.replace(unnarrowed, groups=(alone,))
    if not outranks(unnarrowed, member):
        missing = _missing(unnarrowed, member)
        more = f"permissions you lack: {missing}" if missing else "records beyond your reach"
        raise Forbidden(f"the group {group.name} grants {more}")


def _unnarrowed(actor: Principal) -> Principal:
    return msgspec.structs.replace(actor, scopes=get_args(KeyScope))


def _missing(actor: Principal, other: Principal) -> str:
    """The permissions that another has and an actor lacks."""
    missing = permissions_of(other) - permissions_of(actor)
    return ", ".join(permission for permission in PERMISSIONS if permission in missing)
