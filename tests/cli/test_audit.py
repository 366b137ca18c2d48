"""`calldex audit`: what the owner of a data directory did, shown, exported and verified."""

from __future__ import annotations

import csv
import io
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.tools import calldex, jsonl, serving


def listed(data: Path, *words: object) -> list[dict[str, Any]]:
    """The entries that `audit list` shows."""
    result = calldex("audit", "list", "--json", *words, data=data)
    assert 0 == result.exit_code, result.output
    return msgspec.json.decode(result.stdout, type=list[dict[str, Any]])


def sql(data: Path, statement: str) -> None:
    """What somebody does to the database who may write it."""
    with closing(sqlite3.connect(data / "directory.db")) as connection, connection:
        connection.execute(statement)
    connection.close()


def test_what_the_owner_does_is_noted(people: Path) -> None:
    """Every change of who may what, imports, searches, and reading the audit; no key, no number."""
    calldex("accounts", "add", "north", data=people)
    key = calldex("keys", "create", "ana@example.com", data=people).stdout.strip()
    calldex("keys", "revoke", key, data=people)
    calldex("users", "add", "bob@example.com", "--name", "Bob", "--role", "agent", data=people)
    calldex("users", "disable", "bob@example.com", data=people)
    calldex("sources", "add", "pbx", "--format", "asterisk", "--set", "zone=UTC", data=people)
    calldex("sources", "set", "pbx", "--set", "zone=Europe/London", data=people)
    calldex("sources", "remove", "pbx", data=people)
    calldex("import", "--format", "jsonl", "-", data=people, stdin=jsonl(30) + b"nonsense\n")
    calldex("search", "--cli", "447700900412", data=people)
    calldex("audit", "list", data=people)
    found = listed(people)[::-1]
    assert [
        ("user_added", "ana@example.com", None),
        ("account_added", "north", None),
        ("key_created", "ana@example.com", None),
        ("key_revoked", "ana@example.com", None),
        ("user_added", "bob@example.com", None),
        ("user_changed", "bob@example.com", None),
        *((f"source_{done}", "pbx", None) for done in ("added", "changed", "removed")),
        ("ingest", "jsonl", 30),
        ("search", "", 0),
        ("audit_read", "", 11),
    ] == [(each["action"], each["target"], each["rows"]) for each in found]
    assert {"owner"} == {each["actor"] for each in found}
    assert key[:8] == found[2]["detail"]["key"]
    assert {"accepted": 30, "rejected": 1} == {name: found[9]["detail"][name] for name in ("accepted", "rejected")}
    assert "12 digits" == found[10]["detail"]["cli"]
    assert not [text for text in (key, "447700900412") if text in str(found)]


def test_a_refused_command_is_not_noted(people: Path) -> None:
    """What failed changed nothing."""
    assert 1 == calldex("users", "add", "ana@example.com", "--name", "Ana", "--role", "admin", data=people).exit_code
    assert ["user_added"] == [each["action"] for each in listed(people)]


