"""The requests of the programs that people make reports with, as their makers document them and the guide has them.

What is done here with a reply is what the program does with it. The programs themselves are not here.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import duckdb
import httpx2
import pytest

from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import people, write
from tests.api.serving import Server

GUIDE = (Path(__file__).parents[1] / "docs" / "guides" / "reports.md").read_text()
BASE = "https://calls.example.com"
END = datetime(2026, 10, 27, tzinfo=UTC)
LONDON = ZoneInfo("Europe/London")
PAGES_ORIGIN = "https://reports.example.com"
INFINITY = {"Accept": "application/json;q=0.9,text/plain", "User-Agent": "Grafana/12.2.0"}
_OLDEST_STORAGE = 64
"""What any DuckDB since 1.0 opens."""


class Site:
    """A running server, over the days around the end of summer time in London, and a key."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def get(self, address: str, **headers: str) -> httpx2.Response:
        """One request, to an address of the guide, with a bearer token."""
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        return httpx2.get(address.replace(BASE, self.url), headers=sent, timeout=60)

    def json(self, path: str) -> Any:
        """What is there."""
        reply = self.get(f"{BASE}{path}")
        assert 200 == reply.status_code, reply.text
        return reply.json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with 2,000 records of six days; tests write nothing."""
    data = tmp_path_factory.mktemp("reports")
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(2_000, seed=3, end=END, days=6)))
    server = Server(data, cors_origins=PAGES_ORIGIN)
    yield Site(server.url, keys["admin"])
    server.end()


def section(heading: str) -> list[str]:
    """The blocks of a section of the guide."""
    text = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)\n```", text, re.DOTALL)


# --- Excel and Power BI: Power Query ----------------------------------------------------------------------------------


class Query:
    """A query in M: what it asks, and what it makes of a reply."""

    def __init__(self, text: str, **known: datetime) -> None:
        (self.path,) = re.findall(r'RelativePath = "(.*?)"', text)
        (asked,) = re.findall(r"Query = \[(.*?)\]", text, re.DOTALL)
        self.asked = dict(re.findall(r'(\w+) = "(.*?)"', asked))
        for name, parameter in re.findall(r"(\w+) = Text\((\w+)\)", asked):
            self.asked[name] = known[parameter].strftime("%Y-%m-%dT%H:%M:%S")
        (self.key,) = re.findall(r'ApiKeyName = "(.*?)"', text)
        self.types = dict(re.findall(r'\{"(\w+)", ([\w. ]+)\}', text))

    def rows(self, site: Site) -> list[dict[str, Any]]:
        """The typed rows."""
        params = {**self.asked, self.key: site.key}
        headers = {"User-Agent": "Microsoft.Data.Mashup", "Accept-Encoding": "gzip, deflate"}
        reply = httpx2.get(f"{site.url}/{self.path}", params=params, headers=headers, timeout=60)
        assert (200, "text/csv") == (reply.status_code, reply.headers["content-type"].partition(";")[0]), reply.text
        found = csv.DictReader(io.StringIO(reply.content.decode("utf-8"), newline=""))
        assert self.asked["fields"].split(",") == found.fieldnames, "also where no call is"
        return [{name: self._typed(name, value) for name, value in row.items()} for row in found]

    def _typed(self, name: str, value: str) -> Any:
        match self.types.get(name):
            case None:
                return value
            case "Int64.Type":
                return int(value) if value else None
            case "type datetime":
                at = datetime.fromisoformat(value)
                assert at.tzinfo is None, "what has an offset is no datetime"
                return at
            case other:
                raise AssertionError(other)


def test_excel_gets_typed_rows(site: Site) -> None:
    """All of what the list has, times on the clock of the zone, lengths as numbers, numbers of telephones as text."""
    (text,) = section("Excel")
    query = Query(text)
    query.asked["start_date"] = "2026-10-22"
    listed = {
        record["uuid"]: record
        for record in site.json("/api/v2/cdr?start_date=2026-10-22&timezone=Europe/London&per_page=10000")["records"]
    }
    rows = query.rows(site)
    assert len(listed) == len(rows) > 1_000
    for row in rows:
        record = listed[row["uuid"]]
        at = datetime.fromisoformat(record["started_at"]).astimezone(LONDON).replace(tzinfo=None)
        lengths = (record["wait_s"], record["talk_s"], record["from"] or "")
        assert (at, *lengths) == (row["started_at"], row["wait_s"], row["talk_s"], row["from"])


def test_the_connection_can_be_tried(site: Site) -> None:
    """Before it refreshes, the service asks the fixed address alone, with the key."""
    assert 200 == httpx2.get(f"{site.url}/", params={"key": site.key}).status_code


def test_partitions_of_power_bi_have_each_call_once(site: Site) -> None:
    """Days on the clock of the zone, of which one has 25 hours: nothing is missing, nothing twice, and each row lies
    within its partition by its own column."""
    (text,) = section("Power BI")
    found: Counter[str] = Counter()
    for number in range(8):
        begin = datetime(2026, 10, 20) + timedelta(number)  # noqa: DTZ001 - as the parameters are
        rows = Query(text, RangeStart=begin, RangeEnd=begin + timedelta(1)).rows(site)
        assert all(begin <= row["started_at"] < begin + timedelta(1) for row in rows)
        assert all(isinstance(row["updated_at"], datetime) for row in rows)
        found.update(row["uuid"] for row in rows)
    assert {1} == set(found.values())
    assert site.json("/api/v2/cdr?per_page=1")["total"] == len(found)


# --- Grafana ----------------------------------------------------------------------------------------------------------


def interpolated(address: str, begin: datetime, end: datetime, queue: str = "") -> str:
    """An address with the values of macros and variables, as the Infinity data source and the dashboard put them."""

    def interval(match: re.Match[str]) -> str:
        limit, below, above = match[1].split(",")
        return below if end - begin <= timedelta(days=int(limit.removesuffix("d"))) else above

    for name, at in (("__timeFrom", begin), ("__timeTo", end)):
        iso = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        address = address.replace(f"${{{name}:date:iso}}", iso)
    address = re.sub(r"\$__customInterval\((.*?)\)", interval, address).replace("${queue:csv}", queue)
    assert "$" not in address, address
    return address


def by_label(blocks: list[str], path: str) -> str:
    """The address of the guide with a path."""
    return next(block for block in blocks if urlsplit(block).path == path)


@pytest.mark.parametrize("days", [2, 10])
def test_grafana_draws_statistics(site: Site, days: int) -> None:
    """Time and numbers in each row, in order, each within the range; what they add up to is the list's count."""
    address = by_label(section("Grafana"), "/api/v2/cdr/stats")
    begin, end = END - timedelta(days=days, hours=-7), END
    reply = site.get(interpolated(address, begin, end), **INFINITY)
    assert (200, "application/json") == (reply.status_code, reply.headers["content-type"])
    rows = reply.json()["groups"]
    times = [datetime.fromtimestamp(row["bucket"] / 1000, LONDON) for row in rows]
    assert sorted(set(times)) == times
    if days > 7:
        assert {(0, 0)} == {(at.hour, at.minute) for at in times}, "days of the zone"
    numbers = ("calls", "answered_rate", "service_level")
    assert all(isinstance(row[name], int | float | None) for row in rows for name in numbers)
    inbound = interpolated(f"{BASE}/api/v2/cdr?type=inbound&per_page=1&{urlsplit(address).query}", begin, end)
    asked = [(name, value) for name, value in parse_qsl(urlsplit(inbound).query) if name in ("start_date", "end_date")]
    total = httpx2.get(f"{site.url}/api/v2/cdr", params=[*asked, ("type", "inbound"), ("key", site.key)]).json()[
        "total"
    ]
    assert total == sum(row["calls"] for row in rows) > 0


