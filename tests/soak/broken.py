"""Habits of clients that die, crawl or babble, in every phase of a connection."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Final

from tests.security import http1, request_of
from tests.soak.client import Client, habit
from tests.soak.ledger import Broken
from tests.soak.wire import Closed, signed

from stepout.api.http.bounds import Bounds

_BOUNDS: Final = Bounds()

_SLACK: Final = 15.0
"""Seconds that a busy machine may take on top of a bound."""

_UNREAD: Final = 60
"""Answers of half a megabyte: more than the buffers between two processes hold."""

_INVALID: Final = [request_of(path) for path in http1("invalid")]
"""Published requests that no server may take; none where the suite is not beside the repository."""


def _request(client: Client, machine: str = "pass", source: object = None) -> bytes:
    arn = client.world.machine(machine)
    members = {"stateMachineArn": arn, "input": json.dumps(source)}
    return signed(client.app, "StartSyncExecution", members)


def _hello(client: Client) -> bytes:
    """The first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client.world.tls.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def _until_closed(client: Client, *start: bytes, raw: bool = False) -> str:
    """Send something and wait until the server ends the connection; what it says first."""
    said = b""
    async with client.fresh(raw=raw) as link:
        with suppress(Closed):
            for piece in start:
                await link.send(piece)
            said = await link.rest()
    status = said[:12].decode("latin-1") if said.startswith(b"HTTP/") else "closed"
    return "closed" if status == "HTTP/1.1 503" and client.may_be_closed else status


# --- Who dies -------------------------------------------------------------------------------------


@habit("broken", 4)
async def die_before_TLS(client: Client) -> str:  # noqa: N802 — a word of the table
    async with client.fresh(raw=True):
        return "died"


@habit("broken", 4)
async def die_in_handshake(client: Client) -> str:
    hello = _hello(client)
    async with client.fresh(raw=True) as link:
        await link.send(hello[: client.random.randrange(1, len(hello) + 1)])
        if client.random.random() < 0.5:
            await link.some()
        return "died"


@habit("broken", 6)
async def die_in_head_or_body(client: Client) -> str:
    request = _request(client, source="x" * 2_000)
    async with client.fresh() as link:
        await link.send(request[: client.random.randrange(1, len(request))])
        return "died"


@habit("broken", 6)
async def die_waiting(client: Client) -> str:
    machine = client.random.choice(["wait", "pass", "jsonata", "map"])
    async with client.fresh() as link:
        await link.send(_request(client, machine))
        await asyncio.sleep(client.random.random() / 10)
        return "died"


@habit("broken", 6)
async def die_reading(client: Client) -> str:
    async with client.fresh() as link:
        await link.send(_request(client, source="x" * 200_000))
        await link.some()
        return "died"


@habit("broken", 2)
async def die_politely(client: Client) -> str:
    """TLS's farewell in the middle of a request."""
    async with client.fresh() as link:
        await link.send(_request(client, "wait")[:-1])
        link.close()
        return "died"


# --- Who crawls -----------------------------------------------------------------------------------


@habit("slow", 2, _BOUNDS.handshake_seconds + _SLACK)
async def no_handshake(client: Client) -> str:
    start = [_hello(client)[:-1]] if client.random.random() < 0.5 else []
    return await _until_closed(client, *start, raw=True)


@habit("slow", 2, _BOUNDS.head_seconds + _SLACK)
async def slow_head(client: Client) -> str:
    request = _request(client)
    async with client.fresh() as link:
        try:
            for byte in request:
                await link.send(bytes([byte]))
                if await _is_answered(link.some(), 0.5):
                    return "408 or closed"
        except Closed:
            return "408 or closed"
        raise Broken("a head was taken that came byte by byte.")


