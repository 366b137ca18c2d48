"""`/api/session` and `/api/sessions`: how people sign in with a password, see where they are signed in, and sign out.

Who is signed in has a cookie, and every other route takes it in place of a key (`transport.requests.caller`). Here
alone sessions begin and end, so here alone that is noted. Nothing is decided about what somebody may.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Final, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from calldex.access import Permission, Role, permissions_of
from calldex.api.audited import actor_of, audited
from calldex.api.endpoint import ID_SCHEMA, SIGNING_IN_ERRORS, Endpoint, parameter
from calldex.audit.chain import Actor, entry
from calldex.clock import now_ms
from calldex.directory import Client, Device, SessionOwner, SignedIn
from calldex.directory.sessions import LIFE_MS
from calldex.errors import CalldexError, NotFound, TooMany, Unauthorized, UnsupportedMedia
from calldex.inputs import SECRET, from_json
from calldex.node import Node
from calldex.records.record import from_ms
from calldex.sealing import KEY_BYTES
from calldex.transport.cookies import DEVICE, SEEN_AS, SESSION, cookie_of, refuse_foreign, sealing_of, set_cookie
from calldex.transport.replies import JSON
from calldex.transport.requests import address_of, body_of, media_type_of, only, query_pairs, session_of
from calldex.transport.workers import Workers

BODY_LIMIT: Final = 8 * 1024
HASHING_AT_ONCE: Final = 2
HASHING_WAITING: Final = 32
DEVICE_LIFE_S: Final = 365 * 86_400
_DEVICE_BYTES: Final = 16
_HEADERS: Final = {"Cache-Control": "no-store"}
_ID: Final = re.compile(r"[1-9][0-9]{0,14}")

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


Secret = Annotated[str, msgspec.Meta(extra_json_schema=SECRET)]


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody signs in with."""

    email: str
    password: Secret


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code of a link that a demo printed."""

    code: Secret


class SeeAs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The id of the user as whom one wants to see."""

    user: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password somebody has, and the one they want: 12 to 256 characters, not their e-mail address or a part of
    it."""

    old: Secret
    new: Secret


class SignedInUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in, what they may, the zone their days are cut in, and when they have to sign in again at the
    latest. `seen_as`: the e-mail address of the user as whom they see; permissions, groups and zone are that one's
    then."""

    email: str
    name: str
    account: str
    role: Role | None
    groups: tuple[str, ...]
    permissions: tuple[Permission, ...]
    timezone: str
    expires_at: datetime
    seen_as: str | None = None


class SessionReply(msgspec.Struct, frozen=True, kw_only=True):
    """Where a user is signed in; `client` is what their browser calls itself, `current` the session that asks."""

    id: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    client: str
    current: bool


