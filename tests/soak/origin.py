"""Origins that misbehave, each in its own way, and a name server that does, in one process.

Prints a JSON object: the ports by name. The first part of a URL's path says what becomes of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

from stepout.certificates import Authority, Leaf

__all__ = ["BAD_HOSTS", "GOOD_HOSTS", "PATHS"]

GOOD_HOSTS: Final = ("api.example.com", "auth.example.com")
BAD_HOSTS: Final = (
    *("silent", "garbage", "closes", "resets"),
    *("wrong-name", "expired", "untrusted", "refused"),
)
"""First labels of names below example.com; what is behind each is broken before any request."""

_Write: TypeAlias = asyncio.StreamWriter

_DRIP_SECONDS: Final = 0.25
_HANG_SECONDS: Final = 90.0


def _answer(body: bytes, head: str = "200 OK", fields: str = "") -> bytes:
    kind = "" if "content-type" in fields else "content-type: application/json\r\n"
    return f"HTTP/1.1 {head}\r\n{kind}{fields}content-length: {len(body)}\r\n\r\n".encode() + body


async def _ok(write: _Write) -> None:
    write.write(_answer(b'{"ok": true}'))


async def _token(write: _Write) -> None:
    write.write(_answer(b'{"access_token": "issued", "token_type": "bearer", "expires_in": 61}'))


async def _at_the_limit(write: _Write) -> None:
    write.write(_answer(json.dumps("y" * 200_000).encode()))


async def _huge(write: _Write) -> None:
    write.write(_answer(b"z" * 3_000_000))


async def _endless(write: _Write) -> None:
    write.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for _ in range(400):
        write.write(b"8000\r\n" + b"e" * 0x8000 + b"\r\n")
        await write.drain()


async def _partial(write: _Write) -> None:
    write.write(_answer(b'"part"', "206 Partial Content", "content-range: bytes 0-5/99\r\n"))


async def _hang(_write: _Write) -> None:
    await asyncio.sleep(_HANG_SECONDS)


async def _drip(write: _Write) -> None:
    for byte in _answer(b'{"slow": true}'):
        write.write(bytes([byte]))
        await write.drain()
        await asyncio.sleep(_DRIP_SECONDS)


async def _reset(write: _Write) -> None:
    write.transport.abort()


async def _early(write: _Write) -> None:
    write.write(_answer(b'{"whole": true}')[:-5])
    await write.drain()
    write.transport.abort()


async def _garbage(write: _Write) -> None:
    write.write(random.randbytes(700))


async def _bad_head(write: _Write) -> None:
    write.write(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n")


async def _many_headers(write: _Write) -> None:
    write.write(_answer(b"1", fields="x: y\r\n" * 1_000))


async def _two_lengths(write: _Write) -> None:
    write.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde")


async def _chatty(write: _Write) -> None:
    """More than one answer, as one that would poison a connection."""
    write.write(_answer(b'"first"') + _answer(b'"second"'))


async def _refusal(write: _Write) -> None:
    write.write(_answer(b'{"why": "no"}', "401 Unauthorized"))


async def _failure(write: _Write) -> None:
    write.write(_answer(b'{"why": "broken"}', "503 Service Unavailable"))


async def _redirect(write: _Write) -> None:
    write.write(_answer(b"", "302 Found", "location: http://169.254.169.254/\r\n"))


async def _gzip(write: _Write) -> None:
    write.write(_answer(b"\x1f\x8b\x08\x00broken", fields="content-encoding: gzip\r\n"))


PATHS: Final[dict[str, Callable[[_Write], Awaitable[None]]]] = {
    "ok": _ok,
    "token": _token,
    "limit": _at_the_limit,
    "huge": _huge,
    "endless": _endless,
    "partial": _partial,
    "hang": _hang,
    "drip": _drip,
    "reset": _reset,
    "early": _early,
    "garbage": _garbage,
    "bad-head": _bad_head,
    "many-headers": _many_headers,
    "two-lengths": _two_lengths,
    "chatty": _chatty,
    "refusal": _refusal,
    "failure": _failure,
    "redirect": _redirect,
    "gzip": _gzip,
}
"""First part of the path → what the origin does."""


async def _serve(reader: asyncio.StreamReader, write: _Write) -> None:
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lengths = [
                line[15:] for line in head.lower().split("\r\n") if line[:15] == "content-length:"
            ]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            path = head.split()[1].split("/")[1].partition("?")[0]
            await PATHS.get(path, _ok)(write)
            await write.drain()
            if PATHS.get(path) in (_garbage, _bad_head, _endless, _two_lengths, _hang):
                break
    write.close()


async def _silent(_reader: asyncio.StreamReader, write: _Write) -> None:
    await asyncio.sleep(_HANG_SECONDS)
    write.close()


async def _babble(_reader: asyncio.StreamReader, write: _Write) -> None:
    write.write(random.randbytes(300))
    write.close()


async def _close(_reader: asyncio.StreamReader, write: _Write) -> None:
    write.close()


async def _abort(reader: asyncio.StreamReader, write: _Write) -> None:
    await reader.read(1)
    write.transport.abort()


class Names(asyncio.DatagramProtocol):
    """A name server: each name below example.com is answered by its first label's habit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, data[13 : 13 + data[12]].decode("latin-1").partition("-")[0])
        if answer is not None:
            self._transport.sendto(answer, addr)  # type: ignore[attr-defined] # datagrams

    def _answer(self, asked: bytes, habit: str) -> bytes | None:
        question = asked[12 : asked.index(b"\0", 12) + 5]
        match habit:
            case "hang":
                return None
            case "babble":
                return random.randbytes(60)
            case "nobody":
                return asked[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question
        if question[-4:-2] != b"\0\1":
            return asked[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + question
        address = {"metadata": "169.254.169.254", "inner": "10.1.2.3"}.get(habit, "127.0.0.1")
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        return asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + record


def _tls(leaf: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.load_into(context)
    return context


async def main(directory: Path) -> None:
    authority = Authority.create("Origins of the soak")
    (directory / "origins.pem").write_bytes(authority.certificate_pem)
    other = Authority.create("Nobody's")
    contexts = {
        "good": _tls(authority.leaf(*GOOD_HOSTS, "*.example.com")),
        "wrong-name": _tls(authority.leaf("elsewhere.example.org")),
        "expired": _tls(authority.leaf("expired.example.com", lifetime=timedelta(minutes=-1))),
        "untrusted": _tls(other.leaf("untrusted.example.com")),
    }
    plain = {"silent": _silent, "garbage": _babble, "closes": _close, "resets": _abort}
    servers = {
        **{
            name: await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=tls, backlog=1_024)
            for name, tls in contexts.items()
        },
        **{
            name: await asyncio.start_server(habit, "127.0.0.1", 0, backlog=1_024)
            for name, habit in plain.items()
        },
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    refused = socket.create_server(("127.0.0.1", 0))
    ports["refused"] = refused.getsockname()[1]
    refused.close()
    names, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Names, local_addr=("127.0.0.1", 0)
    )
    ports["names"] = names.get_extra_info("sockname")[1]
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
