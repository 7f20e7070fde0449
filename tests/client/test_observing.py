"""What log, hooks and tracer are told of a call, and where a trace goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.client.raw import (
    FINE,
    MACHINE,
    AsyncCaller,
    Caller,
    Peer,
    RawServer,
    answer,
    once,
    serving,
)
from tests.client.world import OPEN, World

from stepout.client import AsyncGateway, Gateway
from stepout.client import exchange as exchanges
from stepout.client.exchange import Answer
from stepout.client.gateway import TRACE_VARIABLE, Call
from stepout.errors import CallFailed, CallRefused, GatewayError, NotCarried, SettingsError
from stepout.gateway.messages import Response

SECRETS = ("s3cr3t", "AKIDTEST", "4711")
URL = "https://a.example.com/x?key=4711&b=1#token=4711"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cr3t token")
    monkeypatch.delenv(TRACE_VARIABLE, raising=False)
    monkeypatch.setattr(exchanges, "_pause", lambda _attempts: 0.0)


@pytest.fixture(params=[Caller(), AsyncCaller()], ids=["blocking", "async"])
def call(request: pytest.FixtureRequest) -> Caller:
    return cast("Caller", request.param)


# --- Log ------------------------------------------------------------------------------------------


def test_a_call_is_one_line_of_keys(caplog: pytest.LogCaptureFixture, world: World) -> None:
    world.origin.get(f"{OPEN}/logged").respond(200, text="the body 4711")
    with caplog.at_level(logging.INFO, "stepout.client"), world.gateway() as gateway:
        gateway.request("GET", f"{OPEN}/logged?key=4711#4711", headers={"X-Key": "4711"})
    (record,) = [record for record in caplog.records if record.name == "stepout.client"]
    line = record.getMessage()
    pairs = dict(pair.split("=", 1) for pair in line.removeprefix("call ").split(" "))
    assert list(pairs) == [
        *("method", "url", "upstream", "status", "error", "attempts", "total_ms", "network_ms"),
        *("execution_ms", "execution"),
    ]
    assert pairs["url"] == f"{OPEN}/logged"
    assert (pairs["method"], pairs["upstream"], pairs["status"]) == ("GET", "open", "200")
    assert pairs["execution"].startswith("arn:aws:states:")
    assert not [secret for secret in SECRETS if secret in line]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_no_secret_is_logged_at_any_level(
    caplog: pytest.LogCaptureFixture, call: Caller, level: int
) -> None:
    """Nor by the libraries below."""
    with RawServer(once(), serving(FINE)) as server, caplog.at_level(level):
        call(server, ["GET", "POST"])
    own = [
        r.getMessage()
        for r in caplog.records
        if r.name.startswith(("stepout", "urllib3", "asyncio"))
    ]
    assert own
    assert not [line for line in own for secret in SECRETS if secret in line]


@pytest.mark.parametrize(
    "url", ["https://a.example.com/x\n2026 forged", "https://a.example.com/x\r\tforged y"]
)
def test_a_url_cannot_forge_a_line(caplog: pytest.LogCaptureFixture, url: str) -> None:
    with (
        RawServer(serving(FINE)) as server,
        caplog.at_level(logging.INFO, "stepout.client"),
        Gateway(MACHINE, endpoint_url=server.url) as gateway,
    ):
        gateway.request("GET", url)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "stepout.client"]
    assert line.isprintable()
    assert " forged" not in line


def test_a_call_that_failed_is_logged_with_its_error(
    caplog: pytest.LogCaptureFixture, call: Caller
) -> None:
    with RawServer(once()) as server, caplog.at_level(logging.INFO, "stepout.client"):
        call(server, ["POST"])
    (line,) = [r.getMessage() for r in caplog.records if r.name == "stepout.client"]
    assert "status=None error=CallFailed attempts=1 " in line


# --- Hooks ----------------------------------------------------------------------------------------


def test_every_hook_is_told_of_every_call_that_is_over(call: Caller) -> None:
    first: list[Call] = []
    second: list[Call] = []
    throttled = answer(b'{"__type":"ThrottlingException"}', "400 Bad Request")

    def script(peer: Peer) -> None:
        for part in (throttled, FINE, b""):
            peer.request()
            peer.send(part)

    with RawServer(script) as server:
        call(server, ["GET", "POST"], hooks=[first.append, second.append])
    assert first == second
    fine, broken = first
    assert (fine.method, fine.url, fine.status, fine.error) == ("GET", "https://a.example.com/x", 200, None)  # fmt: skip
    assert fine.times.attempts == 2
    assert fine.times.total >= fine.times.sign > 0
    assert (broken.status, broken.error, broken.times.attempts) == (None, "CallFailed", 1)


def test_a_hook_is_told_what_was_left_out_and_no_secret() -> None:
    calls: list[Call] = []
    with (
        RawServer(serving(FINE)) as server,
        Gateway(MACHINE, endpoint_url=server.url, hooks=[calls.append]) as gateway,
    ):
        gateway.request("POST", URL, headers={"User-Agent": "4711", "X-A": "4711"}, data="4711")
    (told,) = calls
    assert (told.url, told.dropped) == ("https://a.example.com/x", ("user-agent",))
    assert not [secret for secret in SECRETS if secret in repr(told)]


def test_a_hook_that_raises_takes_no_answer_and_the_others_are_told(
    call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """The call may have had its effect."""
    calls: list[Call] = []

    def failing(_call: Call) -> None:
        raise RuntimeError("the watcher broke")

    with RawServer(serving(FINE)) as server:
        (outcome,) = call(server, ["POST"], hooks=[failing, calls.append, failing])
    assert isinstance(outcome, Response)
    assert [told.status for told in calls] == [200]
    failures = [r for r in caplog.records if r.getMessage() == "hook failed"]
    assert len(failures) == 2
    assert "the watcher broke" in caplog.text


def test_a_hook_that_raises_hides_no_error_of_the_call(call: Caller) -> None:
    def failing(_call: Call) -> None:
        raise RuntimeError("the watcher broke")

    with RawServer(once()) as server:
        (outcome,) = call(server, ["POST"], hooks=[failing])
    assert isinstance(outcome, CallFailed)


def test_a_hook_may_end_the_program(call: Caller) -> None:
    def leaving(_call: Call) -> None:
        raise SystemExit(3)

    with RawServer(serving(FINE)) as server, pytest.raises(SystemExit):
        call(server, hooks=[leaving])


async def _asynchronous(_call: Call) -> None: ...


@pytest.mark.parametrize("hook", [_asynchronous, "hook"])
def test_a_hook_that_nobody_could_call_is_refused(hook: Any) -> None:
    with pytest.raises(SettingsError, match="Expected a hook to be a plain function, found"):
        Gateway(MACHINE, hooks=[hook])


def test_what_was_never_a_call_is_not_told() -> None:
    calls: list[Call] = []
    with (
        Gateway(MACHINE, endpoint_url="http://127.0.0.1:9/", hooks=[calls.append]) as gateway,
        pytest.raises(NotCarried),
    ):
        gateway.request("GET", "http://a.example.com/")
    assert calls == []


async def test_a_call_that_was_cancelled_is_told() -> None:
    calls: list[Call] = []
    started = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        started.set()
        peer.wait_for_end()

    with RawServer(script) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url, hooks=[calls.append]) as gateway:
            task = asyncio.create_task(gateway.request("POST", "https://a.example.com/x"))
            assert await asyncio.to_thread(started.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    (told,) = calls
    assert (told.status, told.error) == (None, "CancelledError")


# --- OpenTelemetry --------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def test_a_call_is_a_client_span_with_the_usual_attributes(
    spans: InMemorySpanExporter, world: World
) -> None:
    world.origin.get(f"{OPEN}/spanned").respond(200, text="x")
    with world.gateway() as gateway:
        gateway.request("GET", f"{OPEN}/spanned?key=4711#4711")
    span = only(spans)
    assert (span.name, span.kind) == ("GET", trace.SpanKind.CLIENT)
    attributes = dict(span.attributes or {})
    assert attributes.pop("stepout.execution_arn", "").startswith("arn:aws:states:")  # type: ignore[union-attr]  # a text
    assert attributes.pop("stepout.execution_seconds", -1) >= 0  # type: ignore[operator]  # a number
    assert attributes == {
        "http.request.method": "GET",
        "url.full": f"{OPEN}/spanned",
        "server.address": "open.example.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "stepout.upstream": "open",
        "stepout.attempts": 1,
    }
    assert span.status.is_unset


def test_a_status_of_an_error_makes_the_span_one(spans: InMemorySpanExporter, world: World) -> None:
    """As the conventions have it for clients: 4xx and 5xx."""
    world.origin.get(f"{OPEN}/gone").respond(410)
    with world.gateway() as gateway:
        gateway.request("GET", f"{OPEN}/gone")
    span = only(spans)
    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (
        410,
        "410",
    )
    assert span.status.status_code is trace.StatusCode.ERROR


def test_a_call_that_failed_is_an_error_without_secrets(
    spans: InMemorySpanExporter, call: Caller
) -> None:
    with RawServer(once()) as server:
        call(server, ["POST"])
    span = only(spans)
    assert span.attributes is not None
    assert span.attributes["error.type"] == "CallFailed"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "http.response.status_code" not in span.attributes
    assert not [secret for secret in SECRETS if secret in span.to_json()]
    assert span.events == ()


def test_a_span_is_the_child_of_the_one_around_it(spans: InMemorySpanExporter) -> None:
    with (
        RawServer(serving(FINE)) as server,
        Gateway(MACHINE, endpoint_url=server.url) as gateway,
        trace.get_tracer("program").start_as_current_span("work") as work,
    ):
        gateway.request("GET", "https://a.example.com/x")
        assert trace.get_current_span() is work
    inner, _ = spans.get_finished_spans()
    assert inner.parent is not None
    assert inner.parent.span_id == work.get_span_context().span_id


def test_without_opentelemetry_calls_go_on() -> None:
    program = f"""
