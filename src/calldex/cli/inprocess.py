"""An app in this process as a client's transport: its replies come piece by piece, as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

_Message = MutableMapping[str, Any]
App = Callable[[_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]]
"""An ASGI app."""


class InProcess(httpx2.AsyncBaseTransport):
    """Asks an app. What it raises before its reply begins is raised to who asks; what it raises later, to who reads the
    reply."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        if not isinstance(request.stream, httpx2.AsyncByteStream):
            raise TypeError("only an asynchronous client asks like this")
        exchange = _Exchange(self._app, _scope(request), aiter(request.stream))
        try:
            start = await exchange.next()
            if start is None:
                raise RuntimeError("the app gave no reply")
        except BaseException:
            await exchange.aclose()
            raise
        return httpx2.Response(start["status"], headers=start["headers"], stream=exchange)


class _Exchange(httpx2.AsyncByteStream):
    """A request and its reply, of which one message is ahead of who reads, and no more."""

    def __init__(self, app: App, scope: dict[str, Any], body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._is_read = False
        self._messages: asyncio.Queue[_Message] = asyncio.Queue(1)
        self._left = asyncio.Event()
        self._task = asyncio.ensure_future(_awaited(app(scope, self._receive, self._messages.put)))

    async def next(self) -> _Message | None:
        """What the app sends next; None when it has ended."""
        coming = asyncio.ensure_future(self._messages.get())
        try:
            await asyncio.wait({coming, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
        finally:
            coming.cancel()
        if not self._messages.empty():
            return self._messages.get_nowait()
        self._task.result()
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self.next()) is not None:
            if message.get("body"):
                yield message["body"]

    async def aclose(self) -> None:
        """Nobody reads any more."""
        self._left.set()
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # whoever read was told

    async def _receive(self) -> _Message:
        if self._is_read:
            await self._left.wait()
            return {"type": "http.disconnect"}
        chunk = await anext(self._body, None)
        self._is_read = chunk is None
        return {"type": "http.request", "body": chunk or b"", "more_body": not self._is_read}


async def _awaited(running: Awaitable[None]) -> None:
    await running


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": None,
        "root_path": "",
    }
