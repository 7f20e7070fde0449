"""Connections of the front: bounds, times, order, departure and failure, on both event loops."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.api.fronts import PATIENT, Door, close, error_of, get, opened, post, until

from stepout.api.http import Connection, Shared
from stepout.api.http.bounds import Bounds
from stepout.api.http.states import CLOSING, IDLE, LINGERING, MOVES

SOON = 0.02


async def test_a_body_that_says_it_is_too_large_is_refused_at_once() -> None:
    async with opened(replace(PATIENT, body=1_000)) as door:
        reader, writer = await door.dial()
        writer.write(post(1_001))
        data = await reader.read()
        assert error_of(data) == (413, "RequestEntityTooLargeException")
        assert door.desk.calls == []
        await close(writer)


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """Closing at once would reset the connection, and with it the answer."""
    async with opened(replace(PATIENT, body=1_000)) as door:
        data = await door.ask(post(2_000_000), b"x" * 2_000_000)
        assert error_of(data) == (413, "RequestEntityTooLargeException")


async def test_a_chunked_body_is_refused_when_it_has_become_too_large() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with opened(replace(PATIENT, body=1_000)) as door:
        data = await door.ask(head, *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 11)
        assert error_of(data) == (413, "RequestEntityTooLargeException")
        assert door.desk.calls == []


async def test_a_client_that_waits_to_be_asked_is_asked() -> None:
    async with opened() as door:
        reader, writer = await door.dial()
        writer.write(post(2, fields=b"Expect: 100-continue\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.readuntil(b"aa")).startswith(b"HTTP/1.1 200 OK")
        await close(writer)


async def test_a_client_that_waits_to_be_asked_is_not_asked_for_too_much() -> None:
    async with opened(replace(PATIENT, body=1)) as door:
        data = await door.ask(post(2, fields=b"Expect: 100-continue\r\n"))
        assert error_of(data) == (413, "RequestEntityTooLargeException")


# --- Times ----------------------------------------------------------------------------------------


async def drip(door: Door, first: bytes, again: bytes) -> bytes:
    """Send some bytes, then others again and again until the server closes."""
    reader, writer = await door.dial()
    writer.write(first)
    reading = asyncio.ensure_future(reader.read())
    while not reading.done():
        writer.write(again)
        await asyncio.sleep(0.001)
    await close(writer)
    return reading.result()


async def test_a_head_that_drips_is_refused() -> None:
    async with opened(replace(PATIENT, head_seconds=SOON)) as door:
        data = await drip(door, b"GET / HTTP/1.1\r\nX: ", b"a")
        assert error_of(data) == (408, "RequestTimeout")
        assert door.desk.calls == []


async def test_a_body_that_pauses_is_refused() -> None:
    async with opened(replace(PATIENT, pause_seconds=SOON)) as door:
        assert error_of(await door.ask(post(10, b"x"))) == (408, "RequestTimeout")
        assert door.desk.calls == []


async def test_a_body_that_drips_is_refused() -> None:
    async with opened(replace(PATIENT, body_seconds=SOON)) as door:
        assert error_of(await drip(door, post(1_000_000), b"x")) == (408, "RequestTimeout")
        assert door.desk.calls == []


@pytest.mark.parametrize("first", [b"", get("/")])
async def test_an_idle_connection_is_closed_without_a_word(first: bytes) -> None:
    async with opened(replace(PATIENT, idle_seconds=SOON)) as door:
        data = await door.ask(first)
        assert data.count(b"HTTP/1.1") == (1 if first else 0)


async def test_an_app_may_take_its_time() -> None:
    hasty = replace(PATIENT, idle_seconds=0, head_seconds=0, pause_seconds=0, write_seconds=0)
    async with opened(hasty) as door:
        reader, writer = await door.dial()
        writer.write(get("/held"))
        await until(lambda: door.desk.calls)
        await asyncio.sleep(5 * PATIENT.tick_seconds)
        door.desk.is_open.set()
        assert (await reader.readuntil(b"aa")).startswith(b"HTTP/1.1 200 OK")
        await close(writer)


def deaf(door: Door) -> socket.socket:
    """A client that has room for little and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", door.port))
    return client


async def test_a_client_that_never_reads_is_cut_off() -> None:
    async with opened(replace(PATIENT, write_seconds=SOON)) as door:
        door.desk.size = 16_000_000
        with deaf(door) as client:
            client.sendall(get("/"))
            await until(lambda: door.desk.ends)
            await until(lambda: not door.connections)


async def test_a_client_that_reads_slowly_is_not_cut_off() -> None:
    async with opened() as door:
        door.desk.size = 16_000_000
        with deaf(door) as client:
            client.sendall(get("/"))
            await until(lambda: door.connections and door.connections[0]._unsent)
            (connection,) = door.connections
            before, taken = connection._unsent, 0
            while connection._transport.get_write_buffer_size() == before:
                taken += len(client.recv(65_536))
                await asyncio.sleep(0)
            connection.expire()
            assert 0 < connection._unsent < before
            assert door.connections == [connection]
            connection.expire()
            await until(lambda: not door.connections)


