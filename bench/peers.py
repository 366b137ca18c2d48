"""`python -m bench.peers`: the same questions to Calldex over HTTP and to Debian's PostgreSQL, tuned and without HTTP.

Both in one run, over the same demo records. PostgreSQL has the values in columns, the JSON in a text, and an index for
each question; whoever asks it asks for total and page in two statements, prepared, over its own protocol.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import msgspec
import psycopg

from bench import figures
from bench.machine import machine
from bench.narrow import FAR, Figures, far, narrow
from bench.run import RESULTS, Result, note_in
from bench.service import calldex, served
from calldex.demo import interactions
from calldex.records.codec import encode
from calldex.records.record import Cdr, to_ms

TIMES: Final = 21
SETTINGS: Final = {
    "shared_buffers": "2GB",
    "work_mem": "64MB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
    "jit": "off",
}
_TABLE: Final = """
CREATE EXTENSION pg_trgm;
CREATE TABLE cdr (
    uuid uuid, started_ms bigint, type text, disposition text, agent_id bigint, queue_id bigint, campaign_id bigint,
    team_ids bigint[], duration_s int, caller text, callee text, wrapup_code text, json text
);
"""
_INDEXES: Final = """
CREATE UNIQUE INDEX ON cdr (uuid);
CREATE INDEX ON cdr (started_ms DESC, uuid DESC);
CREATE INDEX ON cdr (agent_id, started_ms DESC, uuid DESC) INCLUDE (duration_s);
CREATE INDEX ON cdr (queue_id, started_ms DESC, uuid DESC) INCLUDE (duration_s);
CREATE INDEX ON cdr (campaign_id, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr (type, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr (disposition, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr (wrapup_code, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr USING gin (team_ids);
CREATE INDEX ON cdr (caller text_pattern_ops, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr (callee text_pattern_ops, started_ms DESC, uuid DESC);
CREATE INDEX ON cdr USING gin (caller gin_trgm_ops);
CREATE INDEX ON cdr USING gin (callee gin_trgm_ops);
"""
_ORDER: Final = "ORDER BY started_ms DESC, uuid DESC"


@contextmanager
def postgres(folder: Path) -> Iterator[psycopg.Connection[Any]]:
    """A server of its own on a free port, durable as it comes, until the block ends."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not found:
        raise SystemExit("no PostgreSQL server is installed: apt-get install postgresql")
    user: dict[str, Any] = {}
    folder.mkdir(mode=0o755)
    if not os.geteuid():  # it does not run as root
        entry = pwd.getpwnam("postgres")
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    made = ["--pgdata", str(folder / "data"), "--username", "bench", "--auth", "trust", "--encoding", "UTF8"]
    subprocess.run([str(found[-1] / "initdb"), *made], check=True, capture_output=True, cwd=folder, **user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = SETTINGS | {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
    command = [str(found[-1] / "postgres"), "-D", str(folder / "data")]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user)
    try:
        with _connected(f"host=127.0.0.1 port={port} user=bench dbname=postgres") as connection:
            yield connection
    finally:
        process.terminate()
        process.wait(120)


def _connected(address: str) -> psycopg.Connection[Any]:
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(address, autocommit=True, prepare_threshold=0)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _row(cdr: Cdr) -> tuple[Any, ...]:
    teams = [team.id for team in cdr.teams]
    named = (cdr.agent_id, cdr.queue_id, cdr.campaign_id, teams)
    rest = (cdr.duration_s, cdr.from_, cdr.to, cdr.wrapup_code, encode(cdr).decode())
    return (cdr.uuid, to_ms(cdr.started_at), cdr.type, cdr.disposition, *named, *rest)


def filled(connection: psycopg.Connection[Any], records: int) -> Figures:
    """The demo's records, indexed, and what they take."""
    began = time.perf_counter()
    connection.execute(_TABLE, prepare=False)
    with connection.cursor() as cursor, cursor.copy("COPY cdr FROM STDIN") as copy:
        for cdr in interactions(records, figures.SEED):
            copy.write_row(_row(cdr))
    connection.execute(_INDEXES, prepare=False)
    connection.execute("VACUUM ANALYZE cdr", prepare=False)
    taken = time.perf_counter() - began
    size = connection.execute("SELECT pg_total_relation_size('cdr')").fetchall()[0][0]
    return {"postgres_load_records_s": round(records / taken), "postgres_bytes_per_record": round(size / records)}


def asked(connection: psycopg.Connection[Any], records: int) -> Figures:
    """The questions of `narrow`: first page of 100 with its total, each never asked before; and the newest."""

    def some(column: LiteralString) -> Sequence[Any]:
        among = f"SELECT {column} AS value FROM cdr LIMIT 20000"  # noqa: S608 - this file's own words
        found = connection.execute(f"SELECT DISTINCT value FROM ({among}) AS first WHERE value IS NOT NULL")  # noqa: S608 - likewise
        return [value for (value,) in found.fetchall()][:200]

    agents, queues, callers = some("agent_id"), some("queue_id"), some("caller")
    teams = some("team_ids[1]")
    questions: dict[str, tuple[LiteralString, Callable[[int], tuple[Any, ...]]]] = {
        "newest": ("duration_s < %s", lambda run: (10**6 + run,)),
        "agent": ("agent_id = %s AND started_ms > %s", lambda run: (agents[run % len(agents)], run)),
        "agent_and_length": ("agent_id = %s AND duration_s < %s", lambda run: (agents[run % len(agents)], 10**6 + run)),
        "queue": ("queue_id = %s AND duration_s < %s", lambda run: (queues[run % len(queues)], 10**6 + run)),
        "team": (
            "team_ids @> ARRAY[%s::bigint] AND duration_s < %s",
            lambda run: (teams[run % len(teams)], 10**6 + run),
        ),
        "number": ("caller = %s AND duration_s < %s", lambda run: (callers[run % len(callers)], 10**6 + run)),
        "part_of_number": ("caller LIKE %s", lambda run: (f"%{(callers[run % len(callers)] or '00000')[3:8]}%",)),
    }
    found: Figures = {}
    for name, (condition, values) in questions.items():
        total: LiteralString = f"SELECT count(*) FROM cdr WHERE {condition}"  # noqa: S608 - likewise
        page: LiteralString = f"SELECT json FROM cdr WHERE {condition} {_ORDER} LIMIT 100"  # noqa: S608 - likewise
        taken = []
        for run in range(TIMES):
            began = time.perf_counter()
            connection.execute(total, values(run)).fetchall()
            connection.execute(page, values(run)).fetchall()
            taken.append((time.perf_counter() - began) * 1e3)
        found[f"postgres_{name}_ms"] = round(statistics.median(taken), 2)
    began = time.perf_counter()
    far_off: LiteralString = f"SELECT json FROM cdr {_ORDER} LIMIT 100 OFFSET %s"  # noqa: S608 - likewise
    connection.execute(far_off, (min(FAR, records // 2),)).fetchall()
    return found | {"postgres_offset_500000_ms": round((time.perf_counter() - began) * 1e3, 2)}


def measure(folder: Path, records: int) -> Result:
    """Both."""
    data, file = folder / "data", folder / "records.jsonl"
    found: dict[str, float] = {}
    figures.write_file(file, interactions(records, figures.SEED))
    calldex(data, "users", "add", "bench@example.com", "--name", "Bench", "--role", "admin")
    note_in(found, figures.imports(data, file, records))
    file.unlink()
    with served(data) as server:
        note_in(found, figures.newest(server))
        note_in(found, narrow(server))
        note_in(found, far(server))
    shutil.rmtree(data)
    with postgres(folder / "postgres") as connection:
        note_in(found, filled(connection, records))
        note_in(found, asked(connection, records))
    return Result(machine(), records, found)


def main() -> None:
    """Measure each size asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[1_000_000], help="sizes to measure")
    parser.add_argument("--folder", type=Path, help="where to make the data; a temporary folder by default")
    given = parser.parse_args()
    for records in given.records:
        with tempfile.TemporaryDirectory(prefix="calldex-peers-", dir=given.folder) as name:
            folder = Path(name)
            folder.chmod(0o755)  # PostgreSQL's user passes through it
            result = measure(folder, records)
        path = RESULTS / f"{result.machine.at.replace(':', '')}-{result.machine.commit}-peers-{records}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
