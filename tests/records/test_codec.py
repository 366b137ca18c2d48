"""A record's JSON: what is served, and how it is read again."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.records import codec
from calldex.records.record import Cdr, Event, Leg, Rejected, canonical
from tests.strategies import LENGTHS, cdrs

SERVED: dict[str, Any] = {
    "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
    "type": "inbound",
    "disposition": "answered",
    "started_at": "2026-03-29T00:59:59.123Z",
    "timestamp": "2026-03-29T00:59:59Z",
    "duration_s": 3725,
    "duration": "01:02:05",
}
RECORD = Cdr(
    uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
    type="inbound",
    disposition="answered",
    started_at=datetime.fromisoformat("2026-03-29T00:59:59.123Z"),
    duration_s=3725,
)


def read(**changes: Any) -> Cdr | Rejected:
    """What JSON with these members gives; a member that is `...` is left out."""
    members = {name: value for name, value in (SERVED | changes).items() if value is not ...}
    return codec.decode(json.dumps(members).encode(), "here")


def reason(found: Cdr | Rejected) -> str:
    """Why something was rejected."""
    assert isinstance(found, Rejected), found
    return found.reason


def kept(found: Cdr | Rejected) -> Cdr:
    """The plain record that was read."""
    assert isinstance(found, Cdr), found
    return Cdr(**{name: getattr(found, name) for name in Cdr.__struct_fields__})


@settings(deadline=None)
@given(cdrs())
def test_what_is_served_can_be_read_again(cdr: Cdr) -> None:
    """Any record: read again it is equal, and its JSON is the same to the byte."""
    if cdr.ended_at is not None and cdr.ended_at < cdr.started_at:
        return
    served = codec.encode(cdr)
    found = codec.decode(served, "here")
    assert cdr == kept(found)
    assert isinstance(found, Cdr)
    assert served == codec.encode(found) == codec.encode(canonical(found))


@settings(deadline=None)
@given(cdrs())
def test_what_clients_rely_on(cdr: Cdr) -> None:
    """`timestamp` is the begin in whole seconds with a Z, `duration` HH:MM:SS, and members stand in one order."""
    served = json.loads(codec.encode(cdr))
    assert datetime.fromisoformat(served["timestamp"]) == cdr.started_at.replace(microsecond=0)
    assert (len("2026-03-29T00:59:59Z"), "Z") == (len(served["timestamp"]), served["timestamp"][-1])
    hours, minutes, seconds = map(int, served["duration"].split(":"))
    assert (cdr.duration_s, True, True) == (hours * 3600 + minutes * 60 + seconds, minutes < 60, seconds < 60)
    assert served["from"] == cdr.from_
    assert served["disposition"] is not None
    assert [field.encode_name for field in msgspec.structs.fields(codec.Record)] == list(served)


@given(LENGTHS)
def test_lengths(seconds: int) -> None:
    """Every length has one spelling, which is read back."""
    assert seconds == codec.seconds(codec.hms(seconds))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00"), (59, "00:00:59"), (3600, "01:00:00"), (359_999, "99:59:59"), (360_000, "100:00:00")],
)
def test_lengths_as_text(seconds: int, text: str) -> None:
    """Two digits each; hours may have more."""
    assert text == codec.hms(seconds)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "INBOUND", "disposition": "Answered"}, {}),
        ({"type": "campaign"}, {"type": "dialer"}),
        ({"type": "queue-callback"}, {"type": "queue_callback"}),
        ({"end_reason": "TIMEOUT"}, {"end_reason": "timeout"}),
        ({"agent_id": "12"}, {"agent_id": 12}),
        ({"uuid": "01980C1E6F3A8D219A3B5C1F0E7D2B44"}, {}),
        ({"started_at": ..., "timestamp": "2026-03-29T00:59:59.123Z"}, {}),
        ({"timestamp": ...}, {}),
        ({"timestamp": "2026-03-29T00:59:59.123Z"}, {}),
        ({"started_at": "2026-03-29T02:59:59.123+02:00"}, {}),
        ({"timestamp": "2026-03-28T19:59:59-05:00"}, {}),
        ({"duration": ...}, {}),
        ({"duration_s": ...}, {}),
        ({"duration_s": "3725"}, {}),
        (
            {"duration": ..., "duration_s": ..., "ended_at": "2026-03-29T01:00:09Z"},
            {"duration_s": 9, "ended_at": datetime.fromisoformat("2026-03-29T01:00:09Z")},
        ),
        ({"from": "+44 7700 900123", "to": "  "}, {"from_": "447700900123", "to": None}),
        (
            {"events": [{"type": "HOLD", "at": "2026-03-29T01:00:00Z"}]},
            {"events": (Event(type="hold", at=datetime.fromisoformat("2026-03-29T01:00:00Z")),)},
        ),
        ({"end_reason": None, "agent": None}, {}),
        ({"timestamp": 1774745999, "started_at": ...}, {"started_at": datetime.fromisoformat("2026-03-29T00:59:59Z")}),
        ({"timestamp": ..., "started_at": 1774745999.123}, {}),
        ({"timestamp": ..., "started_at": "1774745999123"}, {}),
        ({"timestamp": ..., "started_at": 1774745999123}, {}),
        ({"score": "87.5"}, {"score": 87.5}),
        ({"from": "Anonymous", "to": " <restricted>"}, {}),
        (
            {"legs": [{"started_at": 1774746000, "from": "+44 20", "to": "PRIVATE", "talk_s": "5"}]},
            {"legs": (Leg(started_at=datetime.fromisoformat("2026-03-29T01:00:00Z"), from_="4420", talk_s=5),)},
        ),
        (
            {"events": [{"type": "queued", "at": "2026-03-29T01:00:00Z", "number": "+1 (2)"}]},
            {"events": (Event(type="queued", at=datetime.fromisoformat("2026-03-29T01:00:00Z"), number="12"),)},
        ),
    ],
    ids=str,
)
def test_looser_spellings(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """What other systems write is understood, and served as everything else is."""
    found = read(**changes)
    assert msgspec.structs.replace(RECORD, **expected) == kept(found)
    assert isinstance(found, Cdr)
    assert codec.encode(msgspec.structs.replace(RECORD, **expected)) == codec.encode(found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uuid": ...}, "uuid"),
        ({"uuid": "01980c1e"}, "'01980c1e' is no uuid; valid are 32 hexadecimal digits"),
        ({"uuid": "CA0123456789abcdef0123456789abcdef"}, "Of an id of another system make one"),
        ({"uuid": "0x980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"}, "$.uuid"),
        ({"uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44\n"}, "$.uuid"),
        ({"type": "fax"}, "$.type"),
        ({"type": ["inbound"]}, "$.type"),
        ({"disposition": None}, "disposition"),
        ({"disposition": ...}, "disposition"),
        ({"started_at": ..., "timestamp": ...}, "timestamp"),
        ({"started_at": "2026-03-29T00:59:59"}, "$.started_at"),
        ({"started_at": "2026-03-29T01:00:00Z"}, "timestamp 2026-03-29T00:59:59+00:00 is not"),
        ({"duration": ..., "duration_s": ...}, "duration_s"),
        ({"duration": "01:02:06"}, "duration 01:02:06 is not duration_s 3725"),
        ({"duration": "1:2:5", "duration_s": ...}, "$.duration"),
        ({"duration": "00:60:00", "duration_s": ...}, "$.duration"),
        ({"duration_s": -1, "duration": ...}, "$.duration_s"),
        ({"duration_s": 1.5, "duration": ...}, "$.duration_s"),
        ({"duration_s": True, "duration": ...}, "$.duration_s"),
        ({"ended_at": "2026-03-29T00:59:58Z"}, "lies before started_at"),
        ({"agent_id": 2**53}, "$.agent_id"),
        ({"agnet": "Anna"}, "unknown field `agnet`"),
        ({"teams": [{"id": 0}]}, "$.teams[0].id"),
        ({"started_at": "0001-01-01T00:00:00+14:00", "timestamp": "0001-01-01T00:00:00+14:00"}, "UTC"),
        ({"started_at": "9999-12-31T23:59:59-14:00", "timestamp": "9999-12-31T23:59:59-14:00"}, "UTC"),
        ({"events": [{"type": "hold", "at": "0001-01-01T00:00:00+14:00"}]}, "UTC"),
        ({"legs": [{"started_at": "9999-12-31T23:59:59-14:00"}]}, "UTC"),
        ({"comment": "x" * 4001}, "$.comment"),
        ({"timestamp": 20260108, "started_at": ...}, "epoch seconds or milliseconds of the years 2000 to 2099"),
        ({"timestamp": "20260108", "started_at": ...}, "- at `$.timestamp`"),
        ({"started_at": 946684799, "timestamp": ...}, "946684799 is no time"),
        ({"started_at": 4102444800, "timestamp": ...}, "4102444800 is no time"),
        ({"started_at": 1774745999123000, "timestamp": ...}, "is no time"),
        ({"started_at": "1.774745999e9", "timestamp": ...}, "- at `$.started_at`"),
        ({"started_at": -1, "timestamp": ...}, "-1 is no time"),
        ({"ended_at": 5}, "5 is no time"),
        ({"events": [{"type": "hold", "at": 20260108}]}, "- at `$.events[0].at`"),
        ({"legs": [{"started_at": 20260108}]}, "- at `$.legs[0].started_at`"),
        ({"duration_s": "1e2", "duration": ...}, "'1e2' is no whole number"),
        ({"talk_s": "1_0"}, "- at `$.talk_s`"),
        ({"agent_id": "12e3"}, "- at `$.agent_id`"),
        ({"teams": [{"id": "1e2"}]}, "- at `$.teams[0].id`"),
        ({"score": "1e2"}, "- at `$.score`"),
        ({"from": "4.47701E+11"}, "'4.47701E+11' is a number as spreadsheets write decimals"),
        ({"to": "4,47701e+11"}, "as spreadsheets write decimals"),
        ({"did": " 4E+11"}, "as spreadsheets write decimals"),
        ({"to": "4.47701E11"}, "as spreadsheets write decimals"),
        ({"from": "447700900111.0"}, "'447700900111.0' is a number as spreadsheets write decimals"),
        ({"did": "4477009001110,00"}, "as spreadsheets write decimals"),
        (
            {"events": [{"type": "hold", "at": "2026-03-29T01:00:00Z", "number": "4.47701E+11"}]},
            "as spreadsheets write decimals",
        ),
        ({"legs": [{"started_at": "2026-03-29T01:00:00Z", "to": "4.47701E+11"}]}, "as spreadsheets write decimals"),
    ],
    ids=str,
)
def test_rejected(changes: dict[str, Any], says: str) -> None:
    """What contradicts itself or cannot be a record is rejected with the member named, the place, and the input."""
    found = read(**changes)
    assert says in reason(found)
    assert isinstance(found, Rejected)
    assert ("here", True) == (found.where, found.raw.startswith(b"{"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"{} {}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"uuid":"\\ud800"}',
    ],
    ids=lambda line: repr(line[:12]),
)
def test_what_is_no_object(line: bytes) -> None:
    """What is no JSON, or JSON of something else, is rejected and said so."""
    assert "JSON" in reason(codec.decode(line, "here")) or "missing" in reason(codec.decode(line, "here"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([field.encode_name for field in msgspec.structs.fields(codec.Record)]), JSON))
def test_any_members(changes: dict[str, Any]) -> None:
    """Whatever the members of an object hold: a record that can be served and read again, or a rejection."""
    found = codec.decode(json.dumps(SERVED | changes).encode(), "here")
    if isinstance(found, Cdr):
        assert kept(found) == kept(codec.decode(codec.encode(found), "here"))
    else:
        assert found.reason


def test_a_rounded_number_is_found_however_it_is_escaped() -> None:
    """The plus sign may be an escape in JSON."""
    line = json.dumps(SERVED | {"from": "4.47701E+11"}).replace("E+11", "E\\u002b11")
    assert "u002b" in line
    assert "as spreadsheets write decimals" in reason(codec.decode(line.encode(), "here"))


def test_a_begin_that_is_null_is_not_given() -> None:
    """`started_at` as null beside a `timestamp` is the timestamp, and the other way round."""
    rest = '"uuid":"01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44","type":"inbound","disposition":"missed","duration_s":1'
    one = codec.decode(f'{{{rest},"started_at":null,"timestamp":"2026-01-01T00:00:00Z"}}'.encode(), "line 1")
    other = codec.decode(f'{{{rest},"timestamp":null,"started_at":"2026-01-01T00:00:00Z"}}'.encode(), "line 1")
    assert isinstance(one, codec.Record)
    assert one == other


@given(cdrs(), st.sets(st.sampled_from(("started_at", "timestamp", "duration", "duration_s"))), st.data())
def test_what_is_left_out_is_told_from_the_rest(cdr: Cdr, left_out: set[str], data: st.DataObject) -> None:
    """A record without some members that others tell, or with null or another value in one of them, is read in short as
    it is at length."""
    given_ = {name: value for name, value in msgspec.json.decode(codec.encode(cdr)).items() if name not in left_out}
    for name in data.draw(st.sets(st.sampled_from(sorted(given_)), max_size=2)):
        given_[name] = data.draw(
            st.sampled_from((None, "00:00:01", "00:00:01\n", 1, "2026-01-01T01:00:00.5+02:00", []))
        )
    line = msgspec.json.encode(given_)
    short = codec.decode(line, "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_whole_of", lambda line: None)
        long = codec.decode(line, "here")
    assert long == short
    if isinstance(short, Cdr) and isinstance(long, Cdr):
        assert codec.encode(long) == codec.encode(short)
