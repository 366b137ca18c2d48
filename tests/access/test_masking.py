"""The mask: numbers keep country code and last two digits wherever they stand, hidden fields are empty."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calldex.access import Mask, masking
from calldex.access.masking import (
    NOBODY,
    Own,
    digits_of,
    masked,
    masked_id,
    masked_label,
    masked_name,
    masked_number,
    masked_text,
)
from calldex.demo import interactions
from calldex.records import codec
from calldex.records.fields import SENSITIVE
from calldex.records.record import Cdr, Event, Leg, Team, canonical, from_ms
from tests.examples import examples
from tests.strategies import batches

_LINES: Any = msgspec.json.Decoder().decode_lines

MASKED = Mask(numbers=True, match=False)


def one(**members: Any) -> Cdr:
    """A record."""
    values: dict[str, Any] = {
        "uuid": "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        "type": "inbound",
        "disposition": "answered",
        "started_at": from_ms(1_700_000_000_000),
        "duration_s": 1,
    }
    return canonical(Cdr(**(values | members)))


def shown(cdr: Cdr, mask: Mask = MASKED) -> dict[str, Any]:
    """A record as somebody with this mask sees it."""
    found: dict[str, Any] = json.loads(masked(codec.encode(cdr), mask))
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
    text = masked(codec.encode(cdr), MASKED).decode()
    assert not re.search(r"7[\s\-().]*7[\s\-().]*0[\s\-().]*0[\s\-().]*9", text)
    found = json.loads(text)
    assert ("44********12", "44********18", "44********18") == (found["from"], found["to"], found["did"])
    assert ("44********12", "4") == (found["events"][0]["number"], found["events"][1]["detail"])
    assert ("44********12", "**01", "Ann") == tuple(found["legs"][0][name] for name in ("from", "to", "agent"))
    assert "PJSIP/44********12-00000001" == found["legs"][0]["channel"]
    assert "2026/07/in-44********12-1001-20260703-090014.wav" == found["recording"]
    assert "order 4711." in found["comment"]
    assert (5, True, None, 1.5) == tuple(found["custom"][name] for name in ("n", "ok", "none", "x"))
    uuid = f"01980c1e-6f3a-8d21-9a3b-{NUMBER}"  # the record's own is no number, though it has the digits of one
    assert f"44********12-{uuid}" == shown(one(uuid=uuid, from_=NUMBER, recording=f"{NUMBER}-{uuid}"))["recording"]


def plain_digits(text: str) -> str:
    """The digits of a text, as ours."""
    values = [unicodedata.numeric(char, -1) for char in text]
    return "".join(str(int(value)) for value in values if value in range(10))


def pieces(*numbers: str | None) -> set[str]:
    """Every five consecutive digits of some numbers, of any script."""
    found = [plain_digits(number) for number in numbers if number]
    return {digits[at : at + 5] for digits in found for at in range(len(digits) - 4)}


def told(cdr: Cdr, found: dict[str, Any]) -> list[str]:
    """The texts of a masked record from which five consecutive digits of one of its numbers can still be read, whatever
    stands between them. Uuids, ids, words and instants are no texts that a source gave; the record's own uuid may be a
    part of one."""
    parties = [*((leg.from_, leg.to) for leg in cdr.legs), *((event.number, None) for event in cdr.events)]
    known = pieces(cdr.from_, cdr.to, cdr.did, *(number for each in parties for number in each))
    no_texts = {"uuid", "linked_uuids", "started_at", "answered_at", "ended_at", "at", "timestamp", "duration", "type"}

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str | float) or (isinstance(value, int) and not isinstance(value, bool)):
            yield str(value)
        elif isinstance(value, list):
            for each in value:
                yield from texts(each)
        elif isinstance(value, dict):
            for name, each in value.items():
                if name not in no_texts and not name.endswith(("_id", "_s")) and (name, value) != ("id", value):
                    yield name
                    yield from texts(each)

    members = {name: value for name, value in found.items() if name not in ("wrapup_code", "score")}
    members["teams"] = [team["name"] for team in members["teams"]]
    return [
        text for text in texts(members) if any(piece in plain_digits(text.replace(cdr.uuid, "")) for piece in known)
    ]


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
    assert {name: json.loads(codec.encode(cdr))[name] for name in names} == {name: shown(cdr)[name] for name in names}


OTHER = "12025550143"


@pytest.mark.parametrize(
    "members",
    [
        {"legs": (Leg(started_at=from_ms(0), from_=OTHER),)},
        {"legs": (Leg(started_at=from_ms(0)), Leg(started_at=from_ms(1), to=OTHER))},
        {"events": (Event(type="blind_transfer", at=from_ms(0), number=OTHER),)},
    ],
)
def test_a_number_of_a_leg_or_an_event_is_masked_in_the_record(members: dict[str, object]) -> None:
    """A number that is not the record's `from`, `to` or `did` is one of its own all the same."""
    cdr = one(
        from_=NUMBER,
        recording=f"out-{OTHER}-20260703.wav",
        external_account_id=f"A{OTHER}",
        tags=(f"t{OTHER}",),
        comment=f"to {OTHER}",
        custom={"x": f"y{OTHER}", f"n{OTHER}": 1},
        **members,
    )
    found = shown(cdr)
    assert OTHER not in json.dumps(found)
    assert "out-1********43-20260703.wav" == found["recording"]


