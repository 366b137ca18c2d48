"""The public HTTP surface put together: its routes, the layer around them, and how errors leave.

`public` is what a server serves and what tests ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from calldex.api import cdr, ingest
from calldex.api.administration import Administration
from calldex.api.audit import AuditReader
from calldex.api.cdr import CdrPages
from calldex.api.changes import Changed
from calldex.api.docs import POLICY, page
from calldex.api.endpoint import Handler
from calldex.api.export_jobs import BackgroundExports
from calldex.api.exports import EXPECTED, Exports
from calldex.api.health import Health
from calldex.api.history import History
from calldex.api.ingest import Posts
from calldex.api.lookups import Lookups
from calldex.api.missed import MissedCalls
from calldex.api.openapi import document
from calldex.api.openid import OpenidSignIn
from calldex.api.recordings import RecordingFiles
from calldex.api.routes import ENDPOINTS
from calldex.api.signin import SignIn
from calldex.api.statistics import Statistics
from calldex.api.web import Web
from calldex.errors import CalldexError, MethodNotAllowed, NotFound, TooMany, Unavailable
from calldex.jobs import exports as jobs
from calldex.node import Node
from calldex.transport.backpressure import Backpressure
from calldex.transport.limits import Limits
from calldex.transport.metrics import Metrics
from calldex.transport.middleware import Edge
from calldex.transport.replies import JSON, error_reply, sized
from calldex.transport.workers import Workers

POSTS_AT_ONCE: Final = 4
POSTS_WAITING: Final = 64
SMALL_POSTS_AT_ONCE: Final = 64
"""Of posts whose bodies are at most `ingest.SMALL`: many that wait for one commit share it."""
SMALL_POSTS_WAITING: Final = 512
STREAMS_AT_ONCE: Final = 4
STREAMS_WAITING: Final = 16
CORS_AGE_S: Final = 600
_ASKED_MOST: Final = frozenset((cdr.ENDPOINTS[0].path, ingest.ENDPOINTS[0].path))
"""These are looked for first: the router tries one route after another."""


class Handlers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that answers, over one node; each endpoint names its own."""

    cdr: CdrPages
    changed: Changed
    history: History
    exports: Exports
    export_jobs: BackgroundExports
    statistics: Statistics
    missed: MissedCalls
    lookups: Lookups
    posts: Posts
    administration: Administration
    audit: AuditReader
    sign_in: SignIn
    openid: OpenidSignIn
    recordings: RecordingFiles
    health: Health
    openapi: Handler
    docs: Handler
    web: Web


def public(node: Node) -> Starlette:
    """The app over a node, which stays the caller's to close. Its state has the server's `metrics`, `limits`,
    `backpressure`, and what makes exports in the background (`exporting`)."""
    settings = node.settings
    small = Workers("ingest-small", SMALL_POSTS_AT_ONCE, SMALL_POSTS_WAITING, _too_many)
    backpressure, seconds = Backpressure(), settings.query_timeout_s
    searches = Workers(
        "search", settings.max_queries, settings.max_waiting, _too_busy, backpressure.admit, place_s=seconds
    )
    posts = Workers("ingest", POSTS_AT_ONCE, POSTS_WAITING, _too_many)
    metrics = Metrics(node, searches, posts, backpressure)
    limits = Limits(settings, metrics.limited)
    streams = Workers("stream", STREAMS_AT_ONCE, STREAMS_WAITING, _too_busy, run_s=seconds)
    making = Workers("export", jobs.AT_ONCE, jobs.WAITING, _too_busy, run_s=seconds)
    reader = node.reader({"searches": searches, "streams": streams, "jobs": making}, metrics.served.inc)
    exporting = jobs.ExportJobs(node, reader)
    sign_in = SignIn(node)
    described = document()
    handlers = Handlers(
        cdr=CdrPages(node, reader),
        changed=Changed(node, reader),
        history=History(node, reader),
        exports=Exports(node, reader),
        export_jobs=BackgroundExports(node, reader, exporting),
        statistics=Statistics(node, reader),
        missed=MissedCalls(node, reader),
        lookups=Lookups(node, reader),
        posts=Posts(node, posts, small, metrics),
        administration=Administration(node),
        audit=AuditReader(node, searches),
        sign_in=sign_in,
        openid=OpenidSignIn(node, sign_in),
        recordings=RecordingFiles(node),
        health=Health(node, metrics),
        openapi=partial(_made, msgspec.json.encode(described), JSON, {}),
        docs=partial(_made, page(described), "text/html", {"Content-Security-Policy": POLICY}),
        web=Web(),
    )
    # A wrap-up code may have any characters, slashes among them.
    routes = [
        Route(each.path.replace("{code}", "{code:path}"), each.handler(handlers), methods=[each.method])
        for each in ENDPOINTS
    ]
    routes.sort(key=lambda route: route.path not in _ASKED_MOST)
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Edge, metrics=metrics, limits=limits, trusted=settings.trusted_proxies),
            *_cors(settings.cors_origins.listed),
        ],
        exception_handlers={CalldexError: _refused, HTTPException: _refused},
    )
    app.state.metrics, app.state.limits, app.state.backpressure = metrics, limits, backpressure
    app.state.exporting = exporting
    app.router.redirect_slashes = False  # a redirect would repeat the key that stands in the query string
    return app


_FILE_HEADERS: Final = ("Accept-Ranges", "Content-Disposition", "Content-Range")
"""What a page has to see of a file that it reads in parts."""


def _cors(origins: Sequence[str]) -> list[Middleware]:
    """What lets pages of other sites read the API. Never with cookies: they come with a key."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "HEAD"),
            allow_headers=("Authorization", "Content-Type", "If-None-Match", "X-Request-Id"),
            expose_headers=(EXPECTED, *_FILE_HEADERS, "ETag", "Retry-After", "X-Request-Id"),
            max_age=CORS_AGE_S,
        )
    ]


async def _made(body: bytes, media_type: str, headers: Mapping[str, str], request: Request) -> Response:
    """What never changes while the program runs."""
    return sized(body, request.headers.get("accept-encoding", ""), media_type, headers)


async def _refused(request: Request, error: Exception) -> Response:
    """The reply for what the router or a handler refuses."""
    request_id = request.scope["calldex.request_id"]
    match error:
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            error = NotFound("no such endpoint; see /docs")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            error = MethodNotAllowed(_methods(request))
    if not isinstance(error, CalldexError):
        raise error
    request.scope["calldex.error"] = error.code
    return error_reply(error, request_id)


def _methods(request: Request) -> list[str]:
    """What the address answers, by whichever of its routes."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in route.methods})


def _too_busy() -> CalldexError:
    return Unavailable("too many searches are running and waiting; try again shortly", retry_after=1)


def _too_many() -> CalldexError:
    return TooMany("too many requests that write are running and waiting; try again shortly", retry_after=1)