@pytest.mark.slow
def test_grafana_filters_by_a_variable(site: Site) -> None:
    """Its options are the look-up's names and ids; several are sent with commas between, all of them as nothing."""
    address = by_label(section("Grafana"), "/api/v2/cdr/stats")
    health = site.get(f"{BASE}/api/v2/cdr/queues", **INFINITY)
    assert 200 == health.status_code
    options = {str(one["id"]): one["name"] for one in health.json()}
    assert 401 == httpx2.get(f"{site.url}/api/v2/cdr/queues", headers={"Authorization": "Bearer old"}).status_code

    def calls(queue: str) -> int:
        asked = interpolated(address, END - timedelta(days=6), END, queue)
        total: int = site.get(asked, **INFINITY).json()["total"]["calls"]
        return total

    each = {id_: calls(id_) for id_ in options}
    two = sorted(each, key=lambda id_: each[id_])[-2:]
    assert calls(",".join(two)) == sum(each[id_] for id_ in two) > 0
    assert calls("") > calls(",".join(options)), "calls without a queue count where no queue is chosen"


def test_grafana_may_send_epochs(site: Site) -> None:
    """`${__timeFrom}` and `${__timeTo}` are epoch milliseconds, other plugins' macros seconds."""
    begin, end = END - timedelta(days=2), END
    wanted = site.json(f"/api/v2/cdr/stats?start_date={begin:%Y-%m-%dT%H:%M:%SZ}&end_date={end:%Y-%m-%dT%H:%M:%SZ}")
    for unit in (1, 1000):
        first, last = (round(at.timestamp() * unit) for at in (begin, end))
        assert wanted == site.json(f"/api/v2/cdr/stats?start_date={first}&end_date={last}")
    assert wanted["total"]["calls"] > 0


