"""Pipes are watched: numbers for Prometheus, and one message for each change of a pipe's condition."""

from __future__ import annotations

import smtplib
import sqlite3
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx2
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server, write_to_textfile

from calldex.clock import now, now_ms
from calldex.sync.config import Watch, seconds
from calldex.sync.runner import Status, condition_of
from calldex.sync.state import StateFile

_log: Final = structlog.get_logger(__name__)
TIMEOUT_S: Final = 10
CONDITIONS: Final = ("new", "ok", "behind", "unequal")
_CONDITION: Final = "condition"
_AGAIN_S: Final = 60
"""A message that could not be sent is sent again after so long."""


class Metrics:
    """The numbers, of each pipe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"labelnames": ("pipe",), "registry": self.registry}
        self._delivered = Counter("calldex_sync_changes", "Changes that were delivered.", **made)
        self._current = Gauge(
            "calldex_sync_current_seconds", "As of when everything is delivered, epoch seconds.", **made
        )
        self._failed = Gauge("calldex_sync_failed_records", "Records that the destination did not take.", **made)
        self._days = Gauge("calldex_sync_days_not_whole", "Days that could not be read whole.", **made)
        self._problem = Gauge("calldex_sync_problem", "1 if the last run did not come to its end.", **made)
        self._seconds = Gauge("calldex_sync_run_seconds", "How long the last run took.", **made)
        self._requests = Gauge("calldex_sync_run_requests", "Requests to the source of the last run.", **made)
        self._verified = Gauge("calldex_sync_verified_seconds", "When it was proved last, epoch seconds.", **made)
        self._condition = Gauge(
            "calldex_sync_condition", "1 for the condition of the pipe.", ("pipe", "condition"), registry=self.registry
        )

    def applied(self, pipe: str, count: int) -> None:
        """So many changes more were delivered."""
        self._delivered.labels(pipe).inc(count)

    def tell(self, status: Status, condition: str) -> None:
        """How a pipe fares."""
        pipe = status.pipe
        if status.current_ms is not None:
            self._current.labels(pipe).set(status.current_ms / 1000)
        if status.verified_ms is not None:
            self._verified.labels(pipe).set(status.verified_ms / 1000)
        self._failed.labels(pipe).set(status.failed)
        self._days.labels(pipe).set(len(status.not_whole))
        self._problem.labels(pipe).set(bool(status.problem))
        self._seconds.labels(pipe).set(status.seconds)
        self._requests.labels(pipe).set(status.requests)
        for each in CONDITIONS:
            self._condition.labels(pipe, each).set(each == condition)

    def serve(self, port: int) -> None:
        """Answer Prometheus, on this machine's own address."""
        start_http_server(port, "127.0.0.1", self.registry)

    def write(self, path: Path) -> None:
        """Write a file for node_exporter."""
        try:
            write_to_textfile(str(path), self.registry)
        except OSError as error:  # of a disk that is full, say: the copies go on
            _log.error("metrics not written", path=str(path), reason=error.strerror)


class Watcher:
    """Judges pipes, and tells of what changed."""

    def __init__(self, watch: Watch, file: StateFile, metrics: Metrics) -> None:
        self._watch = watch
        self._file = file
        self._metrics = metrics
        self._told: dict[tuple[str, str], str] = {}
        """Which condition of a pipe was told, by each way; it is noted as well, if the disk has room."""
        self._ways: dict[str, Callable[[Status, str, str], None]] = {"log": _logged}
        if watch.webhook is not None:
            self._ways["webhook"] = partial(self._post, watch.webhook)
        if watch.email is not None:
            self._ways["email"] = partial(self._mail, watch.email)
        self.not_before: dict[str, float] = {}
        """By a way no message is sent until then (of the monotonic clock): the last one could not be."""

    def look(self, statuses: Mapping[str, Status]) -> None:
        """Judge pipes as they are now. One message for each change; one that was not sent is sent later."""
        at_ms = now_ms()
        for status in statuses.values():
            condition = condition_of(status, seconds(self._watch.lag), at_ms)
            self._metrics.tell(status, condition)
            for way in self._ways:
                self._tell(way, status, condition)

    def _tell(self, way: str, status: Status, condition: str) -> None:
        noted, name = self._file.remembered(status.pipe), f"{_CONDITION} {way}"
        was = self._told.get((status.pipe, way)) or noted.get(name, "new")
        if condition == was or time.monotonic() < self.not_before.get(way, 0):
            return
        try:
            if {condition, was} != {"new", "ok"}:
                self._ways[way](status, condition, was)
        except (httpx2.HTTPError, OSError, smtplib.SMTPException) as error:
            # No address: a webhook's is a secret.
            _log.error("alert not sent", pipe=status.pipe, by=way, reason=type(error).__name__)
            self.not_before[way] = time.monotonic() + _AGAIN_S
            return
        self._told[status.pipe, way] = condition
        try:
            noted[name] = condition
        except sqlite3.Error as error:
            _log.error("alert not noted; it is sent again after the next start", pipe=status.pipe, reason=str(error))

    def _post(self, to: str, status: Status, condition: str, was: str) -> None:
        body = {"pipe": status.pipe, "condition": condition, "was": was, "text": _text(status, condition)}
        body["at"] = now().isoformat(timespec="seconds")
        httpx2.post(to, json=body, timeout=TIMEOUT_S).raise_for_status()

    def _mail(self, to: str, status: Status, condition: str, _was: str) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self._watch.sender, to
        message["Subject"] = f"calldex sync: {status.pipe} is {condition}"
        message.set_content(_text(status, condition))
        parts = urlsplit(self._watch.smtp)
        address, checked = (parts.hostname or "localhost", parts.port or 0), ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(*address, timeout=TIMEOUT_S, context=checked)
            if parts.scheme == "smtps"
            else smtplib.SMTP(*address, timeout=TIMEOUT_S)
        ) as server:
            if parts.username:
                if parts.scheme == "smtp":
                    server.starttls(context=checked)  # a password is told to nobody else
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)


def _logged(status: Status, condition: str, was: str) -> None:
    _log.log(20 if condition == "ok" else 30, "condition", pipe=status.pipe, condition=condition, was=was)


def _text(status: Status, condition: str) -> str:
    if condition == "unequal":
        return f"The copy of {status.pipe} is not equal to its source: {status.unequal}"
    if condition == "behind":
        since = "never" if status.current_ms is None else _instant(status.current_ms)
        why = status.problem or "; ".join(f"{day}: {each}" for day, each in status.not_whole.items())
        return f"The pipe {status.pipe} has fallen behind; it was up to date last: {since}. {why}".strip()
    return f"The pipe {status.pipe} is up to date again."


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
