"""`Client` and `AsyncClient`: they carry out what `flows` says, over HTTP, with patience.

A request that met a connection that broke, a server that is starting or overloaded, or a limit, is tried again, after
the time that `Retry-After` names or a growing one with some chance in it. Only GETs are sent, so trying again is safe.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

import httpx2

from calldex.client.flows import (
    CDRS,
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
from calldex.client.problems import ApiError, ClientError, Incomplete, Unreachable, refusal

TRIES: Final = 6
TIMEOUT_S: Final = 90.0
"""How long a reply may take; longer than the feed may be asked to wait."""
_AGAIN: Final = frozenset((429, 502, 503, 504))
_LONGEST_PAUSE_S: Final = 60.0
_PASSING: Final = (ApiError, Incomplete, httpx2.TransportError)

T = TypeVar("T")
Object = TypeVar("Object")
Rows = TypeVar("Rows")


class Patience:
    """How often one request is tried again, and when."""

    def __init__(self, tries: int) -> None:
        self._tries = tries
        self._tried = 0
        self.pause_s = 0.0
        """How long to wait before the next try."""

    def failed(self, error: Exception) -> None:
        """It did not succeed. Raises why, if that does not pass or this was the last try; `Unreachable` without a
        reply."""
        self._tried += 1
        chance = random.random()  # noqa: S311 - so that not all come again at once
        asked_s = error.retry_after_s if isinstance(error, ApiError) else None
        grown_s = min(2.0**self._tried, _LONGEST_PAUSE_S) * (0.5 + chance / 2)
        self.pause_s = grown_s if asked_s is None else asked_s + chance / 2
        if isinstance(error, ApiError) and error.status not in _AGAIN:
            raise error
        if self._tried >= self._tries:
            if isinstance(error, ClientError):
                raise error
            raise Unreachable(f"no reply after {self._tries} tries: {type(error).__name__}") from None


def patiently(tries: int, send: Callable[[], T], pause: Callable[[float], None] | None = None) -> T:
    """What `send` gives, tried so often. It raises what `refused` makes of a reply that is no success. `pause` waits so
    many seconds between two tries."""
    patience = Patience(tries)
    while True:
        try:
            return send()
        except _PASSING as error:
            patience.failed(error)
        (pause or time.sleep)(patience.pause_s)


async def patiently_async(tries: int, send: Callable[[], Awaitable[T]]) -> T:
    """The same on an event loop."""
    patience = Patience(tries)
    while True:
        try:
            return await send()
        except _PASSING as error:
            patience.failed(error)
        await asyncio.sleep(patience.pause_s)


def refused(reply: httpx2.Response) -> ApiError:
    """The error for a reply that was read and is no success."""
    return refusal(reply.status_code, problem_members(reply.content), retry_after(reply.headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds a reply asks to wait: as a number, or a date on the clock of who sent it; None where it does
    not."""
    asked = headers.get("retry-after", "").strip()
    if asked.replace(".", "", 1).isdecimal():
        return float(asked)
    try:
        until, sent = parsedate_to_datetime(asked), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - sent).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


def _succeeded(reply: httpx2.Response) -> httpx2.Response:
    if reply.status_code != 200:
        raise refused(reply)
    return reply


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Where to write a file that gets its name when it is whole: what there was under it stays until then."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


class _Base(Generic[Object, Rows]):
    """What both clients have in common: where the server is, whose key they show, how patient they are, and what is
    one request. `Object` and `Rows` are replies, or what can be awaited for them."""

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

    def _get(self, ask: Ask) -> Any:
        raise NotImplementedError

    def stats(self, **given: Value | None) -> Object:
        """Statistics; see the API's reference for `group_by`, `bucket` and `measures`."""
        found: Object = self._get(Ask(f"{CDRS}/stats", parameters(given)))
        return found

    def checksums(self, **given: Value | None) -> Object:
        """How many records each day, hour or record has, and a hash by which a copy is proved equal."""
        found: Object = self._get(Ask(f"{CDRS}/checksums", parameters(given)))
        return found

    def lookup(self, name: str) -> Rows:
        """One of `agents`, `queues`, `teams`, `campaigns`, `wrapup_codes`: what records name, with ids."""
        if name not in LOOKUPS:
            raise ValueError(f"there is no look-up {name!r}; there are {', '.join(LOOKUPS)}")
        found: Rows = self._get(Ask(f"{CDRS}/{name}", {}))
        return found


class Client(_Base[dict[str, Any], list[dict[str, Any]]]):
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

    def __exit__(self, *_: object) -> None:
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
        with _whole(Path(target)) as partial:
            return patiently(self._tries, lambda: self._streamed(partial, Stream(format, filters)))

    def _get(self, ask: Ask) -> Any:
        reply = patiently(self._tries, lambda: _succeeded(self._http.get(ask.path, params=dict(ask.parameters))))
        return decoded(reply.content)

    def _streamed(self, partial: Path, stream: Stream) -> Exported:
        with self._http.stream("GET", stream.ask.path, params=dict(stream.ask.parameters)) as reply:
            if reply.status_code != 200:
                reply.read()
                raise refused(reply)
            with partial.open("wb") as file:
                for piece in reply.iter_bytes():
                    file.write(stream.take(piece))
            return stream.ended(reply.headers)


class AsyncClient(_Base[Awaitable[dict[str, Any]], Awaitable[list[dict[str, Any]]]]):
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

    async def __aexit__(self, *_: object) -> None:
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
        with _whole(Path(target)) as partial:
            return await patiently_async(self._tries, lambda: self._streamed(partial, Stream(format, filters)))

    async def _get(self, ask: Ask) -> Any:
        async def send() -> httpx2.Response:
            return _succeeded(await self._http.get(ask.path, params=dict(ask.parameters)))

        return decoded((await patiently_async(self._tries, send)).content)

    async def _streamed(self, partial: Path, stream: Stream) -> Exported:
        async with self._http.stream("GET", stream.ask.path, params=dict(stream.ask.parameters)) as reply:
            if reply.status_code != 200:
                await reply.aread()
                raise refused(reply)
            with partial.open("wb") as file:
                async for piece in reply.aiter_bytes():
                    file.write(stream.take(piece))
            return stream.ended(reply.headers)