def test_a_number_of_one_leg_is_masked_in_another() -> None:
    """A channel may be called after the other party of another leg, or of an event."""
    cdr = one(
        legs=(Leg(started_at=from_ms(0), to=NUMBER), Leg(started_at=from_ms(1), peer_channel=f"SIP/{NUMBER}-{OTHER}")),
        events=(Event(type="hold", at=from_ms(0), number=OTHER),),
    )
    assert "SIP/44********12-1********43" == shown(cdr)["legs"][1]["peer_channel"]


@pytest.mark.parametrize("legs", [(), (Leg(started_at=from_ms(0), channel="SIP/alice@pbx.example-1"),)])
def test_an_address_of_letters_is_masked_in_every_text(legs: tuple[Leg, ...]) -> None:
    """A party that has no digits is looked for as it is, in events without any digit as well."""
    party = "alice@pbx.example"
    cdr = one(
        from_=party,
        recording=f"{party}.wav",
        external_account_id=party,
        tags=(party,),
        comment=f"of {party}",
        custom={party: party},
        legs=legs,
        events=(Event(type="hold", at=from_ms(0), detail=f"of {party}"),),
    )
    found = shown(cdr)
    assert party not in json.dumps(found)
    assert "of ***************le" == found["events"][0]["detail"] == found["comment"]


def test_people_queues_and_campaigns_called_by_a_number() -> None:
    """What looks like a telephone number is masked in what things are called, in whatever record; else it stays."""
    when = from_ms(0)
    cdr = one(
        from_="anonymous",
        agent=NUMBER,
        queue="Line +44 20 7946 0018",
        campaign="q-442079460018",
        wrapup_description=f"Sold to{NUMBER}",
        events=(Event(type="answered", at=when, agent=f"x{NUMBER}", queue=OTHER),),
        legs=(Leg(started_at=when, agent=NUMBER),),
    )
    found = shown(cdr)
    names = ("agent", "queue", "campaign", "wrapup_description")
    assert ["44********12", "Line +44 ** **** **18", "q-44********18", "Sold to44********12"] == [
        found[n] for n in names
    ]
    assert ("x44********12", "1********43") == (found["events"][0]["agent"], found["events"][0]["queue"])
    assert "44********12" == found["legs"][0]["agent"]
    plain = one(
        from_="2026",
        to="10001",
        agent="Ann 1001",
        agent_id=1,
        queue="Orders 24/7",
        queue_id=2,
        campaign="Spring 2026",
        campaign_id=3,
        wrapup_description="0100: sale",
        events=(Event(type="answered", at=when, agent="2026", queue='Orders "24/7"'),),
        legs=(Leg(started_at=when, agent="2026"),),
    )
    assert json.loads(codec.encode(plain)) | {"from": "**26", "to": "***01"} == shown(plain)


