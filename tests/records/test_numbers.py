"""How numbers are written where people read them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.records.numbers import all_written, written, written_in


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("441632960961", "+44 1632 960961"),
        ("12025550123", "+1 202-555-0123"),
        ("34912345678", "+34 912 34 56 78"),
        ("4930901820", "+49 30 901820"),
        ("3906698", None),  # too short for Italy: an extension of somebody
        ("201", None),
        ("44*****61", None),
        ("anonymous", None),
        ("999999999999", None),
        ("0441632960961", None),
        ("", None),
    ],
)
def test_a_number_is_written_as_its_country_does(number: str, expected: str | None) -> None:
    """And what is no whole number stays as it is."""
    assert expected == written(number)


@given(number=st.from_regex(r"[0-9*+a]{1,16}", fullmatch=True))
def test_no_digit_is_added_lost_or_moved(number: str) -> None:
    """Without what stands between them, the digits are those of the record."""
    shown = written(number)
    assert shown is None or f"+{number}" == "".join(each for each in shown if each.isdigit() or each == "+")


def test_all_numbers_of_records_are_found() -> None:
    """Of the call, its events and its legs; each once, and none that is not there."""
    record = {
        "from": "441632960001",
        "to": "201",
        "did": None,
        "events": [{"type": "transfer", "number": "441632960002"}, {"type": "answered"}],
        "legs": [{"from": "441632960003", "to": "441632960001", "channel": "PJSIP/441632960009-1"}],
        "comment": "441632960004",
    }
    records = b",".join([msgspec.json.encode(record)] * 2)
    assert {f"44163296000{n}": f"+44 1632 96000{n}" for n in (1, 2, 3)} == written_in(records)
    assert {} == written_in(b"")
    assert {} == all_written([None, "x"])
