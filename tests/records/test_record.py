"""What a record is, and the one form in which it is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.records.record import (
    DISPOSITIONS,
    END_REASONS,
    EVENT_TYPES,
    INTERACTION_TYPES,
    Cdr,
    Event,
    Leg,
    canonical,
    from_ms,
    plain_number,
    plain_uuid,
    stable_id,
    time_uuid,
    to_ms,
)
from tests.strategies import cdrs

AT = datetime(2026, 3, 29, 0, 59, 59, 999_000, tzinfo=UTC)


def record(**changes: Any) -> Cdr:
    """A record of which only what is named matters."""
    plain = Cdr(
        uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44", type="inbound", disposition="answered", started_at=AT, duration_s=1
    )
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("447700900123", "447700900123"),
        ("+44 (7700) 900-123", "447700900123"),
        ("+44.7700/900\u00a0123", "447700900123"),
        ("  100 ", "100"),
        ("0", "0"),
        ("", None),
        ("   ", None),
        ("+", "+"),
        ("++44", "++44"),
        ("44+1", "44+1"),
        ("anonymous", None),
        (" <Restricted> ", None),
        ("UNKNOWN", None),
        ("unavailable", None),
        ("Private", None),
        ("sip:anonymous@anonymous.invalid", None),
        ("Anonymous@pbx.example", None),
        ('"Anonymous" <sip:anonymous@anonymous.invalid>', None),
        ("tel:unknown", None),
        ("+private", None),
        ("anonymous2", "anonymous2"),
        ("anonymous@", "anonymous@"),
        ("sip:unknown.soldier@pbx", "sip:unknown.soldier@pbx"),
        (" alice@pbx ", "alice@pbx"),
        ("*97", "*97"),
        ("44;ext=5", "44;ext=5"),
        ("\u0664\u0664", "44"),
        ("44\u0000 20", "4420"),
        ("\u00b2", "\u00b2"),
    ],
)
def test_plain_number(given_: str, expected: str | None) -> None:
    """Digits where there are only digits but for a leading plus and separators; what else it is stays as it is."""
    assert expected == plain_number(given_)


@given(st.text(max_size=64))
def test_plain_number_is_plain(text: str) -> None:
    """A plain number stays the same."""
    plain = plain_number(text)
    assert plain is None or plain == plain_number(plain) != ""


@pytest.mark.parametrize(
    "text",
    [
        "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        "01980C1E-6F3A-8D21-9A3B-5C1F0E7D2B44",
        "01980c1e6f3a8d219a3b5c1f0e7d2b44",
        "{01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44}",
        "urn:uuid:01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
    ],
)
def test_usual_spellings_of_uuids(text: str) -> None:
    """Letter case, hyphens, braces and the URN do not matter."""
    assert plain_uuid(text) == "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "1980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44", "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b440", "g" * 32),
        *("0x980c1e6f3a8d219a3b5c1f0e7d2b44", "0_980c1e6f3a8d219a3b5c1f0e7d2b44", " 1980c1e6f3a8d219a3b5c1f0e7d2b44"),
        *("\u0661" * 32, "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44\n", "+1980c1e6f3a8d219a3b5c1f0e7d2b44"),
    ],
)
def test_what_is_no_uuid(text: str) -> None:
    """Nothing is bent into a uuid that it is not."""
    assert plain_uuid(text) is None


@given(st.uuids())
def test_any_uuid(uuid: UUID) -> None:
    """Every uuid is written in one way."""
    assert str(uuid) == plain_uuid(str(uuid)) == plain_uuid(uuid.hex.upper())


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_milliseconds(ms: int) -> None:
    """Every instant of the years 1 to 9999 comes back; below a millisecond is cut."""
    assert ms == to_ms(from_ms(ms))
    if ms < 253_402_300_799_999:
        assert ms == to_ms(from_ms(ms) + timedelta(microseconds=999))


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(("agent", "queue", "campaign")))
def test_stable_ids(one: str, other: str, kind: str) -> None:
    """A name has one id, another one has another; 48 bits, never 0."""
    assert 0 < stable_id(kind, one) < 2**48
    assert (one == other) == (stable_id(kind, one) == stable_id(kind, other))
    assert stable_id(kind, one) != stable_id("team", one)


def test_stable_ids_are_the_same_everywhere() -> None:
    """The ids are part of what other systems keep: they must not change with a version."""
    assert (149181361763679, 72444884575787) == (stable_id("agent", "Anna"), stable_id("queue", "Sales"))


@given(st.integers(0, 2**48 - 1), st.lists(st.text(), min_size=1, max_size=3))
def test_time_uuids(ms: int, names: list[str]) -> None:
    """A uuid of version 8 that begins with the time and is derived from the names."""
    uuid = UUID(time_uuid(ms, *names))
    assert (8, "specified in RFC 4122", ms) == (uuid.version, uuid.variant, uuid.int >> 80)
    assert plain_uuid(str(uuid)) == time_uuid(ms, *names)
    assert time_uuid(ms, *names, "more") != time_uuid(ms, *names)
    assert time_uuid(ms, "ab", "c") != time_uuid(ms, "a", "bc")


@given(cdrs())
def test_canonical_is_the_last_word(cdr: Cdr) -> None:
    """The canonical form of a canonical record is itself, not a copy."""
    assert cdr is canonical(cdr) or cdr == canonical(cdr)
    assert all(getattr(cdr, f"{kind}_id") or not getattr(cdr, kind) for kind in ("agent", "queue", "campaign"))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (record(), record()),
        (record(started_at=AT.astimezone(timezone(timedelta(hours=5, minutes=45)))), record()),
        (record(started_at=AT.replace(microsecond=999_999)), record()),
        (record(from_="+44 1", to=" ", did="x"), record(from_="441", to=None, did="x")),
        (record(agent="Anna"), record(agent="Anna", agent_id=stable_id("agent", "Anna"))),
        (record(agent="Anna", agent_id=5), record(agent="Anna", agent_id=5)),
        (record(queue="Anna"), record(queue="Anna", queue_id=stable_id("queue", "Anna"))),
        (
            record(events=(Event(type="hold", at=AT), Event(type="dtmf", at=AT.replace(microsecond=999_001)))),
            record(events=(Event(type="hold", at=AT), Event(type="dtmf", at=AT))),
        ),
        (
            record(legs=(Leg(started_at=AT.astimezone(timezone(timedelta(hours=-3))), ended_at=AT),)),
            record(legs=(Leg(started_at=AT, ended_at=AT),)),
        ),
    ],
)
def test_canonical(given_: Cdr, expected: Cdr) -> None:
    """Times in UTC with whole milliseconds, numbers as digits, an id for every name."""
    found = canonical(given_)
    assert expected == found
    times = [found.started_at, *(e.at for e in found.events), *(leg.started_at for leg in found.legs)]
    assert {UTC} == {at.tzinfo for at in times}


def test_words_are_only_ever_added() -> None:
    """Stores keep the position of a word: these must stay where they are; new ones follow them."""
    assert ("inbound", "outbound", "dialer", "click_to_call") == INTERACTION_TYPES[:4]
    assert ("queue_callback", "internal") == INTERACTION_TYPES[11:13]
    assert ("answered", "failed", "busy", "no_answer", "rejected", "abandoned", "missed") == DISPOSITIONS[:7]
    assert ("initiated", "available", "absent") == DISPOSITIONS[20:23]
    assert ("agent_disconnect", "customer_disconnect") == END_REASONS[:2]
    assert ("dncr_rejected", "dncr_failure") == END_REASONS[7:9]
    assert ("queued", "answered", "hold") == EVENT_TYPES[:3]
    assert ("recording_started", "dtmf") == EVENT_TYPES[12:14]


@pytest.mark.parametrize(
    "changes",
    [
        {"uuid": "01980C1E-6F3A-8D21-9A3B-5C1F0E7D2B44"},
        {"uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44\n"},
        {"type": "Inbound"},
        {"started_at": "2026-01-01T00:00:00"},
        {"duration_s": -1},
        {"duration_s": 2**31},
        {"agent_id": 0},
        {"agent_id": 2**53},
        {"from": ""},
        {"from": "1" * 65},
        {"score": 100.1},
        {"tags": [""]},
        {"custom": {"a": []}},
        {"flags": ["sure"]},
    ],
    ids=str,
)
def test_limits(changes: dict[str, Any]) -> None:
    """What a record may hold has limits, and they are checked where records are read."""
    right = msgspec.to_builtins(record())
    assert record() == msgspec.convert(right, Cdr)
    with pytest.raises(msgspec.ValidationError, match=re.escape(f"$.{next(iter(changes))}")):
        msgspec.convert(right | changes, Cdr)
