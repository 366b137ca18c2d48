"""Content codings and entity tags, as RFC 9110 has them."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from calldex.transport.replies import MIN_CODED, coded, coding_for, tag_matches


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip ; q=0.2 , zstd ; q=0.1", "gzip"),
        ("gzip;q=0, zstd;q=0", "identity"),
        ("gzip;q=0.5, identity;q=1", "identity"),
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("*", "zstd"),
        ("*;q=0", "identity"),
        ("zstd;q=0, *", "gzip"),
        ("br, deflate", "identity"),
        (";;,,=", "identity"),
        ("gzip;q=nonsense", "identity"),
    ],
)
def test_the_preferred_coding_is_chosen(accept: str, expected: str) -> None:
    """Weights decide; of equals zstd comes before gzip; identity is taken when nothing else is liked better."""
    assert expected == coding_for(accept)


@given(st.text())
def test_any_accept_encoding_gives_a_coding(accept: str) -> None:
    """Whatever a client sends, there is a coding for it."""
    assert coding_for(accept) in ("identity", "gzip", "zstd")


@given(st.binary(max_size=3 * MIN_CODED), st.sampled_from(["identity", "gzip", "zstd"]))
def test_a_coded_body_is_the_body(body: bytes, accept: str) -> None:
    """A body comes out of its coding as it went in; a small one is not coded at all."""
    content, coding = coded(body, coding_for(accept))
    assert ("identity" if len(body) <= MIN_CODED else accept) == coding
    decoders: dict[str, Callable[[bytes], bytes]] = {
        "identity": bytes,
        "gzip": gzip.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
    }
    assert body == decoders[coding](content)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (None, False),
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ('"ab"', False),
    ],
)
def test_a_tag_is_found(sent: str | None, expected: bool) -> None:
    """A tag matches itself, weak or in a list, and the star matches all."""
    assert expected == tag_matches(sent, "a")
