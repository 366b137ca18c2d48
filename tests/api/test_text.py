"""Halves of characters, which no text that is written again can hold: refused wherever they come in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from calldex.errors import BadSettings
from calldex.records.fields import FILTER
from calldex.search.query import PARAMETERS
from calldex.settings import resolve
from tests.api.conftest import Site
from tests.cli.tools import calldex

PATHS = (
    *("/api/v2/cdr", "/api/v2/cdr/agents", "/api/v2/cdr/wrapup_codes", "/api/v3/cdr/users", "/api/admin/v1/audit"),
    *("/api/v2/cdr/exports", "/api/v2/cdr/exports/x", "/recordings/x.mp3", "/recordings/x/peaks", "/api/v2/views"),
)
HALVES = (rb'"\ud800"', rb'"44\udc00"', rb'["1","\udfff"]', b'"\xed\xa0\x80"', rb'"\ude00\ud83d"')


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", [*FILTER, *(parameter.name for parameter in PARAMETERS), "unknown"])
def test_a_parameter_of_a_body_holds_whole_characters(site: Site, name: str, half: bytes) -> None:
    """Half of a surrogate pair in the value of any parameter is 400, with the parameter's name."""
    reply = asked(site, "/api/v2/cdr", b'{"%s":%s}' % (name.encode(), half))
    assert (400, [name]) == (reply[0], [problem["parameter"] for problem in reply[1]["problems"]])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [rb'{"\ud800":"1"}', rb'{"name":"\ud800"}'])
def test_every_route_refuses_halves(site: Site, path: str, body: bytes) -> None:
    """The same for every route that takes a body with a GET, and for the name of a parameter."""
    status, reply = asked(site, path, body)
    assert 400 == status, reply


def test_both_halves_are_a_character(site: Site) -> None:
    """A character that JSON escapes as two halves is one character."""
    assert 200 == asked(site, "/api/v2/cdr", rb'{"cli":"\ud83d\ude00"}')[0]


@pytest.mark.parametrize("query", ["cli=%ED%A0%80", "%ED%A0%80=1"])
def test_a_query_string_holds_whole_characters(site: Site, query: str) -> None:
    """The bytes of such a half in a query string are not UTF-8."""
    assert 400 == site.api.get(f"/api/v2/cdr?{query}", site.keys["admin"]).status_code


@pytest.mark.parametrize(
    "words", [("search", "--cli", "\udcff"), ("users", "add", "\udcff", "--name", "A", "--role", "admin")]
)
def test_a_command_holds_whole_characters(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A byte that is not UTF-8 in the words of a command is a mistake of usage, not a fault."""
    data = tmp_path / "data"
    assert 0 == calldex("accounts", "add", "other", data=data).exit_code
    told = calldex(*words, data=data)
    assert 2 == told.exit_code, told.output
    assert "not UTF-8" in told.output


def test_a_setting_holds_whole_characters() -> None:
    """A byte that is not UTF-8 in a setting that is text is refused by the setting's name; a path may have one."""
    with pytest.raises(BadSettings, match="CALLDEX_HOST"):
        resolve(None, {}, {"CALLDEX_HOST": os.fsdecode(b"\xff")})
    assert Path("/\udcff") == resolve(None, {}, {"CALLDEX_DATA": "/\udcff"})[0].data


def asked(site: Site, path: str, body: bytes) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Status and reply of a GET with a body."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {site.keys['admin']}"}
    reply = site.api.request("GET", path, content=body, headers=headers)
    return reply.status_code, reply.json()
