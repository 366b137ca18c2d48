"""The accounts of an installation."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from sqlalchemy import insert, select, update

from calldex.access.guard import Guard
from calldex.clock import now_ms
from calldex.directory.changes import changing
from calldex.directory.database import Repository
from calldex.directory.model import (
    Account,
    handle_problem,
    refuse,
    sensitive_problem,
    timezone_problem,
    vocabulary_problem,
)
from calldex.directory.principals import find_account, read_accounts
from calldex.directory.tables import accounts, users
from calldex.errors import Conflict


class Accounts(Repository):
    """Accounts by their names."""

    def accounts(self) -> list[Account]:
        """Every account, by name."""
        with self._db.read() as connection:
            return sorted(read_accounts(connection), key=lambda account: account.name)

    def account(self, name: str = "main") -> Account:
        """The account of that name; `NotFound` names those that exist."""
        with self._db.read() as connection:
            return find_account(connection, name)

    def add_account(self, name: str, timezone: str | None = None) -> Account:
        """Add an account; `Conflict` if there is one of that name."""
        refuse([*handle_problem("name", name), *timezone_problem(timezone)])
        with self._db.write() as connection:
            if any(account.name == name for account in read_accounts(connection)):
                raise Conflict(f"there is already an account {name!r}")
            connection.execute(
                insert(accounts).values(
                    name=name,
                    timezone=timezone,
                    created_at=now_ms(),
                    sensitive=[],
                    agents_see_own=True,
                    vocabulary="documented",
                )
            )
            return find_account(connection, name)

    def set_account(
        self,
        name: str,
        *,
        timezone: str | UnsetType | None = UNSET,
        sensitive: tuple[str, ...] | UnsetType = UNSET,
        agents_see_own: bool | UnsetType = UNSET,
        vocabulary: str | UnsetType = UNSET,
        guard: Guard | None = None,
    ) -> Account:
        """Change an account; what is not given stays.

        `timezone` is the zone in which the days of those users are cut who have none of their own, `sensitive` lists
        the fields that only those see who may see sensitive ones, `agents_see_own` says whether the role agent grants
        anything, `vocabulary` which words replies have whose key has no vocabulary of its own.
        """
        values: dict[str, object] = {}
        if timezone is not UNSET:
            refuse(timezone_problem(timezone))
            values["timezone"] = timezone
        if sensitive is not UNSET:
            refuse(sensitive_problem(sensitive))
            values["sensitive"] = sorted(set(sensitive))
        if agents_see_own is not UNSET:
            values["agents_see_own"] = agents_see_own
        if vocabulary is not UNSET:
            refuse(vocabulary_problem(vocabulary))
            values["vocabulary"] = vocabulary
        with changing(self._db, name, guard) as change:
            connection, account = change.connection, change.account
            if agents_see_own not in (UNSET, account.agents_see_own):
                agents = select(users.c.id).where(users.c.account_id == account.id, users.c.role == "agent")
                change.concerns(connection.execute(agents).scalars())
            if values:
                connection.execute(update(accounts).where(accounts.c.id == account.id).values(values))
            return find_account(connection, name)
