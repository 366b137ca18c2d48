"""Passwords, sessions and providers on the command line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from calldex.datadir import DIRECTORY_FILE
from calldex.directory import AuditFilter, Client, Directory
from calldex.errors import Unauthorized
from tests.cli.tools import SECONDS, calldex, command

ANA = "ana@example.com"
PASSWORD = "correct horse battery"
SET = ("--issuer", "https://id.example.com", "--client-id", "calldex", "--claim", "groups")


def signs_in(data: Path, password: str = PASSWORD) -> bool:
    """Whether a password is Ana's."""
    with Directory.open(data / DIRECTORY_FILE) as directory:
        try:
            directory.sign_in(ANA, password, Client(address="192.0.2.1", name="Browser"), time.time_ns() // 1_000_000)
        except Unauthorized:
            return False
    return True


def kept(data: Path) -> bytes:
    """All that is in the directory's files."""
    return b"".join(path.read_bytes() for path in data.glob(f"{DIRECTORY_FILE}*"))


@pytest.mark.slow
def test_a_password_from_standard_input(people: Path) -> None:
    """The first line is the password; it is noted that there is a new one, and the sessions of before end."""
    done = calldex("users", "password", ANA, data=people, stdin=PASSWORD.encode() + b"\nmore\n")
    assert (0, "ana@example.com has a new password; 0 of their sessions ended.\n") == (done.exit_code, done.stderr)
    assert signs_in(people)
    done = calldex("users", "password", "ANA@example.com", data=people, stdin=b"another long one")
    assert (0, "ANA@example.com has a new password; 1 of their sessions ended.\n") == (done.exit_code, done.stderr)
    assert signs_in(people, "another long one")
    with Directory.open(people / DIRECTORY_FILE) as directory:
        noted = directory.audit_entries(None, AuditFilter(action="password_changed"), 10)
    assert [("owner", ANA)] * 2 == [(each.actor, each.target) for each in noted]
    assert (False, False) == (PASSWORD.encode() in kept(people), b"another long one" in kept(people))


@pytest.mark.slow
def test_a_password_that_is_asked_for(people: Path) -> None:
    """On a terminal the password is asked for twice, and not shown."""
    outside, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "calldex", *command("users", "password", ANA, data=people)],
        stdin=inside,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as started:
        assert started.stderr is not None
        shown = b""
        for asked in (b"New password: ", b"Repeat for confirmation: "):
            while asked not in shown:
                more = os.read(started.stderr.fileno(), 1000)
                assert more, shown
                shown += more
            os.write(outside, PASSWORD.encode() + b"\n")
        _, rest = started.communicate(timeout=SECONDS)
    os.close(inside)
    os.close(outside)
    assert (0, False) == (started.returncode, PASSWORD.encode() in shown + rest)
    assert signs_in(people)


@pytest.mark.parametrize("stdin", [b"", b"\n", b"few\n", b"x" * 300, b"ana@example.com\n"])
def test_a_password_that_will_not_do(people: Path, stdin: bytes) -> None:
    """It is refused with what one may be, and not repeated."""
    done = calldex("users", "password", ANA, data=people, stdin=stdin)
    assert 2 == done.exit_code
    assert "password: is" in done.stderr
    assert not stdin.strip() or stdin.strip().decode() not in done.stderr


def test_sessions_are_listed_and_ended(people: Path) -> None:
    """The owner sees who is signed in where, and ends it."""
    calldex("users", "password", ANA, data=people, stdin=PASSWORD.encode())
    assert signs_in(people)
    (found,) = msgspec.json.decode(calldex("sessions", "list", "--json", data=people).stdout)
    assert (1, ANA, "192.0.2.1", "Browser") == tuple(found[name] for name in ("id", "user", "address", "client"))
    assert "hash" not in found
    shown = calldex("sessions", "list", "Ana@example.com", data=people).stdout
    assert all(word in shown for word in ("last used", ANA, "192.0.2.1", "Browser"))
    ended = calldex("sessions", "end", 1, data=people)
    assert (0, "Ended the session 1 of ana@example.com.\n") == (ended.exit_code, ended.stderr)
    again = calldex("sessions", "end", 1, data=people)
    assert (1, "Error: there is no session 1\n") == (again.exit_code, again.stderr)
    assert "[]" == calldex("sessions", "list", "--json", data=people).stdout.strip()
    assert 2 == calldex("sessions", "end", "one", data=people).exit_code


