"""The pytest plugin: fixtures `stepout_origin`, `stepout_server`, `sfn` and `events`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_stepfunctions import SFNClient

    from stepout.testing import Origin, Server

__all__ = ["events", "sfn", "stepout_origin", "stepout_server"]


@pytest.fixture
def stepout_origin() -> Iterator[Origin]:
    """An HTTPS origin that the test programs."""
    # Imported late: pytest loads this module in every project that has stepout installed.
    from stepout.testing import Origin

    with Origin() as origin:
        yield origin


@pytest.fixture
def stepout_server(stepout_origin: Origin) -> Iterator[Server]:
    """A server of its own for each test; its HTTP Tasks reach `stepout_origin`."""
    from stepout.testing import Server

    with Server(origin=stepout_origin) as server:
        yield server


@pytest.fixture
def sfn(stepout_server: Server) -> SFNClient:
    """A boto3 client for Step Functions."""
    client: SFNClient = stepout_server.client("stepfunctions")
    return client


@pytest.fixture
def events(stepout_server: Server) -> EventBridgeClient:
    """A boto3 client for EventBridge."""
    client: EventBridgeClient = stepout_server.client("events")
    return client