def test_an_extension_is_masked_as_a_number_alone() -> None:
    """Of fewer than five characters it is not looked for elsewhere: a year that was masked would tell it."""
    cdr = one(
        from_="2026",
        to="1001",
        did="bob",
        recording="2026-09-16/1001-bob.mp3",
        comment="bob: 1001 in May 2026",
        custom={"2026": "1001", "x": 2026},
        tags=("2026",),
        external_account_id="A-2026",
        legs=(Leg(started_at=from_ms(0), from_="2026", channel="PJSIP/2026-00000001"),),
        events=(Event(type="hold", at=from_ms(0), number="2026", detail="to 2026"),),
    )
    expected = json.loads(codec.encode(cdr)) | {"from": "**26", "to": "**01", "did": "*ob"}
    expected["legs"][0]["from"] = expected["events"][0]["number"] = "**26"
    assert expected == shown(cdr)
    longer = shown(one(from_="20261", recording="2026-09-16/in-20261.mp3", comment="of 20261"))
    assert ("***61", "2026-09-16/in-***61.mp3", "of ***61") == tuple(
        longer[n] for n in ("from", "recording", "comment")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call447700900412", "call44********12"),
        ("447700900412ext5", "44********12ext5"),
        ("x+44 7700 900 412y", "x+44 **** *** *12y"),
        ("447700.900_412", "44****.***_*12"),
        ("44\u20117700\u2013900\u200b412", "44\u2011****\u2013***\u200b*12"),
        ("4\ufe0f\u20e34\ufe0f\u20e37\ufe0f\u20e37009", "4\ufe0f\u20e34\ufe0f\u20e3*\ufe0f\u20e3**09"),
        ("\u0664\u0664\u0667\u0667\u0660\u0660\u0669", "\u0664\u0664***\u0660\u0669"),
        ("\u56db\u56db\u4e03\u4e03\u3007\u3007\u4e5d", "\u56db\u56db***\u3007\u4e5d"),
        ("add447700900412", "add44********12"),
        ("fed447700900412bad", "fed44********12bad"),
    ],
)
def test_a_number_is_masked_whatever_stands_beside_it(text: str, expected: str) -> None:
    """Letters before and behind it do not hide that it is one, nor any sign between its digits, nor their script."""
    assert expected == masked_text(text, NOBODY)


@pytest.mark.parametrize(
    "text",
    [
        "see 01980112-6123-8021-9123-512345678944.",
        "md5 9e107d9d372bb6826bd81d3542a419d6",
        "trace:4BF92F3577B34DA6",
        "since 2026-09-16T09:00:14.123456Z, 2026-09-16T09:00",
        "order 123456",
        "of 2026-09-16, 09:00-17:00",
    ],
)
def test_ids_and_instants_stay_in_texts(text: str) -> None:
    """A uuid, hexadecimal text and an ISO 8601 instant hold as many digits, and are no numbers."""
    assert text == masked_text(text, NOBODY)


def test_a_number_of_ones_own_is_masked_in_an_id() -> None:
    """Where the record itself says that it is a number, it is one."""
    assert "9e107d9d********12b26bd81d3542a4" == masked_text("9e107d9d7700900412b26bd81d3542a4", Own([NUMBER]))


def test_a_name_of_a_custom_value_in_short_groups() -> None:
    """A number is masked in the name of a custom value as in the value, however it is cut."""
    assert {"** ** ** ** *1 2": "** ** ** ** *1 2"} == shown(one(custom={"07 70 09 00 41 2": "07 70 09 00 41 2"}))[
        "custom"
    ]


