"""User API keys: made, listed, revoked, and recognised when a request brings one.

A key is 256 random bits; only its SHA-256 is kept, so neither the database nor a backup of it opens anything. It leaves
its user some of their rights, for a time, from some networks; never more than they have. Every request asks here, so
the keys that work are kept in memory and read again when something changed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, insert, or_, select, update

from calldex.access import Principal
from calldex.access.guard import Guard
from calldex.clock import now_ms
from calldex.directory.database import Database, Repository
from calldex.directory.model import (
    Key,
    KeyOwner,
    expiry_problem,
    networks_problem,
    refuse,
    scopes_problem,
    vocabulary_problem,
)
from calldex.directory.people import find_user
from calldex.directory.principals import ask_guard, find_account, principals
from calldex.directory.snapshot import Snapshot
from calldex.directory.tables import api_keys, users
from calldex.errors import Conflict, NotFound
from calldex.networks import Networks, read_networks
from calldex.texts import KEY_MARK, PREFIX_LENGTH

KEY_LENGTH_LIMIT: Final = 100
TOUCH_MS: Final = 60_000
"""How exact the last-used time of a key is kept."""


class Keys(Repository):
    """User API keys."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._owners = Snapshot(database, _owners)
        self._touch_lock = threading.Lock()
        self._touched: dict[int, int] = {}
        self._used: dict[int, int] = {}

    def create_key(
        self,
        email: str,
        scopes: tuple[str, ...] = ("read",),
        *,
        expires_at: int | None = None,
        networks: tuple[str, ...] = (),
        vocabulary: str | None = None,
        guard: Guard | None = None,
    ) -> str:
        """A new key of a user; this is the only time it can be seen.

        It leaves them the permissions of these scopes, until `expires_at` (epoch milliseconds), from these networks
        (CIDR; of none, from everywhere). Its replies have the words of `vocabulary`, else those of its account.
        `BadParameters`; `Conflict` if they are disabled.
        """
        refuse([*scopes_problem(scopes), *expiry_problem(expires_at, now_ms()), *networks_problem(networks)])
        refuse(vocabulary_problem(vocabulary))
        text = KEY_MARK + secrets.token_urlsafe(32)
        with self._db.write(access=True) as connection:
            user = find_user(connection, email)
            ask_guard(guard, connection, users.c.id == user.id)
            if user.disabled_at is not None:
                raise Conflict(f"the user {user.email} is disabled; a key of theirs would not work")
            values = {
                "prefix": text[:PREFIX_LENGTH],
                "hash": _hash(text),
                "scopes": ",".join(scopes),
                "networks": Networks(networks).listed,
                "created_at": now_ms(),
                "expires_at": expires_at,
                "vocabulary": vocabulary,
            }
            connection.execute(insert(api_keys).values(user_id=user.id, **values))
        return text

    def find_key(self, text: str, address: str | None = None) -> KeyOwner | None:
        """Whose key this is; None if it is none, was revoked, has expired, or its owner is disabled, and if it comes
        from an address outside its networks; one that has networks is nobody's without an address.

        What this process changed counts at once, what another changed within `snapshot.RECHECK_S`; a key that another
        made works at once. The time it takes does not depend on how much of a key is right.
        """
        if len(text) > KEY_LENGTH_LIMIT:
            return None
        digest = _hash(text)
        return _usable(self._owners.recent().get(digest) or self._owners.current().get(digest), address)

    def known_key(self, text: str, address: str | None = None) -> KeyOwner | None:
        """The same from memory alone, for who must not wait; None as well where the database has to be asked."""
        return _usable((self._owners.known() or {}).get(_hash(text)), address)

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

    def list_keys(self, email: str | None = None, *, account: str | None = None) -> list[Key]:
        """The keys of one user, of one account, or of all, oldest first, the revoked ones as well."""
        with self._db.read() as connection:
            conditions: list[ColumnElement[bool]] = []
            if email is not None:
                conditions.append(users.c.id == find_user(connection, email).id)
            if account is not None:
                conditions.append(users.c.account_id == find_account(connection, account).id)
            return _keys(connection, *conditions)

    def key(self, reference: str) -> Key:
        """The key that is meant and works; raises as `revoke_key`."""
        with self._db.read() as connection:
            return _meant(connection, reference)

    def revoke_key(self, reference: str, *, guard: Guard | None = None) -> Key:
        """Make a key useless at once; it is named by its id, its prefix or itself.

        `NotFound` if no valid key is meant, `Conflict` that lists them if several have the prefix.
        """
        return self._changed(reference, {"revoked_at": now_ms()}, guard)

    def set_key(self, reference: str, vocabulary: str | None, *, guard: Guard | None = None) -> Key:
        """Give a key a vocabulary of its own, or with None that of its account. Raises as `revoke_key`."""
        refuse(vocabulary_problem(vocabulary))
        key = self._changed(reference, {"vocabulary": vocabulary}, guard)
        return msgspec.structs.replace(key, vocabulary=vocabulary)

    def _changed(self, reference: str, values: dict[str, object], guard: Guard | None) -> Key:
        """The key that is meant, as it was before."""
        with self._db.write(access=True) as connection:
            found = _meant(connection, reference)
            ask_guard(guard, connection, users.c.email == found.email)
            connection.execute(update(api_keys).where(api_keys.c.id == found.id).values(values))
        return found


