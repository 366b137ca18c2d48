"""What a client sent, as pairs of text: from the query string, and from the JSON body that the oldest clients send.

Reads and bounds; what the names and values mean is for `query`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Message

from calldex.clock import now_ms
from calldex.directory import Directory, KeyOwner, SessionOwner
from calldex.errors import (
    BadParameters,
    BadRequest,
    Forbidden,
    Problem,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    suggest,
)
from calldex.texts import as_item, is_whole
from calldex.transport.cookies import READING, SEEN_AS, SESSION, cookie_of, refuse_foreign
from calldex.transport.limits import Limits
from calldex.transport.shares import ASKER, Asker
from calldex.transport.workers import ClientGone

Pairs = list[tuple[str, str]]
Caller = KeyOwner | SessionOwner

GET_BODY_LIMIT: Final = 256 * 1024
BODY_SECONDS: Final = 30.0
"""How long a client may take to send a body, however fast it comes."""
BODY_GRACE_SECONDS: Final = 5.0
_UNREAD_SECONDS: Final = 0.1
BODY_BYTES_A_SECOND: Final = 1024
"""How fast a body has to come on average, after a while."""
MOST_PAIRS: Final = 100
_VALID: Final = "whole characters as text, a number, or a list of them"
DIRECTORY_SECONDS: Final = 5.0
"""How long a request waits for the directory to say whose it is."""
_asking: Final = ThreadPoolExecutor(1, thread_name_prefix="who")
_T = TypeVar("_T")


async def body_of(request: Request, limit: int) -> bytes:
    """The body; `TooLarge` as soon as more than `limit` bytes of it have come, `TooSlow` if they do not come."""
    parts: list[bytes] = []
    size = 0
    began, unread, more = asyncio.get_running_loop().time(), _UNREAD_SECONDS, True
    try:
        while more:
            message, late = await _next_part(request, began + _body_seconds(size), unread)
            unread = 0 if late else unread
            if message["type"] == "http.disconnect":
                raise ClientGone
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > limit:
                raise TooLarge(f"a body may have up to {limit} bytes; this one has more")
            parts.append(part)
    except TimeoutError:
        raise TooSlow(
            f"{size} bytes of the body arrived within {_body_seconds(size):g} s; after {BODY_GRACE_SECONDS:g} s it has"
            f" to come at {BODY_BYTES_A_SECOND} bytes a second or more, and to be complete within {BODY_SECONDS:g} s"
        ) from None
    return b"".join(parts)


async def _next_part(request: Request, deadline: float, unread: float) -> tuple[Message, bool]:
    """The next part of a body, and whether it was late; `TimeoutError` if it does not come by then.

    What came in time, and lay there unread since this process stood still, counts as in time: when the time has passed,
    what can be had within `unread` seconds is taken before it is given up. Once for a body, or it could go on for ever.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        passed = loop.call_at(deadline, lambda: limit.reschedule(loop.time() + unread))
        try:
            return await request.receive(), limit.when() is not None
        finally:
            passed.cancel()


def _body_seconds(size: int) -> float:
    """How long this much of a body may take before more of it comes."""
    return min(BODY_SECONDS, BODY_GRACE_SECONDS + size / BODY_BYTES_A_SECOND)


def media_type_of(request: Request) -> str:
    """The content type without its parameters, in lower case; empty if none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def pairs_of(request: Request) -> Pairs:
    """The parameters of a GET: those of the query string, then those of its JSON body if it has one."""
    pairs = query_pairs(request)
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return pairs
    body = await body_of(request, GET_BODY_LIMIT)
    if not body.strip():
        return pairs
    if media_type_of(request) != "application/json":
        raise UnsupportedMedia("the body of this request must be a JSON object, sent as application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("the body of this request must not be compressed")
    return pairs + _body_pairs(body)


def query_pairs(request: Request) -> Pairs:
    """The parameters of the query string, in their order."""
    raw: bytes = request.scope["query_string"]
    if not raw:
        return []
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS)
    except UnicodeDecodeError:
        raise BadRequest("the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise BadRequest(f"the query string has more than {MOST_PAIRS} parameters") from None


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object in their order, those that come twice included."""


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _body_pairs(body: bytes) -> Pairs:
    try:
        # Numbers are kept as they are written: an id or a telephone number must not go through a float.
        found = json.loads(body, object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, _Object):
        raise BadRequest("the body must be a JSON object of parameters")
    if len(found) > MOST_PAIRS:
        raise BadRequest(f"the body has more than {MOST_PAIRS} parameters")
    problems = [
        Problem(name[:100] if is_whole(name) else "", "", "is not a value a parameter can have", _VALID)
        for name, value in found
        if not (is_whole(name) and _is_plain(value))
    ]
    if problems:
        raise BadParameters(problems)
    return [(name, _text(value)) for name, value in found]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list) and not isinstance(value, _Object):
        return all(isinstance(item, str) and is_whole(item) for item in value)
    return value is None or (isinstance(value, str) and is_whole(value))


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else ",".join(map(as_item, value))


