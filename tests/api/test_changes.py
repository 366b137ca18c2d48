"""`GET /api/v2/cdr/changes` over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import pytest

from calldex.demo import interactions
from tests.api.conftest import Site, write
from tests.engines import erase

PATH = "/api/v2/cdr/changes"


def page(site: Site, key: str = "admin", **params: Any) -> dict[str, Any]:
    """A page of the feed."""
    reply = site.api.get(PATH, site.keys[key], **params)
    assert 200 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    assert {"changes", "next_cursor", "has_more", "complete_through"} == set(found)
    return found


@pytest.mark.parametrize("key", ["admin", "supervisor", "analyst", "other"])
def test_it_gives_what_the_list_gives(site: Site, key: str) -> None:
    """From the beginning, page by page, every record once, as the list shows it to the same person."""
    found: dict[str, Any] = {}
    reply = page(site, key, start="beginning", limit=17)
    while True:
        for change in reply["changes"]:
            assert ("upsert", change["uuid"]) == (change["change"], change["record"]["uuid"])
            assert change["uuid"] not in found
            found[change["uuid"]] = change["record"]
        if not reply["has_more"]:
            break
        reply = page(site, key, cursor=reply["next_cursor"], limit=17)
    listed = site.cdr(key, per_page=10_000).json()["records"]
    assert {record["uuid"]: record for record in listed} == found


def test_a_change_is_told_at_once(empty: Site) -> None:
    """What was acknowledged is in the next page; so is what was erased."""
    records = list(interactions(3, seed=8))
    cursor = page(empty, start="now")["next_cursor"]
    write(empty.node, "main", records)
    reply = page(empty, cursor=cursor)
    assert {record.uuid for record in records} == {change["uuid"] for change in reply["changes"]}
    erase(empty.node.store, empty.node.directory.account("main").id, [records[0].uuid])
    reply = page(empty, cursor=reply["next_cursor"])
    assert [("delete", records[0].uuid, None)] == [(c["change"], c["uuid"], c["record"]) for c in reply["changes"]]
    assert [] == page(empty, cursor=reply["next_cursor"])["changes"]


def test_waiting_ends_with_the_change(empty: Site) -> None:
    """A page that is waited for comes when there is something, long before its time is over."""
    cursor = page(empty, start="now")["next_cursor"]
    (record,) = interactions(1, seed=8)
    timer = threading.Timer(0.3, write, (empty.node, "main", [record]))
    timer.start()
    began = time.monotonic()
    reply = page(empty, cursor=cursor, wait=50)
    timer.join()
    assert [record.uuid] == [change["uuid"] for change in reply["changes"]]
    assert time.monotonic() - began < 40
    assert [] == page(empty, cursor=reply["next_cursor"], wait=1)["changes"]


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"start": "yesterday"}, 400, "beginning, now, or an ISO 8601 instant"),
        ({"start": "2026-11-01T00:00:00"}, 400, "beginning, now, or an ISO 8601 instant"),
        ({"start": "2026-11-01"}, 400, "beginning, now, or an ISO 8601 instant"),
        ({"start": "now", "cursor": "x"}, 400, "either of both"),
        ({"cursor": "x"}, 400, "not one of ours"),
        ({"limit": "10001"}, 400, "limit"),
        ({"wait": "61"}, 400, "wait"),
        ({"versions": "newest"}, 400, "all, latest"),
        ({"page": "2"}, 400, "unknown"),
    ],
)
def test_what_is_refused(site: Site, asked: dict[str, Any], status: int, told: str) -> None:
    """With what is valid."""
    reply = site.api.get(PATH, site.keys["admin"], **asked)
    assert (status, True) == (reply.status_code, told in reply.text or told in str(reply.json())), reply.text


@pytest.mark.parametrize("start", ["2026-11-01T02:00:00+02:00", "2026-11-01T02:00:00 02:00", "1793491200000"])
def test_a_start_is_an_instant_as_everywhere(site: Site, start: str) -> None:
    """As `start_date` takes it: also a `+` that was not encoded, and epochs."""
    assert page(site, start="2026-11-01T00:00:00Z")["changes"] == page(site, start=start)["changes"]


def test_other_rights_are_told(site: Site) -> None:
    """A cursor of somebody who sees else is 409."""
    cursor = page(site, "admin")["next_cursor"]
    assert 409 == site.api.get(PATH, site.keys["supervisor"], cursor=cursor).status_code
    assert 400 == site.api.get(PATH, site.keys["other"], cursor=cursor).status_code
    assert 403 == site.api.get(PATH, site.keys["phone"]).status_code


def test_a_stream_of_events(empty: Site) -> None:
    """The same pages as server-sent events, each with its cursor as id, by which a browser goes on."""
    records = list(interactions(2, seed=8))
    write(empty.node, "main", records[:1])
    headers = {"Authorization": f"Bearer {empty.keys['admin']}", "Accept": "text/event-stream", "Host": "calldex.test"}

    async def first(client: httpx.AsyncClient, extra: dict[str, str]) -> tuple[str, Any]:
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await received.put(message["body"])

        sent = False

        async def receive() -> Any:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError

        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": b"",
            "headers": [
                (n.lower().encode(), v.encode()) for n, v in (headers | extra | {"Host": "calldex.test"}).items()
            ],
            "client": ("127.0.0.1", 1),
            "server": ("calldex.test", 80),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
            "raw_path": PATH.encode(),
            "asgi": {"version": "3.0"},
        }
        serving = asyncio.ensure_future(empty.api.app(scope, receive, send))
        text = b""
        while b"\n\n" not in text:
            text += await asyncio.wait_for(received.get(), 30)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        id_, data = text.decode().split("\n\n")[0].split("\n")
        return id_.removeprefix("id: "), json.loads(data.removeprefix("data: "))

    cursor, told = empty.api.run(lambda client: first(client, {}))
    assert ([records[0].uuid], cursor) == ([change["uuid"] for change in told["changes"]], told["next_cursor"])
    write(empty.node, "main", records[1:])
    _, told = empty.api.run(lambda client: first(client, {"Last-Event-ID": cursor}))
    assert [records[1].uuid] == [change["uuid"] for change in told["changes"]]
