"""`/openid/start` and `/openid/callback`: how people sign in by the provider of their account.

Between the two the browser keeps, sealed, what has to be known again; the server keeps nothing. What the provider says
of somebody becomes their role and their groups, each time anew; the session that begins is one as any other.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from calldex.api.endpoint import Endpoint, parameter
from calldex.api.signin import SignIn
from calldex.audit.chain import ITSELF, Action, Actor, entry
from calldex.clock import now_ms
from calldex.directory import Client, OpenidClient, SignedIn, User
from calldex.errors import BadRequest, CalldexError, Forbidden, NotFound, TooMany
from calldex.node import Node
from calldex.sealing import KEY_BYTES
from calldex.transport.cookies import OPENID, cookie_of, origin_of, sealing_of, set_cookie
from calldex.transport.replies import JSON
from calldex.transport.requests import only, query_pairs
from calldex.transport.workers import Workers

if TYPE_CHECKING:
    from calldex.api.provider import Claims, Provider

START: Final = "/openid/start"
CALLBACK: Final = "/openid/callback"
WAYS: Final = "/api/session/ways"
ATTEMPT_S: Final = 600
"""How long somebody may be with their provider."""
METADATA_S: Final = 600
"""How long is believed what a provider published about itself."""
SILENT_S: Final = 5.0
"""How long one is not asked again that did not answer."""
TALKS_AT_ONCE: Final = 8
"""With how many people's providers is talked at the same time; each talk is a connection or two."""
TALKS_WAITING: Final = 64


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known of an attempt to sign in when the browser comes back, and by nobody else."""

    state: str
    nonce: str
    code_verifier: str
    redirect_uri: str


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser keeps meanwhile."""

    account: str
    began_ms: int
    attempt: Attempt


class Ways(msgspec.Struct, frozen=True):
    """How one can sign in: always with a password, and by the account's provider where there is one."""

    openid: bool


class _Known:
    """What a provider said, or is being asked, of itself, and until when that is believed."""

    def __init__(self, client: OpenidClient, provider: asyncio.Future[Provider], until: float) -> None:
        self.client = client
        self.provider = provider
        self.until = until


def _failed(request: Request, failure: CalldexError, kind: str, account: str = "main") -> Response:
    """A browser is sent to sign in, with the kind of failure; others are told the failure itself."""
    if "text/html" not in request.headers.get("accept", ""):
        raise failure
    request.scope["calldex.error"] = failure.code
    named = "" if account == "main" else f"&account={quote(account, safe='')}"
    return RedirectResponse(f"/signin?openid={kind}{named}", 303, {"Cache-Control": "no-store"})


def _ask_again_soon(known: _Known, asked: asyncio.Future[Provider]) -> None:
    if asked.cancelled() or asked.exception() is not None:
        known.until = time.monotonic() + SILENT_S


def _too_many() -> CalldexError:
    return TooMany("too many people are signing in by a provider at this moment; try again shortly", retry_after=1)


