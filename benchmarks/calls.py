"""Calls over the wire: each half of the way of a call, and the whole.

The bare front is a no-op POST on the server's own HTTP front, and beside it on uvicorn's protocol,
which has the same parser; the bare GET is its own HTTPS client. CPU is that of the process under
measurement, from the scheduler's counters. Machines are noisy: rounds of all rows alternate, and
the best of each row is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks import load
from benchmarks.identities import ROLE
from benchmarks.identities import identities as identities_of
from benchmarks.machines import workflow
from benchmarks.origin import URL
from benchmarks.processes import Process, quantile
from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.cli.event_loop import new_event_loop
from stepout.secret import Secret

KEY, SECRET = "AKIDBENCH", "bench-secret"
REGION = "us-east-1"
INPUT = '{"a": 1}'
IN_FLIGHT = (1, 16, 64)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; seconds, and requests a second."""

    rate: float
    p50: float
    p99: float
    cpu: float


Measure = Callable[[int, int], Row]
"""Requests in flight, requests in all."""


def run(options: argparse.Namespace) -> None:
    """Print the rows of calls over the wire."""
    with ExitStack() as resources:
        _Calls(options, resources).run()


class _Calls:
    """The processes and the rows that measure them."""

    def __init__(self, options: argparse.Namespace, resources: ExitStack) -> None:
        self._options = options
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        certificate = directory / "origin.pem"
        origin = resources.enter_context(
            Process("-m", "benchmarks.origin", str(certificate))
        ).ready_line
        self._noop = resources.enter_context(Process("-m", "benchmarks.noop"))
        self._uvicorn = resources.enter_context(Process("-m", "benchmarks.noop", "uvicorn"))
        with _server(directory, certificate, origin):
            """The first start compiles; the second is measured."""
        self._server = resources.enter_context(_server(directory, certificate, origin))
        self._getter = resources.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.get", str(certificate), origin],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self._noop_port = int(self._noop.ready_line)
        self._url = self._server.ready_line.split()[2]
        self._port = int(self._url.rpartition(":")[2])
        assert self._getter.stdout is not None
        self._getter.stdout.readline()

    def run(self) -> None:
        memory_at_start = self._server.memory_mb()
        machines = _machines(_client(self._url, "stepfunctions"), _client(self._url, "events"))
        rows: dict[str, Measure] = {
            "bare front": self._posts(self._noop, self._noop_port, machines["Pass"]),
            "uvicorn": self._posts(self._uvicorn, int(self._uvicorn.ready_line), machines["Pass"]),
            "bare GET": self._gets,
            "Pass": self._posts(self._server, self._port, machines["Pass"]),
            "20 states": self._posts(self._server, self._port, machines["20 states"]),
            "HTTP Task": self._posts(self._server, self._port, machines["HTTP Task"]),
        }
        found = self._rounds(rows)
        loops = self._loops(machines)
        _print_rows(found)
        _print_loops(loops)
        _print_ratios(found, loops)
        self._print_memory(memory_at_start, rows["HTTP Task"])

    def _rounds(self, rows: dict[str, Measure]) -> dict[tuple[str, int], Row]:
        best: dict[tuple[str, int], Row] = {}
        for measure in rows.values():
            measure(16, 500)
        for _ in range(self._options.rounds):
            for in_flight in IN_FLIGHT:
                for name, measure in rows.items():
                    row = measure(in_flight, self._options.requests // (4 if in_flight == 1 else 1))
                    key = (name, in_flight)
                    best[key] = row if key not in best else _best(best[key], row)
        return best

    def _posts(self, process: Process, port: int, machine: str) -> Measure:
        def measure(in_flight: int, requests: int) -> Row:
            request = _signed(port, machine)
            cpu = process.cpu_seconds()
            with asyncio.Runner(loop_factory=new_event_loop()) as runner:
                done = runner.run(
                    load.post("127.0.0.1", port, request, in_flight=in_flight, requests=requests)
                )
            return Row(
                rate=requests / done.seconds,
                p50=quantile(done.latencies, 0.5),
                p99=quantile(done.latencies, 0.99),
                cpu=(process.cpu_seconds() - cpu) / requests,
            )

        return measure

    def _gets(self, in_flight: int, requests: int) -> Row:
        assert self._getter.stdin is not None
        assert self._getter.stdout is not None
        self._getter.stdin.write(f"{in_flight} {requests}\n")
        self._getter.stdin.flush()
        return Row(**json.loads(self._getter.stdout.readline()))

    def _loops(self, machines: dict[str, str]) -> dict[str, float]:
        """p50 of a plain boto3 loop, in seconds."""
        noop = _client(f"http://127.0.0.1:{self._noop_port}", "stepfunctions")
        server = _client(self._url, "stepfunctions")
        loops = {
            "bare front": (noop, machines["Pass"]),
            "Pass": (server, machines["Pass"]),
            "HTTP Task": (server, machines["HTTP Task"]),
        }
        best = dict.fromkeys(loops, float("inf"))
        for _ in range(self._options.rounds):
            for name, (client, machine) in loops.items():
                best[name] = min(best[name], _loop(client, machine))
        return best

    def _print_memory(self, at_start: float, measure: Measure) -> None:
        half = self._options.calls // 2
        measure(16, half)
        after_half = self._server.memory_mb()
        measure(16, half)
        print(
            f"\nready after {self._server.seconds_to_ready:.2f} s; memory {at_start:.0f} MB at "
            f"start, {after_half:.0f} MB after {half} HTTP Tasks, "
            f"{self._server.memory_mb():.0f} MB after {2 * half}"
        )


def _server(directory: Path, certificate: Path, origin: str) -> Process:
    identities = directory / "identities.toml"
    identities.write_text(identities_of(KEY, SECRET))
    return Process(
        *("-m", "stepout.cli", "serve", "--port", "0", "--identities", str(identities)),
        *("--egress-ca", str(certificate)),
        *("--egress-connect", f"api.example.com:443=127.0.0.1:{origin}"),
        *("--log-format", "json"),
    )


def _client(url: str, service: str) -> Any:
    connect: Any = boto3.client
    return connect(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(inject_host_prefix=False),
    )


def _machines(states: Any, events: Any) -> dict[str, str]:
    connection = events.create_connection(
        Name="bench",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "k"}},
    )["ConnectionArn"]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {
            "ApiEndpoint": URL,
            "Method": "GET",
            "Authentication": {"ConnectionArn": connection},
        },
        "End": True,
    }
    definitions = {
        "Pass": {"StartAt": "S", "States": {"S": {"Type": "Pass", "End": True}}},
        "20 states": json.loads(workflow()),
        "HTTP Task": {"StartAt": "S", "States": {"S": task}},
    }
    found = {
        name: states.create_state_machine(
            name=name.replace(" ", "-"),
            type="EXPRESS",
            roleArn=ROLE,
            definition=json.dumps(definition),
        )["stateMachineArn"]
        for name, definition in definitions.items()
    }
    for arn in found.values():
        answer = states.start_sync_execution(stateMachineArn=arn, input=INPUT)
        assert answer["status"] == "SUCCEEDED", answer
    return found


