"""What every request passes on its way in and out: its id, a line in the log, a count, safe headers, a last resort.

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

from calldex.api.metrics import Metrics
from calldex.api.reply import error_reply
from calldex.api.workers import ClientGone
from calldex.errors import CalldexError, Unavailable

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_CLIENT_LEFT: Final = 499
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = structlog.get_logger(__name__)


class Edge:
    """The layer, around an app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["calldex.request_id"] = request_id
        status, sent = 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_HEADERS]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        error: CalldexError | None = None
        try:
            await self._app(scope, receive, watched)
        except ClientGone:
            status = status or _CLIENT_LEFT
        except asyncio.CancelledError:
            error = Unavailable("the server is shutting down", retry_after=5)
        except Exception:  # noqa: BLE001 -- whatever it is, the client gets a reply and the log the reason
            # Formatted here: a formatter that shows local variables would show the key among them.
            _log.error("request_failed", request_id=request_id, route=_route(scope), exception=format_exc())
            error = CalldexError("something went wrong here; the log has the details under this request id")
        if error is not None and not status:
            await error_reply(error, request_id)(scope, receive, watched)
        self._note(scope, request_id, status, sent, time.perf_counter() - began)

    def _note(self, scope: Scope, request_id: str, status: int, sent: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(route, method, status, seconds)
        code = scope.get("calldex.error")
        if code is not None:
            self._metrics.refused(code)
        _log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            bytes=sent,
            key=scope.get("calldex.key"),
            error=code,
            request_id=request_id,
        )


def _route(scope: Scope) -> str:
    """The route's path as it is declared, not the one that was asked: that may be anything."""
    route = scope.get("route")
    return getattr(route, "path", "unknown")
