"""What stands between a sync and the real server in tests: it answers no more than what the contract documents, and
makes trouble: slow replies, 429, 500, connections that are cut, tokens that are refused."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx2

OF_CALLDEX: Final = ("/api/v2/cdr/changes", "/api/v2/cdr/checksums", "/api/v2/cdr/stats", "/api/v2/cdr/export")
DOCUMENTED: Final = frozenset(
    (
        *("page", "per_page", "search_token", "start_date", "end_date", "cli", "number", "wildcard_cli"),
        *("wildcard_number", "type", "disposition", "queue_ids", "agent_ids", "team_ids", "campaign_ids"),
        *("wrapup_codes", "events", "end_reasons", "min_duration", "max_duration", "uuid"),
    )
)


class Front:
    """A proxy on a free port. `trouble` is how many of a hundred replies are bad, of each kind; `v2` answers nothing
    but what the contract documents. `seen` counts what was asked, by path."""

    def __init__(self, upstream: str, *, v2: bool = False, seed: int = 1) -> None:
        self.upstream = upstream
        self.v2 = v2
        self.trouble = 0
        self.ahead_s = 0.0
        """How far its clock is ahead."""
        self.seen: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.fail: dict[str, int] = {}
        """For a day (`start_date`), the status with which it is answered."""
        self._chance = random.Random(seed)
        self._http = httpx2.Client(base_url=upstream, timeout=60)
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                front.answer(self)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + front.ahead_s if timestamp is None else timestamp)

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Answer a request, well or badly."""
        parts = urlsplit(asked.path)
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.seen[parts.path] += 1
        if self.v2 and (parts.path in OF_CALLDEX or not given.keys() <= DOCUMENTED):
            return self._send(asked, 404 if parts.path in OF_CALLDEX else 400, b'{"error": "not in the contract"}')
        if (status := self.fail.get(given.get("start_date", ""))) is not None:
            return self._send(asked, status, b'{"error": "this day cannot be read"}')
        kind = self._kind(given)
        if kind:
            self.made[kind] += 1
        match kind:
            case "slow":
                time.sleep(self._chance.uniform(0.01, 0.2))
            case "429":
                return self._send(asked, 429, b'{"error": "too many"}', {"Retry-After": "0"})
            case "500":
                return self._send(asked, self._chance.choice((500, 502, 503)), b"<html>broken</html>")
            case "expired":
                return self._send(asked, 410, b'{"error": "the token is too old"}')
        headers = {name: asked.headers[name] for name in ("Authorization", "If-None-Match") if name in asked.headers}
        reply = self._http.get(asked.path, headers=headers)
        told = {name: reply.headers[name] for name in ("ETag", "Retry-After") if name in reply.headers}
        return self._send(asked, reply.status_code, reply.content, told, cut=kind == "cut")

    def _kind(self, given: dict[str, str]) -> str:
        if self._chance.uniform(0, 100) >= self.trouble:
            return ""
        kinds = ["slow", "429", "500", "cut"]
        return self._chance.choice([*kinds, "expired"] if {"search_token", "cursor"} & given.keys() else kinds)

    def _send(
        self,
        asked: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        asked.send_response(status)
        for name, value in (headers or {}).items():
            asked.send_header(name, value)
        if status != 304:
            asked.send_header("Content-Type", "application/json")
            asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            asked.close_connection = True
            asked.connection.shutdown(socket.SHUT_RDWR)
