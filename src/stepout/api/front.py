"""The HTTP front: uvicorn's httptools protocol, started and stopped by us, calling the ASGI app."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stepout.errors import SettingsError

__all__ = ["BACKLOG", "Front", "listen"]

BACKLOG: Final = 1_024

MAX_HEAD: Final = 65_536
"""Bytes of a request's target and headers; ours. A larger head is answered with 400."""

IDLE_SECONDS: Final = 75
"""How long a connection may idle; clients of AWS pool connections for about a minute."""


class _Protocol(HttpToolsProtocol):
    """Bounds the head of a request, and keeps the authority of an absolute-form target, which the
    ASGI scope has no place for."""

    _head: int | None = None
    """Bytes received of a head that is not complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Turn Nagle's algorithm off: head and body go out in two writes, which would cost 40 ms.

        asyncio does so itself only for listeners that name their protocol, uvloop for all.
        """
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            raise ValueError("The head of the request is too large.")
        if not self.url.startswith(b"/"):
            url = httptools.parse_url(self.url)
            if url.host:
                port = f":{url.port}".encode() if url.port else b""
                # The extensions are shared by all requests of uvicorn; this one gets its own.
                self.scope["extensions"] = {"stepout.authority": url.host + port}  # type: ignore[dict-item] # ASGI's values are dictionaries
        super().on_headers_complete()


class Front:
    """Serves an app on listening sockets."""

    def __init__(
        self, app: Callable[..., Coroutine[Any, Any, None]], tls: ssl.SSLContext | None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Nobody stands in front of this server whose word on the caller's address it takes.
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticker: asyncio.Task[None] | None = None
        self._sockets: Sequence[socket.socket] = ()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        await self._server.on_tick(0)
        await self._server.startup(sockets=list(sockets))
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Close the listeners, let answers that are being made go out, then close connections."""
        await self._server.shutdown(sockets=list(self._sockets))
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker

    async def _tick(self) -> None:
        """Renew the Date header each second."""
        while True:
            await asyncio.sleep(1)
            await self._server.on_tick(0)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"The server cannot listen on {host}:{port}: {error}.") from None
    listener.setblocking(False)
    return listener
