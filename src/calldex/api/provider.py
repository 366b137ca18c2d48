"""The talk with an OpenID Connect provider: Authlib speaks the protocol, here its limits are set.

The authorization code flow with PKCE, state and nonce, and the check of ID tokens are the library's. Imported only when
somebody signs in by a provider. Reads no directory, and decides nothing about what somebody may.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import Annotated, Any, Final

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.starlette_client import (
    OAuthError,
    StarletteIntegration,
    StarletteOAuth2App,
)
from joserfc.errors import JoseError
from starlette.requests import Request

from calldex.api.openid import Attempt
from calldex.directory.openid import MOST_VALUES, OpenidClient, is_secure
from calldex.errors import Forbidden, Unavailable
from calldex.texts import is_whole

PATIENCE_S: Final = 5.0
"""How long a provider may take for one answer, from connecting to its last byte."""
ANSWER_LIMIT: Final = 256 * 1024
LEEWAY_S: Final = 60
"""How far its clock may be off ours."""
_SIGNED_BY: Final = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
)
"""Signatures by a key of which we know the public half alone; whoever knows our secret could make the others."""
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "Calldex"}
_BROKEN: Final = (httpx2.HTTPError, httpx2.InvalidURL, ValueError)
"""What goes wrong where a provider does not answer, or not what it should."""
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What we use of what a provider publishes about itself; the library would take any of it for a setting."""

    issuer: _Text
    authorization_endpoint: _Text
    token_endpoint: _Text
    jwks_uri: _Text
    userinfo_endpoint: _Text | None = None
    scopes_supported: tuple[str, ...] = ()
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of somebody: `values` are those of the claim that grants rights."""

    email: str
    email_verified: bool
    name: str
    values: tuple[str, ...]


class Provider:
    """One provider, as an account uses it."""

    def __init__(self, client: OpenidClient, metadata: _Metadata) -> None:
        self._client = client
        self._metadata = metadata
        self._app = _app(client, metadata)

    @classmethod
    async def discover(cls, client: OpenidClient) -> Provider:
        """Ask the issuer what it is; `Unavailable` if it does not say."""
        address = client.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            async with httpx2.AsyncClient(transport=_Bounded(), headers=_HEADERS) as asking:
                answer = (await asking.get(address)).raise_for_status()
            metadata = msgspec.json.decode(answer.content, type=_Metadata)
        except (*_BROKEN, msgspec.DecodeError) as error:
            raise _unusable(client, error) from error
        if metadata.issuer != client.issuer:
            raise _unusable(client, f"it calls itself {metadata.issuer[:200]}")
        if not is_secure(metadata.authorization_endpoint):
            raise _unusable(client, "its authorization endpoint is not https")
        return cls(client, metadata)

    async def begin(self, redirect_uri: str) -> tuple[str, Attempt]:
        """Where to send the browser, and what has to be known when it comes back."""
        begun: dict[str, str] = await self._app.create_authorization_url(redirect_uri)
        url = begun.pop("url")
        return url, Attempt(**begun, redirect_uri=redirect_uri)

    async def finish(self, request: Request, attempt: Attempt) -> Claims:
        """Who came back; `Forbidden` if the provider did not let them in, or what it says is not proven."""
        issuer = request.query_params.get("iss")
        if issuer != self._client.issuer and (
            issuer is not None or self._metadata.authorization_response_iss_parameter_supported
        ):
            raise Forbidden("this answer is not from the provider that was asked")
        # The library looks for what it has to know in a session of its own kind.
        kept = {"data": msgspec.to_builtins(attempt)}
        request.scope["session"] = {f"_state_{self._client.account}_{attempt.state}": kept}
        try:
            token = await self._app.authorize_access_token(
                request,
                leeway=LEEWAY_S,
                claims_options={
                    "iss": {"essential": True, "value": self._client.issuer},
                    "aud": {"essential": True, "value": self._client.client_id},
                },
            )
            if "id_token" not in token:
                raise Forbidden("the provider sent no ID token")
            said: dict[str, Any] = token["userinfo"]
            return self._claims(said | await self._more(said, token))
        except OAuthError as error:
            raise Forbidden(f"the provider refused to sign you in: {_reason(error)}") from error
        except (AuthlibBaseError, JoseError) as error:
            raise Forbidden(f"the provider's ID token failed a check: {_reason(error)}") from error
        except _BROKEN as error:
            raise _unusable(self._client, error) from error

    async def _more(self, said: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
        """What the provider tells when asked, where its ID token does not tell all."""
        missing = {"email", self._client.claim} - said.keys()
        if not missing or self._metadata.userinfo_endpoint is None:
            return {}
        more: dict[str, Any] = await self._app.userinfo(token=token)
        if more.get("sub") != said["sub"]:
            raise Forbidden("the provider's user info is about another user than its ID token")
        return more

    def _claims(self, said: dict[str, Any]) -> Claims:
        values = said.get(self._client.claim, [])
        values = [values] if isinstance(values, str) else values
        email, name = said.get("email"), said.get("name")
        if (
            not isinstance(email, str)
            or not is_whole(email)
            or not isinstance(values, list)
            or len(values) > MOST_VALUES
        ):
            raise Forbidden(f"the provider sent no e-mail address, or its claim {self._client.claim} is no list")
        return Claims(
            email=email,
            email_verified=said.get("email_verified") is True,
            name=name if isinstance(name, str) and is_whole(name) else "",
            values=tuple(value for value in values if isinstance(value, str) and is_whole(value)),
        )


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class _Bounded(httpx2.AsyncHTTPTransport):
    """Connections that cannot be read on their way, with answers that come in time and are not too large."""

    def __init__(self) -> None:
        super().__init__(verify=_trusted())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not is_secure(str(request.url)):
            raise httpx2.UnsupportedProtocol("it names an address that is not https")
        body = bytearray()
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await super().handle_async_request(request)
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise httpx2.DecodingError("it sent a compressed answer, which was not asked for")
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > ANSWER_LIMIT:
                        raise httpx2.ReadError(f"its answer has more than {ANSWER_LIMIT} bytes")
                await answer.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"it did not answer within {PATIENCE_S:g} s") from None
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(body))


class _Asking(AsyncOAuth2Client):  # type: ignore[misc]  # the library has no types
    """The library's client, over such connections."""

    def __init__(self, **settings: Any) -> None:
        # Used once, at once: it does not matter how soon an access token expires.
        super().__init__(transport=_Bounded(), headers=_HEADERS, leeway=0, **settings)


