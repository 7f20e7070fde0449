"""The ways of a program to an API: directly, through a gateway, through the proxy.

Server, origin, proxy and this program share the machine. In each row the program, its TLS and its
HTTP library are the same; what differs is the way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httptools
import httpx
import requests

from benchmarks.identities import identities as identities_of
from benchmarks.origin import URL
from benchmarks.processes import Process, quantile
from stepout.cli.event_loop import new_event_loop
from stepout.client import AsyncGateway, Gateway
from stepout.client.httpx import AsyncTransport, Transport
from stepout.client.requests import Adapter

KEY, SECRET = "AKIDBENCH", "bench-secret"
HOST = "api.example.com"
UPSTREAMS = f'[upstream.bench]\nurl = "https://{HOST}/v1/"\n'
IN_FLIGHT = (1, 16, 64)

Get = Callable[[], Awaitable[None]]


def run(options: argparse.Namespace) -> None:
    """Print the rows of the ways."""
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with ExitStack() as resources, _local_names():
        _Ways(options.requests // 4, options.rounds, resources).run()


class _Ways:
    def __init__(self, requests: int, rounds: int, resources: ExitStack) -> None:
        self._requests = requests
        self._rounds = rounds
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        self._certificate = directory / "origin.pem"
        origin = Process("-m", "benchmarks.origin", str(self._certificate))
        self._origin = int(resources.enter_context(origin).ready_line)
        self._direct = URL.replace(HOST, f"{HOST}:{self._origin}")
        server = resources.enter_context(self._server(directory)).ready_line
        self._arn = server.rpartition("gateway=")[2]
        self._endpoint = server.split()[2]
        proxy = resources.enter_context(self._proxy(directory)).ready_line
        self._proxy_port = int(proxy.split()[2].rpartition(":")[2])
        self._proxy_ca = directory / "ca" / "ca.pem"
        self._tunnel = resources.enter_context(
            Process("-m", "benchmarks.tunnel", str(self._origin))
        ).ready_line

    def _server(self, directory: Path) -> Process:
        upstreams, identities = directory / "upstreams.toml", directory / "identities.toml"
        upstreams.write_text(UPSTREAMS)
        identities.write_text(identities_of(KEY, SECRET))
        return Process(
            *("-m", "stepout.cli", "serve", "--port", "0", "--identities", str(identities)),
            *("--upstreams", str(upstreams), "--egress-ca", str(self._certificate)),
            *("--egress-connect", f"{HOST}:443=127.0.0.1:{self._origin}", "--log-format", "json"),
        )

    def _proxy(self, directory: Path) -> Process:
        return Process(
            *("-m", "stepout.cli", "proxy", "--port", "0", "--ca-dir", str(directory / "ca")),
            *("--state-machine-arn", self._arn, "--endpoint-url", self._endpoint),
            *("--upstreams", str(directory / "upstreams.toml")),
        )

    def run(self) -> None:
        print(f"\n{'':28}{'in flight':>10}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
        for name, row in (
            ("requests, directly", self._requests_row(self._direct, None)),
            ("requests, Adapter", self._requests_row(URL, Adapter(self._gateway()))),
            ("httpx, directly", self._httpx_row(self._direct, None)),
            ("httpx, Transport", self._httpx_row(URL, Transport(self._gateway()))),
        ):
            _print(name, 1, *row)
        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            runner.run(self._asynchronous())

    def _gateway(self) -> Gateway:
        return Gateway(self._arn, endpoint_url=self._endpoint)

    def _requests_row(self, url: str, adapter: Adapter | None) -> tuple[float, list[float]]:
        with requests.Session() as session:
            # A bundle in the environment would come before `verify`.
            session.trust_env = False
            session.verify = str(self._certificate)
            if adapter is not None:
                session.mount("https://", adapter)
            return self._blocking(lambda: session.get(url).raise_for_status())

    def _httpx_row(self, url: str, transport: Transport | None) -> tuple[float, list[float]]:
        with httpx.Client(verify=self._trust(), transport=transport) as client:
            return self._blocking(lambda: client.get(url).raise_for_status())

    def _blocking(self, get: Callable[[], object]) -> tuple[float, list[float]]:
        """Requests a second and latencies, in order, of the best round."""
        best: tuple[float, list[float]] = (0.0, [])
        for _ in range(self._rounds):
            latencies = []
            started = time.perf_counter()
            for _ in range(self._requests // 2):
                begun = time.perf_counter()
                get()
                latencies.append(time.perf_counter() - begun)
            rate = len(latencies) / (time.perf_counter() - started)
            best = max(best, (rate, sorted(latencies)))
        return best

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._certificate))

    async def _asynchronous(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        direct = httpx.AsyncClient(verify=self._trust(), limits=limits)
        gateway = AsyncGateway(self._arn, endpoint_url=self._endpoint)
        through = httpx.AsyncClient(transport=AsyncTransport(gateway))

        def getting(
            client: httpx.AsyncClient, url: str, **options: Any
        ) -> Callable[[int], Awaitable[list[Get]]]:
            async def get() -> None:
                (await client.get(url, **options)).raise_for_status()

            async def many(count: int) -> list[Get]:
                return [get] * count

            return many

        rows: dict[str, Callable[[int], Awaitable[list[Get]]]] = {
            "httpx async, directly": getting(
                direct,
                # uvloop asks the system for names itself.
                self._direct.replace(HOST, "127.0.0.1"),
                headers={"Host": f"{HOST}:{self._origin}"},
                extensions={"sni_hostname": HOST},
            ),
            "httpx async, AsyncTransport": getting(through, URL),
            "bare tunnel": partial(self._tunnels, int(self._tunnel), self._certificate),
            "stepout proxy": partial(self._tunnels, self._proxy_port, self._proxy_ca),
        }
        for name, workers in rows.items():
            for in_flight in IN_FLIGHT:
                _print(name, in_flight, *await self._measured(await workers(in_flight)))
        await direct.aclose()
        await through.aclose()

    async def _tunnels(self, port: int, ca: Path, count: int) -> list[Get]:
        """Keep-alive connections through a CONNECT proxy, each with a raw client."""
        trust = ssl.create_default_context(cafile=str(ca))
        opened = [await _Tunnelled.open(port, trust) for _ in range(count)]
        return [connection.get for connection in opened]

    async def _measured(self, workers: list[Get]) -> tuple[float, list[float]]:
        best: tuple[float, list[float]] = (0.0, [])
        for _ in range(self._rounds):
            latencies: list[float] = []
            left = iter(range(self._requests))

            async def work(get: Get, left: Iterator[int], latencies: list[float]) -> None:
                for _ in left:
                    begun = time.perf_counter()
                    await get()
                    latencies.append(time.perf_counter() - begun)

            started = time.perf_counter()
            await asyncio.gather(*(work(get, left, latencies) for get in workers))
            rate = len(latencies) / (time.perf_counter() - started)
            best = max(best, (rate, sorted(latencies)))
        return best


class _Tunnelled:
    """A connection through a proxy that asks for the document again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._is_over = False

    @classmethod
    async def open(cls, port: int, trust: ssl.SSLContext) -> _Tunnelled:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await writer.start_tls(trust, server_hostname=HOST)
        return cls(reader, writer)

    async def get(self) -> None:
        parser: Any = httptools.HttpResponseParser(self)
        self._is_over = False
        self._writer.write(f"GET /v1/document HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        while not self._is_over:
            data = await self._reader.read(65_536)
            assert data, "The proxy closed."
            parser.feed_data(data)
        assert parser.get_status_code() == 200

    def on_message_complete(self) -> None:
        self._is_over = True


@contextmanager
def _local_names() -> Iterator[None]:
    """The origin's name leads to this machine, as a hosts file would have it."""
    usual = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return usual("127.0.0.1" if host == HOST else host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = usual


def _print(name: str, in_flight: int, rate: float, latencies: list[float]) -> None:
    p50, p99 = (quantile(latencies, share) * 1e3 for share in (0.5, 0.99))
    print(f"{name:28}{in_flight:>10}{rate:>9,.0f}{p50:>9.2f}{p99:>9.2f}")
