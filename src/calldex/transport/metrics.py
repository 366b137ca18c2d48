"""What can be measured about a server, for Prometheus. Holds no key, no number, no name of an account."""

from __future__ import annotations

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from calldex.node import Node
from calldex.transport.backpressure import Untaken
from calldex.transport.replies import OUTCOMES, IngestReply
from calldex.transport.workers import Workers

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The measures of one server."""

    def __init__(self, node: Node, searches: Workers, posts: Workers, untaken: Untaken) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "calldex_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "calldex_request_seconds", "Time to answer a request.", ("route",), registry=registry, buckets=_BUCKETS
        )
        self.served = Counter("calldex_records_served", "Records sent in pages.", registry=registry)
        self._ingested = Counter(
            "calldex_records_ingested", "Records posted, by outcome.", ("outcome",), registry=registry
        )
        for outcome in OUTCOMES:
            self._ingested.labels(outcome)
        self._refused = Counter("calldex_refused", "Requests refused, by error code.", ("code",), registry=registry)
        self._limited = Counter(
            "calldex_limited", "Requests and connections refused by a limit, by limit.", ("limit",), registry=registry
        )
        self._cut = Counter(
            "calldex_slow_clients_cut",
            "Connections closed since their client was too slow, by what it was slow with.",
            ("part",),
            registry=registry,
        )
        self.connections = Gauge("calldex_connections", "Open connections.", registry=registry)
        waiting = Gauge("calldex_reply_bytes", "Bytes of replies that clients have not taken yet.", registry=registry)
        waiting.set_function(untaken.bytes)
        behind = Gauge("calldex_columns_behind", "Commits that searches do not see yet.", registry=registry)
        behind.set_function(lambda: node.store.state().behind)
        self.ready = Gauge("calldex_ready", "1 if everything is answered, as /readyz tells.", registry=registry)
        busy = Gauge("calldex_busy", "Requests that run or wait now, by kind.", ("kind", "state"), registry=registry)
        for kind, workers in (("search", searches), ("ingest", posts)):
            busy.labels(kind, "running").set_function(partial(getattr, workers, "running"))
            busy.labels(kind, "waiting").set_function(partial(getattr, workers, "waiting"))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a request that was refused with a named error."""
        self._refused.labels(code).inc()

    def limited(self, limit: str) -> None:
        """Count a request or a connection that was refused by a limit."""
        self._limited.labels(limit).inc()

    def cut(self, part: str) -> None:
        """Count a connection that was closed since its client was too slow with a part of the exchange."""
        self._cut.labels(part).inc()

    def ingested(self, reply: IngestReply) -> None:
        """Count records that were posted."""
        for outcome in OUTCOMES:
            self._ingested.labels(outcome).inc(getattr(reply, outcome))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
