"""Passwords, the delays that failures bring, and sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from calldex.access import ROLES, permissions_of
from calldex.directory import Client, Device, Directory, SessionOwner, SignedIn, UserChanges, sessions, signin
from calldex.directory.sessions import IDLE_MS, LIFE_MS, MOST_SESSIONS
from calldex.directory.signin import FORGIVEN_MS, FREE_BY_ADDRESS, LONGEST_DELAY_S, Failures
from calldex.errors import BadParameters, Forbidden, NotFound, TooMany, Unauthorized
from tests.directory.places import Place

NOW = 1_800_000_000_000
ANN, BOB = "ann@example.com", "bob@example.com"
PASSWORD = "correct horse battery"
HOME, AWAY = Client(address="198.51.100.7", name="Browser"), Client(address="203.0.113.9")


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing that costs nothing, but for the tests that are about it."""
    if "real_hashing" not in request.fixturenames:
        monkeypatch.setattr(signin, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def real_hashing() -> None:
    """Hashing as it is."""


@pytest.fixture
def ann(directory: Directory) -> Directory:
    """A directory with a user who has a password."""
    directory.add_user(ANN, "Ann", "analyst")
    directory.set_password(ANN, PASSWORD)
    return directory


def signed_in(directory: Directory, client: Client = HOME, at_ms: int = NOW, password: str = PASSWORD) -> SignedIn:
    """Ann's session."""
    return directory.sign_in(ANN, password, client, at_ms)


def fails(directory: Directory, client: Client, at_ms: int, email: str = ANN) -> None:
    """An attempt that is looked at and wrong."""
    with pytest.raises(Unauthorized):
        directory.sign_in(email, "wrong", client, at_ms)


def waits(directory: Directory, client: Client, at_ms: int, email: str = ANN) -> int:
    """For how many seconds an attempt, even with the right password, is not looked at; 0 if it is."""
    try:
        directory.sign_in(email, "wrong", client, at_ms)
    except TooMany as refused:
        return refused.retry_after or 0
    except Unauthorized:
        return 0
    raise AssertionError("a wrong password was right")


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_password_opens_a_session(ann: Directory) -> None:
    """Who knows it, however they write their e-mail address, is who they are everywhere else, with all scopes."""
    signed = ann.sign_in("Ann@Example.com", PASSWORD, HOME, NOW)
    owner = ann.find_session(signed.token, NOW)
    assert owner is not None
    assert (ANN, "session", (ROLES["analyst"],), NOW + LIFE_MS) == (
        owner.email,
        owner.credential,
        owner.groups,
        owner.expires_at,
    )
    assert set(ROLES["analyst"].permissions) == permissions_of(owner)


def test_what_memory_knows(ann: Directory) -> None:
    """A session that was found, until it ends; not one that nobody asked for yet."""
    token = signed_in(ann).token
    assert ann.known_session(token, NOW) is None
    assert ann.find_session(token, NOW) == ann.known_session(token, NOW) is not None
    assert ann.known_session(token, NOW + LIFE_MS) is None
    ann.end_session_of(token)
    assert ann.known_session(token, NOW) is None


@pytest.mark.parametrize("password", ["wrong", PASSWORD.upper(), PASSWORD + " ", " " * 12])
def test_another_password_opens_nothing(ann: Directory, password: str) -> None:
    """Nothing but the password is the password."""
    with pytest.raises(Unauthorized, match="the e-mail address or the password is wrong"):
        ann.sign_in(ANN, password, HOME, NOW)
    assert [] == ann.list_sessions(NOW)


def test_neither_password_nor_cookie_is_kept(ann: Directory, place: Place, real_hashing: None) -> None:
    """What is kept of a password is its Argon2id hash, by the low-memory profile of RFC 9106; of a cookie a hash."""
    ann.set_password(ANN, PASSWORD)
    token = signed_in(ann).token
    assert place.holds(b"$argon2id$v=19$m=65536,t=3,p=4$")
    assert (False, False) == (place.holds(PASSWORD.encode()), place.holds(token.encode()))
    assert 43 == len(token)


def test_a_password_is_the_same_on_every_keyboard(ann: Directory) -> None:
    """Different spellings of the same characters are one password."""
    ann.set_password(ANN, "e\u0301l\u00e8ve \uff11\uff12\uff13 \ufb01ne")
    assert signed_in(ann, password="\u00e9le\u0300ve 123 fine").token


@pytest.mark.parametrize(
    "password",
    [
        "",
        "eleven char",
        "x" * 257,
        "\ufdfa" * 20,  # 18 characters each, when normalised
        "firstname.lastname@example.com",
        "Firstname.Lastname",
        "\uff26irstname.lastname",
    ],
)
def test_what_will_not_do_as_a_password(directory: Directory, password: str) -> None:
    """Too short, too long, or the e-mail address or a part of it; the message does not repeat it."""
    directory.add_user("firstname.lastname@example.com", "Ann", "analyst")
    with pytest.raises(BadParameters) as refused:
        directory.set_password("firstname.lastname@example.com", password)
    assert "password" == refused.value.problems[0].parameter
    assert not password or password not in str(refused.value)


def test_a_hash_of_older_parameters_is_made_anew(ann: Directory, monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """When the parameters of the hash change, who signs in gets one of the new ones, with the same password."""
    monkeypatch.setattr(signin, "HASHER", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1, type=Type.ID))
    signed_in(ann)
    assert place.holds(b"m=16,t=2,p=1")
    assert signed_in(ann, at_ms=NOW + 1).token


def test_who_has_no_password_does_not_sign_in_with_one(ann: Directory) -> None:
    """A user without a password, a disabled one, one who was removed and one who never was are told the same."""
    for name in ("bob", "carl", "dora"):
        ann.add_user(f"{name}@example.com", name.title(), "admin")
    ann.set_password("carl@example.com", PASSWORD)
    ann.disable_user("carl@example.com")
    ann.set_password("dora@example.com", PASSWORD)
    ann.remove_user("dora@example.com")
    for email in (BOB, "carl@example.com", "dora@example.com", "nobody@example.com"):
        with pytest.raises(Unauthorized) as refused:
            ann.sign_in(email, PASSWORD, HOME, NOW)
        assert "the e-mail address or the password is wrong" == refused.value.message


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_time_does_not_tell_who_there_is(ann: Directory, real_hashing: None) -> None:
    """An attempt for somebody who is there takes about as long as one for somebody who is not."""
    ann.set_password(ANN, PASSWORD)

    def seconds(email: str) -> float:
        began = time.process_time()
        fails(ann, Client(address=""), at_ms.pop(), email)
        return time.process_time() - began

    at_ms = [NOW + n * FORGIVEN_MS * 4 for n in range(20, 0, -1)]
    seconds(ANN)
    known, unknown = zip(*((seconds(ANN), seconds(BOB)) for _ in range(7)), strict=True)
    assert 0.7 < min(known) / min(unknown) < 1.4


def test_changing_a_password(ann: Directory) -> None:
    """Who knows the old one sets a new one; their other sessions end, and the old one opens nothing."""
    here, elsewhere = signed_in(ann), signed_in(ann, AWAY)
    owner = ann.find_session(here.token, NOW)
    assert owner is not None
    assert 1 == ann.change_password(owner, PASSWORD, "another long one", HOME, NOW)
    assert (True, False) == tuple(ann.find_session(each.token, NOW) is not None for each in (here, elsewhere))
    fails(ann, HOME, NOW)
    assert signed_in(ann, AWAY, password="another long one").token


def test_changing_a_password_without_the_old_one(ann: Directory) -> None:
    """Who found a browser open cannot guess the password there at speed."""
    owner = owner_of(ann)
    with pytest.raises(Forbidden, match="the old password is wrong"):
        ann.change_password(owner, "wrong", "another long one", HOME, NOW)
    with pytest.raises(TooMany):
        ann.change_password(owner, PASSWORD, "another long one", HOME, NOW)
    with pytest.raises(BadParameters, match="new"):
        ann.change_password(owner, PASSWORD, "short", HOME, NOW + 2000)
    assert signed_in(ann, at_ms=NOW + 2000).token


def while_verified(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen while the next password is verified."""
    usual = signin.HASHER

    class Slow(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
            right = super().verify(hash, password)
            monkeypatch.setattr(signin, "HASHER", usual)
            happens()
            return right

    monkeypatch.setattr(signin, "HASHER", Slow(time_cost=1, memory_cost=8, parallelism=1))


MEANWHILE: list[Callable[[Directory], object]] = [
    lambda directory: directory.set_password(ANN, "another long one"),
    lambda directory: directory.disable_user(ANN),
    lambda directory: directory.remove_user(ANN),
]


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=["changed", "disabled", "removed"])
def test_a_password_that_is_taken_away_meanwhile(
    ann: Directory, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Directory], object]
) -> None:
    """What happens while a password is verified counts: it opens nothing any more."""
    while_verified(monkeypatch, lambda: meanwhile(ann))
    with pytest.raises(Unauthorized):
        signed_in(ann)
    assert [] == ann.list_sessions(NOW)


def test_a_password_that_is_changed_meanwhile(ann: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who change a password at once, who knows the old one alone does not win over the owner."""
    owner = owner_of(ann)
    while_verified(monkeypatch, lambda: ann.set_password(ANN, "another long one"))
    with pytest.raises(Forbidden):
        ann.change_password(owner, PASSWORD, "the one of a thief", HOME, NOW)
    assert signed_in(ann, password="another long one").token


def owner_of(directory: Directory) -> SessionOwner:
    """Ann, signed in."""
    owner = directory.find_session(signed_in(directory).token, NOW)
    assert owner is not None
    return owner


def test_a_password_that_the_owner_sets_ends_all_sessions(ann: Directory) -> None:
    """A new password from elsewhere signs its user out everywhere."""
    token = signed_in(ann).token
    assert 1 == ann.set_password(ANN, "another long one")
    assert ann.find_session(token, NOW) is None


# --- delays -----------------------------------------------------------------------------------------------------------


def test_delays_grow(ann: Directory) -> None:
    """Each failure doubles the wait, up to a quarter of an hour; the right password is not looked at meanwhile."""
    at_ms, seen = NOW, []
    for _ in range(12):
        fails(ann, HOME, at_ms)
        seen.append(waits(ann, HOME, at_ms))
        with pytest.raises(TooMany, match="too many attempts"):
            signed_in(ann, at_ms=at_ms + seen[-1] * 1000 - 1)
        at_ms += seen[-1] * 1000
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] == seen
    assert signed_in(ann, at_ms=at_ms).token


def test_a_success_ends_the_delays(ann: Directory) -> None:
    """After a success it begins with a second again."""
    for after_s in (0, 1, 3):
        fails(ann, HOME, NOW + after_s * 1000)
    signed_in(ann, at_ms=NOW + 7000)
    fails(ann, HOME, NOW + 7000)
    assert 1 == waits(ann, HOME, NOW + 7000)


def test_nobody_is_locked_out_from_elsewhere(ann: Directory) -> None:
    """However often somebody fails in Ann's name, from as many addresses as they have, Ann signs in from her own."""
    for n in range(200):
        waits(ann, Client(address=f"203.0.113.{n % 100}"), NOW + n)
    assert 0 < waits(ann, AWAY, NOW + 200)
    assert signed_in(ann, at_ms=NOW + 200).token


def test_a_known_browser_is_counted_by_itself(ann: Directory) -> None:
    """Not even who fails at her own address locks her out of a browser in which she signed in before; who has stolen
    that waits as anybody does, and for somebody else it is no known one."""
    user_id = ann.user(ANN).id
    known = Client(address=HOME.address, device=Device(user_id, b"one"))
    for n in range(50):
        waits(ann, HOME, NOW + n, f"user{n}@example.com")
        waits(ann, HOME, NOW + n)
    assert 0 < waits(ann, HOME, NOW + 50)
    assert signed_in(ann, known, NOW + 50).token
    fails(ann, known, NOW + 60)
    assert 1 == waits(ann, known, NOW + 60)
    foreign = Client(address=HOME.address, device=Device(user_id + 1, b"two"))
    assert 0 < waits(ann, foreign, NOW + 70)


def test_one_address_with_many_names(ann: Directory) -> None:
    """Who tries one password with many e-mail addresses has one guess at each; the second one waits for all that failed
    at the network address. Whoever shares that address and did not fail signs in all the same, at once."""
    names = [f"user{n}@example.com" for n in range(FREE_BY_ADDRESS + 10)]
    assert [0] * len(names) == [waits(ann, AWAY, NOW, name) for name in names]
    assert signed_in(ann, AWAY).token
    after = NOW + 5_000  # each of them has waited for its own failure
    assert 1 < waits(ann, AWAY, after, names[0])
    assert 0 == waits(ann, HOME, after, names[0])


def test_a_password_of_ones_own_gets_no_more_guesses(ann: Directory) -> None:
    """Who signs in between their guesses at others waits for the second guess at one as who does not."""
    for n in range(FREE_BY_ADDRESS + 10):
        signed_in(ann, AWAY)
        waits(ann, AWAY, NOW, f"user{n}@example.com")
    signed_in(ann, AWAY)
    assert 1 < waits(ann, AWAY, NOW + 5_000, "user0@example.com")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::1", "::2", True),
    ],
)
def test_what_counts_as_one_address(ann: Directory, first: str, second: str, same: bool) -> None:
    """Of an IPv6 address the network that one customer gets, of an IPv4 address all of it, however it is written."""
    fails(ann, Client(address=first), NOW)
    assert same == bool(waits(ann, Client(address=second), NOW))


