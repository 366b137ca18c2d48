"""What an entry of the audit holds, what it never holds, and that a chain shows every change."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.access.masking import NOBODY, masked_text
from calldex.audit.chain import (
    ENTRY_LIMIT,
    ITSELF,
    MOST_SHOWN,
    Actor,
    Entry,
    Fault,
    Link,
    Row,
    entry,
    faults,
    searched,
    written,
)
from calldex.errors import BadParameters
from calldex.records.fields import FILTER, FILTERS, Op
from calldex.search.query import PARAMETERS, PageRequest

GENESIS = Link(0, bytes(32))
ANA = Actor(actor="ana@example.com", account_id=1, user_id=2, credential="cdx_abcd", address="192.0.2.1")
UUID = "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"


def row(n: int, text: bytes, hash_: bytes) -> Row:
    """An entry as it is kept."""
    found = msgspec.json.decode(text, type=Entry)
    return Row(n, found.at_ms, found.account_id, found.actor, found.action, text.decode(), hash_)


def chain(length: int, base: Link = GENESIS) -> tuple[list[Row], Link]:
    """A chain behind a base, and its head. Where entries were trimmed, one more tells of it."""
    rows, last = [], base
    trimmed = [entry(Actor(actor=ITSELF), "audit_trimmed", target=str(base))] if base.n else []
    for made in (*trimmed, *(entry(ANA, "search", rows=number) for number in range(length))):
        text = written(msgspec.structs.replace(made, n=last.n + 1, at_ms=1_000 + last.n))
        last = last.next(text)
        rows.append(row(last.n, text, last.hash))
    return rows, last


def altered(kept: Row, **changes: object) -> Row:
    """An entry whose JSON somebody changed, and the columns beside it likewise."""
    entry_ = msgspec.structs.replace(msgspec.json.decode(kept.entry, type=Entry), **changes)
    return row(kept.n, msgspec.json.encode(entry_), kept.hash)


def where(rows: Sequence[Row], head: Link, base: Link = GENESIS, expected: Link | None = None) -> list[int]:
    """The numbers of what is wrong."""
    return [fault.n for fault in faults(base, head, rows, expected)]


# --- entries ----------------------------------------------------------------------------------------------------------


def test_what_an_entry_says() -> None:
    """Who, from where, what, to whom, about how many; what is not known is left out."""
    made = entry(
        ANA, "key_created", target="bob@example.com", detail={"key": "cdx_1234", "days": 5}, rows=0, status=201
    )
    assert {
        "actor": "ana@example.com",
        "account_id": 1,
        "user_id": 2,
        "credential": "cdx_abcd",
        "address": "192.0.2.1",
        "action": "key_created",
        "target": "bob@example.com",
        "detail": {"key": "cdx_1234", "days": 5},
        "rows": 0,
        "status": 201,
    } == msgspec.json.decode(written(made))


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=())), min_size=6, max_size=6),
    detail=st.dictionaries(st.text(), st.text() | st.integers(0, 2**62), max_size=40),
    times=st.integers(1, 500),
)
def test_an_entry_is_bounded_and_one_line(texts: list[str], detail: dict[str, str | int], times: int) -> None:
    """Whatever it is made of, it is JSON of at most 4,000 bytes, reads back as it was, and every text of it can be
    shown."""
    actor, credential, address, request_id, target, value = (text * times for text in texts)
    who = Actor(actor=actor, credential=credential, address=address, request_id=request_id, user_id=2**53)
    made = entry(who, "sign_in_failed", target=target, detail={**detail, "value": value})
    text = written(msgspec.structs.replace(made, n=2**53, at_ms=2**53))
    assert len(text) <= ENTRY_LIMIT
    found = msgspec.json.decode(text, type=Entry)
    assert (made.actor, made.target) == (found.actor, found.target)
    assert len(found.actor) <= 254
    assert all(part.isprintable() for part in (found.actor, found.credential, found.target, *map(str, found.detail)))


def test_what_is_cut_says_so() -> None:
    """A text that is too long ends with its length; details that do not fit are left out by name."""
    assert "x" * 230 + "... (1000 characters)" == entry(ANA, "search", target="x" * 1000).target
    found = msgspec.json.decode(written(entry(ANA, "group_changed", detail={f"d{i}": "y" * 400 for i in range(20)})))
    assert {"left out": ", ".join(f"d{i}" for i in range(20))} == found["detail"]


# --- searches ---------------------------------------------------------------------------------------------------------


def test_values_that_are_noted() -> None:
    """Words, ids, lengths, days, pages and uuids are noted as they were given, each filter under its own name."""
    given_ = {
        "type": "inbound,Callback",
        "agent_ids": "1201, 7",
        "min_duration": "30",
        "start_date": "2026-01-31",
        "end_date": "2026-02-01T00:00:00+01:00",
        "timezone": "Europe/London",
        "per_page": "100",
        "uuid": UUID,
    }
    assert {**given_, "type": "inbound,Callback", "agent_ids": "1201,7"} == searched(given_.items(), PageRequest)


def test_values_that_are_not_noted() -> None:
    """Of numbers, wrap-up codes, tokens, and what is not what it should be, only the length is noted."""
    given_ = {
        "cli": "+44 7700 900412",
        "wildcard_number": "9460",
        "from": "anonymous",
        "to": "447700900412,1",
        "wrapup_code_ids": "0100",
        "search_token": "secret",
        "type": "447700900412",
        "uuid": "447700900412",
        "timezone": "447700900412",
        "start_date": "447700900412",
        "per_page": "447700900412",
        "nonsense": "447700900412",
        "disposition": " ",
    }
    assert {
        "cli": "12 digits",
        "wildcard_number": "4 digits",
        "from": "9 characters",
        "to": "14 characters",
        "wrapup_codes": "4 digits",
        "search_token": "6 characters",
        "type": "12 digits",
        "uuid": "12 digits",
        "timezone": "12 digits",
        "start_date": "12 digits",
        "per_page": "12 digits",
    } == searched(given_.items(), PageRequest)


def test_of_many_values_some_are_noted() -> None:
    """The first of them, and how many there are."""
    ids = [str(number) for number in range(1, 101)]
    assert {"agent_ids": ",".join(ids[:MOST_SHOWN]) + ", ... (100 values)"} == searched(
        [("agent_ids", ",".join(ids))], PageRequest
    )


IDS_AND_LENGTHS = {
    name
    for filter_ in FILTERS
    if filter_.op in (Op.ANY_ID, Op.ANY_OF_SET, Op.LONGER, Op.SHORTER, Op.KNOWN_LONGER, Op.KNOWN_SHORTER)
    for name in (filter_.name, *filter_.aliases)
}
NAMES = sorted({*FILTER, *(parameter.name for parameter in PARAMETERS)} - IDS_AND_LENGTHS)


@given(name=st.sampled_from(NAMES), number=st.text("0123456789", min_size=7, max_size=15), mark=st.sampled_from("+ -,"))
def test_no_number_is_noted(name: str, number: str, mark: str) -> None:
    """A telephone number is not in an entry, in whichever parameter it is sent, but in those that hold ids or lengths
    alone."""
    for value in (number, mark + number, f"{number},{UUID}", f"{number}{mark}{number}"):
        assert number not in str(searched([(name, value)], PageRequest))


@pytest.mark.parametrize("number", ["447700900412", "+44 7700 900 412", "0044-7700-900412", "\u0664" * 9])
def test_no_number_gets_in_by_another_door(number: str) -> None:
    """Whatever a text of an entry is, codes in paths, names of groups, ids, e-mail addresses that are none: no
    telephone number can be read in it. Ids that are listed, days and networks stay."""
    made = entry(
        Actor(actor=f"{number}@example.com", account_id=1),
        "name_changed",
        target=f"wrapup_code {number}",
        detail={
            "agent_ids": f"301,302,303,{number}",
            "groups": f"Line {number}",
            "from": "2026-01-31T08:00:00+02:00",
            "networks": '["198.51.100.0/24"]',
        },
    )
    for text in (made.actor, made.target, *map(str, made.detail.values())):
        assert 5 > len(re.sub(r"\D", "", text)) or number not in text
    assert number not in str(made)
    assert made.detail["agent_ids"] == f"301,302,303,{masked_text(number, NOBODY)}"
    assert ("2026-01-31T08:00:00+02:00", '["198.51.100.0/24"]') == (made.detail["from"], made.detail["networks"])


# --- the chain --------------------------------------------------------------------------------------------------------


@given(length=st.integers(0, 6), start=st.sampled_from([GENESIS, Link(41, b"\x07" * 32)]))
def test_a_chain_as_it_was_written_is_whole(length: int, start: Link) -> None:
    """Nothing is wrong with it, wherever it begins, nor with what was noted of any of its entries."""
    rows, head = chain(length, start)
    assert [] == where(rows, head, start)
    for link in (start, *(Link(each.n, each.hash) for each in rows)):
        assert [] == where(rows, head, start, expected=link)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_an_altered_entry_is_found(at: int) -> None:
    """At its number, while its hash is as it was; one later, if that was made anew."""
    rows, head = chain(5)
    forged = altered(rows[at], actor="bob@example.com")
    assert [at + 1] == where([*rows[:at], forged, *rows[at + 1 :]], head)
    before = Link(at, rows[at - 1].hash) if at else GENESIS
    anew = msgspec.structs.replace(forged, hash=before.next(forged.entry.encode()).hash)
    assert [min(at + 2, 5)] == where([*rows[:at], anew, *rows[at + 1 :]], head)


@pytest.mark.parametrize("column", ["at_ms", "account_id", "actor", "action"])
def test_an_altered_column_is_found(column: str) -> None:
    """What entries are looked for by is what was written."""
    rows, head = chain(3)
    other: object = 7 if isinstance(getattr(rows[1], column), int) else "other"
    assert [2] == where([rows[0], msgspec.structs.replace(rows[1], **{column: other}), rows[2]], head)


@pytest.mark.parametrize(
    ("gone", "first"), [({1}, 1), ({1, 2}, 1), ({3}, 3), ({2, 3, 4}, 2), ({5}, 5), ({4, 5}, 4), ({1, 2, 3, 4, 5}, 1)]
)
def test_a_missing_entry_is_found(gone: set[int], first: int) -> None:
    """At the beginning, in the middle, at the end, and when all are gone: once, at the first that is missing."""
    rows, head = chain(5)
    assert [first] == where([each for each in rows if each.n not in gone], head)
    told = next(iter(faults(GENESIS, head, [each for each in rows if each.n not in gone]))).what
    assert ("is missing" if len(gone) == 1 else f"is missing, and all to {max(gone)}") == told


def test_a_gap_closed_by_counting_anew_is_found() -> None:
    """Entries behind one that was taken out, under smaller numbers, do not follow, and one is missing at the end."""
    rows, head = chain(4)
    moved = [msgspec.structs.replace(each, n=each.n - 1) for each in rows[2:]]
    assert {2, 3, 4} == set(where([rows[0], *moved], head))


def test_an_inserted_entry_is_found() -> None:
    """In the middle, where all behind it were moved; behind the head; before the base; and under a number twice."""
    rows, head = chain(4)
    forged = altered(rows[3], rows=99, n=5)
    moved = [msgspec.structs.replace(each, n=each.n + 1) for each in rows[2:]]
    assert 3 in where([*rows[:2], altered(rows[2], rows=99), *moved], head)
    assert [5] == where([*rows, msgspec.structs.replace(forged, n=5)], head)
    later, end = chain(2, Link(41, bytes(32)))
    assert [41] == where([msgspec.structs.replace(later[0], n=41), *later], end, Link(41, bytes(32)))
    assert [2] == where([rows[0], rows[1], rows[1], *rows[2:]], head)


def test_swapped_entries_are_found() -> None:
    """Two entries under each other's numbers, their hashes with them, and two that come in another order."""
    rows, head = chain(4)
    swapped = [msgspec.structs.replace(rows[2], n=2), msgspec.structs.replace(rows[1], n=3)]
    assert {2, 3, 4} == set(where([rows[0], *swapped, rows[3]], head))
    assert [2, 2] == where([rows[0], rows[2], rows[1], rows[3]], head)


