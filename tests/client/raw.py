"""An endpoint of bare sockets that does what a script says, and a caller of either wire."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeAlias

from stepout.client import AsyncGateway, Gateway
from stepout.errors import GatewayError
from stepout.gateway.messages import Response

MACHINE: Final = "arn:aws:states:eu-west-1:123456789012:stateMachine:gateway"
API: Final = "https://a.example.com/x"
PATIENCE: Final = 20


class Peer:
    """The endpoint's end of a connection."""

    def __init__(self, found: socket.socket, server: RawServer) -> None:
        self.socket = found
        self._server = server
        self._received = b""

    def request(self) -> bytes | None:
        """Read a request, head and body; None where the client has closed."""
        while b"\r\n\r\n" not in self._received:
            if not self._more():
                return None
        head, _, rest = self._received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(rest) < length:
            if not self._more():
                return None
            rest = self._received.partition(b"\r\n\r\n")[2]
        self._received = rest[length:]
        found = head + b"\r\n\r\n" + rest[:length]
        self._server.requests.append(found)
        return found

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65_536)
        except OSError:
            return False
        self._received += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self) -> None:
        """Send a byte now and then, until the client has closed."""
        self.socket.settimeout(0.02)
        with suppress(ConnectionError):
            while True:
                try:
                    if not self.socket.recv(1):
                        break
                except TimeoutError:
                    self.send(b"a")
        self._server.ended.set()

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_for_end(self) -> None:
        """Until the client has closed."""
        while self._more():
            pass
        self._server.ended.set()


Script: TypeAlias = Callable[[Peer], None]


class RawServer:
    """Plays scripts, one for each connection in turn, the last again and again."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        """Released when a connection has been closed on this side."""
        self.ended = threading.Event()
        """Set when a client has closed, where a script waits for that."""
        self._scripts = scripts
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}/"

    def inputs(self) -> list[Any]:
        """The machine's inputs that came."""
        bodies = [request.partition(b"\r\n\r\n")[2] for request in self.requests]
        return [json.loads(json.loads(body)["input"]) for body in bodies]

    def wait_until_closed(self) -> None:
        assert self.closed.acquire(timeout=PATIENCE)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for found in self._open:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                found, _ = self._listener.accept()
                self._open.append(found)
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
                self._start(self._serve, found, script)

    def _serve(self, found: socket.socket, script: Script) -> None:
        peer = Peer(found, self)
        # What a client does to a connection is the test's to judge.
        with suppress(OSError):
            if self._context is not None:
                peer.socket = self._context.wrap_socket(found, server_side=True)
                self._open.append(peer.socket)
            script(peer)
        peer.socket.close()
        found.close()
        self.closed.release()


# --- Answers --------------------------------------------------------------------------------------


def success(text: str = "fine") -> bytes:
    """The body of an answer of StartSyncExecution."""
    result = {
        "Headers": {"Content-Type": ["text/plain"]},
        "ResponseBody": text,
        "StatusCode": 200,
        "StatusText": "OK",
    }
    members = {"status": "SUCCEEDED", "output": json.dumps(result), "startDate": 1, "stopDate": 2}
    return json.dumps(members).encode()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def serving(*parts: bytes) -> Script:
    """Answer every request of a connection with these bytes."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            for part in parts:
                peer.send(part)

    return script


def once(*parts: bytes) -> Script:
    """Answer one request, then close."""

    def script(peer: Peer) -> None:
        if peer.request() is not None:
            for part in parts:
                peer.send(part)

    return script


FINE: Final = answer(success())


# --- Callers --------------------------------------------------------------------------------------

Outcome: TypeAlias = Response | GatewayError
Between: TypeAlias = Callable[[], None]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


class Caller:
    """Makes calls one after the other through one gateway, and gives what came of each."""

    is_async = False

    def __call__(
        self,
        server: RawServer | str,
        methods: Sequence[str] = ("GET",),
        *,
        between: Between = lambda: None,
        timeout: float | None = None,
        data: str | None = None,
        **options: Any,
    ) -> list[Outcome]:
        url = server if isinstance(server, str) else server.url
        found: list[Outcome] = []
        with Gateway(MACHINE, endpoint_url=url, **options) as gateway:
            for number, method in enumerate(methods):
                if number:
                    between()
                try:
                    found.append(gateway.request(method, API, data=data, timeout=timeout))
                except GatewayError as error:
                    found.append(error)
        return found


class AsyncCaller(Caller):
    """The same on an event loop, which stands still in between."""

    is_async = True

    def __init__(self, loop_factory: LoopFactory | None = None) -> None:
        self._loop_factory = loop_factory

    def __call__(
        self,
        server: RawServer | str,
        methods: Sequence[str] = ("GET",),
        *,
        between: Between = lambda: None,
        timeout: float | None = None,
        data: str | None = None,
        **options: Any,
    ) -> list[Outcome]:
        url = server if isinstance(server, str) else server.url

        async def call() -> list[Outcome]:
            found: list[Outcome] = []
            async with AsyncGateway(MACHINE, endpoint_url=url, **options) as gateway:
                for number, method in enumerate(methods):
                    if number:
                        await self._rest(between)
                    try:
                        found.append(await gateway.request(method, API, data=data, timeout=timeout))
                    except GatewayError as error:
                        found.append(error)
            return found

        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            return runner.run(call())

    async def _rest(self, between: Between) -> None:
        between()


class AwakeCaller(AsyncCaller):
    """The same on an event loop that goes on in between, and sees what comes."""

    async def _rest(self, between: Between) -> None:
        await asyncio.to_thread(between)
