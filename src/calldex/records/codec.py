"""The contract's names and shapes, version 2: a record's JSON, and how such JSON is read again.

A record's JSON is its own fields (`record.Cdr`) and two more that Voiso's clients rely on: `timestamp`, the begin in
whole seconds, and `duration` as `HH:MM:SS`. It is made once, when the record is written, and stored. What is served
can be read again and is equal. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from calldex.records.fields import FILTER
from calldex.records.record import (
    EPOCH_FORMS,
    Cdr,
    Event,
    Id,
    Instant,
    Leg,
    Rejected,
    Score,
    Seconds,
    Team,
    canonical,
    from_epoch,
    is_decimal,
    plain_uuid,
)

_HMS: Final = r"^\d{2,7}:[0-5]\d:[0-5]\d$"
Hms = Annotated[str, msgspec.Meta(pattern=_HMS)]


class Record(Cdr, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A record as version 2 of the API shows it."""

    timestamp: Instant
    # The pattern is for readers of the schema: that this is `duration_s` in that form is checked for every record.
    duration: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _HMS})]


_EITHER: Final = ("started_at", "timestamp", "duration_s", "duration")
"""What one of can be told from another, so that others leave some out."""
_field: Any = msgspec.field
_Partial: Final = msgspec.defstruct(
    "_Partial",
    [
        (each.name, each.type | UnsetType, _field(name=each.encode_name, default=UNSET))
        if each.name in _EITHER
        else (
            each.name,
            each.type,
            _field(name=each.encode_name, default=each.default, default_factory=each.default_factory),
        )
        for each in msgspec.structs.fields(Record)
    ],
    kw_only=True,
    gc=False,
    forbid_unknown_fields=True,
)
"""A record of which some of `_EITHER` may be left out."""

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Record).decode
_DECODE_PARTIAL: Final = msgspec.json.Decoder(_Partial).decode
_ANY: Final = msgspec.json.Decoder().decode
_HALF: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
"""A backslash before it would have made it plain text."""
_NAMES: Final = Cdr.__struct_fields__
_MEMBERS: Final = Record.__struct_fields__
_IS_HMS: Final = re.compile(_HMS, re.ASCII).fullmatch
_NOTHING: Final = timedelta(0)
_SECOND: Final = timedelta(seconds=1)


