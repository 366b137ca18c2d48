"""Parameters and a Scope become a Query. Pure: asks no clock, reads nothing, knows no engine.

`parse` takes what a client sent, as text by name, and gives the search he means, or `BadParameters` with one entry for
each parameter that is unknown, repeated, or not understood, or `Forbidden` for filters on what is masked for him.
Nothing is ignored, nothing narrowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from calldex.access import PERMISSIONS, Scope, needed_for
from calldex.errors import BadParameters, Forbidden, Problem, suggest
from calldex.records.fields import (
    DEFAULT_PER_PAGE,
    FILTER,
    FILTERS,
    MAX_PER_PAGE,
    MAX_VALUES,
    PARAMETERS,
    REACH_WITHOUT_TOKEN,
    Filter,
    Op,
)
from calldex.records.record import plain_number, plain_uuid, to_ms
from calldex.zones import timezones

Value = int | str


class Condition(msgspec.Struct, frozen=True):
    """One filter with its values, ready for an engine: codes for words, a mask for events, uuids as text."""

    op: Op
    column: str
    values: tuple[Value, ...]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are meant. A `Scope` is required: nobody asks without one.

    `start_ms` is included, `end_ms` excluded, both about the instant at which an interaction began.
    """

    scope: Scope
    where: tuple[Condition, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None

    def fingerprint(self) -> bytes:
        """16 bytes that differ when the filters differ (not the scope); a search token remembers them."""
        plain = sorted((c.op.name, c.column, sorted(map(str, c.values))) for c in self.where)
        packed = msgspec.msgpack.encode((plain, self.start_ms, self.end_ms))
        return hashlib.blake2b(packed, digest_size=16).digest()


class PageRequest(msgspec.Struct, frozen=True):
    """Which part of the answer is wanted. `page` counts from 1."""

    page: int = 1
    per_page: int = DEFAULT_PER_PAGE
    token: str | None = None


class _Refused(ValueError):
    """A value that does not parse: what is wrong with it, and what would be valid."""

    def __init__(self, message: str, valid: str) -> None:
        super().__init__(message)
        self.valid = valid


def parse(pairs: Iterable[tuple[str, str]], scope: Scope, timezone: str) -> tuple[Query, PageRequest]:
    """The search that a client means by these parameters, and the part of it he wants.

    `timezone` is the zone in which his days are cut when he names none. An empty value means "not given". Raises
    `BadParameters` with everything that is wrong.
    """
    problems: list[Problem] = []
    given = _by_name(pairs, problems)
    conditions = tuple(
        condition for filter_ in FILTERS if (condition := _condition(filter_, given, problems)) is not None
    )
    start_ms, end_ms = _days(given, timezone, problems)
    page = _page(given, problems)
    if problems:
        raise BadParameters(problems)
    _permitted(given, scope)
    return Query(scope=scope, where=conditions, start_ms=start_ms, end_ms=end_ms), page


def _permitted(given: Mapping[str, str], scope: Scope) -> None:
    """Refuse the filters that would tell what is masked. The reply says which they are and nothing of the values."""
    problems = [
        Problem(filter_.name, "", f"this filter needs the permission {needed}", f"a user who may {PERMISSIONS[needed]}")
        for filter_ in FILTERS
        if filter_.name in given and (needed := needed_for(filter_, scope.mask)) is not None
    ]
    if problems:
        raise Forbidden("\n".join(map(str, problems)), problems=problems)


_CANONICAL: Final[Mapping[str, str]] = {name: f.name for name, f in FILTER.items()} | {
    p.name: p.name for p in PARAMETERS
}


_SINGLE: Final = frozenset((Op.BEGINS, Op.CONTAINS, Op.IS, Op.LONGER, Op.SHORTER))
"""Filters that take one value."""


def _by_name(pairs: Iterable[tuple[str, str]], problems: list[Problem]) -> dict[str, str]:
    given: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs:
        canonical = _CANONICAL.get(name)
        if canonical is None:
            valid = ", ".join(sorted(_CANONICAL))
            problems.append(Problem(name[:100], value[:100], f"unknown parameter{suggest(name, _CANONICAL)}", valid))
        elif canonical in seen:
            several = canonical in FILTER and FILTER[canonical].op not in _SINGLE
            valid = "one value, or several, comma-separated" if several else "one value"
            problems.append(Problem(name, value[:100], "given more than once", valid))
        else:
            seen.add(canonical)
            if value.strip():
                given[canonical] = value.strip()
    return given


_T = TypeVar("_T")


def _read(given: Mapping[str, str], name: str, read: Callable[[str], _T], problems: list[Problem]) -> _T | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        return read(text)
    except _Refused as refused:
        problems.append(Problem(name, text[:100], str(refused), refused.valid))
        return None


def _condition(filter_: Filter, given: Mapping[str, str], problems: list[Problem]) -> Condition | None:
    values = _read(given, filter_.name, lambda text: _READ[filter_.op](filter_, text), problems)
    return None if values is None else Condition(filter_.op, filter_.column, values)


def _items(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if len(items) > MAX_VALUES:
        raise _Refused(f"holds {len(items)} values", f"at most {MAX_VALUES} values")
    if not all(items):
        raise _Refused("has an empty item between its commas", "values separated by single commas")
    return items


def _codes(filter_: Filter, text: str) -> tuple[Value, ...]:
    return tuple(filter_.words.index(word) + 1 for word in _words(filter_, text))


def _mask(filter_: Filter, text: str) -> tuple[Value, ...]:
    return (sum(1 << filter_.words.index(word) for word in _words(filter_, text)),)


def _words(filter_: Filter, text: str) -> list[str]:
    """The words meant, without regard to case, each once, in the vocabulary's order."""
    known: dict[str, tuple[str, ...]] = {word.lower(): (word,) for word in filter_.words}
    known |= {alias.lower(): words for alias, words in filter_.word_aliases.items()}
    meant: set[str] = set()
    for item in _items(text):
        words = known.get(item.lower())
        if words is None:
            raise _Refused(
                f"{item[:100]!r} is not a value{suggest(item, known)}",
                ", ".join((*filter_.words, *filter_.word_aliases)),
            )
        meant.update(words)
    return [word for word in filter_.words if word in meant]


def _ids(filter_: Filter, text: str) -> tuple[Value, ...]:
    ids = set()
    for item in _items(text):
        if not (item.isascii() and item.isdigit() and len(item) <= 16 and 0 < int(item) < 2**53):
            raise _Refused(f"{item[:100]!r} is not an id", "whole numbers above 0, comma-separated")
        ids.add(int(item))
    return tuple(sorted(ids))


def _texts(filter_: Filter, text: str) -> tuple[Value, ...]:
    return tuple(sorted(set(_items(text))))


def _uuids(filter_: Filter, text: str) -> tuple[Value, ...]:
    uuids = set()
    for item in _items(text):
        uuid = plain_uuid(item)
        if uuid is None:
            raise _Refused(f"{item[:100]!r} is not a uuid", "uuids of 32 hexadecimal digits, comma-separated")
        uuids.add(uuid)
    return tuple(sorted(uuids))


def _number(filter_: Filter, text: str) -> tuple[Value, ...]:
    number = plain_number(text)
    if number is None or len(number) > 64:
        raise _Refused("is not a part of a telephone number", "1 to 64 digits, or of another word that stands for one")
    return (number,)


def _seconds(filter_: Filter, text: str) -> tuple[Value, ...]:
    return (_whole(text, 0, 2**31 - 1),)


_READ: Final[Mapping[Op, Callable[[Filter, str], tuple[Value, ...]]]] = {
    Op.BEGINS: _number,
    Op.CONTAINS: _number,
    Op.IS: _number,
    Op.ANY_WORD: _codes,
    Op.ANY_ID: _ids,
    Op.ANY_OF_SET: _ids,
    Op.ANY_TEXT: _texts,
    Op.ANY_BIT: _mask,
    Op.LONGER: _seconds,
    Op.SHORTER: _seconds,
    Op.ANY_UUID: _uuids,
}


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
        raise _Refused("is not a whole number in range", f"a whole number from {least} to {most}")
    return int(text)


def _page(given: Mapping[str, str], problems: list[Problem]) -> PageRequest:
    page = _read(given, "page", lambda text: _whole(text, 1, 10**9), problems) or 1
    per_page = _read(given, "per_page", lambda text: _whole(text, 1, MAX_PER_PAGE), problems) or DEFAULT_PER_PAGE
    token = given.get("search_token")
    if token is None and page * per_page > REACH_WITHOUT_TOKEN:
        problems.append(
            Problem(
                "page",
                str(page),
                f"without a search_token only the first {REACH_WITHOUT_TOKEN} records can be reached (page x per_page)",
                "continue with the search_token of the reply before",
            )
        )
    return PageRequest(page, per_page, token)


# --- days -------------------------------------------------------------------------------------------------------------

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_LONGEST_DAY: Final = 40
"""Characters of the longest instant that is read: length comes before meaning."""
_BLANK_OFFSET: Final = re.compile(r"(T[\d:.,]{1,20}) (\d{2}:?\d{2})")
_DAY_FORMS: Final = "YYYY-MM-DD, or an ISO 8601 instant with its offset such as 2026-01-31T08:00:00Z"


class _Moment(msgspec.Struct, frozen=True):
    """A bound as it was given: a day, or an instant."""

    at: date | datetime

    def start_ms(self, zone: ZoneInfo, days_later: int = 0) -> int:
        """The instant itself, or the day's first instant in a zone, some days later."""
        if isinstance(self.at, datetime):
            return to_ms(self.at)
        if days_later and self.at == date.max:
            return to_ms(datetime.max.replace(tzinfo=UTC)) + 1
        return to_ms(datetime.combine(self.at + timedelta(days=days_later), time(), zone))


def _days(given: Mapping[str, str], timezone: str, problems: list[Problem]) -> tuple[int | None, int | None]:
    """The bounds in epoch milliseconds: the first included, the second excluded."""
    zone = _read(given, "timezone", _zone, problems) or ZoneInfo(timezone)
    first = _read(given, "start_date", lambda text: _bound(text, zone, 0), problems)
    last = _read(given, "end_date", lambda text: _bound(text, zone, 1), problems)
    if first is not None and last is not None and last <= first:
        problems.append(
            Problem(
                "end_date",
                given["end_date"][:100],
                f"lies before start_date {given['start_date'][:100]!r}",
                "a day not before start_date, or an instant after it",
            )
        )
    return first, last


def _bound(text: str, zone: ZoneInfo, days_later: int) -> int:
    try:
        return _moment(text).start_ms(zone, days_later)
    except (ValueError, OverflowError):
        raise _Refused("is not a date", _DAY_FORMS) from None


def _moment(text: str) -> _Moment:
    """A `+` that was not encoded arrives as a blank: `T10:00:00 02:00` is read as `T10:00:00+02:00`."""
    if len(text) > _LONGEST_DAY:
        raise ValueError
    if _DAY.fullmatch(text):
        return _Moment(date.fromisoformat(text))
    instant = datetime.fromisoformat(_BLANK_OFFSET.sub(r"\1+\2", text))
    if instant.tzinfo is None or "T" not in text:
        raise ValueError
    return _Moment(instant)


def _zone(text: str) -> ZoneInfo:
    if text not in timezones():
        raise _Refused(f"is not a time zone{suggest(text, timezones())}", "an IANA name such as Europe/London, or UTC")
    return ZoneInfo(text)