def test_filters_and_pages(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what fits, and as much as is asked for, however many pages that takes."""
    monkeypatch.setattr(sys.modules["calldex.cli.audit"], "AT_ONCE", 2)
    for number in range(6):
        calldex("accounts", "add", f"a{number}", data=people)
    assert ["a5", "a4", "a3", "a2", "a1"] == [each["target"] for each in listed(people, "--limit", 5)]
    assert ["a3"] == [each["target"] for each in listed(people, "--target", "a3")]
    assert ["user_added"] == [each["action"] for each in listed(people, "--action", "user_added")]
    assert [] == listed(people, "--actor", "ana@example.com")
    assert [] == listed(people, "--to", "2020-01-01T00:00:00Z")
    assert ["a2"] == [
        each["target"] for each in listed(people, "--account", "a2", "--from", "2020-01-01T00:00:00Z", "--limit", 1)
    ]
    refused = calldex("audit", "list", "--from", "monday", data=people)
    assert (2, True) == (refused.exit_code, "--from 'monday': is not an instant" in refused.stderr)


def test_a_table_for_people(people: Path) -> None:
    """With the time, who and what."""
    shown = calldex("audit", "list", data=people).stdout
    assert all(word in shown for word in ("owner", "user_added", "ana@example.com", "role: admin"))


def test_export(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries that fit, under one line of headings, in a new file of the owner's alone."""
    monkeypatch.setattr(sys.modules["calldex.cli.audit"], "AT_ONCE", 2)
    for number in range(4):
        calldex("accounts", "add", f"a{number}", data=people)
    file = tmp_path / "audit.csv"
    result = calldex("audit", "export", file, "--action", "account_added", data=people)
    assert (0, True) == (result.exit_code, "Wrote 4 entries" in result.stderr)
    assert file.read_bytes().startswith(b"\xef\xbb\xbfn,at,"), "as spreadsheets take it"
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"))))
    assert ["a3", "a2", "a1", "a0"] == [row["target"] for row in rows]
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    again = calldex("audit", "export", file, data=people)
    assert (5, "Error: ") == (again.exit_code, again.stderr[:7])
    assert rows == list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"))))


def test_nothing_half_is_left_of_an_export(people: Path, tmp_path: Path) -> None:
    """An export that fails leaves no file."""
    sql(people, "UPDATE audit SET entry = '{'")
    file = tmp_path / "audit.csv"
    result = calldex("audit", "export", file, data=people)
    assert (1, True, False) == (result.exit_code, "entry 1 of the audit" in result.stderr, file.exists())


def test_verify(people: Path) -> None:
    """Whole: exit code 0; changed: exit code 1 and where."""
    calldex("accounts", "add", "north", data=people)
    result = calldex("audit", "verify", data=people)
    assert (0, "entries 1 to 2: all as they were written\n") == (result.exit_code, result.stdout)
    sql(people, "UPDATE audit SET entry = replace(entry, 'north', 'south') WHERE n = 2")
    result = calldex("audit", "verify", data=people)
    assert 1 == result.exit_code
    assert "entry 2 does not follow entry 1" in result.stdout
    assert "1 faults" in result.stdout
    assert "audit: entry 2 does not follow" in calldex("check", data=people).stdout
    found = msgspec.json.decode(calldex("audit", "verify", "--json", data=people).stdout)
    assert [2] == [fault["n"] for fault in found["faults"]]


def test_verify_against_a_head_that_was_noted(people: Path) -> None:
    """What `audit head` printed once is expected of the chain for ever; a chain made again is not it."""
    noted = calldex("audit", "head", data=people).stdout
    calldex("accounts", "add", "north", data=people)
    assert 0 == calldex("audit", "verify", "--expect", noted, data=people).exit_code
    sql(people, "DELETE FROM audit")
    sql(people, "UPDATE audit_chain SET n = 0, hash = base_hash")
    for name in ("south", "west"):
        calldex("accounts", "add", name, data=people)
    assert 0 == calldex("audit", "verify", data=people).exit_code
    result = calldex("audit", "verify", "--expect", noted, data=people)
    assert (1, True) == (result.exit_code, "entry 1 has another hash" in result.stdout)
    refused = calldex("audit", "verify", "--expect", "1", data=people)
    assert (2, True) == (refused.exit_code, "--expect '1': is not a link" in refused.stderr)


def test_an_audit_without_entries(people: Path) -> None:
    """Is whole."""
    sql(people, "DELETE FROM audit")
    sql(people, "UPDATE audit_chain SET n = 0, hash = base_hash")
    assert "no entries: all as they were written\n" == calldex("audit", "verify", data=people).stdout


@pytest.mark.slow
def test_through_a_server(people: Path) -> None:
    """While one serves, commands go through it; one chain, and its head is in the log at the end."""
    with serving("serve", data=people):
        calldex("accounts", "add", "north", data=people)
        assert ["account_added", "user_added"] == [each["action"] for each in listed(people)]
        assert 0 == calldex("audit", "verify", data=people).exit_code
        assert calldex("audit", "head", data=people).stdout.startswith("3:")
