"""Through which modules four things pass: a search, a row of a call, a change of rights, a commit on ClickHouse.

`python -m bench.ways` runs each of them and prints the modules of which a function ran meanwhile, in any thread, and
how often. Each is done twice, and the second time counts: what the first one made ready (a connection, a statement, the
index) is none of it. Nor are functions that run while nothing is asked, and modules that are only imported, of
constants and of structs without functions of their own.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_NEWLOCALS
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import msgspec
import structlog

import calldex
from calldex.api.control import control
from calldex.api.server import serve
from calldex.demo import interactions
from calldex.ingest.pipeline import Post
from calldex.ingest.workers import Block, block
from calldex.node import Node
from calldex.records.record import canonical
from calldex.settings import Settings, resolve

RECORDS: Final = 2_000
QUIET_S: Final = 2.0
"""How long to wait until what follows in other threads is done."""
_TREE: Final = f"{Path(calldex.__file__).parent}/"
_ROW: Final = (
    '"","447700900486","442079460012","from-carrier","""Gus Olsen"" <447700900486>","PJSIP/carrier-0000000{0}",'
    '"PJSIP/agent2-0000000{0}","Dial","PJSIP/agent2,10","2026-11-2{0} 18:58:57","2026-11-2{0} 18:58:59",'
    '"2026-11-2{0} 18:59:57",60,58,"ANSWERED","DOCUMENTATION","179546033{0}.9","","","179546033{0}.9",1{0}\n'
)


class Trace:
    """The modules of Calldex of which functions ran, from `begin` on, and how often."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._idle: set[CodeType] = set()
        self._is_idle: bool | None = None
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if self._is_idle is None or event != "call" or not code.co_filename.startswith(_TREE):
            return
        if self._is_idle:
            self._idle.add(code)
        elif code.co_flags & CO_NEWLOCALS and code not in self._idle:
            self.calls[code.co_filename.removeprefix(_TREE)] += 1

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Print what ran within the block, and shortly after it."""
        self.calls.clear()
        self._is_idle = True
        time.sleep(QUIET_S)
        self._is_idle = False
        yield
        time.sleep(QUIET_S)
        self._is_idle = None
        print(f"{name}: {len(self.calls)}")
        print("  " + " ".join(f"{module}({count})" for module, count in sorted(self.calls.items())))


def main() -> None:
    """All four."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(Path(os.devnull).open("w")))  # noqa: SIM115 - to the end
    trace = Trace()
    with tempfile.TemporaryDirectory() as folder:
        _row(trace, Path(folder) / "rows")
        _served(trace, Path(folder) / "served")
        _commit(trace, Path(folder) / "commit")


def _settings(data: Path, **flags: object) -> Settings:
    return resolve(data, {"port": 0, "threads": 2, **flags}, {})[0]


def _block(seed: int, count: int) -> Block:
    return block(map(canonical, interactions(count, seed)), "")


def _write(node: Node, seed: int, count: int) -> None:
    node.ingest.post(Post(node.directory.account().id, _block(seed, count), None, b"", lambda _: b""))


def _row(trace: Trace, data: Path) -> None:
    """From the bytes of a file until searches find the record."""
    with Node(_settings(data)) as node:
        node.directory.add_source("pbx", "asterisk", {"zone": "UTC", "trunks": "PJSIP/carrier-*"})
        for turn in (1, 2):
            feed = node.feed("pbx", None)
            if turn == 1:
                node.ingest.run(feed, [_ROW.format(turn).encode()], "Master.csv")
                continue
            with trace("an Asterisk row, from its bytes until searches find it"):
                node.ingest.run(feed, [_ROW.format(turn).encode()], "Master.csv")


def _served(trace: Trace, data: Path) -> None:
    """A search from the socket to the bytes, a row's record as a page, and a change of rights over HTTP."""
    with Node(_settings(data)) as node:
        _write(node, 1, RECORDS)
        node.directory.add_user("boss@example.com", "Boss", role="admin")
        node.directory.add_user("clerk@example.com", "Clerk", role="analyst")
        key = node.directory.create_key("boss@example.com", scopes=("read", "manage"))

        def asked(url: str) -> None:
            try:
                connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
                headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

                def ask(method: str, path: str, body: object = None) -> None:
                    connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
                    reply = connection.getresponse()
                    told = reply.read()
                    if reply.status >= 300:
                        raise RuntimeError(f"{method} {path}: {reply.status} {told[:300]!r}")

                ask("GET", "/api/v2/cdr?per_page=20&disposition=answered")
                with trace("a search, from the socket to the bytes"):
                    ask("GET", "/api/v2/cdr?per_page=20&disposition=busy")
                ask("PATCH", "/api/admin/v1/users/2", {"role": "supervisor"})
                with trace("a change of rights over HTTP"):
                    ask("PATCH", "/api/admin/v1/users/2", {"role": "analyst"})
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        serve(node, control(node), announce=lambda url: threading.Thread(target=asked, args=(url,)).start())


def _commit(trace: Trace, data: Path) -> None:
    """Records that were read, until they count."""
    with Node(_settings(data, store=f"chdb://{data}/engine")) as node:
        _write(node, 1, 50)
        sent = _block(2, 50)
        with trace("a commit on ClickHouse"):
            node.ingest.post(Post(1, sent, None, b"", lambda _: b""))


if __name__ == "__main__":
    main()
