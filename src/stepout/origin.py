"""A programmable HTTPS origin with its own certificate authority, for demos and tests.

    with Origin() as origin:
        origin.get("https://api.example.com/v1/x").respond(402, json={"error": "no money"})

The origin listens on loopback under every host that its routes name; `connect_to` tells an egress
where. It serves in a thread with an event loop of its own, so that it answers whatever its user's
thread does.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, Literal, Self, TypeAlias, cast
from urllib.parse import urlsplit

import httptools

from stepout.certificates import Authority

__all__ = ["Answer", "Origin", "Received", "Route"]

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
Framing: TypeAlias = Literal["length", "chunked", "close"]
Ending: TypeAlias = Literal["complete", "truncate", "reset", "hang"]

_LOOPBACK: Final = "127.0.0.1"
_CLOSING_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in; header names in the sender's case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """All values of a header, joined by commas, or None."""
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        return ",".join(values) if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an origin does with a request. `delay` in seconds comes first, then the bytes."""

    status: int = 200
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    framing: Framing = "length"
    ending: Ending = "complete"
    delay: float = 0
    raw: bytes | None = None
    """Sent instead of everything above."""

    def encoded(self, request: Received) -> bytes:
        """The bytes that are sent."""
        if self.raw is not None:
            return self.raw
        body = b"" if request.method == "HEAD" or self.status in (204, 304) else self._framed()
        return self._head() + (body[: len(body) // 2] if self.ending == "truncate" else body)

    def _head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_reason(self)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status not in (204, 304):
            lines += _FRAMES[self.framing](self.body)
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _framed(self) -> bytes:
        if self.framing != "chunked":
            return self.body
        halves = (self.body[: len(self.body) // 2], self.body[len(self.body) // 2 :])
        chunks = [b"%x\r\n%b\r\n" % (len(half), half) for half in halves if half]
        return b"".join([*chunks, b"0\r\n\r\n"])


_FRAMES: Final[Mapping[Framing, Callable[[bytes], list[str]]]] = {
    "length": lambda body: [f"Content-Length: {len(body)}"],
    "chunked": lambda _body: ["Transfer-Encoding: chunked"],
    "close": lambda _body: ["Connection: close"],
}

Handler: TypeAlias = Callable[[Received], Answer]


@dataclass(slots=True)
class Route:
    """What an origin does at a method and path: its answers in turn, the last again and again."""

    requests: list[Received] = field(default_factory=list)
    _handlers: list[Handler] = field(default_factory=list)

    def respond(
        self,
        status: int = 200,
        *,
        json: Any = ...,
        text: str | None = None,
        body: bytes = b"",
        headers: Headers = (),
        reason: str | None = None,
        framing: Framing = "length",
        ending: Ending = "complete",
        delay: float = 0,
    ) -> Route:
        """Answer with a status and one of `json`, `text` and `body`."""
        kind, content = _content(json, text, body)
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        if kind and all(name.lower() != "content-type" for name, _ in pairs):
            pairs = (("Content-Type", kind), *pairs)
        return self.answer(
            Answer(
                status=status,
                reason=reason,
                headers=pairs,
                body=content,
                framing=framing,
                ending=ending,
                delay=delay,
            )
        )

    def document(self, body: bytes, content_type: str) -> Route:
        """Serve a document that can be asked for in ranges, as file servers and CDNs do."""
        return self.handle(lambda request: _ranged(request, body, content_type))

    def raw(self, data: bytes, ending: Ending = "complete") -> Route:
        """Send these bytes, whatever they are, and close."""
        return self.answer(Answer(raw=data, framing="close", ending=ending))

    def hang(self) -> Route:
        """Never answer."""
        return self.raw(b"", ending="hang")

    def reset(self) -> Route:
        """Break the connection off without an answer."""
        return self.raw(b"", ending="reset")

    def answer(self, answer: Answer) -> Route:
        return self.handle(lambda _request: answer)

    def handle(self, handler: Handler) -> Route:
        """Let a function answer; it runs in the origin's thread."""
        self._handlers.append(handler)
        return self

    def take(self, request: Received) -> Answer:
        """The answer to a request that came in."""
        self.requests.append(request)
        if not self._handlers:
            return Answer()
        turn = min(len(self.requests), len(self._handlers)) - 1
        return self._handlers[turn](request)


class Origin:
    """HTTPS servers on one loopback port, told apart by host."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority or Authority.create("stepout development origin")
        self.connect_to: dict[tuple[str, int], tuple[str, int]] = {}
        self.exchanges: list[tuple[Received, Answer]] = []
        self._routes: dict[tuple[str, str, str], Route] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._socket = socket.create_server((_LOOPBACK, 0), backlog=1_024)
        self.connections: set[asyncio.Transport] = set()

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def certificate_pem(self) -> bytes:
        """The authority that callers must believe."""
        return self.authority.certificate_pem

    def route(self, method: str, url: str) -> Route:
        """The route of a method and an https URL; its query is not compared."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"Expected an https URL with a host, found {url!r}.")
        host = parts.hostname
        self._serve_host(host, parts.port or 443)
        return self._routes.setdefault((method, host, parts.path or "/"), Route())

    def get(self, url: str) -> Route:
        return self.route("GET", url)

    def post(self, url: str) -> Route:
        return self.route("POST", url)

    def put(self, url: str) -> Route:
        return self.route("PUT", url)

    def delete(self, url: str) -> Route:
        return self.route("DELETE", url)

    def patch(self, url: str) -> Route:
        return self.route("PATCH", url)

    def head(self, url: str) -> Route:
        return self.route("HEAD", url)

    def options(self, url: str) -> Route:
        return self.route("OPTIONS", url)

    def present(self, host: str, context: ssl.SSLContext, port: int = 443) -> None:
        """Serve a host with another certificate, such as a wrong one."""
        self._contexts[host] = context
        self.connect_to[host, port] = (_LOOPBACK, self.port)

    def start(self) -> Self:
        """Serve until `stop`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop,), name="stepout-origin", daemon=True
        )
        ready = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self._thread.start()
        ready.result()
        return self

    def stop(self) -> None:
        """Close the listener and all connections."""
        if self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def find(self, host: str, request: Received) -> Answer:
        """The answer to a request for a host."""
        path = urlsplit(request.target).path
        route = self._routes.get((request.method, host, path))
        if route is None:
            text = f"This origin has no route for {request.method} {path} on {host}."
            answer = Answer(404, headers=(("Content-Type", "text/plain"),), body=text.encode())
        else:
            answer = route.take(request)
        self.exchanges.append((request, answer))
        return answer

    def _serve_host(self, host: str, port: int) -> None:
        if host not in self._contexts:
            self._contexts[host] = self.authority.server_context(host)
        self.connect_to.setdefault((host, port), (_LOOPBACK, self.port))

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for transport in list(self.connections):
            transport.abort()
        # A connection whose TLS handshake is not over is known to its own task alone.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        # Aborted transports, and TLS above them, close in the next rounds of the loop.
        for _ in range(_CLOSING_ROUNDS):
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        context = self.authority.server_context("localhost", _LOOPBACK)
        context.sni_callback = self._choose
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), sock=self._socket, ssl=context
        )

    def _choose(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """Take the certificate of the host that the client names."""
        if name in self._contexts:
            tls.context = self._contexts[name]


class _Connection(asyncio.Protocol):
    """One connection; requests are answered one after another."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._origin.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._transport is not None:
            self._origin.connections.discard(self._transport)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = Received(
            method=self._parser.get_method().decode(),
            target=self._target.decode("latin-1"),
            headers=tuple(self._headers),
            body=b"".join(self._body),
        )
        host = (request.header("host") or "").partition(":")[0].lower()
        answer = self._origin.find(host, request)
        loop = asyncio.get_running_loop()
        if answer.delay:
            loop.call_later(answer.delay, self._send, request, answer)
        else:
            self._send(request, answer)

    def _send(self, request: Received, answer: Answer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer.encoded(request))
        if answer.ending == "reset":
            linger = struct.pack("ii", 1, 0)
            peer: socket.socket = transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        elif answer.ending == "truncate" or (
            answer.framing == "close" and answer.ending == "complete"
        ):
            transport.close()


_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


def _ranged(request: Received, body: bytes, content_type: str) -> Answer:
    """The document, or the range that is asked for (RFC 9110, 14)."""
    headers = (("Content-Type", content_type), ("Accept-Ranges", "bytes"))
    whole = Answer(headers=headers, body=body)
    match = _RANGE.fullmatch(request.header("range") or "")
    if match is None:
        return whole
    start = int(match[1])
    if start >= len(body):
        unsatisfied = (("Content-Range", f"bytes */{len(body)}"),)
        return Answer(416, headers=unsatisfied)
    end = min(int(match[2] or len(body)), len(body) - 1)
    shown = ("Content-Range", f"bytes {start}-{end}/{len(body)}")
    return replace(whole, status=206, headers=(*headers, shown), body=body[start : end + 1])


def _content(document: Any, text: str | None, body: bytes) -> tuple[str | None, bytes]:
    if document is not ...:
        return "application/json", json.dumps(document, ensure_ascii=False).encode()
    if text is not None:
        return "text/plain; charset=utf-8", text.encode()
    return None, body


def _reason(answer: Answer) -> str:
    if answer.reason is not None:
        return answer.reason
    try:
        return HTTPStatus(answer.status).phrase
    except ValueError:
        return ""
