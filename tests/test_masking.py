"""The mask: numbers keep country code and last two digits wherever they stand, hidden fields are empty."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calldex.access import Mask
from calldex.demo import interactions
from calldex.fields import SENSITIVE
from calldex.masking import ends, masked, masked_name, masked_number, masked_text
from calldex.record import Cdr, Event, Leg, canonical, from_ms
from calldex.wire import v2
from tests.strategies import batches

MASKED = Mask(numbers=True, match=False)


def one(**members: object) -> Cdr:
    """A record."""
    values: dict[str, object] = {
        "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        "type": "inbound",
        "disposition": "answered",
        "started_at": from_ms(1_700_000_000_000),
        "duration_s": 1,
    }
    return canonical(Cdr(**(values | members)))  # type: ignore[arg-type]


def shown(cdr: Cdr, mask: Mask = MASKED) -> dict[str, Any]:
    """A record as somebody with this mask sees it."""
    found: dict[str, Any] = json.loads(masked(v2.encode(cdr), mask))
    return found


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("447700900412", "44********12"),
        ("12025550143", "1********43"),
        ("79161234567", "7********67"),
        ("353861234567", "353*******67"),
        ("4930123456", "49******56"),
        ("02079460018", "*********18"),
        ("1001", "**01"),
        ("123456", "****56"),
        ("1234567", "1****67"),
        ("99", "**"),
        ("1", "*"),
        ("anonymous", "*******us"),
        ("alice@pbx.example", "***************le"),
        ("\u0664\u0664\u0664\u0664\u0664\u0664\u0664\u0664", "******\u0664\u0664"),
    ],
)
def test_a_masked_number(number: str, expected: str) -> None:
    """Country code and last two digits stay; where there is no country code, the last two characters."""
    assert expected == masked_number(number)


@given(st.text("0123456789", min_size=1, max_size=20))
def test_a_mask_is_as_long_and_tells_no_more(number: str) -> None:
    """At most three digits at the front and two at the end; everything between is hidden, and the length stays."""
    found = re.fullmatch(r"(\d{0,3})(\**)(\d{0,2})", masked_number(number))
    assert found
    assert len(number) == len(found[0])
    assert number.startswith(found[1])
    assert number.endswith(found[3])
    assert found[2] or not number


NUMBER = "447700900412"
FORMS = (NUMBER, f"+{NUMBER}", "07700900412", "00447700900412", "+44 7700 900 412", "(07700) 900-412")


@pytest.mark.parametrize("form", FORMS)
def test_a_number_is_masked_wherever_it_stands(form: str) -> None:
    """In every member that can hold text, however it is written there, the record's own number cannot be read."""
    cdr = one(
        from_=NUMBER,
        to="442079460018",
        did="442079460018",
        events=(
            Event(type="blind_transfer", at=from_ms(0), number=NUMBER, detail=f'to "{form}"'),
            Event(type="dtmf", at=from_ms(0), detail="4"),
        ),
        legs=(Leg(started_at=from_ms(0), from_=NUMBER, to="1001", channel=f"PJSIP/{NUMBER}-00000001", agent="Ann"),),
        recording=f"2026/07/in-{NUMBER}-1001-20260703-090014.wav",
        external_account_id=NUMBER,
        tags=("vip", form),
        comment=f"Call back {form} before noon; order 4711.",
        custom={form: "x", "callback": form, "number": int(NUMBER), "n": 5, "ok": True, "none": None, "x": 1.5},
    )
    text = masked(v2.encode(cdr), MASKED).decode()
    assert not re.search(r"7[\s\-().]*7[\s\-().]*0[\s\-().]*0[\s\-().]*9", text)
    found = json.loads(text)
    assert ("44********12", "44********18", "44********18") == (found["from"], found["to"], found["did"])
    assert ("44********12", "4") == (found["events"][0]["number"], found["events"][1]["detail"])
    assert ("44********12", "**01", "Ann") == tuple(found["legs"][0][name] for name in ("from", "to", "agent"))
    assert "2026/07/in-44********12-1001-20260703-090014.wav" == found["recording"]
    assert "order 4711." in found["comment"]
    assert (5, True, None, 1.5) == tuple(found["custom"][name] for name in ("n", "ok", "none", "x"))


