"""The search token: what is sealed comes back, everything else is refused."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.errors import BadToken
from calldex.search.token import KEY_BYTES, Sealer, Token
from calldex.store import Position

KEY = bytes(range(KEY_BYTES))
SEALER = Sealer(KEY, "this store")
TOKEN = Token(
    account_id=1,
    filters=b"f" * 16,
    scope=b"s" * 16,
    as_of=123_456,
    began_ms=1_780_000_000_000,
    total=310,
    page=3,
    passed=300,
    after=Position(1_779_999_999_999, "01980c1e-6f3a-8d21-9a3b-5c1f0e7d2b44"),
)
WHOLE = st.integers(0, 2**62)
TOKENS = st.builds(
    Token,
    account_id=WHOLE,
    filters=st.binary(min_size=16, max_size=16),
    scope=st.binary(min_size=16, max_size=16),
    as_of=WHOLE,
    began_ms=WHOLE,
    total=WHOLE,
    page=WHOLE,
    passed=WHOLE,
    after=st.builds(Position, st.integers(-(2**62), 2**62), st.uuids().map(str)),
)


@given(TOKENS)
def test_what_is_sealed_comes_back(token: Token) -> None:
    """Any token; its text is safe in a URL and short enough for the parameter; the same place is the same text."""
    text = SEALER.seal(token)
    assert token == SEALER.unseal(text)
    assert text == SEALER.seal(token)
    assert re.fullmatch("[A-Za-z0-9_-]{1,300}", text)


@given(TOKENS, TOKENS)
def test_different_places_are_different_texts(one: Token, other: Token) -> None:
    """Two tokens look the same only if they are."""
    assert (one == other) == (SEALER.seal(one) == SEALER.seal(other))


def refused(text: str, sealer: Sealer = SEALER) -> None:
    """The text is no token of that sealer."""
    with pytest.raises(BadToken, match="not one of ours, or was changed"):
        sealer.unseal(text)


def test_any_changed_bit_is_refused() -> None:
    """Every bit of every byte of a token counts."""
    sealed = base64.urlsafe_b64decode(SEALER.seal(TOKEN) + "==")
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            refused(base64.urlsafe_b64encode(changed).rstrip(b"=").decode())


def test_any_changed_letter_is_refused() -> None:
    """So does every letter of its text, and where it ends: there is one spelling."""
    text = SEALER.seal(TOKEN)
    for place, letter in enumerate(text):
        for other in "AQgw_-9+/= %\u00e9\x00":
            if other != letter:
                refused(text[:place] + other + text[place + 1 :])
        refused(text[:place])
        refused(text[:place] + text[place + 1 :])
    for more in ("A", "AA", "AAAA", "=", "==", "\n", " ", text):
        refused(text + more)
        refused(more + text)


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_any_text_is_refused(text: str) -> None:
    """Whatever is sent as a token."""
    refused(text)


def test_tokens_of_other_stores_are_refused() -> None:
    """A token opens with the key and for the store it was made with."""
    refused(SEALER.seal(TOKEN), Sealer(KEY, "that store"))
    refused(SEALER.seal(TOKEN), Sealer(KEY[::-1], "this store"))
    assert TOKEN == Sealer(KEY, "this store").unseal(SEALER.seal(TOKEN))


def test_a_token_tells_nothing() -> None:
    """Nothing of what it holds can be read in it."""
    sealed = base64.urlsafe_b64decode(SEALER.seal(TOKEN) + "==")
    assert TOKEN.filters not in sealed
    assert TOKEN.after.uuid.encode() not in sealed
