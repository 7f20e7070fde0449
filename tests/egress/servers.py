"""Real servers on loopback, and a resolver that says what a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from stepout.certificates import Authority
from stepout.egress.addresses import Address


class FakeResolver:
    """Answers every name with the addresses of now; waits first while `gate` is closed."""

    def __init__(self, *addresses: str) -> None:
        self.answers: Iterable[str] = addresses
        self.asked: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def addresses(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host in self.gates:
            await self.gates[host].wait()
        return [ip_address(address) for address in self.answers]

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What a request looked like from the other side."""

    connection: int
    sni: str | None
    host: str
    target: str


_ENDS = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError)
"""How a connection of a test ends."""


class Streams:
    """The connections of a server, ended with it."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        # Aborted transports, and TLS above them, close in the next rounds of the loop.
        for _ in range(10):
            await asyncio.sleep(0)


@dataclass(slots=True)
class TlsServer:
    """Answers 200 to everything and remembers it, `gate` permitting."""

    names: tuple[str, ...]
    address: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    gate: asyncio.Event | None = None
    port: int = 0
    opened: int = 0
    open: int = 0
    trust: ssl.SSLContext = field(init=False)
    _sni: dict[ssl.SSLObject | ssl.SSLSocket, str | None] = field(default_factory=dict)
    _streams: Streams = field(default_factory=Streams)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TlsServer]:
        authority = Authority.create("recorder")
        context = authority.server_context(*self.names)
        context.sni_callback = self._named
        self.trust = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        server = await asyncio.start_server(self._serve, self.address, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self._streams.end()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what becomes true as requests come in and connections end."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _named(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._sni[tls] = name

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.take(writer)
        self.opened += 1
        self.open += 1
        number = self.opened
        sni = self._sni.get(writer.get_extra_info("ssl_object"))
        with suppress(*_ENDS):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *headers = head.split("\r\n")
                host = next(line[6:] for line in headers if line.lower().startswith("host: "))
                self.seen.append(Seen(number, sni, host, first.split(" ")[1]))
                self._changed.set()
                if self.gate is not None:
                    await self.gate.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        self.open -= 1
        self._changed.set()
        writer.transport.abort()


@dataclass(slots=True)
class ConnectProxy:
    """An HTTP proxy that knows CONNECT alone; `answer` is sent instead of connecting."""

    answer: bytes | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    gate: asyncio.Event | None = None
    _streams: Streams = field(default_factory=Streams)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ConnectProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self._streams.end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.take(writer)
        with suppress(*_ENDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            assert method == "CONNECT"
            self.asked.append((target, dict(line.split(": ", 1) for line in lines)))
            if self.gate is not None:
                await self.gate.wait()
            if self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
            else:
                await self._tunnel(target, reader, writer)
        writer.close()

    async def _tunnel(
        self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = target.rpartition(":")
        try:
            there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        self._streams.take(back)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pour(reader, back), _pour(there, writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