# --- who asks ---------------------------------------------------------------------------------------------------------


def address_of(request: Request) -> str:
    """The client's address: behind a proxy that is trusted, as that one says; empty where there is none."""
    found: str | None = request.scope.get("calldex.address")
    return found or (request.client.host if request.client else "")


async def caller(request: Request, directory: Directory, pairs: Pairs) -> tuple[Caller, Pairs]:
    """Who asks, by their key or else by the cookie of their session, and what is left of their parameters without the
    key.

    `Unauthorized` without either, `Unavailable` if the directory does not tell now, `RateExceeded` for too many
    requests, `BadParameters` for a key that is given twice, `Forbidden` for what another site made their browser send.
    """
    given = [value.strip() for name, value in pairs if name == "key"]
    said = request.headers.getlist("authorization")
    if len(given) > 1 or len(said) > 1:
        raise BadParameters([Problem("key", "", "given more than once", "one key, in one place")])
    keys = {*given} - {""}
    scheme, _, bearer = "".join(said).partition(" ")
    if scheme.lower() == "bearer":
        keys |= {bearer.strip()} - {""}
    if len(keys) > 1:
        raise BadParameters([Problem("key", "", "two different keys are given", "one key, in one place")])
    owner: Caller
    if keys:
        key, address = keys.pop(), address_of(request) or None
        found = directory.known_key(key, address) or await _found(lambda: directory.find_key(key, address))
        _admit(request, ("key", found.key_id) if found else None)
        if found is None:
            raise Unauthorized
        directory.touch_key(found.key_id, now_ms())
        request.scope["calldex.key"] = found.credential
        _asks(request, Asker(found.account_id, ("key", found.key_id)))
        owner = found
    else:
        owner = await session_of(request, directory)
    return owner, [(name, value) for name, value in pairs if name != "key"]


async def session_of(request: Request, directory: Directory, *, themselves: bool = False) -> SessionOwner:
    """Whose the session is that the request's cookie opens, with the rights of the user as whom they see, unless what
    is asked for is about `themselves`. `Unauthorized` without a session, `Forbidden` for what another site made their
    browser send, and for what would change something while they see as another."""
    token = cookie_of(request, SESSION)
    at_ms = now_ms()
    owner = directory.known_session(token, at_ms) or await _found(lambda: directory.find_session(token, at_ms))
    _admit(request, ("session", owner.session_id) if owner else None)
    if owner is None:
        raise Unauthorized("your session has ended; sign in again") if token else Unauthorized
    refuse_foreign(request, proven=True)
    request.scope["calldex.key"] = owner.credential
    _asks(request, Asker(owner.account_id, ("session", owner.session_id)))
    directory.touch_session(owner.session_id, at_ms)
    other = "" if themselves else cookie_of(request, SEEN_AS)
    return await _as_seen(request, directory, owner, other) if other else owner


async def _as_seen(request: Request, directory: Directory, owner: SessionOwner, other: str) -> SessionOwner:
    """Whoever sees as another reads, and changes nothing."""
    if not (other.isascii() and other.isdecimal() and len(other) <= 15):
        raise BadRequest("the cookie that names the user you see as is not valid; sign out")
    seen = await _found(lambda: directory.seen_as(owner, int(other)))
    if request.method not in READING:
        raise Forbidden(f"you see as {seen.seen_as}, which changes nothing; end that first")
    return seen


def _asks(request: Request, asker: Asker) -> None:
    """From here on, what the request takes up is of this one's share."""
    request.scope["calldex.asker"] = asker
    ASKER.set(asker)


async def _found(find: Callable[[], _T]) -> _T:
    """What the directory's database tells, asked in a thread: it may take its time, and others must not wait for it."""
    try:
        async with asyncio.timeout(DIRECTORY_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(_asking, find)
    except TimeoutError:
        raise Unavailable(
            f"the directory database did not answer within {DIRECTORY_SECONDS:g} s", retry_after=2
        ) from None


def _admit(request: Request, who: tuple[str, int] | None) -> None:
    """`RateExceeded` if they, or who is nobody, came too often."""
    limits: Limits = request.app.state.limits
    limits.admit(request.scope, who)


def only(pairs: Pairs, known: tuple[str, ...]) -> dict[str, str]:
    """The parameters by name, where only these are known and each may come once; an empty one is not given."""
    problems: list[Problem] = []
    found: dict[str, str] = {}
    valid = ", ".join((*known, "key"))
    for name, value in pairs:
        if name not in known:
            problems.append(Problem(name[:100], value[:100], f"unknown parameter{suggest(name, known)}", valid))
        elif name in found:
            problems.append(Problem(name, value[:100], "given more than once", "one value"))
        else:
            found[name] = value.strip()
    if problems:
        raise BadParameters(problems)
    return {name: value for name, value in found.items() if value}
