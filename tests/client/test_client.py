"""The client, against the real server and against one that fails in every way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calldex.client import (
    ApiError,
    AsyncClient,
    Client,
    ClientError,
    CursorExpired,
    Incomplete,
    RightsChanged,
    Unauthorized,
    Unreachable,
)
from calldex.client.flows import Stream, parameters
from calldex.exports import FORMATS
from calldex.texts import listed
from tests.api.serving import Server, data_of

RECORDS: Final = 300
SERVERS_OWN: Final = ("apsw", "duckdb", "msgspec", "numpy", "sqlalchemy", "starlette", "uvicorn", "structlog", "click")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with 300 records: its base URL, and the key of an admin."""
    data, keys = data_of(tmp_path_factory.mktemp("client"), RECORDS)
    server = Server(data)
    yield server.url, keys["admin"]
    assert 0 == server.end()[0]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits between two tries; how long they would have waited."""
    waited: list[float] = []

    async def slept(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("calldex.client.client.time.sleep", waited.append)
    monkeypatch.setattr("calldex.client.client.asyncio.sleep", slept)
    return waited


def test_a_walk_gives_every_record_once(served: tuple[str, str]) -> None:
    """Whatever the size of the pages, newest first; sync and async alike."""

    async def walked() -> list[str]:
        async with AsyncClient(*served) as client:
            return [record["uuid"] async for record in client.cdrs(per_page=7)]

    with Client(*served) as client:
        whole = [record["uuid"] for record in client.cdrs()]
        assert whole == [record["uuid"] for record in client.cdrs(per_page=7)]
    assert whole == asyncio.run(walked())
    assert RECORDS == len(set(whole))


def test_filters_and_look_ups(served: tuple[str, str]) -> None:
    """Parameters may be lists, days and numbers; what a look-up names can be asked for."""
    with Client(*served) as client:
        everything = list(client.cdrs())
        wanted = [one for one in everything if one["type"] in ("inbound", "outbound") and one["duration_s"] > 60]
        assert wanted == list(client.cdrs(type=["inbound", "outbound"], min_duration=60, start_date=date(2000, 1, 1)))
        queue = client.lookup("queues")[0]
        found = list(client.cdrs(queue_ids=[queue["id"]]))
        assert {queue["name"]} == {record["queue"] for record in found}
        with pytest.raises(ValueError, match="agents, queues"):
            client.lookup("skills")


def test_what_is_refused_is_told(served: tuple[str, str]) -> None:
    """With the server's words, and no key."""
    with Client(served[0], "cdx_wrong") as client, pytest.raises(Unauthorized) as refused:
        list(client.cdrs())
    assert "cdx_wrong" not in str(refused.value)
    with Client(*served) as client, pytest.raises(ApiError, match="dispositoin") as bad:
        list(client.cdrs(dispositoin="answered"))
    assert 400 == bad.value.status


