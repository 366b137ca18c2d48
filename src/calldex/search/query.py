"""Parameters and a Scope become a Query. Pure: asks no clock, reads nothing, knows no engine.

`parse` takes what a client sent, as text by name, and gives the search that is meant, or `BadParameters` with one entry
for each parameter that is unknown, repeated, or not understood, or `Forbidden` for filters on what the mask withholds.
Nothing is ignored, nothing narrowed. What a route takes is declared by `Parameters`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from string import ascii_lowercase, ascii_uppercase
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from calldex.access import PERMISSIONS, Scope, needed_for
from calldex.errors import BadParameters, Forbidden, Problem, suggest
from calldex.inputs import parameters_of, read_members
from calldex.records.fields import (
    CALLBACK_HOURS,
    DAY_PARAMETERS,
    FILTER,
    FILTER_PARAMETERS,
    FILTERS,
    KEY_PARAMETER,
    LISTS,
    MAX_VALUES,
    MOST_CALLBACK_HOURS,
    Filter,
    Op,
)
from calldex.records.record import EPOCH_FORMS, from_epoch, is_decimal, is_withheld, plain_number, plain_uuid, to_ms
from calldex.texts import listed
from calldex.zones import timezones

MAX_PER_PAGE: Final = 10_000
DEFAULT_PER_PAGE: Final = 1_000
REACH_WITHOUT_TOKEN: Final = 10_000
"""How many records can be reached by page number alone."""

Value = int | str


class Condition(msgspec.Struct, frozen=True):
    """One filter with its values, ready for an engine: codes for words, a mask for events, uuids as text."""

    op: Op
    column: str
    values: tuple[Value, ...]
    or_column: str = ""
    """It suffices if the condition holds for one of the two."""
    negated: bool = False

    @property
    def names_uuids(self) -> bool:
        """Whether only records of its uuids are meant."""
        return self.op is Op.ANY_UUID and not self.negated


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are meant. A `Scope` is required: nobody asks without one.

    `start_ms` is included, `end_ms` excluded, both about the instant at which an interaction began. Within
    `callback_hours` a missed call counts as returned or answered later.
    """

    scope: Scope
    where: tuple[Condition, ...] = ()
    callbacks: tuple[Condition, ...] = ()
    """What became of callers, as other records tell: a store answers these, or says that it does not."""
    start_ms: int | None = None
    end_ms: int | None = None
    callback_hours: int = CALLBACK_HOURS

    @property
    def is_whole(self) -> bool:
        """Whether every record of the account is meant that began within the time."""
        return self.scope.whole and not (self.where or self.callbacks)

    def fingerprint(self) -> bytes:
        """16 bytes that differ when the filters differ (not the scope); a search token remembers them."""
        plain = sorted(
            (f"{'not ' if c.negated else ''}{c.op.name}", f"{c.column}{c.or_column}", sorted(map(str, c.values)))
            for c in (*self.where, *self.callbacks)
        )
        hours = () if self.callback_hours == CALLBACK_HOURS else (self.callback_hours,)
        packed = msgspec.msgpack.encode((plain, self.start_ms, self.end_ms, *hours))
        return hashlib.blake2b(packed, digest_size=16).digest()


class Own(msgspec.Struct, frozen=True):
    """The parameters that a route takes beside filters and days: a subclass with a member for each, described by
    `Meta`. A list is given as values between commas."""

    def problems(self) -> Iterable[Problem]:
        """What is wrong with the members together."""
        return ()


O = TypeVar("O", bound=Own)  # noqa: E741 -- as short as the type variables beside it


class Parameters(msgspec.Struct, Generic[O], frozen=True):
    """What a route over records takes beside the key: its `own`, and whether filters and days are among it; of the
    filters, whether those that look at other records as well (`related`) are; and whether the hours of these may come
    without them."""

    own: type[O]
    filters: bool = True
    days: bool = True
    related: bool = True
    hours_alone: bool = False


