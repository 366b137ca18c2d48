"""What copies and reports ask: the change feed, checksums, statistics and missed calls, beside what DuckDB alone needs
for the like of it over the same records, in the same run. `python -m bench.copying` measures these alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import duckdb
import msgspec

from bench import figures
from bench.exporting import duckdb_alone, measured_alone
from bench.service import Server
from calldex.demo import END, interactions

FEED_PAGE: Final = 10_000
ANSWERS: Final = 20
"""How often it is measured how soon a record is seen."""
DAY: Final = (END - timedelta(days=1)).date().isoformat()
DAYS: Final = ((END - timedelta(days=90)).date().isoformat(), DAY)
_SUMS: Final = "count(*), sum(talk_s), avg(wait_s), quantile_disc(wait_s, 0.9)"
_STATED: Final = f"SELECT queue, {_SUMS} FROM calls WHERE started_at::DATE BETWEEN ? AND ? GROUP BY queue"  # noqa: S608 - ours
_PROVED: Final = (
    "SELECT started_at::DATE AS day, count(*), sum(('0x' || left(sha256(uuid || ':' || seq), 16))::UBIGINT) FROM calls"
    " WHERE started_at::DATE BETWEEN ? AND ? GROUP BY day"
)
_MISSED: Final = (
    "SELECT count(*) FROM (SELECT * FROM calls WHERE type = 'inbound' AND disposition <> 'answered') AS m"
    " ASOF LEFT JOIN (SELECT callee AS number, started_at FROM calls"
    " WHERE type = 'outbound' AND disposition = 'answered' UNION ALL"
    " SELECT caller, started_at FROM calls WHERE type = 'inbound' AND disposition = 'answered') AS a"
    " ON m.caller = a.number AND m.started_at < a.started_at WHERE a.started_at IS NULL"
    " AND m.started_at::DATE BETWEEN ? AND ?"
)


def copying(server: Server, file: Path) -> figures.Figures:
    """The feed, and what is asked of a day and of 90 days. Times are in milliseconds, the lowest of some."""
    read_s = duckdb_alone(file, "read")
    found = feed(server)
    found["feed_of_duckdb"] = round(read_s * found["feed_changes_s"] / found.pop("feed_changes"), 2)
    measures = "calls,talk_s,avg_wait_s,p90_wait_s"
    with _alone(file) as alone:
        for name, path, (begin, end), asked, query in (
            ("stats_day", "stats", (DAY, DAY), {"group_by": "queue", "measures": measures}, _STATED),
            ("stats_90_days", "stats", DAYS, {"group_by": "queue", "measures": measures}, _STATED),
            ("checksums_90_days", "checksums", DAYS, {}, _PROVED),
            ("missed_open_90_days", "stats", DAYS, {"measures": "calls", "callback_state": "open"}, _MISSED),
        ):
            parameters = {"start_date": begin, "end_date": end, "timezone": "UTC", **asked}
            ours = _least(partial(server.ask, path, **parameters))
            beside = _least(partial(_answered, alone, query, begin, end))
            found[f"{name}_ms"] = round(ours, 1)
            found[f"{name}_of_duckdb"] = round(beside / ours, 2)
    return found | visible(server)


def feed(server: Server) -> figures.Figures:
    """The whole feed, in pages of 10,000."""
    changes, cursor, more = 0, "", True
    before, began = server.cpu_s(), time.perf_counter()
    while more:
        body = server.ask("changes", limit=FEED_PAGE, cursor=cursor)
        page = msgspec.json.decode(b"{" + body[body.rindex(b'"next_cursor"') :])
        cursor, more = page["next_cursor"], page["has_more"]
        changes += body.count(b'{"seq":')
    taken = time.perf_counter() - began
    return {
        "feed_changes": changes,
        "feed_changes_s": round(changes / taken),
        "feed_cpu_us": round((server.cpu_s() - before) / changes * 1e6, 1),
    }


def visible(server: Server) -> figures.Figures:
    """From the acknowledgement of a record until the feed has shown it to who waits. The records are new in each run,
    also where the data were kept."""
    found = []
    cursor = msgspec.json.decode(server.ask("changes", start="now"))["next_cursor"]
    for cdr in interactions(ANSWERS, time.time_ns(), END + timedelta(days=9), days=1):
        server.post(msgspec.json.encode(cdr) + b"\n")
        acknowledged = time.perf_counter()
        page = msgspec.json.decode(server.ask("changes", cursor=cursor, wait=10))
        found.append((time.perf_counter() - acknowledged) * 1e3)
        assert 1 == len(page["changes"]), "the record was not there"
        cursor = page["next_cursor"]
    return {"feed_visible_ms": round(median(found), 1), "feed_visible_worst_ms": round(max(found), 1)}


def _answered(alone: duckdb.DuckDBPyConnection, query: str, begin: str, end: str) -> None:
    alone.execute(query, [begin, end]).fetchall()


@contextmanager
def _alone(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE calls AS SELECT row_number() OVER () AS seq, uuid, started_at, type, disposition, queue,"
            ' "from" AS caller, "to" AS callee, talk_s, wait_s FROM'
            " read_json(?, format = 'newline_delimited', ignore_errors = true)",
            [str(file)],
        )
        yield connection


def _least(ask: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        found.append((time.perf_counter() - began) * 1e3)
    return min(found)


if __name__ == "__main__":
    measured_alone(copying)
