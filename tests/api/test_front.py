"""The HTTP front on plain asyncio: what uvicorn leaves to us."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stepout.api.front import Front, listen
from stepout.errors import SettingsError


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
async def front() -> AsyncIterator[tuple[Front, int]]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    running = Front(app, None)
    await running.start([listener])
    yield running, port
    await running.stop()


async def test_answers_do_not_wait_for_acknowledgements(front: tuple[Front, int]) -> None:
    """Without this each call costs 40 ms on plain asyncio (Nagle and delayed acknowledgements)."""
    running, port = front
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    (protocol,) = running._server.server_state.connections
    peer: socket.socket = protocol.transport.get_extra_info("socket")
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()


async def test_a_head_may_come_in_pieces_up_to_its_limit(front: tuple[Front, int]) -> None:
    _, port = front
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n")
    for _ in range(100):
        writer.write(b"X-Y: " + b"z" * 500 + b"\r\n")
        await writer.drain()
    writer.write(b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_head_that_never_ends_is_cut_off(front: tuple[Front, int]) -> None:
    _, port = front
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n")
    for _ in range(200):
        writer.write(b"X-Y: " + b"z" * 500 + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_requests_on_one_connection_are_answered_in_turn(front: tuple[Front, int]) -> None:
    _, port = front
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while b"/b" not in received:
        received += await reader.read(1_000)
    assert received.index(b"/a") < received.index(b"/b")
    writer.close()


async def test_a_stop_closes_idle_connections() -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    running = Front(app, None)
    await running.start([listener])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await running.stop()
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError):  # noqa: PT011 — refused or reset, by system
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1"])
def test_an_address_that_is_not_here_is_a_clear_error(host: str) -> None:
    with pytest.raises(SettingsError, match="The server cannot listen on"):
        listen(host, 0)
