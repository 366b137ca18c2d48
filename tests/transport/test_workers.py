"""Places in front of the threads: so many run, so many wait, the rest is refused, and who leaves frees their place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest
from starlette.types import Message

import calldex.transport.requests
from calldex import budget
from calldex.api.app import SMALL_POSTS_AT_ONCE, SMALL_POSTS_WAITING, public
from calldex.errors import QueryTimeout, Unavailable
from calldex.ingest.pipeline import Post
from calldex.node import Node
from calldex.settings import Settings
from calldex.transport.shares import ASKER, Asker, of_one
from calldex.transport.workers import ClientGone, Workers
from tests.api.conftest import MAIN, Api, Site, people, write

_T = TypeVar("_T")
pytestmark = pytest.mark.timeout(120)  # a place that is not given back fails here, and does not let the run hang
SECONDS: Final = 30


def bounded(work: Coroutine[Any, Any, _T]) -> _T:
    """What comes of it, in an event loop of its own; `TimeoutError` if nothing does."""
    return asyncio.run(asyncio.wait_for(work, SECONDS))


def workers(running: int, waiting: int) -> Workers:
    """Workers that refuse with 503."""
    return Workers("test", running, waiting, lambda: Unavailable("full"))


async def stays() -> Message:
    """A client that never leaves."""
    await asyncio.Event().wait()
    raise AssertionError


def leaves(after: asyncio.Event) -> Callable[[], Awaitable[Message]]:
    """A client that leaves."""

    async def receive() -> Message:
        await after.wait()
        return {"type": "http.disconnect"}

    return receive


def test_no_more_run_than_may() -> None:
    """Of many that come at once two run, three wait their turn, the others are refused; all places come back."""
    found = workers(2, 3)
    most = 0
    lock, running = threading.Lock(), [0]

    def work() -> None:
        nonlocal most
        with lock:
            running[0] += 1
            most = max(most, running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    async def one() -> None:
        async with found.place(stays):
            await found.run(work)

    async def main() -> list[BaseException | None]:
        return await asyncio.gather(*(one() for _ in range(9)), return_exceptions=True)

    outcomes = bounded(main())
    assert [None] * 5 == outcomes[:5]
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes[5:])
    assert (2, 0, 0) == (most, found.running, found.waiting)


def test_who_leaves_frees_their_place() -> None:
    """A waiting client that leaves, or whose request is cancelled, waits no more; those behind get their turn."""

    async def main() -> None:
        found, gone, done = workers(1, 3), asyncio.Event(), asyncio.Event()

        async def one(receive: Callable[[], Awaitable[Message]]) -> None:
            async with found.place(receive):
                await done.wait()

        tasks = [asyncio.create_task(one(receive)) for receive in (stays, leaves(gone), stays, stays)]
        await asyncio.sleep(0.01)
        assert (1, 3) == (found.running, found.waiting)
        gone.set()
        tasks[2].cancel()
        await asyncio.sleep(0.01)
        assert (1, 1) == (found.running, found.waiting)
        done.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(None), ClientGone, asyncio.CancelledError, type(None)] == [type(outcome) for outcome in outcomes]
        assert (0, 0) == (found.running, found.waiting)

    bounded(main())


def test_askers_take_turns() -> None:
    """Of those that wait, whoever has had a place comes after the others, however early they came with more."""
    one, other = Asker(1, ("key", 1)), Asker(2, ("key", 2))

    async def main() -> list[Asker]:
        found, served = workers(1, 8), list[Asker]()

        async def ask(asker: Asker) -> None:
            ASKER.set(asker)
            async with found.place(stays):
                served.append(asker)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(ask(each)) for each in (one, one, one, one, other, other)]
        await asyncio.gather(*tasks)
        return served

    assert [one, one, other, one, other, one] == bounded(main())


def test_a_turn_that_comes_as_its_task_is_cancelled_is_passed_on() -> None:
    """A place that was handed to a request at the moment of its end is not lost."""

    async def main() -> None:
        found, done = workers(1, 2), asyncio.Event()

        async def one() -> None:
            async with found.place(stays):
                await done.wait()

        first, second, third = (asyncio.create_task(one()) for _ in range(3))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        second.cancel()
        done.set()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert third.exception() is None
        assert (0, 0) == (found.running, found.waiting)

    bounded(main())


@pytest.fixture
def narrow(tmp_path: Path, site: Site) -> Iterator[Site]:
    """A site where one search runs and two wait."""
    with Node(Settings(data=tmp_path / "data", threads=1, max_queries=1, max_waiting=2)) as node:
        keys = people(node)
        write(node, "main", site.main)
        yield Site(node, Api(public(node), site.api.runner), keys, site.main, [])


def test_a_busy_server_refuses_at_once(narrow: Site) -> None:
    """Of twenty searches at once that nobody asked before one runs, one waits, which is its key's share, and the others
    get 503 with the time to come again; who asks for a page that is kept needs no place, and gets it."""
    headers = {"Authorization": f"Bearer {narrow.keys['admin']}", "Accept-Encoding": "identity"}

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        asked = (client.get("/api/v2/cdr", params={"per_page": 20 + number}, headers=headers) for number in range(20))
        return await asyncio.gather(*asked, *(client.get("/api/v2/cdr", headers=headers) for _ in range(20)))

    # From here on it is known whose the key is, so that they come in their order, and there is a page to be kept.
    assert 200 == narrow.cdr().status_code
    replies = narrow.api.run(ask)
    assert [200] * 2 + [503] * 18 + [200] * 20 == [reply.status_code for reply in replies]
    assert {"1"} == {reply.headers["retry-after"] for reply in replies[2:20]}
    assert [MAIN] * 22 == [reply.json()["total"] for reply in (*replies[:2], *replies[20:])]
    assert 'calldex_refused_total{code="unavailable"} 18.0' in narrow.api.get("/metrics").text
    assert 200 == narrow.cdr().status_code


def test_too_many_posts_are_told_when_to_come_again(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Posts beyond those of one key that run and wait get 429, and the others are carried out."""
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}", "Content-Type": "application/json"}
    taken = of_one(SMALL_POSTS_AT_ONCE) + of_one(SMALL_POSTS_WAITING)
    write, go_on = empty.node.ingest.post_all, threading.Event()

    def held(posts: Sequence[Post]) -> list[bytes | Exception]:
        """None is done before all have come."""
        go_on.wait(60)
        return write(posts)

    async def send(client: httpx.AsyncClient) -> list[httpx.Response]:
        posts = [
            asyncio.ensure_future(client.post("/api/ingest/v1/records", content=b"[]", headers=headers))
            for _ in range(taken + 5)
        ]
        for refused in islice(asyncio.as_completed(posts), 5):
            await refused
        go_on.set()
        return await asyncio.gather(*posts)

    monkeypatch.setattr(empty.node.ingest, "post_all", held)
    monkeypatch.setattr("calldex.directory.snapshot.RECHECK_S", 600.0)
    assert 403 == empty.cdr("ingest").status_code  # from here on it is known whose the key is
    replies = empty.api.run(send)
    refused = [reply for reply in replies if reply.status_code != 200]
    assert taken == len(replies) - len(refused)
    assert {(429, "1", "urn:calldex:error:too_many")} == {
        (reply.status_code, reply.headers["retry-after"], reply.json()["type"]) for reply in refused
    }


