"""Exports: records a second of each format over loopback, beside what DuckDB alone needs to read the same JSON Lines
and write the like of it, in the same run. `python -m bench.exporting` measures these alone, of 200,000 records."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb

from bench import figures
from bench.machine import machine
from bench.service import Server, calldex, served
from calldex.demo import interactions
from calldex.exports import FORMATS

RECORDS: Final = 200_000
_ALONE: Final = {
    "json": "(FORMAT json, ARRAY true)",
    "ndjson": "(FORMAT json)",
    "csv": "(FORMAT csv)",
    "parquet": "(FORMAT parquet, COMPRESSION zstd)",
}
"""How DuckDB writes the like; of the others it has none, and is measured reading alone."""


def exporting(server: Server, file: Path) -> figures.Figures:
    """Each format once, the whole match; then DuckDB with the file that was imported."""
    found: figures.Figures = {}
    alone = {name: duckdb_alone(file, name) for name in ("read", *_ALONE)}
    for name in FORMATS:
        before, began = server.cpu_s(), time.perf_counter()
        records, size = server.export(name)
        taken = time.perf_counter() - began
        key = f"export_{name.replace('-', '_')}"
        found[f"{key}_records_s"] = round(records / taken)
        found[f"{key}_cpu_us"] = round((server.cpu_s() - before) / records * 1e6, 1)
        found[f"{key}_bytes"] = round(size / records)
        found[f"{key}_of_duckdb"] = round(alone.get(name, alone["read"]) / taken, 2)
    found["export_memory_mb"] = server.memory_mb()
    return found


def duckdb_alone(file: Path, name: str) -> float:
    """Seconds."""
    # It takes a call's `duration` for a time of day, which it is not once among millions: a chat of more than a day.
    source = f"read_json('{file}', format = 'newline_delimited', ignore_errors = true)"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        began = time.perf_counter()
        if name == "read":
            connection.execute(f"CREATE TEMP TABLE read AS SELECT * FROM {source}")  # noqa: S608 - a path of ours
        else:
            connection.execute(f"COPY (SELECT * FROM {source}) TO '{folder}/file' {_ALONE[name]}")  # noqa: S608 - likewise
        return time.perf_counter() - began


def measured_alone(measuring: Callable[[Server, Path], figures.Figures]) -> None:
    """Measure that alone, on data of its own, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=RECORDS)
    records = parser.parse_args().records
    folder = Path(tempfile.mkdtemp(prefix="calldex-bench-"))
    try:
        data, file = folder / "data", folder / "records.jsonl"
        figures.write_file(file, interactions(records, figures.SEED))
        calldex(data, "users", "add", "bench@example.com", "--name", "Bench", "--role", "admin")
        calldex(data, "import", "--format", "jsonl", str(file))
        print(f"{records:,} records, {machine()}")
        with served(data) as server:
            for name, value in measuring(server, file).items():
                print(f"  {name:42} {value:>14,}", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    measured_alone(exporting)
