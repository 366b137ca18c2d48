"""A vendor on this machine: a server in this process, over real sockets, that keeps to what the vendor publishes."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What came: `body` is the JSON of it, or the bytes where it is none; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw: bytes
    at: float


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Cut(Exception):
    """The connection is cut instead of an answer."""


Fault = Callable[[Callable[[], Answer]], Answer]
"""What happens to a request instead: it may still be carried out by calling what is given."""


def answers(status: int, body: Any = None, **headers: str) -> Fault:
    """Nothing is done, and this is answered."""
    return lambda carry_out: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def lost(carry_out: Callable[[], Answer]) -> Answer:
    """It is done, and the answer gets lost."""
    carry_out()
    raise Cut


def dropped(carry_out: Callable[[], Answer]) -> Answer:
    """It is not done, and no answer comes."""
    raise Cut


class Window:
    """At most so many requests within any span of that length."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit, self.window_s = limit, window_s
        self._at: deque[float] = deque()

    def admit(self, now: float) -> float:
        """0 if one more may come now, else in how many seconds."""
        while self._at and self._at[0] <= now - self.window_s:
            self._at.popleft()
        if len(self._at) >= self.limit:
            return self._at[0] + self.window_s - now
        self._at.append(now)
        return 0


class Bucket:
    """A leaky bucket: a counter that falls by `rate` a second, and lets nothing in above `size`."""

    def __init__(self, rate: float, size: float) -> None:
        self.rate, self.size = rate, size
        self._level, self.at = 0.0, time.monotonic()

    def admit(self, now: float) -> float:
        """0 if one more may come now, else in how many seconds."""
        self._level = max(0.0, self._level - (now - self.at) * self.rate)
        self.at = now
        if self._level + 1 > self.size:
            return (self._level + 1 - self.size) / self.rate
        self._level += 1
        return 0


class Vendor:
    """The server. A vendor's class says `answer`; `faults` are what happens to the next requests, in order, of those
    whose path has the text; `refused` counts those that were over a limit."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[tuple[str, Fault]] = []
        self.refused = 0
        self.latency_s = 0.0
        self.ahead_s = 0.0
        """How far its clock is ahead."""
        self.hidden = False
        """Whether searches find nobody: they lag behind what is made."""
        self.lock = threading.RLock()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                vendor._serve(self)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + vendor.ahead_s if timestamp is None else timestamp)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = _any  # noqa: N815 - names of the library

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - likewise
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request) -> Answer:
        """What the vendor does and says."""
        raise NotImplementedError

    def limit(self, request: Request) -> Answer | None:
        """The answer to a request that is over a limit."""
        del request
        return None

    def count(self, path: str) -> int:
        """How many requests there were whose path has this text."""
        return sum(path in request.path for request in self.requests)

    def fail(self, path: str, *faults: Fault) -> None:
        """What happens to the next requests whose path has this text."""
        self.faults += [(path, fault) for fault in faults]

    def _fault(self, path: str) -> Fault | None:
        for index, (text, fault) in enumerate(self.faults):
            if text in path:
                del self.faults[index]
                return fault
        return None

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        request = Request(handler.command, parts.path, query, headers, body, raw, time.monotonic())
        with self.lock:
            self.requests.append(request)
            fault = self._fault(request.path)
        time.sleep(self.latency_s)
        try:
            answer = fault(lambda: self._within(request)) if fault else self._within(request)
        except Cut:
            handler.close_connection = True
            handler.connection.close()
            return
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(content)))
        try:
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True  # nobody waits for it any more

    def _within(self, request: Request) -> Answer:
        with self.lock:
            over = self.limit(request)
            if over is None:
                return self.answer(request)
            self.refused += 1
            return over