def test_nodes_share_the_delays(ann: Directory, place: Place) -> None:
    """Another process knows of the failures at once."""
    fails(ann, HOME, NOW)
    with place.open() as other:
        assert 1 == waits(other, HOME, NOW)


def test_of_attempts_at_once_one_is_looked_at(ann: Directory) -> None:
    """Who tries ten passwords at the same time has tried one."""
    with ThreadPoolExecutor(10) as threads:
        seen = list(threads.map(lambda _: waits(ann, HOME, NOW), range(10)))
    assert 1 == seen.count(0)


def test_failures_are_forgotten(ann: Directory, place: Place) -> None:
    """A failure counts for a quarter of an hour after the last; what counts no more is dropped."""
    for after_s in (0, 1, 3):
        fails(ann, HOME, NOW + after_s * 1000)
    last = NOW + 3000
    fails(ann, HOME, last + 2 * FORGIVEN_MS)
    assert 2 == waits(ann, HOME, last + 2 * FORGIVEN_MS)

    def kept() -> int:
        return int(place.execute("SELECT count(*) FROM signin_failures")[0][0])

    ann.drop_failures(last + 3 * FORGIVEN_MS)
    assert 2 == kept()
    ann.drop_failures(last + 20 * FORGIVEN_MS)
    assert 0 == kept()