def test_a_body_that_does_not_come_frees_its_place(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops in the middle of a body is told so after a time."""
    monkeypatch.setattr(calldex.transport.requests, "BODY_SECONDS", 0.05)
    headers = {"Authorization": f"Bearer {empty.keys['ingest']}", "Content-Type": "application/json"}

    async def stuck() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.sleep(20)

    reply = empty.api.request("POST", "/api/ingest/v1/records", content=stuck(), headers=headers)
    assert (408, "urn:calldex:error:too_slow") == (reply.status_code, reply.json()["type"])
    assert "1 bytes of the body arrived within 0.05 s" in reply.json()["error"]
    assert 'calldex_busy{kind="ingest",state="running"} 0.0' in empty.api.get("/metrics").text


def test_who_asks_most_uses_up_their_own_share() -> None:
    """One key fills neither the places nor the queue: a second one is taken in at once, and of those who wait each gets
    its turn; two keys of one account leave a place for another account."""

    async def done() -> None:
        found = workers(4, 8)
        stop = asyncio.Event()
        order: list[str] = []

        async def ask(account: int, key: str) -> None:
            ASKER.set(Asker(account, ("key", key)))
            async with found.place(None):
                order.append(key)
                await stop.wait()

        greedy = [asyncio.create_task(ask(1, "greedy")) for _ in range(7)]
        await asyncio.sleep(0)
        assert (2, 4) == (found.running, found.waiting)
        also = [asyncio.create_task(ask(1, "also")) for _ in range(2)]
        await asyncio.sleep(0)
        assert (3, 5) == (found.running, found.waiting)
        other = asyncio.create_task(ask(2, "other"))
        await asyncio.sleep(0)
        assert ["greedy", "greedy", "also", "other"] == order
        stop.set()
        refused = await asyncio.gather(*greedy, *also, other, return_exceptions=True)
        assert 1 == sum(isinstance(each, Unavailable) for each in refused)
        assert (0, 0) == (found.running, found.waiting)

    bounded(done())


def test_waiting_counts_as_well() -> None:
    """A request has one budget of time: who waits for a place longer than that is told so, and leaves the queue; what
    runs is stopped at the next statement or record."""

    async def done() -> None:
        found = Workers("test", 1, 5, lambda: Unavailable("full"), place_s=0.2)
        freed = asyncio.Event()

        async def hold() -> None:
            async with found.place(None):
                await freed.wait()

        holding = asyncio.create_task(hold())
        await asyncio.sleep(0)
        with pytest.raises(QueryTimeout, match=r"longer than 0\.2 s"):
            async with found.place(None):
                raise AssertionError
        assert 0 == found.waiting
        freed.set()
        await holding

        async def go_on() -> None:
            async with found.place(None):
                while True:
                    await found.run(budget.check)

        with pytest.raises(QueryTimeout):
            await go_on()

    bounded(done())
