"""A function under AWS's own runtime client, and in process: the same results from both."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepout.errors import ServiceError, SettingsError
from stepout.functions import (
    EVENT_LIMIT,
    Function,
    FunctionSettings,
    InProcessFunction,
    Invocation,
    has_runtime_client,
)
from stepout.functions.wire import HEAD_LIMIT

pytestmark = pytest.mark.skipif(
    not has_runtime_client(), reason="awslambdaric cannot be imported here."
)

HANDLERS = """
import json, os, sys, time

print("cold start")
STARTED = time.time_ns()

def echo(event, context):
    return event

def describe(event, context):
    return {
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": int(context.memory_limit_in_mb),
        "group": context.log_group_name,
        "left": context.get_remaining_time_in_millis(),
        "environment": {name: os.environ.get(name) for name in event},
    }

def started(event, context):
    return STARTED

def request_id(event, context):
    return context.aws_request_id

class NoMoney(Exception):
    pass

def fail(event, context):
    raise NoMoney("not enough")

def leave(event, context):
    sys.exit(3)

def leave_hard(event, context):
    os._exit(4)

def unserialisable(event, context):
    return {"a": object()}

def large(event, context):
    return "x" * event

def sleep(event, context):
    time.sleep(event)
    return "awake"

def write(event, context):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    return "written"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "broken.py").write_text("def handler(event, context:\n    pass\n")
    (tmp_path / "lacking.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(5)\n")
    (tmp_path / "raising.py").write_text("raise ValueError('at import')\n")
    return tmp_path


def settings_of(directory: Path, handler: str, **changes: Any) -> FunctionSettings:
    kept = {"PATH": os.environ["PATH"]}
    environment = {**kept, **changes.pop("environment", {})}
    return FunctionSettings(
        handler=handler, directory=directory, name="orders", environment=environment, **changes
    )


async def call(settings: FunctionSettings, event: Any = None, kind: Any = Function) -> Invocation:
    async with kind(settings) as function:
        invocation: Invocation = await function.invoke(json.dumps(event).encode())
        return invocation


KINDS = [Function, InProcessFunction]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_comes_back_as_it_went_in(directory: Path, kind: Any) -> None:
    event = {"é": [1, 2.5, None, True], "deep": {"a": {}}}
    invocation = await call(settings_of(directory, "handlers.echo"), event, kind)
    assert json.loads(invocation.payload) == event
    assert invocation.error is None
    assert invocation.init_ms is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_the_context_and_the_variables_are_lambdas(directory: Path, kind: Any) -> None:
    names = [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_FUNCTION_NAME",
        "_HANDLER",
        "MINE",
        "TZ",
        "LAMBDA_TASK_ROOT",
    ]
    settings = settings_of(
        directory, "handlers.describe", region="eu-west-1", memory_mb=256, environment={"MINE": "1"}
    )
    invocation = await call(settings, names, kind)
    described = json.loads(invocation.payload)
    assert 0 < described.pop("left") <= 3_000
    assert described == {
        "name": "orders",
        "version": "$LATEST",
        "arn": "arn:aws:lambda:eu-west-1:123456789012:function:orders",
        "memory": 256,
        "group": "/aws/lambda/orders",
        "environment": {
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "_HANDLER": "handlers.describe",
            "MINE": "1",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(directory),
        },
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_a_warm_call_finds_the_module_loaded(directory: Path, kind: Any) -> None:
    async with kind(settings_of(directory, "handlers.started")) as function:
        first, second = [await function.invoke(b"{}") for _ in range(2)]
    assert first.payload == second.payload
    assert first.init_ms is not None
    assert second.init_ms is None
    assert first.request_id != second.request_id


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("handlers.fail", "NoMoney", "not enough"),
        ("handlers.missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'handlers'"),
        ("nothere.handler", "Runtime.ImportModuleError", "No module named 'nothere'"),
        ("lacking.handler", "Runtime.ImportModuleError", "No module named 'not_installed_anywhere'"),
        ("broken.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'broken'"),
        ("raising.handler", "ValueError", "at import"),
        ("handlers.unserialisable", "Runtime.MarshalError", "Unable to marshal response"),
        ("handlers.leave", "Runtime.ExitError", "exit status 3"),
        ("leaving.handler", "Runtime.ExitError", "exit status 5"),
    ],
)  # fmt: skip
async def test_errors_are_reported_as_lambda_reports_them(
    directory: Path, kind: Any, handler: str, error_type: str, message: str
) -> None:
    invocation = await call(settings_of(directory, handler), {}, kind)
    assert invocation.error is not None
    assert invocation.error.error_type == error_type
    assert message in invocation.error.message
    document = json.loads(invocation.payload)
    assert document["errorType"] == error_type


async def test_an_error_has_its_stack_trace(directory: Path) -> None:
    invocation = await call(settings_of(directory, "handlers.fail"), {})
    assert invocation.error is not None
    assert any("handlers.py" in frame for frame in invocation.error.stack_trace)


