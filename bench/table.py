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
    ("newest 100 with total; asked again", "{newest_100_ms} ms; {newest_100_again_ms} ms"),
    ("newest 10,000", "{newest_10000_ms} ms"),
    (
        "newest 10,000, plain, gzip, zstd: processor time of the server",
        "{newest_10000_identity_cpu_ms}, {newest_10000_gzip_cpu_ms}, {newest_10000_zstd_cpu_ms} ms",
    ),
    ("100 deep in a walk, by token; half a million records behind a token", "{deep_100_ms} ms; {offset_500000_ms} ms"),
    ("100 by any one filter but a part of a number, for the first time; again", "{first} ms; {again} ms"),
    ("100 by a part of a number, for the first time; again", "{parts_first} ms; {parts_again} ms"),
    (
        "100 of one agent, queue, team, number, each for the first time",
        "{narrow_agent_first_ms}, {narrow_queue_first_ms}, {narrow_team_first_ms}, {narrow_number_first_ms} ms",
    ),
    ("one record by uuid; again", "{uuid_cold_ms} ms; {uuid_warm_ms} ms"),
    ("a walk over everything, pages of 10,000; from a cold disk", "{walk_records_s} records/s; {walk_cold_records_s}"),
    (
        "32 clients, the same first page; beside plain uvicorn, by processor time",
        "{crowd_same_requests_s} requests/s, p99 {crowd_same_p99_ms} ms; {crowd_same_of_uvicorn} of it",
    ),
    (
        "32 clients, first pages that all differ (an agent and a length); one client",
        "{crowd_distinct_requests_s} requests/s, p99 {crowd_distinct_p99_ms} ms; {crowd_distinct_alone_requests_s}",
    ),
    (
        "export of everything: NDJSON, CSV, Parquet, Arrow",
        (
            "{export_ndjson_records_s}, {export_csv_records_s}, {export_parquet_records_s}, {export_arrow_records_s}"
            " records/s"
        ),
    ),
    ("export for people: CSV, XLSX", "{export_csv_excel_records_s}, {export_xlsx_records_s} records/s"),
    ("change feed, pages of 10,000; a record is seen in it after", "{feed_changes_s} changes/s; {feed_visible_ms} ms"),
    (
        "statistics of a day, of 90 days; checksums of 90 days",
        "{stats_day_ms}, {stats_90_days_ms} ms; {checksums_90_days_ms} ms",
    ),
    (
        "the page in a browser: first rows; a filter's rows, its picture",
        "{page_first_rows_ms} ms; {page_filter_ms}, {page_picture_ms} ms",
    ),
    ("`calldex import` of JSON Lines", "{import_records_s} records/s"),
    ("the same file again", "{reimport_records_s} records/s"),
    (
        "HTTP ingest, 1,000 a request: in order, late, the same again",
        "{http_ingest_in_order_records_s}, {http_ingest_late_records_s}, {http_ingest_again_records_s} records/s",
    ),
    (
        "HTTP ingest, one record a request: one client; 32",
        "{http_ingest_single_records_s}; {http_ingest_single_32_records_s} records/s",
    ),
    ("start until it answers", "{start_ready_s} s"),
    ("memory during the walk", "{walk_memory_mb} MB"),
    ("memory in the end", "{memory_mb} MB"),
    ("disk for a record", "{disk} bytes"),
    (
        "the newest 100 within a reach of 200 agents, 50 queues and 20 teams, beside the whole account",
        "{reach_ratio} times as long",
    ),
    (
        "a page of 10,000 for a caller who sees no numbers; the same page plain",
        "{mask_page_ms} ms; {mask_page_plain_ms} ms",
    ),
    ("noting a request in the audit", "{audit_alone_ms} ms"),
    ("columns made again, each version proved", "{rebuild_records_s} records/s"),
)
"""What a row says, and the figures in its cells by their names."""


def cell(form: str, found: Figures) -> str:
    """A cell of the table."""
    try:
        return form.format_map({name: _told(value) for name, value in found.items()} | _spans(found))
    except KeyError:
        return "not measured"


def _told(value: float) -> str:
    """Three figures of it."""
    return f"{float(f'{value:.3g}'):,.8g}"


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
    return f"{_told(min(values))} to {_told(max(values))}"


def main(paths: list[str]) -> None:
    """Print the table."""
    results = [msgspec.json.decode(Path(path).read_bytes(), type=Result) for path in paths]
    print("| |", *(f"{result.records:,} (commit {result.machine.commit}) |" for result in results))
    print("|---|" + "---|" * len(results))
    for text, form in ROWS:
        print(f"| {text} |", *(f"{cell(form, result.figures)} |" for result in results))


if __name__ == "__main__":
    main(sys.argv[1:])
