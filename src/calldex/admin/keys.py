"""`keys`: user API keys of the account's users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import KeyScope, Principal
from calldex.admin.verb import MANAGE_USERS, Call, Listing, Nothing, Paging, Verb, paged
from calldex.directory import Directory, Key, KeyOwner
from calldex.directory.model import networks_problem, refuse
from calldex.errors import BadParameters, Forbidden, NotFound, Problem, suggest
from calldex.networks import Networks
from calldex.records.record import from_ms, to_ms
from calldex.records.vocabulary import Vocabulary
from calldex.texts import PREFIX_LENGTH

Expiry = Annotated[
    datetime, msgspec.Meta(tz=True, description="a time in the future with its zone, as 2027-01-31T00:00:00Z")
]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made: whose it is (their e-mail address), what it is for, until when it works, and in which networks;
    without these, for ever and everywhere. It never permits what its user may not. Its replies have the words of its
    `vocabulary`, else of the account's."""

    user: str
    scopes: tuple[KeyScope, ...]
    expires_at: Expiry | None = None
    networks: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of a key; what is not sent stays. A vocabulary of null is that of the account."""

    vocabulary: Vocabulary | UnsetType | None = UNSET


class KeyList(Paging, frozen=True, kw_only=True):
    """Which keys: those of the user with this e-mail address, and only those that work, or do not any more."""

    user: str | UnsetType = UNSET


class ListedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed: the begin of it alone."""

    id: int
    prefix: str
    user: str
    scopes: tuple[KeyScope, ...]
    networks: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None
    vocabulary: Vocabulary | None


class MadeKey(ListedKey, frozen=True, kw_only=True):
    """A new key; `key` is the key itself, which can be seen this once."""

    key: str


def list_keys(call: Call, wanted: KeyList) -> Listing[ListedKey]:
    """List the keys, oldest first.

    Those that were revoked or have expired are listed as well.
    """
    email = None if wanted.user is UNSET else wanted.user.lower()
    call.directory.flush_touches()
    keys = call.directory.list_keys(account=call.actor.account)
    return paged([_listed(key) for key in keys if email in (None, key.email)], wanted)


def create_key(call: Call, new: NewKey) -> MadeKey:
    """Make a key for a user; this is the only time it can be seen.

    A key makes no key for what it is not for itself, nor one that works longer or elsewhere than it does.
    """
    _permit_as_wide(call.actor, new)
    email = _email(call, new.user)
    call.noted.target = email
    text = call.directory.create_key(
        email,
        new.scopes,
        expires_at=None if new.expires_at is None else to_ms(new.expires_at),
        networks=new.networks,
        vocabulary=new.vocabulary,
        guard=call.guard,
    )
    prefix = text[:PREFIX_LENGTH]
    made = [key for key in call.directory.list_keys(account=call.actor.account) if key.prefix == prefix][-1]
    call.noted.detail = {**call.noted.detail, "key": prefix}
    return MadeKey(key=text, **msgspec.structs.asdict(_listed(made)))


def show_key(call: Call, _: Nothing) -> ListedKey:
    """Show a key that works."""
    return _listed(_working(call))


def change_key(call: Call, changes: KeyChanges) -> ListedKey:
    """Change the words in which a key gets replies.

    Searches and feeds that it has begun must start again.
    """
    key = _working(call)
    call.noted.detail = {**call.noted.detail, "key": key.prefix}
    if changes.vocabulary is UNSET:
        return _listed(key)
    return _listed(call.directory.set_key(str(key.id), changes.vocabulary, guard=call.guard))


def revoke_key(call: Call, _: Nothing) -> None:
    """Revoke a key.

    It stops working with the next request.
    """
    key = _working(call)
    call.noted.detail = {"key": key.prefix}
    call.directory.revoke_key(str(key.id), guard=call.guard)


def _working(call: Call) -> Key:
    """The key in the address, whose user is noted as the target; `NotFound` if there is none of the account."""
    if call.by_name:
        key = call.directory.key(call.subject)
        call.noted.target = key.email
        return key
    id_ = call.id("key")
    for key in call.directory.list_keys(account=call.actor.account):
        if key.id == id_ and key.revoked_at is None:
            call.noted.target = key.email
            return key
    raise NotFound(f"there is no key {id_} that works")


def _permit_as_wide(actor: Principal, new: NewKey) -> None:
    """`Forbidden` if a new key would give more than what the actor came with."""
    beyond = [scope for scope in new.scopes if scope not in actor.scopes]
    if beyond:
        raise Forbidden(f"this key is for {', '.join(actor.scopes)} only; it makes no key for {', '.join(beyond)}")
    if not isinstance(actor, KeyOwner):
        return
    if actor.expires_at is not None and (new.expires_at is None or to_ms(new.expires_at) > actor.expires_at):
        end = f"{from_ms(actor.expires_at):%Y-%m-%dT%H:%M:%SZ}"
        raise Forbidden(f"this key expires at {end}; it makes no key that expires later")
    refuse(networks_problem(new.networks))
    if actor.networks and not (new.networks and Networks(actor.networks).covers(Networks(new.networks))):
        raise Forbidden(f"this key works only from {', '.join(actor.networks)}; it makes no key that works elsewhere")


def _email(call: Call, given: str) -> str:
    """The e-mail address of a user of the account."""
    known = [user.email for user in call.directory.users(call.actor.account)]
    if given.lower() not in known:
        valid = "the e-mail address of a user of the account"
        raise BadParameters([Problem("user", given[:100], f"there is no such user{suggest(given, known)}", valid)])
    return given.lower()


def _listed(key: Key) -> ListedKey:
    return ListedKey(
        id=key.id,
        prefix=key.prefix,
        user=key.email,
        scopes=key.scopes,
        networks=key.networks,
        created_at=from_ms(key.created_at),
        last_used_at=_instant(key.last_used_at),
        revoked_at=_instant(key.revoked_at),
        expires_at=_instant(key.expires_at),
        vocabulary=key.vocabulary,
    )


def _instant(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else from_ms(at_ms)


def _home_of_key(directory: Directory, reference: str) -> str:
    return directory.user(directory.key(reference).email).account


def _home_of_user(directory: Directory, email: str) -> str:
    return directory.user(email).account


VERBS: Final = (
    Verb("GET", "/keys", list_keys, MANAGE_USERS, home=_home_of_user),
    Verb("POST", "/keys", create_key, MANAGE_USERS, "key_created", home=_home_of_user),
    Verb("GET", "", show_key, MANAGE_USERS, home=_home_of_key),
    Verb("PATCH", "/keys/{id}", change_key, MANAGE_USERS, "key_changed", home=_home_of_key),
    Verb("DELETE", "/keys/{id}", revoke_key, MANAGE_USERS, "key_revoked", home=_home_of_key),
)
