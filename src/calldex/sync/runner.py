"""A pipe at work: opens both its ends, reads, delivers, proves, and keeps how it fares."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from calldex.client import ClientError
from calldex.client.flows import LOOKUPS
from calldex.client.problems import ApiError
from calldex.clock import now_ms
from calldex.errors import CalldexError, suggest
from calldex.exports.columns import COLUMN
from calldex.sync.config import Config, Pipe
from calldex.sync.destinations import Context, DestinationProblem
from calldex.sync.reading import DayReader, FeedReader, Progress, Unsound, days_alone
from calldex.sync.sink import Known, Place, Sink
from calldex.sync.source import Endpoint, Kind, Pace
from calldex.sync.state import Failure, StateFile
from calldex.sync.stopping import Stopped, pause
from calldex.sync.verifying import verified

_log: Final = structlog.get_logger(__name__)
MOST_SHOWN: Final = 20
_CHECKS: Final = 2
"""Somebody looks on: a source that does not answer is not waited for as long as else."""
_PLACE: Final = "place of what was delivered"
_KIND: Final = "kind of the source"


class Status(msgspec.Struct, kw_only=True, omit_defaults=False):
    """How a pipe fares. Instants are epoch milliseconds."""

    pipe: str
    begun_ms: int
    run_ms: int | None = None
    """When it ran last."""
    current_ms: int | None = None
    """As of when the destination has everything; but for the records that failed."""
    problem: str = ""
    """Why the last run did not come to its end; empty if it did."""
    later: bool = True
    """Whether the same may work later."""
    changes: int = 0
    """How many the last run delivered."""
    seconds: float = 0.0
    requests: int = 0
    failed: int = 0
    """Records that the destination did not take."""
    retried: int = 0
    """Of these, those that are tried again."""
    not_whole: dict[str, str] = {}
    """Days that could not be read whole, and why."""
    verified_ms: int | None = None
    repaired: int | None = None
    """How many records the last proof found different, and repaired."""
    unequal: str = ""
    """What the last proof found different and could not repair."""

    @property
    def done(self) -> bool:
        """Whether the last run left nothing undone."""
        return not (self.problem or self.failed or self.not_whole or self.unequal)


class Worker:
    """One pipe. One thread at a time uses it."""

    def __init__(
        self,
        config: Config,
        name: str,
        file: StateFile,
        *,
        lock: threading.Lock,
        stopping: threading.Event,
        pace: Pace | None = None,
        applied: Callable[[str, int], None] = lambda pipe, count: None,
        progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
    ) -> None:
        self.name = name
        self.pipe: Pipe = config.pipes[name]
        self.status = status_of(file, name)
        self._source = config.sources[self.pipe.from_]
        self._account = self._source.account or self.pipe.from_
        self._target = config.destinations[self.pipe.to]
        self._file = file
        self._lock = lock
        self._pace = pace or Pace(self._source.requests_per_minute)
        self.stopping = stopping
        self.applied = applied
        self._progress = progress
        self._ends: tuple[Endpoint, Kind, Sink] | None = None
        self._close: list[Callable[[], None]] = []

    @property
    def follows(self) -> bool:
        """Whether the source has a feed that can be waited for; known once a run has opened it."""
        return self._ends is not None and self._ends[1] == "calldex"

    def close(self) -> None:
        """Let go of both ends."""
        for close in reversed(self._close):
            close()
        self._close.clear()
        self._ends = None

    def check(self) -> Kind:
        """Try both ends, and change nothing; the kind of the source."""
        with self._lock:
            destination = self._target.made(self._target.options, self._context())
            try:
                destination.check()
            finally:
                destination.close()
        endpoint = Endpoint(self._source, self.stopping, self._pace, tries=_CHECKS)
        try:
            kind = self._source.kind or endpoint.kind()
            endpoint.page({**self.pipe.filters, "per_page": 1})
        finally:
            endpoint.close()
        if kind == "v2":
            days_alone(self.pipe.filters)
        self._known_fields(kind)
        return kind

    def run(self, wait_s: int = 0, *, lookups: bool = True) -> int:
        """Bring the destination up to date; how many changes that took. What goes wrong with either end, or in between,
        is in the status; raises what is wrong with the file beside the configuration."""
        with self._reported() as status:
            endpoint, _, sink = self._opened()
            reader = self._reader()
            sink.retry()
            begun_ms = now_ms()
            status.changes = reader.run(wait_s)
            status.not_whole = dict(reader.problems)
            if lookups:
                self._lookups(endpoint, sink)
            if not status.not_whole:
                status.current_ms = begun_ms
        return self.status.changes

    def backfill(self, start: str, end: str) -> None:
        """Read some days again, whatever the place."""
        with self._reported() as status:
            self._opened()
            reader = self._reader()
            status.changes = reader.range(start, end)
            status.not_whole = dict(reader.problems)

    def verify(self, *, deep: bool = False) -> None:
        """Bring the destination up to date, prove it equal, and repair what is not. `deep`: by what its rows say, where
        they can be read back."""
        self.run()
        if self.status.problem:
            return
        with self._reported() as status:
            endpoint, _, sink = self._opened()
            found = verified(self._reader(deep=deep), sink)
            self._lookups(endpoint, sink, anew=True)
            status.changes = found.repaired
            status.repaired, status.unequal = found.repaired, found.unequal
            status.verified_ms = now_ms()

    def reset(self) -> None:
        """Forget the place: the next run reads everything, and deletes what is no more."""
        with self._reported():
            self._file.remembered(self.name).pop(_PLACE, None)
            _, _, sink = self._opened()
            sink.deliver((), Place())

    # --- inside -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reported(self) -> Iterator[Status]:
        """What happens within goes to the status, and to the log."""
        begun = time.monotonic()
        status = msgspec.structs.replace(self.status, problem="", changes=0, not_whole={})
        status.run_ms = now_ms()
        before = self._ends[0].requests if self._ends else 0
        try:
            yield status
        except (ClientError, DestinationProblem) as error:
            status.problem = str(error) or type(error).__name__
            status.later = not (isinstance(error, Unsound) or _is_final(error))
            self.close()  # the next run opens both ends anew
        except (Stopped, CalldexError, sqlite3.Error):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the status has it, and other pipes go on
            _log.exception("fault", pipe=self.name)
            status.problem = f"a fault, of which the log has more: {type(error).__name__}"
            status.later = isinstance(error, OSError)
            self.close()
        if status.current_ms is not None:
            status.current_ms = min(status.current_ms, now_ms())  # it was told by a clock that was ahead
        status.requests = self._ends[0].requests - before if self._ends else 0
        status.seconds = round(time.monotonic() - begun, 3)
        totals = self._file.totals(self.name)
        status.failed, status.retried = totals.failed, totals.retried
        self.status = status
        self._file.keep_status(self.name, msgspec.json.encode(status).decode())
        said = {"pipe": self.name, "changes": status.changes, "seconds": status.seconds, "failed": status.failed}
        if status.problem:
            _log.warning("pipe failed", **said, problem=status.problem)
        elif status.not_whole:
            _log.warning("pipe ran; some days are not whole", **said, days=status.not_whole)
        elif status.changes:
            _log.info("pipe ran", **said)

    def _context(self) -> Context:
        pause_ = partial(pause, self.stopping)
        return Context(self.name, self._account, tuple(self.pipe.fields), self._file.remembered(self.name), pause_)

    def _opened(self) -> tuple[Endpoint, Kind, Sink]:
        if self._ends is None:
            with self._lock:
                destination = self._target.made(self._target.options, self._context())
            self._close.append(destination.close)
            endpoint = Endpoint(self._source, self.stopping, self._pace)
            self._close.append(endpoint.close)
            sink = Sink(destination, self._file, self.name, self._lock, lambda count: self.applied(self.name, count))
            if not sink.has_tables:
                self._same_place()
            self._ends = endpoint, self._kind(endpoint), sink
        return self._ends

    def _same_place(self) -> None:
        """What was delivered was delivered to one place: at another, nothing of it is there."""
        remembered = self._file.remembered(self.name)
        place = _sum([self._target.kind, getattr(self._target.options, "url", "")])
        if remembered.setdefault(_PLACE, place) != place:
            raise Unsound(
                "the destination is another one than what was delivered went to: give the pipe another name, and it"
                f" begins anew there; or, if the same place has another address now, `calldex sync reset {self.name}`"
            )

    def _kind(self, endpoint: Endpoint) -> Kind:
        """What the source is: as the file says, as was found out before, or as it answers."""
        if self._source.kind:
            return self._source.kind
        remembered = self._file.remembered(self.name)
        key = f"{_KIND} {self._source.url}"
        if key not in remembered:
            remembered[key] = endpoint.kind()
        return "calldex" if remembered[key] == "calldex" else "v2"

    def _reader(self, *, deep: bool = False) -> FeedReader | DayReader:
        endpoint, kind, sink = self._opened()
        self._known_fields(kind)
        given: dict[str, Any] = {
            "reads": self._reads(kind),
            "filters": self.pipe.filters,
            "fields": self.pipe.fields,
            "progress": self._told_progress(),
            "deep": deep,
        }
        if kind == "calldex":
            return FeedReader(endpoint, sink, self._file, self.name, **given)
        source = self._source
        days: dict[str, Any] = {"look_back": source.look_back, "since": source.since, "timezone": source.timezone}
        return DayReader(endpoint, sink, self._file, self.name, **given, **days)

    def _told_progress(self) -> Progress:
        return lambda done, total: self._progress(self.name, done, total)

    def _known_fields(self, kind: Kind) -> None:
        unknown = sorted(set(self.pipe.fields) - COLUMN.keys()) if kind == "calldex" else []
        if unknown:
            raise Unsound(f"fields: {unknown[0]} is no field of a record{suggest(unknown[0], COLUMN)}")

    def _reads(self, kind: Kind) -> str:
        source = self._source
        what: list[Any] = [source.url, kind, self._account, sorted(self.pipe.filters.items()), sorted(self.pipe.fields)]
        if kind == "v2":
            what += [source.since, source.timezone]
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:32]

    def _lookups(self, endpoint: Endpoint, sink: Sink, *, anew: bool = False) -> None:
        """Bring the look-ups that changed; `anew`: all, whatever the destination is known to have."""
        if not (self.pipe.lookups and sink.has_tables):
            return
        place = sink.place()
        found = {} if anew else dict(place.lookups)
        for name in LOOKUPS:
            known = found.get(name, Known())
            try:
                tag, rows = endpoint.lookup(name, known.tag)
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                continue  # the endpoint has none, or shows none to this key
            if rows is not None:
                if _sum(rows) != known.sum:
                    sink.lookup(name, rows)
                found[name] = Known(tag, _sum(rows))
        if found != place.lookups:
            sink.deliver((), msgspec.structs.replace(place, lookups=found))


def _is_final(error: Exception) -> bool:
    """Whether the same would be refused again: a key that is not valid, a filter that there is not."""
    return isinstance(error, ApiError) and 400 <= error.status < 500 and error.status not in (408, 409, 410, 429)


def _sum(rows: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


def status_of(file: StateFile, name: str) -> Status:
    """How a pipe fares, as it is kept."""
    kept = file.status(name)
    return Status(pipe=name, begun_ms=now_ms()) if kept is None else msgspec.json.decode(kept, type=Status)


def condition_of(status: Status, bound_s: int, now_ms: int) -> str:
    """`unequal`: the last proof found what it could not repair; `behind`: not up to date for longer than it may be;
    `new`: not yet up to date for the first time; else `ok`."""
    if status.unequal:
        return "unequal"
    if now_ms - (status.begun_ms if status.current_ms is None else status.current_ms) > bound_s * 1000:
        return "behind"
    return "new" if status.current_ms is None else "ok"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How a pipe fares, as `status --json` shows it."""

    status: Status
    condition: str
    lag_s: float | None
    failures: list[Failure]


def unheard_of(name: str) -> Shown:
    """The same of a pipe of which nothing is kept, as none ever ran."""
    return Shown(status=Status(pipe=name, begun_ms=now_ms()), condition="new", lag_s=None, failures=[])


def shown(file: StateFile, name: str, bound_s: int) -> Shown:
    """The same with what failed, where a lag may be so many seconds."""
    status, at_ms = status_of(file, name), now_ms()
    lag_s = None if status.current_ms is None else (at_ms - status.current_ms) / 1000
    condition = condition_of(status, bound_s, at_ms)
    return Shown(status=status, condition=condition, lag_s=lag_s, failures=file.failures(name, MOST_SHOWN))


def workers(config: Config, names: list[str], file: StateFile, **given: Any) -> Mapping[str, Worker]:
    """The pipes of these names; those that go to one place share its lock, those of one source its budget."""
    locks = {target.place: threading.Lock() for target in config.destinations.values()}
    paces = {name: Pace(source.requests_per_minute) for name, source in config.sources.items()}
    return {
        name: Worker(config, name, file, lock=locks[target.place], pace=paces[pipe.from_], **given)
        for name, pipe, target in (
            (name, config.pipes[name], config.destinations[config.pipes[name].to]) for name in names
        )
    }