def test_what_is_no_number_stays() -> None:
    """Dates, ids and words are not taken for numbers."""
    cdr = one(
        from_="447700900412",
        recording="2026-07-03/01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44.mp3",
        external_account_id="ACC-30349777",
        tags=("late", "q3-2026"),
        comment="Order 123456 of 3 July, 09:00: sent.",
        custom={"order_id": "SO-598829", "amount": 129.5},
    )
    names = ("recording", "external_account_id", "tags", "comment", "custom")
    assert {name: json.loads(v2.encode(cdr))[name] for name in names} == {name: shown(cdr)[name] for name in names}


def test_hidden_fields_are_empty() -> None:
    """Each field that may be hidden gets the value it has in a record that says nothing of it."""
    nothing = json.loads(v2.encode(one()))
    cdr = one(
        end_reason="timeout", wrapup_code="1", wrapup_description="One", recording="r", external_account_id="e",
        events=(Event(type="hold", at=from_ms(0)),), legs=(Leg(started_at=from_ms(0)),), tags=("t",), comment="c",
        linked_uuids=("01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b45",), score=1.0, custom={"a": 1}, source="s",
    )  # fmt: skip
    seen = json.loads(v2.encode(cdr))
    assert [name for name in SENSITIVE if seen[name] == nothing[name]] == []
    for name in SENSITIVE:
        assert shown(cdr, Mask(hidden=(name,))) == seen | {name: nothing[name]}
    assert shown(cdr, Mask(numbers=True, hidden=SENSITIVE)) == nothing


