"""A PostgreSQL server of the test run's own: Debian's, on a free loopback port, in a temporary folder.

In memory, if there is enough: each test makes a database, and in files that can take ten times as long.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

START_S = 30.0
MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it has a name of its own
ENOUGH_BYTES = 1 << 30
MISSING = "no PostgreSQL server is installed: apt-get install postgresql"
NEWEST_LAST = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))


def programs() -> Path:
    """The folder of the newest server installed. Without one a test is skipped, and fails where changes are checked."""
    if not NEWEST_LAST:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return NEWEST_LAST[-1].parent


def _owner() -> dict[str, Any]:
    """PostgreSQL does not run as root: then it runs as the user that its package made."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """A server that trusts whoever comes as `calldex`. `address` names no database."""

    def __init__(self, folder: Path) -> None:
        """Make it, in a folder that there is not yet; it is not started."""
        self._programs, self._folder, self._as = programs(), folder, _owner()
        self._running: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755)
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        made = ("--pgdata", str(folder / "data"), "--username", "calldex", "--auth", "trust", "--encoding", "UTF8")
        self._run("initdb", *made, "--no-sync")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = URL.create("postgresql", "calldex", host="127.0.0.1", port=port)

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [str(self._programs / program), *arguments]
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, check=True, capture_output=True, cwd=self._folder, **self._as
        )
        return done.stdout

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder, log = self._folder, self._folder / "log"
        settings = {"port": self.address.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        settings |= {"fsync": "off", "max_connections": 200}
        command = [str(self._programs / "postgres"), "-D", str(folder / "data")]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, **self._as)
        self._running = process
        deadline = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it with all its connections."""
        if self._running is not None:
            self._running.send_signal(signal.SIGINT)
            self._running.wait(30)
            self._running = None

    def trust_nobody(self, user: str) -> None:
        """From now on this user needs a password."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What another program does to a database."""
        with psycopg.connect(self._at(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def dump(self, database: str, *options: str) -> bytes:
        """Everything that is in a database."""
        return self._run("pg_dump", *options, "--dbname", self._at(database))

    def _at(self, database: str) -> str:
        return self.address.set(database=database).render_as_string()


@contextmanager
def server() -> Iterator[Server]:
    """A running server; it ends with the block."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
    with TemporaryDirectory(dir=MEMORY if in_memory else None) as folder:
        Path(folder).chmod(0o755)  # for the user as whom it runs
        made = Server(Path(folder) / "postgresql")
        try:
            made.start()
            yield made
        finally:
            made.stop()
