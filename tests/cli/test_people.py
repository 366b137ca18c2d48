"""Accounts, users and keys."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from calldex.datadir import DIRECTORY_FILE
from calldex.directory import Directory
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
    assert ("ana@example.com", ("ingest",)) == (owner.email, owner.scopes)


def test_read_is_what_a_key_is_for(people: Path) -> None:
    """Without a scope a key reads."""
    calldex("keys", "create", "ana@example.com", data=people)
    assert [["read"]] == [key["scopes"] for key in listed("keys", "list", data=people)]


def test_a_key_for_some_things_some_time_and_some_networks(people: Path) -> None:
    """All of it is kept; a day is the last on which it works, an instant is the end."""
    words = ("--scope", "read", "--scope", "manage", "--network", "10.0.0.0/8", "--network", "2001:db8::/32")
    for expires in ("2099-01-31", "2099-02-01T01:00:00+01:00"):
        made = calldex("keys", "create", "ana@example.com", *words, "--expires", expires, data=people)
        assert 0 == made.exit_code, made.output
    assert [(["read", "manage"], ["10.0.0.0/8", "2001:db8::/32"], "2099-02-01T00:00:00Z")] * 2 == [
        (key["scopes"], key["networks"], key["expires_at"]) for key in listed("keys", "list", data=people)
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scope", "raed"), "--scope 'raed': is not a value, did you mean 'read'?"),
        (("--expires", "2001-01-31"), "--expires '980985600000': must be in the future"),
        (("--expires", "tomorrow"), "--expires 'tomorrow': is no day"),
        (("--expires", "2099-01-31T10:00:00"), "is no day: it has no offset"),
        (("--network", "10.0.0.1/8"), "--network '10.0.0.1/8': is not a network"),
    ],
)
def test_a_key_that_cannot_be(people: Path, words: tuple[str, ...], message: str) -> None:
    """It is told by option, and no key is made; exit code 2."""
    result = calldex("keys", "create", "ana@example.com", *words, data=people)
    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert [] == listed("keys", "list", data=people)


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
    calldex("users", "add", "bo@example.com", "--name", "Bo", "--role", "admin", data=people)
    for word, disabled in (("disable", True), ("enable", False)):
        assert 0 == calldex("users", word, "ana@example.com", data=people).exit_code
        users = listed("users", "list", data=people)
        assert [disabled, False] == [user["disabled_at"] is not None for user in users]


def test_users_of_an_account(people: Path) -> None:
    """A user is of their account, in its zone if they have none."""
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


def test_the_last_admin_stays(people: Path) -> None:
    """They can be neither disabled, removed nor demoted; exit code 1, and the account is named."""
    for words in (("disable",), ("remove",), ("set", "--role", "agent")):
        result = calldex("users", words[0], "ana@example.com", *words[1:], data=people)
        assert (1, "Error: the account main would have no active ") == (result.exit_code, result.stderr[:45])


def test_a_user_is_set_and_removed(people: Path) -> None:
    """What is not given stays, an empty text takes away."""
    described = ("--role", "agent", "--extension", "12", "--skill", "French", "--skill", "Billing", "--agent-id", "5")
    calldex("users", "add", "bo@example.com", "--name", "Bo", *described, data=people)
    for words in (
        ("--name", "Bo Lee", "--email", "Bo.Lee@example.com", "--skill", "German"),
        ("--extension", "", "--timezone", "Europe/Oslo", "--role", ""),
    ):
        email = "bo@example.com" if "--name" in words else "bo.lee@example.com"
        assert 0 == calldex("users", "set", email, *words, data=people).exit_code
    shown = calldex("users", "show", "bo.lee@example.com", "--json", data=people)
    user = msgspec.json.decode(shown.stdout)
    assert ("Bo Lee", None, None, ["German"], 5, "Europe/Oslo") == tuple(
        user[name] for name in ("name", "role", "extension", "skills", "agent_id", "timezone")
    )
    assert "Bo Lee" in calldex("users", "show", "bo.lee@example.com", data=people).stdout
    assert 0 == calldex("users", "remove", "bo.lee@example.com", data=people).exit_code
    assert ["ana@example.com"] == [user["email"] for user in listed("users", "list", data=people)]


def test_users_of_a_file(people: Path, tmp_path: Path) -> None:
    """A file, or standard input, is taken whole; one with wrong lines is refused whole, with all of them."""
    file = tmp_path / "people.csv"
    file.write_text("email,name,role\nbo@example.com,Bo,agent\nana@example.com,Ana R.,admin\n")
    assert "Users added: 1, changed: 1, unchanged: 0.\n" == calldex("users", "import", file, data=people).stderr
    taken = calldex("users", "import", "-", data=people, stdin=file.read_bytes())
    assert "Users added: 0, changed: 0, unchanged: 2.\n" == taken.stderr
    wrong = b"email,name,role\nx@example.com,X,boss\ny@example.com,,\nz@example.com,Z,\n"
    refused = calldex("users", "import", "-", data=people, stdin=wrong)
    assert 2 == refused.exit_code
    assert ["Error: line 2 'boss': role", "line 3: name"] == [
        line.rpartition(":")[0].rpartition(":")[0][:26] for line in refused.stderr.splitlines()
    ]
    assert 2 == len(listed("users", "list", data=people))


def test_an_account_is_set(people: Path) -> None:
    """Its zone, its sensitive fields, and what its agents see."""
    words = ("--sensitive", "tags", "--sensitive", "comment", "--no-agents-see-own", "--timezone", "Europe/Oslo")
    assert 0 == calldex("accounts", "set", "main", *words, data=people).exit_code
    assert 0 == calldex("accounts", "set", "main", "--timezone", "", data=people).exit_code
    (account,) = listed("accounts", "list", data=people)
    assert (None, ["comment", "tags"], False) == (
        account["timezone"],
        account["sensitive"],
        account["agents_see_own"],
    )
    assert "comment, tags" in calldex("accounts", "list", data=people).stdout
    refused = calldex("accounts", "set", "main", "--sensitive", "coment", data=people)
    assert (2, True) == (refused.exit_code, "--sensitive 'coment'" in refused.stderr)