def walked(value: Any) -> Any:
    """Every text in what was read from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from walked(each)
    elif isinstance(value, list):
        for each in value:
            yield from walked(each)


@settings(max_examples=150, deadline=None)
@given(batches(1, 8), st.sets(st.sampled_from(SENSITIVE)), st.booleans())
def test_any_records(records: list[Cdr], hidden: set[str], numbers: bool) -> None:
    """Of any records: every one stays, in its place, every member that the mask does not concern is the same, hidden
    ones are empty, and numbers are masked."""
    mask = Mask(numbers=numbers, match=False, hidden=tuple(sorted(hidden)))
    json_ = b",".join(map(v2.encode, records))
    before, after = (msgspec.json.decode(b"[%s]" % each) for each in (json_, masked(json_, mask)))
    empty = json.loads(v2.encode(one()))
    concerned = {"from", "to", "did", "events", "legs", "recording", "external_account_id", "tags", "comment", "custom"}
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        assert list(was) == list(now)
        for name in was:
            if name in hidden:
                assert empty[name] == now[name]
            elif not numbers or name not in concerned:
                assert was[name] == now[name]
        if numbers:
            for name in ("from", "to", "did"):
                assert now[name] == (None if was[name] is None else masked_number(was[name]))
            long = [was[name] for name in ("from", "to", "did") if was[name] and re.fullmatch(r"[0-9]{9,}", was[name])]
            texts = list(walked([now[name] for name in concerned]))
            assert [] == [text for number in long for text in texts if number in text]


NUMBERS = st.sampled_from(
    (NUMBER, "12025550143", "1001", "99", "5", "1234567", "0441234567", "anonymous", 'a"b', "al\\ice", "\u00c91234567")
)
PIECES = st.sampled_from(
    (
        *FORMS, "7700900412", "1001", "anonymous", "1234567", "123", "5", '"', "\\", "\u00e9", "\u00a0", "\u0664", "\n",
        *" -()/.+ax,", "1 2 3 4 5 6 7", "SO-486085", ',"number":"', '},"source":', 'a"b', "al\\ice", "\u00c91234567",
    )
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=4).map("".join)
VALUES = TEXTS | st.sampled_from((int(NUMBER), 1234567, 5, float(NUMBER), 1e7, 1e16, 1.5, 0.1234567, None, True, ""))
EVENTS = st.builds(
    Event, type=st.just("dtmf"), at=st.just(from_ms(0)), number=st.none() | NUMBERS, detail=st.none() | TEXTS
)
LEGS = st.builds(
    Leg, started_at=st.just(from_ms(0)), from_=st.none() | NUMBERS, to=st.none() | NUMBERS, channel=st.none() | TEXTS
)
WRITTEN = st.fixed_dictionaries(
    {"from_": st.none() | NUMBERS, "to": st.none() | NUMBERS, "did": st.none() | NUMBERS},
    optional={
        "events": st.lists(EVENTS, max_size=2).map(tuple),
        "legs": st.lists(LEGS, max_size=1).map(tuple),
        "recording": TEXTS,
        "external_account_id": TEXTS,
        "tags": st.lists(TEXTS, max_size=2).map(tuple),
        "comment": TEXTS,
        "custom": st.dictionaries(TEXTS, VALUES, max_size=2),
    },
)


def naive(record: dict[str, Any]) -> dict[str, Any]:
    """A record with every text masked, whether it can hold a number or not."""
    own = ends(record["from"], record["to"], record["did"])

    def value(given: Any) -> Any:
        if given is None or isinstance(given, bool):
            return given
        text = masked_text(str(given), own)
        return given if text == str(given) else text

    found = dict(record)
    for name in ("from", "to", "did"):
        found[name] = record[name] and masked_number(record[name])
    for name in ("recording", "external_account_id"):
        found[name] = record[name] and masked_name(record[name], own)
    found["comment"] = record["comment"] and masked_text(record["comment"], own)
    found["tags"] = [masked_text(tag, own) for tag in record["tags"]]
    found["custom"] = {
        masked_text(name, own) if re.search(r"\d{3,}", name) else name: value(given)
        for name, given in record["custom"].items()
    }
    for event in found["events"]:
        if "number" in event:
            event["number"] = masked_number(event["number"])
        if "detail" in event:
            event["detail"] = masked_text(event["detail"], own)
    for leg in found["legs"]:
        parties = (*own, *ends(leg.get("from"), leg.get("to")))
        for name in ("from", "to"):
            if name in leg:
                leg[name] = masked_number(leg[name])
        if "channel" in leg:
            leg["channel"] = masked_name(leg["channel"], parties)
    return found


NOBODY: dict[str, Any] = {"from_": None, "to": None, "did": None}


@settings(max_examples=300, deadline=None)
@given(st.lists(WRITTEN, min_size=1, max_size=3))
@example([NOBODY | {"events": (Event(type="dtmf", at=from_ms(0), detail=f'"{NUMBER}'),)}])
@example([NOBODY | {"custom": {"blanks": "07700 900 412"}}])
@example([NOBODY | {"custom": {"nbsp": "07700\u00a0900\u00a0412"}}])
@example([NOBODY | {"from_": 'a"b', "custom": {"of": 'a"b'}}])
@example([NOBODY | {"from_": "1001", "custom": {"of": "PJSIP/1001-2"}}])
@example([NOBODY | {"from_": "private", "custom": {"of": "a private line"}}])
def test_texts_that_are_not_read_hold_no_number(written: list[dict[str, Any]]) -> None:
    """To the byte the same as if every text were read and masked."""
    json_ = b",".join(v2.encode(one(**members)) for members in written)
    expected = [naive(record) for record in msgspec.json.decode(b"[%s]" % json_)]
    assert msgspec.json.encode(expected)[1:-1] == masked(json_, MASKED)


@example(b"")
@given(st.just(b""))
def test_no_records(nothing: bytes) -> None:
    """An empty page stays one."""
    assert b"" == masked(nothing, MASKED)


def test_pages_larger_than_what_is_taken_at_once() -> None:
    """A page of many records is each record masked by itself, joined."""
    parts = [v2.encode(canonical(cdr)) for cdr in interactions(500, seed=5)]
    mask = Mask(numbers=True, match=True, hidden=("comment",))
    assert b",".join(masked(part, mask) for part in parts) == masked(b",".join(parts), mask)
