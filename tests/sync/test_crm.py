"""What all CRMs have in common: which record is which call, whose number is whose, pace, patience, templates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.sync.crm.call import NotACall, call_of, e164
from calldex.sync.crm.http import Pace, Unavailable
from calldex.sync.crm.template import BadTemplate, Template
from tests.sync.crm import call
from tests.sync.vendors.server import Bucket, Window


@pytest.mark.parametrize(
    ("number", "region", "expected"),
    [
        ("442079460018", None, "+442079460018"),
        ("+44 20 7946 0018", None, "+442079460018"),
        ("00442079460018", None, "+442079460018"),
        ("02079460018", "GB", "+442079460018"),
        ("(020) 7946 0018", "GB", "+442079460018"),
        ("33123456789", "GB", "+33123456789"),
        ("07700 900001", "GB", "+447700900001"),
        ("2025550123", "US", "+12025550123"),
        ("101", None, None),
        ("ann", None, None),
        ("", "GB", None),
        (None, "GB", None),
    ],
)
def test_numbers_in_e164(number: str | None, region: str | None, expected: str | None) -> None:
    """A number as it is dialled in the region is of it; every other one begins with its country code."""
    assert expected == e164(number, region)


def test_a_call_has_a_customer() -> None:
    """Who calls inbound, who is called otherwise; the own number inbound is the one that was dialled."""
    inbound, outbound = call_of(call(0), None), call_of(call(1), None)
    assert ("inbound", "+447700900000", "+442079460018") == (
        inbound.direction,
        inbound.customer_e164,
        inbound.own_e164,
    )
    assert ("outbound", "+447700900001", "+442079460018") == (
        outbound.direction,
        outbound.customer_e164,
        outbound.own_e164,
    )
    assert "Outbound call, answered" == outbound.subject
    assert "Agent: Ann Lee\nQueue: Sales\nWrap-up: Sold" == outbound.notes


def test_a_call_of_the_contract_alone() -> None:
    """The nine fields of version 2 suffice; the end is the begin and the duration."""
    names = ("uuid", "timestamp", "type", "from", "to", "duration", "disposition", "agent", "agent_id")
    found = call_of({name: value for name, value in call(1, type="campaign").items() if name in names}, None)
    assert (90, 90) == (found.duration_s, found.talk_s)
    assert datetime(2026, 11, 2, 9, 2, 30, tzinfo=UTC) == found.ended


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"type": "outbound_sms"}, "type outbound_sms"),
        ({"type": "internal"}, "type internal"),
        ({"disposition": "active"}, "not ended yet"),
    ],
)
def test_what_is_no_call(other: dict[str, Any], why: str) -> None:
    """Messages, calls among colleagues, and calls that go on are not sent."""
    with pytest.raises(NotACall, match=why):
        call_of(call(1, **other), None)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    def clock(self) -> float:
        """The time."""
        return self.now


@pytest.mark.parametrize(("limit", "window_s"), [(100, 10), (190, 10), (5, 1), (200, 60), (2500, 60)])
def test_a_window_is_used_to_nine_tenths_and_never_beyond(limit: int, window_s: float) -> None:
    """Whatever the limit: no request is refused, and 90 % of those that are allowed are sent."""
    time, window, sent = Time(), Window(limit, window_s), 0
    pace = Pace(limit / window_s, clock=time.clock, sleep=time.sleep)
    while time.now < 20 * window_s:
        pace.wait()
        assert 0 == window.admit(time.now)
        sent += 1
    assert sent >= 0.9 * 20 * limit


@pytest.mark.parametrize(("limit", "window_s"), [(100, 10), (700, 60), (2500, 60)])
def test_pauses_are_made_up_for(limit: int, window_s: float) -> None:
    """A second without a request, as between batches, costs nothing, and still none is refused."""
    time, window, sent = Time(), Window(limit, window_s), 0
    pace = Pace(1, clock=time.clock, sleep=time.sleep)
    pace.set_limit(limit, window_s)
    while time.now < 20 * window_s:
        pace.wait()
        assert 0 == window.admit(time.now)
        sent += 1
        if sent % (limit // 2) == 0:
            time.sleep(min(1.0, 0.03 * window_s))
    assert sent >= 0.94 * 20 * limit


@pytest.mark.parametrize(("rate", "size"), [(2, 50), (5, 250)])
def test_a_leaky_bucket_is_used_to_nine_tenths_and_never_beyond(rate: float, size: int) -> None:
    """The burst first, then the rate."""
    time, bucket, sent = Time(), Bucket(rate, size), 0
    time.now = bucket.at
    pace = Pace(rate, size, clock=time.clock, sleep=time.sleep)
    end = time.now + 600
    while time.now < end:
        pace.wait()
        assert 0 == bucket.admit(time.now)
        sent += 1
    assert sent >= 0.9 * (600 * rate + size)


def test_a_long_hold_ends_the_run() -> None:
    """Nobody sleeps for an hour: the next run comes again."""
    time = Time()
    pace = Pace(10, clock=time.clock, sleep=time.sleep)
    pace.hold(60)
    pace.wait()
    assert 60 == pytest.approx(time.now)
    pace.hold(3600)
    with pytest.raises(Unavailable, match="3600 s"):
        pace.wait()


_NAMES = ("a", "b.c", "d")


def test_a_template_is_filled() -> None:
    """Values keep their kind, or are written out within text; they are left out, replaced or mapped as it says."""
    text = r"""{"n": "{a}", "t": "n={a}, {b.c|-}", "g": "{d?}", "m": "{a:1=\"one\",*=false}", "l": ["{d?}", "{{x}}"]}"""
    made = Template(text, _NAMES)
    assert {"n": 1, "t": "n=1, -", "m": "one", "l": ["{x}"]} == made.filled({"a": 1, "b.c": None, "d": None})
    assert {"n": [2], "t": "n=[2], y", "g": 0, "m": False, "l": [0, "{x}"]} == made.filled(
        {"a": [2], "b.c": "y", "d": 0}
    )


@given(st.text(), st.text())
def test_values_cannot_leave_their_place(first: str, second: str) -> None:
    """Whatever a value says, it stays one text of the JSON, and is not read as a template."""
    made = Template('{"one": "<{a}>", "two": "{d}"}', _NAMES)
    filled = made.filled({"a": first, "b.c": None, "d": second})
    assert {"one": f"<{first}>", "two": second} == json.loads(json.dumps(filled))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ('{"x": "{e}"}', r"\$\.x asks for 'e'; there are a, b\.c, d"),
        ('{"x": ["{a.__class__}"]}', r"\$\.x\[0\] asks for"),
        ('{"x": "{a"}', "single '{'"),
        ('{"x": "{a:one}"}', "`word=value`"),
    ],
)
def test_a_wrong_template_is_refused(text: str, why: str) -> None:
    """When it is read, with the place."""
    with pytest.raises(BadTemplate, match=why):
        Template(text, _NAMES)
