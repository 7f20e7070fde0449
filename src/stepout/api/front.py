"""The HTTP front: accepts connections on listening sockets, and looks after all of them.

Accepting is our own, because the event loop's servers know a TLS connection only when its handshake
is done: half-open ones would not count, and nothing would bound them. At the bound

- the connection that has been idle longest, if there is one, is closed to make room;
- else the new one is answered 503 and closed: SDKs wait a little and try again. Not to accept would
  leave clients waiting without a word, health checks among them;
- and when too many are being told so at one time, the next are closed without.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from itertools import islice
from typing import Final

from stepout.api.http import OVERFLOW, TOO_MANY, AsgiApp, Bounds, Connection, Shared
from stepout.errors import SettingsError

__all__ = ["BACKLOG", "Front", "listen"]

BACKLOG: Final = 1_024

_log = logging.getLogger("stepout.front")


class Front:
    """Serves an app on listening sockets."""

    def __init__(
        self, app: AsgiApp, tls: ssl.SSLContext | None, bounds: Bounds | None = None
    ) -> None:
        self._tls = tls
        self._bounds = bounds or Bounds()
        self._shared = Shared(app, self._bounds, "http" if tls is None else "https")
        self._addresses: Counter[str] = Counter()
        self._sockets: Sequence[socket.socket] = ()
        self._work: list[asyncio.Task[None]] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._is_empty = asyncio.Event()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        for listener in sockets:
            # One that was handed over may block: accepting on it would hold the whole loop.
            listener.setblocking(False)
        self._renew_date()
        self._work = [asyncio.create_task(self._tick())]
        self._work += [asyncio.create_task(self._accept(listener)) for listener in sockets]

    async def stop(self) -> None:
        """Close the listeners, let answers that are being made go out, then close connections."""
        await _cancel(self._work)
        # By now each of these has made its first step: cancelled before, it would not know it.
        await _cancel(list(self._opening))
        self._work = []
        for listener in self._sockets:
            listener.close()
        connections, tasks = self._shared.connections, self._shared.tasks
        for connection in list(connections):
            connection.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.stop_seconds):
                await self._until_left()
                await asyncio.gather(*tasks)
        for connection in list(connections):
            connection.abort()
        await self._until_left()
        # A connection that is lost leaves the request it was serving here.
        await _cancel(list(tasks))

    async def _until_left(self) -> None:
        """Wait until the last connection is lost."""
        if self._shared.connections:
            self._is_empty.clear()
            await self._is_empty.wait()

    # --- Once a second ----------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.tick_seconds)
            self._renew_date()
            self._expire()

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._shared.connections):
            if connection.deadline < now:
                connection.expire()

    def _renew_date(self) -> None:
        self._shared.date = f"date: {formatdate(usegmt=True)}\r\n".encode()

    # --- Accepting --------------------------------------------------------------------------------

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, name = await loop.sock_accept(listener)
            except OSError as error:
                # No descriptors are left, most likely; one that comes free lets us go on.
                _log.warning("not accepted", extra={"fields": {"why": str(error)}})
                self._evict()
                await asyncio.sleep(self._bounds.tick_seconds)
                continue
            self._admit(peer, str(name[0]) if isinstance(name, tuple) else "")
            # Those that are connected have their turn, too.
            await asyncio.sleep(0)

    def _admit(self, peer: socket.socket, address: str) -> None:
        if peer.family != socket.AF_UNIX:
            with suppress(OSError):
                # An answer in two writes would else wait 40 ms for an acknowledgement (Nagle).
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        refused = None
        if not self._has_room(address):
            if len(self._shared.connections) >= self._bounds.connections + OVERFLOW:
                peer.close()
                return
            refused = TOO_MANY
        connection = Connection(self._shared, self._leave, address, refused)
        self._shared.connections[connection] = None
        self._addresses[address] += 1
        task = asyncio.create_task(self._open(peer, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _has_room(self, address: str) -> bool:
        """Whether one more may come in, for which an idle one may have to go."""
        most = self._bounds.per_address
        if most is not None and self._addresses[address] >= most:
            return self._evict(address)
        return len(self._shared.connections) < self._bounds.connections or self._evict()

    def _evict(self, address: str | None = None) -> bool:
        """Close the connection that is the oldest of those that are idle, if there is one."""
        idle = (
            connection
            for connection in self._shared.connections
            if connection.is_idle and address in (None, connection.address)
        )
        for connection in islice(idle, 1):
            connection.close()
            return True
        return False

    def _leave(self, connection: Connection) -> None:
        if self._shared.connections.pop(connection, connection) is None:
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]
            if not self._shared.connections:
                self._is_empty.set()

    async def _open(self, peer: socket.socket, connection: Connection) -> None:
        loop, bounds = asyncio.get_running_loop(), self._bounds
        times = {}
        if self._tls is not None:
            times["ssl_handshake_timeout"] = bounds.handshake_seconds
            times["ssl_shutdown_timeout"] = bounds.handshake_seconds
        try:
            await loop.connect_accepted_socket(lambda: connection, peer, ssl=self._tls, **times)
        except OSError as error:
            # TLS errors and time-outs are among them: the client's affair.
            fields = {"why": str(error) or type(error).__name__, "client": connection.address}
            _log.info("not opened", extra={"fields": fields})
            self._leave(connection)
        except asyncio.CancelledError:
            self._leave(connection)
            raise


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"The server cannot listen on {host}:{port}: {error}.") from None
    return listener
