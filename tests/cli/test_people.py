"""Accounts, users and keys."""

from __future__ import annotations

from pathlib import Path

import msgspec

from calldex.directory import Directory
from calldex.node import DIRECTORY_FILE
from tests.cli.tools import calldex


def listed(*words: object, data: Path) -> list[dict[str, object]]:
    """What a command lists as JSON."""
    result = calldex(*words, "--json", data=data)
    assert 0 == result.exit_code, result.output
    return msgspec.json.decode(result.stdout, type=list[dict[str, object]])


def test_a_key_is_printed_alone(people: Path) -> None:
    """Standard output has the key and nothing else, and it is a key of that user and scope."""
    printed = calldex("keys", "create", "ana@example.com", "--scope", "ingest", data=people).stdout
    with Directory.open(people / DIRECTORY_FILE) as directory:
        owner = directory.find_key(printed.removesuffix("\n"))
    assert owner is not None
    assert ("ana@example.com", "ingest") == (owner.email, owner.key_scope)


def test_read_is_what_a_key_is_for(people: Path) -> None:
    """Without a scope a key reads."""
    calldex("keys", "create", "ana@example.com", data=people)
    assert ["read"] == [key["scope"] for key in listed("keys", "list", data=people)]


def test_a_key_is_revoked_by_its_prefix(people: Path) -> None:
    """The beginning that the list shows is enough; the list then tells when."""
    calldex("keys", "create", "ana@example.com", data=people)
    (key,) = listed("keys", "list", "--user", "ana@example.com", data=people)
    assert key["revoked_at"] is None
    revoked = calldex("keys", "revoke", key["prefix"], data=people)
    assert (0, "Revoked the read key") == (revoked.exit_code, revoked.stderr[:20])
    assert listed("keys", "list", data=people)[0]["revoked_at"] is not None


def test_a_user_is_disabled_and_enabled(people: Path) -> None:
    """Both are listed."""
    for word, disabled in (("disable", True), ("enable", False)):
        assert 0 == calldex("users", word, "ana@example.com", data=people).exit_code
        assert [disabled] == [user["disabled_at"] is not None for user in listed("users", "list", data=people)]


def test_users_of_an_account(people: Path) -> None:
    """A user is of his account, in its zone if he has none."""
    assert 0 == calldex("accounts", "add", "north", "--timezone", "Europe/Oslo", data=people).exit_code
    words = ("--name", "Bo", "--role", "analyst", "--account", "north", "--extension", "12")
    assert 0 == calldex("users", "add", "bo@example.com", *words, data=people).exit_code
    (user,) = listed("users", "list", "--account", "north", data=people)
    assert ("bo@example.com", "12", "Europe/Oslo") == (user["email"], user["extension"], user["effective_timezone"])
    assert ["main", "north"] == [account["name"] for account in listed("accounts", "list", data=people)]


def test_what_is_wrong_is_told_by_option(people: Path) -> None:
    """All of it at once, each by the name that was typed, with what is valid; exit code 2."""
    words = ("--name", "Bo", "--role", "admn", "--timezone", "Europe/Lodnon")
    result = calldex("users", "add", "bo@example", *words, data=people)
    assert (2, "") == (result.exit_code, result.stdout)
    assert "--role 'admn': there is no such role, did you mean 'admin'?" in result.stderr
    assert "--timezone 'Europe/Lodnon': is not a time zone, did you mean 'Europe/London'?" in result.stderr


def test_tables_name_everybody(people: Path) -> None:
    """What is no JSON is a table with the same."""
    assert "ana@example.com" in calldex("users", "list", data=people).stdout
    assert "main" in calldex("accounts", "list", data=people).stdout


def test_unknown_user(people: Path) -> None:
    """Exit code 1, and the nearest name."""
    result = calldex("keys", "create", "anna@example.com", data=people)
    assert (1, "") == (result.exit_code, result.stdout)
    assert "did you mean 'ana@example.com'?" in result.stderr


def test_a_mistyped_directory_is_not_made(tmp_path: Path) -> None:
    """Commands that only look refuse a directory without data, and leave none behind; exit code 5."""
    result = calldex("keys", "list", data=tmp_path / "dtaa")
    assert 5 == result.exit_code
    assert "there is no data directory at" in result.stderr
    assert not (tmp_path / "dtaa").exists()
