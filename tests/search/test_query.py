"""Parameters become a search: what is understood, and that everything else is refused, by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.access import Scope
from calldex.errors import BadParameters, Problem
from calldex.records.fields import FILTER, FILTERS, Op
from calldex.records.record import DISPOSITIONS, EVENT_TYPES, INTERACTION_TYPES, to_ms
from calldex.search.query import PARAMETERS, Condition, PageRequest, Query, Value, parse
from calldex.zones import timezones
from tests.strategies import ZONES

SCOPE = Scope(account_id=1, whole=True)
NAMES = [*FILTER, *(parameter.name for parameter in PARAMETERS)]


def parsed(*pairs: tuple[str, str], zone: str = "UTC") -> tuple[Query, PageRequest]:
    """What parameters mean."""
    return parse(pairs, SCOPE, zone)


def condition(name: str, text: str) -> Condition:
    """The one condition that a parameter means."""
    query = parsed((name, text))[0]
    (found,) = (*query.where, *query.callbacks)
    return found


def problems(*pairs: tuple[str, str]) -> list[Problem]:
    """What is wrong with parameters."""
    with pytest.raises(BadParameters) as refused:
        parsed(*pairs)
    return list(refused.value.problems)


def instant(text: str) -> int:
    """Epoch milliseconds."""
    return to_ms(datetime.fromisoformat(text))


def test_nothing_asked() -> None:
    """Without parameters: everything, the first page of 1,000. Empty values mean that nothing was given."""
    everything = (Query(scope=SCOPE), PageRequest(1, 1000, None))
    assert everything == parsed()
    assert everything == parsed(*((name, "") for name in NAMES if not name.startswith("wrapup_code_ids")))
    assert everything == parsed(*((name, "  ") for name in NAMES if not name.startswith("wrapup_code_ids")))


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("cli", "447700", ("447700",)),
        ("cli", "+44 (7700)", ("447700",)),
        ("number", "Alice@PBX", ("alice@pbx",)),
        ("from", "\u00c4B", ("\u00c4b",)),
        ("wildcard_cli", "00", ("00",)),
        ("wildcard_number", "1" * 64, ("1" * 64,)),
        ("type", "inbound", (1,)),
        ("type", " OUTBOUND , inbound,Inbound", (1, 2)),
        ("type", "HLR_LOOKUP", (11,)),
        ("type", "campaign", (3,)),
        ("type", "Callback", (4,)),
        ("type", "queue-callback", (12,)),
        ("type", "scheduled-callback", (14,)),
        ("type", "queue_callback", (12, 14)),
        ("disposition", "answered_by_vm", (10,)),
        ("end_reasons", "timeout", (5,)),
        ("events", "queued", (1,)),
        ("events", "all_transfers", (0b111000,)),
        ("events", "ALL_TRANSFERS,blind_transfer,dtmf", (0b111000 | 1 << 13,)),
        ("agent_ids", "12, 1,12", (1, 12)),
        ("agent_ids", "007", (7,)),
        ("queue_ids", str(2**53 - 1), (2**53 - 1,)),
        ("team_ids", "1", (1,)),
        ("campaign_ids", "1", (1,)),
        ("wrapup_codes", "0100,Sale made", ("0100", "Sale made")),
        ("wrapup_codes", '"Sale, big", 0100', ("0100", "Sale, big")),
        ("wrapup_codes", 'a"b, "c""d" ,e"', ('a"b', 'c"d', 'e"')),
        ("wrapup_codes", '" a "', (" a ",)),
        ("agent_ids", '"1","2"', (1, 2)),
        ("type", '"inbound"', (1,)),
        ("wrapup_code_ids", "0100", ("0100",)),
        ("min_duration", "0", (0,)),
        ("max_duration", str(2**31 - 1), (2**31 - 1,)),
        ("uuid", "{01980C1E6F3A8D219A3B5C1F0E7D2B44}", ("01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",)),
    ],
)
def test_values(name: str, text: str, values: tuple[Value, ...]) -> None:
    """Words in any letter case and by their aliases become codes, lists are sorted and hold each value once."""
    found = FILTER[name]
    assert Condition(found.op, found.column, values) == condition(name, text)


def test_every_word_and_alias_has_its_code() -> None:
    """All words of all vocabularies, in three letter cases."""
    for filter_ in FILTERS:
        for place, word in enumerate(filter_.words):
            value = 1 << place if filter_.op is Op.ANY_BIT else place + 1
            values = (12, 14) if word == "queue_callback" else (value,)
            for spelled in (word, word.upper(), word.lower()):
                assert values == condition(filter_.name, spelled).values
        for alias, words in filter_.word_aliases.items():
            exact = {"queue_callback": "queue-callback"}
            spelled = ",".join(exact.get(word, word) for word in words)
            assert condition(filter_.name, spelled) == condition(filter_.name, alias.upper())
    assert (14, 23, 22) == (len(INTERACTION_TYPES), len(DISPOSITIONS), len(EVENT_TYPES))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("type", "inbounds", "'inbounds' is not a value, did you mean 'inbound'?"),
        ("type", "inbound,,outbound", "has an empty item between its commas"),
        ("type", ",", "has an empty item between its commas"),
        ("disposition", "null", "'null' is not a value"),
        ("events", "transfer", "'transfer' is not a value"),
        ("agent_ids", "0", "'0' is not an id"),
        ("agent_ids", "-1", "'-1' is not an id"),
        ("agent_ids", "1.0", "'1.0' is not an id"),
        ("agent_ids", "1e3", "'1e3' is not an id"),
        ("agent_ids", str(2**53), f"'{2**53}' is not an id"),
        ("agent_ids", "9" * 200, "' is not an id"),
        ("agent_ids", "\u0661", "'\u0661' is not an id"),
        ("agent_ids", "\u00b2", "'\u00b2' is not an id"),
        ("agent_ids", ",".join(["1"] * 1001), "holds 1001 values"),
        ("wrapup_codes", "a,", "has an empty item between its commas"),
        ("cli", "1" * 65, "is not a part of a telephone number"),
        ("cli", "anonymous", "stands for a withheld number"),
        ("wildcard_cli", "Restricted", "stands for a withheld number"),
        ("to", "UNAVAILABLE", "stands for a withheld number"),
        ("to", "sip:anonymous@anonymous.invalid", "stands for a withheld number"),
        ("from", "4.47701E+11", "is a number as spreadsheets write decimals"),
        ("number", "447700900111.0", "is a number as spreadsheets write decimals"),
        ("wrapup_codes", '"a', "has a double quote that is not closed"),
        ("wrapup_codes", '"a" b', "has a double quote that is not closed, or text behind one that is"),
        ("wrapup_codes", 'a,""', "has an empty item between its commas"),
        ("min_duration", "-1", "is not a whole number in range"),
        ("min_duration", "1.5", "is not a whole number in range"),
        ("min_duration", "1 000", "is not a whole number in range"),
        ("min_duration", "1_000", "is not a whole number in range"),
        ("min_duration", "\u0661", "is not a whole number in range"),
        ("max_duration", str(2**31), "is not a whole number in range"),
        ("max_duration", "9" * 5000, "is not a whole number in range"),
        ("uuid", "01980c1e", "'01980c1e' is not a uuid"),
        ("uuid", "0x980c1e6f3a8d219a3b5c1f0e7d2b44", "is not a uuid"),
        ("uuid", "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44,x", "'x' is not a uuid"),
        ("page", "0", "is not a whole number in range"),
        ("page", "1e1", "is not a whole number in range"),
        ("page", str(10**9 + 1), "is not a whole number in range"),
        ("per_page", "0", "is not a whole number in range"),
        ("per_page", "10001", "is not a whole number in range"),
        ("timezone", "Europe/Londen", "is not a time zone, did you mean 'Europe/London'?"),
        ("timezone", "../../etc/passwd", "is not a time zone"),
        ("timezone", "+01:00", "is not a time zone"),
        ("timezone", "localtime", "is not a time zone"),
        ("timezone", "Factory", "is not a time zone"),
        ("start_date", "2026-02-30", "is not a date"),
        ("start_date", "2026-1-1", "is not a date"),
        ("start_date", "20260101", "is not a date"),
        ("start_date", "2026-W01-1", "is not a date"),
        ("start_date", "01.02.2026", "is not a date"),
        ("start_date", "2026-01-01T10:00:00", "is not a date"),
        ("start_date", "2026-01-01 10:00:00Z", "is not a date"),
        ("start_date", "2026-01-01T25:00:00Z", "is not a date"),
        ("start_date", "yesterday", "is not a date"),
        ("start_date", "946684799", "is not a date"),
        ("end_date", "4102444800000", "is not a date"),
        ("start_date", "1764201600.5", "is not a date"),
        ("changed_since", "2026-01-01T10:00:00", "is not an instant"),
        ("start_date", "\u0662026-01-01", "is not a date"),
        ("end_date", "0000-01-01", "is not a date"),
    ],
)
def test_refused_values(name: str, text: str, says: str) -> None:
    """What does not parse is refused: the parameter, what was given (cut), what is wrong, and what is valid."""
    (problem,) = problems((name, text))
    assert (name, text[:100]) == (problem.parameter, problem.given)
    assert says in problem.message
    assert problem.valid
    assert len(problem.message) < 300


def test_who_withheld_a_number_is_found_otherwise() -> None:
    """The refusal of a word for it names the filter that finds such callers."""
    (problem,) = problems(("cli", "anonymous"))
    assert "withheld=yes" in problem.valid
    assert parsed(("withheld", "yes"))[0].where


def test_unknown_and_repeated_parameters() -> None:
    """A name that is not known is refused with the nearest one, whatever its value; so is one that comes twice, by any
    of its names, even empty."""
    assert ["unknown parameter, did you mean 'agent_ids'?"] == [p.message for p in problems(("agent_id", "1"))]
    assert ["unknown parameter, did you mean 'disposition'?"] == [p.message for p in problems(("Disposition", ""))]
    twice = problems(("cli", "1"), ("cli", "1"), ("wrapup_codes", ""), ("wrapup_code_ids", "1"))
    assert [
        ("cli", "given more than once", "one value"),
        ("wrapup_code_ids", "given more than once", "one value, or several, comma-separated"),
    ] == [(problem.parameter, problem.message, problem.valid) for problem in twice]


def test_all_that_is_wrong_is_told_at_once() -> None:
    """One entry for each bad parameter."""
    found = problems(("typ", "x"), ("type", "x"), ("page", "x"), ("start_date", "x"), ("agent_ids", "x"), ("cli", "1"))
    assert ["agent_ids", "page", "start_date", "typ", "type"] == sorted(problem.parameter for problem in found)


@pytest.mark.parametrize(("page", "per_page"), [(1, 10_000), (10_000, 1), (10, 1000), (2, 5000), (3, 3333)])
def test_reach_without_a_token(page: int, per_page: int) -> None:
    """The first 10,000 records can be reached by page number; the next page says to use the token; with one it is
    asked for."""
    asked = ("per_page", str(per_page))
    assert PageRequest(page, per_page) == parsed(("page", str(page)), asked)[1]
    (problem,) = problems(("page", str(page + 1)), asked)
    assert problem.parameter == "page"
    assert "only the first 10000 records" in problem.message
    assert "search_token" in problem.valid
    with_token = parsed(("page", str(page + 1)), asked, ("search_token", "t"))[1]
    assert PageRequest(page + 1, per_page, "t") == with_token


@pytest.mark.parametrize(
    ("first", "last", "zone", "start", "end"),
    [
        ("2026-03-29", "2026-03-29", "UTC", "2026-03-29T00:00Z", "2026-03-30T00:00Z"),
        ("2026-03-29", "2026-03-29", "Europe/London", "2026-03-29T00:00Z", "2026-03-29T23:00Z"),
        ("2025-10-26", "2025-10-26", "Europe/Berlin", "2025-10-25T22:00Z", "2025-10-26T23:00Z"),
        ("2025-11-02", "2025-11-02", "America/Havana", "2025-11-02T04:00Z", "2025-11-03T05:00Z"),
        ("2011-12-30", "2011-12-30", "Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00Z"),
        ("2024-04-26", "2024-04-26", "Africa/Cairo", "2024-04-25T22:00Z", "2024-04-26T21:00Z"),
        ("2026-01-01", "2026-01-31", "Asia/Kathmandu", "2025-12-31T18:15Z", "2026-01-31T18:15Z"),
        ("9999-12-30", "9999-12-31", "UTC", "9999-12-30T00:00Z", None),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.001Z", "UTC", "2026-01-01T10:00Z", "2026-01-01T10:00:00.001Z"),
        ("2026-01-01T10:00:00+02:00", "2026-01-01", "UTC", "2026-01-01T08:00Z", "2026-01-02T00:00Z"),
        ("2026-01-01T10:00:00 02:00", "2026-01-01", "UTC", "2026-01-01T08:00Z", "2026-01-02T00:00Z"),
        ("2026-01-01", "2026-01-01T10:00:00-05:30", "Europe/Berlin", "2025-12-31T23:00Z", "2026-01-01T15:30Z"),
    ],
)
def test_days(first: str, last: str, zone: str, start: str, end: str | None) -> None:
    """Days include both ends and are cut in the zone, where clocks change as well; an instant as an end is excluded.
    The last day of all ends with the last instant."""
    found, _ = parsed(("start_date", first), ("end_date", last), zone=zone)
    expected_end = to_ms(datetime.max.replace(tzinfo=UTC)) + 1 if end is None else instant(end)
    assert (instant(start), expected_end) == (found.start_ms, found.end_ms)
    named, _ = parsed(("start_date", first), ("end_date", last), ("timezone", zone), zone="Pacific/Auckland")
    assert found == named


@settings(deadline=None)
@given(
    day=st.dates(datetime(1971, 1, 1, tzinfo=UTC).date(), datetime(2037, 12, 31, tzinfo=UTC).date()),
    zone=st.sampled_from(ZONES),
    seconds=st.integers(-172_800, 172_800),
)
def test_an_instant_is_on_the_day_that_the_clock_on_the_wall_shows(day: object, zone: str, seconds: int) -> None:
    """Around midnight of any day in any zone: it is between the bounds exactly if its local date is that day."""
    query, _ = parsed(("start_date", str(day)), ("end_date", str(day)), zone=zone)
    assert query.start_ms is not None
    assert query.end_ms is not None
    for bound in (query.start_ms, query.end_ms):
        for ms in (bound - 1, bound, bound + seconds * 1000):
            local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone))
            assert (str(local.date()) == str(day)) == (query.start_ms <= ms < query.end_ms)


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2026-01-01T10:00:00", "Europe/Berlin", "2026-01-01T09:00Z"),
        ("2026-07-01T00:00", "Europe/Berlin", "2026-06-30T22:00Z"),
        ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30Z"),
        ("2025-10-26T02:30:00", "Europe/Berlin", "2025-10-26T00:30Z"),
        ("2026-01-01T10:00:00Z", "Europe/Berlin", "2026-01-01T10:00Z"),
        ("1767261600000", "Europe/Berlin", "2026-01-01T10:00Z"),
        ("1767261600001", None, "2026-01-01T10:00:00.001Z"),
        ("1767261600", None, "2026-01-01T10:00Z"),
    ],
)
def test_instants_as_programs_have_them(text: str, zone: str | None, meant: str) -> None:
    """Without an offset: on the clock of `timezone`, where it is given; an hour that there is not, an hour later, one
    that comes twice, its first. Epoch seconds and milliseconds as they are. As an end, each is excluded."""
    named = [] if zone is None else [("timezone", zone)]
    assert (instant(meant), None) == bounds(("start_date", text), *named)
    assert (None, instant(meant)) == bounds(("end_date", text), *named)
    (problem,) = problems(("start_date", text), ("end_date", text), *named)
    assert "end_date" == problem.parameter


def test_an_instant_without_an_offset_needs_its_zone() -> None:
    """That of the reader is not taken for it: who sent UTC would get other hours, and not see it."""
    (problem,) = problems(("start_date", "2026-01-01T10:00:00"))
    assert "`timezone`" in problem.valid


def test_days_without_one_bound() -> None:
    """Either bound may be missing."""
    assert (instant("2026-01-01T00:00Z"), None) == bounds(("start_date", "2026-01-01"))
    assert (None, instant("2026-01-02T00:00Z")) == bounds(("end_date", "2026-01-01"))


def bounds(*pairs: tuple[str, str]) -> tuple[int | None, int | None]:
    """The bounds that parameters mean."""
    query, _ = parsed(*pairs)
    return query.start_ms, query.end_ms


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-01-02", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:30:00+02:00"),
        ("2026-01-02", "2026-01-01T23:59:59Z"),
    ],
)
def test_an_end_before_the_start(first: str, last: str) -> None:
    """It is refused rather than answered with nothing."""
    (problem,) = problems(("start_date", first), ("end_date", last))
    assert ("end_date", last, f"does not lie after start_date {first!r}") == (
        problem.parameter,
        problem.given,
        problem.message,
    )


def test_every_zone_can_be_named() -> None:
    """All of IANA's; days are cut in each."""
    for zone in timezones():
        start, end = bounds(("start_date", "2026-06-01"), ("end_date", "2026-06-01"), ("timezone", zone))
        assert start is not None
        assert end is not None
        assert 23 * 3_600_000 <= end - start <= 25 * 3_600_000


@given(st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), st.text(max_size=40)), max_size=5))
def test_any_parameters(pairs: list[tuple[str, str]]) -> None:
    """Whatever comes is understood or refused with something to read, never anything else."""
    try:
        parse(pairs, SCOPE, "Europe/London")
    except BadParameters as refused:
        assert refused.problems  # noqa: PT017 - both ways are right
        assert all(problem.message for problem in refused.problems)  # noqa: PT017 - likewise


def test_the_scope_is_passed_on() -> None:
    """A search has the scope it was made with, whatever the parameters are."""
    other = Scope(account_id=9, whole=False)
    assert other == parse([("cli", "1")], other, "UTC")[0].scope
