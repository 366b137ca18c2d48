"""What a store ought to answer, worked out the slow and plain way: a list of records, looked at one by one.

Shares nothing with the table of filters, the parser or any SQL: what a parameter means is written here once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from calldex.records.record import Cdr

_ALIASES: Final = {
    "campaign": {"dialer"},
    "callback": {"click_to_call"},
    "queue-callback": {"queue_callback"},
    "scheduled-callback": {"scheduled_callback"},
    "queue_callback": {"queue_callback", "scheduled_callback"},
    "all_exits": {"exit_timeout", "exit_empty", "exit_key"},
    "all_transfers": {"blind_transfer", "attended_transfer", "queue_transfer"},
}


def _digits(text: str) -> str:
    bare = re.sub(r"[ \-.()/\u00a0]", "", text.strip()).removeprefix("+")
    return bare if re.fullmatch("[0-9]+", bare) else text.strip()


def _lower(text: str) -> str:
    """With the letters A to Z in lower case: words that stand for a number are the same in any."""
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), text)


def _listed(text: str) -> set[str]:
    """The items between commas, without outer blanks; those in double quotes, as in CSV, as they stand there."""
    items = re.findall(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)', text)
    return {quoted.replace('""', '"') or bare.strip() for quoted, bare in items} - {""}


def _words(text: str) -> set[str]:
    """The words meant, in lower case."""
    return {word.lower() for item in _listed(text) for word in _ALIASES.get(item.lower(), {item})}


def _uuids(text: str) -> set[str]:
    return {str(UUID(item)) for item in _listed(text)}


_ONE: Final[Mapping[str, Callable[[Cdr, str], bool]]] = {
    "cli": lambda c, v: _lower(c.from_ or "").startswith(_lower(_digits(v))),
    "wildcard_cli": lambda c, v: _lower(_digits(v)) in _lower(c.from_ or ""),
    "number": lambda c, v: _lower(c.to or "").startswith(_lower(_digits(v))),
    "wildcard_number": lambda c, v: _lower(_digits(v)) in _lower(c.to or ""),
    "from": lambda c, v: _lower(c.from_ or "") == _lower(_digits(v)),
    "to": lambda c, v: _lower(c.to or "") == _lower(_digits(v)),
    "type": lambda c, v: c.type.lower() in _words(v),
    "disposition": lambda c, v: c.disposition.lower() in _words(v),
    "end_reasons": lambda c, v: (c.end_reason or "").lower() in _words(v),
    "events": lambda c, v: bool({event.type for event in c.events} & _words(v)),
    "agent_ids": lambda c, v: str(c.agent_id) in _listed(v),
    "queue_ids": lambda c, v: str(c.queue_id) in _listed(v),
    "passed_queues": lambda c, v: not {c.queue, *(event.queue for event in c.events)}.isdisjoint(_listed(v)),
    "campaign_ids": lambda c, v: str(c.campaign_id) in _listed(v),
    "team_ids": lambda c, v: bool({str(team.id) for team in c.teams} & _listed(v)),
    "wrapup_codes": lambda c, v: c.wrapup_code in _listed(v),
    "wrapup_code_ids": lambda c, v: c.wrapup_code in _listed(v),
    "min_duration": lambda c, v: c.duration_s > int(v),
    "max_duration": lambda c, v: c.duration_s < int(v),
    "min_wait": lambda c, v: c.wait_s is not None and c.wait_s > int(v),
    "max_wait": lambda c, v: c.wait_s is not None and c.wait_s < int(v),
    "tags": lambda c, v: not set(c.tags).isdisjoint(_listed(v)),
    "flags": lambda c, v: not {*c.flags}.isdisjoint(_words(v)),
    "uuid": lambda c, v: c.uuid in _uuids(v),
    "party": lambda c, v: any(_lower(_digits(v)) in _lower(number or "") for number in (c.from_, c.to)),
    "withheld": lambda c, v: (c.from_ is None) == (v.lower() == "yes"),
    "has_recording": lambda c, v: (c.recording is not None) == (v.lower() == "yes"),
    "changed_since": lambda c, v: datetime.fromisoformat(v).year < 2100,  # tests write today
}
_LISTS: Final = (
    *("type", "disposition", "end_reasons", "events", "agent_ids", "queue_ids", "campaign_ids", "team_ids"),
    *("wrapup_codes", "wrapup_code_ids", "tags", "flags", "uuid", "passed_queues"),
)


def _none_of(name: str) -> Callable[[Cdr, str], bool]:
    return lambda c, v: not _ONE[name](c, v)


MEANING: Final = {**_ONE, **{f"{name}_not": _none_of(name) for name in _LISTS}}
"""What each filter asks of a record."""

_MISSED: Final = {
    *("failed", "busy", "no_answer", "rejected", "abandoned", "missed", "system_abandoned", "answered_by_VM"),
    *("system_reject", "route_unavailable"),
}
_OUT: Final = {"outbound", "dialer", "click_to_call", "queue_callback", "scheduled_callback"}


def is_missed(cdr: Cdr) -> bool:
    """Whether it is an inbound call that nobody took."""
    return cdr.type == "inbound" and cdr.disposition in _MISSED


def answer_to(cdr: Cdr, records: Iterable[Cdr], hours: int) -> tuple[str, Cdr | None]:
    """What became of a missed call, and the record that tells it."""
    wanted = _lower(cdr.from_ or "")
    found: list[tuple[datetime, int, str, str, Cdr]] = []
    for other in records:
        late = other.started_at - cdr.started_at
        if not wanted or other.disposition != "answered" or not timedelta(0) < late <= timedelta(hours=hours):
            continue
        if other.type in _OUT and _lower(other.to or "") == wanted:
            found.append((other.started_at, 1, other.uuid, "returned", other))
        if other.type == "inbound" and _lower(other.from_ or "") == wanted:
            found.append((other.started_at, 2, other.uuid, "answered_later", other))
    return min(found)[3:] if found else ("open", None)


def _related(records: Iterable[Cdr], cdr: Cdr, given: Mapping[str, str]) -> bool:
    """Whether a record is as the filters say that look at others."""
    hours = int(given.get("callback_hours", "24"))
    state = answer_to(cdr, records, hours)[0] if is_missed(cdr) else ""
    return all(
        (state in _words(given[name])) != name.endswith("_not")
        for name in ("callback_state", "callback_state_not")
        if name in given
    )


def within_days(cdr: Cdr, given: Mapping[str, str], zone: str) -> bool:
    """Whether a record began on one of the days asked for, as a clock on the wall of that zone shows them."""
    wall = ZoneInfo(given.get("timezone", zone))
    # Beyond the first and the last year a wall clock cannot be shown; no bound is tried there.
    day = cdr.started_at.date() if cdr.started_at.year in {1, 9999} else cdr.started_at.astimezone(wall).date()
    first, last = given.get("start_date"), given.get("end_date")
    return (first is None or date.fromisoformat(first) <= day) and (last is None or day <= date.fromisoformat(last))


def answer(records: Iterable[Cdr], given: Mapping[str, str], zone: str = "UTC") -> list[Cdr]:
    """The records that a search finds, newest first."""
    records = list(records)
    wanted = {name: value for name, value in given.items() if value.strip()}
    found = [
        cdr
        for cdr in records
        if all(MEANING[name](cdr, value) for name, value in wanted.items() if name in MEANING)
        and within_days(cdr, wanted, zone)
        and _related(records, cdr, wanted)
    ]
    return sorted(found, key=lambda cdr: (cdr.started_at, UUID(cdr.uuid).int), reverse=True)
