"""Records are found and printed."""

from __future__ import annotations

import codecs
import csv
import io
import shutil
import threading
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len

from calldex.cli import output
from calldex.cli.client import when_ready
from calldex.cli.searching import table_of
from calldex.errors import StoreNotReady
from calldex.records.fields import FIELDS
from calldex.store.embedded.columns import Columns
from tests.cli.tools import calldex, jsonl

LINES = sorted(jsonl(600).splitlines(), key=lambda line: msgspec.json.decode(line)["started_at"], reverse=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 600 records."""
    data = tmp_path_factory.mktemp("full") / "data"
    assert 0 == calldex("import", "-", data=data, stdin=b"\n".join(LINES)).exit_code
    return data


def test_json_lines_are_what_was_imported(full: Path) -> None:
    """Newest first, byte for byte; the size of the match goes to standard error."""
    result = calldex("search", "--all", "--format", "jsonl", data=full)
    assert LINES == result.stdout_bytes.splitlines()
    assert "600 records match, 600 printed\n" == result.stderr


@pytest.mark.parametrize(
    "command", [("search", "--all", "--format", "jsonl"), ("export", "--format", "ndjson", "-o", "-")]
)
def test_a_search_waits_for_the_columns(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """After a restore they are made first, by the very command that asks; it says so and waits. Here not before it was
    refused: so few are made at once."""
    monkeypatch.setattr("calldex.search.reader.START_S", 0)
    refused, apply = threading.Event(), Columns.apply

    def late(columns: Columns, rows: Any, closings: Any, upto: int) -> None:
        refused.wait(60)
        apply(columns, rows, closings, upto)

    def not_ready(message: str, retry_after: int) -> StoreNotReady:
        refused.set()
        return StoreNotReady(message, retry_after=retry_after)

    monkeypatch.setattr(Columns, "apply", late)
    monkeypatch.setattr("calldex.search.reader.StoreNotReady", not_ready)
    data = Path(shutil.copytree(full, tmp_path / "restored"))
    (data / "columns.duckdb").unlink()
    result = calldex(*command, data=data)
    assert LINES == result.stdout_bytes.splitlines()
    assert "Waiting: searches cannot be answered yet" in result.stderr


def test_what_stands_still_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as something comes nearer it is; each step is not told."""
    monkeypatch.setattr("calldex.cli.client.STANDSTILL_S", 0)
    steps = iter(("1 %", "2 %", "3 %", "3 %"))

    def ask() -> None:
        raise StoreNotReady(next(steps))

    with pytest.raises(StoreNotReady, match="3 %"):
        when_ready(ask)
    assert ([], "Waiting: 1 %\n") == (list(steps), capsys.readouterr().err)


def test_a_hundred_is_the_limit(full: Path) -> None:
    """Without a limit the newest hundred; with one, so many."""
    assert LINES[:100] == calldex("search", "--format", "jsonl", data=full).stdout_bytes.splitlines()
    assert LINES[:7] == calldex("search", "--limit", 7, "--format", "jsonl", data=full).stdout_bytes.splitlines()


def test_filters_are_those_of_the_api(full: Path) -> None:
    """Lists, aliases and dates are understood."""
    wanted = [line for line in LINES if msgspec.json.decode(line)["type"] in ("dialer", "outbound")]
    result = calldex("search", "--type", "campaign,outbound", "--all", "--format", "jsonl", data=full)
    assert wanted == result.stdout_bytes.splitlines()
    days = ("--start-date", "2026-09-01", "--end-date", "2026-09-03", "--timezone", "UTC")
    dates = {msgspec.json.decode(line)["timestamp"][:10] for line in _found(full, *days)}
    assert {"2026-09-01", "2026-09-02", "2026-09-03"} == dates


def _found(data: Path, *words: str) -> list[bytes]:
    return calldex("search", *words, "--all", "--format", "jsonl", data=data).stdout_bytes.splitlines()


def test_csv_has_every_field(full: Path) -> None:
    """A column for each field, values as they are, what is nested as JSON."""
    printed = calldex("search", "--all", "--format", "csv", data=full).stdout_bytes
    assert (0, 1) == (printed.find(codecs.BOM_UTF8), printed.count(codecs.BOM_UTF8)), "as spreadsheets take it"
    rows = list(csv.DictReader(io.StringIO(printed.decode("utf-8-sig"))))
    assert [field.name for field in FIELDS] == list(rows[0])
    records = [msgspec.json.decode(line) for line in LINES]
    assert [record["from"] or "" for record in records] == [row["from"] for row in rows]
    assert [record["events"] for record in records] == [msgspec.json.decode(row["events"]) for row in rows]


@pytest.mark.parametrize(("zone", "offset"), [("Asia/Kolkata", "+05:30"), ("America/St_Johns", "-0")])
def test_times_are_told_in_the_zone_asked_for(full: Path, zone: str, offset: str) -> None:
    """In CSV and table, the same instants; JSON Lines has the API's bytes."""
    asked = ("search", "--all", "--timezone", zone)
    rows = list(
        csv.DictReader(io.StringIO(calldex(*asked, "--format", "csv", data=full).stdout.removeprefix("\ufeff")))
    )
    for record, row in zip(map(msgspec.json.decode, LINES), rows, strict=True):
        for name in ("timestamp", "started_at", "answered_at", "ended_at"):
            assert (record[name] is None) == (row[name] == "")
            if record[name]:
                assert datetime.fromisoformat(record[name]) == datetime.fromisoformat(row[name])
                assert offset in row[name]
    assert f"{rows[0]['timestamp']} " in calldex(*asked, data=full).stdout
    assert LINES == calldex(*asked, "--format", "jsonl", data=full).stdout_bytes.splitlines()


NAMES = ("agent", "queue", "campaign")


def test_csv_runs_nothing(data: Path) -> None:
    """What a spreadsheet would run, or a terminal obey, stands behind an apostrophe or is replaced; a telephone number
    with a plus stays as it is."""
    texts = {
        "agent": '=HYPERLINK("http://x.example","y")',
        "queue": "@SUM(1)",
        "campaign": "+1+cmd",
        "comment": "a\x1b[2Jb",
        "recording": "\t=1",
        "external_account_id": "+447700900412",
        "wrapup_description": "a\r=1",
    }
    record = {**msgspec.json.decode(LINES[0]), **texts, "agent_id": 1, "queue_id": 2, "campaign_id": 3}
    assert 0 == calldex("import", "-", data=data, stdin=msgspec.json.encode(record)).exit_code
    printed = calldex("search", "--format", "csv", data=data).stdout
    (row,) = csv.DictReader(io.StringIO(printed, newline=""))  # a carriage return ends a row there, as in spreadsheets
    assert "\x1b" not in printed
    assert "a\n=1" == row["wrapup_description"]
    assert {name: f"'{texts[name]}" for name in NAMES} == {name: row[name] for name in NAMES}
    assert ("a\N{REPLACEMENT CHARACTER}[2Jb", "'\t=1", "+447700900412") == (
        row["comment"],
        row["recording"],
        row["external_account_id"],
    )


def test_the_table_walks_as_well(full: Path) -> None:
    """More records than one table holds: every uuid is printed once."""
    printed = calldex("search", "--all", data=full).stdout
    assert [1] * 600 == [printed.count(msgspec.json.decode(line)["uuid"]) for line in LINES]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_table_fits_its_terminal(width: int) -> None:
    """No line is longer than the terminal is wide, no word is folded, what matters most is there, and the end of the
    uuid where there is room."""
    records = [msgspec.json.decode(line) for line in LINES[:50]]
    records[0] = {**records[0], "agent": "Maximiliana Constantinopoulos-Wetherby", "queue": "\u4e2d" * 30}
    headings, rows = table_of(records, width)
    text = io.StringIO()
    with redirect_stdout(text):
        output.table(headings, rows, right=("duration",))
    lines = text.getvalue().splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    assert len(lines) == len(records) + 2
    assert ["timestamp", "from", "to"] == [name for name in headings if name in ("timestamp", "from", "to")]
    assert (width >= 80) <= ("disposition" in headings)
    assert (width >= 120) <= ({"agent", "uuid"} <= set(headings))
    if "uuid" in headings:
        shorts = [row[headings.index("uuid")].removeprefix("…") for row in rows]
        assert all(record["uuid"].endswith(short) for record, short in zip(records, shorts, strict=True))


def test_names_stand_for_ids(full: Path) -> None:
    """What a queue or an agent is called does for its id, also beside ids; a name that nothing has is refused."""
    by_queue: dict[str, list[bytes]] = {}
    for line in LINES:
        if queue := msgspec.json.decode(line)["queue"]:
            by_queue.setdefault(queue, []).append(line)
    (first, lines), (second, _), *_ = sorted(by_queue.items())
    assert lines == _found(full, "--queue-ids", first)
    both = [line for line in LINES if msgspec.json.decode(line)["queue"] in (first, second)]
    second_id = msgspec.json.decode(by_queue[second][0])["queue_id"]
    assert both == _found(full, "--queue-ids", f"{first}, {second_id}")
    refused = calldex("search", "--agent-ids", "Nobody", data=full)
    assert (2, True) == (refused.exit_code, "--agent-ids 'Nobody': there is no agent 'Nobody'" in refused.stderr)


def test_one_record_matches(full: Path) -> None:
    """One is one."""
    uuid = msgspec.json.decode(LINES[0])["uuid"]
    assert "1 record matches, 1 printed\n" == calldex("search", "--uuid", uuid, data=full).stderr


def test_a_group_reaches_by_name(full: Path) -> None:
    """Queues by what they are called; an id that no record has named yet is told."""
    queue = next(found for line in LINES if (found := msgspec.json.decode(line))["queue"])
    added = calldex("groups", "add", "Ears", "--permission", "see_cdrs", "--queue", queue["queue"], data=full)
    assert (0, "Added the group Ears.\n") == (added.exit_code, added.stderr)
    listed = msgspec.json.decode(calldex("groups", "list", "--json", data=full).stdout)
    assert [queue["queue_id"]] == next(group["reach"]["queues"] for group in listed if group["name"] == "Ears")
    unknown = calldex("groups", "set", "Ears", "--queue", 424242, data=full)
    assert (0, True) == (unknown.exit_code, "No record has named queue 424242 yet" in unknown.stderr)
    assert 2 == calldex("groups", "set", "Ears", "--queue", "Billling", data=full).exit_code


def test_a_team_has_queues_by_name(full: Path) -> None:
    """The same for the queues of a team."""
    known = next(found["queue"] for line in LINES if (found := msgspec.json.decode(line))["queue"])
    added = calldex("teams", "add", "Ears", "--queue", known, "--queue", 424242, data=full)
    assert (0, 1) == (added.exit_code, added.stderr.count("No record has named queue 424242 yet")), added.stderr
    assert "424242" not in calldex("teams", "set", "Ears", "--queue", known, data=full).stderr
    assert 2 == calldex("teams", "set", "Ears", "--queue", "Billling", data=full).exit_code


def test_an_empty_list_says_so(full: Path) -> None:
    """On standard error, and nothing on standard output."""
    told = calldex("sources", "list", data=full)
    assert ("", "There are none.\n") == (told.stdout, told.stderr)


def test_a_table_obeys_no_record(data: Path) -> None:
    """Control characters of a record do not reach the terminal."""
    record = {**msgspec.json.decode(LINES[0]), "agent": "Eve\x1b[2J", "agent_id": 1}
    assert 0 == calldex("import", "-", data=data, stdin=msgspec.json.encode(record)).exit_code
    printed = calldex("search", data=data).stdout
    assert ("Eve\N{REPLACEMENT CHARACTER}[2J" in printed, "\x1b" in printed) == (True, False)


def test_a_bad_value_is_told_by_option(full: Path) -> None:
    """All problems at once, with what is valid; exit code 2, nothing on standard output."""
    result = calldex("search", "--type", "inbund", "--start-date", "soon", data=full)
    assert (2, "") == (result.exit_code, result.stdout)
    assert "--type 'inbund': 'inbund' is not a value, did you mean 'inbound'?" in result.stderr
    assert "--start-date 'soon': is not a date. Valid: YYYY-MM-DD" in result.stderr


def test_accounts_are_apart(full: Path) -> None:
    """Another account has none of these records; one that is not there is an error."""
    calldex("accounts", "add", "north", data=full)
    assert "0 records match, 0 printed\n" == calldex("search", "--account", "north", data=full).stderr
    assert 1 == calldex("search", "--account", "nrth", data=full).exit_code


def test_all_and_a_limit_contradict(full: Path) -> None:
    """Exit code 2."""
    assert 2 == calldex("search", "--all", "--limit", 1, data=full).exit_code
