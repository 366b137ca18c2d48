"""`Client` and `AsyncClient`: they carry out what `flows` says, over HTTP, with patience.

A request that met a connection that broke, a server that is starting or overloaded, or a limit, is tried again, after
the time that `Retry-After` names or a growing one with some chance in it. Only GETs are sent, so trying again is safe.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from calldex.client.flows import (
    LOOKUPS,
    Ask,
    Changes,
    Exported,
    Feed,
    Record,
    Stream,
    Value,
    Walk,
    decoded,
    parameters,
    problem_members,
)
from calldex.client.problems import ClientError, Incomplete, Unreachable, refusal

TRIES: Final = 6
TIMEOUT_S: Final = 90.0
"""How long a reply may take; longer than the feed may be asked to wait."""
_AGAIN: Final = frozenset((429, 502, 503, 504))
_LONGEST_PAUSE_S: Final = 60.0


class _Base:
    """What both clients know: where the server is, whose key they show, and how patient they are."""

    def __init__(self, url: str | None, key: str | None, tries: int) -> None:
        url = url or os.environ.get("CALLDEX_URL")
        key = key or os.environ.get("CALLDEX_KEY")
        if not url:
            raise ClientError("no address of a server: give `url`, or set CALLDEX_URL")
        if not key:
            raise ClientError("no key: give `key`, or set CALLDEX_KEY")
        self._tries = tries
        self._given: dict[str, Any] = {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {key}"},  # a key in an address would stand in logs
            "timeout": TIMEOUT_S,
            "follow_redirects": False,  # a key is not carried to elsewhere
        }


class Patience:
    """How often one request is tried again, and when."""

    def __init__(self, tries: int) -> None:
        self._tries = tries
        self._tried = 0
        self.pause_s = 0.0
        """How long to wait before the next try."""

    def again(self, reply: httpx2.Response) -> bool:
        """Whether a reply asks to come again, and there are tries left."""
        self._tried += 1
        asked = reply.headers.get("retry-after", "")
        self._wait(float(asked) if asked.isdecimal() else None)
        return reply.status_code in _AGAIN and self._tried < self._tries

    def failed(self, error: Exception) -> None:
        """There was no reply, or not all of one; `Unreachable` or `Incomplete` when it was the last try."""
        self._tried += 1
        self._wait(None)
        if self._tried >= self._tries:
            if isinstance(error, Incomplete):
                raise error
            raise Unreachable(f"no reply after {self._tries} tries: {type(error).__name__}") from None

    def _wait(self, asked_s: float | None) -> None:
        chance = random.random()  # noqa: S311 - so that not all come again at once
        grown_s = min(2.0**self._tried, _LONGEST_PAUSE_S) * (0.5 + chance / 2)
        self.pause_s = grown_s if asked_s is None else asked_s + chance / 2


def _checked(reply: httpx2.Response) -> Any:
    if reply.status_code != 200:
        raise refusal(reply.status_code, problem_members(reply.content))
    return decoded(reply.content)


class Client(_Base):
    """A client for programs that do one thing after another.

    `url` and `key` are taken from `CALLDEX_URL` and `CALLDEX_KEY` where they are not given; `tries` is how often a
    request is sent before it is given up. Raises the errors of `calldex.client`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        tries: int = TRIES,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, tries)
        self._http = httpx2.Client(**self._given, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def cdrs(self, **filters: Value | None) -> Iterator[Record]:
        """Every record that matches, newest first, as of the first page; `Incomplete` if it cannot be all."""
        walk = Walk(filters)
        while (ask := walk.next()) is not None:
            yield from walk.take(self._get(ask))

    def changes(
        self,
        cursor: str | None = None,
        *,
        start: str | datetime = "beginning",
        follow: bool = False,
        wait: int = 30,
        **filters: Value | None,
    ) -> Iterator[Changes]:
        """The change feed, page by page: from a cursor, or else from `start` (`beginning`, `now`, or an instant); to
        its end, or with `follow` for ever, waiting up to `wait` seconds for each next page."""
        feed = Feed(cursor, start, follow, wait, filters)
        while (ask := feed.next()) is not None:
            yield feed.take(self._get(ask))

    def export(self, target: Path | str, *, format: str = "ndjson", **filters: Value | None) -> Exported:  # noqa: A002 - the API's word
        """Write the whole match to a file, in one of the API's formats. The file appears when it is whole: what there
        was under this name stays until then."""
        target = Path(target)
        partial = target.with_name(f"{target.name}.partial")
        try:
            done = self._streamed(partial, format, filters)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return done

    def stats(self, **given: Value | None) -> dict[str, Any]:
        """Statistics; see the API's reference for `group_by`, `bucket` and `measures`."""
        found: dict[str, Any] = self._get(Ask("/api/v2/cdr/stats", parameters(given)))
        return found

    def checksums(self, **given: Value | None) -> dict[str, Any]:
        """How many records each day, hour or record has, and a hash by which a copy is proved equal."""
        found: dict[str, Any] = self._get(Ask("/api/v2/cdr/checksums", parameters(given)))
        return found

    def lookup(self, name: str) -> list[dict[str, Any]]:
        """One of `agents`, `queues`, `teams`, `campaigns`, `wrapup_codes`: what records name, with ids."""
        found: list[dict[str, Any]] = self._get(Ask(_lookup_path(name), {}))
        return found

    def _get(self, ask: Ask) -> Any:
        patience = Patience(self._tries)
        while True:
            try:
                reply = self._http.get(ask.path, params=dict(ask.parameters))
                if not patience.again(reply):
                    return _checked(reply)
            except httpx2.TransportError as error:
                patience.failed(error)
            time.sleep(patience.pause_s)

    def _streamed(self, partial: Path, format_: str, filters: Mapping[str, Value | None]) -> Exported:
        patience = Patience(self._tries)
        while True:
            try:
                stream = Stream(format_, filters)
                with self._http.stream("GET", stream.ask.path, params=dict(stream.ask.parameters)) as reply:
                    if reply.status_code == 200:
                        with partial.open("wb") as file:
                            for piece in reply.iter_bytes():
                                file.write(stream.take(piece))
                        return stream.ended(reply.headers)
                    if not patience.again(reply):
                        raise refusal(reply.status_code, problem_members(reply.read()))
            except (httpx2.TransportError, Incomplete) as error:
                patience.failed(error)
            time.sleep(patience.pause_s)


class AsyncClient(_Base):
    """The same for programs on an event loop; see `Client`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        tries: int = TRIES,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, tries)
        self._http = httpx2.AsyncClient(**self._given, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def cdrs(self, **filters: Value | None) -> AsyncIterator[Record]:
        """See `Client.cdrs`."""
        walk = Walk(filters)
        while (ask := walk.next()) is not None:
            for record in walk.take(await self._get(ask)):
                yield record

    async def changes(
        self,
        cursor: str | None = None,
        *,
        start: str | datetime = "beginning",
        follow: bool = False,
        wait: int = 30,
        **filters: Value | None,
    ) -> AsyncIterator[Changes]:
        """See `Client.changes`."""
        feed = Feed(cursor, start, follow, wait, filters)
        while (ask := feed.next()) is not None:
            yield feed.take(await self._get(ask))

    async def export(self, target: Path | str, *, format: str = "ndjson", **filters: Value | None) -> Exported:  # noqa: A002 - the API's word
        """See `Client.export`."""
        target = Path(target)
        partial = target.with_name(f"{target.name}.partial")
        try:
            done = await self._streamed(partial, format, filters)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return done

    async def stats(self, **given: Value | None) -> dict[str, Any]:
        """See `Client.stats`."""
        found: dict[str, Any] = await self._get(Ask("/api/v2/cdr/stats", parameters(given)))
        return found

    async def checksums(self, **given: Value | None) -> dict[str, Any]:
        """See `Client.checksums`."""
        found: dict[str, Any] = await self._get(Ask("/api/v2/cdr/checksums", parameters(given)))
        return found

    async def lookup(self, name: str) -> list[dict[str, Any]]:
        """See `Client.lookup`."""
        found: list[dict[str, Any]] = await self._get(Ask(_lookup_path(name), {}))
        return found

    async def _get(self, ask: Ask) -> Any:
        patience = Patience(self._tries)
        while True:
            try:
                reply = await self._http.get(ask.path, params=dict(ask.parameters))
                if not patience.again(reply):
                    return _checked(reply)
            except httpx2.TransportError as error:
                patience.failed(error)
            await asyncio.sleep(patience.pause_s)

    async def _streamed(self, partial: Path, format_: str, filters: Mapping[str, Value | None]) -> Exported:
        patience = Patience(self._tries)
        while True:
            try:
                stream = Stream(format_, filters)
                asked = self._http.stream("GET", stream.ask.path, params=dict(stream.ask.parameters))
                async with asked as reply:
                    if reply.status_code == 200:
                        with partial.open("wb") as file:
                            async for piece in reply.aiter_bytes():
                                file.write(stream.take(piece))
                        return stream.ended(reply.headers)
                    if not patience.again(reply):
                        raise refusal(reply.status_code, problem_members(await reply.aread()))
            except (httpx2.TransportError, Incomplete) as error:
                patience.failed(error)
            await asyncio.sleep(patience.pause_s)


def _lookup_path(name: str) -> str:
    if name not in LOOKUPS:
        raise ValueError(f"there is no look-up {name!r}; there are {', '.join(LOOKUPS)}")
    return f"/api/v2/cdr/{name}"