def test_hidden_fields_are_empty() -> None:
    """Each field that may be hidden gets the value it has in a record that says nothing of it."""
    nothing = json.loads(codec.encode(one()))
    cdr = one(
        end_reason="timeout",
        wrapup_code="1",
        wrapup_description="One",
        recording="r",
        external_account_id="e",
        events=(Event(type="hold", at=from_ms(0)),),
        legs=(Leg(started_at=from_ms(0)),),
        tags=("t",),
        comment="c",
        linked_uuids=("01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b45",),
        score=1.0,
        custom={"a": 1},
        source="s",
    )
    seen = json.loads(codec.encode(cdr))
    assert [name for name in SENSITIVE if seen[name] == nothing[name]] == []
    for name in SENSITIVE:
        assert shown(cdr, Mask(hidden=(name,))) == seen | {name: nothing[name]}
    assert shown(cdr, Mask(numbers=True, hidden=SENSITIVE)) == nothing


def test_the_recordings_of_legs_are_hidden_with_the_records_own() -> None:
    """Whoever may not hear the one hears none of the others; the rest of the leg is shown."""
    leg = Leg(started_at=from_ms(0), channel="PJSIP/201-1", recording="in-201.wav")
    cdr = one(recording="in-201.wav", legs=(leg,))
    hidden = shown(cdr, Mask(hidden=("recording",)))
    assert (None, [{"started_at": "1970-01-01T00:00:00Z", "channel": "PJSIP/201-1"}]) == (
        hidden["recording"],
        hidden["legs"],
    )
    assert "in-201.wav" == shown(cdr, Mask(hidden=("score",)))["legs"][0]["recording"]


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


@settings(max_examples=examples(150), deadline=None)
@given(batches(1, 8), st.sets(st.sampled_from(SENSITIVE)), st.booleans())
def test_any_records(records: list[Cdr], hidden: set[str], numbers: bool) -> None:
    """Of any records: every one stays, in its place, every member that the mask does not concern is the same, hidden
    ones are empty, and numbers are masked."""
    mask = Mask(numbers=numbers, match=False, hidden=tuple(sorted(hidden)))
    json_ = b"\n".join(map(codec.encode, records))
    before, after = (_LINES(each) for each in (json_, masked(json_, mask)))
    empty = json.loads(codec.encode(one()))
    concerned = {
        *("from", "to", "did", "agent", "queue", "campaign", "teams", "wrapup_description", "events", "legs"),
        *("recording", "external_account_id", "tags", "comment", "custom", "source"),
    }
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        assert list(was) == list(now)
        for name in was:
            if name in hidden:
                assert empty[name] == now[name]
            elif name == "legs" and "recording" in hidden:
                assert all("recording" not in leg for leg in now[name])
            elif not numbers or name not in concerned:
                assert was[name] == now[name]
        if numbers:
            for name in ("from", "to", "did"):
                assert now[name] == (None if was[name] is None else masked_number(was[name]))