@pytest.mark.slow
def test_grafana_walks_by_cursor(site: Site) -> None:
    """The cursor of each reply goes with the same parameters, until there is none: every call once."""
    address = interpolated(by_label(section("Grafana"), "/api/v2/cdr"), END - timedelta(days=6), END)
    address = address.replace("per_page=1000", "per_page=300")
    found: list[str] = []
    cursor = ""
    while True:
        page = site.get(address + (f"&search_token={cursor}" if cursor else ""), **INFINITY).json()
        found += [record["uuid"] for record in page["records"]]
        cursor = page["search_token"] or ""
        if not cursor:
            break
        assert re.fullmatch(r"[\w-]+", cursor), "nothing in it needs to be encoded"
    assert page["total"] == len(found) == len(set(found)) > 900


def test_grafana_lists_who_waits(site: Site) -> None:
    """A row for each caller."""
    rows = site.get(by_label(section("Grafana"), "/api/v2/cdr/missed"), **INFINITY).json()["missed"]
    assert {"open"} == {row["state"] for row in rows}
    assert not any(row["done"] for row in rows)


# --- a browser of another site ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_page_asks_as_browsers_do(site: Site) -> None:
    """First whether it may, then with the key; what it may not see of a reply the browser would keep from it."""
    address = f"{site.url}/api/v2/cdr/stats?bucket=day"
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for origin, expected in ((PAGES_ORIGIN, PAGES_ORIGIN), ("https://other.example.com", None)):
        first = httpx2.request("OPTIONS", address, headers={"Origin": origin, **asks})
        assert expected == first.headers.get("access-control-allow-origin")
        if expected:
            assert (200, True) == (
                first.status_code,
                "authorization" in first.headers["access-control-allow-headers"].lower(),
            )
        second = site.get(address, Origin=origin)
        assert expected == second.headers.get("access-control-allow-origin")


# --- DuckDB files: Metabase, Superset, DBeaver ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the guide makes, from months that it fetched."""
    folder = tmp_path_factory.mktemp("calls")
    _, shell, made = section("Metabase, Superset, DBeaver and other SQL")
    script = shell.replace("/srv/calls", str(folder)).replace("2026-09-01 2026-09-30", "2026-10-01 2026-10-31")
    environment = {"URL": site.url, "KEY": site.key, "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, check=True, timeout=60)
    (statements,) = re.findall(r'duckdb -c "(.*)"', made)
    for _ in range(2):  # every night
        with duckdb.connect() as connection:
            connection.execute(statements.replace("/srv/calls", str(folder)))
    return folder / "calls.duckdb"


@pytest.mark.slow
def test_older_programs_open_the_file(file: Path) -> None:
    """Its storage version is the oldest one."""
    head = file.read_bytes()[:20]
    assert (b"DUCK", _OLDEST_STORAGE) == (head[8:12], int.from_bytes(head[12:20], "little"))


def test_programs_see_what_there_is(file: Path) -> None:
    """A view with the columns of an export, by what DBeaver and Superset ask of it; read only, as they open it."""
    with duckdb.connect(str(file), read_only=True) as connection:
        views = connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
        assert [("cdr",)] == views
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'cdr'"
        ).fetchall()
        types = dict(columns)
        assert ("TIMESTAMP WITH TIME ZONE", "BIGINT", "VARCHAR") == (
            types["started_at"],
            types["talk_s"],
            types["from"],
        )
        assert 200 == len(connection.execute("SELECT * FROM cdr LIMIT 200").fetchall())
        connection.execute("SELECT custom->>'order_id', legs[1].agent, teams[1].name FROM cdr").fetchall()


@pytest.mark.slow
def test_programs_count_what_the_server_counts(file: Path, site: Site) -> None:
    """Days of the report's zone, as Metabase and Superset cut them: by the session's zone, or `AT TIME ZONE`."""
    asked = "bucket=day&measures=calls,talk_s&timezone=Europe/London&start_date=2026-10-01&end_date=2026-10-31"
    told = [(row["bucket"], row["calls"], row["talk_s"]) for row in site.json(f"/api/v2/cdr/stats?{asked}")["groups"]]
    ways = (
        "SELECT strftime(date_trunc('day', started_at), '%Y-%m-%d') AS d, count(*), sum(talk_s)",
        "SELECT strftime(started_at AT TIME ZONE 'Europe/London', '%Y-%m-%d') AS d, count(*), sum(talk_s)",
    )
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Europe/London'")
        for way in ways:
            assert told == connection.execute(f"{way} FROM cdr GROUP BY d ORDER BY d").fetchall()
        words = [word for (word,) in connection.execute("SELECT type FROM cdr GROUP BY type ORDER BY type").fetchall()]
    groups = site.json("/api/v2/cdr/stats?group_by=type")["groups"]
    assert sorted(group["type"] for group in groups) == words