def _signed(port: int, machine: str) -> bytes:
    """A StartSyncExecution request, signed now, with the headers that boto3 sends."""
    body = json.dumps({"stateMachineArn": machine, "input": INPUT}).encode()
    headers = [
        (b"host", f"127.0.0.1:{port}".encode()),
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"x-amz-target", b"AWSStepFunctions.StartSyncExecution"),
    ]
    signed = sigv4.sign(
        SignedRequest("POST", "/", "", headers, body),
        access_key_id=KEY,
        secret=Secret(SECRET),
        region=REGION,
        service="states",
        now=time.time(),
    )
    others = [
        (b"user-agent", b"Boto3/1.44.5 md/Botocore#1.44.5 md/awscrt#none"),
        (b"accept-encoding", b"identity"),
        (b"amz-sdk-invocation-id", b"11111111-2222-3333-4444-555555555555"),
        (b"amz-sdk-request", b"attempt=1"),
        (b"content-length", str(len(body)).encode()),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in (*signed, *others))
    return b"POST / HTTP/1.1\r\n" + lines + b"\r\n" + body


def _loop(client: Any, machine: str, calls: int = 300) -> float:
    latencies = []
    for _ in range(calls):
        started = time.perf_counter()
        client.start_sync_execution(stateMachineArn=machine, input="{}")
        latencies.append(time.perf_counter() - started)
    return quantile(sorted(latencies), 0.5)


def _best(one: Row, other: Row) -> Row:
    return Row(
        rate=max(one.rate, other.rate),
        p50=min(one.p50, other.p50),
        p99=min(one.p99, other.p99),
        cpu=min(one.cpu, other.cpu),
    )


def _print_rows(rows: dict[tuple[str, int], Row]) -> None:
    print(f"\n{'':12}{'in flight':>10}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}")
    for (name, in_flight), row in sorted(rows.items(), key=lambda item: _order(item[0][0])):
        print(
            f"{name:12}{in_flight:>10}{row.rate:>9,.0f}{row.p50 * 1e3:>9.2f}"
            f"{row.p99 * 1e3:>9.2f}{row.cpu * 1e6:>9.0f}"
        )


def _order(name: str) -> int:
    return ["bare front", "uvicorn", "bare GET", "Pass", "20 states", "HTTP Task"].index(name)


def _print_loops(loops: dict[str, float]) -> None:
    print("\nboto3 loop, p50: " + ", ".join(f"{n} {p * 1e3:.2f} ms" for n, p in loops.items()))


def _print_ratios(rows: dict[tuple[str, int], Row], loops: dict[str, float]) -> None:
    halves = rows["bare front", 64].cpu + rows["bare GET", 64].cpu
    added = rows["HTTP Task", 1].p50 - rows["bare GET", 1].p50
    fronts = rows["bare front", 64].cpu / rows["uvicorn", 64].cpu
    print(f"bare front / uvicorn, CPU at 64: {fronts:.2f}")
    print(
        f"HTTP Task / (bare front + bare GET), CPU at 64: {rows['HTTP Task', 64].cpu / halves:.2f}"
        f"\nHTTP Task − bare GET, p50 at 1: {added * 1e3:.2f} ms"
        f"\nboto3 loop, HTTP Task / bare front: {loops['HTTP Task'] / loops['bare front']:.2f}"
    )
