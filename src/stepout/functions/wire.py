"""HTTP/1.1 as the clients of the Runtime API speak it: one connection, one request at a time.

Every answer is one segment and Nagle's algorithm is off: head and body in two segments cost 40 ms
a call, because the client's kernel delays its acknowledgement of the first.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from stepout.functions.invocation import ANSWER_LIMIT

__all__ = ["Connection", "Request"]

HEAD_LIMIT: Final = 1_100_000
"""Bytes of a request's head: AWS's runtime client puts up to 1 MiB of X-Ray cause in a header."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `body` is None when it was over the limit and was thrown away."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    headers: Mapping[str, str]
    length: int


class _Malformed(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status = status
        super().__init__(message)


class Connection(asyncio.Protocol):
    """A connection of a runtime client: `serve` gets each request, `lost` is told of the end."""

    def __init__(
        self,
        serve: Callable[[Connection, Request], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._serve = serve
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()
        self._missing = 0
        self._is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection and turn Nagle's algorithm off."""
        self._transport = cast("asyncio.Transport", transport)
        # asyncio does so itself only where the listener names its protocol, and a listener that was
        # handed over from elsewhere need not.
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the server, so that it hands no work to a program that is gone."""
        del exc
        self._transport = None
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Collect bytes and serve each request when it is complete."""
        self._received += data
        try:
            self._advance()
        except _Malformed as error:
            self.refuse(error.status, "InvalidRequest", str(error))
            self.close()

    def answer(
        self, status: HTTPStatus, body: bytes, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Send an answer with a JSON body."""
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self._is_answering = False
        if self._transport is not None:
            self._transport.write("\r\n".join(lines).encode("latin-1") + body)

    def refuse(self, status: HTTPStatus, error_type: str, message: str) -> None:
        """Send an error in the shape that the Runtime API gives its own."""
        document = {"errorMessage": message, "errorType": error_type}
        self.answer(status, json.dumps(document).encode())

    def close(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        while not self._is_answering and (request := self._next_request()) is not None:
            self._is_answering = True
            self._serve(self, request)
        if self._head is None and len(self._received) > HEAD_LIMIT:
            raise _Malformed(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"A request's head may have {HEAD_LIMIT} bytes.",
            )

    def _next_request(self) -> Request | None:
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._head = _read_head(self._received[:end].decode("latin-1"))
            del self._received[: end + 4]
            self._missing = self._head.length
        return self._finish(self._head)

    def _finish(self, head: _Head) -> Request | None:
        part = self._received[: self._missing]
        del self._received[: len(part)]
        self._missing -= len(part)
        is_kept = head.length <= ANSWER_LIMIT
        if is_kept:
            self._body += part
        if self._missing:
            return None
        body = bytes(self._body) if is_kept else None
        self._head = None
        self._body.clear()
        return Request(head.method, head.path, head.headers, body)


def _read_head(text: str) -> _Head:
    request_line, *lines = text.split("\r\n")
    method, _, rest = request_line.partition(" ")
    path, _, version = rest.partition(" ")
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise _Malformed(HTTPStatus.BAD_REQUEST, "The first line is not an HTTP/1.1 request line.")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _Malformed(HTTPStatus.BAD_REQUEST, "A header line has no colon.")
        headers[name.lower()] = value.strip()
    return _Head(method, path, headers, _length(headers))


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise _Malformed(
            HTTPStatus.NOT_IMPLEMENTED, "Only bodies with a Content-Length are read here."
        )
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise _Malformed(HTTPStatus.BAD_REQUEST, "Content-Length is not a number of bytes.")
    return int(text)
