"""Plain uvicorn, whose every reply has a stated number of bytes: what a server in Python can do at all, in one run with
ours. `python -m bench.plain BYTES` serves it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from bench.service import Server


@contextmanager
def plain(size: int) -> Iterator[Server]:
    """Such a server, to be asked as ours is, until the block ends."""
    command = [sys.executable, "-m", "bench.plain", str(size)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        yield Server(process, base, 0.0, ("none", "none"), Path(os.devnull))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _serve(size: int) -> None:
    body = b"x" * size
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http="httptools", lifespan="off", access_log=False, log_level="error")
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
