"""Spans of OpenTelemetry, where its API is installed (`stepout[otel]`); nothing where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stepout.client.exchange import Times

__all__ = ["conclude", "span"]


@contextmanager
def span(method: str, url: str, upstream: str | None) -> Iterator[Any]:
    """A client span around a call; None without OpenTelemetry.

    Attributes are those of OpenTelemetry's conventions for HTTP clients.
    """
    try:
        # Imported with the first call: it costs as much as the rest of the client.
        from opentelemetry import trace
    except ModuleNotFoundError:
        yield None
        return
    server = urlsplit(url)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.full": url,
        "server.address": server.hostname or "",
        "server.port": server.port or 443,
    }
    if upstream is not None:
        attributes["stepout.upstream"] = upstream
    tracer = trace.get_tracer("stepout")
    with tracer.start_as_current_span(
        method, kind=trace.SpanKind.CLIENT, attributes=attributes, record_exception=False
    ) as found:
        yield found


def conclude(found: Any, status: int | None, error: str | None, times: Times) -> None:
    """Say how the call ended."""
    if found is None:
        return
    if status is not None:
        found.set_attribute("http.response.status_code", status)
    if error is None and status is not None and status >= 400:
        from opentelemetry.trace import StatusCode

        error = str(status)
        found.set_status(StatusCode.ERROR)
    if error is not None:
        found.set_attribute("error.type", error)
    found.set_attribute("stepout.attempts", times.attempts)
    found.set_attribute("stepout.execution_seconds", times.execution)
    if times.execution_arn is not None:
        found.set_attribute("stepout.execution_arn", times.execution_arn)
