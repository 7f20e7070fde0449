"""The front: listening, the bound on connections, TLS, the shutdown, and what is left of it all."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.api.fronts import PATIENT, Desk, Door, close, error_of, get, opened, post, until

from stepout.api.front import Front, listen
from stepout.api.http.bounds import OVERFLOW
from stepout.certificates import Authority
from stepout.errors import SettingsError

SOON = 0.02
LAST = get("/", b"Connection: close\r\n")

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def busy(door: Door, count: int) -> list[Stream]:
    """Connections whose request is held back by the app."""
    before = len(door.desk.calls)
    streams = [await door.dial() for _ in range(count)]
    for _, writer in streams:
        writer.write(get("/held"))
    await until(lambda: len(door.desk.calls) == before + count)
    return streams


async def idle(door: Door, count: int) -> list[Stream]:
    before = len(door.connections)
    streams = [await door.dial() for _ in range(count)]
    await until(lambda: sum(c.is_idle for c in door.connections[before:]) == count)
    return streams


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Without this a call in two writes costs 40 ms (Nagle and delayed acknowledgements)."""
    async with opened() as door:
        _, writer = await door.dial()
        await until(lambda: door.connections and door.connections[0].is_idle)
        peer: socket.socket = door.connections[0]._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await close(writer)


async def test_the_date_is_renewed() -> None:
    async with opened() as door:
        door.front._shared.date = b"date: long ago\r\n"
        await until(lambda: door.front._shared.date.endswith(b" GMT\r\n"))
        assert b"\r\n" + door.front._shared.date in await door.ask(LAST)


