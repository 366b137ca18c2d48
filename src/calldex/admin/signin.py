"""Signing in: the passwords and sessions of others, and the OpenID Connect provider of an account.

What people do about their own is for `api.signin`. The provider is set by the owner of the data directory alone: the
server connects to its address, which may be one that only the machine reaches.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, get_args

import msgspec
from msgspec import UNSET, UnsetType

from calldex.access import KeyScope, Principal
from calldex.admin.users import found_user, home_of_user
from calldex.admin.verb import MANAGE_USERS, Call, Listing, Nothing, Paging, Verb, by_owner, id_of, paged
from calldex.clock import now_ms
from calldex.directory import Directory, KeyOwner, Openid, OpenidClient, Session
from calldex.errors import Forbidden
from calldex.inputs import SECRET
from calldex.records.record import from_ms


class UserPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password that a user is to have."""

    password: Annotated[
        str,
        msgspec.Meta(
            description="12 to 256 characters, not their e-mail address or a part of it", extra_json_schema=SECRET
        ),
    ]


class SessionsEnded(msgspec.Struct, frozen=True):
    """How many sessions ended."""

    sessions: int


class SessionList(Paging, frozen=True, kw_only=True):
    """Which sessions: those of the user with this e-mail address, or all."""

    user: str | UnsetType = UNSET


class UserSession(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody is signed in; `client` is what their browser calls itself."""

    id: int
    user: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    client: str


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider by which an account's people sign in; `groups` has the roles and groups that values of `claim` stand
    for."""

    issuer: str
    client_id: str
    client_secret: Annotated[str, msgspec.Meta(extra_json_schema=SECRET)]
    claim: str
    groups: dict[str, tuple[str, ...]]


def set_password(call: Call, new: UserPassword) -> SessionsEnded:
    """Set the password of another user.

    Their sessions end. Common passwords are not refused. A key needs all scopes, no expiry and no networks, since a
    password has no such limits. To change your own password, use `PUT /api/session/password`.
    """
    user = found_user(call)
    if user.id == call.actor.user_id:
        raise Forbidden("change your own password with the old one, signed in (PUT /api/session/password)")
    _permit_unbounded(call.actor)
    return SessionsEnded(call.directory.set_password(user.email, new.password, guard=call.guard))


def list_user_sessions(call: Call, wanted: SessionList) -> Listing[UserSession]:
    """List where people are signed in, the newest session first."""
    email = None if wanted.user is UNSET else wanted.user.lower()
    found = call.directory.list_sessions(now_ms(), account=call.actor.account)
    return paged([_shown(session) for session in found if email in (None, session.email)], wanted)


def show_user_session(call: Call, _: Nothing) -> UserSession:
    """Show a session."""
    return _shown(_session(call))


def end_user_session(call: Call, _: Nothing) -> None:
    """Sign somebody out at once."""
    session = _session(call)
    call.noted.detail = {"session": session.id}
    call.directory.end_session(session.id, session.email, guard=call.guard)


def set_openid(call: Call, new: Provider) -> None:
    """Set the provider by which the account's people sign in."""
    account = call.actor.account
    call.directory.set_openid(OpenidClient(account=account, **msgspec.structs.asdict(new)))
    call.noted.target, call.noted.detail = account, {"openid": new.issuer}


def show_openid(call: Call, _: Nothing) -> Openid:
    """Show the provider, without its secret."""
    return call.directory.openid(call.actor.account)


def remove_openid(call: Call, _: Nothing) -> None:
    """Forget the provider; sessions that it began go on."""
    call.directory.remove_openid(call.actor.account)
    call.noted.target, call.noted.detail = call.actor.account, {"openid": "none"}


def _permit_unbounded(actor: Principal) -> None:
    """`Forbidden` for a key that is bound more than a session."""
    ends = isinstance(actor, KeyOwner) and (actor.expires_at is not None or actor.networks)
    if ends or not {*get_args(KeyScope)} <= {*actor.scopes}:
        raise Forbidden(
            "a password opens more than this key does; set one signed in, or with a key that has all scopes, no end and"
            " no networks"
        )


def _session(call: Call) -> Session:
    """The session in the address, whose user is noted as the target; `NotFound` if there is none of the account."""
    session = call.directory.session(call.id("session"), call.actor.account)
    call.noted.target = session.email
    return session


def _shown(session: Session) -> UserSession:
    return UserSession(
        id=session.id,
        user=session.email,
        created_at=from_ms(session.created_at),
        last_used_at=from_ms(session.last_used_at),
        expires_at=from_ms(session.expires_at),
        address=session.address,
        client=session.client,
    )


def _home_of_session(directory: Directory, reference: str) -> str:
    return directory.user(directory.session(id_of(reference, "session")).email).account


VERBS: Final = (
    Verb("PUT", "/users/{id}/password", set_password, MANAGE_USERS, "password_changed", home=home_of_user),
    Verb("GET", "/sessions", list_user_sessions, MANAGE_USERS, home=home_of_user),
    Verb("GET", "/sessions/{id}", show_user_session, MANAGE_USERS, home=_home_of_session),
    Verb("DELETE", "/sessions/{id}", end_user_session, MANAGE_USERS, "session_ended", home=_home_of_session),
    by_owner(set_openid, "account_changed"),
    by_owner(show_openid),
    by_owner(remove_openid, "account_changed"),
)
