"""How a pipe reads: a change feed by its cursor, an endpoint that has the list alone by days.

Both give a sink batches with the place behind them, in this order: what came is noted as seen, then delivered with the
place. So whoever is killed between any two steps reads something again, and misses nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from calldex.client import ApiError, ClientError, CursorExpired, Incomplete, Record, RightsChanged, Unreachable
from calldex.client.flows import Value
from calldex.clock import now_ms
from calldex.sync.destinations import Change
from calldex.sync.sink import Day, Place, Sink, began_ms, chosen, digest, gone
from calldex.sync.source import PAGE, Endpoint, Listed, Told
from calldex.sync.state import StateFile

KEEP_CURSOR_S: Final = 3600
"""A cursor behind which nothing came is kept all the same after so long, before it is too old."""
_FIRST_DAY: Final = date(2000, 1, 1)
_AWAY: Final = frozenset((429, 502, 503, 504))
"""What a day was not read for that may be so of all."""
_DATES: Final = ("start_date", "end_date")
_ALL_MS: Final = (-62_135_596_800_000, 253_402_300_799_000)
"""The years 1 to 9999."""
_TOKEN_REFUSED: Final = frozenset((400, 409, 410))

Progress = Callable[[int, int | None], None]
"""Told how many records came, and how many there are to come, where that is known."""


class Unsound(ClientError):
    """The endpoint answers what cannot be: a sync that went on would make the copy wrong."""


def days_alone(filters: Mapping[str, Value]) -> None:
    """Raises `Unsound` for filters that an endpoint which has the list alone cannot have: it is read by days."""
    for name in _DATES:
        if name in filters:
            raise Unsound(f"filters.{name}: the endpoint is read by days; `since` of the source says where to begin")


def reach(filters: Mapping[str, Value]) -> tuple[int, int]:
    """Begin and end, as epoch milliseconds, of what the dates among filters choose, of all where there are none. Days
    are UTC's, whoever the key's owner is: so a proof means the same records."""
    first, last = (_moment(name, filters[name]) if name in filters else None for name in _DATES)
    begin = _ALL_MS[0] if first is None else _ms(first)
    end = _ALL_MS[1] if last is None else _ms(last) if isinstance(last, datetime) else _ms(last + timedelta(1))
    if begin >= end:
        raise Unsound("filters.end_date: does not lie after start_date")
    return begin, end


def _moment(name: str, given: Value) -> date:
    """A day or an instant (a `datetime` is a `date`)."""
    text = str(given)
    try:
        found = datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or (isinstance(found, datetime) and found.tzinfo is None):
        raise Unsound(f"filters.{name}: {text[:100]!r} is no date; valid: 2026-11-01 (UTC), 2026-11-01T08:00:00Z")
    return found


def _ms(at: date) -> int:
    instant = at if isinstance(at, datetime) else datetime.combine(at, datetime.min.time(), UTC)
    return round(instant.timestamp() * 1000)


def instant(ms: int) -> str:
    """An instant as the API takes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