class OpenidSignIn:
    """The handlers, over a node and the sessions that they begin."""

    def __init__(self, node: Node, sign_in: SignIn) -> None:
        self._node = node
        self._sign_in = sign_in
        self._cookie = sealing_of(node.directory.secret("cookies", KEY_BYTES), OPENID)
        self._known: dict[str, _Known] = {}
        self._talking = Workers("openid", TALKS_AT_ONCE, TALKS_WAITING, _too_many)

    async def ways(self, request: Request) -> Response:
        """How one can sign in, for the page that asks before anybody did."""
        account = only(query_pairs(request), ("account",)).get("account", "main")
        try:
            await self._client(account)
        except NotFound:
            return _reply(Ways(openid=False))
        return _reply(Ways(openid=True))

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider of an account; if that does not answer, to sign in, which says so."""
        account = only(query_pairs(request), ("account",)).get("account", "main")
        try:
            return await self._begin(request, account)
        except CalldexError as failure:
            return _failed(request, failure, "failed", account)

    async def _begin(self, request: Request, account: str) -> Response:
        provider = await self._provider(await self._client(account))
        url, attempt = await provider.begin(origin_of(request) + CALLBACK)
        begun = Begun(account=account, began_ms=now_ms(), attempt=attempt)
        response = RedirectResponse(url, 302, {"Cache-Control": "no-store"})
        set_cookie(response, request, OPENID, self._cookie.seal(begun), ATTEMPT_S)
        return response

    async def callback(self, request: Request) -> Response:
        """Begin a session of who comes back from the provider, and send the browser to the page; where it did not
        work, a browser is sent to sign in, which says so. The address names the kind of failure alone: whoever makes
        somebody follow a link decides nothing that they read there."""
        try:
            return await self._finish(request)
        except CalldexError as failure:
            return _failed(request, failure, {403: "refused", 400: "late"}.get(failure.status, "failed"))

    async def _finish(self, request: Request) -> Response:
        begun = self._cookie.unseal(cookie_of(request, OPENID), Begun)
        at_ms = now_ms()
        if begun is None or at_ms >= begun.began_ms + ATTEMPT_S * 1000:
            raise BadRequest("signing in was not begun in this browser, or took too long; start again")
        client = await self._client(begun.account)
        provider, came = await self._provider(client), self._sign_in.client_of(request)
        email = ""
        try:
            async with self._talking.place(None):
                claims = await provider.finish(request, begun.attempt)
            email = claims.email
            signed = await self._sign_in.run(request, lambda: self._let_in(client, claims, came, at_ms))
        except Forbidden as refused:
            account = await asyncio.to_thread(self._node.directory.account, client.account)
            await self._sign_in.note_failure(request, email, account.id, refused)
            raise
        await self._sign_in.welcome(request, signed)
        response = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        set_cookie(response, request, OPENID, "", 0)
        return self._sign_in.with_cookies(request, signed, came, response)

    async def _client(self, account: str) -> OpenidClient:
        return await asyncio.to_thread(self._node.directory.openid_client, account)

    async def _provider(self, client: OpenidClient) -> Provider:
        """The provider as it describes itself. It is asked once, however many want to know, and one that does not
        answer is not asked again at once: a stranger's requests open no more connections than one."""
        known = self._known.get(client.account)
        if known is None or known.client != client or time.monotonic() >= known.until:
            from calldex.api.provider import Provider

            asking = asyncio.ensure_future(Provider.discover(client))
            known = self._known[client.account] = _Known(client, asking, time.monotonic() + METADATA_S)
            asking.add_done_callback(partial(_ask_again_soon, known))
        return await asyncio.shield(known.provider)

    def _let_in(self, client: OpenidClient, claims: Claims, came: Client, at_ms: int) -> SignedIn:
        """A session of the user whom a provider vouches for, with the rights that it gives them. For threads."""
        directory = self._node.directory
        if not claims.email_verified:
            raise Forbidden("the provider does not say that your e-mail address was verified")
        rights = directory.openid_rights(client, claims.values)
        try:
            user = directory.user(claims.email)
        except NotFound:
            user = directory.add_user(
                claims.email, claims.name or claims.email, rights.role, account=client.account, groups=rights.groups
            )
            self._note("user_added", user)
        if user.account != client.account or user.disabled_at is not None:
            raise Forbidden("the user with your e-mail address is disabled, or is not of this account")
        if (user.role, set(user.groups)) != (rights.role, set(rights.groups)):
            user, ended = directory.grant(user.account, user.email, rights)
            self._note("user_changed", user, ended)
        return directory.open_session(user.id, came, at_ms)

    def _note(self, action: Action, user: User, ended: str = "") -> None:
        """Note what a provider's word made of a user."""
        detail = {"by": "openid", "role": user.role or "", "groups": ", ".join(user.groups)}
        detail |= {"ended": ended} if ended else {}
        self._node.audit.note(
            entry(Actor(actor=ITSELF, account_id=user.account_id), action, target=user.email, detail=detail)
        )


def _reply(content: Ways) -> Response:
    return Response(msgspec.json.encode(content), 200, {"Cache-Control": "no-store"}, JSON)


_ACCOUNT: Final = parameter("account", "The account, `main` if none is named.", {"type": "string"}, "main")
ENDPOINTS: Final = (
    Endpoint(
        path=WAYS,
        handler=lambda handlers: handlers.openid.ways,
        id="ways_to_sign_in",
        tag="Signing in",
        summary="How to sign in",
        description="Whether an account has a provider; for who has not signed in yet.",
        gives=Ways,
        parameters=(_ACCOUNT,),
        errors=(400, 429, 500, 503),
    ),
    Endpoint(
        path=START,
        handler=lambda handlers: handlers.openid.start,
        id="start_openid",
        tag="Signing in",
        summary="Sign in by the account's OpenID Connect provider",
        description="For browsers: sends them there.",
        status=302,
        parameters=(_ACCOUNT,),
        errors=(400, 404, 429, 500, 503),
    ),
    Endpoint(
        path=CALLBACK,
        handler=lambda handlers: handlers.openid.callback,
        id="finish_openid",
        tag="Signing in",
        summary="Where the provider sends browsers back to",
        description="Begins the session, as signing in with a password does.",
        status=303,
        action="sign_in",
        limit="signing in",
        errors=(400, 403, 404, 409, 429, 500, 503),
    ),
)
