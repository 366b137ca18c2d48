"""Copies: what `calldex sync` needs for all records, for a run in which nothing is new, and for 10,000 changes, into
PostgreSQL (durable as it comes) and into Parquet. `python -m bench.syncing`, of 1,000,000 records by default.

The sync runs as its users run it, in a process of its own, so that its processor time and memory are its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from bench import figures
from bench.machine import machine
from bench.peers import postgres
from bench.run import RESULTS, Result, note_in
from bench.service import Server, calldex, served
from calldex.demo import interactions
from calldex.records import codec

CHANGES: Final = 10_000
_WAIT_S: Final = 120.0
_TEXT: Final = """
[source.main]
url = "http://{host}:{port}"
key = "env:CDR_KEY"
requests_per_minute = 100000
[destination.out]
{destination}
[pipe.calls]
from = "main"
to = "out"
"""


class Sync:
    """`calldex sync` with one pipe, in a folder of its own."""

    def __init__(self, folder: Path, server: Server, destination: str) -> None:
        folder.mkdir()
        self._server = server
        self._file = folder / "sync.toml"
        self._file.write_text(_TEXT.format(host=server.host, port=server.port, destination=destination))

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        """A verb of it, running."""
        command = [sys.executable, "-m", "calldex", "sync", "--config", str(self._file), *words]
        environment = {**os.environ, "CDR_KEY": self._server.key}
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def measured(self, name: str, records: int, *words: str) -> figures.Figures:
        """A verb of it, from its start to its end: seconds, what a record cost it and the server, its memory."""
        before, began = self._server.cpu_s(), time.perf_counter()
        process = self.started(*words)
        _, status, used = os.wait4(process.pid, 0)
        taken = time.perf_counter() - began
        if process.returncode is None:
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"calldex sync {' '.join(words)}: exit {process.returncode}")
        return {
            f"{name}_s": round(taken, 2),
            f"{name}_cpu_us": round(_seconds(used) / records * 1e6, 1),
            f"{name}_server_cpu_us": round((self._server.cpu_s() - before) / records * 1e6, 1),
            f"{name}_memory_mb": used.ru_maxrss // 1024,
        }


def _seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def _idle(sync: Sync, name: str) -> figures.Figures:
    """A run in which nothing is new, from the start of the program to its end."""
    return {f"{name}_idle_s": sorted(sync.measured("", 1, "run")["_s"] for _ in range(3))[1]}


def _carried(sync: Sync, server: Server, database: psycopg.Connection[Any], name: str) -> figures.Figures:
    """How long after their acknowledgement changes are in the copy, while a service follows the feed."""
    lines = [codec.encode(cdr) for cdr in interactions(CHANGES + 1, figures.SEED + 1)]
    there = _count(database)
    process = sync.started("run", "--every", "5m")
    try:
        server.post(lines.pop() + b"\n")
        _until(database, there + 1)  # what is carried shows that the service follows
        server.post(b"\n".join(lines) + b"\n")
        began = time.perf_counter()
        _until(database, there + 1 + CHANGES)
        return {f"{name}_{CHANGES}_changes_s": round(time.perf_counter() - began, 2)}
    finally:
        process.terminate()
        process.wait(60)


def _until(database: psycopg.Connection[Any], count: int) -> None:
    deadline = time.monotonic() + _WAIT_S
    while _count(database) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the changes did not come")
        time.sleep(0.05)


def _count(database: psycopg.Connection[Any]) -> int:
    return int(database.execute("SELECT count(*) FROM calls.cdrs").fetchall()[0][0])


def syncing(folder: Path, server: Server, records: int, kinds: list[str]) -> figures.Figures:
    """Both destinations, one after the other."""
    found: figures.Figures = {}
    if "postgres" in kinds:
        with postgres(folder / "postgres") as database:
            info = database.info
            url = f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}"
            sync = Sync(folder / "to_postgres", server, f'kind = "postgres"\nurl = "{url}"')
            note_in(found, sync.measured("sync_postgres", records, "run"))
            note_in(found, _idle(sync, "sync_postgres"))
            note_in(found, sync.measured("sync_postgres_verify", records, "verify"))
            note_in(found, _carried(sync, server, database, "sync_postgres"))
    for form in [form for form in ("parquet", "delta") if form in kinds]:
        target = folder / form
        sync = Sync(folder / f"to_{form}", server, f'kind = "files"\nformat = "{form}"\npath = "{target}"')
        note_in(found, sync.measured(f"sync_{form}", records, "run"))
        note_in(found, _idle(sync, f"sync_{form}"))
    return found


def main() -> None:
    """Measure, print, and write `bench/results/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.syncing", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="how many there are")
    parser.add_argument("--to", nargs="+", default=["postgres", "parquet"], help="postgres, parquet, delta")
    parser.add_argument("--data", type=Path, help="a data directory of that size, made if it is not there, and kept")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="calldex-bench-"))
    folder.chmod(0o755)  # PostgreSQL's user passes through it
    try:
        data = asked.data or folder / "data"
        if not data.exists():
            file = folder / "records.jsonl"
            figures.write_file(file, interactions(asked.records, figures.SEED))
            calldex(data, "users", "add", "bench@example.com", "--name", "Bench", "--role", "admin")
            calldex(data, "import", "--format", "jsonl", str(file))
            file.unlink()
        with served(data) as server:
            result = Result(machine(), asked.records, syncing(folder, server, asked.records, asked.to))
    finally:
        shutil.rmtree(folder)
    name = f"{result.machine.at.replace(':', '')}-{result.machine.commit}-sync-{asked.records}.json"
    path = RESULTS / name
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