class Reader:
    """What both ways share: whose records, under which filters, with which fields, and into which sink."""

    def __init__(
        self,
        endpoint: Endpoint,
        sink: Sink,
        file: StateFile,
        pipe: str,
        *,
        reads: str,
        filters: Mapping[str, Value],
        fields: Sequence[str],
        progress: Progress,
        deep: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.sink = sink
        self.file = file
        self.pipe = pipe
        self.reads = reads
        self.filters = dict(filters)
        self.fields = fields
        self.progress = progress
        self.deep = deep
        """Whether what a copy has in the right version is compared by what it says as well, where days are read
        again."""

    def differing(
        self, came: Mapping[str, Change], held: Mapping[str, int], start_ms: int, end_ms: int
    ) -> dict[str, Change]:
        """Those of the records of a time that the destination has otherwise, or not."""
        same = [each for each in came.values() if each.seq == held.get(each.uuid)] if self.deep else []
        altered = self.sink.altered([each for each in same if each.json is not None], start_ms, end_ms)
        return {uuid: each for uuid, each in came.items() if each.seq != held.get(each.uuid) or each.uuid in altered}

    def sweep(self, part: str, start_ms: int | None = None, end_ms: int | None = None) -> Iterator[Change]:
        """The deletion of everything that the destination has of a time and did not come in a reading."""
        rows = self.sink.held(start_ms, end_ms)
        while some := [row[0] for row in islice(rows, PAGE)]:
            yield from map(gone, self.file.unseen(self.pipe, part, some))

    def swept(self, part: str, place: Place, start_ms: int | None = None, end_ms: int | None = None) -> int:
        """Deliver these deletions; how many there are."""
        total = 0
        found = self.sweep(part, start_ms, end_ms)
        while some := list(islice(found, self.sink.batch_size)):
            self.sink.deliver(some, place)
            total += len(some)
        return total


class FeedReader(Reader):
    """Reads a change feed."""

    problems: Mapping[str, str] = {}

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._reach = reach(self.filters)
        told = zip(_DATES, map(instant, self._reach), strict=True)
        self.filters |= {name: each for name, each in told if name in self.filters}

    def within(self, start_ms: int, end_ms: int) -> dict[str, Value] | None:
        """The pipe's filters, and those of a time; None if nothing is chosen by both."""
        start_ms, end_ms = max(start_ms, self._reach[0]), min(end_ms, self._reach[1])
        if start_ms >= end_ms:
            return None
        return {**self.filters, "start_date": instant(start_ms), "end_date": instant(end_ms)}

    def run(self, wait_s: int = 0) -> int:
        """Read to the end of the feed; how many changes came. With `wait_s`, the server is asked to wait so long for
        the first of them."""
        try:
            return self._follow(self._place(), wait_s)
        except (RightsChanged, CursorExpired):
            # What is held may be more than is seen now, or changes of it may be lost: everything comes anew.
            return self._follow(self._begun(), 0)

    def _place(self) -> Place:
        """Where the reading goes on; at the beginning, if what was read there was something else, or the notes of a
        reading of everything are lost."""
        place = self.sink.place()
        lost = bool(place.full and place.cursor) and not self.file.count_seen(self.pipe, place.full)
        return self._begun() if place.reads != self.reads or place.cursor is None or lost else place

    def _begun(self) -> Place:
        """The place of a reading from the beginning. Of what is empty nothing has to be deleted at its end."""
        self.file.forget_seen(self.pipe)
        held = next(self.sink.held(), None) is not None
        return Place(reads=self.reads, full=uuid.uuid4().hex if held else "")

    def _follow(self, place: Place, wait_s: int) -> int:
        total = 0
        found: dict[str, Change] = {}
        expected = None if place.cursor else self.endpoint.page({**self.filters, "per_page": 1}).total
        for page in self.endpoint.changes(place.cursor, self.filters, wait_s if place.cursor else 0):
            found |= {each.uuid: self._change(each) for each in page.changes}
            if page.has_more and len(found) + PAGE <= self.sink.batch_size:
                continue
            total += len(found)
            place = self._delivered(found, place, page.next_cursor)
            # More can come than there are records: deletions, and what changes meanwhile.
            self.progress(total, None if expected is None else max(total, expected))
            found = {}
        if place.full:
            total += self.swept(place.full, place)
            self.sink.deliver((), msgspec.structs.replace(place, full=""))
            self.file.forget_seen(self.pipe)
        return total

    def _change(self, told: Told) -> Change:
        if told.change != "upsert":
            return Change(told.uuid, told.seq, None)
        if not self.fields:
            return Change(told.uuid, told.seq, told.record)
        return Change.of(told.uuid, told.seq, chosen(msgspec.json.decode(told.record), self.fields))

    def _delivered(self, found: Mapping[str, Change], place: Place, cursor: str) -> Place:
        now_s = now_ms() // 1000
        behind = msgspec.structs.replace(place, cursor=cursor, kept_s=now_s)
        if place.full:
            self.file.see(self.pipe, place.full, found)
        if found or place.cursor is None or abs(now_s - place.kept_s) > KEEP_CURSOR_S:
            self.sink.deliver(list(found.values()), behind)
            return behind
        return place

    def range(self, start: str, end: str) -> int:
        """Read some days from the beginning, and delete what of them did not come; how many changes that made."""
        return self.again(*bounds(start, end, "UTC"))

    def again(self, start_ms: int, end_ms: int) -> int:
        """The same of all that began in a time."""
        place = self.sink.place()
        part = f"again {uuid.uuid4().hex}"
        held = {each: seq for each, seq, _ in self.sink.held(start_ms, end_ms)}
        total = 0
        asked = self.within(start_ms, end_ms)
        for page in () if asked is None else self.endpoint.changes(None, asked):
            came = {each.uuid: self._change(each) for each in page.changes}
            self.file.see(self.pipe, part, came)
            new = self.differing(came, held, start_ms, end_ms)
            if new:
                self.sink.deliver(list(new.values()), place)
            total += len(new)
        total += self.swept(part, place, start_ms, end_ms)
        self.file.forget_seen(self.pipe, part)
        return total


class _TokenRefused(Exception):
    """A search token that is not good for going on: its day begins anew."""


class DayReader(Reader):
    """Reads the list by days. What differs from what the destination holds waits in `_pending` until it fills a batch;
    the place goes with it."""

    def __init__(self, *args: Any, look_back: int, since: date | None, timezone: str, **given: Any) -> None:
        super().__init__(*args, **given)
        days_alone(self.filters)
        self._look_back = look_back
        self._since = since
        self._timezone = timezone
        self._pending: dict[str, Change] = {}
        self.problems: dict[str, str] = {}
        """Days that could not be read whole, and why."""

    def run(self, wait_s: int = 0) -> int:
        """Read every day that is not whole yet, and those of the look-back; how many changes came.

        A day that cannot be read whole is not marked as done: it stands in the place with the reason, and is read again
        the next time.
        """
        today = self._today()
        place = self.sink.place()
        total = 0
        if place.reads != self.reads or not place.first:
            self.file.forget_seen(self.pipe)
            place = Place(reads=self.reads, first=self._first(today))
            total += self._nothing_before(place)
        days = self._wanted(place, today)
        total += self._days(place, days)
        if (other := self._today()) != today:  # our clock was wrong, or midnight has passed
            place = self.sink.place()
            found, more = self.problems, self._wanted(place, other)
            total += self._days(place, [day for day in more if day not in days])
            self.problems = found | self.problems
        return total

    def _today(self) -> date:
        """The day on the endpoint's clock: by ours, a day could pass for whole before it is over."""
        return self.endpoint.now().astimezone(ZoneInfo(self._timezone)).date()

    def _wanted(self, place: Place, today: date) -> list[str]:
        first = date.fromisoformat(place.first)
        start = date.fromisoformat(place.through) + timedelta(1) if place.through else first
        start = max(first, min(start, today - timedelta(self._look_back - 1)))
        return sorted({*place.days, *_each_day(start, today)})

    def range(self, start: str, end: str) -> int:
        """Read some days whole, and delete what of them did not come; how many changes that made."""
        return self._days(
            self.sink.place(), _each_day(date.fromisoformat(start), date.fromisoformat(end)), onward=False
        )

    def whole(self) -> int:
        """The same of all days, from the first that has records now: older ones may have come since the reading began;
        to tomorrow, as clocks differ."""
        today = self._today()
        place = msgspec.structs.replace(self.sink.place(), first=self._first(today))
        days = _each_day(date.fromisoformat(place.first), today + timedelta(1))
        return self._nothing_before(place) + self._days(place, days, onward=False)

    def _nothing_before(self, place: Place) -> int:
        """Delete what the destination has of before the first day; how many records that are. With `since`, that is
        not known."""
        if self._since is not None:
            return 0
        return self.swept("none", place, None, bounds(place.first, place.first, self._timezone)[0])

    def _days(self, place: Place, days: Sequence[str], *, onward: bool = True) -> int:
        """Read days in their order. `onward`: those that are whole and over are marked as done."""
        total = 0
        self.problems, self._pending = {}, {}
        for done, day in enumerate(days):
            walks = bool(place.days.get(day, Day()).token)
            place, count = self._tried(place, day)
            total += count
            if walks and day not in self.problems and day > str(self._today() - timedelta(self._look_back)):
                # The walk of a run before saw the day as it was then.
                self._settle(place)
                place, count = self._tried(place, day)
                total += count
            if onward and day not in place.days:
                over = min(day, str(self._today() - timedelta(1)))
                place = msgspec.structs.replace(place, through=max(place.through, over))
            if len(self._pending) >= self.sink.batch_size:
                self._flush(place)
            self.progress(done + 1, len(days))
        if self._pending or place != self.sink.place():
            self._flush(place)
        return total

    def _tried(self, place: Place, day: str) -> tuple[Place, int]:
        try:
            try:
                return self._day(place, day)
            except _TokenRefused:
                # What the walk gave so far may be no more: when it is there, what does not come again goes.
                place = _with_day(place, day, Day())
                self._settle(place)
                return self._day(place, day)
        except (Incomplete, Unreachable, ApiError, _TokenRefused) as error:
            if isinstance(error, ApiError) and error.status in (401, 403):
                raise
            place = _with_day(place, day, Day(problem=str(error)[:500]))
            if isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status in _AWAY):
                self._settle(place)
                # Raises if nothing else is answered either: the days that follow would wait for it one by one.
                self.endpoint.page({"start_date": _FIRST_DAY, "end_date": _FIRST_DAY, "per_page": 1})
            self.problems[day] = str(error)
            return place, 0

    def _day(self, place: Place, day: str) -> tuple[Place, int]:
        """Read a day, from where it was left; the place behind it, and how many changes it made."""
        part = f"day {day}"
        at = place.days.get(day, Day())
        if not at.token or not self.file.count_seen(self.pipe, part):
            self.file.forget_seen(self.pipe, part)
            at = Day()
        start_ms, end_ms = bounds(day, day, self._timezone)
        held = {each: seq for each, seq, _ in self.sink.held(start_ms, end_ms)}
        count, totals = 0, set() if at.total is None else {at.total}
        came: set[str] = set()
        while True:
            page, on = self._page(day, at.token), str(self._today())
            if at.token and at.on != on:  # it sees the day as it was then, which may not have been over
                raise _TokenRefused("the walk began on another day")
            changes = self._changes(page.records, day, start_ms, end_ms)
            self.file.see(self.pipe, part, changes)
            new = self.differing(changes, held, start_ms, end_ms)
            self._pending |= new
            count += len(new)
            totals.add(page.total)
            at = Day(token=page.search_token or "", total=page.total, on=on)
            if not at.token:
                break
            if changes.keys() <= came:
                raise Incomplete(f"{day} gave a page with nothing new, and says that more follows")
            came |= changes.keys()
            place = _with_day(place, day, at)
            if len(self._pending) >= self.sink.batch_size:
                self._flush(place)
        seen = self.file.count_seen(self.pipe, part)
        # A server's total may move in mid-walk, and what is there with it.
        if not min(totals) <= seen <= max(totals):
            raise Incomplete(f"{day} gave {seen} records of {max(totals)}")
        for each in self.sweep(part, start_ms, end_ms):
            # What moved to a day before is there already, though the destination has it here still.
            if each.uuid not in self._pending:
                self._pending[each.uuid] = each
                count += 1
        self.file.forget_seen(self.pipe, part)
        return _with_day(place, day, None), count

    def _settle(self, place: Place) -> None:
        """Deliver what waits, before a day is read anew: what it says now is compared with what is held."""
        if self._pending:
            self._flush(place)

    def _flush(self, place: Place) -> None:
        self.sink.deliver(list(self._pending.values()), place)
        self._pending = {}

    def _page(self, day: str, token: str) -> Listed:
        asked = {**self.filters, "start_date": day, "end_date": day, "per_page": PAGE}
        try:
            return self.endpoint.page(asked | ({"search_token": token} if token else {}))
        except ApiError as error:
            if token and error.status in _TOKEN_REFUSED:
                raise _TokenRefused(str(error)) from error
            raise

    def _changes(self, records: Sequence[Record], day: str, start_ms: int, end_ms: int) -> dict[str, Change]:
        found = {}
        for record in records:
            if not start_ms <= began_ms(record) < end_ms:
                raise Unsound(
                    f"asked for {day}, the endpoint gave a record that began at {record.get('timestamp')}: it cuts days"
                    f" in another zone than {self._timezone}; set `timezone` of the source to that of the key's owner"
                )
            if not isinstance(uuid_ := record.get("uuid"), str):
                raise Incomplete(f"{day} gave a record without a uuid")
            kept = chosen(record, self.fields)
            found[uuid_] = Change.of(uuid_, digest(kept), kept)
        return found

    def _first(self, today: date) -> str:
        """The first day that has records, if no other is given; today if there are none. Each step halves the days that
        it may be."""
        if self._since is not None:
            return str(self._since)
        low, high = _FIRST_DAY, today
        while low < high:
            middle = low + (high - low) // 2
            page = self.endpoint.page({**self.filters, "end_date": middle, "per_page": 1})
            low, high = (low, middle) if page.total else (middle + timedelta(1), high)
        return str(low)


def _each_day(first: date, last: date) -> list[str]:
    """Every day of a time."""
    return [str(first + timedelta(number)) for number in range((last - first).days + 1)]


def _with_day(place: Place, day: str, at: Day | None) -> Place:
    """The place with a day that is not whole; None: it is."""
    days = {name: each for name, each in place.days.items() if name != day}
    return msgspec.structs.replace(place, days=days if at is None else {**days, day: at})


def bounds(first: str, last: str, timezone: str) -> tuple[int, int]:
    """Begin and end of days in a zone, as epoch milliseconds."""
    zone = ZoneInfo(timezone)
    start = datetime.combine(date.fromisoformat(first), datetime.min.time(), zone)
    end = datetime.combine(date.fromisoformat(last) + timedelta(1), datetime.min.time(), zone)
    return round(start.timestamp() * 1000), round(end.timestamp() * 1000)
