"""OpenID Connect as the directory knows it: by which provider an account's people sign in, and what its word is worth.

Beside the way of a record. The talk with a provider is for `api.provider`; here is only what an owner set up: whom to
ask, and which values of a claim stand for which roles and groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, delete, select, update

from calldex.access import ROLES, Role, outranks
from calldex.clock import now_ms
from calldex.directory.changes import changing
from calldex.directory.database import Repository
from calldex.directory.model import User, UserChanges, refuse, text_problem
from calldex.directory.people import find_user
from calldex.directory.principals import find_account, principals
from calldex.directory.roster import Roster
from calldex.directory.sealing import SEALED, SealedSecrets
from calldex.directory.tables import accounts, api_keys, groups, openid, sessions, users
from calldex.errors import Forbidden, NotFound, Problem, suggest
from calldex.networks import is_loopback

MOST_VALUES: Final = 1_000
"""How many values of the claim may stand for something."""


class Openid(msgspec.Struct, frozen=True, kw_only=True):
    """The provider of an account.

    `groups` has, for values of the claim, the roles (as `supervisor`) and names of groups that they stand for.
    """

    account: str
    issuer: str
    client_id: str
    claim: str
    groups: dict[str, tuple[str, ...]]


class OpenidClient(Openid, frozen=True, kw_only=True):
    """The same with the secret by which Calldex shows the provider who it is."""

    client_secret: str

    def __repr__(self) -> str:
        return f"OpenidClient(account={self.account!r})"


class Rights(msgspec.Struct, frozen=True):
    """The role and the names of the groups that somebody gets."""

    role: Role | None
    groups: tuple[str, ...]


class OpenidProviders(Repository):
    """The providers, up to one for each account."""

    _sealing: SealedSecrets

    def set_openid(self, client: OpenidClient) -> None:
        """Set an account's provider, in place of the one it has; `BadParameters` with everything that is wrong."""
        with self._db.write() as connection:
            account = find_account(connection, client.account)
            refuse(_problems(client, _group_names(connection, client.account)))
            values = {name: getattr(client, name) for name in ("issuer", "client_id", "claim")}
            values["client_secret"] = self._sealing.seal(client.client_secret, _whose(client.account))
            values["groups"] = {value: list(names) for value, names in client.groups.items()}
            statement = self._db.insert(openid).values(account_id=account.id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))

    def openid(self, account: str) -> Openid:
        """The provider of an account, without the secret; `NotFound` alike for an account without one and for none of
        that name."""
        values = self._openid_row(account)
        del values["client_secret"]
        return Openid(**values)

    def openid_client(self, account: str) -> OpenidClient:
        """The same with the secret; `Unavailable` if that cannot be opened."""
        values = self._openid_row(account)
        values["client_secret"] = self._sealing.open(values["client_secret"], _whose(account))
        return OpenidClient(**values)

    def seal_openid(self) -> None:
        """Seal the secrets that an earlier version kept as they are, and leave nothing of them in the file."""
        clear = openid.c.client_secret.not_like(f"{SEALED}%")
        found = select(accounts.c.name, openid.c.account_id, openid.c.client_secret).join_from(openid, accounts)
        with self._db.read() as connection:
            some = connection.execute(found.where(clear)).all()
        if not some:
            return
        with self._db.write() as connection:
            if self._db.is_sqlite:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for name, account_id, secret in some:
                sealed = self._sealing.seal(secret, _whose(name))
                change = update(openid).where(openid.c.account_id == account_id).values(client_secret=sealed)
                connection.execute(change)

    def _openid_row(self, account: str) -> dict[str, Any]:
        query = select(
            accounts.c.name.label("account"),
            *(c for c in openid.c if c.name != "account_id"),
        ).join_from(openid, accounts)
        with self._db.read() as connection:
            row = connection.execute(query.where(accounts.c.name == account)).one_or_none()
        if row is None:
            raise NotFound(f"no OpenID Connect provider is set up for the account {account[:100]!r}")
        values = row._asdict()
        values["groups"] = {value: tuple(names) for value, names in values["groups"].items()}
        return values

    def remove_openid(self, account: str) -> None:
        """Forget an account's provider; sessions that it began go on."""
        with self._db.write() as connection:
            account_id = find_account(connection, account).id
            if not connection.execute(delete(openid).where(openid.c.account_id == account_id)).rowcount:
                raise NotFound(f"no OpenID Connect provider is set up for the account {account!r}")

    def openid_rights(self, provider: Openid, values: Iterable[str]) -> Rights:
        """What the values of the claim stand for together; `Forbidden` if it is nothing, or more than one role.

        A group that was removed since the provider was set up stands for nothing.
        """
        with self._db.read() as connection:
            known = _group_names(connection, provider.account)
        names = {name for value in values for name in provider.groups.get(value, ())}
        roles = sorted(names & ROLES.keys())
        found = tuple(sorted(names & known))
        if len(roles) > 1:
            raise Forbidden(
                f"the provider's {provider.claim} make you {' and '.join(roles)} at once; a user has one role:"
                " let the other stand for a group"
            )
        if not roles and not found:
            raise Forbidden(f"nothing in the provider's {provider.claim} lets you in here")
        return Rights(next((role for role in ROLES if role in roles), None), found)

    def grant(self, account: str, email: str, rights: Rights) -> tuple[User, str]:
        """Give somebody the rights that a provider's word stands for, in place of those they had; and in words what has
        ended, if anything.

        Of who gets more than they had all keys, all sessions and the password end: whoever made them could not have
        given so much, and may have waited under an address that was to be somebody else's.
        """
        with changing(self._db, account, None) as change:
            connection = change.connection
            user = find_user(connection, email)
            this_user = users.c.id == user.id
            before = principals(connection, this_user)[user.id]
            roster = Roster(change, (user.email,))
            roster.change(user, UserChanges(role=rights.role, groups=rights.groups))
            roster.write()
            ended = (
                "" if outranks(before, principals(connection, this_user)[user.id]) else _disowned(connection, user.id)
            )
            return find_user(connection, email), ended


