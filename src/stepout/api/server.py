"""The server: builds its parts from settings, starts them in order, stops them in reverse."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Final

from stepout.api.app import MAX_BODY, App, Health
from stepout.api.auth import Auth
from stepout.api.caller import Caller
from stepout.api.front import Front, listen
from stepout.api.limits import Limits
from stepout.api.metrics import Metrics
from stepout.api.provision import provision
from stepout.api.services import Services
from stepout.aws import shapes
from stepout.aws.shapes import Service
from stepout.config import ServerSettings, is_loopback, load_identities, parse_connect
from stepout.egress.http import Egress, Place
from stepout.egress.policy import Policy
from stepout.egress.trust import trust
from stepout.errors import SettingsError
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

SERVICES: Final = ("stepfunctions", "events")
"""The service models that the server answers."""


class Server:
    """A stepout server in the running event loop.

    `connect_to` adds live entries to `settings.egress_connect`; `sockets` are further listening
    sockets to serve, beside the one of `settings.host` and `settings.port`; `functions` stand for
    Tasks, by the name of a state or the ARN of a resource; `environ` has the secrets of upstreams
    that are in variables.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        connect_to: dict[Place, Place] | None = None,
        sockets: Sequence[socket.socket] = (),
        functions: Mapping[str, TaskFunction] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = environ or {}
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
        store = await _open_store(settings)
        resources.push_async_callback(store.close)
        egress = Egress(
            Policy(allow=tuple(map(ip_network, settings.egress_allow))),
            trust=trust(settings.egress_ca),
            connect_to=ChainMap(parse_connect(settings.egress_connect), self._connect_to),
        )
        resources.push_async_callback(egress.close)
        tokens = TokenCache(egress)
        resources.push_async_callback(tokens.close)
        ports = Ports(
            egress=egress,
            connections=store.connections,
            tokens=tokens,
            payload_limit=settings.payload_limit,
            keeps_error_bodies=settings.error_bodies,
        )
        mocks = Mocks() if settings.mock is None else Mocks.load(settings.mock)
        integrations = Integrations(build(ports), stand_ins=(mocks, self._functions))
        pool = EvaluationPool()
        resources.callback(pool.close)
        driver = Driver(journal, integrations, clock, pool)
        self._express = Express(driver, journal, clock)
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
            payload_limit=settings.payload_limit,
        )
        models = _models(settings)
        if settings.upstreams is not None:
            upstreams = Upstreams.load(settings.upstreams)
            caller = Caller(settings.account, settings.region, "")
            self.gateway_arn = await provision(services, models, caller, upstreams, self._environ)
        await self._listen(services, models, clock)
        await _resume(store, authorizer)

    async def _listen(
        self, services: Services, models: Mapping[str, Service], clock: SystemClock
    ) -> None:
        settings = self._settings
        identities = load_identities(settings.identities) if settings.identities else ()
        auth = Auth(
            {identity.access_key_id: identity.secret for identity in identities},
            clock,
            settings.account,
            is_open=is_loopback(settings.host),
        )
        # A JSON text inside JSON doubles in the worst case that is usual.
        max_body = max(MAX_BODY, 2 * settings.payload_limit)
        app = App(
            services,
            auth,
            models,
            Metrics(lambda: self._express.in_flight),
            self._health,
            max_body=max_body,
        )
        tls = _tls(settings)
        listener = listen(settings.host, settings.port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{host}:{listener.getsockname()[1]}"
        limits = Limits(
            body=max_body,
            connections=settings.max_connections,
            per_address=settings.max_connections_per_address,
        )
        front = Front(app, tls, limits)
        self._resources.push_async_callback(front.stop)
        await front.start([listener, *self._sockets])


def _models(settings: ServerSettings) -> dict[str, Service]:
    """The service models by their target prefix, with the payload limit of the settings."""
    largest = {"SensitiveData": settings.payload_limit}
    found = [shapes.load(service, largest) for service in SERVICES]
    return {model.target_prefix: model for model in found}


async def serve(
    settings: ServerSettings,
    *,
    announce: Callable[[str], None],
    environ: Mapping[str, str] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; announces one line when ready. Answers the exit status."""
    server = Server(settings, environ=environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        _on_signal(loop, number, stop.set)
    await server.start()
    announce(_ready_line(settings, server))
    await stop.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whoever asks a second time does not want to wait for the drain.
        signal.signal(number, signal.SIG_DFL)
    await server.stop()
    return 0


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
    mode = "open: any access key is let in" if is_loopback(settings.host) else "known keys only"
    gateway = "" if server.gateway_arn is None else f" gateway={server.gateway_arn}"
    return (
        f"stepout serves {server.url} region={settings.region} account={settings.account} "
        f"data={data} mode={mode}{gateway}"
    )


async def _open_store(settings: ServerSettings) -> Store:
    return open_memory() if settings.data is None else await open_sqlite(settings.data)


async def _resume(store: Store, authorizer: Authorizer) -> None:
    """Connections that were being authorised when the last server stopped are tried again."""
    for connection in await store.connections.all():
        if connection.state == "AUTHORIZING":
            authorizer.begin(connection)


def _tls(settings: ServerSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The certificate {settings.tls_cert} and key {settings.tls_key} cannot be loaded: "
            f"{error}."
        ) from None
    return context