@given(pauses=st.lists(st.integers(0, 3 * LONGEST_DELAY_S), min_size=1, max_size=200), free=st.sampled_from([0, 20]))
def test_no_rhythm_gets_more_attempts(pauses: list[int], free: int) -> None:
    """However somebody spaces their attempts, those that are looked at are a few, and four an hour."""
    failures, at_ms, looked_at = Failures(key=b"", free=free), NOW, 0
    for pause in pauses:
        at_ms += pause * 1000
        if failures.wait_ms(at_ms) <= 0:
            looked_at += 1
            failures = Failures(key=b"", free=free, count=failures.left(at_ms) + 1, last_at=at_ms)
    assert looked_at <= free + 12 + (at_ms - NOW) // FORGIVEN_MS


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "x" * 100_000, "\ud800" * 43])
def test_what_is_no_session(ann: Directory, token: str) -> None:
    """Anything else is nobody's."""
    assert ann.find_session(token, NOW) is None


def test_a_session_that_is_not_used_ends(ann: Directory) -> None:
    """It lives as long as it is used, half a day at a time, and a week at most."""
    signed = signed_in(ann)
    step = IDLE_MS - 1
    used = NOW
    while used + step < NOW + LIFE_MS:
        assert ann.find_session(signed.token, used + step) is not None
        used += step
        ann.touch_session(signed.session.id, used)
    assert ann.find_session(signed.token, NOW + LIFE_MS - 1) is not None
    assert ann.find_session(signed.token, NOW + LIFE_MS) is None
    idle = signed_in(ann, at_ms=NOW)
    assert ann.find_session(idle.token, NOW + IDLE_MS) is None


