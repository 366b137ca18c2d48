"""The accounts of an installation."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, insert, select, update

from calldex.directory.database import Part, now_ms
from calldex.directory.model import Account, handle_problem, refuse, sensitive_problem, timezone_problem
from calldex.directory.tables import accounts
from calldex.errors import Conflict, NotFound, suggest


class Accounts(Part):
    """Accounts by their names."""

    def accounts(self) -> list[Account]:
        """Every account, by name."""
        with self._db.read() as connection:
            return _accounts(connection)

    def account(self, name: str = "main") -> Account:
        """The account of that name; `NotFound` names those that exist."""
        with self._db.read() as connection:
            return find_account(connection, name)

    def add_account(self, name: str, timezone: str | None = None) -> Account:
        """Add an account; `Conflict` if there is one of that name."""
        refuse([*handle_problem("name", name), *timezone_problem(timezone)])
        with self._db.write() as connection:
            if any(account.name == name for account in _accounts(connection)):
                raise Conflict(f"there is already an account {name!r}")
            connection.execute(
                insert(accounts).values(
                    name=name, timezone=timezone, created_at=now_ms(), sensitive=[], agents_see_own=True
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
    ) -> Account:
        """Change an account; what is not given stays.

        `timezone` is the zone in which the days of those users are cut who have none of their own, `sensitive` lists
        the fields that only those see who may see sensitive ones, `agents_see_own` says whether the role agent grants
        anything.
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
        with self._db.write(access=True) as connection:
            account = find_account(connection, name)
            if values:
                connection.execute(update(accounts).where(accounts.c.id == account.id).values(values))
            return find_account(connection, name)


def find_account(connection: Connection, name: str) -> Account:
    """The account of that name; `NotFound` names those that exist."""
    known = {account.name: account for account in _accounts(connection)}
    if name not in known:
        raise NotFound(f"there is no account {name[:100]!r}{suggest(name, known)} Accounts: {', '.join(known)}")
    return known[name]


def _accounts(connection: Connection) -> list[Account]:
    columns = (accounts.c.id, accounts.c.name, accounts.c.timezone, accounts.c.sensitive, accounts.c.agents_see_own)
    found = (
        Account(id_, name, timezone, tuple(sensitive), agents_see_own)
        for id_, name, timezone, sensitive, agents_see_own in connection.execute(select(*columns))
    )
    return sorted(found, key=lambda account: account.name)
