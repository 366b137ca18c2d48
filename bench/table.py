"""`python -m bench.table RESULT...`: the rows of README's "What it costs", a column for each file of results.

What a file does not have is told as "not measured", so that nothing is filled in from elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec

from bench.figures import Figures
from bench.run import Result

_PARTS: Final = ("filter_wildcard_cli", "filter_wildcard_number")
ROWS: Final[tuple[tuple[str, str], ...]] = (
    ("newest 100 with total", "{newest_100_ms} ms"),
    (
        "newest 10,000; processor time of the server; of gzip, zstd",
        "{newest_10000_ms} ms; {newest_10000_identity_cpu_ms}, {newest_10000_gzip_cpu_ms}, {newest_10000_zstd_cpu_ms}",
    ),
    ("100 deep in a walk, by token; half a million records behind a token", "{deep_100_ms} ms; {offset_500000_ms} ms"),
    ("100 by any one filter but a part of a number, for the first time; again", "{first} ms; {again} ms"),
    ("100 by a part of a number, for the first time; again", "{parts_first} ms; {parts_again} ms"),
    (
        "100 of one agent, queue, team, number, each for the first time",
        "{narrow_agent_first_ms}, {narrow_queue_first_ms}, {narrow_team_first_ms}, {narrow_number_first_ms} ms",
    ),
    ("one record by uuid", "{uuid_cold_ms} ms"),
    ("a walk over everything, pages of 10,000; from a cold disk", "{walk_records_s} records/s; {walk_cold_records_s}"),
    (
        "32 clients, the same first page; beside plain uvicorn, by processor time",
        "{crowd_same_requests_s} requests/s, p99 {crowd_same_p99_ms} ms; {crowd_same_of_uvicorn} of it",
    ),
    (
        "32 clients, first pages that all differ (an agent and a length)",
        "{crowd_distinct_requests_s} requests/s, p99 {crowd_distinct_p99_ms} ms",
    ),
    ("`calldex import` of JSON Lines; the same file again", "{import_records_s} records/s; {reimport_records_s}"),
    ("start until it answers", "{start_ready_s} s"),
    ("memory during the walk", "{walk_memory_mb} MB"),
    ("disk for a record", "{disk} bytes"),
    ("noting a request in the audit", "{audit_alone_ms} ms"),
    ("columns made again", "{rebuild_records_s} records/s"),
)
"""What a row says, and the figures in its cells by their names."""


def cell(form: str, found: Figures) -> str:
    """A cell of the table."""
    try:
        return form.format_map({name: f"{value:,.8g}" for name, value in found.items()} | _spans(found))
    except KeyError as missing:
        return f"not measured ({missing.args[0]})"


def _spans(found: Figures) -> dict[str, str]:
    """Figures of several, as their least and most."""
    first = {name: value for name, value in found.items() if name.startswith("filter_") and name.endswith("_first_ms")}
    again = {
        name: value for name, value in found.items() if name.startswith("filter_") and name.endswith("_ms")
    }.keys() - first.keys()
    parts = {name for name in found if name.startswith(_PARTS)}
    groups = {
        "first": first.keys() - parts,
        "again": again - parts,
        "parts_first": first.keys() & parts,
        "parts_again": again & parts,
    }
    told = {group: _span([found[name] for name in names]) for group, names in groups.items() if names}
    sizes = [value for name, value in found.items() if name.startswith("disk_bytes_per_record_")]
    return told | ({"disk": f"{round(sum(sizes)):,}"} if sizes else {})


def _span(values: list[float]) -> str:
    return f"{min(values):,.3g} to {max(values):,.3g}"


def main(paths: list[str]) -> None:
    """Print the table."""
    results = [msgspec.json.decode(Path(path).read_bytes(), type=Result) for path in paths]
    print("| |", *(f"{result.records:,} (commit {result.machine.commit}) |" for result in results))
    print("|---|" + "---|" * len(results))
    for text, form in ROWS:
        print(f"| {text} |", *(f"{cell(form, result.figures)} |" for result in results))


if __name__ == "__main__":
    main(sys.argv[1:])
