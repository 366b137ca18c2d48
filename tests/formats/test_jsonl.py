"""JSON Lines: what is served comes back, any bytes are records or rejections, and how they are cut does not matter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calldex.formats import LINE_LIMIT, UNFINISHED
from calldex.formats.jsonl import FORMAT, JsonlSettings
from calldex.records import codec
from calldex.records.record import Cdr, Rejected
from tests.examples import examples
from tests.strategies import batches, cdrs

KNOWN = JsonlSettings()
LINE = codec.encode(
    Cdr(
        uuid="01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44",
        type="inbound",
        disposition="answered",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration_s=5,
    )
)


def read(*chunks: bytes) -> list[Cdr | Rejected]:
    """What a stream gives."""
    return list(FORMAT.read(chunks, KNOWN))


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """The same bytes in pieces."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, end in itertools.pairwise(bounds):
        yield data[start:end]


def served(found: list[Cdr | Rejected]) -> list[bytes]:
    """The JSON of records that were read."""
    return [codec.encode(cdr) for cdr in found if isinstance(cdr, Cdr)]


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(cdrs().filter(lambda cdr: cdr.ended_at is None), max_size=4), st.sampled_from((b"\n", b"\r\n", b"\n\n \n"))
)
def test_what_is_served_can_be_imported(records: list[Cdr], end: bytes) -> None:
    """Any records, whatever ends their lines, with or without an end of the last one: equal, and to the byte."""
    lines = [codec.encode(cdr) for cdr in records]
    assert lines == served(read(end.join(lines)))
    assert lines == served(read(end.join(lines) + end))


ANY_LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            (LINE, LINE[:-1], LINE.replace(b"inbound", b"Inbound"), b"{}", b" ", b"\r", b"\xef\xbb\xbf" + LINE)
        ),
        st.dictionaries(st.text(max_size=5), st.integers()).map(lambda each: json.dumps(each).encode()),
    ),
    max_size=6,
).map(b"\n".join)


@settings(deadline=None)
@given(ANY_LINES, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_bytes_in_any_pieces(data: bytes, places: list[int]) -> None:
    """Each line that is not blank is a record or a rejection that holds it and says which line; how the stream is cut
    does not matter."""
    whole = read(data)
    assert whole == read(*cut(data, places))
    assert whole == read(*(data[n : n + 1] for n in range(len(data))))
    lines = [line.removeprefix(b"\xef\xbb\xbf") if n == 0 else line for n, line in enumerate(data.split(b"\n"))]
    wanted = [(f"line {n}", line) for n, line in enumerate(lines, 1) if line.strip(b" \t\r\n\x0b\x0c")]
    assert len(wanted) == len(whole)
    for (where, line), found in zip(wanted, whole, strict=True):
        if isinstance(found, Rejected):
            assert (where, line) == (found.where, found.raw)
            assert found.reason


@settings(max_examples=examples(30), deadline=None)
@given(batches(1, 3), st.data())
def test_changed_bytes(records: list[Cdr], data: st.DataObject) -> None:
    """A damaged line is rejected, or is another record; those beside it are read as if nothing had happened."""
    lines = [codec.encode(cdr) for cdr in records]
    damaged = bytearray(lines[0])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
            st.integers(0, 255).filter(lambda byte: byte != 10)
        )
    found = read(b"\n".join([LINE, bytes(damaged), *lines[1:]]))
    assert LINE == served(found[:1])[0]
    assert lines[1:] == served(found[-len(lines[1:]) :] if lines[1:] else [])


@settings(max_examples=examples(50), deadline=None)
@given(cdrs(), st.data())
def test_a_last_line_that_is_cut(record: Cdr, data: st.DataObject) -> None:
    """A beginning of a record's line is unfinished if the stream ends with it, wherever it is cut, and is no JSON if
    the line ends. What was never going to be a record is not unfinished."""
    line = codec.encode(record)
    part = line[: data.draw(st.integers(1, len(line) - 1))]
    assert [Rejected(UNFINISHED, "line 2", part)] == read(LINE, b"\n", part)[1:]
    (found,) = read(part, b"\n")
    assert isinstance(found, Rejected)
    assert found.reason.startswith("not JSON")
    for junk in (b"nonsense", b"[{", b'{"uuid" 1', b'{"uuid": "\\ud800"}', b"{}", b"12", b"\xff{"):
        (found,) = read(junk)
        assert isinstance(found, Rejected)
        assert found.reason != UNFINISHED


@pytest.mark.parametrize("size", [LINE_LIMIT, LINE_LIMIT + 1, 2 * LINE_LIMIT])
def test_long_lines(size: int) -> None:
    """A line up to the limit is read; a longer one is rejected, of which no more is kept; the next line is read."""
    long = LINE + b" " * (size - len(LINE))
    data = long + b"\n" + LINE
    for chunks in ([data], [data[n : n + 65_536] for n in range(0, len(data), 65_536)]):
        first, second = read(*chunks)
        assert LINE == served([second])[0]
        if size <= LINE_LIMIT:
            assert LINE == served([first])[0]
        else:
            assert Rejected(f"longer than {LINE_LIMIT} bytes", "line 1", long[: LINE_LIMIT + 1]) == first


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        *((LINE, True), (b"\xef\xbb\xbf {", True), (b"\n\n{", True), (LINE + b"\r\n" + LINE[:9], True)),
        *((b"", False), (b"[{", False), (b'"a","b"', False), (b'{\n  "uuid": "a"\n}\n', False)),
    ],
)
def test_sniff(head: bytes, expected: bool) -> None:
    """A file of JSON objects is known by its first one, which ends in its line if the line ends."""
    assert expected is FORMAT.sniff(head)