NUMBERS = st.sampled_from(
    (
        *(NUMBER, "20261", "bob", "private", "12025550143", "1001", "99", "5", "1234567", "0441234567", "anonymous"),
        'a"b',
        "al\\ice",
        "\u00c91234567",
    )
)
PIECES = st.sampled_from(
    (
        *FORMS,
        "7700900412",
        "1001",
        "anonymous",
        "1234567",
        "123",
        "5",
        '"',
        "\\",
        "\u00e9",
        "\u00a0",
        "\u0664",
        "\n",
        "20261",
        "private",
        "9e107d9d372bb6826bd81d3542a419d6",
        "2026-09-16T09:00",
        *" -()/.+ax,",
        "1 2 3 4 5 6 7",
        "SO-486085",
        ',"number":"',
        '},"source":',
        'a"b',
        "al\\ice",
        "\u00c91234567",
    )
)
TEXTS = st.lists(PIECES, min_size=1, max_size=4).map("".join)
VALUES = TEXTS | st.sampled_from((int(NUMBER), 1234567, 5, float(NUMBER), 1e7, 1e16, 1.5, 0.1234567, None, True, ""))
EVENTS = st.builds(
    Event,
    type=st.just("dtmf"),
    at=st.just(from_ms(0)),
    number=st.none() | NUMBERS,
    detail=st.none() | TEXTS,
    agent=st.none() | TEXTS,
    queue=st.none() | TEXTS,
)
LEGS = st.builds(
    Leg,
    started_at=st.just(from_ms(0)),
    from_=st.none() | NUMBERS,
    to=st.none() | NUMBERS,
    channel=st.none() | TEXTS,
    agent=st.none() | TEXTS,
    recording=st.none() | TEXTS,
)
WRITTEN = st.fixed_dictionaries(
    {"from_": st.none() | NUMBERS, "to": st.none() | NUMBERS, "did": st.none() | NUMBERS},
    optional={
        "events": st.lists(EVENTS, max_size=2).map(tuple),
        "legs": st.lists(LEGS, max_size=1).map(tuple),
        "agent": TEXTS,
        "queue": TEXTS,
        "campaign": TEXTS,
        "wrapup_description": TEXTS,
        "recording": TEXTS,
        "teams": st.builds(Team, id=st.just(7), name=st.none() | TEXTS).map(lambda team: (team,)),
        "source": TEXTS.map(lambda text: text[:64]),
        "external_account_id": TEXTS.map(lambda text: text[:64]),
        "tags": st.lists(TEXTS, max_size=2).map(tuple),
        "comment": TEXTS,
        "custom": st.dictionaries(TEXTS, VALUES, max_size=2),
    },
)


def naive(record: dict[str, Any]) -> dict[str, Any]:
    """A record with every text masked, whether it can hold a number or not."""
    parties = [leg.get(name) for leg in record["legs"] for name in ("from", "to")]
    numbers = [record["from"], record["to"], record["did"], *parties, *(e.get("number") for e in record["events"])]
    own = Own(number for number in numbers if number)

    def value(given: Any) -> Any:
        if given is None or isinstance(given, bool):
            return given
        text = masked_text(str(given), own)
        return given if text == str(given) else text

    def changed(part: dict[str, Any], change: Callable[[str], str], *names: str) -> None:
        part.update({name: change(part[name]) for name in names if part.get(name)})

    found = dict(record)
    changed(found, masked_number, "from", "to", "did")
    changed(found, masked_label, "agent", "queue", "campaign", "wrapup_description", "source")
    changed(found, lambda name: masked_name(name, own), "recording")
    changed(found, lambda id_: masked_id(id_, own), "external_account_id")
    changed(found, lambda text: masked_text(text, own), "comment")
    found["tags"] = [masked_text(tag, own) for tag in record["tags"]]
    found["custom"] = {masked_text(name, own): value(given) for name, given in record["custom"].items()}
    for part in (*found["events"], *found["legs"]):
        changed(part, masked_number, "number", "from", "to")
        changed(part, masked_label, "agent", "queue", "to_agent")
        changed(part, lambda name: masked_name(name, own), "channel", "recording")
        changed(part, lambda text: masked_text(text, own), "detail")
    for team in found["teams"]:
        changed(team, masked_label, "name")
    return found


NOTHING: dict[str, Any] = {"from_": None, "to": None, "did": None}


SEPARATORS = st.sampled_from(
    (*" -./()_,:;|~*#+\t\n", "\u00a0", "\u2011", "\u2013", "\u200b", "\u00b7", "a", "x", " - ", "---", "\u20e3", "")
)
ZEROS = (0x30, 0x660, 0x966, 0xFF10, 0x1D7CE)
CHINESE = "\u3007\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"
DIGITS = st.sampled_from((*("".join(map(chr, range(zero, zero + 10))) for zero in ZEROS), CHINESE))


