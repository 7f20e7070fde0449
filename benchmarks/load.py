"""A raw load generator: keep-alive connections that send the same bytes again and again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import httptools


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load; latencies in seconds, in order."""

    requests: int
    seconds: float
    latencies: list[float]


async def post(host: str, port: int, request: bytes, *, in_flight: int, requests: int) -> Load:
    """Send a request over `in_flight` connections, `requests` times in all."""
    loop = asyncio.get_running_loop()
    work = _Work(requests)
    started = time.perf_counter()
    connections = [
        loop.create_connection(lambda: _Connection(request, work), host, port)
        for _ in range(in_flight)
    ]
    opened = await asyncio.gather(*connections)
    await work.done
    seconds = time.perf_counter() - started
    for transport, _ in opened:
        transport.close()
    return Load(requests, seconds, sorted(work.latencies))


class _Work:
    """How many requests are left to begin and to end."""

    def __init__(self, requests: int) -> None:
        self.to_begin = self.to_end = requests
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, work: _Work) -> None:
        self._request = request
        self._work = work
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._work.done.done():
            self._work.done.set_exception(exc or ConnectionError("The server closed."))

    def on_message_complete(self) -> None:
        work = self._work
        status = self._parser.get_status_code()
        if status != 200 and not work.done.done():
            work.done.set_exception(RuntimeError(f"The server answered {status}."))
            return
        work.latencies.append(time.perf_counter() - self._sent)
        work.to_end -= 1
        if work.to_end == 0:
            work.done.set_result(None)
        self._begin()

    def _begin(self) -> None:
        if self._work.to_begin > 0:
            self._work.to_begin -= 1
            self._sent = time.perf_counter()
            self._transport.write(self._request)