def test_a_changed_head_or_base_is_found() -> None:
    """Another hash at either end does not fit the entries."""
    rows, head = chain(3)
    assert [3] == where(rows, Link(3, b"\x01" * 32))
    assert [1] == where(rows, head, Link(0, b"\x01" * 32))
    assert [0] == where([], Link(0, b"\x01" * 32))


def test_a_chain_made_again_is_found_by_what_was_noted() -> None:
    """Whoever makes all of it again leaves no fault, but for a link that was noted elsewhere."""
    rows, head = chain(5)
    again, last = [], GENESIS
    for each in rows:
        text = altered(each, actor="nobody@example.com").entry.encode()
        last = last.next(text)
        again.append(row(last.n, text, last.hash))
    assert [] == where(again, last)
    for noted in (head, Link(3, rows[2].hash)):
        found = list(faults(GENESIS, last, again, noted))
        assert [Fault(noted.n, "has another hash than is expected: the chain was made again")] == found


@pytest.mark.parametrize(("n", "base"), [(9, 0), (3, 5)])
def test_what_is_not_kept_cannot_be_compared(n: int, base: int) -> None:
    """A link before the base, or beyond the head, is told; one that was cut off is a fault as any."""
    rows, head = chain(3, Link(base, bytes(32)))
    told = list(faults(Link(base, bytes(32)), head, rows, Link(n, bytes(32))))
    assert [n] == [fault.n for fault in told]
    assert f"the entries that are kept are {base + 1} to {head.n}" in told[0].what


