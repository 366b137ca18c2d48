"""How often somebody may come, who they are behind a proxy, and what each reply says about it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import Scope
from structlog.testing import capture_logs

import calldex.transport.limits
import calldex.transport.requests
from calldex.api.app import public
from calldex.errors import BadRequest, RateExceeded
from calldex.networks import Networks
from calldex.node import Node
from calldex.settings import Settings
from calldex.transport.limits import STRANGER_BURST, STRANGER_RATE, Buckets, Limits
from calldex.transport.proxies import forwarded
from tests.api.conftest import Api, Site, people
from tests.api.serving import Server, data_of, next_reply
from tests.growth import MOST, growth

# --- buckets ----------------------------------------------------------------------------------------------------------


@given(
    rate=st.integers(1, 1000),
    burst=st.integers(1, 50),
    waits_ms=st.lists(st.one_of(st.just(0), st.integers(0, 5000)), max_size=100),
)
@example(rate=1, burst=1, waits_ms=[0, 999, 1])
def test_a_bucket_is_a_bucket(rate: int, burst: int, waits_ms: list[int]) -> None:
    """It gives what a bucket with exact arithmetic gives: full at first, filled at its rate, never above its brim."""
    buckets = Buckets("key", rate, burst)
    held, now_ms = Fraction(burst), 0
    for wait_ms in waits_ms:
        now_ms += wait_ms
        held = min(Fraction(burst), held + Fraction(rate * wait_ms, 1000))
        empty = held < 1
        assert empty == buckets.is_empty("name", now_ms / 1000)
        if not empty:
            held -= 1
        assert (None if empty else int(held)) == buckets.take("name", now_ms / 1000)


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many buckets the one that was unused the longest is forgotten; to be asked in vain is a use as well."""
    monkeypatch.setattr(calldex.transport.limits, "MOST_BUCKETS", 2)
    buckets = Buckets("key", 1, 1)
    assert [0, 0, None] == [buckets.take(name, 0) for name in ("first", "second", "first")]
    assert [0, None, 0] == [buckets.take(name, 0) for name in ("third", "first", "second")]


def test_what_a_client_is_told() -> None:
    """The policy is the burst and the time in which it comes back; what is left can be spread over its window."""
    buckets = Buckets("key", 100, 250)
    assert ((b"ratelimit-policy", b'"key";q=250;w=3'), (b"ratelimit", b'"key";r=249;t=3')) == buckets.headers(249)
    assert (b"ratelimit", b'"key";r=0;t=1') == buckets.headers(None)[1]


class Desk:
    """Limits with a clock of their own, asked as the server asks them."""

    def __init__(self, settings: Settings) -> None:
        self.now = 1000.0
        self.refused: list[str] = []
        self.limits = Limits(settings, self.refused.append, lambda: self.now)

    def arrives(self, address: str) -> bool:
        """Whether a request from an address may come in."""
        with contextlib.suppress(RateExceeded):
            self.limits.arrive({"calldex.address": address})
            return True
        return False

    def admits(self, who: str | None, address: str = "192.0.2.1") -> bool:
        """Whether a request with this key (None: with a bad one) is looked at any further."""
        with contextlib.suppress(RateExceeded):
            self.limits.admit({"calldex.address": address}, who)
            return True
        return False


def test_keys_and_addresses_have_budgets_of_their_own() -> None:
    """A key is counted wherever it is used, an address whoever uses it; a second refills both at their rates."""
    desk = Desk(Settings(key_rate=2, key_burst=3, address_rate=1, address_burst=2))
    assert [True] * 3 + [False] == [desk.admits("one", f"192.0.2.{n}") for n in range(4)]
    assert desk.admits("two")
    assert [True, True, False] == [desk.arrives("192.0.2.1") for _ in range(3)]
    assert desk.arrives("192.0.2.2")
    assert ["key", "address"] == desk.refused
    desk.now += 1
    assert [True, True, False] == [desk.admits("one") for _ in range(3)]
    assert [True, False] == [desk.arrives("192.0.2.1") for _ in range(2)]


