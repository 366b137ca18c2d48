"""A node: one process that owns a data directory, with everything in it opened and put together.

The composition below the HTTP surface: the API serves a node, the command line works on one. One process owns the data
directory, by a lock on a file in it that ends with the process; a second one is refused. Records and the directory lie
in it, or in databases that several nodes share, each with a data directory of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from calldex.access import Principal, Scope, owner_of
from calldex.audit.writer import Auditor
from calldex.clock import now_ms
from calldex.datadir import DIRECTORY_FILE, RESERVE_FILE, Belonging, Lock, keep_reserve, use_reserve
from calldex.directory import Directory
from calldex.directory.sealing import SEALING_FILE
from calldex.errors import DiskFull, NotFound, Unavailable, suggest
from calldex.formats import formats, settings_of
from calldex.ingest.calls import Feed
from calldex.ingest.pipeline import Ingest
from calldex.ingest.settle import settle
from calldex.ingest.tally import Taken
from calldex.onetime import OneTimeCode
from calldex.records.record import Cdr
from calldex.sealing import KEY_BYTES, Sealing
from calldex.search.feed import ChangeFeed
from calldex.search.page import Pager
from calldex.search.query import Query
from calldex.search.reader import Places, Pool, Reader, agents_with_calls, record
from calldex.search.token import Sealer
from calldex.settings import Settings
from calldex.store import Store
from calldex.store.embedded import EmbeddedStore

DAY_MS: Final = 86_400_000
_WORK_BYTES: Final = 1 << 20
"""What of the room for a start is left to who was started."""
_log = structlog.get_logger(__name__)


class Node:
    """An open data directory."""

    def __init__(self, settings: Settings) -> None:
        """Open it, or make it; of one that cannot be made nothing is left. Raises `DataDirInUse`, `WrongVersion`,
        `UnreadableInput`."""
        self.settings = settings
        try:
            self._open(settings, full=False)
        except DiskFull:  # which a quota does not show before
            if not (settings.data / RESERVE_FILE).exists():
                raise
            self._open(settings, full=True)

    def _open(self, settings: Settings, *, full: bool) -> None:
        with ExitStack() as opened:  # what is open is closed if the rest cannot be
            self._lock = opened.enter_context(Lock(settings.data))
            self.is_new = self._lock.is_new
            self._spares = use_reserve(settings.data, full=full)
            """Whether the room for a start was given free: what is left of it is for the next one."""
            self._reserves = False
            opened.callback(self._spare)
            belonging = Belonging(settings)
            self.directory = open_directory(settings)
            opened.callback(self.directory.close)
            belonging.compare(self.directory)
            if not settings.store.embedded:
                self.directory.copying().refuse_unfinished()
            self.store: Store = open_store(settings, self.directory)
            opened.callback(self.store.close)
            key = self.directory.secret("search_token", KEY_BYTES)
            self._pager = Pager(self.store, Sealer(key, self.store.store_id), settings.token_days * DAY_MS)
            self._changes = ChangeFeed(self.store, Sealing(key, "calldex change cursor 2"))
            self.ingest = Ingest(self.directory, self.store)
            opened.callback(self.ingest.close)
            self.audit = Auditor(self.directory)
            self.stopping = threading.Event()
            """Whether whoever serves it was told to stop: what may take long ends early then."""
            self.one_time_code: OneTimeCode | None = None
            self._purge_at = 0.0
            self._spare(but=_WORK_BYTES)
            self._opened = opened.pop_all()

    def feed(self, source: str | None, format_name: str | None, account: str = "main") -> Feed:
        """How to read pieces of a source, or of a format that needs none.

        Raises `NotFound` for an unknown source or format, `BadSettings` for a format that needs a source.
        """
        known = formats()
        if source is not None:
            found = self.directory.source(source)
            format_ = known[found.format]
            settings = settings_of(format_, found.settings)
            return Feed(account_id=found.account_id, source=found.name, format=format_, settings=settings)
        if format_name not in known:
            hint = suggest(str(format_name), known)
            raise NotFound(f"there is no format {format_name!r}{hint}; formats are {', '.join(known)}")
        format_ = known[format_name]
        return Feed(
            account_id=self.directory.account(account).id,
            source="",
            format=format_,
            settings=settings_of(format_, {}),
        )

    def reader(self, pools: Mapping[Places, Pool], served: Callable[[int], None]) -> Reader:
        """The way to records for a surface with places of its own; `served` is told how many records leave."""
        return Reader(self.store, self._pager, self._changes, audit=self.audit, pools=pools, served=served)

    def record(self, principal: Principal, uuid: str) -> Cdr:
        """See `search.reader.record`."""
        return record(self.store, principal, uuid)

    def agents_with_calls(self, account_id: int) -> AbstractSet[int]:
        """See `search.reader.agents_with_calls`."""
        return agents_with_calls(self.store, account_id)

    def owner(self, account: str) -> Principal:
        """The owner of the data directory, who may do everything and see all of an account."""
        found = self.directory.account(account)
        return owner_of(found.id, found.name, found.timezone or "UTC")

    def reserve(self) -> None:
        """Keep room on the disk for the audit, a clean stop and a start, for when there is no other."""
        if self._spares and not self._reserves:
            use_reserve(self.settings.data)  # it is the audit's first
        self._reserves = True
        self.directory.reserve()
        self._spare()
        try:
            keep_reserve(self.settings.data)
        except OSError as error:
            _log.warning("no_room_reserved", reason=error.strerror)

    def _spare(self, *, but: int = 0) -> None:
        if self._spares:
            with suppress(OSError):  # others were faster
                keep_reserve(self.settings.data, but=but)

    def housekeeping(self) -> int:
        """What is to be done now and then: drop what was superseded long ago, write down what is still in memory."""
        self.reserve()
        self.directory.flush_seen()
        self.directory.flush_touches()
        self.directory.flush_sessions()
        self.note_ingests()
        at_ms = now_ms()
        self.directory.drop_sessions(at_ms)
        self.directory.drop_failures(at_ms)
        self.audit.keep(at_ms, self.settings.audit_days)
        self.settle_calls()
        if time.monotonic() < self._purge_at:
            return 0
        self._purge_at = time.monotonic() + self.store.capabilities.purge_every_s
        return self.store.purge(at_ms)

    def note_ingests(self) -> None:
        """Keep when sources delivered since this was done the last time."""
        if news := self.ingest.tally.news():
            self.directory.note_ingests(_times(news))
            self.ingest.tally.keep(news)
        for account_id, named in self.ingest.tally.take_named().items():
            self.directory.note_ingests(_times(named), account_id)

    def records(self) -> int:
        """How many records are kept, of all accounts. Raises what searches raise."""
        whole = (Query(scope=Scope(account_id=account.id, whole=True)) for account in self.directory.accounts())
        return sum(self.store.total(query, self.store.head(query.scope.account_id)) for query in whole)

    def settle_calls(self) -> int:
        """Take those calls to be over whose end is overdue; how many. None while searches cannot be answered."""
        if not self.store.state().ready:
            return 0
        return settle(self.directory, self.store, now_ms())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(error)

    def _is_used(self) -> bool:
        return self.store.state().total > 0 or self.directory.is_used()

    def close(self) -> None:
        """Finish, and give the data directory up."""
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        # A new directory goes again if nothing was done in it before this failed.
        self._lock.unused = error is not None and self.is_new and not self._is_used()
        try:
            with self._opened:
                self.audit.close()
                self.note_ingests()
        except Unavailable as unwritten:
            # Only times at which names and keys were seen are lost; everything acknowledged is kept.
            _log.warning("closed_without_writing", reason=unwritten.message)


def _times(taken: Mapping[str, Taken]) -> dict[str, tuple[int, int | None]]:
    return {name: (each.at_ms, each.newest_ms or None) for name, each in taken.items()}


def open_directory(settings: Settings) -> Directory:
    """The directory, in the data directory or shared."""
    address = settings.directory
    return (
        Directory.open(settings.data / DIRECTORY_FILE)
        if address.embedded
        else Directory.shared(address.whole, settings.data / SEALING_FILE)
    )


def open_store(settings: Settings, directory: Directory) -> Store:
    """The store, in the data directory or shared; what it keeps beside records goes to the directory's database."""
    superseded_kept_s = (settings.token_days + 1) * DAY_MS / 1000
    if settings.store.embedded:
        return EmbeddedStore(
            settings.data,
            memory_mb=settings.columns_memory_mb,
            index_mb=settings.index_memory_mb,
            threads=settings.threads,
            timeout_s=settings.query_timeout_s,
            superseded_kept_s=superseded_kept_s,
            keep=partial(directory.keep_ledger_head, alone=settings.directory.embedded),
        )
    from calldex.store.clickhouse import ClickhouseStore  # here, as its client takes as long as a whole start
    from calldex.store.clickhouse.address import parse_dsn

    return ClickhouseStore(
        parse_dsn(settings.store.whole),
        directory.commits(),
        timeout_s=settings.query_timeout_s,
        superseded_kept_s=superseded_kept_s,
    )