class PageRequest(Own, frozen=True):
    """Which part of the answer is wanted. `page` counts from 1."""

    page: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=10**9,
            description="Number of the page, from 1. With a `search_token`: 1 or the next page continues right after"
            " the token's page, a larger one skips whole pages.",
            examples=[1],
        ),
    ] = 1
    per_page: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_PER_PAGE, description="How many records a page holds.", examples=[100])
    ] = DEFAULT_PER_PAGE
    token: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=1000,
                description="Opaque; the `search_token` of an earlier reply continues that search, with the same"
                " filters.",
            ),
        ]
        | None
    ) = msgspec.field(name="search_token", default=None)
    numbers: (
        Annotated[
            Literal["international"],
            msgspec.Meta(
                description="`international`: the reply also has `numbers`, an object of the numbers in its records"
                " with the way each is written where people read it, as `+44 1632 960961`.",
                examples=["international"],
            ),
        ]
        | None
    ) = None

    def problems(self) -> Iterable[Problem]:
        """Without a token, only so much can be reached."""
        if self.token is None and self.page * self.per_page > REACH_WITHOUT_TOKEN:
            yield Problem(
                "page",
                str(self.page),
                f"without a search_token only the first {REACH_WITHOUT_TOKEN} records can be reached (page x per_page)",
                "continue with the search_token of the reply before",
            )


PAGES: Final = Parameters(PageRequest)
PARAMETERS: Final = (*FILTER_PARAMETERS, *DAY_PARAMETERS, *parameters_of(PageRequest), KEY_PARAMETER)
"""What a search takes beside filters."""


class _Refused(ValueError):
    """A value that does not parse: what is wrong with it, and what would be valid."""

    def __init__(self, message: str, valid: str) -> None:
        super().__init__(message)
        self.valid = valid


def parse(
    pairs: Iterable[tuple[str, str]],
    scope: Scope,
    timezone: str,
    parameters: Parameters[O] = PAGES,  # type: ignore[assignment]  # its O is `PageRequest` then
) -> tuple[Query, O]:
    """The search that is meant by these parameters, and those of the route's own.

    `timezone` is the zone in which days are cut when none is named. An empty value means "not given". Raises
    `BadParameters` with everything that is wrong.
    """
    problems: list[Problem] = []
    given = _by_name(pairs, parameters, problems)
    filters = FILTERS if parameters.filters else ()
    asked = [filter_ for filter_ in filters if filter_.name in given]
    conditions = [found for filter_ in asked if (found := _condition(filter_, given, problems)) is not None]
    start_ms, end_ms = _days(given, timezone, problems) if parameters.days else (None, None)
    hours = _read(given, _HOURS, lambda text: _whole(text, 1, MOST_CALLBACK_HOURS), problems) or CALLBACK_HOURS
    problems += _unrelated(given, parameters)
    own = _own(given, parameters.own, problems)
    _permitted(asked, scope)
    query = Query(
        scope=scope,
        where=tuple(each for each in conditions if each.op is not Op.CALLED_BACK),
        callbacks=tuple(each for each in conditions if each.op is Op.CALLED_BACK),
        start_ms=start_ms,
        end_ms=end_ms,
        callback_hours=hours,
    )
    return query, own


_HOURS: Final = FILTER_PARAMETERS[0].name
RELATED: Final = tuple(filter_.name for filter_ in FILTERS if filter_.op is Op.CALLED_BACK)
"""Filters that look at other records as well."""
UNRELATED: Final = "it depends on other calls, and a change of those makes no new version of the record"
"""Why the change feed takes none of them."""


def _unrelated(given: Mapping[str, str], parameters: Parameters[Any]) -> Iterable[Problem]:
    """What is given of filters that look at other records, where they cannot be, or of their hours without them."""
    if not parameters.related:
        for name in (*RELATED, _HOURS):
            if name in given:
                yield Problem(
                    name,
                    given[name][:100],
                    f"is not available in the change feed: {UNRELATED}",
                    "without it, or in the list, in exports and in statistics",
                )
    elif _HOURS in given and not parameters.hours_alone and given.keys().isdisjoint(RELATED):
        yield Problem(_HOURS, given[_HOURS][:100], "has no effect without callback_state", "with callback_state")


