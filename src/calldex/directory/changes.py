"""Changes of who may what: the way that every one of them takes.

Here alone it is seen to that an account keeps an admin, and that whoever asks for a change may act on everybody whom it
concerns: the last thing within the transaction, with what has become of them. Of the users of an account only those are
read whom a change says it may concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from calldex.access import Group, Principal, Reach
from calldex.access.guard import Guard
from calldex.directory.database import Database
from calldex.directory.model import Account
from calldex.directory.principals import find_account, principals
from calldex.directory.tables import named, users
from calldex.errors import Conflict, Forbidden

_FEW: Final = 500
"""Up to so many users are asked for by their ids; for more, all of the account are read."""
_OWN_CALLS: Final = Group(id=None, name="their calls", permissions=("see_cdrs",), reach=Reach(own=True))
"""What those who see a team get to see when somebody becomes an agent of it."""


class Change(msgspec.Struct):
    """A change in hand."""

    connection: Connection
    account: Account
    guard: Guard | None
    _before: dict[int, Principal | None] = msgspec.field(default_factory=dict)
    _touched: set[int] = msgspec.field(default_factory=set)
    _moved: set[int] = msgspec.field(default_factory=set)

    def concerns(self, user_ids: Iterable[int]) -> None:
        """What follows may change the rights of these users: to be called before anything is written that decides
        about them. The guard sees those of them whose rights have become others."""
        new = set(user_ids) - self._before.keys()
        if self.guard is not None and new:
            found = self._principals(new)
            self._before |= {id_: found.get(id_) for id_ in new}

    def touches(self, user_ids: Iterable[int]) -> None:
        """Likewise; and the guard sees them even if their rights stay as they are."""
        touched = set(user_ids)
        self.concerns(touched)
        self._touched |= touched

    def adds(self, user_ids: Iterable[int]) -> None:
        """These users are new; the guard sees what they may."""
        new = set(user_ids)
        self._before |= dict.fromkeys(new)
        self._touched |= new

    def moves(self, user_ids: Iterable[int]) -> None:
        """Of these users, who are touched or added as well, the teams or the agent ids become others: so others get to
        see their calls, or do not any more. The guard sees who sees these calls, if there are any."""
        self._moved |= set(user_ids)

    def judge(self) -> None:
        """Show the guard everybody concerned, as they were and as they are."""
        if self.guard is None:
            return
        after = self._principals(self._before.keys())
        self._judge_moves(after)
        for user_id, was in sorted(self._before.items()):
            becomes = after.get(user_id)
            if user_id in self._touched or was != becomes:
                for principal in dict.fromkeys((was, becomes)):
                    if principal is not None:
                        self.guard(principal)

    def _judge_moves(self, after: dict[int, Principal]) -> None:
        if self.guard is None or not self._moved:
            return
        moved = [each for id_ in sorted(self._moved) for each in (self._before.get(id_), after.get(id_)) if each]
        ids = {principal.agent_id for principal in moved}
        query = select(named.c.id).where(
            named.c.account_id == self.account.id,
            named.c.kind == "agent",
            *([named.c.id.in_(ids)] if len(ids) <= _FEW else []),
        )
        # Those who are named, and those whose name was forgotten, but not their calls.
        called = set(self.connection.execute(query).scalars()) | self.guard.with_calls(ids)
        for principal in moved:
            if principal.agent_id in called:
                try:
                    self.guard(msgspec.structs.replace(principal, groups=(_OWN_CALLS,)))
                except Forbidden:
                    raise Forbidden(
                        f"whoever sees a team sees the calls of its agents, and those of {principal.email} are more"
                        " than you see"
                    ) from None

    def _principals(self, user_ids: Iterable[int]) -> dict[int, Principal]:
        wanted = set(user_ids)
        some = [users.c.id.in_(wanted)] if len(wanted) <= _FEW else []
        return principals(self.connection, users.c.account_id == self.account.id, *some)


@contextmanager
def changing(database: Database, account: str, guard: Guard | None) -> Iterator[Change]:
    """A transaction that changes who may what in an account.

    Nothing is changed if the block raises, if the guard does, or if it took the account its last enabled admin:
    `Conflict`. One such transaction follows another, in every process (see `Database.write`), so that two of them
    cannot take one admin each.
    """
    with database.write(access=True) as connection:
        change = Change(connection, find_account(connection, account), guard)
        had_admin = _has_admin(change)
        yield change
        if had_admin and not _has_admin(change):
            raise Conflict(f"the account {account} would have no active admin left")
        change.judge()


def _has_admin(change: Change) -> bool:
    admins = select(users.c.id).where(
        users.c.account_id == change.account.id, users.c.role == "admin", users.c.disabled_at.is_(None)
    )
    return change.connection.execute(admins.limit(1)).first() is not None
