"""Records and searches as Hypothesis draws them: small pools, so that filters hit, and odd values among them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar, cast

from hypothesis import strategies as st

from calldex.records.fields import CALLBACK_STATES, FILTER
from calldex.records.record import (
    DISPOSITIONS,
    END_REASONS,
    EVENT_TYPES,
    INTERACTION_TYPES,
    Cdr,
    Event,
    Leg,
    Team,
    canonical,
)

_T = TypeVar("_T")

ODD_NUMBERS: Final = (
    *(
        "4",
        "44",
        "440",
        "4477",
        "447700900123",
        "442079460000",
        "0",
        "00",
        "1" * 17,
        "1" * 18,
        "1" * 19,
        "1" * 18 + "2",
    ),
    *(
        "9" * 64,
        "12ab",
        "a12",
        "anonymous",
        "Alice@PBX.example",
        "*97",
        "\u0664\u0664",
        "44\u0664",
        "\xe9\U0001f4de",
        "4\x007",
    ),
)
"""Numbers near each other, at the limits of their keys, and such as are none."""
CHANGES_OF_CLOCKS: Final = tuple(
    datetime.fromisoformat(text)
    for text in (
        *("2025-03-30T01:00Z", "2025-10-26T01:00Z", "2025-03-09T07:00Z", "2025-11-02T06:00Z", "2025-04-05T15:00Z"),
        *("2025-10-25T22:00Z", "2025-03-30T00:00Z", "2025-03-29T18:15Z", "1970-01-01T00:00Z", "1969-12-31T00:00Z"),
    )
)
ZONES: Final = (
    *("UTC", "Europe/London", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Kathmandu"),
    *("Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Cairo"),
)

IDS: Final = st.sampled_from((1, 2, 12, 21, 121, 2**53 - 1))
CODES: Final = st.sampled_from(
    ("0100", "0200", "100", "Sale made", "\xfcber", "Sale, big", '5" pipe', '"quoted"', "  x,")
)
QUEUES: Final = st.sampled_from(("701", "702", "Sales, big", 'a "b"', "x\x1fy"))
TAGS: Final = st.one_of(
    st.sampled_from(("vip", "VIP", "vi", "p", "a.c", "abc", "a|b", "[x", "\xfc\x1fb", "\x1e1", "\\", '"', "%", "n\0l")),
    st.text(min_size=1, max_size=8),
)
FLAG_SETS: Final = st.sampled_from(((), ("provisional",), ("time_suspect", "disposition_unknown")))
NUMBERS: Final = st.one_of(st.sampled_from(ODD_NUMBERS), st.text("0123456789", min_size=1, max_size=22))
ANY_NUMBER: Final = st.one_of(NUMBERS, st.text(min_size=1, max_size=64))
NAMES: Final = st.one_of(st.sampled_from(("Anna", "Ben")), st.text(min_size=1, max_size=200))
LENGTHS: Final = st.one_of(st.integers(0, 100), st.integers(0, 2**31 - 1))
UUIDS: Final = st.uuids().map(str)

_ANY_TIME: Final = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
_NEAR: Final = st.builds(
    lambda at, quarters, ms: at + timedelta(minutes=15 * quarters, milliseconds=ms),
    st.sampled_from(CHANGES_OF_CLOCKS),
    st.integers(-120, 120),
    st.sampled_from((-1, 0, 0, 1)),
)
TIMES: Final = st.one_of(_NEAR, _NEAR, _NEAR, _ANY_TIME)


def maybe(values: st.SearchStrategy[_T]) -> st.SearchStrategy[_T | None]:
    """A value, or that there is none."""
    return st.none() | values


EVENTS: Final = st.builds(
    Event,
    type=st.sampled_from(EVENT_TYPES),
    at=TIMES,
    agent=maybe(NAMES),
    number=maybe(NUMBERS),
    duration_s=maybe(LENGTHS),
    detail=maybe(st.text(max_size=20)),
    to_agent=maybe(NAMES),
)
LEGS: Final = st.builds(
    Leg,
    started_at=TIMES,
    answered_at=maybe(TIMES),
    from_=maybe(NUMBERS),
    channel=maybe(NAMES),
    talk_s=maybe(LENGTHS),
    recording=maybe(NAMES),
)
CUSTOM: Final = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    max_size=3,
)


def cdrs(uuids: st.SearchStrategy[str] = UUIDS) -> st.SearchStrategy[Cdr]:
    """Records in the form in which they are kept."""
    return st.builds(
        Cdr,
        uuid=uuids,
        type=st.sampled_from(INTERACTION_TYPES),
        disposition=st.sampled_from(DISPOSITIONS),
        started_at=TIMES,
        answered_at=maybe(TIMES),
        from_=maybe(ANY_NUMBER),
        to=maybe(ANY_NUMBER),
        did=maybe(NUMBERS),
        end_reason=maybe(st.sampled_from(END_REASONS)),
        agent=maybe(NAMES),
        agent_id=maybe(IDS),
        queue=maybe(NAMES),
        queue_id=maybe(IDS),
        teams=st.lists(st.builds(Team, IDS, maybe(NAMES)), max_size=3).map(tuple),
        campaign_id=maybe(IDS),
        wrapup_code=maybe(CODES),
        duration_s=LENGTHS,
        hold_s=maybe(LENGTHS),
        events=st.lists(EVENTS, max_size=3).map(tuple),
        legs=st.lists(LEGS, max_size=2).map(tuple),
        linked_uuids=st.lists(UUIDS, max_size=2).map(tuple),
        tags=st.lists(TAGS, max_size=2).map(tuple),
        comment=maybe(st.text(min_size=1, max_size=30)),
        score=maybe(st.floats(0, 100)),
        custom=CUSTOM,
        flags=FLAG_SETS,
    ).map(canonical)


SEARCHABLE: Final = st.builds(
    Cdr,
    uuid=UUIDS,
    type=st.sampled_from(INTERACTION_TYPES),
    disposition=st.sampled_from(DISPOSITIONS),
    started_at=TIMES,
    from_=maybe(ANY_NUMBER),
    to=maybe(NUMBERS),
    end_reason=maybe(st.sampled_from(END_REASONS)),
    agent_id=maybe(IDS),
    queue=maybe(QUEUES),
    queue_id=maybe(IDS),
    teams=st.lists(st.builds(Team, IDS), max_size=3).map(tuple),
    campaign_id=maybe(IDS),
    wrapup_code=maybe(CODES),
    duration_s=LENGTHS,
    events=st.lists(
        st.builds(Event, type=st.sampled_from(EVENT_TYPES), at=st.just(CHANGES_OF_CLOCKS[0]), queue=maybe(QUEUES)),
        max_size=2,
    ).map(tuple),
    tags=st.lists(TAGS, max_size=3).map(tuple),
    recording=maybe(NAMES),
    flags=FLAG_SETS,
).map(canonical)
"""Records in which only that varies which searches ask for."""


def batches(smallest: int = 1, largest: int = 20) -> st.SearchStrategy[list[Cdr]]:
    """Several records to be searched, no two with one uuid."""
    return st.lists(SEARCHABLE, min_size=smallest, max_size=largest, unique_by=lambda cdr: cdr.uuid)


@st.composite
def searches(draw: st.DrawFn, records: list[Cdr], names: tuple[str, ...] | None = None) -> dict[str, str]:
    """Parameters of a search, made from one of the records so that it (mostly) matches; `names` or up to four."""
    cdr = draw(st.sampled_from(records))
    chosen = names or draw(st.lists(st.sampled_from((*FILTER, "days")), min_size=1, max_size=4, unique=True))
    given: dict[str, str] = {}
    for name in chosen:
        if name == "days":
            given |= _days(draw, cdr)
        elif FILTER[name].name not in {FILTER[other].name for other in given if other in FILTER}:
            given[name] = _value(draw, FILTER[name].name, cdr)
    return given


def _days(draw: st.DrawFn, cdr: Cdr) -> dict[str, str]:
    # Beyond the first and the last year no clock on a wall can be shown, so no bound is tried there.
    began = min(max(cdr.started_at.date(), date(2, 1, 5)), date(9998, 12, 25))

    first, last = draw(st.integers(-2, 0)), draw(st.integers(0, 2))
    bounds = {
        "start_date": (began + timedelta(days=first)).isoformat(),
        "end_date": (began + timedelta(days=last)).isoformat(),
        "timezone": draw(st.sampled_from(ZONES)),
    }
    left_out = draw(st.sampled_from(("", "", "start_date", "end_date", "timezone")))
    return {name: value for name, value in bounds.items() if name != left_out}


def _value(draw: st.DrawFn, name: str, cdr: Cdr) -> str:
    match name.removesuffix("_not"):
        case "cli" | "number" | "wildcard_cli" | "wildcard_number":
            text = _part(draw, (cdr.from_ if name.endswith("cli") else cdr.to) or "44", "wildcard" in name)
            return draw(st.sampled_from((text, _swapped(text))))
        case "from" | "to":
            own_number = (cdr.from_ if name == "from" else cdr.to) or "44"
            near = (own_number, own_number, own_number[:-1] or "1", f"{own_number[:63]}1", _swapped(own_number))
            return draw(st.sampled_from(near))
        case "callback_state":
            return _listed(draw, draw(st.lists(st.sampled_from(CALLBACK_STATES), min_size=1, max_size=2)))
        case "type" | "disposition" | "end_reasons" | "events" | "flags":
            return _spelled(draw, name.removesuffix("_not"), cdr)
        case "agent_ids" | "queue_ids" | "campaign_ids":
            own = cast("int | None", getattr(cdr, name.removesuffix("_not").removesuffix("s")))
            return _listed(draw, [str(own or 7), *map(str, draw(st.lists(IDS, max_size=2)))])
        case "team_ids":
            return _listed(draw, [*[str(team.id) for team in cdr.teams[:1]], str(draw(IDS))])
        case "wrapup_codes":
            codes = [cdr.wrapup_code or "none", *draw(st.lists(CODES, max_size=2))]
            return _listed(draw, [_quoted(code) for code in codes])
        case "tags":
            tags = [*cdr.tags[:1], *draw(st.lists(TAGS, max_size=2))]
            return _listed(draw, [_quoted(tag) for tag in tags if tag.strip()] or ["none"])
        case "min_duration":
            return str(draw(st.sampled_from((max(cdr.duration_s - 1, 0), cdr.duration_s, 0))))
        case "max_duration":
            return str(min(cdr.duration_s + draw(st.integers(0, 1)), 2**31 - 1))
        case "uuid":
            own_uuid = draw(st.sampled_from((cdr.uuid, cdr.uuid.upper(), cdr.uuid.replace("-", ""), f"{{{cdr.uuid}}}")))
            return _listed(draw, [own_uuid, *draw(st.lists(UUIDS, max_size=1))])
        case _:
            return _other(draw, name, cdr)


def _other(draw: st.DrawFn, name: str, cdr: Cdr) -> str:
    match name.removesuffix("_not"):
        case "passed_queues":
            passed = [name for name in (cdr.queue, *(event.queue for event in cdr.events)) if name]
            return _listed(draw, [_quoted(name) for name in (*passed, draw(QUEUES))])
        case "party":
            return _part(draw, draw(st.sampled_from((cdr.from_, cdr.to))) or "44", inside=True)
        case "withheld" | "has_recording":
            return draw(st.sampled_from(("yes", "no", "YES")))
        case "min_wait":
            return str(draw(st.sampled_from((max((cdr.wait_s or 0) - 1, 0), cdr.wait_s or 0, 0))))
        case "max_wait":
            return str(min((cdr.wait_s or 0) + draw(st.integers(0, 1)), 2**31 - 1))
        case "changed_since":
            return draw(st.sampled_from(("2001-01-01T00:00:00Z", "2999-01-01T00:00:00+01:00")))
    raise AssertionError(f"the filter {name} is not tested")


def _swapped(text: str) -> str:
    """With the letters A to Z in the other case."""
    return "".join(char.swapcase() if char.isascii() else char for char in text)


def _part(draw: st.DrawFn, number: str, inside: bool) -> str:
    begin = draw(st.integers(0, len(number) - 1)) if inside else 0
    part = number[begin : begin + draw(st.integers(1, len(number)))]
    return draw(st.sampled_from((part, f"+{part[:2]} ({part[2:]})"))) if part.isdecimal() and part.isascii() else part


def _spelled(draw: st.DrawFn, name: str, cdr: Cdr) -> str:
    words_of: dict[str, list[str]] = {
        "type": [cdr.type],
        "disposition": [cdr.disposition],
        "end_reasons": [cdr.end_reason] if cdr.end_reason else [],
        "events": [event.type for event in cdr.events],
        "flags": [*cdr.flags],
    }
    own = words_of[name]
    words = (*FILTER[name].words, *FILTER[name].word_aliases)
    chosen = [*own[:1], *draw(st.lists(st.sampled_from(words), min_size=0 if own else 1, max_size=2))]
    return _listed(draw, [draw(st.sampled_from((word, word.upper(), word.lower()))) for word in chosen])


def _quoted(item: str) -> str:
    odd = {",", '"', " "} & set(item)
    return '"' + item.replace('"', '""') + '"' if odd else item


def _listed(draw: st.DrawFn, items: list[str]) -> str:
    return draw(st.sampled_from((",", ", "))).join(draw(st.permutations(items)))
