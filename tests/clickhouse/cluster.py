"""A cluster to test with: one engine and several hosts before it, each a process, on free ports of loopback.

Replication is ClickHouse's own job, so the hosts share one engine: what one has taken, all have.
"""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from tests.cli.tools import readable
from tests.clickhouse.front import Fault

ROOT: Final = Path(__file__).parents[2]
USER: Final = "calldex"
DATABASE: Final = "calldex"
START_S: Final = 60.0


class Program:
    """A module run as a process that answers lines, and ends with its input. The first line it says is `first`."""

    def __init__(self, module: str, *arguments: object, given: str = "") -> None:
        command = [sys.executable, "-m", f"tests.clickhouse.{module}", *map(str, arguments)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.ask(given) if given else self._line()

    def ask(self, line: str) -> str:
        """The answer to a line. `EOFError` if it is dead."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        return self._line()

    def _line(self) -> str:
        """The next line it says; it goes on if it was stopped, as often as that happens."""
        assert self._process.stdout is not None
        while not readable(self._process.stdout, 0.05):
            self._process.send_signal(signal.SIGCONT)
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"it ended with {self._process.wait(5)}")
        return line.strip()

    def ended(self) -> bool:
        """Whether it is dead."""
        return self._process.poll() is not None

    def stopped(self) -> bool:
        """Whether it stands still, or is dead."""
        return self.ended() or Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # of a line that nobody read
                pipe.close()


class Host:
    """One host. Its port is its own as long as it exists; while no process runs, connections to it are refused."""

    def __init__(self, engine_port: int) -> None:
        # Bound here as well, and never listened to, so that nobody else gets the port meanwhile.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self._engine_port = engine_port
        self._program: Program | None = None
        self.heal()

    @property
    def program(self) -> Program:
        """Its process, if it was not killed."""
        assert self._program is not None, "it was killed"
        return self._program

    def heal(self) -> None:
        """Make it run without faults, whatever became of it."""
        try:
            self.fail()
        except EOFError:
            self.kill()
            self._program = Program("front", self.port, self._engine_port)

    def fail(self, *faults: Fault) -> int:
        """From now on it has these faults, and no others; how many requests were hit by those it had.

        If it was stopped, it goes on. `EOFError` if it is dead.
        """
        if self._program is None:
            raise EOFError("it was killed")
        return int(self._program.ask(msgspec.json.encode(faults).decode()))

    def stop(self) -> None:
        """Stop it: it takes connections and never answers."""
        self.program.send(signal.SIGSTOP)
        deadline = time.monotonic() + START_S
        while not self.program.stopped() and time.monotonic() < deadline:
            time.sleep(0.001)

    def kill(self) -> None:
        """Kill it, with all its connections."""
        if self._program is not None:
            self._program.end()
            self._program = None

    def close(self) -> None:
        """Kill it and give its port back."""
        self.kill()
        self._reserved.close()


class Cluster:
    """An engine, its hosts, and the one user and the one database they know."""

    def __init__(self, folder: Path, hosts: int) -> None:
        self.password = secrets.token_urlsafe(12)
        self._engine = Program("engine", folder, given=f"{USER}:{self.password}")
        self.port = int(self._engine.first)
        """Of the engine itself, which never fails."""
        self.execute(f"CREATE DATABASE {DATABASE}", database="")
        self.hosts = [Host(self.port) for _ in range(hosts)]

    def address(
        self, *order: int, user: str = USER, password: str | None = None, database: str = DATABASE, query: str = ""
    ) -> str:
        """The address of some hosts in some order; of all, if none is named."""
        ports = [self.hosts[i].port for i in order or range(len(self.hosts))]
        where = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"clickhouse://{quote(user)}:{quote(password or self.password)}@{where}/{database}{query}"

    def execute(self, sql: str, database: str = DATABASE) -> list[dict[str, Any]]:
        """What the engine itself answers, past all hosts."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        address = f"/?{urlencode({'database': database, 'default_format': 'JSONEachRow'})}"
        token = b64encode(f"{USER}:{self.password}".encode()).decode()
        connection.request("POST", address, sql.encode(), {"Authorization": f"Basic {token}"})
        reply = connection.getresponse()
        lines = reply.read().decode()
        connection.close()
        assert reply.status == HTTPStatus.OK, lines
        return [json.loads(line) for line in lines.splitlines()]

    def heal(self) -> None:
        """Make every host run without faults."""
        for host in self.hosts:
            host.heal()

    def close(self) -> None:
        """End every process."""
        for host in self.hosts:
            host.close()
        self._engine.end()


@contextmanager
def cluster(folder: Path, hosts: int = 3) -> Iterator[Cluster]:
    """A running cluster over an engine in a folder; it ends with the block."""
    with closing(Cluster(folder, hosts)) as made:
        yield made
