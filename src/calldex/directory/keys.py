"""User API keys: made, listed, revoked, and recognised when a request brings one.

A key is 256 random bits; only its SHA-256 is kept, so neither the database nor a backup of it opens anything. Every
request asks here, so the keys that work are kept in memory and read again when something changed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, insert, or_, select, update

from calldex.directory.database import Database, Part, now_ms
from calldex.directory.model import Key, KeyOwner, scope_problem
from calldex.directory.people import effective_timezone, find_user
from calldex.directory.tables import accounts, api_keys, change, users
from calldex.errors import BadParameters, Conflict, NotFound

PREFIX_LENGTH: Final = 8
"""How much of a key is kept in the clear, for people to tell their keys apart."""
KEY_LENGTH_LIMIT: Final = 100
RECHECK_S: Final = 2.0
"""After how long a change that another process made is noticed at the latest."""
TOUCH_MS: Final = 60_000
"""How exact the last-used time of a key is kept."""


class _Snapshot(msgspec.Struct, frozen=True):
    """The keys that work, by hash, as of `change` in the database and `generation` in this process."""

    owners: dict[bytes, KeyOwner]
    change: int
    generation: int
    checked_at: float


class Keys(Part):
    """User API keys."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._snapshot = _Snapshot({}, -1, -1, 0.0)
        self._touch_lock = threading.Lock()
        self._touched: dict[int, int] = {}
        self._used: dict[int, int] = {}

    def create_key(self, email: str, scope: str = "read") -> str:
        """A new key of a user; this is the only time it can be seen."""
        problems = tuple(scope_problem(scope))
        if problems:
            raise BadParameters(problems)
        text = "cdx_" + secrets.token_urlsafe(32)
        with self._db.write(access=True) as connection:
            user = find_user(connection, email)
            if user.disabled_at is not None:
                raise Conflict(f"the user {user.email} is disabled; a key of his would not work")
            values = {"prefix": text[:PREFIX_LENGTH], "hash": _hash(text), "scope": scope, "created_at": now_ms()}
            connection.execute(insert(api_keys).values(user_id=user.id, **values))
        return text

    def find_key(self, text: str) -> KeyOwner | None:
        """Whose key this is; None if it is none, was revoked, or its owner is disabled.

        What this process changed counts at once, what another changed within `RECHECK_S`; a key that another made
        works at once. The time it takes does not depend on how much of a key is right.
        """
        if len(text) > KEY_LENGTH_LIMIT:
            return None
        digest = _hash(text)
        snapshot = self._snapshot
        fresh = snapshot.generation == self._db.generation and time.monotonic() < snapshot.checked_at + RECHECK_S
        owner = snapshot.owners.get(digest) if fresh else None
        return owner or self._refreshed().owners.get(digest)

    def touch_key(self, key_id: int, at_ms: int) -> None:
        """Remember that a key was used; `flush_touches` writes it."""
        if at_ms >= self._used.get(key_id, 0) + TOUCH_MS:
            with self._touch_lock:
                self._used[key_id] = self._touched[key_id] = at_ms

    def flush_touches(self) -> None:
        """Write the last-used times; to be called every now and then. A key in use is written once a minute."""
        with self._touch_lock:
            touched, self._touched = self._touched, {}
        if not touched:
            return
        earlier = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < bindparam("at"))
        statement = update(api_keys).where(api_keys.c.id == bindparam("key_id"), earlier)
        with self._db.write() as connection:
            connection.execute(
                statement.values(last_used_at=bindparam("at")),
                [{"key_id": key_id, "at": at} for key_id, at in sorted(touched.items())],
            )

    def list_keys(self, email: str | None = None) -> list[Key]:
        """The keys of one user or of all, oldest first, the revoked ones as well."""
        with self._db.read() as connection:
            if email is None:
                return _keys(connection)
            return _keys(connection, users.c.id == find_user(connection, email).id)

    def revoke_key(self, reference: str) -> Key:
        """Make a key useless at once; it is named by its id, its prefix or itself.

        `NotFound` if no valid key is meant, `Conflict` that lists them if several have the prefix.
        """
        meant = or_(api_keys.c.prefix == reference, api_keys.c.hash == _hash(reference))
        if reference.isdecimal() and len(reference) < 10:
            meant = api_keys.c.id == int(reference)
        prefix = reference[:PREFIX_LENGTH]
        with self._db.write(access=True) as connection:
            found = _keys(connection, meant, api_keys.c.revoked_at.is_(None))
            if not found:
                raise NotFound(
                    f"there is no valid key with the id or prefix {prefix!r}; `calldex keys list` shows them"
                )
            if len(found) > 1:
                listed = ", ".join(f"{key.id} ({key.scope} key of {key.email})" for key in found)
                raise Conflict(f"several keys begin with {prefix!r}; give the id of one of them: {listed}")
            connection.execute(update(api_keys).where(api_keys.c.id == found[0].id).values(revoked_at=now_ms()))
        return found[0]

    def _refreshed(self) -> _Snapshot:
        # Taken before the database is asked: what this process changes from here on makes the snapshot old again.
        generation = self._db.generation
        checked_at = time.monotonic()
        old = self._snapshot
        with self._db.read() as connection:
            changed = connection.execute(select(change.c.n)).scalar_one()
            owners = old.owners if changed == old.change else _owners(connection)
        self._snapshot = _Snapshot(owners, changed, generation, checked_at)
        return self._snapshot


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _owners(connection: Connection) -> dict[bytes, KeyOwner]:
    query = (
        select(
            api_keys.c.hash,
            api_keys.c.id.label("key_id"),
            api_keys.c.prefix.label("key_prefix"),
            api_keys.c.scope.label("key_scope"),
            users.c.id.label("user_id"),
            users.c.email,
            users.c.role,
            users.c.account_id,
            accounts.c.name.label("account"),
            effective_timezone.label("timezone"),
        )
        .join_from(api_keys, users)
        .join(accounts)
        .where(api_keys.c.revoked_at.is_(None), users.c.disabled_at.is_(None))
    )
    owners = {}
    for row in connection.execute(query):
        values = row._asdict()
        digest = values.pop("hash")
        owners[digest] = KeyOwner(**values)
    return owners


def _keys(connection: Connection, *conditions: ColumnElement[bool]) -> list[Key]:
    query = (
        select(
            api_keys.c.id,
            api_keys.c.prefix,
            api_keys.c.scope,
            users.c.email,
            api_keys.c.created_at,
            api_keys.c.last_used_at,
            api_keys.c.revoked_at,
        )
        .join_from(api_keys, users)
        .where(*conditions)
        .order_by(api_keys.c.id)
    )
    return [Key(**row._asdict()) for row in connection.execute(query)]
