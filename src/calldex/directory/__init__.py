"""The directory: who there is and what they may, what things are called, and where records come from.

Beside the way of a record: ingest notes names here and reads the sources, the API asks whose a key is and serves the
look-ups. Records themselves never come here. One SQLite database, or PostgreSQL for several nodes; safe to use from
several threads, and from several processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import URL, Engine, create_engine, exists, select
from sqlalchemy.pool import StaticPool

from calldex.directory import tables
from calldex.directory.accounts import Accounts
from calldex.directory.audit import Audit, AuditFilter, AuditWriter
from calldex.directory.buckets import Buckets
from calldex.directory.commits import DirectoryCommits
from calldex.directory.copying import Copying
from calldex.directory.database import Database, looking, postgresql_engine, sqlite_engine
from calldex.directory.exports import Export, Exports, Maker, maker_of
from calldex.directory.groups import Groups
from calldex.directory.keys import Keys
from calldex.directory.ledgers import Ledgers
from calldex.directory.marks import Marks, MissedMark
from calldex.directory.model import (
    Account,
    GroupChanges,
    GroupInfo,
    Imported,
    Key,
    KeyOwner,
    ListedUser,
    Named,
    NameEntry,
    Seen,
    Source,
    TeamChanges,
    TeamInfo,
    User,
    UserChanges,
    UserFilter,
    WrapupCode,
)
from calldex.directory.openid import Openid, OpenidClient, OpenidProviders
from calldex.directory.people import People
from calldex.directory.schedules import Schedule, Schedules
from calldex.directory.sealing import SEALING_FILE, SealedSecrets
from calldex.directory.sessions import Client, Device, Session, SessionOwner, SignedIn
from calldex.directory.signin import Signin
from calldex.directory.sources import Sources
from calldex.directory.teams import Teams
from calldex.directory.views import SavedView, Views
from calldex.records.record import NamedKind

__all__ = [
    "Account",
    "AuditFilter",
    "AuditWriter",
    "Client",
    "Device",
    "Directory",
    "Export",
    "GroupChanges",
    "GroupInfo",
    "Imported",
    "Key",
    "KeyOwner",
    "ListedUser",
    "Maker",
    "MissedMark",
    "NameEntry",
    "Named",
    "NamedKind",
    "Openid",
    "OpenidClient",
    "SavedView",
    "Schedule",
    "Seen",
    "Session",
    "SessionOwner",
    "SignedIn",
    "Source",
    "TeamChanges",
    "TeamInfo",
    "User",
    "UserChanges",
    "UserFilter",
    "WrapupCode",
    "maker_of",
]


class Directory(
    Accounts,
    People,
    Groups,
    Keys,
    Teams,
    Sources,
    Signin,
    OpenidProviders,
    Audit,
    Ledgers,
    Exports,
    Schedules,
    Buckets,
    Marks,
    Views,
):
    """The directory database, opened and brought to this version.

    `WrongVersion` if a newer Calldex wrote it, `UnreadableInput` if it is not one.
    """

    def __init__(self, engine: Engine, sealing: Path, *, migrate: bool = True) -> None:
        """`sealing` is the file of the key to others' secrets, made when it is first needed."""
        super().__init__(Database(engine, migrate=migrate))
        self._sealing = SealedSecrets(sealing)
        if migrate:
            self.seal_openid()

    @classmethod
    def open(cls, path: Path, *, migrate: bool = True) -> Self:
        """The directory in an SQLite file, which is made if there is none, with the key to others' secrets beside it.
        Without `migrate` it must be of this version: `WrongVersion`."""
        return cls(sqlite_engine(path), path.with_name(SEALING_FILE), migrate=migrate)

    @classmethod
    @contextmanager
    def look(cls, path: Path) -> Iterator[Self]:
        """The directory in an SQLite file that nobody has open, and that is read alone; `WrongVersion` if it is not of
        this version, `UnreadableInput`."""
        with looking(path) as connection:
            engine = create_engine(
                URL.create("sqlite", database=str(path)), creator=lambda: connection, poolclass=StaticPool
            )
            directory = cls(engine, path.with_name(SEALING_FILE), migrate=False)
            yield directory

    @classmethod
    def shared(cls, address: str, sealing: Path, *, migrate: bool = True) -> Self:
        """The directory in a PostgreSQL database that several nodes may share, each with the key to others' secrets in
        a file; see `database.postgresql_engine`. Without `migrate` it must be of this version: `WrongVersion`."""
        return cls(postgresql_engine(address), sealing, migrate=migrate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is still in memory, and close the database."""
        try:
            self.flush_seen()
            self.flush_touches()
            self.flush_sessions()
        finally:
            self._db.close()

    @property
    def name(self) -> str:
        """What its database is called in messages."""
        return self._db.name or ""

    def secret(self, name: str, size: int) -> bytes:
        """The secret of that name: `size` random bytes, made when first asked for and the same ever after."""
        return self._db.secret(name, size)

    def reserve(self) -> None:
        """See `Database.reserve`."""
        self._db.reserve()

    def commits(self) -> DirectoryCommits:
        """What counts the commits of a store of several nodes."""
        return DirectoryCommits(self._db)

    def copying(self) -> Copying:
        """What fills it from a data directory."""
        return Copying(self._db)

    def answers(self) -> None:
        """Return if the database can be read and written now; `Unavailable` if not."""
        self._db.answers()

    def check(self) -> list[str]:
        """What is wrong with the database, one line each; nothing if all is well."""
        users, members, named = tables.users, tables.team_members, tables.named
        problems: list[str] = []
        with self._db.read() as connection:
            if self._db.is_sqlite:
                found = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
                problems += [f"the file is damaged: {line}" for line in found if line != "ok"]
                dangling = connection.exec_driver_sql("PRAGMA foreign_key_check")
                problems += [f"{row[0]} row {row[1]} names a row of {row[2]} that is not there" for row in dangling]
            known = exists().where(
                named.c.account_id == members.c.account_id, named.c.kind == "team", named.c.id == members.c.team_id
            )
            astray = (
                select(users.c.email, members.c.team_id)
                .join_from(members, users)
                .where(members.c.until_ms.is_(None), ~known | (users.c.account_id != members.c.account_id))
            )
            problems += [
                f"{row.email} is in the team {row.team_id}, which is not there" for row in connection.execute(astray)
            ]
        return problems

    @property
    def backed_up_by(self) -> str | None:
        """What it is backed up by, if `backup` cannot do it."""
        return None if self._db.is_sqlite else "PostgreSQL's own pg_dump"

    def backup(self, path: Path) -> None:
        """Copy the database, as of one moment and while it is in use, into a new file; `Conflict` if it exists.

        Writes nothing, so that it works on a full disk as well; what `close` would write is not in the copy.
        """
        self._db.copy_to(path)
