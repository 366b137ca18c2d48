"""`calldex exports`: schedules and what is made in the background, at the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from calldex.directory import Directory
from tests.cli.tools import SECONDS, calldex, jsonl, serving


@pytest.fixture
def placed(people: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory whose operator named places."""
    monkeypatch.setenv("CALLDEX_EXPORT_TARGETS", "share=/srv/exports,lake=s3://bucket/raw")
    return people


def test_schedules(placed: Path) -> None:
    """They are made, shown, and forgotten."""
    words = ("nightly", "--at", "02:00", "--timezone", "Europe/London", "--target", "lake", "--format", "parquet")
    made = calldex("exports", "schedule", *words, "--type", "inbound", data=placed)
    assert (0, True) == (made.exit_code, "nightly runs next at 20" in made.stderr), made.stderr
    (found,) = json.loads(calldex("exports", "schedules", "--json", data=placed).stdout)
    assert {"format": "parquet", "type": "inbound"} == found["parameters"]
    assert ("lake", "Europe/London", "owner") == (found["target"], found["timezone"], found["made_by"])
    assert "format=parquet type=inbound" in calldex("exports", "schedules", data=placed).stdout
    assert 1 == calldex("exports", "schedule", *words, data=placed).exit_code
    assert 0 == calldex("exports", "unschedule", "nightly", data=placed).exit_code
    assert "There are none" in calldex("exports", "schedules", data=placed).stderr
    assert 1 == calldex("exports", "unschedule", "nightly", data=placed).exit_code


def test_what_cannot_be_planned(placed: Path) -> None:
    """It is told by the names of the options."""
    words = ("--at", "02:00", "--format", "csv")
    wrong = calldex("exports", "schedule", "x", "--target", "elsewhere", *words, data=placed)
    assert (2, True) == (wrong.exit_code, "--target" in wrong.stderr and "share, lake" in wrong.stderr), wrong.stderr
    days = calldex("exports", "schedule", "x", "--target", "lake", "--start-date", "2026-01-01", *words, data=placed)
    assert (2, True) == (days.exit_code, "--start-date" in days.stderr), days.stderr


def test_credentials_are_kept_sealed(placed: Path) -> None:
    """The secret is read from standard input; what is told of it is nothing."""
    words = ("exports", "credentials", "lake", "--access-key-id", "AKIATEST")
    result = calldex(*words, data=placed, stdin=b"a secret of some length\n")
    assert 0 == result.exit_code, result.stderr
    assert "a secret" not in result.output
    assert b"a secret of some length" not in (placed / "directory.db").read_bytes()
    with Directory.open(placed / "directory.db") as directory:
        assert "a secret of some length" in str(directory.bucket_secret("export_target", "lake"))
    assert 2 == calldex("exports", "credentials", "elsewhere", "--access-key-id", "x", data=placed).exit_code


def test_none_is_made_without_a_server(placed: Path) -> None:
    """The list is empty, and what is not there cannot be cancelled."""
    assert [] == json.loads(calldex("exports", "list", "--json", data=placed).stdout)
    assert 1 == calldex("exports", "cancel", "5f0c9a1e77b2d304", data=placed).exit_code


@pytest.mark.slow
def test_a_server_makes_them(people: Path) -> None:
    """By itself, what is asked for over HTTP; its owner sees and deletes it."""
    assert 0 == calldex("import", "-", data=people, stdin=jsonl(2_000)).exit_code
    key = calldex("keys", "create", "ana@example.com", data=people).stdout.strip()
    with serving("serve", data=people) as (base, _):
        headers = {"Authorization": f"Bearer {key}"}
        made = httpx.post(f"{base}/api/v2/cdr/exports", params={"format": "csv"}, headers=headers).json()
        deadline = time.monotonic() + SECONDS
        while (found := httpx.get(f"{base}/api/v2/cdr/exports/{made['id']}", headers=headers).json())["link"] is None:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        streamed = httpx.get(f"{base}/api/v2/cdr/export", params={"format": "csv"}, headers=headers)
        assert streamed.content == httpx.get(base + found["link"]).content
        listed = json.loads(calldex("exports", "list", "--json", data=people).stdout)
        assert [(made["id"], "done", "ana@example.com")] == [(e["id"], e["state"], e["made_by"]) for e in listed]
        assert 0 == calldex("exports", "cancel", made["id"], data=people).exit_code
        assert 404 == httpx.get(base + found["link"]).status_code