def test_the_addresses_of_a_site_are_one() -> None:
    """Of IPv6, everybody has 2^64 addresses; they share a budget. An IPv4 address is one in IPv6 clothes as well."""
    desk = Desk(Settings(address_rate=1, address_burst=1))
    assert [True, False] == [desk.arrives(address) for address in ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")]
    assert desk.arrives("2001:db8:0:1::1")
    assert [True, False] == [desk.arrives(address) for address in ("192.0.2.1", "::ffff:192.0.2.1")]


def test_a_rate_of_0_is_none() -> None:
    """Each limit can be switched off by itself; that on bad keys stays."""
    desk = Desk(Settings(key_rate=0, address_rate=0, key_burst=1, address_burst=1))
    assert all(desk.admits("one") and desk.arrives("192.0.2.1") for _ in range(100))
    assert not all(desk.admits(None) for _ in range(STRANGER_BURST + 1))


def test_keys_cannot_be_guessed_at_speed() -> None:
    """Who showed too many bad keys learns nothing by showing a good one; who was there before is not locked out by
    them, nor is anybody elsewhere."""
    desk = Desk(Settings())
    assert desk.admits("neighbour")
    assert [True] * STRANGER_BURST + [False] == [desk.admits(None) for _ in range(STRANGER_BURST + 1)]
    assert not desk.admits("guessed")
    assert desk.admits("neighbour")
    assert desk.admits("guessed", "192.0.2.2")
    assert {"no-key"} == set(desk.refused)
    desk.now += 1
    assert [True] * STRANGER_RATE + [False] == [desk.admits(None) for _ in range(STRANGER_RATE + 1)]
    desk.now += 1
    assert desk.admits("guessed")


def test_a_request_costs_the_same_however_many_come() -> None:
    """Both limits together cost each of 10,000 who come by turns what they cost each of 5,000."""

    def come(desk: tuple[Limits, list[Scope]]) -> None:
        limits, scopes = desk
        for n, scope in enumerate(scopes):
            limits.arrive(scope)
            limits.admit(scope, n)

    def many(size: int) -> tuple[Limits, list[Scope]]:
        return Desk(Settings()).limits, [{"calldex.address": f"10.0.{n >> 8}.{n & 255}"} for n in range(size)]

    assert growth(many, come, 5_000) <= MOST


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Site]:
    """A site where a key may come five times."""
    settings = Settings(data=tmp_path / "data", threads=1, key_rate=1, key_burst=5)
    with Node(settings) as node:
        yield Site(node, Api(public(node), runner), people(node), [], [])


def used_up(site: Site, key: str) -> httpx.Response:
    """The first reply beyond the burst."""
    began = time.monotonic()
    for count in range(100):
        reply = site.cdr(key)
        if reply.status_code != 200:
            assert 5 <= count <= 6 + time.monotonic() - began
            return reply
    raise AssertionError("no limit")


def test_a_key_that_comes_too_often(strict: Site) -> None:
    """Beyond its burst a key gets 429 in the one shape, with when to come again; no other key does, nor does what is
    asked without one."""
    assert '"key";q=5;w=5' == strict.cdr().headers["ratelimit-policy"]
    reply = used_up(strict, "analyst")
    assert (429, "urn:calldex:error:rate_exceeded") == (reply.status_code, reply.json()["type"])
    assert ("1", '"key";r=0;t=1') == (reply.headers["retry-after"], reply.headers["ratelimit"])
    assert 200 == strict.cdr("admin").status_code
    key = strict.keys["analyst"]
    assert [200] * 5 == [
        strict.api.get(path, key).status_code for path in ("/", "/docs", "/healthz", "/readyz", "/metrics")
    ]
    text = strict.api.get("/metrics").text
    assert 'calldex_limited_total{limit="key"} 1.0' in text
    assert 'calldex_refused_total{code="rate_exceeded"} 1.0' in text


def test_the_headers_leave_caches_alone(strict: Site) -> None:
    """A page has the same tag and bytes however much is left, is not sent again while it is known, and that is told
    with what is left as well."""
    first, second = strict.cdr(), strict.cdr()
    assert (first.headers["etag"], first.content) == (second.headers["etag"], second.content)
    third = strict.cdr(headers={"If-None-Match": first.headers["etag"]})
    assert 304 == third.status_code
    assert ['"key";r=4;t=4', '"key";r=3;t=3', '"key";r=2;t=2'] == [
        reply.headers["ratelimit"] for reply in (first, second, third)
    ]