def _own(given: Mapping[str, str], kind: type[O], problems: list[Problem]) -> O:
    """What the route takes of its own; `BadParameters` if that or anything before is wrong."""
    names = kind.__struct_encode_fields__
    own = read_members({name: given[name] for name in names if name in given}, kind, problems, text=True)
    if own is not None:
        problems += own.problems()
    if own is None or problems:
        raise BadParameters(problems)
    return own


def _permitted(asked: Iterable[Filter], scope: Scope) -> None:
    """Refuse, of the filters that are given, those that would tell what is masked. The reply says which they are and
    nothing of the values."""
    problems = [
        Problem(filter_.name, "", f"this filter needs the permission {needed}", f"a user who may {PERMISSIONS[needed]}")
        for filter_ in asked
        if (needed := needed_for(filter_, scope.mask)) is not None
    ]
    if problems:
        raise Forbidden("\n".join(map(str, problems)), problems=problems)


@cache
def _canonical(parameters: Parameters[Any]) -> Mapping[str, str]:
    """What a route takes, by every name that it may be given under."""
    days = DAY_PARAMETERS if parameters.days else ()
    own: type[Own] = parameters.own
    hours = FILTER_PARAMETERS if parameters.filters else ()
    others = (*hours, *days, *parameters_of(own), KEY_PARAMETER)
    filters = {name: f.name for name, f in FILTER.items()} if parameters.filters else {}
    return filters | {parameter.name: parameter.name for parameter in others}


def _by_name(pairs: Iterable[tuple[str, str]], parameters: Parameters[Any], problems: list[Problem]) -> dict[str, str]:
    known = _canonical(parameters)
    given: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs:
        canonical = known.get(name)
        if canonical is None:
            valid = ", ".join(sorted(known))
            problems.append(Problem(name[:100], value[:100], f"unknown parameter{suggest(name, known)}", valid))
        elif canonical in seen:
            several = canonical in FILTER and FILTER[canonical].op in LISTS
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
    if values is None:
        return None
    return Condition(filter_.op, filter_.column, values, filter_.or_column, filter_.negated)


def _items(text: str) -> list[str]:
    try:
        items = listed(text)
    except ValueError as error:
        raise _Refused(str(error), 'items separated by commas; one that holds a comma as "a, b"') from None
    if len(items) > MAX_VALUES:
        raise _Refused(f"holds {len(items)} values", f"at most {MAX_VALUES} values")
    if not all(items):
        raise _Refused("has an empty item between its commas", "values separated by single commas")
    return items


def _codes(filter_: Filter, text: str) -> tuple[Value, ...]:
    return tuple(filter_.words.index(word) + 1 for word in _words(filter_, text))


def _bits(filter_: Filter, text: str) -> tuple[Value, ...]:
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
                ", ".join(filter_.all_words),
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


_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def _number(filter_: Filter, text: str) -> tuple[Value, ...]:
    """Letters are in lower case, for stores to find them in any; those beyond A to Z as they are."""
    if is_withheld(text):
        raise _Refused(
            "stands for a withheld number, and records do not have those",
            "digits, or another word that stands for a number; withheld=yes finds callers who withheld theirs",
        )
    if is_decimal(text):
        raise _Refused("is a number as spreadsheets write decimals", "all its digits, and nothing else")
    number = plain_number(text) if len(text) <= 64 else None
    if number is None:
        raise _Refused("is not a part of a telephone number", "1 to 64 digits, or of another word that stands for one")
    return (number.translate(_LOWER),)


def _seconds(filter_: Filter, text: str) -> tuple[Value, ...]:
    return (_whole(text, 0, 2**31 - 1),)


def _yes_or_no(filter_: Filter, text: str) -> tuple[Value, ...]:
    if text.lower() not in {"yes", "no"}:
        raise _Refused(f"{text[:100]!r} is neither", "yes or no")
    return (int(text.lower() == "yes"),)


def instant_ms(text: str) -> int | None:
    """The epoch milliseconds of an instant as `INSTANT_FORMS` says; None for what is none."""
    try:
        at = _moment(text).at
    except (ValueError, OverflowError):
        return None
    return to_ms(at) if isinstance(at, datetime) else None


