"""What can be measured about a server, for Prometheus. Holds no key, no number, no name of an account."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import calldex
from calldex.clock import now_ms
from calldex.errors import CalldexError
from calldex.ingest.tally import OUTCOMES
from calldex.node import Node
from calldex.transport.backpressure import Backpressure
from calldex.transport.tls import Certificate
from calldex.transport.workers import Workers

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The measures of one server."""

    def __init__(self, node: Node, searches: Workers, posts: Workers, backpressure: Backpressure) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "calldex_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "calldex_request_seconds", "Time to answer a request.", ("route",), registry=registry, buckets=_BUCKETS
        )
        self.served = Counter("calldex_records_served", "Records sent in pages.", registry=registry)
        registry.register(_OfNode(node))
        ProcessCollector(registry=registry)
        self._certificate = Gauge(
            "calldex_certificate_end_timestamp_seconds", "When the TLS certificate ends; 0 without.", registry=registry
        )
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
        waiting.set_function(backpressure.bytes)
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

    def certificate_ends(self, certificate: Certificate) -> None:
        """Tell when the certificate ends, whichever is read by then."""

        def ends() -> float:
            return certificate.ends_at.timestamp()

        self._certificate.set_function(ends)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it. Asks the store and the disk: for threads."""
        return generate_latest(self._registry)


class _OfNode(Collector):
    """What the node knows, asked when it is told. What cannot be asked now is left out."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """The measures."""
        yield self._ingested()
        yield from self._sources()
        kept = GaugeMetricFamily("calldex_records", "Records kept, of all accounts.")
        held = GaugeMetricFamily("calldex_quarantine", "Pieces of input in the quarantine.")
        with suppress(CalldexError):
            kept.add_metric((), self._node.records())
            held.add_metric((), self._node.store.quarantine_size())
        yield from (kept, held)
        disk = shutil.disk_usage(self._node.settings.data)
        yield GaugeMetricFamily("calldex_disk_free_bytes", "Free on the disk of the data directory.", value=disk.free)
        yield GaugeMetricFamily("calldex_disk_bytes", "Size of the disk of the data directory.", value=disk.total)
        info = GaugeMetricFamily("calldex_build_info", "1, with the version that runs.", labels=("version",))
        info.add_metric((calldex.__version__,), 1)
        yield info

    def _ingested(self) -> Metric:
        text = "Records taken in, over HTTP and from files, by outcome."
        ingested = CounterMetricFamily("calldex_records_ingested", text, labels=("outcome",))
        found = self._node.ingest.tally.outcomes()
        for outcome in OUTCOMES:
            ingested.add_metric((outcome,), found.get(outcome, 0))
        return ingested

    def _sources(self) -> Iterator[Metric]:
        last = GaugeMetricFamily(
            "calldex_source_last_ingest_timestamp_seconds",
            "When a source last delivered to this process; what is posted has the empty name.",
            labels=("source",),
        )
        lag = GaugeMetricFamily(
            "calldex_source_lag_seconds", "Age of the newest record of a source, by its begin.", labels=("source",)
        )
        for name, taken in self._node.ingest.tally.sources().items():
            last.add_metric((name,), taken.at_ms / 1000)
            if taken.newest_ms:
                lag.add_metric((name,), (now_ms() - taken.newest_ms) / 1000)
        yield from (last, lag)