def test_bad_keys_from_one_address(strict: Site) -> None:
    """After too many bad keys an address gets 429 for whatever key it shows, others get what they got."""
    replies = [strict.api.get("/api/v2/cdr", f"cdx_{n}") for n in range(STRANGER_BURST + 100)]
    assert [401] * STRANGER_BURST == [reply.status_code for reply in replies[:STRANGER_BURST]]
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert "too many requests without a valid key" in refused.json()["error"]


@pytest.fixture
def proxied(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Site]:
    """A site behind proxies on this machine, where an address may come once."""
    settings = Settings(
        data=tmp_path / "data", threads=1, trusted_proxies=Networks("127.0.0.0/8"), address_rate=1, address_burst=1
    )
    with Node(settings) as node:
        yield Site(node, Api(public(node), runner), people(node), [], [])


def test_clients_behind_a_proxy_are_told_apart(proxied: Site) -> None:
    """The limit of an address is that of the client that the proxy names, and what machines watch is not limited."""
    statuses = [
        proxied.api.get("/", headers={"X-Forwarded-For": address}).status_code
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.9, 192.0.2.2")
    ]
    assert [200, 429, 200, 429] == statuses
    assert [200] * 3 == [proxied.api.get("/healthz").status_code for _ in range(3)]


def test_the_scheme_that_a_proxy_names(proxied: Site) -> None:
    """Replies that leave the proxy by TLS tell browsers to stay with it; others do not, whatever a client says."""
    for n, (header, value, told) in enumerate(
        (
            ("X-Forwarded-Proto", "https", True),
            ("X-Forwarded-Proto", "http", False),
            ("X-Forwarded-Proto", "nonsense", False),
            ("Forwarded", "for=192.0.2.99;proto=HTTPS", True),
        )
    ):
        sent = {header: value} | ({"X-Forwarded-For": f"198.51.100.{n}"} if header != "Forwarded" else {})
        assert told == ("strict-transport-security" in proxied.api.get("/", headers=sent).headers)


def test_two_names_for_a_client(proxied: Site) -> None:
    """Where both headers are there and contradict each other, one was made up, and the request is refused."""
    reply = proxied.api.get("/", headers={"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.2"})
    assert 400 == reply.status_code
    assert "different clients" in reply.json()["error"]


# --- proxies ----------------------------------------------------------------------------------------------------------

PEER = "10.0.0.1"
TRUSTED = Networks("10.0.0.0/8,2001:db8:aaaa::/48")


def client(headers: Mapping[str, str] | list[tuple[str, str]], peer: str = PEER) -> str:
    """Whose a request is."""
    given = headers.items() if isinstance(headers, Mapping) else headers
    return forwarded(peer, Headers(raw=[(k.lower().encode(), v.encode("latin-1")) for k, v in given]), TRUSTED)[0]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("198.51.100.1, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.1, 192.0.2.1, 10.0.0.2,10.0.0.3", "192.0.2.1"),
        ("nonsense, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 2001:db8:aaaa::7", "192.0.2.1"),
        ("10.0.0.9", "10.0.0.9"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("192.0.2.1, nonsense", PEER),
        ("192.0.2.1,", PEER),
        ("192.0.2.256", PEER),
        ("192.0.2.1:x", PEER),
        ("[2001:db8::1", PEER),
        ("localhost", PEER),
        ("", PEER),
    ],
)
def test_x_forwarded_for(written: str, expected: str) -> None:
    """The last address that is no proxy's; the peer's own if that is none."""
    assert expected == client({"X-Forwarded-For": written})
    assert "192.0.2.7" == client({"X-Forwarded-For": written}, peer="192.0.2.7")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1; proto=http ;by=203.0.113.4", "192.0.2.1"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="192.0.2.1:4711"', "192.0.2.1"),
        ("for=198.51.100.1, for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1, for=10.0.0.7", "192.0.2.1"),
        ('for="x, for=192.0.2.1', "192.0.2.1"),
        ("for=unknown", PEER),
        ("for=_hidden", PEER),
        ("by=192.0.2.1", PEER),
        ("for=192.0.2.1;", PEER),
        ("192.0.2.1", PEER),
    ],
)
def test_forwarded(written: str, expected: str) -> None:
    """The same, as RFC 7239 writes it."""
    assert expected == client({"Forwarded": written})
    assert "192.0.2.7" == client({"Forwarded": written}, peer="192.0.2.7")


