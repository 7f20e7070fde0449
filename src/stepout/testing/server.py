"""A stepout server in a thread of the test's process: port 0, in memory."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from stepout.api import server
from stepout.config import ServerSettings
from stepout.origin import Origin
from stepout.tasks.mocks import TaskFunction

__all__ = ["ACCESS_KEY_ID", "Server"]

ACCESS_KEY_ID: Final = "stepout"
"""The key that `client` signs with; in open mode any will do."""


class Server:
    """`stepout serve` for tests; `origin` is the internet that its HTTP Tasks reach.

        with Server(origin=origin) as running:
            running.client("stepfunctions").create_state_machine(…)

    `tasks` are functions that stand for Tasks, by the name of a state or the ARN of a resource:
    they take the Task's arguments and give its result, or raise `stepout.TaskFailed`. `sockets`
    are further listening sockets to serve, such as one made inside a network namespace. Further
    settings are those of `stepout.config.ServerSettings`.
    """

    def __init__(
        self,
        *,
        origin: Origin | None = None,
        tasks: Mapping[str, TaskFunction] | None = None,
        sockets: Sequence[socket.socket] = (),
        **settings: Any,
    ) -> None:
        self._settings = replace(ServerSettings(port=0, drain_seconds=5), **settings)
        self._origin = origin
        self._tasks = tasks
        self._sockets = sockets
        self._resources = ExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stepout-server", daemon=True)
        self._server: server.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:43210`."""
        return "" if self._server is None else self._server.url

    @property
    def gateway_arn(self) -> str | None:
        """The gateway machine, where the setting `upstreams` names a file."""
        return None if self._server is None else self._server.gateway_arn

    @property
    def region(self) -> str:
        return self._settings.region

    def start(self) -> Self:
        """Listen; raises `SettingsError` and `StoreError`."""
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """Stop as `stepout serve` does: executions in flight may finish for some seconds."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
            self._server = None
            self._end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client of this server, `stepfunctions` or `events`; `config` as botocore's."""
        import boto3
        from botocore.config import Config

        # Typed stubs know each service by a literal; here any will do.
        connect: Any = boto3.client
        return connect(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key="none",  # noqa: S106 — open mode does not look at it
            config=Config(inject_host_prefix=False, **config),
        )

    async def _start(self) -> server.Server:
        settings, connect_to = self._settings, None
        if self._origin is not None:
            connect_to = self._origin.connect_to
            certificate = self._certificate(self._origin)
            settings = replace(settings, egress_ca=(*settings.egress_ca, certificate))
        started = server.Server(
            settings,
            connect_to=connect_to,
            sockets=self._sockets,
            functions=self._tasks,
            environ=os.environ,
        )
        await started.start()
        return started

    def _certificate(self, origin: Origin) -> Path:
        directory = self._resources.enter_context(tempfile.TemporaryDirectory())
        path = Path(directory, "origin.pem")
        path.write_bytes(origin.certificate_pem)
        return path

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._resources.close()
