"""The connectors, each run by its platform's own library against the real server: read whole, then what changed, and
gone on with after a kill.

Each platform has an environment of its own, since their pins conflict: `make soak` makes them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import pytest

from calldex.client import Record
from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import people, write
from tests.api.serving import Server
from tests.sync.conftest import Source, some, without_nulls

pytestmark = pytest.mark.soak

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENTS: Final = ROOT / ".venv" / "connectors"
CONNECTORS: Final = ROOT / "connectors"
RECORDS: Final = 400
PAGE: Final = 20
"""Small, so that there is something between the pages for a kill to hit."""


def program(environment: str, name: str) -> str:
    """A program of a platform's environment."""
    found = ENVIRONMENTS / environment / "bin" / name
    if not found.exists():
        assert not os.environ.get("CI"), f"{found} is not there; make soak makes it"
        pytest.skip(f"{environment} is not installed; make soak installs it")
    return str(found)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A server of its own: what others wrote would come as changes."""
    data = tmp_path / "data"
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(RECORDS, seed=5, end=datetime.now(UTC), days=6)))
    server = Server(data)
    yield Source(server.url, keys)
    server.end()


@dataclass
class Platform:
    """A connector run by its platform. `run` reads once, to its end or until so many rows came, when it is killed;
    `copy` is what a destination then holds."""

    run: Callable[[int | None], None]
    copy: Callable[[], Mapping[str, Any]]
    rows: list[str]
    """The uuids that came, in order, where that can be told."""


def lines(command: list[str], until: int | None, counts: Callable[[Any], bool], **given: Any) -> Iterator[Any]:
    """The messages of a program; after so many that count it is killed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **given) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen, problems = 0, ""
        for line in process.stdout:
            message = json.loads(line)
            problems += line if message["type"] == "TRACE" else ""
            yield message
            seen += counts(message)
            if until is not None and seen >= until:
                process.send_signal(signal.SIGKILL)
                break
        told = problems + process.stderr.read()
    assert until is not None or 0 == process.returncode, told[-3000:]


