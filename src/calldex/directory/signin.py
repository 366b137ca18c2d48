"""Passwords: who knows one gets a session, who does not has to wait longer and longer.

Beside the way of a record. Of a password only an Argon2id hash is kept. Failures are counted by e-mail address *and*
the network address they come from, and by the latter alone; never by e-mail address alone, or anybody could lock out
anybody; and those of a network address delay only e-mail addresses that failed there themselves. A browser in which the
user signed in before is counted by itself, whatever else happens at its address.

Hashing takes a tenth of a second and 64 MiB: not for an event loop, and not for many at once.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Final

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import Connection, and_, delete, select, update

from calldex.access.guard import Guard
from calldex.directory.model import email_problem, refuse
from calldex.directory.people import find_user
from calldex.directory.principals import ask_guard
from calldex.directory.sessions import Client, Device, SessionOwner, Sessions, SignedIn
from calldex.directory.tables import signin_failures, users
from calldex.errors import Forbidden, Problem, TooMany, Unauthorized
from calldex.networks import site_of

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256
LONGEST_DELAY_S: Final = 15 * 60
FORGIVEN_MS: Final = LONGEST_DELAY_S * 1000
"""After how long without another failure one failure no longer counts."""
FREE_BY_ADDRESS: Final = 20
"""How many failures an address may have, whatever the e-mail addresses, before it has to wait."""
_WRONG: Final = "the e-mail address or the password is wrong"
HASHER: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the failures under one key: how many in a row, of which some are free, and when the last was."""

    key: bytes
    free: int
    count: int = 0
    last_at: int = 0

    def left(self, at_ms: int) -> int:
        """How many still count."""
        return max(0, self.count - max(0, at_ms - self.last_at) // FORGIVEN_MS)

    def wait_ms(self, at_ms: int) -> int:
        """How long to wait before the next attempt: a second after the first that is not free, then twice as long each
        time, up to `LONGEST_DELAY_S`."""
        costly = self.left(at_ms) - self.free
        delay_s = 0 if costly <= 0 else min(LONGEST_DELAY_S, 2 ** min(costly - 1, 20))
        return self.last_at + delay_s * 1000 - at_ms


class Signin(Sessions):
    """Passwords, and the sessions that they open."""

    def sign_in(self, email: str, password: str, client: Client, at_ms: int) -> SignedIn:
        """A session for who knows the password.

        `TooMany` before the delay that failures brought is over: the password is not looked at. `Unauthorized` does
        not tell whether there is such a user, and takes as long in either case.
        """
        refuse([*email_problem(email), *_length_problem(password, "password")])
        found = self._proven_user(email.lower(), password, client, at_ms)
        if found is None:
            raise Unauthorized(_WRONG)
        user_id, verified = found
        newer = _hashed(password) if HASHER.check_needs_rehash(verified) else verified
        with self._db.write() as connection:
            # They may have been disabled, or got another password, while this one was verified.
            still = (users.c.id == user_id, users.c.password_hash == verified, users.c.disabled_at.is_(None))
            if not connection.execute(update(users).where(*still).values(password_hash=newer)).rowcount:
                raise Unauthorized(_WRONG)
            session = self._opened(connection, user_id, client, at_ms)
        self._forget_sessions()
        return session

    def change_password(self, owner: SessionOwner, old: str, new: str, client: Client, at_ms: int) -> int:
        """Give the owner of a session a new password, and end their other sessions; how many there were.

        `Forbidden` if the old one is wrong, `TooMany` as `sign_in`, `BadParameters` for a new one that will not do.
        """
        refuse([*_length_problem(old, "old"), *password_problem(new, owner.email, "new")])
        found = self._proven_user(owner.email, old, client, at_ms)
        ended = None if found is None else self._set_password(found, new, but=owner.session_id)
        if ended is None:
            raise Forbidden("the old password is wrong")
        return ended

    def account_of_email(self, email: str) -> int:
        """The id of the account that somebody's e-mail address is of, or 0; it takes as long in either case."""
        with self._db.read() as connection:
            query = select(users.c.account_id).where(users.c.email == email.lower())
            return connection.execute(query).scalar_one_or_none() or 0

    def set_password(self, email: str, password: str, *, guard: Guard | None = None) -> int:
        """Give a user a password, and end all their sessions; how many there were."""
        with self._db.read() as connection:
            user = find_user(connection, email)
        refuse(password_problem(password, user.email))
        return self._set_password((user.id, None), password, guard=guard) or 0

    def drop_failures(self, at_ms: int) -> None:
        """Drop the failures that no longer count; to be called every now and then."""
        gone = signin_failures.c.last_at + signin_failures.c.failures * FORGIVEN_MS <= at_ms
        with self._db.write() as connection:
            connection.execute(delete(signin_failures).where(gone))

    def _set_password(
        self,
        whose: tuple[int, str | None],
        password: str,
        but: int | None = None,
        guard: Guard | None = None,
    ) -> int | None:
        """Set the password of a user, and end their sessions but one; how many. None if it is not that of the hash
        given any more."""
        user_id, before = whose
        still = (users.c.id == user_id, *(() if before is None else (users.c.password_hash == before,)))
        hashed = _hashed(password)
        with self._db.write() as connection:
            ask_guard(guard, connection, users.c.id == user_id)
            if not connection.execute(update(users).where(*still).values(password_hash=hashed)).rowcount:
                return None
            ended = self._end_sessions(connection, user_id, but)
        self._forget_sessions()
        return ended

    def _proven_user(self, email: str, password: str, client: Client, at_ms: int) -> tuple[int, str] | None:
        """The id and the hash of the user whose password this is."""
        nobody = _hash_of_nobody(HASHER)
        user = select(users.c.id, users.c.password_hash).where(users.c.email == email, users.c.disabled_at.is_(None))
        with self._db.write() as connection:
            row = connection.execute(user).one_or_none()
            found = None if row is None or row.password_hash is None else (row.id, row.password_hash)
            device = client.device if found and client.device and client.device.user_id == found[0] else None
            own, shared = (_read(connection, each) for each in _keys(email, client.address, device))
            # Who has not failed from here has not to wait for others who did: 20 invented addresses would lock out all
            # who share a network address. So each e-mail address is worth one guess there, and then waits for all.
            alone = device is not None or not own.left(at_ms)
            wait_ms = max(own.wait_ms(at_ms), 0 if alone else shared.wait_ms(at_ms))
            # Counted before it is known, so that of several attempts at once only the first is looked at.
            if wait_ms > 0 or not self._count_failure(connection, own, at_ms):
                seconds = max(1, -(-wait_ms // 1000))
                raise TooMany(f"too many attempts to sign in failed; try again in {seconds} s", retry_after=seconds)
        right = _is_password(found[1] if found else nobody, password) and found is not None
        with self._db.write() as connection:
            if right:
                # Those of the address stay: who has a password of their own gets no more guesses at those of others.
                connection.execute(delete(signin_failures).where(signin_failures.c.key == own.key))
            elif device is None:
                while not self._count_failure(connection, _read(connection, shared), at_ms):
                    pass
        return found if right else None

    def _count_failure(self, connection: Connection, failures: Failures, at_ms: int) -> bool:
        """Count one more; False, and not counted, if others were since these were read."""
        values = {"failures": failures.left(at_ms) + 1, "last_at": at_ms}
        same = (signin_failures.c.failures == failures.count, signin_failures.c.last_at == failures.last_at)
        statement = self._db.insert(signin_failures).values(key=failures.key, **values)
        statement = statement.on_conflict_do_update(index_elements=["key"], set_=values, where=and_(*same))
        return connection.execute(statement.returning(signin_failures.c.key)).first() is not None


def password_problem(password: str, email: str, parameter: str = "password") -> Iterable[Problem]:
    """What is wrong with a password that is to be set. Whether it is a common one is not looked up."""
    problems = list(_length_problem(password, parameter, SHORTEST_PASSWORD))
    yield from problems
    local, _, domain = email.casefold().partition("@")
    if not problems and _normal(password).casefold() in (email.casefold(), local, domain):
        yield Problem(parameter, "", "is the e-mail address or a part of it", "a password that others cannot guess")


def _length_problem(password: str, parameter: str, shortest: int = 1) -> Iterable[Problem]:
    # The raw one is measured first: normalising may make it many times longer.
    if not (len(password) <= LONGEST_PASSWORD and shortest <= len(_normal(password)) <= LONGEST_PASSWORD):
        valid = f"{shortest} to {LONGEST_PASSWORD} characters"
        yield Problem(parameter, "", "is too short or too long", valid)


def _normal(password: str) -> str:
    """A password as it is hashed, so that it is the same on every keyboard."""
    return unicodedata.normalize("NFKC", password)


def _hashed(password: str) -> str:
    return HASHER.hash(_normal(password))


def _is_password(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, _normal(password))
    except VerifyMismatchError:
        return False


@cache
def _hash_of_nobody(hasher: PasswordHasher) -> str:
    """What is verified against where there is no user, so that it takes as long."""
    return hasher.hash(secrets.token_urlsafe())


def _keys(email: str, address: str, device: Device | None) -> tuple[Failures, Failures]:
    """Under what an attempt is counted: by itself, and by where it comes from."""
    network = site_of(address) if address else address
    own = _key("device", device.id.hex()) if device else _key("pair", email, network)
    return Failures(key=own, free=0), Failures(key=_key("address", network), free=FREE_BY_ADDRESS)


def _key(*parts: str) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _read(connection: Connection, failures: Failures) -> Failures:
    query = select(signin_failures.c.failures, signin_failures.c.last_at).where(signin_failures.c.key == failures.key)
    count, last_at = connection.execute(query).one_or_none() or (0, 0)
    return msgspec.structs.replace(failures, count=count, last_at=last_at)
