"""The table of routes: every endpoint of the public surface. Router, OpenAPI document and `/docs` are made from it.

A route is declared where its handler is; it is served and described when its module is named here.
"""

from __future__ import annotations

from typing import Any, Final

from calldex.api import (
    administration,
    audit,
    cdr,
    changes,
    export_jobs,
    exports,
    health,
    history,
    ingest,
    lookups,
    missed,
    openid,
    recordings,
    signin,
    statistics,
    web,
)
from calldex.api.docs import OPENAPI_PATH, PAGE_PATH
from calldex.api.endpoint import Endpoint

_DOCUMENTS: Final = (
    Endpoint(
        path=OPENAPI_PATH,
        handler=lambda handlers: handlers.openapi,
        id="openapi",
        tag="Documents",
        summary="This document",
        description="What the API takes and gives, for programs (OpenAPI 3.1).",
        gives=dict[str, Any],
    ),
    Endpoint(
        path=PAGE_PATH,
        handler=lambda handlers: handlers.docs,
        id="docs",
        tag="Documents",
        summary="The same for people",
        description="A page without scripts.",
        gives=str,
        media_type="text/html",
    ),
)
ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *cdr.ENDPOINTS,
    *changes.ENDPOINTS,
    *history.ENDPOINTS,
    *exports.ENDPOINTS,
    *export_jobs.ENDPOINTS,
    *statistics.ENDPOINTS,
    *missed.ENDPOINTS,
    *lookups.ENDPOINTS,
    *ingest.ENDPOINTS,
    *administration.ENDPOINTS,
    *audit.ENDPOINTS,
    *signin.ENDPOINTS,
    *openid.ENDPOINTS,
    *recordings.ENDPOINTS,
    *health.ENDPOINTS,
    *_DOCUMENTS,
    *web.ENDPOINTS,
)