class _App(StarletteOAuth2App):  # type: ignore[misc]  # likewise
    client_cls = _Asking


def _app(client: OpenidClient, metadata: _Metadata) -> Any:
    scopes = ["openid", "email", "profile"]
    if client.claim in metadata.scopes_supported and client.claim not in scopes:
        scopes.append(client.claim)
    basic = "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
    return _App(
        StarletteIntegration(client.account),
        client.account,
        client_id=client.client_id,
        client_secret=client.client_secret,
        client_kwargs={
            "scope": " ".join(scopes),
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": "client_secret_basic" if basic else "client_secret_post",
        },
        issuer=metadata.issuer,
        authorization_endpoint=metadata.authorization_endpoint,
        token_endpoint=metadata.token_endpoint,
        jwks_uri=metadata.jwks_uri,
        userinfo_endpoint=metadata.userinfo_endpoint,
        id_token_signing_alg_values_supported=sorted(
            _SIGNED_BY.intersection(metadata.id_token_signing_alg_values_supported)
        ),
    )


def _reason(error: AuthlibBaseError | JoseError) -> str:
    """An error in the words of the provider or the library, which hold nothing secret."""
    return f"{error.error}: {error.description}"[:200] if error.description else str(error.error)[:100]


def _unusable(client: OpenidClient, reason: object) -> Unavailable:
    return Unavailable(
        f"the OpenID Connect provider {client.issuer} cannot be used now: {str(reason)[:200]}", retry_after=5
    )
