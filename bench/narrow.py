"""Searches that each mean few records, as busy centres ask them: agents' lists, wallboards, numbers; each a first time,
again, and by many at once."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from bench.plain import plain
from bench.service import Server

Figures = dict[str, float]
TIMES: Final = 21
FAR: Final = 500_000


def narrow(server: Server) -> Figures:
    """The first page of 100 with its total: the median of searches that nobody has asked before, each with a bound on
    the length that excludes none, and of one of them asked again with another size of page; and what processor time
    one takes that is asked for the first time."""
    records = server.page(per_page=5_000, type="inbound", events="answered")["records"]
    agents, queues, numbers = (
        list(dict.fromkeys(record[name] for record in records if record[name]))
        for name in ("agent_id", "queue_id", "from")
    )
    teams = list(dict.fromkeys(team["id"] for record in records for team in record["teams"]))
    asked: dict[str, Callable[[int], Mapping[str, object]]] = {
        "agent": lambda run: {"agent_ids": agents[run % len(agents)], "start_date": f"2001-01-{run % 28 + 1:02}"},
        "agent_and_length": lambda run: {"agent_ids": agents[run % len(agents)], "max_duration": 1_000_000 + run},
        "queue": lambda run: {"queue_ids": queues[run % len(queues)], "max_duration": 1_000_000 + run},
        "team": lambda run: {"team_ids": teams[run % len(teams)], "max_duration": 1_000_000 + run},
        "number": lambda run: {"from": numbers[run % len(numbers)], "max_duration": 1_000_000 + run},
        "part": lambda run: {"wildcard_cli": numbers[run % len(numbers)][3:8], "max_duration": 1_000_000 + run},
    }
    server.index()
    found: Figures = {}
    for name, ask in asked.items():
        used = server.cpu_s()
        first = [_milliseconds(server, per_page=100, **ask(run)) for run in range(TIMES)]
        found[f"narrow_{name}_first_cpu_ms"] = round((server.cpu_s() - used) / TIMES * 1e3, 1)
        again = [_milliseconds(server, per_page=101 + run, **ask(0)) for run in range(TIMES)]
        found[f"narrow_{name}_first_ms"] = round(statistics.median(first), 2)
        found[f"narrow_{name}_again_ms"] = round(statistics.median(again), 2)
    return found


def far(server: Server) -> Figures:
    """A page of 100, half a million records behind its token (or half of what there is)."""
    first = server.page(per_page=100)
    skipped = min(FAR, first["total"] // 2) // 100
    taken = [
        _milliseconds(server, per_page=100, page=skipped + run, search_token=first["search_token"]) for run in range(9)
    ]
    return {"offset_500000_ms": round(statistics.median(taken), 2)}


def codings(server: Server) -> Figures:
    """The newest 10,000, each page another one, in each coding; and the server's processor time for it."""
    found: Figures = {}
    for index, coding in enumerate(("identity", "gzip", "zstd")):
        sizes = range(9_000 + index * 100, 9_009 + index * 100)
        used = server.cpu_s()
        taken = [_milliseconds(server, coding=coding, per_page=size) for size in sizes]
        found[f"newest_10000_{coding}_cpu_ms"] = round((server.cpu_s() - used) / len(taken) * 1e3, 1)
        found[f"newest_10000_{coding}_ms"] = round(statistics.median(taken), 2)
    return found


def _milliseconds(server: Server, **parameters: object) -> float:
    began = time.perf_counter()
    server.get(**parameters)
    return (time.perf_counter() - began) * 1e3


def crowds(server: Server, seconds: float = 6.0) -> Figures:
    """Many clients, and one, that ask for first pages of 100: all the same page, and each a page that nobody asked for
    before (their own agent's records, by a bound on their length that excludes none). Beside the first, plain uvicorn
    with replies of as many bytes."""
    records = server.page(per_page=5_000, type="inbound")["records"]
    agents = list(dict.fromkeys(record["agent_id"] for record in records if record["agent_id"]))
    figures: Figures = {}
    for name, clients in (("same", 32), ("distinct", 32), ("distinct_alone", 1)):
        asked = [None if name == "same" else agents[index % len(agents)] for index in range(clients)]
        figures |= _crowd(name, server, asked, seconds)
    with plain(len(server.get(per_page=100))) as alone:
        figures |= _crowd("uvicorn_alone", alone, [None] * 32, seconds)
    # By processor time: the clients are in this process, and bound the rates.
    figures["crowd_same_of_uvicorn"] = round(figures["crowd_uvicorn_alone_cpu_ms"] / figures["crowd_same_cpu_ms"], 3)
    return figures


def _crowd(name: str, server: Server, asked: Sequence[int | None], seconds: float) -> Figures:
    """A client for each agent (None: all records)."""
    taken: list[float] = []
    stop = time.perf_counter() + seconds
    threads = [
        threading.Thread(target=_ask, args=(server, index, agent, stop, taken)) for index, agent in enumerate(asked)
    ]
    began, used = time.perf_counter(), server.cpu_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        f"crowd_{name}_requests_s": round(len(taken) / (time.perf_counter() - began)),
        f"crowd_{name}_p99_ms": round(statistics.quantiles(taken, n=100)[98] * 1e3, 1),
        f"crowd_{name}_cpu_ms": round((server.cpu_s() - used) / len(taken) * 1e3, 3),
    }


def _ask(server: Server, index: int, agent: int | None, stop: float, taken: list[float]) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    number = time.time_ns() % 10**8
    while (began := time.perf_counter()) < stop:
        number += 1
        own = {} if agent is None else {"agent_ids": agent, "max_duration": 10**8 + index * 10**7 + number}
        target = f"/api/v2/cdr?{urlencode({'key': server.key, 'per_page': 100, **own})}"
        connection.request("GET", target)
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {body[:200].decode()}")
        taken.append(time.perf_counter() - began)