async def _is_answered(reading: object, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reading  # type: ignore[misc] # a coroutine
    except TimeoutError:
        return False
    return True


@habit("slow", 2, _BOUNDS.pause_seconds + _SLACK)
async def half_a_body(client: Client) -> str:
    return await _until_closed(client, _request(client, source="x" * 100)[:-50])


@habit("slow", 1, _BOUNDS.idle_seconds + _SLACK)
async def silence(client: Client) -> str:
    return await _until_closed(client)


@habit("slow", 1, 2 * _BOUNDS.write_seconds + 2 * _SLACK)
async def never_read(client: Client) -> str:
    """Answers wait for a client that takes nothing; it is cut off, and its memory is free again."""
    async with client.fresh() as link:
        request = _request(client, source="x" * 260_000)
        with suppress(Closed, TimeoutError):
            async with asyncio.timeout(_BOUNDS.write_seconds + _SLACK):
                for _ in range(_UNREAD):
                    await link.send(request)
                await asyncio.sleep(_BOUNDS.write_seconds + _SLACK)
        # An answer has the input and the output.
        if len(await link.rest()) >= _UNREAD * 2 * 260_000:
            raise Broken("a client that read nothing got everything.")
        return "cut off"


@habit("slow", 2, 60.0)
async def slow_reader(client: Client) -> str:
    """Takes its answer in pieces, and gets it whole."""
    async with client.fresh() as link:
        await link.send(_request(client, source="x" * 260_000))
        await asyncio.sleep(client.random.random() * 8)
        # 503: the connection was one too many when it came, which it reads only now.
        return client.expect(await link.reply(), "200 SUCCEEDED", "503 ServiceUnavailable")


# --- Who babbles ----------------------------------------------------------------------------------


@habit("broken", 3)
async def pipeline(client: Client) -> str:
    """Requests sent in one piece are answered in their order."""
    count = client.random.randrange(2, 9)
    async with client.fresh() as link:
        await link.send(b"".join(_request(client, source=number) for number in range(count)))
        for number in range(count):
            reply = await link.reply()
            client.check(reply)
            outcome = client.expect(reply, "200 SUCCEEDED")
            if outcome == "200 SUCCEEDED" and reply.document["output"] != str(number):
                raise Broken("answers came in another order.")
        return f"{count} answers"


@habit("broken", 2)
async def pipeline_and_die(client: Client) -> str:
    async with client.fresh() as link:
        await link.send(b"".join(_request(client, source="x" * 9_000) for _ in range(60)))
        return "died"


@habit("broken", 3, _BOUNDS.handshake_seconds + _SLACK)
async def garbage_for_TLS(client: Client) -> str:  # noqa: N802 — a word of the table
    return await _until_closed(client, client.random.randbytes(400), raw=True)


@habit("broken", 3, _BOUNDS.head_seconds + _SLACK)
async def garbage_in_TLS(client: Client) -> str:  # noqa: N802 — a word of the table
    outcome = await _until_closed(client, client.random.randbytes(400))
    # 503: there were too many connections, before anything was read.
    if outcome not in ("closed", *(f"HTTP/1.1 {status}" for status in (400, 408, 503))):
        raise Broken(f"garbage was answered with {outcome}.")
    return outcome


@habit("broken", 3, _BOUNDS.head_seconds + _SLACK)
async def plain_HTTP(client: Client) -> str:  # noqa: N802 — a word of the table
    return await _until_closed(client, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", raw=True)


# Where the rest of a request is missing, one time after the other may have to pass.
@habit("broken", 8, _BOUNDS.head_seconds + 2 * _BOUNDS.pause_seconds + _BOUNDS.idle_seconds)
async def invalid_HTTP(client: Client) -> str:  # noqa: N802 — a word of the table
    if not _INVALID:
        return "no suite"
    outcome = await _until_closed(client, client.random.choice(_INVALID))
    if outcome.startswith(("HTTP/1.1 2", "HTTP/1.1 500")):
        raise Broken(f"an invalid request was answered with {outcome}.")
    return outcome


@habit("broken", 2)
async def large_head(client: Client) -> str:
    field = b"x-filler: " + b"h" * 6_000 + b"\r\n"
    request = _request(client)
    start, rest = request[:17], request[17:]
    outcome = await _until_closed(client, start, *[field] * 12, rest)
    if outcome not in ("closed", *(f"HTTP/1.1 {status}" for status in (400, 431, 503))):
        raise Broken(f"a head of 72 kB was answered with {outcome}.")
    return outcome
