"""User API keys."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from calldex.access import Scope, scope_of
from calldex.directory import Directory, KeyOwner, keys
from calldex.errors import BadParameters, Conflict, NotFound


@pytest.fixture
def ann(directory: Directory) -> str:
    """The e-mail address of a user."""
    return directory.add_user("ann@example.com", "Ann", "analyst", timezone="Europe/Paris").email


def test_owner_of_a_key(directory: Directory, ann: str) -> None:
    """A key tells whose it is and is what `access` asks for."""
    key = directory.create_key(ann)
    owner = directory.find_key(key)
    main = directory.account()
    assert owner == KeyOwner(
        key_id=1, key_prefix=key[:8], key_scope="read", user_id=1, email=ann, role="analyst", account_id=main.id,
        account="main", timezone="Europe/Paris",
    )  # fmt: skip
    assert scope_of(owner) == Scope(account_id=main.id, whole=True)


def test_a_key_is_256_random_bits_and_not_kept(directory: Directory, ann: str, path: Path) -> None:
    """Keys look as documented, differ, and stand nowhere in the files."""
    first, second = directory.create_key(ann), directory.create_key(ann, "ingest")
    assert re.fullmatch(r"cdx_[A-Za-z0-9_-]{43}", first)
    assert first != second
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert first[:8].encode() in kept
    assert first[8:].encode() not in kept
    assert directory.find_key(second[:-1]) is None


@pytest.mark.parametrize("text", ["", "cdx_", "x" * 100_000, "\ud800", "cdx_" + "A" * 43, "'; --"])
def test_what_is_no_key(directory: Directory, text: str) -> None:
    """Anything else is nobody's."""
    assert directory.find_key(text) is None


def test_scopes(directory: Directory, ann: str) -> None:
    """A key reads or ingests."""
    owner = directory.find_key(directory.create_key(ann, "ingest"))
    assert owner is not None
    assert owner.key_scope == "ingest"
    with pytest.raises(BadParameters, match="did you mean 'ingest'"):
        directory.create_key(ann, "ingset")


CHANGES: list[Callable[[Directory], object]] = [
    lambda directory: directory.revoke_key("1"),
    lambda directory: directory.disable_user("ann@example.com"),
]


@pytest.mark.parametrize("change", CHANGES, ids=["revoked", "disabled"])
def test_what_ends_a_key_ends_it_at_once(directory: Directory, ann: str, change: Callable[[Directory], object]) -> None:
    """In the process that revokes the key or disables its owner the next look finds nobody."""
    key = directory.create_key(ann)
    assert directory.find_key(key) is not None
    change(directory)
    assert directory.find_key(key) is None


def test_enabled_again(directory: Directory, ann: str) -> None:
    """Keys that were not revoked come back with their owner; a disabled user gets no new ones."""
    key, revoked = directory.create_key(ann), directory.create_key(ann)
    directory.revoke_key(revoked)
    directory.disable_user(ann)
    with pytest.raises(Conflict, match="is disabled"):
        directory.create_key(ann)
    directory.enable_user(ann)
    assert directory.find_key(key) is not None
    assert directory.find_key(revoked) is None


def test_changes_of_another_process(
    directory: Directory, ann: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key made elsewhere works at once; one revoked elsewhere ends within the time between two checks."""
    directory.find_key("nobody's")
    with Directory.open(path) as other:
        key = other.create_key(ann)
        assert directory.find_key(key) is not None
        other.revoke_key(key[:8])
    assert directory.find_key(key) is not None
    monkeypatch.setattr(keys, "RECHECK_S", 0.02)
    time.sleep(0.03)
    assert directory.find_key(key) is None


def test_a_zone_that_changes(directory: Directory, ann: str) -> None:
    """The owner of a key has the zone his account has now."""
    key = directory.create_key(directory.add_user("bob@example.com", "Bob", "admin").email)
    zones = []
    for zone in (None, "Asia/Tokyo"):
        directory.set_account_timezone("main", zone)
        owner = directory.find_key(key)
        assert owner is not None
        zones.append(owner.timezone)
    assert zones == ["UTC", "Asia/Tokyo"]
    assert ann in [user.email for user in directory.users()]


def test_known_keys_are_found_in_memory(watched: tuple[Directory, list[str]]) -> None:
    """Between two checks, a known key costs no query."""
    directory, statements = watched
    key = directory.create_key(directory.add_user("ann@example.com", "Ann", "admin").email)
    first = directory.find_key(key)
    statements.clear()
    assert first is not None
    assert directory.find_key(key) is first
    assert statements == []


def test_listed_and_revoked(directory: Directory, ann: str) -> None:
    """A key is listed by what may be shown of it, and revoked by its id, its prefix or itself."""
    bob = directory.add_user("bob@example.com", "Bob", "admin").email
    made = [directory.create_key(who) for who in (ann, ann, ann, bob)]
    assert [key.prefix for key in directory.list_keys()] == [key[:8] for key in made]
    for reference in ("1", made[1][:8], made[2]):
        directory.revoke_key(reference)
    assert [key.revoked_at is None for key in directory.list_keys()] == [False, False, False, True]
    assert [key.email for key in directory.list_keys("Bob@example.com")] == [bob]
    for reference in ("1", "99", "cdx_", made[3][:9], made[3][:-1]):
        with pytest.raises(NotFound, match="no valid key") as error:
            directory.revoke_key(reference)
        assert made[3][:9] not in str(error.value)
    assert directory.find_key(made[3]) is not None


def test_ambiguous_prefix(directory: Directory, ann: str, path: Path) -> None:
    """Where several keys begin alike none is revoked, and their ids are told."""
    directory.create_key(ann)
    directory.create_key(ann, "ingest")
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE api_keys SET prefix = 'cdx_same'")
        other.commit()
    listed = r"1 \(read key of ann@example\.com\), 2 \(ingest key of ann@example\.com\)"
    with pytest.raises(Conflict, match=rf"give the id of one of them: {listed}"):
        directory.revoke_key("cdx_same")
    assert [key.revoked_at for key in directory.list_keys()] == [None, None]


def test_last_used(directory: Directory, ann: str, path: Path) -> None:
    """The last-used time is kept to the minute, is written by a flush or the closing, and never goes back."""
    directory.create_key(ann)

    def used(*times: int) -> int | None:
        for at in times:
            directory.touch_key(1, at)
        directory.flush_touches()
        return directory.list_keys()[0].last_used_at

    assert used() is None
    assert used(1_000_000) == 1_000_000
    assert used(1_000_001, 1_059_999) == 1_000_000
    assert used(1_060_000) == 1_060_000
    with Directory.open(path) as other:
        other.touch_key(1, 1_000_001)
    assert used() == 1_060_000
    with Directory.open(path) as other:
        other.touch_key(1, 2_000_000)
    assert used() == 2_000_000
