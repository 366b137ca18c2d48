"""User API keys."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from calldex.access import ROLES, SCOPES, Reach, Scope, permissions_of, scope_of
from calldex.clock import now_ms
from calldex.directory import Directory, GroupChanges, KeyOwner, TeamChanges, keys, snapshot
from calldex.errors import BadParameters, Conflict, NotFound
from calldex.records.record import stable_id
from tests.directory.places import Place


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
        key_id=1,
        credential=key[:8],
        scopes=("read",),
        user_id=1,
        email=ann,
        groups=(ROLES["analyst"],),
        account_id=main.id,
        account="main",
        timezone="Europe/Paris",
        agent_id=stable_id("agent", "Ann"),
        vocabulary="documented",
    )
    assert scope_of(owner) == Scope(account_id=main.id, whole=True, vocabulary="documented")


def test_a_key_is_256_random_bits_and_not_kept(directory: Directory, ann: str, place: Place) -> None:
    """Keys look as documented, differ, and stand nowhere in the database."""
    first, second = directory.create_key(ann), directory.create_key(ann, ("ingest",))
    assert re.fullmatch(r"cdx_[A-Za-z0-9_-]{43}", first)
    assert first != second
    assert place.holds(first[:8].encode())
    assert not place.holds(first[8:].encode())
    assert directory.find_key(second[:-1]) is None


@pytest.mark.parametrize("text", ["", "cdx_", "x" * 100_000, "\ud800", "cdx_" + "A" * 43, "'; --"])
def test_what_is_no_key(directory: Directory, text: str) -> None:
    """Anything else is nobody's."""
    assert directory.find_key(text) is None


@pytest.mark.parametrize("scopes", [("ingest",), ("read", "manage"), ("manage", "ingest", "read")])
def test_scopes(directory: Directory, ann: str, scopes: tuple[str, ...]) -> None:
    """A key is for one thing or for several."""
    owner = directory.find_key(directory.create_key(ann, scopes))
    assert owner is not None
    assert scopes == owner.scopes == directory.list_keys()[0].scopes
    permitted = {permission for scope in owner.scopes for permission in SCOPES[scope]}
    assert permissions_of(owner) == permitted & permissions_of(directory.principal(ann))


def test_what_is_wrong_with_a_key(directory: Directory, ann: str) -> None:
    """All of it is told, and no key is made."""
    with pytest.raises(BadParameters) as error:
        directory.create_key(ann, ("ingset", "read", "read"), expires_at=1, networks=("10.0.0.1/8", "10.0.0.0/33", "x"))
    assert ["scopes", "scopes", "expires_at", "networks", "networks", "networks"] == [
        problem.parameter for problem in error.value.problems
    ]
    assert "did you mean 'ingest'? Valid: read, ingest, manage" in str(error.value)
    assert "networks '10.0.0.1/8': is not a network: 10.0.0.1/8 has host bits set" in str(error.value)
    for scopes, networks in (((), ()), (("read",), ("10.0.0.0/8",) * 51)):
        with pytest.raises(BadParameters):
            directory.create_key(ann, scopes, networks=networks)
    assert [] == directory.list_keys()


