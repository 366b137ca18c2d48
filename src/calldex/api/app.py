"""The public HTTP surface put together: its routes, the layer around them, and how errors leave.

`public` is what a server serves and what tests ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from calldex.api.cdr import CdrPages
from calldex.api.docs import POLICY, page
from calldex.api.edge import Edge
from calldex.api.health import Health
from calldex.api.ingest import Posts
from calldex.api.lookups import KINDS, Lookups
from calldex.api.metrics import Metrics
from calldex.api.openapi import document
from calldex.api.reply import JSON, error_reply, plain_error_body, sized
from calldex.api.workers import Workers
from calldex.errors import CalldexError, NotFound, TooMany, Unavailable
from calldex.node import Node

POSTS_AT_ONCE: Final = 4
POSTS_WAITING: Final = 64


def public(node: Node) -> Starlette:
    """The app over a node, which stays the caller's to close."""
    settings = node.settings
    searches = Workers("search", settings.max_queries, settings.max_waiting, _too_busy)
    posts = Workers("ingest", POSTS_AT_ONCE, POSTS_WAITING, _too_many)
    metrics = Metrics(node, searches, posts)
    cdr = CdrPages(node, searches, metrics)
    lookups = Lookups(node, searches)
    health = Health(node, metrics)
    described = document()
    routes = [
        Route("/api/v2/cdr", cdr.get),
        *(Route(f"/api/v2/cdr/{name}", lookups.of(kind)) for name, kind in KINDS.items()),
        Route("/api/v3/cdr/users", lookups.users),
        Route("/api/ingest/v1/records", Posts(node, posts, metrics).post, methods=["POST"]),
        Route("/", _root),
        Route("/openapi.json", partial(_made, msgspec.json.encode(described), JSON, {})),
        Route("/docs", partial(_made, page(described), "text/html", {"Content-Security-Policy": POLICY})),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
    ]

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Edge, metrics=metrics)],
        exception_handlers={CalldexError: _refused, HTTPException: _refused},
    )
    app.router.redirect_slashes = False  # a redirect would repeat the key that stands in the query string
    return app


async def _made(body: bytes, media_type: str, headers: Mapping[str, str], request: Request) -> Response:
    """What never changes while the program runs."""
    return sized(body, request.headers.get("accept-encoding", ""), media_type, headers)


async def _root(request: Request) -> Response:
    return Response(b'{"service":"calldex","documentation":"/docs"}', media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    """The reply for what the router or a handler refuses."""
    request_id = request.scope["calldex.request_id"]
    match error:
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            error = NotFound("there is nothing at this address; /docs lists the addresses there are")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            allowed = ", ".join(sorted(request.scope["route"].methods))
            body = plain_error_body(HTTPStatus.METHOD_NOT_ALLOWED, f"this address answers {allowed}", request_id)
            return Response(body, HTTPStatus.METHOD_NOT_ALLOWED, {"Cache-Control": "no-store", "Allow": allowed}, JSON)
    if not isinstance(error, CalldexError):
        raise error
    request.scope["calldex.error"] = error.code
    return error_reply(error, request_id)


def _too_busy() -> CalldexError:
    return Unavailable("too many searches are running and waiting; try again shortly", retry_after=1)


def _too_many() -> CalldexError:
    return TooMany("too many requests that write are running and waiting; try again shortly", retry_after=1)
