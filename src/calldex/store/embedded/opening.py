"""The file of a ledger when it is opened: whether it is one, its schema brought up to date, and its name."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from calldex.errors import StoreDamaged, UnreadableInput, WrongVersion
from calldex.store.embedded import links, sqlite
from calldex.store.embedded.packing import put_dictionary
from calldex.store.embedded.schema import LEDGER
from calldex.store.embedded.sqlite import rows

LINKED: Final = 2
"""The migration with which links came."""
PACKED: Final = 7
"""The one with which dictionaries came."""


def migrate(connection: sqlite.Connection, name: str) -> None:
    """Bring the schema of a ledger up to date, each migration in a transaction of its own; an empty database becomes
    one. `WrongVersion` when it is newer than this program, `UnreadableInput` when it is no ledger, `DiskFull`."""
    found = rows(connection, "PRAGMA user_version")[0][0]
    if found == 0:
        is_ledger(connection)  # or what it has are somebody else's tables
    if found > len(LEDGER):
        raise WrongVersion(
            f"{name} has schema version {found}; this program knows versions up to {len(LEDGER)}."
            " Use a newer Calldex, or restore a backup made by this one."
        )
    for migration in LEDGER[found:]:
        with sqlite.commit(connection):
            connection.execute(migration.text)
            if migration.number == 1:
                connection.execute("INSERT INTO meta VALUES ('store_id', ?)", (secrets.token_hex(16),))
            if migration.number == LINKED:
                links.link_all(connection)
            if migration.number == PACKED:
                put_dictionary(connection)
            connection.execute(f"PRAGMA user_version = {migration.number}")


def is_ledger(connection: sqlite.Connection) -> bool:
    """Whether a database has the tables of a ledger; `UnreadableInput` if it has others."""
    names = {name for (name,) in rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if names and not {"meta", "version"} <= names:
        raise UnreadableInput(
            f"{connection.filename} is a database of something else (it has {', '.join(sorted(names)[:3])}); put the"
            " ledger back in its place, or restore a backup"
        )
    return bool(names)


def renew(path: Path) -> str:
    """Give a ledger that nobody has open a name of its own, so that tokens and columns made for the one it was copied
    from are refused; the new name. Leaves one file; raises `UnreadableInput` when it is no ledger, `DiskFull`."""
    store_id = secrets.token_hex(16)
    with sqlite.alone(path) as connection:
        try:
            found = rows(connection, "UPDATE meta SET value = ? WHERE name = 'store_id' RETURNING 1", (store_id,))
        except (sqlite.Unknown, StoreDamaged) as error:
            raise UnreadableInput(f"{path} is not a ledger: {error}") from error
    if not found:
        raise UnreadableInput(f"{path} is not a ledger: it has no name")
    return store_id
