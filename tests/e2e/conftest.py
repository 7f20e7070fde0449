"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mypy_boto3_events import EventBridgeClient
from mypy_boto3_stepfunctions import SFNClient
from mypy_boto3_stepfunctions.type_defs import StartSyncExecutionOutputTypeDef
from tests.e2e.calls import API_KEY, ROLE, Call, ServerProcess, one_task


@pytest.fixture
def connection(events: EventBridgeClient) -> str:
    """The ARN of a connection with an API key."""
    created: Any = events.create_connection(
        Name="orders",
        AuthorizationType="API_KEY",
        AuthParameters=API_KEY,  # type: ignore[arg-type] # a plain dictionary
    )
    arn: str = created["ConnectionArn"]
    return arn


@pytest.fixture
def call(sfn: SFNClient, connection: str) -> Call:
    """Make a machine of one HTTP Task and run it."""

    def run(source: Any = None, **fields: Any) -> StartSyncExecutionOutputTypeDef:
        definition = json.dumps(one_task(connection, **fields))
        machine = sfn.create_state_machine(
            name=f"m{abs(hash(definition))}", type="EXPRESS", roleArn=ROLE, definition=definition
        )
        return sfn.start_sync_execution(
            stateMachineArn=machine["stateMachineArn"], input=json.dumps(source or {})
        )

    return run


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start server processes; they are ended with the test."""
    with ExitStack() as running:

        def start(*arguments: str) -> ServerProcess:
            return running.enter_context(ServerProcess(*arguments, log=tmp_path / "server.log"))

        yield start
