"""The figures: each function measures one, on a service with a stated number of records. Times are medians."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb
import msgspec
import numpy as np

from bench.service import Server, calldex, served
from calldex.audit.chain import Actor, entry
from calldex.demo import interactions
from calldex.node import Node
from calldex.records import codec
from calldex.records.record import Cdr
from calldex.settings import Settings

Figures = dict[str, float]
SEED = 1
BATCH = 1_000
WALK_PAGE = 10_000


def milliseconds(work: Callable[[int], object], times: int = 15) -> float:
    """The median time of some runs, after one that does not count. Each is told its number, so that it can ask for a
    page nobody has asked for before: the server keeps finished pages for a while."""
    work(0)
    taken = []
    for number in range(1, times + 1):
        began = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(taken), 2)


def lines(records: Iterable[Cdr]) -> Iterable[bytes]:
    """Records as JSON Lines."""
    return (codec.encode(cdr) + b"\n" for cdr in records)


def write_file(path: Path, records: Iterable[Cdr], name: str = "bytes_per_record") -> Figures:
    """Make a file to be imported; figures about the records in it."""
    written, shortest = 0, 1 << 30
    with path.open("wb") as file:
        for line in lines(records):
            written += 1
            shortest = min(shortest, file.write(line))
    return {f"{name}_mean": round(path.stat().st_size / written), f"{name}_least": shortest}


def imports(data: Path, file: Path, records: int, name: str = "import") -> Figures:
    """`calldex import`: records a second from the start of the command to its end, everything durable and visible; and
    the processor time that a record took in all processes, which depends less on what else the machine does."""
    began, before = time.perf_counter(), _children_s()
    calldex(data, "import", "--format", "jsonl", str(file))
    return {
        f"{name}_records_s": round(records / (time.perf_counter() - began)),
        f"{name}_cpu_us": round((_children_s() - before) / records * 1e6, 1),
    }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def importing_short(folder: Path, records: int) -> Figures:
    """The import of shorter records: demo records without events, legs, custom values and comment."""
    short = (
        msgspec.structs.replace(cdr, events=(), legs=(), custom={}, comment=None) for cdr in interactions(records, SEED)
    )
    file = folder / "short.jsonl"
    sizes = write_file(file, short, "bytes_per_short_record")
    return sizes | imports(folder / "short", file, records, "import_short")


def disk(data: Path, records: int) -> Figures:
    """Bytes a record on disk, by file."""
    return {
        f"disk_bytes_per_record_{path.stem}": round(path.stat().st_size / records)
        for path in (data / "ledger.db", data / "columns.duckdb")
    }


def cold(data: Path) -> None:
    """Let the system forget what it has in memory of a data directory, so that it is read from the disk again."""
    os.sync()
    for path in (data / "ledger.db", data / "columns.duckdb"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def walk(server: Server, name: str = "walk") -> Figures:
    """The documented loop over everything in pages of 10,000: records a second, the server's processor time for one,
    and its highest memory."""
    seen, token = 0, None
    began, used = time.perf_counter(), server.cpu_s()
    while True:
        body = server.get(per_page=WALK_PAGE, **({"search_token": token} if token else {}))
        end = msgspec.json.decode(b"{" + body[body.rindex(b'"total"') :])
        seen += min(WALK_PAGE, end["total"] - seen)
        token = end["search_token"]
        if token is None:
            break
    taken = time.perf_counter() - began
    return {
        f"{name}_records": seen,
        f"{name}_records_s": round(seen / taken),
        f"{name}_cpu_us": round((server.cpu_s() - used) / seen * 1e6, 2),
        f"{name}_memory_mb": server.memory_mb(),
    }


def newest(server: Server) -> Figures:
    """First pages, and a page deep in a walk."""
    first = server.page(per_page=WALK_PAGE)
    token = first["search_token"]
    for _ in range(min(40, first["total"] // WALK_PAGE - 2)):
        token = server.page(per_page=WALK_PAGE, search_token=token)["search_token"]
    return {
        "newest_100_ms": milliseconds(lambda run: server.get(per_page=100 + run)),
        "newest_100_again_ms": milliseconds(lambda _: server.get(per_page=100)),
        "newest_10000_ms": milliseconds(lambda run: server.get(per_page=WALK_PAGE - run)),
        "deep_100_ms": milliseconds(lambda run: server.get(per_page=100 + run, search_token=token)),
        "deep_10000_ms": milliseconds(lambda run: server.get(per_page=WALK_PAGE - run, search_token=token)),
    }


def filters(server: Server) -> Figures:
    """The first page of 100 with its total, for each filter alone, with values that occur: the first time, when nobody
    has counted yet, and again. While the index is made, which takes a second for a million, both may take 15 ms more:
    here it is there."""
    server.index()
    answered = server.page(per_page=10_000, type="inbound", events="answered")["records"]
    some = next(r for r in answered if r["teams"] and r["agent_id"] and r["queue_id"])
    dialled = server.page(per_page=1, type="dialer")["records"][0]
    wrapped = server.page(per_page=1_000, disposition="answered")["records"]
    asked: dict[str, object] = {
        "type": "outbound",
        "type=inbound,dialer,web_chat": "inbound,dialer,web_chat",
        "disposition": "missed",
        "end_reasons": "customer_disconnect",
        "events": "all_transfers",
        "agent_ids": some["agent_id"],
        "queue_ids": some["queue_id"],
        "team_ids": some["teams"][0]["id"],
        "campaign_ids": dialled["campaign_id"],
        "wrapup_codes": next(r["wrapup_code"] for r in wrapped if r["wrapup_code"]),
        "min_duration": 600,
        "max_duration": 20,
        "cli": some["from"][:6],
        "number": some["to"][:8],
        "start_date": some["timestamp"],
        "wildcard_cli": some["from"][4:9],
        "wildcard_number": some["to"][5:9],
    }
    found: Figures = {}
    for name, value in asked.items():

        def ask(run: int, name: str = name, value: object = value) -> None:
            server.get(per_page=100 + run, **{name.partition("=")[0]: value})

        began = time.perf_counter()
        ask(-1)
        found[f"filter_{name}_first_ms"] = round((time.perf_counter() - began) * 1e3, 2)
        found[f"filter_{name}_ms"] = milliseconds(ask, times=9)
    return found


def by_uuid(server: Server) -> Figures:
    """One record by its uuid: never asked for before, and asked for again."""
    known = [r["uuid"] for r in server.page(per_page=WALK_PAGE, type="internal")["records"][::97]]
    cold = []
    for uuid in known:
        began = time.perf_counter()
        server.get(uuid=uuid)
        cold.append((time.perf_counter() - began) * 1e3)
    return {
        "uuid_cold_ms": round(statistics.median(cold), 2),
        "uuid_warm_ms": milliseconds(lambda _: server.get(uuid=known[0])),
    }


def page_against_engine(data: Path) -> Figures:
    """What a page of 10,000 costs beside what DuckDB alone needs to put the same rows' JSON into one string.

    Both in this run: the page over HTTP, then a bare DuckDB file that has the JSON of the newest 100,000 records.
    """
    rows: list[tuple[str, str]] = []
    token: str | None = None
    with served(data) as server:
        while len(rows) < 100_000 and (token is not None or not rows):
            page = server.page(per_page=WALK_PAGE, **({"search_token": token} if token else {}))
            rows += [(record["started_at"], msgspec.json.encode(record).decode()) for record in page["records"]]
            token = page["search_token"]
        handler_ms = milliseconds(lambda run: server.get(per_page=WALK_PAGE - run))
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        file = Path(folder) / "json.duckdb"
        with duckdb.connect(str(file)) as made:
            made.execute("CREATE TABLE cdr (started TIMESTAMPTZ, json VARCHAR)")
            source = {
                "started": np.array([row[0] for row in rows]),
                "json": np.array([row[1] for row in rows], dtype=object),
            }
            made.register("source", source)
            made.execute("INSERT INTO cdr SELECT started::TIMESTAMPTZ, json FROM source ORDER BY started")
        with duckdb.connect(str(file), config={"threads": os.cpu_count() or 1, "memory_limit": "400MB"}) as engine:
            query = "SELECT string_agg(json, ',' ORDER BY started DESC) FROM cdr WHERE started >= ?::TIMESTAMPTZ"
            last = rows[min(WALK_PAGE, len(rows)) - 1][0]
            engine_ms = milliseconds(lambda _: engine.execute(query, [last]).fetchall())
    return {"page_http_ms": handler_ms, "page_engine_ms": engine_ms, "page_ratio": round(handler_ms / engine_ms, 2)}


def auditing(folder: Path, seconds: float = 3.0) -> Figures:
    """What noting a request in the audit adds to it, until its commit: one after another, and 32 clients that do
    nothing else, so that they wait for each other."""
    who = Actor(actor="bench@example.com", account_id=1, user_id=1, credential="cdx_benc", address="192.0.2.1")
    figures: Figures = {}
    with Node(Settings(data=folder / "audit")) as node:

        async def client(stop: float, taken: list[float]) -> None:
            while (began := time.perf_counter()) < stop:
                await node.audit.record(entry(who, "search", detail={"agent_ids": "1201", "per_page": "100"}, rows=100))
                taken.append(time.perf_counter() - began)

        async def crowd(clients: int) -> list[float]:
            taken: list[float] = []
            stop = time.perf_counter() + seconds
            await asyncio.gather(*(client(stop, taken) for _ in range(clients)))
            return taken

        for clients, name in ((1, "alone"), (32, "crowd")):
            taken = asyncio.run(crowd(clients))
            figures[f"audit_{name}_ms"] = round(statistics.median(taken) * 1e3, 3)
            figures[f"audit_{name}_p99_ms"] = round(statistics.quantiles(taken, n=100)[98] * 1e3, 3)
            figures[f"audit_{name}_entries_s"] = round(len(taken) / seconds)
    return figures


def start(data: Path, times: int = 3) -> Figures:
    """From the start of the process until it answers, with what a clean stop left, and after the columns are lost."""
    taken = []
    for _ in range(times):
        with served(data) as server:
            taken.append(server.started_s)
    return {"start_ready_s": round(statistics.median(taken), 2)}


def rebuild(data: Path, records: int) -> Figures:
    """The columns deleted: records a second until searches are answered again."""
    for path in data.glob("columns.duckdb*"):  # the engine's log, too
        path.unlink()
    with served(data) as server:
        return {"rebuild_s": round(server.started_s, 1), "rebuild_records_s": round(records / server.started_s)}
