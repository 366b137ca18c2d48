"""Whoever waits lets go when the sync is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from calldex.sync.runner import Worker
from calldex.sync.service import serve
from calldex.sync.state import StateFile
from calldex.sync.stopping import Stopped
from tests.sync.conftest import Rig, Source

pytestmark = pytest.mark.slow
SOON_S = 20.0
"""Far less than what is waited for."""


@pytest.fixture
def later() -> Iterator[tuple[str, threading.Event]]:
    """An address that asks everybody to come again in a minute and a half, and whether somebody came."""
    came = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(503)
            self.send_header("Retry-After", "90")
            self.send_header("Content-Length", "0")
            self.end_headers()
            came.set()

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - as the library wants them

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


def test_no_pipe_that_waits_falls_behind() -> None:
    """A feed is not waited for longer than half of what the pipe may be behind."""
    for lag, expected in (("10s", 5), ("1h", 30), ("1s", 1)):
        stopping = threading.Event()
        waited: list[int] = []

        def run(wait_s: int, *, lookups: bool, stopping: threading.Event = stopping, to: list[int] = waited) -> None:
            del lookups
            to.append(wait_s)
            if len(to) == 2:
                stopping.set()

        pipe, status = SimpleNamespace(every=None), SimpleNamespace(problem="")
        worker: Any = SimpleNamespace(pipe=pipe, follows=True, run=run, status=status, close=lambda: None)
        assert serve({"calls": worker}, "5m", stopping, lambda: None, lag)
        assert [0, expected] == waited


KINDS: dict[str, dict[str, Any]] = {
    "calldex": {"key": "env:THEIR_KEY"},
    "push": {},
    "hubspot": {"token": "env:THEIR_KEY"},
    "zendesk": {"email": "a@example.com", "token": "env:THEIR_KEY", "app_id": "1"},
    "salesforce": {"client_id": "a", "client_secret": "env:THEIR_KEY"},
    "bitrix24": {"client_id": "a", "client_secret": "env:THEIR_KEY", "refresh_token": "env:THEIR_KEY", "agent": "1"},
}


@pytest.mark.parametrize("kind", [*KINDS, "the source"])
def test_a_stop_reaches_who_waits(
    source: Source, later: tuple[str, threading.Event], tmp_path: Path, kind: str
) -> None:
    """Whether the endpoint or the destination asks to come again: the pipe ends at once, and says nothing of a
    failure."""
    url, came = later
    if kind == "the source":
        rig = Rig(tmp_path, url, source.keys["admin"], {"kind": "nothing"})
    else:
        rig = Rig(tmp_path, source.url, source.keys["admin"], {"kind": kind, "url": url, **KINDS[kind]})
    rig.environment["THEIR_KEY"] = "abc"
    rig.text["source"]["main"]["kind"] = "calldex"
    stopping, ended = threading.Event(), []
    with StateFile(rig.config.state) as file:
        worker = Worker(rig.config, "calls", file, lock=threading.Lock(), stopping=stopping)

        def run() -> None:
            try:
                worker.run()
            except Stopped:
                ended.append(time.monotonic())

        thread = threading.Thread(target=run)
        thread.start()
        assert came.wait(60)
        began = time.monotonic()
        stopping.set()
        thread.join(60)
        worker.close()
    assert 1 == len(ended)
    assert ended[0] - began < SOON_S
    assert "" == worker.status.problem
