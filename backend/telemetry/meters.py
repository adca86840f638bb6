"""Every metric there is, and the text they are read as."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from backend.chat.ports import Runtime
from backend.telemetry.answers import Answers
from backend.telemetry.lag import HubLag

__all__ = ["CONTENT_TYPE", "Meters"]

DOORS = ("sse", "openai", "jobs", "socket")
"""Labels are few and known: a client must not be able to make new ones, since each is kept for good."""
HTTP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """`answers` counts for the engine, `lag` must be run beside it, the rest is for the doors."""

    def __init__(self, version: str, store: str, runtime: Runtime) -> None:
        # A second series for each counter, of use to nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self.answers = Answers(registry)
        self.lag = HubLag(registry, runtime)
        self.sockets_open = Gauge("parley_sockets_open", "Socket.IO connections", registry=registry)
        self._requests = Counter(
            "parley_http_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._request_s = Histogram(
            "parley_http_request_duration_seconds",
            "From a request's head to its answer, of a stream to the head of its answer",
            ["method", "route"],
            buckets=HTTP_S,
            registry=registry,
        )
        self._streams_open = Gauge(
            "parley_streams_open", "Readers following an answer", ["door"], registry=registry
        )
        for door in DOORS:
            self._streams_open.labels(door)
        self._running = Gauge("parley_answers_running", "Answers being written", registry=registry)
        self._settling = Gauge(
            "parley_calls_settling", "Teams' calls that ended, not in the ledger yet", registry=registry
        )
        self._refusals = Counter(
            "parley_refusals", "Requests refused, by type of error", ["type", "door"], registry=registry
        )
        build = Info("parley_build", "What runs here", registry=registry)
        build.info({"version": version, "runtime": runtime.name, "store": store})
        ProcessCollector(namespace="parley", registry=registry)

    def count_running(self, running: Callable[[], int]) -> None:
        """Whom to ask how many answers are being written."""
        self._running.set_function(running)

    def count_settling(self, settling: Callable[[], int]) -> None:
        """Whom to ask how many calls wait for the ledger."""
        self._settling.set_function(settling)

    def following(self, door: str) -> AbstractContextManager[object]:
        """While inside, one more reader follows an answer through this door."""
        return self._streams_open.labels(door).track_inprogress()

    def refused(self, door: str, type: str) -> None:
        """`type` is that of the error."""
        self._refusals.labels(type, door).inc()

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """`route` is the rule, never the path: labels are kept for good."""
        self._requests.labels(method, route, status).inc()
        self._request_s.labels(method, route).observe(took_s)

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)