@given(
    length=st.integers(1, 6),
    data=st.data(),
)
def test_every_change_of_one_byte_is_found(length: int, data: st.DataObject) -> None:
    """Whichever bit of whichever entry or hash is changed, something is wrong at that entry or the one behind it."""
    rows, head = chain(length)
    at = data.draw(st.integers(0, length - 1))
    name = data.draw(st.sampled_from(["entry", "hash"]))
    content = bytearray(rows[at].entry.encode() if name == "entry" else rows[at].hash)
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.sampled_from([1, 2, 4]))
    changed: object = content.decode("ascii", "replace") if name == "entry" else bytes(content)
    forged = msgspec.structs.replace(rows[at], **{name: changed})
    assert {at + 1, at + 2} & set(where([*rows[:at], forged, *rows[at + 1 :]], head))


@given(st.builds(Link, st.integers(0, 10**18 - 1), st.binary(min_size=32, max_size=32)))
def test_a_link_is_read_as_it_is_shown(link: Link) -> None:
    """The text of a link is that link."""
    assert link == Link.parse(f" {link}\n")


@pytest.mark.parametrize("text", ["", "5", "5:", ":" + "0" * 64, "5:" + "0" * 63, "-5:" + "0" * 64, "5:" + "g" * 64])
def test_what_is_no_link_is_refused(text: str) -> None:
    """With what is valid."""
    with pytest.raises(BadParameters, match="N:HASH"):
        Link.parse(text)
