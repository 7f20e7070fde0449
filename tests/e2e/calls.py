"""What end-to-end tests share: calls through a machine of one HTTP Task, and the server's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from mypy_boto3_stepfunctions.type_defs import StartSyncExecutionOutputTypeDef

from stepout.cli.env import Target, variables

ROLE = "arn:aws:iam::123456789012:role/machine"
HTTP = "arn:aws:states:::http:invoke"
URL = "https://api.example.com/v1/orders"
SESAME = "open-sesame-4711"
API_KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": SESAME}}

Call = Callable[..., StartSyncExecutionOutputTypeDef]


def one_task(connection: str, **fields: Any) -> dict[str, Any]:
    """A definition of one HTTP Task; `fields` of its Parameters, or of the state where capital."""
    parameters = {
        "ApiEndpoint": URL,
        "Method": "GET",
        "Authentication": {"ConnectionArn": connection},
        **fields.pop("Parameters", {}),
    }
    state = {"Type": "Task", "Resource": HTTP, "Parameters": parameters, "End": True, **fields}
    return {"StartAt": "Call", "States": {"Call": state}}


def output_of(answer: StartSyncExecutionOutputTypeDef) -> Any:
    assert answer["status"] == "SUCCEEDED", answer
    return json.loads(answer["output"])


class ServerProcess:
    """`stepout serve` in a process of its own."""

    def __init__(self, *arguments: str, log: Path) -> None:
        self._resources = ExitStack()
        stderr = self._resources.enter_context(log.open("a"))
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stepout.cli", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert self._process.stdout is not None
        self._resources.enter_context(self._process.stdout)
        self.ready_line = self._process.stdout.readline().strip()
        assert self.ready_line.startswith("stepout serves http"), log.read_text()
        self.url = self.ready_line.split()[2]

    @property
    def pid(self) -> int:
        return self._process.pid

    def environment(self, ca: Path | None = None) -> dict[str, str]:
        """The variables of a program that shall talk to this server."""
        target = Target(self.url, "us-east-1", "stepout", "stepout", ca)
        return {**os.environ, **variables(target)}

    def client(self, service: str, **config: Any) -> Any:
        import boto3
        from botocore.config import Config

        connect: Any = boto3.client
        return connect(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="stepout",
            aws_secret_access_key="stepout",
            config=Config(inject_host_prefix=False, **config),
        )

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; answers the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = self._process.wait(30)
        self._resources.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)