def test_an_expired_key(directory: Directory, ann: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key works up to the millisecond before it expires, also while it is known, and not from then on."""
    expires_at = now_ms() + 60_000
    key = directory.create_key(ann, expires_at=expires_at)
    assert expires_at == directory.list_keys()[0].expires_at
    for now, works in ((expires_at - 1, True), (expires_at, False), (expires_at + 1, False)):
        monkeypatch.setattr(keys, "now_ms", lambda now=now: now)
        assert works == (directory.find_key(key) is not None)


@pytest.mark.parametrize(
    ("address", "works"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::7", True),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("11.0.0.1", False),
        ("2001:db9::7", False),
        ("::1", False),
        ("", False),
        ("10.1.2", False),
        ("10.1.2.3, 10.1.2.3", False),
        (None, False),
    ],
)
def test_networks(directory: Directory, ann: str, address: str | None, works: bool) -> None:
    """A key with networks is one within them alone; without an address it is none. One without is one everywhere."""
    key = directory.create_key(ann, networks=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"))
    assert works == (directory.find_key(key, address) is not None)
    assert directory.find_key(directory.create_key(ann), address) is not None
    assert ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32") == directory.list_keys()[0].networks


def test_a_removed_user(directory: Directory, ann: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys are gone with them, in every process; their address is free, and their id is nobody's."""
    key, id_ = directory.create_key(ann), directory.user(ann).id
    with place.open() as other:
        assert other.find_key(key) is not None
        directory.remove_user(ann)
        assert directory.find_key(key) is None
        assert [] == directory.list_keys()
        monkeypatch.setattr(snapshot, "RECHECK_S", 0.0)
        assert other.find_key(key) is None
    assert id_ < directory.add_user(ann, "Ann").id
    assert directory.find_key(key) is None


def test_keys_of_an_account(directory: Directory, ann: str) -> None:
    """Keys are listed by user, by account, or all."""
    directory.add_account("north")
    north = directory.add_user("n@example.com", "N", account="north").email
    for email in (ann, north):
        directory.create_key(email)
    assert [[ann, north], [ann], [north], []] == [
        [key.email for key in directory.list_keys(email, account=account)]
        for email, account in ((None, None), (None, "main"), (north, None), (north, "main"))
    ]


def test_many_users_and_keys(watched: tuple[Directory, list[str]]) -> None:
    """The keys of a large centre are read in a handful of queries."""
    directory, statements = watched
    directory.put_group("main", None, GroupChanges(name="A", permissions=("see_cdrs",), reach=Reach(own=True)))
    for id_ in range(1, 21):
        directory.put_team("main", id_, TeamChanges(name=f"T{id_}", queues=tuple(range(id_, id_ + 5))))
    lines = (f"u{n}@example.com,User {n},supervisor,A,{n % 20 + 1}" for n in range(1_000))
    directory.import_users("main", "\n".join(("email,name,role,groups,supervises", *lines)).encode())
    binary = "BLOB" if directory._db.is_sqlite else "BYTEA"  # noqa: SLF001 - whatever it is
    with directory._db.write() as connection:  # noqa: SLF001 - two thousand keys in one transaction
        connection.exec_driver_sql(
            "INSERT INTO api_keys (user_id, prefix, hash, scopes, networks, created_at)"
            f" SELECT u.id, 'cdx_', CAST('k' || u.id || n.n AS {binary}), 'read', '[]', 0"
            " FROM users u, (SELECT 1 AS n UNION SELECT 2) n"
        )
    key = directory.create_key("u7@example.com")
    statements.clear()
    owner = directory.find_key(key)
    assert owner is not None
    assert ((8,), (8, 9, 10, 11, 12)) == (owner.supervised_teams, owner.supervised_queues)
    assert ["Supervisor", "A"] == [group.name for group in owner.groups]
    assert 10 > len(statements)


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
    directory: Directory, ann: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key made elsewhere works at once; one revoked elsewhere ends within the time between two checks."""
    directory.find_key("nobody's")
    with place.open() as other:
        key = other.create_key(ann)
        assert directory.find_key(key) is not None
        other.revoke_key(key[:8])
    assert directory.find_key(key) is not None
    monkeypatch.setattr(snapshot, "RECHECK_S", 0.02)
    time.sleep(0.03)
    assert directory.find_key(key) is None


def test_a_zone_that_changes(directory: Directory, ann: str) -> None:
    """The owner of a key has the zone their account has now."""
    key = directory.create_key(directory.add_user("bob@example.com", "Bob", "admin").email)
    zones = []
    for zone in (None, "Asia/Tokyo"):
        directory.set_account("main", timezone=zone)
        owner = directory.find_key(key)
        assert owner is not None
        zones.append(owner.timezone)
    assert zones == ["UTC", "Asia/Tokyo"]
    assert ann in [user.email for user in directory.users()]


def test_what_memory_knows(watched: tuple[Directory, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory knows a key that was found, for as long as that counts; it is asked without a query, and what this process
    changed it knows no more."""
    directory, statements = watched
    key = directory.create_key(directory.add_user("ann@example.com", "Ann", "admin").email, networks=("10.0.0.0/8",))
    assert directory.known_key(key, "10.1.2.3") is None
    found = directory.find_key(key, "10.1.2.3")
    statements.clear()
    assert found is not None
    assert (found, None, None) == tuple(
        directory.known_key(text, address) for text, address in ((key, "10.1.2.3"), (key, "11.1.2.3"), ("none", None))
    )
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "RECHECK_S", 0.0)
        assert directory.known_key(key, "10.1.2.3") is None
    assert [] == statements
    directory.revoke_key(key)
    assert directory.known_key(key, "10.1.2.3") is None


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


def test_ambiguous_prefix(directory: Directory, ann: str, place: Place) -> None:
    """Where several keys begin alike none is revoked, and their ids are told."""
    directory.create_key(ann)
    directory.create_key(ann, ("ingest",))
    place.execute("UPDATE api_keys SET prefix = 'cdx_same'")
    listed = r"1 \(read key of ann@example\.com\), 2 \(ingest key of ann@example\.com\)"
    with pytest.raises(Conflict, match=rf"give the id of one of them: {listed}"):
        directory.revoke_key("cdx_same")
    assert [key.revoked_at for key in directory.list_keys()] == [None, None]


def test_last_used(directory: Directory, ann: str, place: Place) -> None:
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
    with place.open() as other:
        other.touch_key(1, 1_000_001)
    assert used() == 1_060_000
    with place.open() as other:
        other.touch_key(1, 2_000_000)
    assert used() == 2_000_000