def test_use_is_known_to_all(ann: Directory, place: Place) -> None:
    """What one process wrote of a session's use keeps it alive in another; the time never goes back."""
    signed = signed_in(ann)
    ann.touch_session(signed.session.id, NOW + IDLE_MS - 1)
    ann.flush_sessions()
    with place.open() as other:
        assert other.find_session(signed.token, NOW + IDLE_MS + 1) is not None
        other.touch_session(signed.session.id, NOW + 5)
        assert [NOW + IDLE_MS - 1] == [each.last_used_at for each in other.list_sessions(NOW)]


ENDS: list[Callable[[Directory], object]] = [
    lambda directory: directory.end_session(1),
    lambda directory: directory.end_session(1, "Ann@example.com"),
    lambda directory: directory.set_password(ANN, "another long one"),
    lambda directory: directory.disable_user(ANN),
    lambda directory: directory.remove_user(ANN),
]


@pytest.mark.parametrize("end", ENDS, ids=["ended", "ended by themselves", "password", "disabled", "removed"])
def test_what_ends_a_session_ends_it_at_once(ann: Directory, end: Callable[[Directory], object]) -> None:
    """In the process that does it, the next look finds nobody."""
    token = signed_in(ann).token
    assert ann.find_session(token, NOW) is not None
    end(ann)
    assert ann.find_session(token, NOW) is None


