"""Signed requests as bytes, and one connection that sends them and reads what is answered."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlencode

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret

__all__ = ["Closed", "Key", "Link", "Reply", "signed"]

_JSON: Final = {"states": "AWSStepFunctions", "events": "AWSEvents"}


@dataclass(frozen=True, slots=True)
class Key:
    """What a caller signs with."""

    id: str
    secret: Secret
    token: Secret | None = None


def signed(
    key: Key,
    operation: str,
    members: Mapping[str, Any],
    *,
    service: str = "states",
    at: float | None = None,
    headers: Mapping[str, str] | None = None,
    line: bytes = b"POST / HTTP/1.1",
) -> bytes:
    """A whole request; `at` is the time of its signature, `headers` are not signed."""
    if service == "sts":
        form = {"Action": operation, "Version": "2011-06-15", **members}
        body = urlencode(form).encode()
        named = (b"content-type", b"application/x-www-form-urlencoded")
    else:
        body = json.dumps(members).encode()
        named = (b"x-amz-target", f"{_JSON[service]}.{operation}".encode())
    fields = sigv4.sign(
        SignedRequest("POST", "/", "", [(b"host", b"localhost"), named], body),
        access_key_id=key.id,
        secret=key.secret,
        token=key.token,
        region="us-east-1",
        service=service,
        now=time.time() if at is None else at,
    )
    fields += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    fields.append((b"content-length", str(len(body)).encode()))
    head = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    return b"%b\r\n%b\r\n%b" % (line, head, body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `error` is AWS's code, empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    _document: list[Any] = field(default_factory=list, repr=False)

    @property
    def error(self) -> str:
        return self.headers.get("x-amzn-errortype", "")

    @property
    def document(self) -> Any:
        if not self._document:
            self._document.append(json.loads(self.body))
        return self._document[0]

    @property
    def outcome(self) -> str:
        """Status and error, or how the execution ended."""
        if self.error or self.status != 200:
            return f"{self.status} {self.error}".strip()
        if not self.body.startswith(b'{"'):
            return "200"
        status, error = self.document.get("status"), self.document.get("error")
        return " ".join(filter(None, ["200", status, error]))


class Closed(Exception):
    """The server closed the connection before an answer was whole."""


class Link:
    """A connection to the server; TLS unless it is raw."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.answers = 0

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None) -> Self:
        """Raises `Closed` where the server does not take it."""
        try:
            name = "localhost" if tls else None
            return cls(
                *await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
            )
        except OSError as error:
            raise Closed(f"not opened: {error}") from None

    async def send(self, content: bytes) -> None:
        try:
            self.writer.write(content)
            await self.writer.drain()
        except OSError as error:
            raise Closed(f"while it was sent to: {error}") from None

    async def reply(self) -> Reply:
        """The next answer, after any 100."""
        try:
            status, headers = await self._head()
            while status == 100:
                status, headers = await self._head()
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Closed(f"before the answer was whole: {type(error).__name__}") from None
        self.answers += 1
        return Reply(status, headers, body)

    async def _head(self) -> tuple[int, dict[str, str]]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").splitlines()[:-1]
        pairs = (line.partition(": ") for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        taken = bytearray()
        with suppress(OSError, ValueError):
            while piece := await self._reader.read(65_536):
                taken += piece
        return bytes(taken)

    async def some(self) -> bytes:
        """What comes next, at most a few bytes; none where the server closes."""
        try:
            return await self._reader.read(16)
        except OSError:
            return b""

    def drop(self) -> None:
        """Reset the connection, as a process does that dies."""
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()