import sys
sys.modules["opentelemetry"] = None
from stepout.client import Gateway
with Gateway({MACHINE!r}, endpoint_url=sys.argv[1]) as gateway:
    print(gateway.request("GET", "https://a.example.com/").text)
"""
    with RawServer(serving(FINE)) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, server.url],
            capture_output=True,
            text=True,
        )
    assert (done.stdout, done.stderr) == ("fine\n", "")


# --- The trace header -----------------------------------------------------------------------------

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def trace_of(request: bytes) -> bytes | None:
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    found = [
        line.partition(b": ")[2] for line in lines if line.lower().startswith(b"x-amzn-trace-id")
    ]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("header", "variable", "sent"),
    [
        (None, None, None),
        (ROOT, None, ROOT),
        (None, ROOT, ROOT),
        (ROOT, "Root=1-of-the-environment", ROOT),
        (None, "", None),
        (None, "Root=1\r\nX-Evil: 1", None),
    ],
)
def test_the_trace_is_that_of_the_request_or_of_the_invocation(
    monkeypatch: pytest.MonkeyPatch, header: str | None, variable: str | None, sent: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv(TRACE_VARIABLE, variable)
    headers = {} if header is None else {"X-Amzn-Trace-Id": header}
    with (
        RawServer(serving(FINE)) as server,
        Gateway(MACHINE, endpoint_url=server.url) as gateway,
    ):
        gateway.request("GET", "https://a.example.com/x", headers=headers)
    (request,) = server.requests
    assert trace_of(request) == (None if sent is None else sent.encode())
    # The API does not get it.
    assert server.inputs()[0]["headers"] == {}


async def test_the_trace_of_each_invocation_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(serving(FINE)) as server:
        async with AsyncGateway(MACHINE, endpoint_url=server.url) as gateway:
            for number in range(3):
                monkeypatch.setenv(TRACE_VARIABLE, f"Root={number}")
                await gateway.request("GET", "https://a.example.com/x")
    assert [trace_of(request) for request in server.requests] == [b"Root=0", b"Root=1", b"Root=2"]


def test_the_trace_reaches_the_execution(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.origin.get(f"{OPEN}/traced").respond(200, text="x")
    answers: list[Any] = []
    with world.gateway() as gateway:
        send = gateway._wire.send

        def watched(*args: Any) -> Answer:
            found = send(*args)
            answers.append(json.loads(found.body))
            return found

        monkeypatch.setattr(gateway._wire, "send", watched)
        gateway.request("GET", f"{OPEN}/traced", headers={"X-Amzn-Trace-Id": ROOT})
        monkeypatch.setenv(TRACE_VARIABLE, "Root=1-of-the-environment")
        gateway.request("GET", f"{OPEN}/traced")
    assert [found["traceHeader"] for found in answers] == [ROOT, "Root=1-of-the-environment"]


# --- What goes wrong in it ------------------------------------------------------------------------


def test_errors_are_told_without_secrets(call: Caller) -> None:
    denied = answer(b'{"__type":"AccessDeniedException","message":"no"}', "400 Bad Request")
    with RawServer(serving(denied)) as server:
        (error,) = call(server)
    assert isinstance(error, CallRefused)
    assert isinstance(error, GatewayError)
    assert not isinstance(error, CallFailed)
    assert not [secret for secret in SECRETS if secret in str(error)]
