"""The one way to records: a principal and the parameters of a declared route become permitted, scoped, masked records
that are accounted for.

Every surface that shows records goes this way, and imports neither the store nor `search.query` for it: permit -> parse
-> scope -> wait until ready -> read as of S -> mask -> vocabulary -> account for it (audit, metrics, places). It knows
no HTTP.

A route over records is a `Reading` and a handler. The reading says which permissions it needs, what the audit calls it,
which parameters it takes (`Parameters`: filters, days, and an `Own` struct whose members' types and descriptions give
parsing, documents, help and what the audit notes), and which places it takes up. The handler opens it and asks for a
shape; what leaves is what it makes of that:

    EXPORT = Reading(action="export", needs=("see_cdrs", "export"), takes=Parameters(ExportOptions), places="streams")

    async def export(request: Request) -> Response:
        owner, pairs = await caller(request, ...)

        async def pieces() -> Pieces:
            asked = reader.open(caller_of(request, owner, streams=True), EXPORT, pairs)
            async with asked as search, search.stream() as stream:
                yield Head("application/x-ndjson", {"Calldex-Expected-Records": str(stream.total)})
                async for text in stream.through(lines):
                    yield text

        return StreamReply(pieces)

Shapes: `page` and its `place` (an entity tag costs no reading), `count`, `stream` (batches of JSON, any number of
records in constant memory as of one S), `history` (one record with its versions), `mentioned` (what look-ups list),
`missed` (missed calls by their callers), `changes` (what came behind a commit). Aggregates are one more method of
`Search`: it asks the store with the query, as of one S, refuses what the mask hides, and calls `count_served`.

Whoever waits, waits on the event loop; whatever reads, reads in a thread of the places (`Search.run`): one hop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Generic, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from calldex.access import Permission, Principal, Scope, permit, scope_of
from calldex.access.masking import served
from calldex.audit.chain import Action, Actor, searched
from calldex.audit.noting import Noted, noting
from calldex.audit.writer import Auditor
from calldex.clock import now_ms
from calldex.errors import BadRequest, CalldexError, NotFound, StoreNotReady
from calldex.records import codec
from calldex.records.fields import Op
from calldex.records.record import Cdr, Rejected, from_ms
from calldex.records.vocabulary import UUID_PLACE
from calldex.search.feed import ChangeFeed, Cursor, FeedPage, Start, Versions
from calldex.search.page import Page, Pager, Place
from calldex.search.query import PAGES, Condition, O, PageRequest, Parameters, Query, parse
from calldex.search.statistics import MOST_GROUPS, Grouping, Offsets, offsets_of
from calldex.store import Mentioned, MissedAsk, MissedLine, Position, Records, Store, Version

START_S: Final = 2.0
"""How long a search waits for a store that starts."""
BATCH: Final = 5_000
"""Records of one batch of a stream."""
_HOUR_MS: Final = 3_600_000
_PAUSE_S: Final = 0.05
_OBJECTS: Final = msgspec.json.Decoder().decode_lines
_SIDE_BY_SIDE: Final = 2
"""Batches of one stream that are converted at once."""

Places = Literal["searches", "streams", "jobs"]
"""Whose places a route takes up: those of short answers, of answers that last as long as their client, or of what is
made in the background."""
Gone = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Returns when the client left; an ASGI `receive`."""
_T = TypeVar("_T")


class Pool(Protocol):
    """Places for work in threads: see `transport.workers.Workers`."""

    def place(self, receive: Gone | None) -> AbstractAsyncContextManager[None]:
        """A place, waited for as long as the client is there."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in a thread; for who has a place."""

    async def admit(self) -> None:
        """Return when there is room in memory for another reply."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: their rights, what the audit calls them, and how it is noticed that they left (None: it is not)."""

    principal: Principal
    actor: Actor
    gone: Gone | None = None


class Reading(msgspec.Struct, Generic[O], frozen=True, kw_only=True):
    """A route over records, as it is declared. Every one of the permissions is needed."""

    action: Action
    takes: Parameters[O]
    needs: tuple[Permission, ...] = ("see_cdrs",)
    places: Places = "searches"
    waits: bool = True
    """Whether it asks what the store answers only when it is ready: searches do."""