def test_where_and_who_come_from_the_environment(served: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`CALLDEX_URL` and `CALLDEX_KEY`; without them it says what is missing."""
    monkeypatch.setenv("CALLDEX_URL", served[0])
    with pytest.raises(ClientError, match="CALLDEX_KEY"):
        Client()
    monkeypatch.setenv("CALLDEX_KEY", served[1])
    with Client() as client:
        assert client.lookup("agents")


def answering(*replies: httpx2.Response | Exception) -> Client:
    """A client of a server that gives these replies, one after the other."""
    left = list(replies)

    def reply(request: httpx2.Request) -> httpx2.Response:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return Client("http://calls.test", "cdx_key", transport=httpx2.MockTransport(reply))


def page(count: int, total: int, token: str | None) -> httpx2.Response:
    """A page of records."""
    records = [{"uuid": str(number)} for number in range(count)]
    return httpx2.Response(200, json={"records": records, "total": total, "page": 1, "search_token": token})


def test_what_passes_is_tried_again(at_once: list[float]) -> None:
    """Broken connections, limits, a server that starts: as long as it asks, if it asks."""
    client = answering(
        page(2, 3, "more"),
        httpx2.ConnectError("gone"),
        httpx2.Response(429, headers={"Retry-After": "7"}),
        httpx2.Response(503, json={"error": "starting"}),
        httpx2.Response(
            503, headers={"Retry-After": "Mon, 02 Nov 2026 10:00:30 GMT", "Date": "Mon, 02 Nov 2026 10:00:10 GMT"}
        ),
        httpx2.Response(503, headers={"Retry-After": "soon"}),
        page(1, 3, None),
    )
    assert 3 == len(list(client.cdrs()))
    assert 5 == len(at_once)
    assert 7 <= at_once[1] < 8
    assert 20 <= at_once[3] < 21


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([page(2, 3, None)], Incomplete),
        ([page(2, 1, None)], Incomplete),
        ([page(0, 3, "more")], Incomplete),
        ([httpx2.Response(200, content=b'{"records": [')], Incomplete),
        ([httpx2.ReadError("cut")] * 6, Unreachable),
        ([httpx2.Response(503)] * 6, ApiError),
        ([httpx2.Response(302, headers={"Location": "http://elsewhere.test"})], ApiError),
        ([httpx2.Response(403, json={"error": "no"})], ApiError),
        ([httpx2.Response(409, json={"error": "changed"})], RightsChanged),
        ([httpx2.Response(410, json={"error": "old", "earliest_cursor": "x"})], CursorExpired),
    ],
)
def test_a_walk_never_ends_early(replies: list[httpx2.Response | Exception], expected: type[ClientError]) -> None:
    """It gives all, or raises."""
    with pytest.raises(expected):
        list(answering(*replies).cdrs())


def test_a_moving_total_proves_nothing() -> None:
    """A server that counts anew for each page, as others do, is not called incomplete for it."""
    assert 3 == len(list(answering(page(2, 3, "more"), page(1, 4, None)).cdrs()))


def test_the_feed_goes_on_where_it_was() -> None:
    """Page by page by its cursor, to its end; a page that failed is asked for again."""
    asked: list[dict[str, str]] = []
    replies: list[dict[str, Any]] = [
        {"changes": [{"seq": 1}], "next_cursor": "one", "has_more": True},
        {"changes": [], "next_cursor": "two", "has_more": False, "complete_through": "2026-11-01T00:00:00Z"},
    ]

    def reply(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        if len(asked) == 2:
            return httpx2.Response(502)
        return httpx2.Response(200, json=replies.pop(0))

    client = Client("http://calls.test", "cdx_key", transport=httpx2.MockTransport(reply))
    pages = list(client.changes(start=datetime(2026, 11, 1, tzinfo=UTC), type="inbound"))
    assert [("one", True), ("two", False)] == [(page.next_cursor, page.has_more) for page in pages]
    begun = {"limit": "10000", "type": "inbound"}
    assert [begun | {"start": "2026-11-01T00:00:00+00:00"}, *[begun | {"cursor": "one"}] * 2] == asked


def test_an_instant_has_a_zone() -> None:
    """One without is refused before anything is asked."""
    with pytest.raises(ValueError, match="no zone"):
        list(answering().cdrs(start_date=datetime(2026, 11, 1)))  # noqa: DTZ001 - that is the point


EXPORTS: Final[dict[str, Callable[[], list[httpx2.Response | Exception]]]] = {
    "cut at a line": lambda: [httpx2.Response(200, headers={"Calldex-Expected-Records": "2"}, content=b"{}\n")],
    "cut in a line": lambda: [httpx2.Response(200, headers={"Calldex-Expected-Records": "2"}, content=b"{}\n{}\n{")],
}


@pytest.mark.parametrize("replies", EXPORTS.values(), ids=EXPORTS)
def test_a_file_is_whole_or_is_not_there(
    replies: Callable[[], list[httpx2.Response | Exception]], tmp_path: Path
) -> None:
    """A stream that is cut is fetched again; when that fails too, the file of yesterday is still the file."""
    target = tmp_path / "calls.ndjson"
    target.write_text("yesterday")
    with pytest.raises(Incomplete):
        answering(*(reply for _ in range(6) for reply in replies())).export(target)
    assert ["yesterday"] == [path.read_text() for path in tmp_path.iterdir()]
    whole = httpx2.Response(200, headers={"Calldex-Expected-Records": "2"}, content=b"{}\n{}\n")
    done = answering(*replies(), whole).export(target)
    assert (2, 6, "{}\n{}\n") == (done.records, done.size, target.read_text())


@pytest.mark.parametrize(
    ("name", "end"), [*((name, None) for name in FORMATS), *((f.name, "line") for f in FORMATS.values() if f.last)]
)
def test_every_kind_of_file_is_proved_whole(
    served: tuple[str, str], tmp_path: Path, name: str, end: str | None
) -> None:
    """Also behind a proxy that ends a reply properly where it was cut: by the number of records, or by what only a
    whole one ends with."""
    target = tmp_path / "calls"
    with Client(*served) as client:
        done = client.export(target, format=name, end=end, type="inbound")
    whole = target.read_bytes()
    assert (len(whole), hashlib.sha256(whole).hexdigest()) == (done.size, done.sha256)
    told = {"Calldex-Expected-Records": str(done.records)}
    lines = whole.splitlines(keepends=True)
    cuts = [whole[:-1], whole[: len(whole) // 2], b"".join(lines[:-1]), b"".join((lines[0], *lines[2:])), b""]
    for cut in cuts[: 5 if FORMATS[name].last else 3]:
        with pytest.raises(Incomplete):
            answering(*[httpx2.Response(200, headers=told, content=cut) for _ in range(6)]).export(
                target, format=name, end=end
            )
    again = answering(httpx2.Response(200, headers=told, content=whole)).export(target, format=name, end=end)
    assert done == again


def test_a_cell_with_line_ends_is_no_record(tmp_path: Path) -> None:
    """Of CSV, lines within quotes do not count, wherever the pieces of a reply end."""
    rows = b'uuid,comment\r\n1,"a ""b""\n\nc"\r\n2,"\n"\r\n'
    for at in range(len(rows)):
        stream = Stream("csv", {})
        stream.take(rows[:at])
        stream.take(rows[at:])
        assert 2 == stream.ended({"calldex-expected-records": "2"}).records


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])).map(str.strip), min_size=1))
def test_an_item_may_hold_commas(items: list[str]) -> None:
    """And quotes, as the API reads lists; so one wrap-up code stays one."""
    assert items == listed(parameters({"wrapup_codes": items})["wrapup_codes"])


def test_nothing_of_the_server_is_imported() -> None:
    """A program that only asks needs none of the server's dependencies."""
    program = "import json, sys, calldex.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert [] == [name for name in json.loads(done.stdout) if name.split(".")[0] in SERVERS_OWN]
