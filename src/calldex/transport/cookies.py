"""Cookies: what they are called, how they are set, and from where a browser may send them.

A cookie travels with whatever a browser sends, whoever made it send that. So a request that has no other credential is
looked at twice: `refuse_foreign` lets through what our own pages sent, and links that somebody followed.
"""

from __future__ import annotations

from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from calldex.errors import Forbidden
from calldex.sealing import Sealing

Name = Literal["calldex", "calldex_device", "calldex_openid", "calldex_as"]
SESSION: Final[Name] = "calldex"
DEVICE: Final[Name] = "calldex_device"
OPENID: Final[Name] = "calldex_openid"
SEEN_AS: Final[Name] = "calldex_as"
"""The id of the user as whom somebody sees. It needs no seal: whoever makes one up gets what they may, or less."""
READING: Final = frozenset({"GET", "HEAD"})


def cookie_of(request: Request, name: Name) -> str:
    """The value of a cookie of ours; empty without one.

    Read from the header as it came, in time linear in its length: our values need no quotation marks, and Python's own
    parser, which takes them away, needs a minute for 60 KB of backslashes.
    """
    begin = _name(request, name).encode() + b"="
    for header, value in request.scope["headers"]:
        if header == b"cookie":
            for pair in value.split(b";"):
                if (pair := pair.strip()).startswith(begin):
                    return str(pair[len(begin) :], "latin-1")
    return ""


def set_cookie(response: Response, request: Request, name: Name, value: str, life_s: int) -> None:
    """Give the browser a cookie that no script reads, and no other site sends but by a link; for 0 s: take it away."""
    response.set_cookie(
        _name(request, name), value, max_age=life_s, path="/", secure=_by_tls(request), httponly=True, samesite="lax"
    )


def _name(request: Request, name: Name) -> str:
    # With this prefix, browsers see to it that neither another host nor plain HTTP set it.
    return f"__Host-{name}" if _by_tls(request) else name


def _by_tls(request: Request) -> bool:
    return request.url.scheme == "https"


def origin_of(request: Request) -> str:
    """The origin that a request was sent to, as browsers write it."""
    return f"{request.url.scheme}://{request.url.netloc}"


def refuse_foreign(request: Request, *, proven: bool) -> None:
    """`Forbidden` for what another site made a browser send.

    Reading may come from anywhere as the browser's own step to a page. `proven` asks of all else that the browser says
    where it comes from; each browser of the last years does.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site in ("cross-site", "same-site")
    if request.method in READING:
        step = (request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")) == (
            "navigate",
            "document",
        )
        if foreign and not step:
            raise Forbidden("a page of another site asked for this in your name")
        return
    if foreign or (origin is not None and origin != origin_of(request)):
        raise Forbidden(
            f"this came from a page of {(origin or 'another site')[:100]}, not of {origin_of(request)[:100]}; behind a"
            " proxy with TLS, name the proxy in trusted_proxies"
        )
    if proven and site is None and origin is None:
        raise Forbidden("with a cookie alone, the browser must say where this comes from: Origin, or Sec-Fetch-Site")


def sealing_of(key: bytes, name: Name) -> Sealing:
    """What makes values of a cookie that only we can read or make."""
    return Sealing(key, "calldex cookie 1", name)
