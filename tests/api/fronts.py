"""A front on a real socket, and clients that are as slow or as fast as a test wants."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepout.api.front import Front, listen
from stepout.api.http import Connection
from stepout.api.http.bounds import Bounds

HOST = b"Host: a\r\n"

PATIENT = Bounds(tick_seconds=0.005)
"""The usual times, looked at more often."""


def get(path: str, fields: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\n" % path.encode() + HOST + fields + b"\r\n"


def post(size: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    return (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % size + fields + b"\r\n" + body
    )


@dataclass(slots=True)
class Desk:
    """An app whose answers a test lets go out one by one."""

    calls: list[str] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    ends: list[str] = field(default_factory=list)
    """How calls ended: `answered`, `gone` or `cancelled`."""
    size: int = 2

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.calls.append(path)
        await receive()
        try:
            await self._answer(path, receive, send)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise

    async def _answer(self, path: str, receive: Any, send: Any) -> None:
        if path.startswith("/held"):
            await self.is_open.wait()
        if path == "/until-gone":
            assert (await receive())["type"] == "http.disconnect"
            self.ends.append("gone")
            return
        if path == "/broken":
            raise RuntimeError("broken")
        if path == "/silent":
            return
        fields = [(b"content-length", b"%d" % self.size)]
        if path == "/injected":
            fields.append((b"x", b"y\r\nz: a"))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        if path == "/begun":
            raise RuntimeError("broken before a byte is out")
        if path == "/half":
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            raise RuntimeError("broken in the middle")
        await send({"type": "http.response.body", "body": b"a" * self.size})
        assert (await receive())["type"] == "http.disconnect"
        if path == "/late":
            raise RuntimeError("broken behind the answer")
        self.ends.append("answered")


@dataclass(slots=True)
class Door:
    """A front that serves, and where."""

    front: Front
    desk: Desk
    port: int
    tls: ssl.SSLContext | None

    @property
    def connections(self) -> list[Connection]:
        return list(self.front._shared.connections)

    async def dial(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.tls, server_hostname="a" if self.tls else None, **more
        )

    async def ask(self, *pieces: bytes) -> bytes:
        """Send pieces on a connection of their own and read until the server closes."""
        reader, writer = await self.dial()
        for piece in pieces:
            writer.write(piece)
        async with asyncio.timeout(20):
            data = await reader.read()
        await close(writer)
        return data


async def close(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            continue


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 — nothing tells a test
            await asyncio.sleep(0.001)


def error_of(data: bytes) -> tuple[int, str]:
    """Status and `__type` of an error answer, whose shape is looked at."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    document = json.loads(body)
    assert b"content-type: application/x-amz-json-1.0" in lines
    assert b"connection: close" in lines
    assert b"x-amzn-errortype: " + document["__type"].encode() in lines
    assert b"content-length: %d" % len(body) in lines
    assert b"x-amzn-requestid: " in head
    assert document["message"]
    return int(lines[0].split()[1]), document["__type"]


@asynccontextmanager
async def opened(
    bounds: Bounds = PATIENT,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Door]:
    """A front for a test; when it has stopped, nothing of it may be left."""
    before = _sockets()
    listener = listen("127.0.0.1", 0)
    desk = Desk()
    door = Door(Front(desk, server_tls, bounds), desk, listener.getsockname()[1], client_tls)
    await door.front.start([listener])
    try:
        yield door
    finally:
        await door.front.stop()
    assert door.connections == []
    assert not door.front._shared.tasks
    assert not door.front._addresses
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    await until(lambda: _sockets() <= before)


def _sockets() -> int:
    """How many sockets this process has open; 0 where that cannot be told."""
    directory = Path("/proc/self/fd")
    links = map(_target, directory.iterdir() if directory.exists() else ())
    return sum(link.startswith("socket:") for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