async def test_a_client_that_never_reads_cannot_keep_a_closing_connection() -> None:
    async with opened(replace(PATIENT, write_seconds=SOON)) as door:
        door.desk.size = 60_000
        with deaf(door) as client:
            for _ in range(200):
                # Each answer is below the mark at which writing has to wait.
                try:
                    client.sendall(get("/", b"Connection: close\r\n"))
                except OSError:
                    break
            await until(lambda: not door.connections)


# --- One request at a time ------------------------------------------------------------------------


async def test_requests_on_one_connection_are_answered_in_turn() -> None:
    async with opened() as door:
        reader, writer = await door.dial()
        writer.write(get("/held") + get("/b") + post(1, b"x") + get("/c", b"Connection: close\r\n"))
        await until(lambda: door.desk.calls)
        await asyncio.sleep(0.01)
        assert door.desk.calls == ["/held"]
        door.desk.is_open.set()
        assert (await reader.read()).count(b"HTTP/1.1 200") == 4
        assert door.desk.calls == ["/held", "/b", "/", "/c"]
        await close(writer)


async def test_a_client_cannot_send_ahead_more_than_one_read() -> None:
    async with opened() as door:
        reader, writer = await door.dial()
        many = 20_000
        writer.write(get("/held"))
        await until(lambda: door.desk.calls)
        writer.write(get("/b") * many + get("/c", b"Connection: close\r\n"))
        await until(lambda: door.connections[0]._held)
        for _ in range(100):
            await asyncio.sleep(0)
        (connection,) = door.connections
        assert len(connection._held) <= 262_144
        assert not connection._transport.is_reading()
        door.desk.is_open.set()
        counted = 0
        while data := await reader.read(1_000_000):
            counted += data.count(b"HTTP")
        assert counted == many + 2
        await close(writer)


async def test_one_read_of_requests_is_no_pile_of_objects() -> None:
    """What is held is held as bytes."""
    async with opened() as door:
        _, writer = await door.dial()
        writer.write(get("/held") + get("/b") * 1_000)
        await until(lambda: door.desk.calls)
        (connection,) = door.connections
        assert connection._incoming.phase is IDLE
        assert len(door.desk.calls) == 1
        door.desk.is_open.set()
        await close(writer)


# --- Departure and failure ------------------------------------------------------------------------


async def test_a_request_that_is_cancelled_leaves_no_connection_behind() -> None:
    """It would be open for good: nothing bounds how long an app may take."""
    async with opened() as door:
        reader, writer = await door.dial()
        writer.write(get("/held"))
        await until(lambda: door.desk.calls)
        task = door.connections[0]._task
        assert task is not None
        task.cancel()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        await close(writer)
        await until(lambda: not door.connections)


async def test_the_app_hears_that_the_client_is_gone() -> None:
    async with opened() as door:
        _, writer = await door.dial()
        writer.write(get("/until-gone"))
        await until(lambda: door.desk.calls)
        await close(writer)
        await until(lambda: door.desk.ends == ["gone"])


async def test_an_answer_to_a_client_that_is_gone_is_dropped() -> None:
    async with opened() as door:
        _, writer = await door.dial()
        writer.write(get("/held"))
        await until(lambda: door.desk.calls)
        await close(writer)
        await until(lambda: not door.connections)
        door.desk.is_open.set()
        await until(lambda: door.desk.ends == ["answered"])


@pytest.mark.parametrize("path", ["/broken", "/silent", "/begun", "/injected"])
async def test_a_bug_of_the_app_is_told_and_logged_once(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as door:
        assert error_of(await door.ask(get(path))) == (500, "InternalFailure")
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert (await door.ask(get("/", b"Connection: close\r\n"))).startswith(b"HTTP/1.1 200")


async def test_a_bug_behind_an_answer_does_not_harm_it(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as door:
        assert (await door.ask(get("/late"))).endswith(b"\r\n\r\naa")
        assert "broken behind" in caplog.text


async def test_half_an_answer_is_cut_off_and_does_not_look_whole() -> None:
    async with opened() as door:
        reader, writer = await door.dial()
        writer.write(get("/half"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1_000)
        await close(writer)


async def test_a_refusal_waits_for_the_answer_before_it() -> None:
    async with opened() as door:
        data = await door.ask(get("/b") + b"nonsense\r\n\r\n")
        first, second = data.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200")
        assert error_of(b"HTTP/1.1 " + second) == (400, "InvalidRequest")


async def test_a_client_that_does_not_hear_a_refusal_is_left_after_a_while() -> None:
    async with opened(replace(PATIENT, linger_seconds=SOON)) as door:
        reader, writer = await door.dial()
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        await until(lambda: not door.connections)
        await close(writer)


def test_every_state_can_be_left_and_none_be_entered_out_of_turn() -> None:
    reached = {state for states in MOVES.values() for state in states}
    assert reached == {*MOVES} - {"opening"}
    assert all(CLOSING in states for states in MOVES.values())

    async def illegal() -> None:
        connection = Connection(Shared(None, Bounds(), "http"), lambda _: None)  # type: ignore[arg-type] # never called
        connection.state = LINGERING
        with pytest.raises(RuntimeError, match="cannot move from lingering to idle"):
            connection._move(IDLE)

    asyncio.run(illegal())
