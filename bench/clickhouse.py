"""`python -m bench.clickhouse`: the same questions to a store on ClickHouse's engine in the server's process (chDB).

Each size is written into a store of its own, batch by batch as `ingest` does, and asked over HTTP. `insert_records_s`
counts what the store does with records that are ready: it is taken of the last of them, when the rest is there.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from bench import figures
from bench.copying import feed, visible
from bench.machine import machine
from bench.narrow import crowds
from bench.posting import posting
from bench.run import READS, RESULTS, Result, note_in
from bench.service import calldex, served
from calldex.datadir import DIRECTORY_FILE
from calldex.demo import interactions
from calldex.directory import Directory
from calldex.ingest.workers import GC_THRESHOLDS
from calldex.node import open_store
from calldex.settings import resolve
from calldex.store import Batch, Prepared, Store
from calldex.store.clickhouse import ClickhouseStore
from calldex.store.sql import prepared

TIMED = 300_000
"""Records that are made ready beforehand, so that writing them has the machine to itself."""
BATCH = 10_000


def batches(records: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Some at a time."""
    left = iter(records)
    while some := list(itertools.islice(left, size)):
        yield some


def write(store: Store, records: Iterable[Prepared], size: int = BATCH) -> float:
    """Write records; the seconds that it took."""
    began = time.perf_counter()
    for some in batches(records, size):
        store.write(Batch(account_id=1, source="", format="jsonl", origin="bench", records=some))
    return time.perf_counter() - began


def filled(data: Path, records: int) -> figures.Figures:
    """A store with so many records: how fast the last ones were written, and what they take on disk."""
    settings, _ = resolve(data, {}, os.environ)
    with Directory.open(data / DIRECTORY_FILE) as directory, closing(open_store(settings, directory)) as store:
        assert isinstance(store, ClickhouseStore)
        made = map(prepared, interactions(records, figures.SEED))
        write(store, itertools.islice(made, records - TIMED))
        found: figures.Figures = {}
        last: list[Prepared] = []
        for size in (BATCH, 5 * BATCH):
            last = list(itertools.islice(made, TIMED // 2))
            found[f"insert_by_{size}_records_s"] = round(len(last) / write(store, last, size))
        found["insert_again_records_s"] = round(len(last) / write(store, last))
        found |= {
            f"disk_bytes_per_record_{name}": round(size / records, 1) for name, size in store.bytes_on_disk().items()
        }
    return found


def measure(folder: Path, records: int) -> Result:
    """Everything, for one size; of a folder in which a store is already, all but how it was filled."""
    data = folder / "data"
    os.environ["CALLDEX_STORE"] = f"chdb://{folder}/clickhouse"
    found: figures.Figures = {}
    print(f"{records:,} records", flush=True)
    if not data.exists():
        calldex(data, "users", "add", "bench@example.com", "--name", "Bench", "--role", "admin")
        note_in(found, filled(data, records))
    gc.collect()
    with served(data) as server:
        for measured in (*READS, crowds, figures.walk, feed, visible):
            note_in(found, measured(server))
        note_in(found, {"memory_mb": server.memory_mb()})
    note_in(found, posting(data))
    return Result(machine(), records, found)


def main() -> None:
    """Measure each size asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.clickhouse", description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[1_000_000], help="sizes, one after another")
    parser.add_argument("--folder", type=Path, help="where to make the data; a temporary folder by default")
    parser.add_argument("--filled", type=Path, help="a folder with a store of that size, instead of making one")
    asked = parser.parse_args()
    gc.set_threshold(*GC_THRESHOLDS)
    for records in asked.records:
        folder = asked.filled or Path(tempfile.mkdtemp(prefix="calldex-bench-", dir=asked.folder))
        try:
            result = measure(folder, records)
        finally:
            if folder != asked.filled:
                shutil.rmtree(folder)
        name = f"{result.machine.at.replace(':', '')}-{result.machine.commit}-chdb-{records}.json"
        (RESULTS / name).write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        print(f"written to bench/results/{name}")


if __name__ == "__main__":
    main()
