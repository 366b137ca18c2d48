"""What a server writes for the one who runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import structlog

from calldex.cli import process
from calldex.settings import Settings, resolve

REQUEST = {
    "address": "192.0.2.7",
    "method": "GET",
    "route": "/api/v2/cdr",
    "status": 200,
    "ms": 12.3,
    "bytes": 9,
    "key": "cdx_abcd",
    "error": None,
    "request_id": "1",
}


def told(
    capsys: pytest.CaptureFixture[str], form: Literal["auto", "console", "json"], serving: bool = True
) -> list[str]:
    """The lines of a request, of one that was refused, and of something else, at every level."""
    process.prepare(Settings(log_format=form), resolve(None, {}, {})[1], serving=serving)
    log = structlog.get_logger("test")
    log.info("request", **REQUEST)
    log.info("request", **{**REQUEST, "status": 400, "error": "bad_parameters"})
    log.debug("request", **REQUEST)
    log.warning("columns_wait", reason="a disk that is full")  # and with a warning, all that waits is written
    return [line for line in capsys.readouterr().err.splitlines() if "starting" not in line]


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a request: when, the client's address, method, route, status, milliseconds; of a refused one the error."""
    first, second, third = told(capsys, "console")
    assert "192.0.2.7 GET /api/v2/cdr 200 12.3 ms" == first.partition("Z ")[2]
    assert "192.0.2.7 GET /api/v2/cdr 400 12.3 ms bad_parameters" == second.partition("Z ")[2]
    assert "a disk that is full" in third


def test_json_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, where standard error is no terminal: one object a line, without what there is not."""
    first, second, _ = map(json.loads, told(capsys, "auto"))
    assert ("192.0.2.7", "request", False) == (first["address"], first["event"], "error" in first)
    assert "bad_parameters" == second["error"]


def test_json_is_ascii_whatever_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What a terminal or a file takes is nothing that the log knows; half a character is in names of files."""
    process.prepare(Settings(log_format="json"), resolve(None, {}, {})[1], serving=True)
    log = structlog.get_logger("test")
    for said in ("Zoë", "a\udc80"):
        log.warning("columns_wait", reason=said, kind=Path)
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.isascii()
        told_of = json.loads(line)
        assert (said, repr(Path)) == (told_of["reason"], told_of["kind"])


def test_a_command_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """What engines log is no business of who asked for records."""
    assert [] == told(capsys, "auto", serving=False)


def test_a_server_says_first_that_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    """With its version, directory and process, before anything is opened."""
    process.prepare(Settings(log_format="json"), resolve(None, {}, {})[1], serving=True)
    structlog.get_logger("test").warning("now")
    first = json.loads(capsys.readouterr().err.splitlines()[0])
    assert ("starting", "data", True) == (first["event"], first["data"], first["process"] > 0)