def _meant(connection: Connection, reference: str) -> Key:
    meant = or_(api_keys.c.prefix == reference, api_keys.c.hash == _hash(reference))
    if reference.isdecimal() and len(reference) < 10:
        meant = api_keys.c.id == int(reference)
    prefix = reference[:PREFIX_LENGTH]
    found = _keys(connection, meant, api_keys.c.revoked_at.is_(None))
    if not found:
        raise NotFound(f"there is no valid key with the id or prefix {prefix!r}; `calldex keys list` shows them")
    if len(found) > 1:
        listed = ", ".join(f"{key.id} ({' and '.join(key.scopes)} key of {key.email})" for key in found)
        raise Conflict(f"several keys begin with {prefix!r}; give the id of one of them: {listed}")
    return found[0]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _usable(owner: KeyOwner | None, address: str | None) -> KeyOwner | None:
    """The owner, if their key works now and from there."""
    if owner is None or (owner.expires_at is not None and now_ms() >= owner.expires_at):
        return None
    return owner if not owner.networks or _within(address, owner.networks) else None


def _within(address: str | None, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks; nothing that is no address does."""
    try:
        return (address or "") in read_networks(networks)
    except ValueError:
        return False


_PRINCIPAL: Final = tuple(
    name for name in Principal.__struct_fields__ if name not in ("scopes", "credential", "vocabulary")
)


def _owners(connection: Connection) -> dict[bytes, KeyOwner]:
    """The owners of the keys that work unless they have expired, by hash."""
    enabled = users.c.disabled_at.is_(None)
    known = principals(connection, enabled)
    query = (
        select(
            api_keys.c.hash,
            api_keys.c.id,
            api_keys.c.user_id,
            api_keys.c.prefix,
            api_keys.c.scopes,
            api_keys.c.networks,
            api_keys.c.expires_at,
            api_keys.c.vocabulary,
        )
        .join_from(api_keys, users)
        .where(api_keys.c.revoked_at.is_(None), enabled)
    )
    return {
        row.hash: KeyOwner(
            **{name: getattr(known[row.user_id], name) for name in _PRINCIPAL},
            scopes=tuple(row.scopes.split(",")),
            credential=row.prefix,
            key_id=row.id,
            networks=tuple(row.networks),
            expires_at=row.expires_at,
            vocabulary=row.vocabulary or known[row.user_id].vocabulary,
        )
        for row in connection.execute(query)
    }


def _keys(connection: Connection, *conditions: ColumnElement[bool]) -> list[Key]:
    query = (
        select(
            api_keys.c.id,
            api_keys.c.prefix,
            api_keys.c.scopes,
            api_keys.c.networks,
            users.c.email,
            api_keys.c.created_at,
            api_keys.c.last_used_at,
            api_keys.c.revoked_at,
            api_keys.c.expires_at,
            api_keys.c.vocabulary,
        )
        .join_from(api_keys, users)
        .where(*conditions)
        .order_by(api_keys.c.id)
    )
    return [
        Key(**row._asdict() | {"scopes": tuple(row.scopes.split(",")), "networks": tuple(row.networks)})
        for row in connection.execute(query)
    ]
