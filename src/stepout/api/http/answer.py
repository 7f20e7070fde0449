"""One answer on the wire: its head, how it is delimited, and what it still owes; without I/O.

    BEFORE ──begin()──▶ BEGUN ──first part──▶ SENDING ──last part──▶ ENDED

The head goes out with the first part, so that a whole answer is one write. How the end is told
(RFC 9112, 6.3), the first row that fits:

    HEAD, 204, 304                   by nothing: there is no body
    the app gave Content-Length      by that, and the app is held to it
    the first part is the last       by Content-Length, which is known then
    HTTP/1.1                         by chunks
    HTTP/1.0                         by the end of the connection
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from stepout.api import faults
from stepout.api.http.head import Field
from stepout.api.ids import new_uuid
from stepout.errors import ServiceError

__all__ = ["CONTINUE", "Answer", "error_answer"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

BEFORE: Final = "before"
BEGUN: Final = "begun"
SENDING: Final = "sending"
ENDED: Final = "ended"

_STATUS: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}

_BODILESS: Final = frozenset({204, 304})

_CLOSE: Final = b"connection: close\r\n"

_KEEP: Final = b"connection: keep-alive\r\n"


class Answer:
    """The answer to one request."""

    __slots__ = (
        "_fields",
        "_is_chunked",
        "_is_head",
        "_owed",
        "_status",
        "_version",
        "closes",
        "method",
        "state",
    )

    def __init__(self, method: str, version: str, closes: bool) -> None:  # noqa: FBT001 — one caller
        self.method = method
        self._is_head = method == "HEAD"
        self._version = version
        self.closes = closes
        """Whether the connection ends with this answer. Known for good when the head is out."""
        self.state = BEFORE
        self._owed: int | None = None
        """Bytes until the app's own Content-Length."""
        self._is_chunked = False

    def begin(self, status: int, fields: Iterable[Field]) -> None:
        if self.state is not BEFORE:
            raise RuntimeError("The app began an answer twice.")
        self._status, self._fields = status, fields
        self.state = BEGUN

    def part(self, body: bytes, is_last: bool, date: bytes) -> bytes:  # noqa: FBT001 — as ASGI has it
        """The bytes to write for a part of the body."""
        if self.state is BEGUN:
            head = self._head(len(body) if is_last else None, date)
        elif self.state is SENDING:
            head = b""
        else:
            raise RuntimeError(f"The app sent a body when its answer was {self.state}.")
        self.state = ENDED if is_last else SENDING
        return head + self._framed(body, is_last)

    def _head(self, whole: int | None, date: bytes) -> bytes:
        parts: list[bytes] = []
        for name, value in self._fields:
            if name == b"content-length":
                self._owed = int(value)
            elif name == b"connection":
                self.closes = self.closes or value.lower() == b"close"
                continue
            parts += (name, b": ", value, b"\r\n")
        block = b"".join(parts)
        if block.count(b"\n") * 4 != len(parts):
            raise RuntimeError("The app sent a header field with a line break in it.")
        end = self._end(whole)
        if self.closes:
            end += _CLOSE
        elif self._version == "1.0":
            end += _KEEP
        return b"%b%b%b%b\r\n" % (_STATUS[self._status], date, block, end)

    def _end(self, whole: int | None) -> bytes:
        """The field that says how the body ends, where the app has not given it."""
        if self._is_head or self._status in _BODILESS:
            self._is_head, self._owed = True, None
        elif self._owed is not None:
            pass
        elif whole is not None:
            return b"content-length: %d\r\n" % whole
        elif self._version == "1.1":
            self._is_chunked = True
            return b"transfer-encoding: chunked\r\n"
        else:
            self.closes = True
        return b""

    def _framed(self, body: bytes, is_last: bool) -> bytes:  # noqa: FBT001 — as ASGI has it
        if self._is_head:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if is_last else chunk
        if self._owed is not None:
            self._owed -= len(body)
            if self._owed < 0 or (is_last and self._owed > 0):
                raise RuntimeError("The app's body has not the length that its head says.")
        return body


def error_answer(error: ServiceError, method: str, date: bytes) -> bytes:
    """A whole answer in AWS's shape, behind which the connection closes."""
    body = faults.body_of(error)
    answer = Answer(method, "1.1", closes=True)
    answer.begin(
        error.status,
        [
            (b"content-type", b"application/x-amz-json-1.0"),
            (b"content-length", str(len(body)).encode()),
            (b"x-amzn-requestid", new_uuid().encode()),
            # boto3 reads the body's __type; other SDKs look at this header first.
            (b"x-amzn-errortype", error.code.encode()),
        ],
    )
    return answer.part(body, is_last=True, date=date)
