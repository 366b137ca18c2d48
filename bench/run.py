"""`python -m bench.run`: measure, print, and write `bench/results/`.

Makes a demo data set of the stated sizes in a temporary folder (about 2.5 KiB of disk a record), and measures the
program on it: import, walk, pages, filters, many clients, start, rebuild. Figures of one run can be compared with each
other; those of different runs only when nothing else used the machine.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

import msgspec

from bench import figures
from bench.access import access
from bench.copying import copying
from bench.exporting import exporting
from bench.floors import floors
from bench.machine import Machine, machine
from bench.narrow import codings, crowds, far, narrow
from bench.posting import posting
from bench.service import calldex, served
from calldex.demo import interactions

RESULTS = Path(__file__).parent / "results"
READS = (figures.newest, figures.filters, figures.by_uuid, narrow, far)
"""What is asked of records that are there, one client at a time."""
MOST_SHORT = 1_000_000
"""What short records cost is known from so many."""


class Result(msgspec.Struct, frozen=True):
    """The figures of one size."""

    machine: Machine
    records: int
    figures: dict[str, float]


def note_in(found: dict[str, float], more: dict[str, float]) -> None:
    """Add figures, and print them."""
    found.update(more)
    for name, value in more.items():
        print(f"  {name:42} {value:>14,}", flush=True)


def imported(folder: Path, records: int, found: dict[str, float]) -> tuple[Path, Path]:
    """A data directory of that size, and the file it was made of; what making it took is noted. Those of an earlier
    run are taken as they are."""
    data, file = folder / "data", folder / "records.jsonl"
    print(f"{records:,} records", flush=True)
    if data.exists():
        return data, file
    note_in(found, figures.write_file(file, interactions(records, figures.SEED)))
    calldex(data, "users", "add", "bench@example.com", "--name", "Bench", "--role", "admin")
    note_in(found, figures.imports(data, file, records))
    return data, file


def measure_reads(folder: Path, records: int) -> Result:
    """What is asked of records that are there, and what the page needs, for one size."""
    from bench.page import paging  # needs a browser

    found: dict[str, float] = {}
    note = partial(note_in, found)
    data, file = imported(folder, records, found)
    note(figures.disk(data, records))
    note(figures.start(data))
    with served(data) as server:
        for measured in READS:
            note(measured(server))
        note(crowds(server))
        note(copying(server, file))
        note({"memory_mb": server.memory_mb()})
    note(paging(data))
    note(figures.rebuild(data, records))
    return Result(machine(), records, found)


def measure(folder: Path, records: int) -> Result:
    """Everything, for one size."""
    found: dict[str, float] = {}
    note = partial(note_in, found)
    data, file = imported(folder, records, found)
    note(figures.imports(data, file, records, "reimport"))
    note(figures.importing_short(folder, min(records, MOST_SHORT)))
    note(floors(folder, file))
    note(figures.start(data))
    figures.cold(data)
    with served(data) as server:
        note(figures.walk(server, "walk_cold"))
    with served(data) as server:
        note(figures.walk(server))
    with served(data) as server:
        for measured in READS:
            note(measured(server))
        note(codings(server))
        note(crowds(server))
        note(exporting(server, file))
        note(copying(server, file))
        note({"memory_mb": server.memory_mb()})
    note(access(data))
    note(figures.page_against_engine(data))
    note(figures.rebuild(data, records))
    note(figures.disk(data, records))
    note(posting(data))
    note(figures.auditing(folder))
    return Result(machine(), records, found)


def main() -> None:
    """Measure each size asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument(
        "--records", type=int, nargs="+", default=[1_000_000], help="sizes to measure, one after another"
    )
    parser.add_argument("--reads", action="store_true", help="only what is asked of records: for tens of millions")
    parser.add_argument("--folder", type=Path, help="where to make the data; a temporary folder by default")
    parser.add_argument("--keep", type=Path, help="with --reads: where the data stay, made there if there are none")
    asked = parser.parse_args()
    if asked.keep and (not asked.reads or asked.folder or len(asked.records) > 1):
        parser.error("--keep goes with --reads and one size, without --folder")
    RESULTS.mkdir(exist_ok=True)
    for records in asked.records:
        folder = asked.keep or Path(tempfile.mkdtemp(prefix="calldex-bench-", dir=asked.folder))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = (measure_reads if asked.reads else measure)(folder, records)
        finally:
            if not asked.keep:
                shutil.rmtree(folder)
        name = f"{result.machine.at.replace(':', '')}-{result.machine.commit}-{records}.json"
        path = RESULTS / name
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        print(f"written to {path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else f"written to {path}")


if __name__ == "__main__":
    main()