async def test_a_unix_socket_is_served_as_well(tmp_path: Path) -> None:
    calls: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append((scope["client"], scope["server"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    assert listener.getblocking()
    front = Front(app, None)
    await front.start([listener])
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(LAST)
    assert (await reader.read()).startswith(b"HTTP/1.1 204")
    assert calls == [(None, None)]
    await close(writer)
    await front.stop()


async def test_a_socket_that_was_handed_over_does_not_hold_up_the_loop() -> None:
    """Made elsewhere, inside a network namespace for one, it blocks."""
    listener = socket.create_server(("127.0.0.1", 0))
    front = Front(Desk(), None)
    await front.start([listener])
    # Looked at before the first accept, which would not come back.
    is_blocking = listener.getblocking()
    listener.setblocking(False)
    await front.stop()
    assert not is_blocking


async def test_the_slowest_make_room_for_requests_that_are_not_whole() -> None:
    """Whoever reaches the port could else fill the memory, without a key."""
    async with opened(replace(PATIENT, unfinished=3_000)) as door:
        unfinished = door.front._shared.unfinished
        slow: list[Stream] = []
        while len(slow) < 3:
            slow.append(await door.dial())
            slow[-1][1].write(post(2_000, b"x" * 900))
            await until(lambda: len(unfinished) == len(slow))
        late, writer = await door.dial()
        writer.write(post(2_000, b"x" * 1_000))
        assert error_of(await slow[0][0].read()) == (503, "ServiceUnavailable")
        writer.write(b"x" * 1_000)
        assert (await late.readuntil(b"aa")).startswith(b"HTTP/1.1 200")
        assert b" 200 " in await door.ask(post(2, b"ab", b"Connection: close\r\n"))
        await close(writer, *(writer for _, writer in slow))
        await until(lambda: not door.connections)
        assert door.front._shared.held == 0
        assert not unfinished


# --- The bound ------------------------------------------------------------------------------------


async def test_who_is_idle_makes_room() -> None:
    async with opened(replace(PATIENT, connections=3)) as door:
        (working,) = await busy(door, 1)
        first, second = await idle(door, 2)
        assert (await door.ask(LAST)).startswith(b"HTTP/1.1 200")
        assert await first[0].read() == b""
        second[1].write(LAST)
        assert (await second[0].read()).startswith(b"HTTP/1.1 200")
        door.desk.is_open.set()
        await close(working[1], first[1], second[1])


async def test_at_the_bound_a_client_is_told_to_come_again() -> None:
    async with opened(replace(PATIENT, connections=2)) as door:
        streams = await busy(door, 2)
        assert error_of(await door.ask()) == (503, "ServiceUnavailable")
        assert error_of(await door.ask(post(3, b"abc"))) == (503, "ServiceUnavailable")
        door.desk.is_open.set()
        for reader, _ in streams:
            assert (await reader.readuntil(b"aa")).startswith(b"HTTP/1.1 200")
        assert (await door.ask(LAST)).startswith(b"HTTP/1.1 200")
        await close(*(writer for _, writer in streams))


async def test_far_beyond_the_bound_a_client_is_told_nothing() -> None:
    async with opened(
        replace(PATIENT, connections=1, linger_seconds=60, stop_seconds=SOON)
    ) as door:
        streams = await busy(door, 1)
        told = [await door.dial() for _ in range(OVERFLOW)]
        await until(lambda: len(door.connections) == OVERFLOW + 1)
        assert await door.ask() == b""
        assert len(door.connections) == OVERFLOW + 1
        for reader, _ in told:
            assert error_of(await reader.read()) == (503, "ServiceUnavailable")
        door.desk.is_open.set()
        await close(*(writer for _, writer in (*streams, *told)))


async def test_one_address_may_be_bound_for_itself() -> None:
    async with opened(replace(PATIENT, per_address=2)) as door:
        streams = await busy(door, 2)
        assert error_of(await door.ask()) == (503, "ServiceUnavailable")
        other = await door.dial(local_addr=("127.0.0.2", 0))
        other[1].write(LAST)
        assert (await other[0].read()).startswith(b"HTTP/1.1 200")
        door.desk.is_open.set()
        for reader, _ in streams:
            await reader.readuntil(b"aa")
        assert (await door.ask(LAST)).startswith(b"HTTP/1.1 200")
        await close(other[1], *(writer for _, writer in streams))


async def test_two_thousand_idle_connections_are_cheap_and_keep_nobody_out() -> None:
    count = 2_000
    async with opened() as door:
        before = _resident()
        clients = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(10)]
        try:
            while len(clients) < count:
                clients.append(socket.create_connection(("127.0.0.1", door.port)))
                if len(clients) % 100 == 0:
                    await until(lambda: len(door.connections) == len(clients))
            assert (_resident() - before) / count < 24_000
            assert (await door.ask(LAST)).startswith(b"HTTP/1.1 200")
        finally:
            for client in clients:
                client.close()
        await until(lambda: not door.connections)


def _resident() -> int:
    """Bytes of memory of this process, the sockets of its clients included."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096
    except FileNotFoundError:
        return 0


async def test_a_failing_accept_does_not_end_accepting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when no descriptors are left."""
    async with opened() as door:
        streams = await idle(door, 1)
        spent: list[socket.socket] = []
        limit = pytest.importorskip("resource")
        soft, hard = limit.getrlimit(limit.RLIMIT_NOFILE)
        client = socket.socket()
        try:
            highest = client.fileno()
            limit.setrlimit(limit.RLIMIT_NOFILE, (highest + 1, hard))
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", door.port))
            caplog.set_level("WARNING", "stepout.front")
            await until(lambda: "not accepted" in caplog.text)
            assert await streams[0][0].read() == b""
        finally:
            limit.setrlimit(limit.RLIMIT_NOFILE, (soft, hard))
            client.close()
            for one in spent:
                one.close()
        assert (await door.ask(LAST)).startswith(b"HTTP/1.1 200")
        await close(streams[0][1])


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server, and of clients that believe it."""
    authority = Authority.create("test")
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    return authority.server_context("a"), client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def test_tls_is_served(contexts: Contexts) -> None:
    async with opened(replace(PATIENT, linger_seconds=SOON), *contexts) as door:
        reader, writer = await door.dial()
        for _ in range(2):
            writer.write(post(3, b"abc"))
            assert (await reader.readuntil(b"aa")).startswith(b"HTTP/1.1 200")
        writer.write(b"nonsense\r\n\r\n")
        assert error_of(await reader.read()) == (400, "InvalidRequest")
        await close(writer)


async def test_a_refusal_over_tls_reaches_a_client_that_is_still_sending(
    contexts: Contexts,
) -> None:
    async with opened(replace(PATIENT, body=1_000), *contexts) as door:
        reader, writer = await door.dial()
        writer.write(post(2_000_000))
        writer.write(b"x" * 2_000_000)
        data = b""
        while not data.endswith(b"}"):
            data += await reader.read(65_536)
        assert error_of(data) == (413, "RequestEntityTooLargeException")
        await close(writer)


async def test_a_handshake_has_its_time_and_counts(contexts: Contexts) -> None:
    bounds = replace(PATIENT, connections=1, handshake_seconds=SOON)
    async with opened(bounds, *contexts) as door:
        with socket.create_connection(("127.0.0.1", door.port)):
            await until(lambda: door.connections)
            await until(lambda: not door.connections)
        reader, writer = await door.dial()
        writer.write(LAST)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        await close(writer)


@pytest.mark.parametrize("data", [LAST, b"\x16\x03\x01\x00\x02ab", b"\0" * 100])
async def test_what_is_not_tls_is_closed(contexts: Contexts, data: bytes) -> None:
    async with opened(replace(PATIENT, handshake_seconds=SOON), contexts[0]) as door:
        assert not (await door.ask(data)).startswith(b"HTTP")
        assert door.desk.calls == []


async def test_a_handshake_under_way_does_not_hold_up_the_shutdown(contexts: Contexts) -> None:
    async with opened(PATIENT, *contexts) as door:
        with socket.create_connection(("127.0.0.1", door.port)):
            await until(lambda: door.connections)
            await door.front.stop()


async def test_a_connection_that_has_just_been_accepted_does_not_hold_up_the_shutdown() -> None:
    async with opened() as door:
        near, far = socket.socketpair()
        far.setblocking(False)
        with near:
            door.front._admit(far, "")
            await door.front.stop()
            assert near.recv(1) == b""


# --- The shutdown ---------------------------------------------------------------------------------


async def test_a_stop_closes_idle_connections_and_the_listener() -> None:
    async with opened() as door:
        streams = await idle(door, 2)
        streams[1][1].write(b"POST / HT")
        await until(lambda: not door.connections[1].is_idle)
        await door.front.stop()
        for reader, writer in streams:
            assert await reader.read() == b""
            await close(writer)
        with pytest.raises(OSError):  # noqa: PT011 — refused or reset, by system
            await door.dial()


async def test_a_stop_lets_an_answer_in_the_making_go_out() -> None:
    async with opened() as door:
        ((reader, writer),) = await busy(door, 1)
        stopping = asyncio.create_task(door.front.stop())
        await until(lambda: door.connections[0].is_draining)
        door.desk.is_open.set()
        data = await reader.read()
        assert data.startswith(b"HTTP/1.1 200")
        assert b"connection: close\r\n" in data
        await stopping
        await close(writer)


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with opened(replace(PATIENT, stop_seconds=SOON)) as door:
        ((reader, writer),) = await busy(door, 1)
        await door.front.stop()
        assert door.desk.ends == ["cancelled"]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        await close(writer)


async def test_nothing_of_a_connection_stays_in_memory() -> None:
    kept: list[weakref.ref[Any]] = []
    async with opened(replace(PATIENT, body=10, linger_seconds=SOON)) as door:
        for pieces in (
            [LAST],
            [b"nonsense\r\n\r\n"],
            [post(100)],
            [get("/b"), LAST],
            [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        ):
            reader, writer = await door.dial()
            await until(lambda: door.connections)
            kept += [weakref.ref(c._incoming) for c in door.connections]
            writer.writelines(pieces)
            assert await reader.read()
            await close(writer)
            await until(lambda: not door.connections)
    gc.collect()
    assert kept
    assert [reference() for reference in kept if reference() is not None] == []


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1"])
def test_an_address_that_is_not_here_is_a_clear_error(host: str) -> None:
    with pytest.raises(SettingsError, match="The server cannot listen on"):
        listen(host, 0)
