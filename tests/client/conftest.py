"""Credentials for the clients, and one world for the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.client.world import World, opened

from stepout.cli.event_loop import new_event_loop

ON_BOTH_LOOPS = ("test_proxy.py", "test_wires.py")
"""Modules whose tests run on Python's own event loop and on the one that the commands use."""


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    ours = {"asyncio": asyncio.new_event_loop}
    theirs = new_event_loop()
    is_meant = item.path.name in ON_BOTH_LOOPS and theirs is not None
    return {**ours, "uvloop": theirs} if is_meant and theirs else ours


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SFN", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened() as found:
        yield found