@lru_cache(maxsize=16_384)
def hms(seconds: int) -> str:
    """`HH:MM:SS`."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def seconds(text: str) -> int:
    """The seconds of an `HH:MM:SS`; `ValueError` otherwise."""
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(rest)


def encode(cdr: Cdr) -> bytes:
    """The JSON of a record as the API serves it; the record must be in its canonical form."""
    served = type(cdr) is Record and cdr.timestamp.tzinfo is UTC and not cdr.timestamp.microsecond
    return _ENCODE(cdr if served else record(cdr))


def record(cdr: Cdr) -> Record:
    """A record with the two members that only the wire knows."""
    fields = {name: getattr(cdr, name) for name in _NAMES}
    return Record(**fields, timestamp=cdr.started_at.replace(microsecond=0), duration=hms(cdr.duration_s))


def decode(line: bytes, where: str) -> Cdr | Rejected:
    """The record that a JSON object is: strictly the shape that is served, or a looser one (`_loose`)."""
    try:
        found = _DECODE(line)
    except (msgspec.ValidationError, UnicodeDecodeError):
        whole = _whole_of(line)
        return _loose(line, where) if whole is None else _sound(whole, line, where)
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejected(_not_json(line, error), where, line)
    return _sound(found, line, where)


def _whole_of(line: bytes) -> Record | None:
    """The record that lacks nothing but what can be told from its other members: as `_loose` reads it, in a third of
    the time. None for every other."""
    try:
        given: Any = _DECODE_PARTIAL(line)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
    started = given.timestamp if given.started_at is UNSET else given.started_at
    if started is UNSET:
        return None
    try:
        if given.timestamp is UNSET:
            given.timestamp = started.astimezone(UTC).replace(microsecond=0)
        given.started_at = started
        if given.duration_s is UNSET:
            if given.duration is UNSET or not _IS_HMS(given.duration):
                return None
            given.duration_s = seconds(given.duration)
    except OverflowError:
        return None
    if given.duration is UNSET:
        given.duration = hms(given.duration_s)
    return Record(**{name: getattr(given, name) for name in _MEMBERS})


def without_halves(text: bytes) -> bytes:
    """JSON with a whole character's escape wherever there was one of half a character (`\\ud800`): of the same length,
    all else in its place. The decoder takes whatever follows such a half for the other one."""
    return _HALF.sub(rb"\1\\ufffd", text)


def _not_json(text: bytes, error: Exception) -> str:
    try:
        _ANY(without_halves(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"not JSON: {error}"
    return "not JSON: an escape as \\ud800 is half of a character, and the other half is not behind it"


def _sound(found: Record, line: bytes, where: str) -> Cdr | Rejected:
    """The record in its canonical form, unless it contradicts itself, its times lie beyond the years 1 to 9999, or a
    spreadsheet has written its numbers as decimals."""
    problem = _contradiction(found) or _as_decimal(found)
    if problem is not None:
        return Rejected(problem, where, line)
    try:
        return canonical(found)
    except OverflowError as error:
        return Rejected(f"a time cannot be written in UTC: {error}", where, line)


def _contradiction(found: Record) -> str | None:
    cut = found.started_at - found.timestamp  # a difference takes an eighth of the time that `replace` does
    if cut and (found.timestamp.microsecond or not _NOTHING < cut < _SECOND):
        return (
            f"timestamp {found.timestamp.isoformat()} is not started_at {found.started_at.isoformat()} cut to seconds"
        )
    if found.duration != hms(found.duration_s):
        return f"duration {found.duration} is not duration_s {found.duration_s}"
    if found.ended_at is not None and found.ended_at < found.started_at:
        return f"ended_at {found.ended_at.isoformat()} lies before started_at {found.started_at.isoformat()}"
    return None


def _as_decimal(found: Record) -> str | None:
    numbers = [found.from_, found.to, found.did, *(event.number for event in found.events)]
    for leg in found.legs:
        numbers += (leg.from_, leg.to)
    for number in numbers:
        if number is not None and not number.isdigit() and is_decimal(number):
            return f"{number!r} is a number as spreadsheets write decimals; valid are all its digits, and nothing else"
    return None


def _loose(line: bytes, where: str) -> Cdr | Rejected:
    """Read what other systems write: `timestamp` or `started_at`, `duration` or `duration_s` or `ended_at`, words in
    any case and their aliases, ids and lengths as text, uuids in any spelling, times in any zone or in epoch seconds or
    milliseconds."""
    try:
        found = _ANY(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(_not_json(line, error), where, line)
    if not isinstance(found, dict):
        return Rejected(f"a record is a JSON object, this is {type(found).__name__}", where, line)
    try:
        loose = msgspec.convert(_completed(_spelled(found, Record, "$")), Record, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        return Rejected(str(error), where, line)
    return _sound(loose, line, where)


_PARTS: Final[dict[str, type[msgspec.Struct]]] = {"events": Event, "legs": Leg, "teams": Team}
_TIME: Final = f"ISO 8601 with its offset, as 2026-01-31T08:00:00Z, or {EPOCH_FORMS}"
_DIGITS: Final = re.compile(r"\d{1,20}(?:\.\d{1,9})?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d{1,20}", re.ASCII)


@cache
def _kinds(kind: type[msgspec.Struct]) -> dict[str, Callable[[Any, str], Any]]:
    """How those members of a struct are read that another system may have spelled in another way."""
    reads = {Instant: _instant, Seconds: _whole, Id: _whole, Score: _decimal}
    fields = [(field.encode_name, field.type) for field in msgspec.structs.fields(kind)]
    return {name: read for name, type_ in fields for known, read in reads.items() if type_ in (known, known | None)}


def _spelled(given: dict[str, Any], kind: type[msgspec.Struct], where: str) -> dict[str, Any]:
    """The members as the struct has them, where a time is a number, or a number a text. `ValueError`."""
    found = dict(given)
    for name, read in _kinds(kind).items():
        if name in found:
            found[name] = read(found[name], f"{where}.{name}")
    for name, part in _PARTS.items() if kind is Record else ():
        if isinstance(found.get(name), list):
            found[name] = [
                _spelled(each, part, f"{where}.{name}[{n}]") if isinstance(each, dict) else each
                for n, each in enumerate(found[name])
            ]
    return found


def _instant(given: Any, where: str) -> Any:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if isinstance(given, str) and _DIGITS.fullmatch(given.strip()):
        number: int | float = float(given) if "." in given else int(given)
    elif is_number:
        number = given
    elif isinstance(given, str):
        try:
            return msgspec.convert(given, Instant)
        except msgspec.ValidationError as error:
            raise ValueError(f"{error}: {given[:100]!r}; valid is {_TIME} - at `{where}`") from None
    else:
        return given
    if (found := from_epoch(number)) is not None:
        return found
    raise ValueError(f"{given!r} is no time; valid is {_TIME} - at `{where}`")


def _whole(given: Any, where: str) -> Any:
    if not isinstance(given, str):
        return given
    if _WHOLE.fullmatch(given.strip()):
        return int(given)
    raise ValueError(f"{given[:100]!r} is no whole number; valid are digits alone - at `{where}`")


def _decimal(given: Any, where: str) -> Any:
    if not isinstance(given, str):
        return given
    if _DIGITS.fullmatch(given.strip()):
        return float(given)
    raise ValueError(f"{given[:100]!r} is no number; valid are digits, with a point at most - at `{where}`")


_WORDS: Final = {
    name: {word.lower(): word for word in FILTER[name].words}
    | {alias.lower(): words[0] for alias, words in FILTER[name].word_aliases.items() if len(words) == 1}
    for name in ("type", "disposition", "end_reasons", "events")
}


def _word(name: str, value: Any) -> Any:
    return _WORDS[name].get(value.lower(), value) if isinstance(value, str) else value


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """The members that `Record` needs, from those that were given."""
    found = dict(given)
    for name, vocabulary in (("type", "type"), ("disposition", "disposition"), ("end_reason", "end_reasons")):
        found[name] = _word(vocabulary, found.get(name))
        if found[name] is None:
            del found[name]
    if isinstance(found.get("uuid"), str):
        if (uuid := plain_uuid(found["uuid"])) is None:
            raise ValueError(
                f"{found['uuid'][:64]!r} is no uuid; valid are 32 hexadecimal digits. Of an id of another system make"
                " one (version 5, always the same of the same id), and keep the id in `custom` - at `$.uuid`"
            )
        found["uuid"] = uuid
    if isinstance(found.get("events"), list):
        found["events"] = [_event(each) for each in found["events"]]
    name = "timestamp" if found.get("started_at") is None else "started_at"
    if found.get(name) is None:
        raise ValueError("Object missing required field `timestamp` (or `started_at`)")
    started: datetime = _member(name, found[name], Instant).astimezone(UTC)
    found["started_at"] = found[name]
    if found.get("timestamp") is None:
        found["timestamp"] = started.replace(microsecond=0)
    if "duration_s" not in found:
        found["duration_s"] = _duration_s(found, started)
    found.setdefault("duration", hms(_member("duration_s", found["duration_s"], int)))
    return found


def _member(name: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{error} - at `$.{name}`") from None


def _event(given: Any) -> Any:
    return given | {"type": _word("events", given["type"])} if isinstance(given, dict) and "type" in given else given


def _duration_s(found: dict[str, Any], started: datetime) -> int:
    if found.get("duration") is not None:
        return seconds(_member("duration", found["duration"], Hms))
    if found.get("ended_at") is not None:
        lasted: timedelta = _member("ended_at", found["ended_at"], Instant) - started
        return lasted // timedelta(seconds=1)
    raise ValueError("Object missing required field `duration_s` (or `duration`, or `ended_at`)")
