"""The wire of the asynchronous client: asyncio's streams and h11."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11
from urllib3.util.wait import wait_for_read

from stepout.client.endpoint import Endpoint
from stepout.client.exchange import Answer, Send, Timeout, WireError
from stepout.errors import SettingsError

__all__ = ["Wire"]

IDLE: Final = 64
"""Connections kept open while nobody uses them."""

READ_SIZE: Final = 65_536


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection

    @property
    def is_usable(self) -> bool:
        """The endpoint has neither closed it nor said anything since it was last used.

        What nobody asked for, such as a 408, would be taken for the next call's answer. The event
        loop may not have seen yet what has come to the socket: a Lambda environment stands still
        between two invocations.
        """
        if self.writer.is_closing() or _has_come(self.reader):
            return False
        return not wait_for_read(self.writer.get_extra_info("socket"), timeout=0)

    def drop(self) -> None:
        """Close at once: nobody waits for TLS's farewell."""
        with suppress(RuntimeError):  # of a loop that is closed, and takes nothing with it
            self.writer.transport.abort()


def _in_its_loop(loop: asyncio.AbstractEventLoop, do: Callable[[], None]) -> None:
    if loop.is_closed() or asyncio.get_running_loop() is loop:
        do()
    else:
        loop.call_soon_threadsafe(do)


def _has_come(reader: asyncio.StreamReader) -> bool:
    """Whether a read would be over at once, by data, the end or an error."""
    reading = reader.read(1)
    try:
        reading.send(None)
    except (StopIteration, OSError):
        return True
    reading.close()
    return False


class Wire:
    """Connections to the endpoint, kept open between calls, each for the event loop that made it.

    A program may run a loop for each piece of its work (`asyncio.run`), and on a connection of
    another loop a request would go out whose answer nobody gets.
    """

    def __init__(self, endpoint: Endpoint, size: int) -> None:
        """To an endpoint; `size` are the bytes that an answer may have. Raises `SettingsError`."""
        if endpoint.proxy is not None:
            raise SettingsError(
                f"The environment names the proxy {endpoint.proxy.host} for {endpoint.url}, and "
                "the asynchronous client uses none; put the endpoint's host into NO_PROXY."
            )
        self._endpoint = endpoint
        self._size = size
        self._tls = endpoint.tls()
        self._idles: dict[asyncio.AbstractEventLoop, deque[_Connection]] = {}

    async def send(self, request: Send, limits: Timeout) -> Answer:
        """Send a request once; raises `WireError`. Cancelling drops the connection."""
        connection = self._take() or await self._connect(limits.connect)
        try:
            async with asyncio.timeout(limits.read):
                answer = await self._exchange(connection, request)
        except TimeoutError:
            connection.drop()
            raise WireError("late", f"{limits.read:g} seconds are over") from None
        except (OSError, EOFError, h11.ProtocolError) as error:
            connection.drop()
            raise WireError("broken", str(error) or type(error).__name__) from None
        except BaseException:
            connection.drop()
            raise
        self._give_back(connection)
        return answer

    def close(self) -> None:
        """Drop what is kept open."""
        while self._idles:
            loop, idle = self._idles.popitem()
            for connection in idle:
                _in_its_loop(loop, connection.drop)

    @property
    def _idle(self) -> deque[_Connection]:
        """Those of the running loop; those of loops that are closed are dropped."""
        running = asyncio.get_running_loop()
        if running not in self._idles:
            for loop in [loop for loop in list(self._idles) if loop.is_closed()]:
                for connection in self._idles.pop(loop):
                    connection.drop()
            self._idles[running] = deque()
        return self._idles[running]

    def _take(self) -> _Connection | None:
        """The connection that was used last, if it is still open."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                return connection
            connection.drop()
        return None

    def _give_back(self, connection: _Connection) -> None:
        http = connection.http
        is_over = http.our_state is h11.DONE and http.their_state is h11.DONE
        if not is_over or http.trailing_data[0]:
            connection.drop()
            return
        connection.http.start_next_cycle()
        idle = self._idle
        idle.append(connection)
        if len(idle) > IDLE:
            idle.popleft().drop()

    async def _connect(self, seconds: float) -> _Connection:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(
                    endpoint.hostname,
                    endpoint.port,
                    ssl=self._tls,
                    server_hostname=endpoint.hostname if self._tls else None,
                )
        except TimeoutError:
            raise WireError("unsent", f"no connection within {seconds:g} seconds") from None
        except (OSError, UnicodeError) as error:  # the second for a name that is no host's
            raise WireError("unsent", str(error)) from None
        return _Connection(reader, writer, h11.Connection(h11.CLIENT))

    async def _exchange(self, connection: _Connection, request: Send) -> Answer:
        http, writer = connection.http, connection.writer
        head = h11.Request(
            method="POST",
            target=self._endpoint.path,
            headers=[*request.headers, (b"content-length", str(len(request.body)).encode())],
        )
        # One write, so that head and body share a packet.
        parts = [http.send(head), http.send(h11.Data(request.body)), http.send(h11.EndOfMessage())]
        writer.write(b"".join(part for part in parts if part))
        await writer.drain()
        status, pieces, left = 0, [], self._size
        while True:
            event = http.next_event()
            match event:
                case h11.NEED_DATA:
                    data = await connection.reader.read(READ_SIZE)
                    if not data and http.their_state is h11.SEND_RESPONSE:
                        raise EOFError("the endpoint closed the connection")
                    # All that comes, not bodies alone: sizes of chunks may be without end, too.
                    left -= len(data)
                    if left < 0:
                        raise WireError("large", f"more than {self._size:,} bytes")
                    http.receive_data(data)
                case h11.Response():
                    status = event.status_code
                case h11.Data():
                    pieces.append(bytes(event.data))
                case h11.EndOfMessage():
                    return Answer(status, b"".join(pieces))