FORGED = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)


@given(FORGED)
@example('for="')
@example("10.0.0.9")
@example('for=10.0.0.9;x="')
def test_nobody_names_himself(forged: str) -> None:
    """Whatever a client writes into the headers, a proxy that adds to them, in the same line or in one of its
    own, names them by their address; and nobody who is no trusted proxy names anybody else."""
    for header, added in (("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")):
        assert "192.0.2.1" == client({header: f"{forged}, {added}"})
        assert "192.0.2.1" == client([(header, forged), (header, added)])
        assert "198.51.100.7" == client({header: f"{forged}, {added}"}, "198.51.100.7")


@given(FORGED)
@example("for=10.0.0.9")
def test_the_other_header_is_no_way_in(forged: str) -> None:
    """Who adds the header that their proxy does not write becomes nobody else: they are who they are, or refused."""
    try:
        found = client({"X-Forwarded-For": "192.0.2.1", "Forwarded": forged})
    except BadRequest:
        return
    assert "192.0.2.1" == found


def test_the_address_goes_no_further(strict: Site) -> None:
    """Without a trusted proxy, nobody's headers change who they are."""
    with capture_logs():
        replies = [
            strict.api.get("/api/v2/cdr", f"cdx_{n}", headers={"X-Forwarded-For": f"192.0.2.{n}"})
            for n in range(STRANGER_BURST + 100)
        ]
    assert 429 in [reply.status_code for reply in replies]


# --- slow bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause_s", "status"), [(0.005, 200), (0.1, 408)])
def test_a_body_that_drips(empty: Site, monkeypatch: pytest.MonkeyPatch, pause_s: float, status: int) -> None:
    """A body may come slowly for a while, then it has to come at a rate; one that does not is 408."""
    monkeypatch.setattr(calldex.transport.requests, "BODY_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(calldex.transport.requests, "BODY_BYTES_A_SECOND", 20)
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}", "Content-Type": "application/json"}

    async def dripping() -> AsyncIterator[bytes]:
        for byte in b"[" + b" " * 60 + b"]":
            yield bytes([byte])
            await asyncio.sleep(pause_s)

    reply = empty.api.request("POST", "/api/ingest/v1/records", content=dripping(), headers=headers)
    assert status == reply.status_code
    if status == 408:
        assert "urn:calldex:error:too_slow" == reply.json()["type"]
        assert "20 bytes a second" in reply.json()["error"]


@pytest.mark.slow
def test_a_body_that_lay_unread_is_in_time(tmp_path: Path) -> None:
    """What came in time counts as in time, also when the process stood still for longer than a body may take to
    come."""
    data, keys = data_of(tmp_path, 1)
    server = Server(data)
    head = (
        f"POST /api/ingest/v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['ingest']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n["
    )
    with server.connect() as connection:
        connection.sendall(head.encode())
        time.sleep(1)
        server.process.send_signal(signal.SIGSTOP)
        connection.sendall(b"]")
        time.sleep(calldex.transport.requests.BODY_GRACE_SECONDS + 0.5)
        server.process.send_signal(signal.SIGCONT)
        assert b"HTTP/1.1 200" == next_reply(connection)[:12]
    server.end()


# --- safe headers -----------------------------------------------------------------------------------------------------


def test_every_reply_is_closed_to_browsers(strict: Site) -> None:
    """Whatever is asked, a browser is told to run and frame nothing of it; no cache keeps what says nothing of it."""
    replies = {
        path: strict.api.get(path) for path in ("/", "/docs", "/openapi.json", "/nothing", "/metrics", "/api/v2/cdr")
    }
    replies["page"] = strict.cdr()
    for path, reply in replies.items():
        assert "same-origin" == reply.headers["cross-origin-resource-policy"]
        policy = reply.headers["content-security-policy"]
        assert path in ("/", "/docs") or "default-src 'none'; frame-ancestors 'none'" == policy
        assert "frame-ancestors 'none'" in policy
        # The page of the application says nothing of anybody, and is asked for anew each time.
        kept = {"page": "private, no-cache", "/": "no-cache", "/docs": "no-cache"}.get(path, "no-store")
        assert kept == reply.headers["cache-control"]
        assert "strict-transport-security" not in reply.headers
