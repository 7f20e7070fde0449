"""The server: builds its parts from settings, starts them in order, stops them in reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from stepout.api.access import RolePermissions
from stepout.api.app import MAX_BODY, App, Health
from stepout.api.audit import Audit
from stepout.api.auth import Auth, root
from stepout.api.caller import Caller
from stepout.api.front import Front, listen
from stepout.api.http import Bounds
from stepout.api.identities import Directories, Directory
from stepout.api.limits import Limits, Quotas
from stepout.api.metrics import Metrics
from stepout.api.outward import egress_of, policy_of
from stepout.api.provision import provision
from stepout.api.reload import Reloading
from stepout.api.repeats import MODES
from stepout.api.services import Services
from stepout.api.sessions import Sessions
from stepout.api.tls import Certificate
from stepout.aws import shapes
from stepout.aws.shapes import Service
from stepout.config import ServerSettings
from stepout.egress.http import Egress, Place
from stepout.gateway.upstreams import Upstreams
from stepout.journal.memory import MemoryJournal
from stepout.runtime.authorizer import Authorizer
from stepout.runtime.clock import SystemClock
from stepout.runtime.driver import Driver
from stepout.runtime.execution_logs import ExecutionLogs
from stepout.runtime.express import Express
from stepout.runtime.machines import Machines
from stepout.runtime.pool import EvaluationPool
from stepout.store.memory import open_memory
from stepout.store.protocol import Store
from stepout.store.sqlite import open_sqlite
from stepout.tasks import Integrations, Ports, build
from stepout.tasks.credentials import TokenCache
from stepout.tasks.mocks import Functions, Mocks, TaskFunction

__all__ = ["Server", "serve"]

_log = logging.getLogger("stepout.server")

SERVICES: Final = ("stepfunctions", "events", "sts")
"""The service models that the server answers."""


class Server:
    """A stepout server in the running event loop.

    `connect_to` adds live entries to `settings.egress_connect`; `sockets` are further listening
    sockets to serve, beside the one of `settings.host` and `settings.port`; `functions` stand for
    Tasks, by the name of a state or the ARN of a resource; `environ` has the secrets of upstreams
    that are in variables, and the key of the store, which is taken out of it.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        connect_to: dict[Place, Place] | None = None,
        sockets: Sequence[socket.socket] = (),
        functions: Mapping[str, TaskFunction] | None = None,
        environ: MutableMapping[str, str] | None = None,
    ) -> None:
        self._environ = {} if environ is None else environ
        self._settings = settings
        self._connect_to = {} if connect_to is None else connect_to
        self._sockets = sockets
        self._functions = Functions(functions or {})
        self._resources = AsyncExitStack()
        self._health = Health()
        self.url = ""
        self.gateway_arn: str | None = None

    async def start(self) -> None:
        """Listen when everything else is ready; raises `SettingsError` and `StoreError`."""
        try:
            await self._start()
        except BaseException:
            await self._resources.aclose()
            raise

    async def stop(self) -> int:
        """Finish what is in flight, at most `drain_seconds`; answers how many runs were stopped."""
        self._health.is_draining = True
        stopped = await self._express.drain(self._settings.drain_seconds)
        await self._resources.aclose()
        return stopped

    async def _start(self) -> None:
        settings, resources = self._settings, self._resources
        clock, journal = SystemClock(), MemoryJournal()
        directories = self._directories()
        store = await _open_store(settings, self._environ)
        resources.push_async_callback(store.close)
        egress = self._egress()
        resources.push_async_callback(egress.close)
        tokens = TokenCache(egress)
        resources.push_async_callback(tokens.close)
        ports = Ports(
            egress=egress,
            connections=store.connections,
            tokens=tokens,
            payload_limit=settings.payload_limit,
            keeps_error_bodies=settings.error_bodies,
            permissions=None if directories is None else RolePermissions(directories),
        )
        mocks = Mocks() if settings.mock is None else Mocks.load(settings.mock)
        integrations = Integrations(build(ports), stand_ins=(mocks, self._functions))
        pool = EvaluationPool()
        resources.callback(pool.close)
        driver = Driver(journal, integrations, clock, pool)
        self._express = Express(driver, journal, clock, settings.max_executions)
        self._metrics = Metrics(lambda: self._express.in_flight)
        self._repeats = MODES[settings.repeats](time.monotonic, self._metrics.repeat)
        resources.push_async_callback(self._repeats.close)
        authorizer = Authorizer(store.connections, tokens.authorise, clock)
        resources.push_async_callback(authorizer.close)
        logs = ExecutionLogs(settings.execution_log)
        resources.callback(logs.close)
        services = Services(
            store=store,
            machines=Machines(pool),
            express=self._express,
            logs=logs,
            mocks=mocks,
            authorizer=authorizer,
            clock=clock,
            sessions=Sessions(),
            directories=directories,
            limits=Limits(_quotas(settings), refused=self._metrics.refused),
            payload_limit=settings.payload_limit,
        )
        models = _models(settings)
        if settings.upstreams is not None:
            upstreams = Upstreams.load(settings.upstreams)
            itself = root(settings.account, settings.region)
            caller = Caller(settings.account, settings.region, "", itself)
            self.gateway_arn = await provision(services, models, caller, upstreams, self._environ)
        await self._listen(services, models, clock)
        await _resume(store, authorizer)

    def _directories(self) -> Directories | None:
        """Who is known; None where everybody may do everything."""
        settings = self._settings
        if settings.identities is None:
            return None
        load = partial(
            Directory.load,
            settings.identities,
            account=settings.account,
            region=settings.region,
            environ=self._environ,
        )
        directories = Directories(Directory())
        files = Reloading(
            "identities",
            [settings.identities],
            load,
            also=lambda directory: directory.files,
            take=directories.take,
        )
        directories.take(files.value)
        self._follow(files)
        return directories

    def _egress(self) -> Egress:
        """The way out, with the policy of now and, where it is a file, of later."""
        settings = self._settings
        egress = egress_of(settings, policy_of(settings), self._connect_to)
        if settings.egress_policy is not None:
            load = partial(policy_of, settings)
            self._follow(
                Reloading("egress policy", [settings.egress_policy], load, take=egress.use)
            )
        return egress

    def _follow(self, files: Reloading[Any]) -> None:
        """Take what changes in files, until the server stops."""
        files.start()
        self._resources.push_async_callback(files.close)

    async def _listen(
        self, services: Services, models: Mapping[str, Service], clock: SystemClock
    ) -> None:
        settings = self._settings
        audit = Audit(settings.audit)
        self._resources.callback(audit.close)
        auth = Auth(
            services.directories or Directories(Directory()),
            services.sessions,
            clock,
            settings.account,
            is_open=settings.is_open,
        )
        # A JSON text inside JSON doubles in the worst case that is usual.
        max_body = max(MAX_BODY, 2 * settings.payload_limit)
        app = App(
            services,
            auth,
            models.values(),
            self._metrics,
            self._health,
            audit,
            self._repeats,
            max_body=max_body,
        )
        tls = self._tls()
        listener = listen(settings.host, settings.port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{host}:{listener.getsockname()[1]}"
        bounds = Bounds(
            body=max_body,
            connections=settings.max_connections,
            per_address=settings.max_connections_per_address,
        )
        front = Front(app, tls, bounds)
        self._resources.push_async_callback(front.stop)
        await front.start([listener, *self._sockets])

    def _tls(self) -> ssl.SSLContext | None:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        certificate = Certificate(settings.tls_cert, settings.tls_key)
        self._follow(certificate.files)
        return certificate.context


def _quotas(settings: ServerSettings) -> Quotas:
    return Quotas(
        requests=settings.max_requests,
        principal_requests=settings.principal_requests,
        executions=settings.max_executions,
        principal_executions=settings.principal_executions,
        rate=settings.principal_rate,
        burst=settings.principal_burst,
    )


def _models(settings: ServerSettings) -> dict[str, Service]:
    """The service models by their signing names, with the payload limit of the settings."""
    largest = {"SensitiveData": settings.payload_limit}
    found = [shapes.load(service, largest) for service in SERVICES]
    return {model.name: model for model in found}


async def serve(
    settings: ServerSettings,
    *,
    announce: Callable[[str], None],
    environ: MutableMapping[str, str] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; announces one line when ready. Answers the exit status."""
    server = Server(settings, environ=environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    ending = _ending()
    for number in ending:
        _on_signal(loop, number, stop.set)
    for number in _others(ending):
        _on_signal(loop, number, partial(_pass_over, number))
    await server.start()
    announce(_ready_line(settings, server))
    await stop.wait()
    for number in ending:
        # Whoever asks a second time does not want to wait for the drain.
        signal.signal(number, signal.SIG_DFL)
    await server.stop()
    return 0


def _ending() -> list[signal.Signals]:
    """What tells the server to stop; a terminal that is closed does, too."""
    ending = [signal.SIGTERM, signal.SIGINT]
    if os.name == "posix" and os.isatty(0) and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending


def _others(ending: Sequence[signal.Signals]) -> list[signal.Signals]:
    """What would end the process, and is sent to daemons to have files read again or opened anew:
    here these are followed anyway."""
    if os.name != "posix":
        return []
    others = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    return [number for number in others if number not in ending]


def _pass_over(number: signal.Signals) -> None:
    _log.info("signal", extra={"fields": {"name": number.name, "why": "It asks for nothing."}})


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, callback: Callable[[], None]
) -> None:
    try:
        loop.add_signal_handler(number, callback)
    except NotImplementedError:
        # Windows' event loops have no signal handlers of their own.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def _ready_line(settings: ServerSettings, server: Server) -> str:
    data = "in memory" if settings.data is None else str(settings.data)
    mode = "open: any access key is let in" if settings.is_open else "known keys only"
    gateway = "" if server.gateway_arn is None else f" gateway={server.gateway_arn}"
    return (
        f"stepout serves {server.url} region={settings.region} account={settings.account} "
        f"data={data} mode={mode}{gateway}"
    )


async def _open_store(settings: ServerSettings, environ: MutableMapping[str, str]) -> Store:
    if settings.data is None:
        return open_memory()
    return await open_sqlite(settings.data, settings.secret_key_source, environ)


async def _resume(store: Store, authorizer: Authorizer) -> None:
    """Connections that were being authorised when the last server stopped are tried again."""
    for connection in await store.connections.all():
        if connection.state == "AUTHORIZING":
            authorizer.begin(connection)