@st.composite
def written_as(draw: Any, number: str) -> str:
    """A number, or a part of it, as somebody may write it: with a prefix, in another script, with signs between."""
    begin = draw(st.integers(0, 2))
    part = number[begin : draw(st.integers(begin + 5, max(begin + 5, len(number))))]
    digits, between = draw(DIGITS), draw(SEPARATORS)
    return str(
        draw(st.sampled_from(("", "0", "00", "+", "9", "sip:", "x", "20260703")))
        + between.join(digits[int(digit)] for digit in part)
        + draw(st.sampled_from(("", "1", "001", "@trunk", "-00000001;2", "x", "20260703-090014.wav")))
    )


@st.composite
def hiding(draw: st.DrawFn) -> Cdr:
    """A record with numbers, and these again in whatever text it may hold."""
    numbers = ("447700900412", "12025550143", "20261", "123456", "390612345678", "+44 7700 900 499", "alice77009")
    held = draw(st.permutations(numbers))
    shown_as = st.sampled_from(("{}", "+{}", "{}@trunk", "sip:+{}@10.0.0.1:5060", "{}"))

    def number(at: int) -> str:
        return str(draw(shown_as)).format(held[at])[:64]

    def text() -> str:
        which = ["".join(filter(str.isdigit, held[draw(st.integers(0, 5))])) for _ in range(draw(st.integers(0, 2)))]
        return str(draw(SEPARATORS)).join(["of", *(draw(written_as(each)) for each in which)])

    when = from_ms(0)
    return one(
        from_=number(0),
        to=number(1),
        did=number(2),
        agent=text(),
        queue=text(),
        campaign=text(),
        wrapup_description=text(),
        teams=(Team(id=7, name=text()),),
        source=text()[:64],
        comment=text(),
        tags=(text()[:64],),
        recording=text(),
        external_account_id=text()[:64],
        custom={text()[:64]: text()},
        events=(Event(type="hold", at=when, number=number(3), detail=text(), agent=text(), queue=text()),),
        legs=(
            Leg(started_at=when, from_=number(4), to=number(5), channel=text(), peer_channel=text()),
            Leg(started_at=when, application=text()),
            Leg(started_at=when, agent=text(), disposition=text()[:64]),
        ),
    )


@settings(max_examples=examples(150), deadline=None)
@given(hiding())
def test_no_text_tells_a_masked_number(cdr: Cdr) -> None:
    """In every text that a source gave, no digits, of whatever script and however separated, have five consecutive ones
    of a number of the record."""
    found = shown(cdr)
    assert [] == told(cdr, found)
    kept = json.loads(codec.encode(cdr))
    assert [kept[name] for name in UNTOUCHED] == [found[name] for name in UNTOUCHED]


UNTOUCHED = ("uuid", "type", "disposition", "started_at", "timestamp", "duration", "duration_s", "agent_id", "flags")


@pytest.mark.slow
def test_every_digit_that_there_is() -> None:
    """Every sign to which Unicode gives a value from 0 to 9 is a digit, and no other."""
    signs = list(map(chr, range(sys.maxunicode + 1)))
    assert list(map(plain_digits, signs)) == list(map(digits_of, signs))
    digits = [sign for sign in signs if digits_of(sign)]
    assert [] == [char for char in digits if not set("\0" + masked_text(char * 9, NOBODY)) & {"*"}]


