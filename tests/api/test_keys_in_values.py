"""What looks like a key in a value: it is taken as it is, and told nowhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from calldex.cli.process import _Stderr
from calldex.errors import NotFound
from calldex.records.record import Cdr
from calldex.texts import KEY_MARK, without_keys
from calldex.transport.requests import query_pairs
from tests.api.conftest import Site, newest_first, uuids_of, write

KEY = "cdx_" + "aB3-_" * 8 + "xyz"
TEXTS = st.lists(st.sampled_from((KEY_MARK, KEY, "cdx_1", "a", "%", "+", "&", "=", " ", "\u00e9")), max_size=4).map(
    "".join
)


@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_every_value_arrives_as_it_was_sent(pairs: list[tuple[str, str]]) -> None:
    """Names and values of parameters are what the client wrote, whatever stands in them."""
    raw = urlencode(pairs).encode()
    assert pairs == query_pairs(Request({"type": "http", "query_string": raw, "headers": []}))


def test_every_token_works(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in which the begin of a key happens to stand continues its walk as every other one does."""
    sealer = site.node._pager._sealer  # noqa: SLF001 - what tokens are
    first = site.cdr(per_page=50).json()
    token = sealer.unseal(first["search_token"])
    found = next(
        text
        for total in range(token.total, token.total + 2_000_000)
        if KEY_MARK in (text := sealer.seal(msgspec.structs.replace(token, total=total)))
    )
    for params in ({"search_token": found}, {"search_token": found, "page": 2}):
        assert newest_first(site.main)[50:100] == uuids_of(site.cdr(per_page=50, **params))
    reply = site.api.request(
        "GET", "/api/v2/cdr", params={"key": site.keys["admin"], "search_token": found, "per_page": 50}
    )
    assert newest_first(site.main)[50:100] == uuids_of(reply)


@pytest.mark.parametrize("code", ["cdx_1", "my cdx_code", KEY])
def test_a_value_that_looks_like_a_key_is_searched_for(empty: Site, site: Site, code: str) -> None:
    """A wrap-up code that holds the begin of a key, or a whole one, is found by its filter."""
    record: Cdr = msgspec.structs.replace(site.main[0], wrapup_code=code)
    write(empty.node, "main", [record, site.main[1]])
    assert [record.uuid] == empty.uuids(wrapup_codes=code)


@pytest.mark.parametrize(
    "params",
    [
        {"type": KEY},
        {KEY: "1"},
        {"type": f"inbound,{KEY}"},
        {"start_date": KEY},
        {"search_token": KEY},
        {"agent_ids": f"1{KEY}"},
        {"type": "x" * 60 + KEY},
    ],
)
def test_no_error_tells_a_key(site: Site, params: dict[str, Any]) -> None:
    """Where a key stands in the wrong place, the error names the place and nothing of the key but its prefix."""
    reply = site.cdr(**params)
    assert 400 == reply.status_code
    assert KEY[:9] not in reply.text


def test_nothing_tells_more_than_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors and the log hide all keys; the prefix by which people tell theirs apart, and shorter texts, stay."""
    assert "there is no (a key), (a key)" == NotFound(f"there is no {KEY}, {KEY[:20]}").message
    assert "cdx_aB3- cdx_ cdx_1" == without_keys("cdx_aB3- cdx_ cdx_1")
    _Stderr().msg(f"request key={KEY[:8]} failed: {KEY!r}")
    assert f"request key={KEY[:8]} failed: '(a key)'\n" == capsys.readouterr().err
