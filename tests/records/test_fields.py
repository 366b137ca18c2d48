"""The table holds together: fields and records, columns and filters, words and codes."""

from __future__ import annotations

from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.records.codec import Record
from calldex.records.fields import (
    COLUMN,
    COLUMNS,
    FIELDS,
    FILTER,
    FILTERS,
    PREFIX_DIGITS,
    Kind,
    Op,
    id_set,
    prefix_key,
    prefix_range,
    text_set,
)
from calldex.records.record import Cdr
from calldex.search.query import PARAMETERS
from tests.strategies import ANY_NUMBER

DIGITS = st.text("0123456789", max_size=24)
CONTRACT = {"uuid", "timestamp", "type", "from", "to", "duration", "disposition", "agent", "agent_id"}

FITS = {
    Op.BEGINS: {Kind.PHONE},
    Op.CONTAINS: {Kind.PHONE},
    Op.IS: {Kind.PHONE},
    Op.ANY_WORD: {Kind.CODE},
    Op.ANY_ID: {Kind.ID},
    Op.ANY_OF_SET: {Kind.ID_SET},
    Op.ANY_TEXT: {Kind.WORD},
    Op.ANY_TEXT_OF_SET: {Kind.TEXT_SET, Kind.PASSED},
    Op.ANY_BIT: {Kind.BITS},
    Op.LONGER: {Kind.NUMBER},
    Op.SHORTER: {Kind.NUMBER},
    Op.KNOWN_LONGER: {Kind.SECONDS},
    Op.KNOWN_SHORTER: {Kind.SECONDS},
    Op.YES: {Kind.YES_NO},
    Op.LACKS: {Kind.PHONE},
}
"""The kinds of columns that an operator can be used on."""


def test_fields_are_those_of_a_record() -> None:
    """Each member of a record's JSON is described, once, and nothing else; the contract's are marked."""
    served = [field.encode_name for field in msgspec.structs.fields(Record)]
    assert sorted(served) == sorted(field.name for field in FIELDS)
    assert len(served) == len(set(served))
    assert CONTRACT == {field.name for field in FIELDS if field.contract}
    assert [] == [field.name for field in FIELDS if not field.description.endswith(".")]


def test_every_column_is_filtered_by() -> None:
    """A column that no filter asks for is kept for statistics alone, as all lengths are but one; every filter but those
    by what is no part of a record, its uuid, its version and what others tell of it, has its column."""
    asked = {filter_.column for filter_ in FILTERS if filter_.op not in {Op.ANY_UUID, Op.SINCE, Op.CALLED_BACK}}
    measured = {column.name for column in COLUMNS if column.kind in {Kind.SECONDS, Kind.ANSWER}}
    assert asked | measured == set(COLUMN)
    assert {"wait_s"} == asked & measured
    assert len(COLUMNS) == len(COLUMN)


def test_columns_are_made_of_attributes() -> None:
    """Each column comes from an attribute that records have; vocabularies are where they are needed."""
    attributes = get_type_hints(Cdr)
    assert [] == [column.name for column in COLUMNS if column.attribute not in attributes]
    assert {Kind.CODE, Kind.BITS} == {column.kind for column in COLUMNS if column.words}
    assert [] == [column.name for column in COLUMNS if column.kind in {Kind.CODE, Kind.BITS} and not column.words]


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda filter_: filter_.name)
def test_filters_fit_their_columns(filter_: object) -> None:
    """Operator and kind go together, and words are those of the column, in its order."""
    found = next(each for each in FILTERS if each is filter_)
    if found.op in {Op.ANY_UUID, Op.SINCE, Op.CALLED_BACK}:
        assert found.column in {"uuid", "written_ms", "callback"}
        return
    column = COLUMN[found.column]
    assert column.kind in FITS[found.op]
    assert column.words == found.words
    assert set(found.words) >= {word for words in found.word_aliases.values() for word in words}
    assert all(word in found.word_aliases.get(word, (word,)) for word in found.words)


def test_vocabularies_fit() -> None:
    """A code fits one byte, a mask 63 bits; no word is there twice, in whatever letter case."""
    for column in COLUMNS:
        assert len(column.words) <= {Kind.CODE: 255, Kind.BITS: 62}.get(column.kind, 0)
        assert len(column.words) == len({word.lower() for word in column.words})


def test_names_are_unique() -> None:
    """No two parameters share a name, aliases counted."""
    names = [name for f in FILTERS for name in (f.name, *f.aliases)] + [parameter.name for parameter in PARAMETERS]
    assert len(names) == len(set(names))
    assert {name for f in FILTERS for name in (f.name, *f.aliases)} == set(FILTER)


@given(DIGITS, st.integers(0, 24))
def test_prefixes_of_the_number_itself(number: str, length: int) -> None:
    """A number lies in the range of each of its beginnings."""
    found = prefix_range(number[:length])
    if found is not None:
        assert found[0] <= prefix_key(number) <= found[1]


@given(DIGITS, st.one_of(DIGITS, st.text("01", max_size=3)))
def test_prefix_ranges(number: str, prefix: str) -> None:
    """The key of a number lies in the range of a prefix exactly if it begins with it; longer prefixes have no range."""
    found = prefix_range(prefix)
    assert (found is None) == (not prefix or len(prefix) > PREFIX_DIGITS)
    if found is not None:
        assert number.startswith(prefix) == (found[0] <= prefix_key(number) <= found[1])


@given(ANY_NUMBER, st.text("0123456789", min_size=1, max_size=PREFIX_DIGITS))
def test_prefix_ranges_of_any_number(number: str, prefix: str) -> None:
    """So it is for numbers that are none, or only begin with digits; and keys fit a store's integer."""
    low, high = prefix_range(prefix) or (0, 0)
    assert number.startswith(prefix) == (low <= prefix_key(number) <= high)
    assert 0 <= prefix_key(number) < 2**63


@pytest.mark.parametrize("prefix", ["", "a", "1a", "+44", "\u0664", "\u00b2", "1" * 19])
def test_prefixes_without_a_range(prefix: str) -> None:
    """Where keys cannot tell, they do not."""
    assert prefix_range(prefix) is None


SEPARATED = st.text("ab\x1e\x1f01", min_size=1, max_size=5)


@given(st.lists(SEPARATED, min_size=1, max_size=4), SEPARATED)
def test_text_sets(texts: list[str], other: str) -> None:
    """So it is with texts, whatever they hold."""
    assert (other in texts) == (text_set((other,)) in text_set(tuple(texts)))


@given(st.lists(st.integers(1, 2**53 - 1), min_size=1), st.integers(1, 2**53 - 1))
def test_id_sets(ids: list[int], other: int) -> None:
    """An id is in a set exactly if the set's text contains the text of the set of it alone."""
    text = id_set(tuple(ids))
    assert sorted(set(ids)) == [int(item) for item in text.strip(",").split(",")]
    assert all(id_set((each,)) in text for each in ids)
    assert (other in ids) == (id_set((other,)) in text)