def airbyte(source: Source, folder: Path) -> Platform:
    """`source-declarative-manifest` with the manifest."""
    read = program("airbyte", "source-declarative-manifest")
    config, catalog, state = (folder / f"{name}.json" for name in ("config", "catalog", "state"))
    config.write_text(json.dumps({"url": source.url, "key": source.keys["admin"], "page_size": PAGE}))
    stream = {"name": "cdrs", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    mode = {"sync_mode": "incremental", "destination_sync_mode": "append_dedup", "cursor_field": ["at"]}
    catalog.write_text(json.dumps({"streams": [{"stream": stream, "primary_key": [["uuid"]], **mode}]}))
    command = [read, "read", "--manifest-path", str(CONNECTORS / "airbyte" / "manifest.yaml"), "--config", str(config)]
    command += ["--catalog", str(catalog)]
    rows: list[str] = []
    copy: dict[str, Any] = {}

    def run(until: int | None) -> None:
        known = ["--state", str(state)] if state.exists() else []
        for message in lines([*command, *known], until, lambda one: one["type"] == "RECORD"):
            if message["type"] == "STATE":
                state.write_text(json.dumps([message["state"]]))
            if message["type"] == "RECORD":
                row = message["record"]["data"]
                rows.append(row["uuid"])
                assert row["_ab_cdc_lsn"] > 0
                if row.get("_ab_cdc_deleted_at"):
                    copy.pop(row["uuid"], None)
                else:
                    own = ("_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at", "at")
                    copy[row["uuid"]] = {name: value for name, value in row.items() if name not in own}

    return Platform(run, lambda: copy, rows)


def singer(source: Source, folder: Path) -> Platform:
    """The tap, whose messages a target would take."""
    config, state = folder / "config.json", folder / "state.json"
    config.write_text(json.dumps({"url": source.url, "key": source.keys["admin"], "page_size": PAGE}))
    command = [program("singer", "tap-calldex"), "--config", str(config)]
    rows: list[str] = []
    copy: dict[str, Any] = {}

    def run(until: int | None) -> None:
        known = ["--state", str(state)] if state.exists() else []
        for message in lines([*command, *known], until, lambda one: one["type"] == "RECORD"):
            if message["type"] == "STATE":
                state.write_text(json.dumps(message["value"]))
            if message["type"] == "RECORD" and message["stream"] == "cdrs":
                row = message["record"]
                rows.append(row["uuid"])
                taken(copy, row)

    return Platform(run, lambda: copy, rows)


def taken(copy: dict[str, Any], row: dict[str, Any]) -> None:
    """What a target does with a row of the tap."""
    if row.get("_sdc_deleted_at"):
        copy.pop(row["uuid"], None)
    else:
        copy[row["uuid"]] = {name: value for name, value in row.items() if name not in ("seq", "_sdc_deleted_at")}


_LOAD: Final = """
import os, sys
sys.path.insert(0, sys.argv[1])
import dlt
from calldex_source import calldex
pipeline = dlt.pipeline("calls", pipelines_dir=sys.argv[2], destination=dlt.destinations.duckdb(sys.argv[3]),
    dataset_name="calls")
print("begun", flush=True)
if pipeline.has_pending_data:
    pipeline.run()
pipeline.run(calldex(url=sys.argv[4], key=os.environ["CALLDEX_KEY"], page_size=int(sys.argv[5])))
"""


def dlt(source: Source, folder: Path) -> Platform:
    """The dlt source into DuckDB."""
    python = program("dlt", "python")
    base = folder / "base.duckdb"
    words = [str(CONNECTORS / "dlt"), str(folder / "pipelines"), str(base), source.url, str(PAGE)]
    environment = os.environ | {"CALLDEX_KEY": source.keys["admin"], "RUNTIME__DLTHUB_TELEMETRY": "false"}

    def run(until: int | None) -> None:
        command = [python, "-c", _LOAD, *words]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                _, told = process.communicate(timeout=None if until is None else until / 100)
            except subprocess.TimeoutExpired:
                process.kill()
                _, told = process.communicate()
        assert until is not None or 0 == process.returncode, told.decode()[-3000:]

    def copy() -> dict[str, Any]:
        with duckdb.connect(str(base), read_only=True) as database:
            table = database.execute("SELECT * EXCLUDE (_dlt_load_id, _dlt_id, seq, deleted) FROM calls.cdrs")
            names = [one[0] for one in table.description or ()]
            found = [dict(zip(names, row, strict=True)) for row in table.fetchall()]
        return {row["uuid"]: {_NAMES.get(name, name): _plain(value) for name, value in row.items()} for row in found}

    return Platform(run, copy, [])


_NAMES: Final = {"from_": "from", "_from": "from", "_to": "to"}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value


_TARGET: Final = """
import json, sys
with open(sys.argv[-1], "a") as rows:
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD":
            rows.write(line)
            rows.flush()
        if message["type"] == "STATE":
            print(json.dumps(message["value"]), flush=True)
"""


def meltano(source: Source, folder: Path) -> Platform:
    """The tap by `meltano run`, which keeps the bookmark, into a target that appends lines. Of a run that was killed it
    believes for five minutes that it goes on, hence `--force`."""
    run_it, tap = program("meltano", "meltano"), program("singer", "tap-calldex")
    project, rows_file = folder / "project", folder / "rows.jsonl"
    project.mkdir()
    target = folder / "target"
    target.write_text(f"#!/bin/sh\nexec {program('singer', 'python')} -c '{_TARGET}' {rows_file}\n")
    target.chmod(0o755)
    text = (CONNECTORS / "meltano" / "meltano.yml").read_text()
    text = text.replace("pip_url: ../singer", "select: [cdrs.*]").replace(
        "executable: tap-calldex", f"executable: {tap}"
    )
    loader = f"  loaders:\n    - name: target-lines\n      namespace: target_lines\n      executable: {target}\n"
    (project / "meltano.yml").write_text(text + loader)
    environment = os.environ | {
        "TAP_CALLDEX_URL": source.url,
        "TAP_CALLDEX_KEY": source.keys["admin"],
        "TAP_CALLDEX_PAGE_SIZE": str(PAGE),
        "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
        "NO_COLOR": "1",
    }

    def run(until: int | None) -> None:
        command = [run_it, "run", "--force", "tap-calldex", "target-lines"]
        given: dict[str, Any] = {"cwd": project, "env": environment, "start_new_session": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **given) as process:
            if until is not None:
                while _count(rows_file) < until:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(0.05)
                        break
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            told = process.communicate()[0]
        assert until is not None or 0 == process.returncode, told[-3000:]

    def copy() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for line in rows_file.read_text().splitlines():
            taken(found, json.loads(line)["record"])
        return found

    return Platform(run, copy, [])


def _count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


PLATFORMS: Final = {"airbyte": airbyte, "singer": singer, "dlt": dlt, "meltano": meltano}


def equal(platform: Platform, source: Source) -> None:
    """The copy has what the server has; what is null may be left out."""
    assert compared(source.records()) == compared(platform.copy())


def compared(records: Mapping[str, Record]) -> dict[str, Record]:
    """Records without what is null or empty, instants in one spelling."""
    shown = without_nulls(dict(records))
    return {
        uuid: {name: _instant(value) for name, value in record.items() if value not in ([], {})}
        for uuid, record in shown.items()
    }


def _instant(value: Any) -> Any:
    if isinstance(value, str) and len(value) >= 20 and value[4] == "-" and value.endswith("Z"):
        return datetime.fromisoformat(value).isoformat()
    return value


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_copy_becomes_equal_and_stays_so(source: Source, tmp_path: Path, name: str) -> None:
    """Read whole at first; then what is new, changed and erased, and not all again."""
    folder = tmp_path / "platform"
    folder.mkdir()
    records = some(8, seed=11)
    source.post(records)
    platform = PLATFORMS[name](source, folder)
    platform.run(None)
    equal(platform, source)
    whole = len(platform.rows)
    source.post([msgspec.structs.replace(records[0], comment="Called back"), *some(3, seed=12)])
    source.delete([record.uuid for record in records[1:3]])
    platform.run(None)
    equal(platform, source)
    assert len(platform.rows) - whole < 20
    assert records[1].uuid not in platform.copy()
    platform.run(None)
    equal(platform, source)


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_run_that_is_killed_is_gone_on_with(source: Source, tmp_path: Path, name: str) -> None:
    """Killed at several places, with changes meanwhile: nothing is lost, nothing is left that is no more."""
    folder = tmp_path / "platform"
    folder.mkdir()
    platform = PLATFORMS[name](source, folder)
    records = some(6, seed=21)
    for count, until in enumerate((30, 90, 150, 250)):
        platform.run(until)
        if count == 0:
            source.post(records)
        if count == 1:
            source.delete([records[0].uuid])
    source.post([msgspec.structs.replace(records[1], comment="Later")])
    platform.run(None)
    equal(platform, source)
