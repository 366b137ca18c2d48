"""The words of replies: exactly the type of each record changes, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.records import codec
from calldex.records.fields import FILTER
from calldex.records.record import INTERACTION_TYPES, Cdr, InteractionType
from calldex.records.vocabulary import SERVED_AS, Vocabulary, in_words
from tests.strategies import cdrs

SEEN = {"inbound", "outbound", "campaign", "callback", "queue-callback", "scheduled-callback"}
"""The words that clients in real use keep."""
TRAPS = st.dictionaries(
    st.sampled_from(("uuid", "type", "disposition", 'a}\n{"uuid":"')),
    st.sampled_from(("dialer", "scheduled_callback", '"type":"dialer"', '}\n{"uuid":"', "0" * 36)),
)


@settings(deadline=None)
@given(
    records=st.lists(st.builds(lambda cdr, custom: msgspec.structs.replace(cdr, custom=custom), cdrs(), TRAPS)),
    vocabulary=st.sampled_from(("documented", "compatible")),
)
def test_only_types_change(records: list[Cdr], vocabulary: Vocabulary) -> None:
    """Of any records, whatever stands in their texts, those types change that have another word, to that word."""
    joined = b"\n".join(map(codec.encode, records))
    expected: list[dict[str, Any]] = list(map(json.loads, joined.splitlines()))
    for record in expected:
        record["type"] = SERVED_AS[vocabulary].get(record["type"], record["type"])
    assert expected == list(map(json.loads, in_words(joined, vocabulary).splitlines()))
    assert joined == in_words(joined, None)


@pytest.mark.parametrize("kind", INTERACTION_TYPES)
@pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
def test_a_word_that_is_served_finds_its_records(kind: InteractionType, vocabulary: Vocabulary) -> None:
    """Whatever word a reply has for a kind, the filter finds that kind by it; in compatible words it finds no other."""
    served = SERVED_AS[vocabulary].get(kind, kind)
    filter_ = FILTER["type"]
    found = filter_.word_aliases.get(served, (served,))
    assert kind in found
    assert vocabulary == "documented" or found == (kind,)


def test_the_words_of_real_replies() -> None:
    """In compatible words, every kind of call but an internal one has a word that real clients keep."""
    telephone: tuple[InteractionType, ...] = (
        "inbound",
        "outbound",
        "dialer",
        "click_to_call",
        "queue_callback",
        "scheduled_callback",
    )
    assert SEEN == {SERVED_AS["compatible"].get(kind, kind) for kind in telephone}


def test_a_scheduled_callback_keeps_its_meaning() -> None:
    """It is read as a kind of its own, and read again from a compatible reply it is the same."""
    line = (
        b'{"uuid":"01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44","type":"scheduled-callback","disposition":"answered",'
        b'"timestamp":"2026-01-01T00:00:00Z","duration":"00:00:01"}'
    )
    found = codec.decode(line, "line 1")
    assert isinstance(found, Cdr)
    assert "scheduled_callback" == found.type
    served = codec.encode(found)
    assert found == codec.decode(in_words(served, "compatible"), "line 1")
    assert b'"type":"queue_callback"' in in_words(served, "documented")


def test_records_leave_by_one_door() -> None:
    """Nothing but `access.masking.served` lays a mask or words over records, so no surface can forget the one or the
    other."""
    package = Path(__file__).parents[2] / "src" / "calldex"
    told = re.compile(r"import [^\n]*\b(masked|in_words)\b")
    found = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if told.search(path.read_text())]
    assert ["access/masking.py"] == found
