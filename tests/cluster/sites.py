"""Nodes of one installation, each a server process of its own, and clients that ask them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.api.serving import Server
from tests.cli.tools import ended, process
from tests.directory.places import PostgresqlPlace
from tests.patience import patient

PASSWORD = "correct horse battery"
START_S = 10.0
SOON_S = 5.0
"""Within this time every node knows what another one changed."""


class Nodes:
    """Servers on one directory, and an admin with a key for everything."""

    def __init__(
        self,
        place: PostgresqlPlace,
        folder: Path,
        count: int = 2,
        *,
        address: str | None = None,
        store: str = "embedded",
    ) -> None:
        self.place = place
        with place.open() as directory:
            directory.add_user("boss@example.com", "Boss", "admin")
            directory.set_password("boss@example.com", PASSWORD)
            self.key = directory.create_key("boss@example.com", ("read", "ingest", "manage"))
        self.sending = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        given = {"directory": address or place.address, "store": store}
        waiting = {"_PING_S": patient(2), "_GREETING_S": patient(3)}  # for hosts of ClickHouse
        self.servers: list[Server] = []
        self.clients: list[httpx.Client] = []
        try:
            for number in range(count):
                self.servers.append(Server(folder / str(number), waiting, **given))
                self.clients.append(httpx.Client(base_url=self.servers[-1].url, timeout=patient(60)))
        except BaseException:
            self.end()
            raise

    def ask(self, node: int, method: str, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        """One request to a node, with the admin's key if none is given."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return self.clients[node].request(method, path, headers=headers, **arguments)

    def status(self, node: int, path: str = "/api/v2/cdr", key: str | None = None) -> int:
        """The status of a GET."""
        return self.ask(node, "GET", path, key=key).status_code

    def end(self) -> None:
        """Stop what still runs."""
        for client, server in zip(self.clients, self.servers, strict=True):
            client.close()
            if server.process.poll() is None:
                code, log = server.end()
                assert (0, False) == (code, "Traceback" in log), log


@contextmanager
def nodes(*given: Any, **more: Any) -> Iterator[Nodes]:
    """Running nodes."""
    running = Nodes(*given, **more)
    try:
        yield running
    finally:
        running.end()


def refused(address: str, data: Path, option: str = "--directory", secret: str = "") -> tuple[int, str]:
    """The exit code and what is told, in one line without what is secret and in time, when `calldex serve` is to use an
    address that it cannot use."""
    began = time.monotonic()
    code, out, err = ended(process("serve", "--port", 0, option, address, data=data))
    assert time.monotonic() - began < patient(START_S)
    told = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("{"))  # the log apart
    assert ("", False, 1) == (out, "Traceback" in err, told.count("\n")), err
    assert not secret or secret not in err, err
    return code, told


def becomes(expected: object, ask: Callable[[], object], within_s: float = SOON_S) -> None:
    """Something is the case before long."""
    deadline = time.monotonic() + patient(within_s)
    while (found := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert expected == found