class SignIn:
    """The handlers, over a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._directory = node.directory
        self._workers = Workers("signin", HASHING_AT_ONCE, HASHING_WAITING, _too_many)
        self._device = sealing_of(node.directory.secret("cookies", KEY_BYTES), DEVICE)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session."""
        refuse_foreign(request, proven=False)
        given = await _given(request, Credentials)
        client, at_ms = self.client_of(request), now_ms()
        try:
            signed = await self.run(
                request, lambda: self._directory.sign_in(given.email, given.password, client, at_ms)
            )
        except Unauthorized as refused:
            account_id = await asyncio.to_thread(self._directory.account_of_email, given.email)
            await self.note_failure(request, given.email, account_id, refused)
            raise
        owner = await self.welcome(request, signed)
        return self.with_cookies(request, signed, client, await self._described(request, owner))

    async def take_code(self, request: Request) -> Response:
        """Begin a session of who shows the code that a demo printed."""
        refuse_foreign(request, proven=False)
        given = await _given(request, Code)
        code, client, at_ms = self._node.one_time_code, self.client_of(request), now_ms()
        email = code.take(given.code) if code is not None else None
        if email is None:
            raise Unauthorized("this link was used, is too old, or is not of this server; sign in with a password")

        def begin() -> SignedIn:
            return self._directory.open_session(self._directory.user(email).id, client, at_ms)

        signed = await self.run(request, begin)
        owner = await self.welcome(request, signed)
        return self.with_cookies(request, signed, client, await self._described(request, owner))

    async def show(self, request: Request) -> Response:
        """Who is signed in."""
        only(query_pairs(request), ())
        return await self._described(request, await session_of(request, self._directory))

    async def sign_out(self, request: Request) -> Response:
        """End the session that asks."""
        owner = await session_of(request, self._directory, themselves=True)
        async with audited(self._node.audit, request, owner, "sign_out"):
            await self.run(request, lambda: self._directory.end_session(owner.session_id, owner.email))
        response = Response(None, 204, _HEADERS)
        set_cookie(response, request, SESSION, "", 0)
        set_cookie(response, request, SEEN_AS, "", 0)
        return response

    async def see_as(self, request: Request) -> Response:
        """See as another user from now on, in this browser: what they may read, and nothing else."""
        owner = await session_of(request, self._directory, themselves=True)
        given = await _given(request, SeeAs)
        async with audited(self._node.audit, request, owner, "seen_as") as noted:
            noted.target = str(given.user)
            seen = await self.run(request, lambda: self._directory.seen_as(owner, given.user))
            noted.target = seen.seen_as
        response = await self._described(request, seen)
        set_cookie(response, request, SEEN_AS, str(given.user), LIFE_MS // 1000)
        return response

    async def see_as_oneself(self, request: Request) -> Response:
        """See as yourself again."""
        await session_of(request, self._directory, themselves=True)
        response = Response(None, 204, _HEADERS)
        set_cookie(response, request, SEEN_AS, "", 0)
        return response

    async def change_password(self, request: Request) -> Response:
        """Change the password of who is signed in, and end their other sessions."""
        owner = await session_of(request, self._directory)
        given = await _given(request, NewPassword)
        client, at_ms = self.client_of(request), now_ms()
        async with audited(self._node.audit, request, owner, "password_changed"):
            await self.run(request, lambda: self._directory.change_password(owner, given.old, given.new, client, at_ms))
        return Response(None, 204, _HEADERS)

    async def list(self, request: Request) -> Response:
        """Where the user who asks is signed in."""
        only(query_pairs(request), ())
        at_ms = now_ms()
        owner = await session_of(request, self._directory, themselves=True)
        found = await self.run(request, lambda: self._directory.list_sessions(at_ms, owner.email))
        return _reply(
            [
                SessionReply(
                    id=session.id,
                    created_at=from_ms(session.created_at),
                    last_used_at=from_ms(session.last_used_at),
                    expires_at=from_ms(session.expires_at),
                    address=session.address,
                    client=session.client,
                    current=session.id == owner.session_id,
                )
                for session in found
            ]
        )

    async def end(self, request: Request) -> Response:
        """End one of the sessions of the user who asks."""
        owner = await session_of(request, self._directory)
        text: str = request.path_params["id"]
        if not _ID.fullmatch(text):
            raise NotFound(f"there is no session {text[:100]!r}; an id is a whole number")
        session_id = int(text)
        async with audited(self._node.audit, request, owner, "session_ended") as noted:
            noted.target, noted.detail = owner.email, {"session": session_id}
            await self.run(request, lambda: self._directory.end_session(session_id, owner.email))
        return Response(None, 204, _HEADERS)

    # --- what signing in by a provider needs as well ------------------------------------------------------------------

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Do work that hashes, or writes, in a thread; only so much at once."""
        async with self._workers.place(request.receive):
            return await self._workers.run(work)

    def client_of(self, request: Request) -> Client:
        """What a request comes from."""
        device = self._device.unseal(cookie_of(request, DEVICE), Device)
        return Client(address=address_of(request), name=request.headers.get("user-agent", ""), device=device)

    async def welcome(self, request: Request, signed: SignedIn) -> SessionOwner:
        """Whose a new session is. It takes the place of the one that the browser had."""
        before, at_ms = cookie_of(request, SESSION), now_ms()

        def find() -> SessionOwner | None:
            self._directory.end_session_of(before)
            return self._directory.find_session(signed.token, at_ms)

        owner = await self.run(request, find)
        if owner is None:
            raise Unauthorized("you were disabled while you signed in")
        request.scope["calldex.key"] = owner.credential
        await self._node.audit.record(entry(actor_of(request, owner), "sign_in"))
        return owner

    async def note_failure(self, request: Request, email: str, account_id: int, refused: CalldexError) -> None:
        """Note that somebody who calls themselves by an e-mail address was not let in, where the account's admins see
        it."""
        actor = Actor(
            actor=email,
            account_id=account_id,
            address=address_of(request),
            request_id=request.scope["calldex.request_id"],
        )
        await self._node.audit.record(entry(actor, "sign_in_failed", status=refused.status))

    def with_cookies(self, request: Request, signed: SignedIn, client: Client, response: Response) -> Response:
        """A response that gives the browser its session, and lets it be known as one that its user signed in with."""
        set_cookie(response, request, SESSION, signed.token, LIFE_MS // 1000)
        if cookie_of(request, SEEN_AS):
            set_cookie(response, request, SEEN_AS, "", 0)
        user_id = signed.session.user_id
        device = client.device
        if device is None or device.user_id != user_id:
            device = Device(user_id, secrets.token_bytes(_DEVICE_BYTES))
        set_cookie(response, request, DEVICE, self._device.seal(device), DEVICE_LIFE_S)
        return response

    async def _described(self, request: Request, owner: SessionOwner) -> Response:
        user = await self.run(request, lambda: self._directory.user(owner.email))
        permissions = permissions_of(owner)
        return _reply(
            SignedInUser(
                email=user.email,
                name=user.name,
                account=user.account,
                role=user.role,
                groups=tuple(group.name for group in owner.groups),
                permissions=tuple(each for each in get_args(Permission) if each in permissions),
                timezone=owner.timezone,
                expires_at=from_ms(owner.expires_at),
                seen_as=owner.seen_as or None,
            )
        )


def _too_many() -> CalldexError:
    return TooMany("too many people are signing in at this moment; try again shortly", retry_after=1)


def _reply(content: object) -> Response:
    return Response(msgspec.json.encode(content), 200, _HEADERS, JSON)


async def _given(request: Request, kind: type[S]) -> S:
    """The body. What is wrong with it is told without what was given: that may be a password."""
    only(query_pairs(request), ())
    if media_type_of(request) != JSON:
        raise UnsupportedMedia("the body of this request must be a JSON object, sent as application/json")
    return from_json(await body_of(request, BODY_LIMIT), kind)


_endpoint: Final = partial(Endpoint, tag="Signing in", limit="signing in", errors=SIGNING_IN_ERRORS)
ENDPOINTS: Final = (
    _endpoint(
        method="POST",
        path="/api/session",
        handler=lambda handlers: handlers.sign_in.sign_in,
        id="sign_in",
        summary="Sign in with a password",
        description=(
            "The reply sets a cookie, which every other operation takes in place of a key, from pages of this server"
            " alone: a request that has only the cookie must have `Sec-Fetch-Site` or `Origin`, as browsers send them."
            " Failures make the next attempt wait: 429, with `Retry-After`."
        ),
        gives=SignedInUser,
        action="sign_in",
        body={JSON: Credentials},
        errors=(*SIGNING_IN_ERRORS, 413, 415),
    ),
    _endpoint(
        method="POST",
        path="/api/session/code",
        handler=lambda handlers: handlers.sign_in.take_code,
        id="take_code",
        summary="Sign in by the link that a demo printed",
        description="Once, within ten minutes. Only a demo that listens on the loopback address prints one.",
        gives=SignedInUser,
        action="sign_in",
        body={JSON: Code},
        errors=(*SIGNING_IN_ERRORS, 413, 415),
        documented=False,
    ),
    _endpoint(
        path="/api/session",
        handler=lambda handlers: handlers.sign_in.show,
        id="show_session",
        summary="Who is signed in",
        description="And what they may do.",
        gives=SignedInUser,
        credential="session",
    ),
    _endpoint(
        method="DELETE",
        path="/api/session",
        handler=lambda handlers: handlers.sign_in.sign_out,
        id="sign_out",
        summary="Sign out",
        description="Ends the session.",
        status=204,
        credential="session",
        action="sign_out",
    ),
    _endpoint(
        method="PUT",
        path="/api/session/as",
        handler=lambda handlers: handlers.sign_in.see_as,
        id="see_as",
        summary="See as another user",
        description=(
            "From then on this browser reads with the rights of that user, and changes nothing. Needs `manage_users` or"
            " `manage_access`, and a user who has no rights that you lack. Each request is in the audit under your"
            " name, with theirs as `as`."
        ),
        gives=SignedInUser,
        credential="session",
        action="seen_as",
        body={JSON: SeeAs},
        errors=(*SIGNING_IN_ERRORS, 404, 413, 415),
    ),
    _endpoint(
        method="DELETE",
        path="/api/session/as",
        handler=lambda handlers: handlers.sign_in.see_as_oneself,
        id="see_as_oneself",
        summary="See as yourself again",
        description="Ends seeing as another user.",
        status=204,
        credential="session",
    ),
    _endpoint(
        method="PUT",
        path="/api/session/password",
        handler=lambda handlers: handlers.sign_in.change_password,
        id="change_password",
        summary="Change your password",
        description="Ends all other sessions. Wrong passwords make the next attempt wait, as they do when signing in.",
        status=204,
        credential="session",
        action="password_changed",
        body={JSON: NewPassword},
        errors=(*SIGNING_IN_ERRORS, 413, 415),
    ),
    _endpoint(
        path="/api/sessions",
        handler=lambda handlers: handlers.sign_in.list,
        id="list_sessions",
        summary="Where you are signed in",
        description="The newest session first.",
        gives=list[SessionReply],
        credential="session",
    ),
    _endpoint(
        method="DELETE",
        path="/api/sessions/{id}",
        handler=lambda handlers: handlers.sign_in.end,
        id="end_session",
        summary="End one of your sessions",
        description="At once, and on every node within two seconds.",
        status=204,
        credential="session",
        action="session_ended",
        parameters=(parameter("id", "The id.", ID_SCHEMA, where="path"),),
        errors=(*SIGNING_IN_ERRORS, 404),
    ),
)