def test_a_provider_is_set_shown_and_removed(people: Path) -> None:
    """What was set is shown, but for the secret, until it is removed."""
    maps = ("--map", "a=b=admin", "--map", "floor=agent", "--map", "floor=analyst")
    done = calldex("openid", "set", *SET, *maps, data=people, stdin=b"the secret\n")
    expected = "The people of the account main sign in at /openid/start?account=main.\n"
    assert (0, expected) == (done.exit_code, done.stderr)
    shown = calldex("openid", "show", "--json", data=people).stdout
    assert {
        "account": "main",
        "issuer": "https://id.example.com",
        "client_id": "calldex",
        "claim": "groups",
        "groups": {"a=b": ["admin"], "floor": ["agent", "analyst"]},
    } == msgspec.json.decode(shown)
    shown += (table := calldex("openid", "show", data=people)).stdout + table.stderr
    assert "floor" in table.stdout
    assert "the secret" not in shown
    calldex("openid", "set", *SET, "--map", "x=admin", data=people, stdin=b"another\n")
    assert '"x"' in calldex("openid", "show", "--json", data=people).stdout
    assert 0 == calldex("openid", "remove", data=people).exit_code
    for words in (("show",), ("remove",)):
        done = calldex("openid", *words, data=people)
        assert (1, True) == (done.exit_code, "no OpenID Connect provider is set up" in done.stderr)


@pytest.mark.parametrize(
    ("words", "stdin", "reason"),
    [
        (("--issuer", "http://id.example.com"), b"secret", "--issuer 'http://id.example.com': cannot be used"),
        (("--issuer", "https://id.example.com/?x=1"), b"secret", "--issuer"),
        (("--issuer", "ftp://localhost"), b"secret", "--issuer"),
        (("--issuer", "https://[::1"), b"secret", "--issuer"),
        (("--client-id", ""), b"secret", "--client-id"),
        (("--claim", "x" * 65), b"secret", "--claim"),
        (("--map", "bosses"), b"secret", "--map 'bosses': has no ="),
        (("--map", "=admin"), b"secret", "--map"),
        (("--map", "bosses=amdin"), b"secret", "did you mean 'admin'"),
        (("--account", "north"), b"secret", "there is no account 'north'"),
        ((), b"", "client_secret: cannot be used"),
        ((), b"sec\x1bret", "client_secret: cannot be used"),
    ],
)
def test_a_provider_that_cannot_be_set(people: Path, words: tuple[str, ...], stdin: bytes, reason: str) -> None:
    """What is wrong is told in the words that were typed, the secret never, and nothing is set."""
    done = calldex("openid", "set", *SET, "--map", "bosses=admin", *words, data=people, stdin=stdin)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr
    assert "ret" not in done.stderr.replace("client_secret", "")
    assert 1 == calldex("openid", "show", data=people).exit_code


@pytest.mark.parametrize("issuer", ["http://localhost:8081", "http://127.0.0.1:9", "http://[::1]:9/realms/x"])
def test_a_provider_on_this_machine(people: Path, issuer: str) -> None:
    """What never leaves the machine needs no TLS."""
    words = ("--issuer", issuer, "--client-id", "calldex", "--claim", "groups", "--map", "bosses=admin")
    assert 0 == calldex("openid", "set", *words, data=people, stdin=b"secret").exit_code
