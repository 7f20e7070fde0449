"""A client's connection to the proxy: bytes in and out, within limits, plain and then in TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

__all__ = ["Channel"]

READ_SIZE: Final = 16_384
"""Bytes handed on at a time."""

HELD: Final = 262_144
"""Bytes that wait to be read before the client is held up."""

LINGER_BYTES: Final = 4_194_304
LINGER_SECONDS: Final = 2.0
"""Of a request that was refused midway: read and dropped, since closing a connection with unread
bytes resets it, and the client might lose the answer (RFC 9112, 9.6)."""

CLOSE_SECONDS: Final = 2.0
"""For TLS's farewell, when the system has all that was written."""

FLUSH_PAUSE: Final = 0.01
"""Seconds between two looks whether it has. What waits below TLS tells nobody when it is gone."""


class Channel(asyncio.Protocol):
    """Runs `serve` in a task of its own, which is cancelled when the client goes away.

    The task's end closes the connection. asyncio sets TCP_NODELAY by itself.
    """

    def __init__(self, serve: Callable[[Channel], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._received = bytearray()
        self._is_ended = False
        self._is_tls = False
        self._is_closing = False
        self._is_held = False
        self._reader: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self._below: asyncio.Transport
        """The socket's own, where the other is TLS's."""
        self.task: asyncio.Task[None]

    # --- What asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self._transport = self._below = cast("asyncio.Transport", transport)
        self._lost: asyncio.Future[None] = loop.create_future()
        self.task = loop.create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > HELD and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._is_ended = True
        _wake(self._reader)
        # A plain connection may be answered after its client has said all; one in TLS may not.
        return not self._is_tls

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._is_ended = True
        _wake(self._lost)
        _wake(self._reader)
        if not self._is_closing:
            self.task.cancel()

    # --- What the task calls ---

    @property
    def has_unread(self) -> bool:
        return bool(self._received)

    async def read(self) -> bytes:
        """What has come, READ_SIZE bytes at most; nothing where the client has said all."""
        if not self._received and not self._is_ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = bytes(self._received[:READ_SIZE])
        del self._received[:READ_SIZE]
        if self._is_held and len(self._received) <= HELD // 2:
            self._is_held = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes, seconds: float) -> None:
        """Send, until the system has all of it; raises `TimeoutError` where it does not take it.

        What a transport still held would be lost with it when the connection is closed, and the
        client may be slow.
        """
        self._transport.write(data)
        await asyncio.sleep(0)  # uvloop writes when it comes round
        if self._is_writing:
            async with asyncio.timeout(seconds):
                while self._is_writing:  # noqa: ASYNC110 — there is nothing else to wait for
                    await asyncio.sleep(FLUSH_PAUSE)

    @property
    def _is_writing(self) -> bool:
        transports = (self._transport, self._below)
        return any(transport.get_write_buffer_size() for transport in transports)

    async def start_tls(self, last: bytes, context: ssl.SSLContext, seconds: float) -> None:
        """Send `last` in plain and go on in TLS; raises `OSError` where that fails.

        There is no pause between the two, so that nothing can be read as plain that comes after.
        """
        self._transport.write(last)
        self._is_tls = True
        upgraded = await asyncio.get_running_loop().start_tls(
            self._transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=CLOSE_SECONDS,
        )
        if upgraded is None:  # closed meanwhile
            raise ConnectionResetError("The client closed the connection.")
        self._transport = upgraded

    async def linger(self) -> None:
        """Read and drop what the client is still sending."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and (data := await self.read()):
                    left -= len(data)
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Say farewell and close."""
        self._is_closing = True
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._lost
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self._transport.abort()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
