"""Sessions: where people are signed in, recognised when a request brings the cookie of one.

The secret in a cookie is 256 random bits; only its SHA-256 is kept, so neither the database nor a backup of it opens
anything. Every request of somebody who is signed in asks here, so what was read is remembered for a moment.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import Final

import msgspec
from cachetools import LRUCache
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select, update

from calldex.access import Principal, permit
from calldex.access.guard import Guard, RightsGuard
from calldex.directory.database import Database, Repository
from calldex.directory.people import find_user
from calldex.directory.principals import ask_guard, find_account, principals
from calldex.directory.snapshot import RECHECK_S, Snapshot
from calldex.directory.tables import sessions, users
from calldex.errors import NotFound

IDLE_MS: Final = 12 * 3_600_000
"""After how long without use a session ends."""
LIFE_MS: Final = 7 * 86_400_000
"""After how long a session ends in any case."""
TOUCH_MS: Final = 60_000
"""How exact the last-used time of a session is kept."""
MOST_SESSIONS: Final = 50
"""How many sessions a user has; one more ends the one that was used longest ago."""
TOKEN_LENGTH: Final = 43
_ADDRESS_LENGTH: Final = 64
_CLIENT_LENGTH: Final = 200
_REMEMBERED: Final = 10_000


class Device(msgspec.Struct, frozen=True):
    """A browser in which a user signed in before; `id` is random, and known to nobody else."""

    user_id: int
    id: bytes


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody signs in with: their network address, the name of their program, and the device if it is known."""

    address: str
    name: str = ""
    device: Device | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Where a user is signed in. Times are epoch milliseconds."""

    id: int
    user_id: int
    email: str
    created_at: int
    last_used_at: int
    expires_at: int
    address: str
    client: str

    def alive(self, at_ms: int, used_ms: int = 0) -> bool:
        """Whether it has not ended by itself, `used_ms` being another time at which it was used."""
        return at_ms < min(self.expires_at, max(self.last_used_at, used_ms) + IDLE_MS)


class SessionOwner(Principal, frozen=True, kw_only=True):
    """Whose a session is; it ends at epoch millisecond `expires_at` in any case. Who sees as another user stays who
    they are, with that one's rights to read: `seen_as` is the other's e-mail address."""

    session_id: int
    expires_at: int
    seen_as: str = ""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A new session, and the secret for its cookie, which can be seen this once."""

    token: str
    session: Session


class _Remembered(msgspec.Struct, frozen=True):
    session: Session
    generation: int
    checked_at: float


