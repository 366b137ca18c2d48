"""`calldex sync` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from calldex.client import Client
from calldex.sync.config import Watch
from calldex.sync.runner import Status
from calldex.sync.state import StateFile
from calldex.sync.watch import Metrics, Watcher
from tests.sync.conftest import RECORDS, Source, some

pytestmark = pytest.mark.slow
TEXT = """
[source.main]
url = "{url}"
key = "env:CDR_KEY"
[destination.out]
kind = "nothing"
[pipe.calls]
from = "main"
to = "out"
"""


def command(folder: Path, key: str, *words: str) -> tuple[list[str], dict[str, Any]]:
    """What starts it, with a key in its environment."""
    line = [sys.executable, "-m", "calldex", "sync", "--config", str(folder / "sync.toml"), *words]
    return line, {"env": {**os.environ, "CDR_KEY": key}, "text": True}


def sync(folder: Path, key: str, *words: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    """What it says, and its exit code."""
    line, given = command(folder, key, *words)
    return subprocess.run(line, **given, capture_output=True, check=False, input=answers, timeout=60)


@pytest.fixture
def folder(tmp_path: Path, source: Source) -> Path:
    """A folder with a file that reads the source."""
    (tmp_path / "sync.toml").write_text(TEXT.format(url=source.url))
    return tmp_path


def test_a_run_and_what_it_leaves(folder: Path, source: Source) -> None:
    """`run`, then `status`, for people and for scripts, and the exit codes that are stated."""
    key = source.keys["admin"]
    assert 1 == sync(folder, key, "status", "--healthcheck").returncode
    checked = sync(folder, key, "check")
    assert (0, "calls: works; its source is of the kind calldex") == (checked.returncode, checked.stderr.strip())
    assert 0 == sync(folder, key, "run").returncode
    (told,) = json.loads(sync(folder, key, "status", "--json", "--healthcheck").stdout)
    with Client(source.url, key) as client:
        expected = sum(len(each.changes) for each in client.changes())
    assert ("ok", expected, "") == (told["condition"], told["status"]["changes"], told["status"]["problem"])
    assert told["lag_s"] < 60
    shown = sync(folder, key, "status")
    assert "calls" in shown.stdout
    assert 2 == sync(folder, key, "run", "nosuch").returncode
    refused = sync(folder, "cdx_wrong", "run")
    assert 1 == refused.returncode
    assert "Invalid User API Key" in refused.stderr
    assert "cdx_wrong" not in refused.stderr
    (folder / "sync.toml").unlink()
    assert 5 == sync(folder, key, "run").returncode


def test_init_asks_and_writes_what_works(tmp_path: Path, source: Source) -> None:
    """The file that it writes can be used as it is; it writes over none."""
    answers = f"{source.url}\nCDR_KEY\nduckdb\n{tmp_path}/calls_copy.duckdb\n"
    assert 0 == sync(tmp_path, "", "init", answers=answers).returncode
    assert 0 == sync(tmp_path, source.keys["admin"], "check").returncode
    assert 2 == sync(tmp_path, "", "init", answers=answers).returncode


def test_a_service_follows_and_stops(folder: Path, source: Source) -> None:
    """With `--every` it brings what is new as it comes, answers Prometheus, is alone with its file, and ends when it is
    told to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as free:
        port = free.server_port
    line, given = command(folder, source.keys["admin"], "run", "--every", "2s", "--metrics-port", str(port))
    process = subprocess.Popen(line, **given, stderr=subprocess.PIPE)
    try:
        assert metric(port, RECORDS)
        assert 6 == sync(folder, source.keys["admin"], "run").returncode
        late = some(7, seed=21)
        source.post(late)
        assert metric(port, RECORDS + 7)
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert 0 == process.returncode, log
    source.delete([each.uuid for each in late])


def metric(port: int, expected: int) -> bool:
    """Whether it comes to have delivered so many changes."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            told = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx2.TransportError:
            told = ""
        if f'calldex_sync_changes_total{{pipe="calls"}} {float(expected)}' in told:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A webhook's address, what came, and the statuses with which it answers next."""
    came: list[dict[str, Any]] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", came, answers
        server.shutdown()
        thread.join()


def test_one_message_for_each_change(tmp_path: Path, hook: tuple[str, list[dict[str, Any]], list[int]]) -> None:
    """A pipe that falls behind is told once, and once when it is well; what could not be sent is sent later."""
    url, came, answers = hook
    with StateFile(tmp_path / "state") as file:
        watcher = Watcher(Watch(webhook=url, lag="60s"), file, Metrics())

        def look(**values: Any) -> list[tuple[str, str]]:
            now_ms = time.time_ns() // 1_000_000
            status = Status(pipe="calls", begun_ms=now_ms, **values)
            before = len(came)
            watcher.look({"calls": status})
            return [(each["was"], each["condition"]) for each in came[before:]]

        now_ms = time.time_ns() // 1_000_000
        assert [] == look(current_ms=now_ms)
        assert [("ok", "behind")] == look(current_ms=now_ms - 61_000, problem="no reply")
        assert "no reply" in came[-1]["text"]
        assert [] == look(current_ms=now_ms - 70_000)
        assert [("behind", "ok")] == look(current_ms=now_ms)
        answers.append(500)
        assert [("ok", "unequal")] == look(current_ms=now_ms, unequal="2026-11-01")
        assert [] == look(current_ms=now_ms, unequal="2026-11-01")
        watcher.not_before = 0
        assert [("ok", "unequal")] == look(current_ms=now_ms, unequal="2026-11-01")