def test_a_session_that_ended_stays_ended(ann: Directory) -> None:
    """Who was disabled and is enabled again has to sign in again, also in the moment after."""
    token = signed_in(ann).token
    assert ann.find_session(token, NOW) is not None
    ann.disable_user(ANN)
    ann.enable_user(ANN)
    assert ann.find_session(token, NOW) is None
    assert ann.find_session(signed_in(ann).token, NOW) is not None


def test_a_session_elsewhere(ann: Directory, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that another process began works at once; one that it ended ends within the time between two looks."""
    ann.find_session("x" * 43, NOW)
    with place.open() as other:
        signed = signed_in(other)
        assert ann.find_session(signed.token, NOW) is not None
        other.end_session(signed.session.id)
    assert ann.find_session(signed.token, NOW) is not None
    monkeypatch.setattr(sessions, "RECHECK_S", 0.0)
    assert ann.find_session(signed.token, NOW) is None


def test_rights_that_change(ann: Directory) -> None:
    """Whoever is signed in has the rights they have now."""
    token = signed_in(ann).token
    assert ann.find_session(token, NOW) is not None
    ann.change_user(ANN, UserChanges(role="agent"))
    owner = ann.find_session(token, NOW)
    assert owner is not None
    assert (ROLES["agent"],) == owner.groups


def test_known_sessions_are_found_in_memory(watched: tuple[Directory, list[str]]) -> None:
    """Between two looks, a session costs no query."""
    directory, statements = watched
    directory.add_user(ANN, "Ann", "admin")
    directory.set_password(ANN, PASSWORD)
    token = signed_in(directory).token
    first = directory.find_session(token, NOW)
    statements.clear()
    assert first == directory.find_session(token, NOW)
    assert [] == statements


def test_as_many_sessions_as_may_be(ann: Directory) -> None:
    """One more ends the one that was used longest ago."""
    tokens = [ann.open_session(1, HOME, NOW + n).token for n in range(MOST_SESSIONS)]
    ann.touch_session(1, NOW + 1_000_000)
    ann.flush_sessions()
    ann.open_session(1, HOME, NOW + 2_000_000)
    alive = [ann.find_session(token, NOW) is not None for token in tokens]
    assert [True, False, *[True] * (MOST_SESSIONS - 2)] == alive


def test_listed_and_ended(ann: Directory) -> None:
    """Sessions are listed with where they are, the newest first, and ended by their ids; not those of others."""
    ann.add_user(BOB, "Bob", "agent")
    ann.set_password(BOB, PASSWORD)
    signed_in(ann, Client(address="192.0.2.1", name="A\x1b[31mB" + "x" * 300))
    ann.sign_in(BOB, PASSWORD, AWAY, NOW)
    assert [(2, BOB, AWAY.address, ""), (1, ANN, "192.0.2.1", "A[31mB" + "x" * 193)] == [
        (each.id, each.email, each.address, each.client) for each in ann.list_sessions(NOW)
    ]
    for session_id, email in ((1, BOB), (3, None)):
        with pytest.raises(NotFound, match=f"there is no session {session_id}"):
            ann.end_session(session_id, email)
    assert ANN == ann.end_session(1, ANN).email
    assert [2] == [each.id for each in ann.list_sessions(NOW)]


def test_ended_sessions_are_dropped(ann: Directory) -> None:
    """What has ended by itself is not listed, and is dropped now and then."""
    signed_in(ann)
    used = signed_in(ann, at_ms=NOW + 1000)
    assert [2] == [each.id for each in ann.list_sessions(NOW + IDLE_MS)]
    ann.drop_sessions(NOW + IDLE_MS)
    assert [used.session.id] == [each.id for each in ann.list_sessions(NOW)]