class Sessions(Repository):
    """Sessions."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._session_people = Snapshot(
            database, lambda connection: principals(connection, users.c.disabled_at.is_(None))
        )
        self._session_memory: LRUCache[bytes, _Remembered] = LRUCache(_REMEMBERED)
        self._sessions_ended = 0
        self._session_lock = threading.Lock()
        self._session_touched: dict[int, int] = {}
        self._session_used: dict[int, int] = {}

    def open_session(self, user_id: int, client: Client, at_ms: int) -> SignedIn:
        """A session of a user who proved who they are."""
        with self._db.write() as connection:
            opened = self._opened(connection, user_id, client, at_ms)
        self._forget_sessions()
        return opened

    def find_session(self, token: str, at_ms: int) -> SessionOwner | None:
        """Whose session the secret of a cookie opens; None if it ended, or its user is disabled or was removed.

        What this process ended has ended at once, what another did within `RECHECK_S`; a session that another began
        works at once.
        """
        if len(token) != TOKEN_LENGTH:
            return None
        digest = _digest(token)
        known = self._remembered(digest) or self._reread(digest)
        if known is None:
            return None
        user_id = known.session.user_id
        person = self._session_people.recent().get(user_id) or self._session_people.current().get(user_id)
        return self._owner_of(known.session, person, at_ms)

    def known_session(self, token: str, at_ms: int) -> SessionOwner | None:
        """The same from memory alone, for who must not wait; None as well where the database has to be asked."""
        known = self._remembered(_digest(token))
        if known is None:
            return None
        return self._owner_of(known.session, (self._session_people.known() or {}).get(known.session.user_id), at_ms)

    def seen_as(self, owner: SessionOwner, user_id: int) -> SessionOwner:
        """Whose a session is, with the rights to read of another user of the account, and no others. `NotFound` if
        there is none of that id who can sign in; `Forbidden` for who may not see what others may, or whom the owner
        does not outrank."""
        permit(owner, ("manage_users", "manage_access"))
        person = self._session_people.recent().get(user_id) or self._session_people.current().get(user_id)
        if person is None or person.account_id != owner.account_id:
            raise NotFound(f"there is no user {user_id} who can sign in")
        RightsGuard(owner, lambda _: frozenset())(person)
        rights = ("groups", "agent_id", "supervised_teams", "supervised_queues", "timezone")
        seen = {name: getattr(person, name) for name in rights}
        return msgspec.structs.replace(owner, scopes=("read",), seen_as=person.email, **seen)

    def _remembered(self, digest: bytes) -> _Remembered | None:
        """A session as it was in the database up to `RECHECK_S` ago."""
        with self._session_lock:
            known = self._session_memory.get(digest)
        if known is None or known.generation != self._generation:
            return None
        return known if time.monotonic() < known.checked_at + RECHECK_S else None

    def _owner_of(self, session: Session, person: Principal | None, at_ms: int) -> SessionOwner | None:
        if person is None or not session.alive(at_ms, self._session_used.get(session.id, 0)):
            return None
        who = {name: getattr(person, name) for name in person.__struct_fields__} | {"credential": "session"}
        who["vocabulary"] = "documented"  # those of an account are for programs; people see a page
        return SessionOwner(**who, session_id=session.id, expires_at=session.expires_at)

    def touch_session(self, session_id: int, at_ms: int) -> None:
        """Remember that a session was used; `flush_sessions` writes it."""
        if at_ms >= self._session_used.get(session_id, 0) + TOUCH_MS:
            with self._session_lock:
                self._session_used[session_id] = self._session_touched[session_id] = at_ms

    def flush_sessions(self) -> None:
        """Write the last-used times; to be called every now and then. A session in use is written once a minute."""
        with self._session_lock:
            touched, self._session_touched = self._session_touched, {}
        if not touched:
            return
        earlier = sessions.c.last_used_at < bindparam("at")
        statement = update(sessions).where(sessions.c.id == bindparam("session_id"), earlier)
        with self._db.write() as connection:
            connection.execute(
                statement.values(last_used_at=bindparam("at")),
                [{"session_id": session_id, "at": at} for session_id, at in sorted(touched.items())],
            )

    def drop_sessions(self, at_ms: int) -> None:
        """Drop the sessions that have ended by themselves; to be called every now and then, after `flush_sessions`."""
        with self._session_lock:
            self._session_used = {id_: at for id_, at in self._session_used.items() if at > at_ms - IDLE_MS}
        with self._db.write() as connection:
            connection.execute(delete(sessions).where(~_alive(at_ms)))

    def list_sessions(self, at_ms: int, email: str | None = None, *, account: str | None = None) -> list[Session]:
        """The sessions of one user, of one account or of all that have not ended, the newest first."""
        self.flush_sessions()
        with self._db.read() as connection:
            conditions = [_alive(at_ms)]
            if email is not None:
                conditions.append(users.c.id == find_user(connection, email).id)
            if account is not None:
                conditions.append(users.c.account_id == find_account(connection, account).id)
            return _sessions(connection, *conditions)

    def session(self, session_id: int, account: str | None = None) -> Session:
        """A session, also one that has ended by itself; `NotFound` if there is none of that id, in the account if one
        is named."""
        with self._db.read() as connection:
            session = _session(connection, session_id)
            if account is not None and find_user(connection, session.email).account != account:
                raise _unknown(session_id)
            return session

    def end_session(self, session_id: int, email: str | None = None, *, guard: Guard | None = None) -> Session:
        """End a session; `NotFound` if there is none of that id, or it is not one of the user named."""
        with self._db.write() as connection:
            session = _session(connection, session_id)
            if email is not None and session.email != email.lower():
                raise _unknown(session_id)
            ask_guard(guard, connection, users.c.id == session.user_id)
            connection.execute(delete(sessions).where(sessions.c.id == session_id))
        self._forget_sessions()
        return session

    def end_session_of(self, token: str) -> None:
        """End the session that the secret of a cookie opens, if it opens one."""
        with self._db.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.hash == _digest(token)))
        self._forget_sessions()

    def _opened(self, connection: Connection, user_id: int, client: Client, at_ms: int) -> SignedIn:
        """The same within a transaction, which `_forget_sessions` is to follow."""
        token = secrets.token_urlsafe(32)
        values = {
            "user_id": user_id,
            "hash": _digest(token),
            "created_at": at_ms,
            "last_used_at": at_ms,
            "expires_at": at_ms + LIFE_MS,
            "address": client.address[:_ADDRESS_LENGTH],
            "client": "".join(c for c in client.name[:_CLIENT_LENGTH] if c.isprintable()),
        }
        id_ = connection.execute(insert(sessions).values(values).returning(sessions.c.id)).scalar_one()
        newest = select(sessions.c.id).where(sessions.c.user_id == user_id)
        newest = newest.order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
        surplus = list(connection.execute(newest.offset(MOST_SESSIONS)).scalars())
        connection.execute(delete(sessions).where(sessions.c.id.in_(surplus)))
        return SignedIn(token=token, session=_session(connection, id_))

    def _end_sessions(self, connection: Connection, user_id: int, but: int | None = None) -> int:
        """End the sessions of a user, all but one; how many. `_forget_sessions` is to follow the transaction."""
        others = () if but is None else (sessions.c.id != but,)
        return connection.execute(delete(sessions).where(sessions.c.user_id == user_id, *others)).rowcount

    @property
    def _generation(self) -> int:
        """Grows with whatever may have ended a session in this process."""
        return self._sessions_ended + self._db.generation

    def _forget_sessions(self) -> None:
        """Ask the database again for every session."""
        self._sessions_ended += 1

    def _reread(self, digest: bytes) -> _Remembered | None:
        generation, checked_at = self._generation, time.monotonic()
        with self._db.read() as connection:
            found = _sessions(connection, sessions.c.hash == digest)
        with self._session_lock:
            if not found:
                self._session_memory.pop(digest, None)
                return None
            known = self._session_memory[digest] = _Remembered(found[0], generation, checked_at)
        return known


def _alive(at_ms: int) -> ColumnElement[bool]:
    return and_(sessions.c.expires_at > at_ms, sessions.c.last_used_at > at_ms - IDLE_MS)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _sessions(connection: Connection, *conditions: ColumnElement[bool]) -> list[Session]:
    query = (
        select(*(c for c in sessions.c if c.name != "hash"), users.c.email)
        .join_from(sessions, users)
        .where(*conditions)
        .order_by(sessions.c.id.desc())
    )
    return [Session(**row._asdict()) for row in connection.execute(query)]


def _session(connection: Connection, session_id: int) -> Session:
    found = _sessions(connection, sessions.c.id == session_id)
    if not found:
        raise _unknown(session_id)
    return found[0]


def _unknown(session_id: int) -> NotFound:
    return NotFound(f"there is no session {session_id}")
