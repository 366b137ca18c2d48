"""A server in a process of its own, and bare connections to it."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from calldex.demo import interactions
from calldex.node import Node
from calldex.settings import Settings
from tests.api.conftest import people, write
from tests.patience import patient

_PROGRAM = """
import os
import sys
import msgspec
from calldex.transport import backpressure, listener, protocol
from calldex.api.server import serve
from calldex.node import Node
from calldex.settings import resolve

async def control(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

def announce(url):
    os.write(told, url.encode())
    os.close(told)

given, patience, told = map(msgspec.json.decode, sys.argv[1:4])
modules = [listener, protocol, backpressure]
if given.get("store", "").startswith("clickhouse"):
    from calldex.store.clickhouse import client
    modules.append(client)
for module in modules:
    for name in patience.keys() & vars(module).keys():
        setattr(module, name, patience[name])
with Node(resolve(None, {"port": 0, "threads": 1, **given}, {})[0]) as node:
    serve(node, control, announce=announce)
print("ended", flush=True)
"""


class Server:
    """A server with some settings, and other values of the constants of `listener`, `protocol`, `backpressure` and,
    if records lie there, `store.clickhouse.client`."""

    def __init__(self, data: Path, patience: dict[str, float] | None = None, **given: object) -> None:
        # The address comes by a pipe of its own: in the log, lines of several threads may fall into one another.
        mine, told = os.pipe()
        words = [json.dumps({"data": str(data), **given}, default=str), json.dumps(patience or {}), str(told)]
        command = [sys.executable, "-c", _PROGRAM, *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[told]
        )
        os.close(told)
        self.log: list[str] = []
        atexit.register(self.process.kill)  # a test that failed did not stop it, and nobody may wait for it then
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        with os.fdopen(mine) as announced:
            self.url = announced.read()  # ends when the server does, at the latest
        if not self.url:
            raise AssertionError(f"it did not come to serve: {self.ended()}")
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        """Take what it writes as long as it runs: a server whose output nobody takes would stand still."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.log.append(line)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Stop it; its exit code and its output."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait for its end; its exit code and its output."""
        code = self.process.wait(timeout=patient(30))
        self._reading.join()
        return code, "".join(self.log)


def data_of(folder: Path, records: int = 300) -> tuple[Path, dict[str, str]]:
    """A data directory with records, and its keys. Its path is longer than the address of a socket may be."""
    data = folder / ("long" * 25)
    with Node(Settings(data=data, threads=1)) as node:
        keys = people(node)
        write(node, "main", list(interactions(records, seed=3)))
    return data, keys


def reply_of(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def next_reply(connection: socket.socket) -> bytes:
    """One reply with a length, on a connection that may go on."""
    reply = b""
    while not (head := re.search(rb"content-length: (\d+)\r\n.*?\r\n\r\n", reply, re.DOTALL)):
        part = connection.recv(65536)
        assert part, "the connection ended before a reply"
        reply += part
    while len(reply) < head.end() + int(head[1]):
        part = connection.recv(1 << 20)
        assert part, "the connection ended in the middle of a reply"
        reply += part
    return reply