async def test_a_killed_process_is_an_exit_error_and_the_next_call_starts_anew(
    directory: Path,
) -> None:
    async with Function(settings_of(directory, "handlers.leave_hard")) as function:
        for _ in range(2):
            invocation = await function.invoke(b"{}")
            assert invocation.error is not None
            assert invocation.error.error_type == "Runtime.ExitError"
            assert "exit status 4" in invocation.error.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_over_its_time_out_is_lambdas_time_out(directory: Path, kind: Any) -> None:
    settings = settings_of(directory, "handlers.sleep", timeout_s=0.3)
    invocation = await call(settings, 0.6, kind)
    assert invocation.error is not None
    assert invocation.error.error_type == "Sandbox.Timedout"
    assert invocation.error.message == (
        f"RequestId: {invocation.request_id} Error: Task timed out after 0.30 seconds"
    )


async def test_after_a_time_out_the_next_call_has_a_fresh_process(directory: Path) -> None:
    settings = settings_of(directory, "handlers.sleep", timeout_s=1.0)
    async with Function(settings) as function:
        late = await function.invoke(b"50")
        assert late.error is not None
        again = await function.invoke(b"0")
    assert json.loads(again.payload) == "awake"
    assert again.init_ms is not None


async def test_a_cancelled_call_ends_the_process(directory: Path) -> None:
    settings = settings_of(directory, "handlers.sleep", timeout_s=60)
    async with Function(settings) as function:
        calling = asyncio.create_task(function.invoke(b"50"))
        await until(lambda: function._process is not None)
        process = function._process
        assert process is not None
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert process.exited.done()


async def test_no_process_and_no_socket_stays_behind(directory: Path) -> None:
    before = open_files()
    async with Function(settings_of(directory, "handlers.echo")) as function:
        await function.invoke(b"{}")
        process = function._process
        assert process is not None
        pid = process._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert open_files() <= before + 1


async def test_an_answer_over_six_megabytes_is_refused(directory: Path) -> None:
    settings = settings_of(directory, "handlers.large", timeout_s=20)
    async with Function(settings) as function:
        fits = await function.invoke(str(6 * 1024 * 1024 - 10).encode())
        assert fits.error is None
        invocation = await function.invoke(str(6 * 1024 * 1024 + 200).encode())
    assert invocation.error is not None
    assert invocation.error.error_type == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_over_six_megabytes_is_refused(directory: Path, kind: Any) -> None:
    async with kind(settings_of(directory, "handlers.echo")) as function:
        with pytest.raises(ServiceError, match="RequestTooLargeException"):
            await function.invoke(b'"' + b"x" * EVENT_LIMIT + b'"')


async def test_what_the_handler_prints_goes_to_the_log(directory: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        settings = settings_of(directory, "handlers.write", log=file.fileno())
        invocation = await call(settings, {})
    assert json.loads(invocation.payload) == "written"
    written = log.read_text()
    assert "to standard output" in written
    assert "to standard error" in written


async def test_a_listener_may_be_given(directory: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    names = ["AWS_LAMBDA_RUNTIME_API"]
    async with Function(settings_of(directory, "handlers.describe"), listener=listener) as function:
        invocation = await function.invoke(json.dumps(names).encode())
    described = json.loads(invocation.payload)["environment"]
    assert described == {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"}


async def test_a_directory_that_is_not_there_is_a_clear_error(directory: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be started in"):
        await call(settings_of(directory / "nowhere", "handlers.echo"))


async def test_the_runtime_api_refuses_what_is_not_its_protocol(directory: Path) -> None:
    """Wrong paths, moves out of turn and what is not HTTP are answered, and do no harm."""
    async with Function(settings_of(directory, "handlers.echo")) as function:
        await function.invoke(b"{}")
        # The program asks for its next work a moment after it has answered.
        await until(lambda: function._api._poll is not None)
        host, _, port = function._api.address.partition(":")
        prefix = "/2018-06-01/runtime"
        for request, status in [
            (f"GET {prefix}/nonsense HTTP/1.1\r\n\r\n", "404"),
            (f"POST {prefix}/invocation/x/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}", "403"),
            (f"GET {prefix}/invocation/next HTTP/1.1\r\n\r\n", "403"),
            ("nonsense\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
            ("GET / HTTP/1.1\r\nX: " + "y" * HEAD_LIMIT, "431"),
        ]:  # fmt: skip
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request.encode())
            line = await reader.readline()
            assert line.split()[1].decode() == status, request[:60]
            writer.close()
        invocation = await function.invoke(b'{"still": "here"}')
    assert json.loads(invocation.payload) == {"still": "here"}


async def test_a_failed_call_has_a_report_of_its_own_request(directory: Path) -> None:
    began = time.time()
    invocation = await call(settings_of(directory, "handlers.request_id"), {})
    assert json.loads(invocation.payload) == invocation.request_id
    assert 0 <= invocation.duration_ms <= (time.time() - began) * 1_000


def open_files() -> int:
    """How many files this process has open, where the system tells."""
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.exists() else 0


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("It did not come to be so.")
