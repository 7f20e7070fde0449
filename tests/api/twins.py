"""An app that records, behind our front and behind uvicorn's protocol, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import h11
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from stepout.api.http import Connection, Shared
from stepout.api.http.bounds import Bounds

Serve: TypeAlias = Callable[[Any], asyncio.Protocol]
"""App → protocol of one connection."""

DATE = b"date: Thu, 26 Nov 2026 12:00:00 GMT\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the app was called with."""

    method: str
    version: str
    path: str
    raw_path: bytes
    query: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(slots=True)
class Recorder:
    """An ASGI app that tells what it saw and answers with it; by path, in other forms as well."""

    seen: list[Seen] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append(
            Seen(
                scope["method"],
                scope["http_version"],
                scope["path"],
                scope["raw_path"],
                scope["query_string"],
                tuple(scope["headers"]),
                body,
            )
        )
        await _FORMS.get(scope["path"], _echo)(send, body)


async def _echo(send: Any, body: bytes) -> None:
    answer = b"%d bytes" % len(body)
    fields = [(b"content-length", b"%d" % len(answer)), (b"x-form", b"echo")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": answer})


async def _in_parts(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})
    for part in (b"one ", b"", b"two ", body):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def _empty(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _last(send: Any, body: bytes) -> None:
    fields = [(b"connection", b"close"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 404, "headers": fields})
    await send({"type": "http.response.body", "body": b"no"})


_FORMS = {"/parts": _in_parts, "/empty": _empty, "/last": _last}


def own(app: Any, bounds: Bounds | None = None) -> Connection:
    return Connection(Shared(app, bounds or Bounds(), "http", DATE), lambda _: None)


def twin(app: Any) -> HttpToolsProtocol:
    config = uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    config.load()
    return HttpToolsProtocol(config, ServerState(), {})


@dataclass(frozen=True, slots=True)
class Came:
    """What came back, and whether the server closed behind it."""

    data: bytes
    is_closed: bool

    def answers(self, methods: Sequence[str]) -> list[tuple[int, dict[bytes, bytes], bytes]]:
        """Status, fields and body of each answer, as h11 reads them."""
        reader = h11.Connection(h11.CLIENT)
        found = []
        for number, method in enumerate(methods):
            if number == 0:
                reader.receive_data(self.data)
            reader.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
            reader.send(h11.EndOfMessage())
            answer = _answer(reader, self.is_closed)
            if answer is None:
                break
            found.append(answer)
            if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                break
            reader.start_next_cycle()
        return found


def _answer(
    reader: h11.Connection, is_closed: bool
) -> tuple[int, dict[bytes, bytes], bytes] | None:
    status, fields, body = 0, {}, b""
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA and is_closed:
            reader.receive_data(b"")
        elif isinstance(event, h11.Response):
            status, fields = event.status_code, dict(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            fields.pop(b"date", None)
            return status, fields, body
        elif not isinstance(event, h11.InformationalResponse):
            return None


async def talk(protocol: asyncio.Protocol, pieces: Iterable[bytes], turns: int = 12) -> Came:
    """Send pieces, each of which arrives alone; answers what has come when nothing more comes."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, far)
    data, is_closed = b"", False
    try:
        for piece in (*pieces, b""):
            try:
                near.sendall(piece)
            except OSError:
                is_closed = True
            quiet = 0
            while quiet < (3 if piece else turns) and not is_closed:
                await asyncio.sleep(0)
                quiet += 1
                try:
                    received = near.recv(1_000_000)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    received = b""
                quiet, data = 0, data + received
                is_closed = not received
        return Came(data, is_closed)
    finally:
        near.close()
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
