"""The page's own files: the one document behind every address of the page, and the scripts and styles it names.

They are made by the package's build (`web/`) and are the same for everybody: what somebody may see comes from the API
alone. Nothing here reads a record or asks who is there.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import zstandard
from starlette.requests import Request
from starlette.responses import Response

from calldex.api.endpoint import Endpoint
from calldex.errors import NotFound
from calldex.transport.replies import Coding, coding_for, coding_headers, tag_matches

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'"
)
"""The page's `Content-Security-Policy`: nothing inline, nothing from elsewhere."""
BUILT: Final = Path(__file__).parents[1] / "web"
ADDRESSES: Final = (
    "/",
    "/signin",
    "/cdr/{uuid}",
    "/figures",
    "/missed",
    "/wallboard",
    "/docs",
    "/admin",
    "/admin/{part}",
)
"""The addresses of the page. What they show is decided in the browser."""
_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER: Final = "public, max-age=31536000, immutable"
_UNBUILT: Final = (
    b"<!doctype html><title>Calldex</title><p>The page was not built: install the package (<code>make demo</code> does)"
    b', or ask the API: <a href="/docs/plain">/docs/plain</a>.'
)


class Web:
    """The handlers, over a folder of built files, which is read once."""

    def __init__(self, built: Path = BUILT) -> None:
        shell = built / "index.html"
        self._shell = shell.read_bytes() if shell.is_file() else _UNBUILT
        self._tag = hashlib.sha256(self._shell).hexdigest()[:16]
        self._files = {path.name: path.read_bytes() for path in sorted((built / "assets").glob("*")) if path.is_file()}

    async def shell(self, request: Request) -> Response:
        """The document. It is small, and asked for each time, so that a new version is there at once."""
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": f'"{self._tag}"'}
        if tag_matches(request.headers.get("if-none-match"), self._tag):
            return Response(None, 304, headers)
        return Response(self._shell, 200, headers, "text/html")

    async def asset(self, request: Request) -> Response:
        """A script, a style or a picture. Its name has a hash of what it holds, so it is kept for good."""
        name: str = request.path_params["name"]
        body = self._files.get(name)
        if body is None:
            raise NotFound("there is no such part of the page; load the page again")
        coding = coding_for(request.headers.get("accept-encoding", ""))
        headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding", **coding_headers(coding)}
        return Response(_coded(body, coding), 200, headers, _TYPES.get(Path(name).suffix, "application/octet-stream"))


@lru_cache(maxsize=256)
def _coded(body: bytes, coding: Coding) -> bytes:
    """Each file once in each coding, as small as it gets."""
    if coding == "gzip":
        return zlib.compress(body, 9, wbits=31)
    return zstandard.ZstdCompressor(19).compress(body) if coding == "zstd" else body


ENDPOINTS: Final = (
    *(
        Endpoint(
            path=address,
            handler=lambda handlers: handlers.web.shell,
            id=f"page{number}",
            tag="The page",
            summary="The page",
            description="What it shows is decided in the browser.",
            gives=str,
            media_type="text/html",
            documented=False,
        )
        for number, address in enumerate(ADDRESSES)
    ),
    Endpoint(
        path="/assets/{name}",
        handler=lambda handlers: handlers.web.asset,
        id="asset",
        tag="The page",
        summary="A part of the page",
        description="A script, a style or a picture.",
        gives=str,
        media_type="application/octet-stream",
        documented=False,
    ),
)
