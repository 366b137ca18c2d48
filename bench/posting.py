"""HTTP ingest: large batches by one client and by several, the same again, late calls, and one record a request, in
order and late."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from bench.figures import SEED, Figures, lines
from bench.service import Server, served
from calldex.demo import END, interactions
from calldex.records.record import Cdr

BATCH = 1_000


def posting(data: Path, batches: int = 40) -> Figures:
    """Batches of 1,000 new records, each acknowledged; a search that sees them all is part of the time.

    In order: calls of the day after all that is stored, as a phone system sends them. Late: calls from all over the
    time that is stored, each among others of its time, so that none of a large store's index pages is met twice.
    """
    records = batches * BATCH
    found: Figures = {}
    with served(data) as server:
        for body in _bodies(interactions(2 * BATCH, SEED + 5, END, days=1)):  # processes that read are started by it
            server.post(body)
        ordered = _bodies(interactions(records, SEED + 1, END + timedelta(days=1), days=1))
        found |= _rate(server, "in_order", ordered, 1)
        found |= _rate(server, "again", ordered, 1)
        found |= _rate(
            server, "in_order_4", _bodies(interactions(records, SEED + 3, END + timedelta(days=2), days=1)), 4
        )
        found |= _rate(server, "late", _bodies(interactions(records, SEED + 2)), 1)
        single = _bodies(interactions(4_000, SEED + 4, END + timedelta(days=3), days=1), 1)
        found |= _rate(server, "single", single[:300], 1)
        found |= _rate(server, "single_32", single[300:], 32)
        found |= _rate(server, "single_late", _bodies(interactions(300, SEED + 6), 1), 1)
    return found


def _bodies(records: Iterable[Cdr], size: int = BATCH) -> list[bytes]:
    made = list(lines(records))
    return [b"".join(made[at : at + size]) for at in range(0, len(made), size)]


def _rate(server: Server, name: str, bodies: Sequence[bytes], clients: int) -> Figures:
    """Records a second of so many clients, each with its share of the bodies."""
    records = sum(body.count(b"\n") for body in bodies)
    threads = [threading.Thread(target=_post, args=(server, bodies[at::clients])) for at in range(clients)]
    began, used = time.perf_counter(), server.cpu_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.get(per_page=1)
    return {
        f"http_ingest_{name}_records_s": round(records / (time.perf_counter() - began)),
        f"http_ingest_{name}_cpu_us": round((server.cpu_s() - used) / records * 1e6, 1),
    }


def _post(server: Server, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=300)
    headers = {"Authorization": f"Bearer {server.ingest_key}", "Content-Type": "application/x-ndjson"}
    for body in bodies:
        connection.request("POST", "/api/ingest/v1/records", body, headers)
        reply = connection.getresponse()
        answer = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {answer[:200].decode()}")
