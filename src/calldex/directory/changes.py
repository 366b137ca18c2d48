"""Changes of who may what: the way that every one of them takes.

Here alone it is seen to that an account keeps an admin, and that whoever asks for a change may act on everybody whom it
concerns: the last thing within the transaction, with what has become of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from sqlalchemy import Connection, select

from calldex.directory.accounts import find_account
from calldex.directory.database import Database
from calldex.directory.model import Account, Guard
from calldex.directory.principals import principals
from calldex.directory.tables import users
from calldex.errors import Conflict


class Change(msgspec.Struct):
    """A change in hand. `touched` takes the ids of the users whom it concerns although it may leave their rights as
    they are; those whose rights it changes are found."""

    connection: Connection
    account: Account
    touched: set[int] = msgspec.field(default_factory=set)


@contextmanager
def changing(database: Database, account: str, guard: Guard | None) -> Iterator[Change]:
    """A transaction that changes who may what in an account.

    Nothing is changed if the block raises, if the guard does, or if it took the account its last enabled admin:
    `Conflict`. One such transaction follows another, in every process (see `Database.write`), so that two of them
    cannot take one admin each.
    """
    with database.write(access=True) as connection:
        change = Change(connection, find_account(connection, account))
        of_account = users.c.account_id == change.account.id
        before = {} if guard is None else principals(connection, of_account)
        had_admin = _has_admin(change)
        yield change
        if had_admin and not _has_admin(change):
            raise Conflict(f"the account {account} would be left without an admin who is not disabled")
        if guard is None:
            return
        after = principals(connection, of_account)
        for user_id in sorted(before.keys() | after.keys()):
            was, becomes = before.get(user_id), after.get(user_id)
            if user_id in change.touched or was != becomes:
                for principal in dict.fromkeys((was, becomes)):
                    if principal is not None:
                        guard(principal)


def _has_admin(change: Change) -> bool:
    admins = select(users.c.id).where(
        users.c.account_id == change.account.id, users.c.role == "admin", users.c.disabled_at.is_(None)
    )
    return change.connection.execute(admins.limit(1)).first() is not None