def _instant(filter_: Filter, text: str) -> tuple[Value, ...]:
    at_ms = instant_ms(text)
    if at_ms is None:
        raise _Refused("is not an instant", INSTANT_FORMS)
    return (at_ms,)


_READ: Final[Mapping[Op, Callable[[Filter, str], tuple[Value, ...]]]] = {
    Op.BEGINS: _number,
    Op.CONTAINS: _number,
    Op.IS: _number,
    Op.ANY_WORD: _codes,
    Op.ANY_ID: _ids,
    Op.ANY_OF_SET: _ids,
    Op.ANY_TEXT: _texts,
    Op.ANY_TEXT_OF_SET: _texts,
    Op.ANY_BIT: _bits,
    Op.LONGER: _seconds,
    Op.SHORTER: _seconds,
    Op.KNOWN_LONGER: _seconds,
    Op.KNOWN_SHORTER: _seconds,
    Op.ANY_UUID: _uuids,
    Op.YES: _yes_or_no,
    Op.LACKS: _yes_or_no,
    Op.SINCE: _instant,
    Op.CALLED_BACK: _codes,
}


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
        raise _Refused("is not a whole number in range", f"a whole number from {least} to {most}")
    return int(text)


# --- days -------------------------------------------------------------------------------------------------------------

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_LONGEST_DAY: Final = 40
"""Characters of the longest instant that is read: length comes before meaning."""
_BLANK_OFFSET: Final = re.compile(r"(T[\d:.,]{1,20}) (\d{2}:?\d{2})")
INSTANT_FORMS: Final = f"an ISO 8601 instant with its offset such as 2026-01-31T08:00:00Z, or {EPOCH_FORMS}"
_DAY_FORMS: Final = f"YYYY-MM-DD, or {INSTANT_FORMS}; without an offset only with `timezone`, on whose clock it is"


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
    named = _read(given, "timezone", _zone, problems)
    zone = named or ZoneInfo(timezone)
    first = _read(given, "start_date", lambda text: _bound(text, zone, named, 0), problems)
    last = _read(given, "end_date", lambda text: _bound(text, zone, named, 1), problems)
    if first is not None and last is not None and not _in_order(given, named, first, last):
        problems.append(
            Problem(
                "end_date",
                given["end_date"][:100],
                f"does not lie after start_date {given['start_date'][:100]!r}",
                "start_date itself or a day after it, or an instant after it",
            )
        )
    return first, last


def _in_order(given: Mapping[str, str], named: ZoneInfo | None, first: int, last: int) -> bool:
    """Whether the bounds are in their order. Days are compared as such: one that a zone skipped has no length."""
    begin, end = (_moment(given[name], named).at for name in ("start_date", "end_date"))
    if isinstance(begin, datetime) or isinstance(end, datetime):
        return first < last
    return begin <= end


def _bound(text: str, zone: ZoneInfo, named: ZoneInfo | None, days_later: int) -> int:
    try:
        return _moment(text, named).start_ms(zone, days_later)
    except (ValueError, OverflowError):
        raise _Refused("is not a date", _DAY_FORMS) from None


def _moment(text: str, named: ZoneInfo | None = None) -> _Moment:
    """A day or an instant; without an offset only where the zone was named whose clock it is on. `ValueError`.

    A `+` that was not encoded arrives as a blank: `T10:00:00 02:00` is read as `T10:00:00+02:00`.
    """
    if len(text) > _LONGEST_DAY:
        raise ValueError
    if _DAY.fullmatch(text):
        return _Moment(date.fromisoformat(text))
    if text.isascii() and text.isdigit():
        instant = from_epoch(int(text))
    else:
        instant = datetime.fromisoformat(_BLANK_OFFSET.sub(r"\1+\2", text)) if "T" in text else None
    if instant is not None and instant.tzinfo is None and named is not None:
        instant = instant.replace(tzinfo=named)
    if instant is None or instant.tzinfo is None:
        raise ValueError
    return _Moment(instant)


def _zone(text: str) -> ZoneInfo:
    if text not in timezones():
        raise _Refused(f"is not a time zone{suggest(text, timezones())}", "an IANA name such as Europe/London, or UTC")
    return ZoneInfo(text)