SEARCH: Final = Reading(action="search", takes=PAGES)
"""A page of a search."""


class Batch(msgspec.Struct, frozen=True):
    """Some records of a stream in their order: their JSON as served, a line each, how many, where the last of them
    stands, and what was made of their JSON for who writes them."""

    json: bytes
    count: int
    after: Position | None = None
    converted: Any = None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stream has come: as of which commit, of how many records, how many of them are behind it, and where
    the last of these stands."""

    as_of: int
    total: int
    passed: int = 0
    after: Position | None = None


class Stream:
    """A whole match, newest first: how many records there are as of the commit `as_of`, and these, batch by batch."""

    def __init__(
        self, *, total: int, as_of: int, pool: Pool, batches: Iterator[Batch], count_served: Callable[[int], None]
    ) -> None:
        self.total = total
        self.as_of = as_of
        self._pool = pool
        self._batches = batches
        self._count_served = count_served
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in a thread of the stream: what begins and ends a file. Whoever is told to stop meanwhile does so
        when it is done: nothing of a stream goes on behind its end."""
        running = self._begun(work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await self.settled()
            raise

    async def through(
        self, write: Callable[[Batch], _T], convert: Callable[[bytes], object] = lambda json: json
    ) -> AsyncIterator[_T]:
        """What a format makes of each batch, in order: what it makes of the JSON alone (`Batch.converted`), then what
        depends on the batches before. While one is taken (and sent, perhaps), the next is written, two behind it are
        converted side by side and one is read: in memory are five. Whoever breaks off waits until it is `settled`."""
        reading: asyncio.Future[Batch | None] | None = self._begun(self._read)
        converting: deque[asyncio.Future[Batch]] = deque()
        writing: asyncio.Future[tuple[int, _T]] | None = None
        while True:
            ready = None if writing is None else await asyncio.shield(writing)
            batch = await asyncio.shield(converting.popleft()) if converting else None
            writing = None if batch is None else self._begun(partial(_written, batch, write))
            while reading is not None and len(converting) < _SIDE_BY_SIDE:
                batch = await asyncio.shield(reading)
                reading = None if batch is None else self._begun(self._read)
                if batch is not None:
                    converting.append(self._begun(partial(_converted, batch, convert)))
            if ready is not None:
                self._count_served(ready[0])
                yield ready[1]
            if writing is None and not converting:
                return

    async def settled(self) -> None:
        """Return when nothing is read or written any more."""
        if self._running:
            await asyncio.wait(self._running)

    def _read(self) -> Batch | None:
        return next(self._batches, None)

    def _begun(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        running = asyncio.ensure_future(self._pool.run(work))
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # of what nobody waits for any more, nobody needs to know


def _converted(batch: Batch, convert: Callable[[bytes], object]) -> Batch:
    return msgspec.structs.replace(batch, converted=convert(batch.json))


def _written(batch: Batch, write: Callable[[Batch], _T]) -> tuple[int, _T]:
    return batch.count, write(batch)


class MissedPage(msgspec.Struct, frozen=True):
    """Some lines of missed calls, the records that they name first and are answered by, as served, by uuid; how many
    lines there are in all, the number of the page, and the token for the rest."""

    lines: Sequence[MissedLine]
    records: Mapping[str, Mapping[str, Any]]
    total: int
    page: int
    token: str | None


class Shown(msgspec.Struct, frozen=True):
    """One record: its JSON, and the versions of it that are kept and seen, oldest first; all of them as served."""

    json: bytes
    versions: Sequence[Version]


class Reader:
    """Reads a node's records. `served` is told how many records leave."""

    def __init__(
        self,
        store: Store,
        pager: Pager,
        feed: ChangeFeed,
        *,
        audit: Auditor,
        pools: Mapping[Places, Pool],
        served: Callable[[int], None],
    ) -> None:
        self._store = store
        self._pager = pager
        self._feed = feed
        self._audit = audit
        self._pools = pools
        self._served = served

    @asynccontextmanager
    async def open(
        self, caller: Caller, reading: Reading[O], pairs: Sequence[tuple[str, str]], target: str = ""
    ) -> AsyncIterator[Search[O]]:
        """What a caller asks for by these parameters, ready to be read; noted in the audit at the end, as done to a
        target where it is not about records alone.

        Raises `Forbidden`, `BadParameters`, `StoreNotReady`, and what cannot be noted.
        """
        async with noting(self._audit, caller.actor, reading.action) as noted:
            noted.target = target
            noted.detail = searched(pairs, reading.takes.own)
            query, own = parse(
                pairs, _readable(caller.principal, reading.needs), caller.principal.timezone, reading.takes
            )
            if reading.waits:
                await self._until_ready(query)
            yield Search(
                store=self._store,
                pager=self._pager,
                feed=self._feed,
                pool=self._pools[reading.places],
                served=self._served,
                gone=caller.gone,
                query=query,
                own=own,
                timezone=dict(pairs).get("timezone", "").strip() or caller.principal.timezone,
                noted=noted,
            )

    async def _until_ready(self, query: Query) -> None:
        """Searches wait a moment for a store that starts. When it takes longer, as the columns are made again, they
        are refused, instead of holding places that searches by uuid need: those are answered all the time."""
        if any(condition.names_uuids for condition in query.where):
            return
        deadline = time.monotonic() + START_S
        while not (state := self._store.state()).ready:
            if time.monotonic() > deadline:
                raise StoreNotReady(f"searches cannot be answered yet: {state.reason}; {state.left}", retry_after=2)
            await asyncio.sleep(_PAUSE_S)


class Search(Generic[O]):
    """What was asked for, permitted and understood. `own` are the parameters of the route's own, `timezone` the zone in
    which days are cut, `noted` what the audit will tell. Everything but `run` and `stream` reads: call it in `run`."""

    def __init__(
        self,
        *,
        store: Store,
        pager: Pager,
        feed: ChangeFeed,
        pool: Pool,
        served: Callable[[int], None],
        gone: Gone | None,
        query: Query,
        own: O,
        timezone: str,
        noted: Noted,
    ) -> None:
        self._store = store
        self._pager = pager
        self._feed = feed
        self._pool = pool
        self._served = served
        self._gone = gone
        self._query = query
        self.own = own
        self.timezone = timezone
        self.noted = noted

    @property
    def scope(self) -> Scope:
        """Which records are seen, and how."""
        return self._query.scope

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in a thread, when there is a place."""
        async with self._pool.place(self._gone):
            return await self._pool.run(work)

    def count_served(self, rows: int) -> None:
        """Account for records that leave."""
        self.noted.rows = (self.noted.rows or 0) + rows
        self._served(rows)

    async def admit(self) -> None:
        """Return when there is room in memory for a reply that nobody has to read; for who takes up no place."""
        await self._pool.admit()

    # --- pages --------------------------------------------------------------------------------------------------------

    def place(self, wanted: PageRequest, as_of: int | None = None) -> Place:
        """Which page of which walk is wanted. A walk begins with an hour, so that all of the hour's equal searches get
        equal bytes, their token included."""
        at_ms = now_ms()
        return self._pager.place(self._query, wanted, at_ms - at_ms % _HOUR_MS, as_of)

    def place_at_once(self, wanted: PageRequest) -> Place | None:
        """The same on the event loop; None where it has to be read in a thread."""
        as_of = self._store.head_at_once(self.scope.account_id) if wanted.token is None else 0
        return None if as_of is None else self.place(wanted, as_of)

    def fingerprint(self, place: Place, wanted: PageRequest) -> str:
        """Differs when the page may differ; costs no reading."""
        # Pages that were made before a version in them was found damaged are not given again.
        damaged = self._store.state().damaged
        tag = f"{place.fingerprint(self._query, wanted.per_page)}-{place.began_ms:x}-{wanted.page}"
        return f"{tag}-{damaged}" if damaged else tag

    def page(self, place: Place, wanted: PageRequest) -> Page:
        """The page; whoever sends it calls `count_served`, as they may have it from elsewhere."""
        return self._pager.read(self._query, place, wanted.per_page)

    # --- missed calls -------------------------------------------------------------------------------------------------

    @property
    def days(self) -> tuple[int | None, int | None]:
        """From when (included) until when (excluded) interactions begin that are asked for."""
        return self._query.start_ms, self._query.end_ms

    @property
    def callback_hours(self) -> int:
        """Within how many hours missed calls count as returned."""
        return self._query.callback_hours

    def missed(self, wanted: PageRequest, last: Sequence[str] | None, *, without: bool) -> MissedPage:
        """A page of missed calls by their callers; of those alone that end with a call of `last`, or do not."""
        kind = "all" if last is None else "others" if without else "some"
        walk = msgspec.structs.replace(  # so that its tokens are not those of a list
            self._query, callbacks=(*self._query.callbacks, Condition(Op.CALLED_BACK, "missed", (kind,)))
        )
        place = self._pager.place(walk, wanted, now_ms())
        ask = MissedAsk(limit=wanted.per_page, after=place.after, skip=place.skip, last=last, without=without)
        counted, lines = self._store.missed(self._query, place.as_of, ask)
        total = counted if place.total is None else place.total
        uuids = dict.fromkeys(uuid for line in lines for uuid in (line.uuids[0], line.answer_uuid) if uuid is not None)
        position = lines[-1].position if lines else None
        token = self._pager.following(walk, place, total, len(lines), position)
        self.count_served(len(lines))
        return MissedPage(lines, self._seen(list(uuids), place.as_of), total, place.page, token)

    def _seen(self, uuids: Sequence[str], as_of: int) -> dict[str, dict[str, Any]]:
        """Some records, as served, by their uuids."""
        query = Query(scope=self.scope, where=(Condition(Op.ANY_UUID, "uuid", tuple(uuids)),))
        found = self._store.slice(query, as_of, limit=len(uuids), total=len(uuids)).json if uuids else b""
        records: list[dict[str, Any]] = _OBJECTS(served(found, self.scope))
        return {record["uuid"]: record for record in records}

    # --- changes ------------------------------------------------------------------------------------------------------

    def cursor(self, text: str | None, start: Start, versions: Versions) -> Cursor:
        """Where in which chain of the change feed the next page begins: as a cursor says, or at a start."""
        if text is not None:
            return self._feed.opened(self._query, text, versions)
        return self._feed.began(self._query, start, versions)

    async def committed(self, cursor: Cursor, deadline: float, stopped: Callable[[], bool]) -> None:
        """Return when something was committed behind a cursor, at a deadline (of the monotonic clock), or when it is to
        stop. Takes up no place."""
        while time.monotonic() < deadline and not stopped():
            if await asyncio.to_thread(self._feed.has_more, cursor):
                return
            await asyncio.sleep(self._feed.look_every_s)

    def changes(self, cursor: Cursor, limit: int) -> FeedPage:
        """The page of the change feed behind a cursor."""
        page = self._feed.page(self._query, cursor, limit)
        self.count_served(page.count)
        return page

    # --- aggregates ---------------------------------------------------------------------------------------------------

    def aggregated(
        self, make: Callable[[Offsets], Grouping], as_of: int | None = None
    ) -> tuple[int, list[tuple[Any, ...]]]:
        """As of which commit (the newest, if none is given), and what is measured of each group. `make` is given the
        zone, as far from UTC as it is in the days that are asked for, or that records can have."""
        offsets = offsets_of(ZoneInfo(self.timezone), self._query.start_ms, self._query.end_ms)
        as_of = self._head() if as_of is None else as_of
        found = self._store.aggregate(self._query, as_of, make(offsets))
        if len(found) > MOST_GROUPS:
            raise BadRequest(f"that makes more than {MOST_GROUPS} groups; group by less, or ask for fewer days")
        self.count_served(len(found))
        return as_of, found

    # --- other shapes -------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many records match."""
        return self._store.total(self._query, self._head())

    def mentioned(self) -> Mentioned | None:
        """What may be listed: what the records name that are seen, and what the reach itself names; None where that is
        everything in the account."""
        scope = self.scope
        if scope.whole:
            return None
        named = self._store.mentioned(scope)
        return Mentioned(
            agents=named.agents | set(scope.agents),
            queues=named.queues | set(scope.queues),
            campaigns=named.campaigns | set(scope.campaigns),
            teams=named.teams | set(scope.teams),
            wrapup_codes=named.wrapup_codes,
        )

    def history(self, uuid: str) -> Shown:
        """One record and its versions; `NotFound` if it is not seen. Versions that lay beyond the reach are left
        out."""
        query = _one(self.scope, uuid)
        found = self._store.slice(query, self._head(), limit=1, total=1)
        if not found.count:
            raise _unseen(uuid)
        self.count_served(1)
        seen = [
            msgspec.structs.replace(version, json=served(version.json, self.scope))
            for version in self._store.history(self.scope.account_id, uuid)
            if version.json is not None and self.scope.admits(_decoded(version.json, uuid))
        ]
        return Shown(served(found.json, self.scope), seen)

    @asynccontextmanager
    async def stream(self, size: int = BATCH, *, dated: bool = False, at: Point | None = None) -> AsyncIterator[Stream]:
        """All that matches, as of one S, in memory for five batches. Takes up a place until it is left; who leaves it
        early frees it as soon as the batch in hand is read. `dated`: each record has one member more, `updated_at`,
        when its version was committed. `at`: go on where an earlier stream of the same search was, as of the same
        S."""
        async with self._pool.place(self._gone):
            point = await self._pool.run(self._counted) if at is None else at
            self.noted.begun, self.noted.rows = True, 0
            batches = self._batches(point, size, dated=dated)
            stream = Stream(
                total=point.total, as_of=point.as_of, pool=self._pool, batches=batches, count_served=self.count_served
            )
            try:
                yield stream
            finally:
                await stream.settled()

    def _counted(self) -> Point:
        as_of = self._head()
        return Point(as_of=as_of, total=self._store.total(self._query, as_of))

    def _batches(self, point: Point, size: int, *, dated: bool) -> Iterator[Batch]:
        as_of, left = point.as_of, point.total - point.passed
        for found in self._store.walk(
            self._query, as_of, size=size, total=point.total, passed=point.passed, after=point.after
        ):
            json = served(found.json, self.scope)
            left -= found.count
            yield Batch(self._dated(json, as_of) if dated else json, found.count, found.last)
        if left:
            raise CalldexError(f"{left} of {point.total} records that were counted are not there")

    def _dated(self, records: bytes, as_of: int) -> bytes:
        """Records' JSON with `updated_at` behind its other members."""
        lines = records.split(b"\n")
        uuids = [line[UUID_PLACE].decode() for line in lines]
        written = self._store.written(self.scope.account_id, uuids, as_of)
        instants = [msgspec.json.encode(from_ms(written[uuid])) for uuid in uuids]
        parts = zip(lines, instants, strict=True)
        return b"\n".join(b'%b,"updated_at":%b}' % (line[:-1], instant) for line, instant in parts)

    def _head(self) -> int:
        return self._store.head(self.scope.account_id)


def agents_with_calls(store: Records, account_id: int) -> frozenset[int]:
    """The ids of the agents whom records of an account name, for those who decide what somebody may. Blocks;
    `StoreNotReady` while it cannot be told."""
    return store.mentioned(Scope(account_id=account_id, whole=True)).agents


def record(store: Records, principal: Principal, uuid: str) -> Cdr:
    """A record that somebody sees, without a mask, for verbs that account for themselves. Blocks.

    `NotFound` if they do not see it.
    """
    query = _one(_readable(principal, ("see_cdrs",)), uuid)
    found = store.slice(query, store.head(principal.account_id), limit=1, total=1)
    if not found.count:
        raise _unseen(uuid)
    return _decoded(found.json, uuid)


def _readable(principal: Principal, needs: Sequence[Permission]) -> Scope:
    """What somebody may see; `Forbidden` without one of the permissions."""
    for permission in needs:
        permit(principal, (permission,))
    return scope_of(principal)


def _one(scope: Scope, uuid: str) -> Query:
    return Query(scope=scope, where=(Condition(Op.ANY_UUID, "uuid", (uuid,)),))


def _unseen(uuid: str) -> NotFound:
    return NotFound(f"there is no record {uuid}")


def _decoded(json: bytes, uuid: str) -> Cdr:
    record = codec.decode(json, uuid)
    if isinstance(record, Rejected):
        raise CalldexError(f"the record {uuid} cannot be read: {record.reason}")
    return record