def test_what_is_left_makes_no_number_again() -> None:
    """What is seen of one number, what stands between and what is seen of the next would be pieces of a third."""
    cdr = one(from_="12345678901", to="99999123456", comment="12 34567 345 99999 12345678901 44 99")
    assert [] == told(cdr, shown(cdr))


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(WRITTEN, min_size=1, max_size=3))
@example([NOTHING | {"events": (Event(type="dtmf", at=from_ms(0), detail=f'"{NUMBER}'),)}])
@example([NOTHING | {"custom": {"blanks": "07700 900 412"}}])
@example([NOTHING | {"custom": {"nbsp": "07700\u00a0900\u00a0412"}}])
@example([NOTHING | {"from_": 'a"b', "custom": {"of": 'a"b'}}])
@example([NOTHING | {"from_": "1001", "custom": {"of": "PJSIP/1001-2"}}])
@example([NOTHING | {"events": (Event(type="hold", at=from_ms(0), agent='"' + NUMBER),)}])
@example(
    [NOTHING | {"events": (Event(type="hold", at=from_ms(0), queue="\u0661\u0662\u0663\u0664\u0665\u0666\u0667"),)}]
)
@example([NOTHING | {"events": (Event(type="hold", at=from_ms(0), agent="1 2 3x4 5 6 7"),)}])
@example([NOTHING | {"custom": {"1": 1}, "legs": (Leg(started_at=from_ms(0), from_="20261"),)}])
@example([NOTHING | {"from_": "20261", "custom": {"of": "PJSIP/20261-2"}}])
@example([NOTHING | {"from_": "private", "custom": {"of": "a private line"}}])
def test_texts_that_are_not_read_hold_no_number(written: list[dict[str, Any]]) -> None:
    """To the byte the same as if every text were read and masked."""
    json_ = b"\n".join(codec.encode(one(**members)) for members in written)
    expected = [naive(record) for record in _LINES(json_)]
    assert b"\n".join(map(msgspec.json.encode, expected)) == masked(json_, MASKED)


BRACKETS = ("]", "}", '"', "\\", ',"', '],"legs":[', '}, "source":', ',"from":"1",', "},{", '"tags":[],"comment":null')
PLACES: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda text: {"agent": text},
    lambda text: {"wrapup_code": text[:64]},
    lambda text: {"comment": text},
    lambda text: {"tags": (text[:64],)},
    lambda text: {"recording": text},
    lambda text: {"external_account_id": text[:64]},
    lambda text: {"custom": {text: "x", "from": text, "source": NUMBER}},
    lambda text: {"events": (Event(type="hold", at=from_ms(0), detail=text, number=NUMBER),)},
    lambda text: {"legs": (Leg(started_at=from_ms(0), from_=NUMBER, channel=text, recording=text),)},
    lambda text: {"source": text[:64]},
    lambda text: {"from_": text[:64]},
)


@pytest.mark.parametrize("bracket", BRACKETS)
def test_records_found_by_their_shape_are_what_they_seem(bracket: str) -> None:
    """What ends a text, a list or custom values may be a part of any text: to the byte the same as if all were read, in
    a page where such a record stands between others."""
    plain = one(from_=NUMBER, comment=f"of {NUMBER}")
    for place in PLACES:
        for text in (bracket, f"{NUMBER}{bracket}", f"{bracket}{NUMBER}{bracket}12025550143"):
            json_ = b"\n".join(map(codec.encode, (plain, one(**{"from_": NUMBER} | place(text)), plain)))
            expected = [naive(record) for record in _LINES(json_)]
            assert b"\n".join(map(msgspec.json.encode, expected)) == masked(json_, MASKED)


def test_most_records_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a contact centre has the parties alone are numbers, and these are masked where they stand."""
    read: list[bytes] = []

    def noted(records: Sequence[bytes]) -> list[bytes]:
        read.extend(records)
        return list(records)

    monkeypatch.setattr(masking, "_read_and_masked", noted)
    masked(b"\n".join(codec.encode(canonical(cdr)) for cdr in interactions(1_000, seed=5)), MASKED)
    assert 10 > len(read)


@example(b"")
@given(st.just(b""))
def test_no_records(nothing: bytes) -> None:
    """An empty page stays one."""
    assert b"" == masked(nothing, MASKED)


def test_pages_larger_than_what_is_taken_at_once() -> None:
    """A page of many records is each record masked by itself, joined."""
    parts = [codec.encode(canonical(cdr)) for cdr in interactions(500, seed=5)]
    mask = Mask(numbers=True, match=True, hidden=("comment",))
    assert b"\n".join(masked(part, mask) for part in parts) == masked(b"\n".join(parts), mask)
