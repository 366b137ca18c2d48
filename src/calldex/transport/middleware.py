"""What every request passes on its way in and out: whose it is, its id, the limit of its address, a line in the log, a
count, safe headers, a last resort.

Outermost of our own; plain ASGI, since this runs for every request. Logs no query string, no body, no key but its
prefix.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from traceback import format_exc
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from calldex.access.masking import NOBODY, masked_text
from calldex.errors import CalldexError, Unavailable
from calldex.networks import Networks, read_address, site_of
from calldex.texts import without_keys
from calldex.transport.limits import Limits
from calldex.transport.metrics import Metrics
from calldex.transport.proxies import forwarded
from calldex.transport.replies import CLOSED_POLICY, SAFE_HEADERS, STRICT_TRANSPORT, error_reply
from calldex.transport.shares import ASKER, Asker
from calldex.transport.streams import BrokenOff
from calldex.transport.workers import ClientGone

UNCOUNTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is asked by machines that must get an answer when others ask too much."""
NOWHERE: Final = "0.0.0.0"  # noqa: S104 -- the address of who has none, since they left already
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_LEFT: Final = 499
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = structlog.get_logger(__name__)


class Edge:
    """The layer, around an app.

    Leaves in the scope: `calldex.request_id`; `calldex.address`, the client's, as text; `scheme`, as the client used
    it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: Limits, trusted: Networks) -> None:
        self._app = app
        self._metrics = metrics
        self._limits = limits
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        # Or a misplaced key, or a number, would be logged.
        is_one = _REQUEST_ID.fullmatch(given) and without_keys(given) == given == masked_text(given, NOBODY)
        request_id = given if is_one else secrets.token_hex(8)
        scope["calldex.request_id"] = request_id
        status, sent = 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *_added(scope, message),
                    (b"x-request-id", request_id.encode()),
                ]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        error: CalldexError | None = None
        try:
            self._receive(scope, headers)
            await self._app(scope, receive, watched)
        except ClientGone:
            status = status or _CLIENT_LEFT
        except BrokenOff:
            pass  # the log has the reason
        except asyncio.CancelledError:
            error = Unavailable("the server is shutting down", retry_after=5)
        except CalldexError as refusal:
            error = refusal
            scope["calldex.error"] = error.code
        except Exception:  # noqa: BLE001 -- whatever it is, the client gets a reply and the log the reason
            # Formatted here: a formatter that shows local variables would show the key among them.
            _log.error("request_failed", request_id=request_id, route=_route(scope), exception=format_exc())
            error = CalldexError("something went wrong here; the log has the details under this request id")
        if error is not None and not status:
            await error_reply(error, request_id)(scope, receive, watched)
        self._note(scope, request_id, status, sent, time.perf_counter() - began)

    def _receive(self, scope: Scope, headers: Headers) -> None:
        """Find out whose the request is, and whether they may come."""
        peer = str(read_address(scope["client"][0])) if scope["client"] else NOWHERE
        scope["calldex.address"] = peer
        scope["calldex.address"], scheme = forwarded(peer, headers, self._trusted)
        if scheme is not None:
            scope["scheme"] = scheme
        ASKER.set(Asker(0, ("address", site_of(scope["calldex.address"]))))  # until a key says more
        if scope["path"] not in UNCOUNTED:
            self._limits.arrive(scope)

    def _note(self, scope: Scope, request_id: str, status: int, sent: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(route, method, status, seconds)
        code = scope.get("calldex.error")
        if code is not None:
            self._metrics.refused(code)
        tell = _log.debug if scope["path"] in UNCOUNTED else _log.info
        tell(
            "request",
            address=scope.get("calldex.address"),
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            bytes=sent,
            key=scope.get("calldex.key"),
            error=code,
            request_id=request_id,
        )


def _added(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    """What a reply says beside what it says by itself."""
    said = {name for name, _ in message["headers"]}
    added = [*SAFE_HEADERS, *scope.get("calldex.rate", ())]
    if b"content-security-policy" not in said:
        added.append((b"content-security-policy", CLOSED_POLICY))
    if b"cache-control" not in said:
        added.append((b"cache-control", b"no-store"))
    if scope["scheme"] == "https":
        added.append(STRICT_TRANSPORT)
    return added


def _route(scope: Scope) -> str:
    """The route's path as it is declared, not the one that was asked: that may be anything."""
    route = scope.get("route")
    return getattr(route, "path", "unknown")
