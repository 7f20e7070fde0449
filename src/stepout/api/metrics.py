"""Prometheus metrics of one server, in a registry of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["Metrics"]

_BUCKETS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)
"""Seconds: from a Pass state on loopback to the longest Express execution."""


class Metrics:
    """`stepout_requests_total`, `stepout_request_seconds`, `stepout_executions_in_flight`,
    `stepout_tasks`, `stepout_refused_total`, `stepout_repeats_total`."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        requests = Counter(
            "stepout_requests",
            "Answered API requests by operation and error code.",
            ("operation", "error"),
            registry=self._registry,
        )
        seconds = Histogram(
            "stepout_request_seconds",
            "Seconds from a request's headers to its answer, by operation.",
            ("operation",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refused = Counter(
            "stepout_refused",
            "Requests and executions that were over a limit, by the limit's name.",
            ("limit",),
            registry=self._registry,
        )
        self._repeats = Counter(
            "stepout_repeats",
            "Calls that a client has sent again, by what was done.",
            ("decision",),
            registry=self._registry,
        )
        Gauge(
            "stepout_executions_in_flight",
            "Executions that are running.",
            registry=self._registry,
        ).set_function(in_flight)
        Gauge(
            "stepout_tasks",
            "Tasks of the event loop: a few of the server's own, and those of requests.",
            registry=self._registry,
        ).set_function(lambda: len(asyncio.all_tasks()))
        # Operation names and error codes come from the models and from us: the sets are bounded.
        self._count = lru_cache(1_024)(requests.labels)
        self._time = lru_cache(128)(seconds.labels)
        self.content_type = CONTENT_TYPE_LATEST.encode()

    def request(self, operation: str, error: str | None, seconds: float) -> None:
        """Count an answered request."""
        self._count(operation, error or "").inc()
        self._time(operation).observe(seconds)

    def refused(self, limit: str) -> None:
        """Count what was over a limit."""
        self._refused.labels(limit).inc()

    def repeat(self, decision: str) -> None:
        """Count a call that was sent again."""
        self._repeats.labels(decision).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