def _whose(account: str) -> str:
    return f"the OpenID Connect provider of the account {account}"


def _disowned(connection: Connection, user_id: int) -> str:
    working = (api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    keys = connection.execute(update(api_keys).where(*working).values(revoked_at=now_ms())).rowcount
    connection.execute(update(users).where(users.c.id == user_id).values(password_hash=None))
    ended = connection.execute(delete(sessions).where(sessions.c.user_id == user_id)).rowcount
    return f"{keys} keys, {ended} sessions and the password"


def is_secure(url: str) -> bool:
    """Whether what goes to an address cannot be read on its way: by TLS, or because it never leaves the machine."""
    try:
        found = urlsplit(url)
        if found.scheme == "https":
            return bool(found.hostname)
        host = found.hostname or ""
        return found.scheme == "http" and is_loopback(host)
    except ValueError:
        return False


def _problems(client: OpenidClient, known: set[str]) -> Iterable[Problem]:
    if len(client.issuer) > 500 or not is_secure(client.issuer) or {*client.issuer} & {*"?#@ "}:
        valid = "an https address as the provider writes it, up to 500 characters; http on this machine alone"
        yield Problem("issuer", client.issuer[:100], "cannot be used", valid)
    yield from text_problem("client_id", client.client_id, 200)
    yield from text_problem("claim", client.claim, 64)
    if not (0 < len(client.client_secret) <= 500 and client.client_secret.isprintable()):
        yield Problem("client_secret", "", "cannot be used", "1 to 500 printable characters")
    if not 0 < len(client.groups) <= MOST_VALUES:
        valid = f"1 to {MOST_VALUES} values of the claim, each with a role or group"
        yield Problem("groups", str(len(client.groups)), "are too few or too many", valid)
    valid = ", ".join((*ROLES, *sorted(known)))
    for value, names in client.groups.items():
        yield from text_problem("groups", value, 200)
        for name in names:
            if name not in ROLES and name not in known:
                hint = suggest(name, (*ROLES, *known))
                yield Problem("groups", name[:100], f"there is no such role or group{hint}", valid)


def _group_names(connection: Connection, account: str) -> set[str]:
    query = select(groups.c.name).join_from(groups, accounts).where(accounts.c.name == account)
    return set(connection.execute(query).scalars())
