"""The program under measurement: its commands run as a user runs them, its server asked over loopback."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

START_LIMIT_S = 600.0
_PIECE = 1 << 20
_IDLE_S = 30.0
"""A connection that nothing was asked on for so long is opened again: the server ends idle ones after a minute."""


def calldex(data: Path, *words: str) -> str:
    """Run a command of the program on a data directory, and give what it prints."""
    command = [sys.executable, "-m", "calldex", words[0], *_with_data(words[1:], data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def _with_data(words: tuple[str, ...], data: Path) -> list[str]:
    """`--data` belongs to the command itself: behind the name of a command in a group."""
    index = 1 if words and words[0] in {"add", "create", "list"} else 0
    return [*words[:index], "--data", str(data), *words[index:]]


class Server:
    """A running server, and one connection to it that is kept open."""

    def __init__(
        self, process: subprocess.Popen[str], base: str, started_s: float, keys: tuple[str, str], log: Path
    ) -> None:
        """`keys`: one that reads, one that ingests."""
        self.process = process
        self._log = log
        self.started_s = started_s
        self.key, self.ingest_key = keys
        self.host, _, port = base.removeprefix("http://").partition(":")
        self.port = int(port)
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        self._asked = time.monotonic()

    def get(self, **parameters: object) -> bytes:
        """The body of a reply to `GET /api/v2/cdr` as it is sent, in a `coding` if one is given. Anything but 200 is an
        error."""
        coding = str(parameters.pop("coding", "identity"))
        target = f"/api/v2/cdr?{urlencode({'key': self.key, **parameters})}"
        self._request("GET", target, headers={"Accept-Encoding": coding})
        return self._body()

    def ask(self, what: str, **parameters: object) -> bytes:
        """The body of a reply to `GET /api/v2/cdr/{what}`. Anything but 200 is an error."""
        target = f"/api/v2/cdr/{what}?{urlencode({'key': self.key, **parameters})}"
        self._request("GET", target, headers={"Accept-Encoding": "identity"})
        return self._body()

    def page(self, **parameters: object) -> dict[str, Any]:
        """The same, decoded."""
        decoded: dict[str, Any] = msgspec.json.decode(self.get(**parameters))
        return decoded

    def post(self, body: bytes) -> bytes:
        """Send records as JSON Lines."""
        headers = {"Authorization": f"Bearer {self.ingest_key}", "Content-Type": "application/x-ndjson"}
        self._request("POST", "/api/ingest/v1/records", body, headers=headers)
        return self._body()

    def export(self, name: str) -> tuple[int, int]:
        """Read an export in this format: how many records it told, and how many bytes came."""
        target = f"/api/v2/cdr/export?{urlencode({'key': self.key, 'format': name})}"
        self._request("GET", target, headers={"Accept-Encoding": "identity"})
        reply, size, buffer = self._connection.getresponse(), 0, bytearray(_PIECE)
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {reply.read()[:500].decode()}")
        while count := reply.readinto(buffer):
            size += count
        return int(reply.headers["Calldex-Expected-Records"]), size

    def _request(self, method: str, target: str, body: bytes | None = None, *, headers: Mapping[str, str]) -> None:
        now = time.monotonic()
        if now - self._asked > _IDLE_S:
            self._connection.close()  # the next request opens it again
        self._asked = now
        self._connection.request(method, target, body, dict(headers))

    def _body(self) -> bytes:
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {body[:500].decode()}")
        return body

    def index(self) -> None:
        """Have the index made, which the first search begins that it may answer, and wait for it; a store on ClickHouse
        has none."""
        if os.environ.get("CALLDEX_STORE", "").startswith("chdb:"):
            return
        self.get(agent_ids=1)
        while "index_ready" not in self.log():
            time.sleep(0.1)

    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def cpu_s(self) -> float:
        """Processor time that the server has used, and the processes that read for it."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [str(self.process.pid), *(pid for task in tasks for pid in task.read_text().split())]
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, name: str = "VmHWM") -> int:
        """Resident memory of the server: the highest (`VmHWM`) or the present (`VmRSS`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        return int(found[1]) // 1024 if found else 0


@contextmanager
def served(data: Path) -> Iterator[Server]:
    """Serve a data directory on a free port, until the block ends. The time to readiness counts from the start of the
    process to the first 200 of `/readyz`."""
    keys = [
        calldex(data, "keys", "create", "bench@example.com", "--scope", scope).strip() for scope in ("read", "ingest")
    ]
    began = time.perf_counter()
    log = (data.parent / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "calldex", "serve", "--data", str(data), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=log,  # a line for each request, as the program is shipped
        text=True,
    )
    try:
        assert process.stdout is not None
        base = _base(process.stdout.readline())
        _until_ready(base)
        yield Server(process, base, time.perf_counter() - began, (keys[0], keys[1]), Path(log.name))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        log.close()


def _base(line: str) -> str:
    found = re.search(r"http://[0-9.]+:\d+", line)
    if found is None:
        raise RuntimeError(f"the server said no address but {line!r}")
    return found[0]


def _until_ready(base: str) -> None:
    host, _, port = base.removeprefix("http://").partition(":")
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("GET", "/readyz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.005)
    raise RuntimeError(f"not ready within {START_LIMIT_S} s")
