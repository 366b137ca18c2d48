"""Replies: bodies in the coding the client prefers, entity tags, and errors in their one shape.

Pure: knows no node and no route.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Literal

import msgspec
import zstandard
from isal import isal_zlib
from starlette.responses import Response

from calldex import budget
from calldex.errors import CalldexError, CursorExpired, MethodNotAllowed, Problem

JSON: Final = "application/json"
PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization, Cookie"}
"""The headers of what one asker may see and another may not: kept by nobody but them, and asked for again."""

SAFE_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every reply tells browsers."""
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")
"""What replies over TLS tell them as well: to come by TLS for a year."""
CLOSED_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"
"""The `Content-Security-Policy` of what is no page."""

# --- errors -----------------------------------------------------------------------------------------------------------


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every error looks like: `error` is what Voiso's clients read, the rest is RFC 9457.

    `type` ends with the error's code. `problems` has an entry for each parameter that is wrong; `earliest_cursor` is
    from where a change feed can still be read whose cursor is too old.
    """

    error: str
    type: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    problems: tuple[Problem, ...] = ()
    earliest_cursor: str | None = None


Component = Literal["store", "directory"]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether everything can be answered; if not, which parts are `down`, and why. One that answers has a `reason` as
    well when some of its hosts do not. `left_percent`: how much of what was committed cannot be searched yet; more than
    0 for long only where the store is being brought up to date."""

    ready: bool
    down: tuple[Component, ...]
    left_percent: int
    reason: str | None


class Unready(ErrorReply, frozen=True, kw_only=True):
    """The error of a node that is not ready, with the members of `Readiness`."""

    ready: bool
    down: tuple[Component, ...]
    left_percent: int
    reason: str | None


def error_members(error: CalldexError, request_id: str) -> ErrorReply:
    """What is told of an error that has a name."""
    return ErrorReply(
        error=error.message,
        type=f"urn:calldex:error:{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=error.status,
        detail=error.message,
        request_id=request_id,
        problems=error.problems,
        earliest_cursor=error.earliest_cursor if isinstance(error, CursorExpired) else None,
    )


def error_reply(error: CalldexError, request_id: str, members: ErrorReply | None = None) -> Response:
    """The reply for an error that has a name; `members` if there is more to tell."""
    headers = {"Cache-Control": "no-store"}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = str(error.retry_after or 1)
    body = msgspec.json.encode(members or error_members(error, request_id))
    return Response(body, error.status, headers, JSON)


# --- content coding ---------------------------------------------------------------------------------------------------

Coding = Literal["identity", "gzip", "zstd"]
MIN_CODED: Final = 1024
"""Bodies up to this size are sent as they are."""
GZIP_LEVEL: Final = 2
"""Of ISA-L's 0 to 3; the last takes twice the time for a twentieth less."""
ZSTD_LEVEL: Final = 1
_PREFERENCE: Final[tuple[Coding, ...]] = ("zstd", "gzip", "identity")
_CODING: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*(?:;\s*[qQ]=([01](?:\.\d{0,3})?)\s*)?")


@lru_cache(maxsize=256)
def coding_for(accept: str) -> Coding:
    """The coding that an `Accept-Encoding` prefers; of those it likes equally the one that suits us best."""
    items = (_CODING.fullmatch(item.strip()) for item in accept[:1000].split(","))
    weights = {item[1].lower().removeprefix("x-"): float(item[2] or 1) for item in items if item}
    others = weights.get("*", 0.0)
    liking = {coding: weights.get(coding, others) for coding in _PREFERENCE}
    # Identity is acceptable unless refused, but nobody who names another coding prefers it by keeping silent.
    liking["identity"] = weights.get("identity", 0.0)
    best = max(_PREFERENCE, key=lambda coding: liking[coding])
    return best if liking[best] > 0 else "identity"


_local: Final = threading.local()


def coded(body: bytes, coding: Coding) -> tuple[bytes, Coding]:
    """A body in a coding, if it is large enough for that, and the coding it is in. Takes its time, of which some
    must be left: for threads."""
    if len(body) <= MIN_CODED or coding == "identity":
        return body, "identity"
    budget.check()
    if coding == "gzip":
        return isal_zlib.compress(body, GZIP_LEVEL, 31), coding
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "zstd", None)
    if compressor is None:
        compressor = _local.zstd = zstandard.ZstdCompressor(ZSTD_LEVEL)
    return compressor.compress(body), coding


def coding_headers(coding: Coding) -> dict[str, str]:
    """What a reply says about its coding."""
    return {"Content-Encoding": coding} if coding != "identity" else {}


def sized(body: bytes, accept: str, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """A reply with a body of moderate size, in the coding the client prefers."""
    content, coding = coded(body, coding_for(accept))
    return Response(content, 200, {"Vary": "Accept-Encoding", **coding_headers(coding), **(headers or {})}, media_type)


# --- entity tags ------------------------------------------------------------------------------------------------------

_TAG: Final = re.compile(r'"([^"]*)"')


def tag_matches(if_none_match: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names a tag (given without quotes), compared weakly as RFC 9110 asks."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)
