"""Requests out of bytes, one at a time and no byte further: a plain object without I/O.

The parser is llhttp, by way of httptools, which tells what a message holds but not where it ends,
and would go on with the next one. So it gets a message in pieces that cannot hold the end of one
and the beginning of another: a head, and a chunked body, only ever end with an empty line (CRLF
CRLF). Nothing is therefore parsed ahead of the request that is being served, whatever a client
sends. A body whose length is known needs no parser, only counting. Each request has a parser of
its own, so that nothing is carried over from one to the next.

    IDLE ──any byte──▶ HEAD ──empty line──▶ BODY ──its end──▶ WHOLE ──take()──▶ IDLE
                         └───────── there is no body ──────────▲

For llhttp a request with `Upgrade` has no body: what follows would be another protocol. Here no
protocol follows, and the body is counted like any other; left to llhttp, it would be read as the
next request.
"""

from __future__ import annotations

from typing import Final

import httptools

from stepout.api import faults
from stepout.api.http.bounds import Bounds
from stepout.api.http.head import TRAILERLESS, Field, Request, malformed, read, refusal

__all__ = ["BODY", "HEAD", "IDLE", "WHOLE", "Incoming"]

IDLE: Final = "idle"
HEAD: Final = "head"
BODY: Final = "body"
WHOLE: Final = "whole"

_END: Final = b"\r\n\r\n"

_CHUNK_COST: Final = 8
"""Bytes of framing for a byte of a chunked body. A chunk of one byte has five; extensions of chunks
are for nothing but to make a server read."""

_TLS_RECORD: Final = b"\x16\x03"
"""How a TLS handshake begins (RFC 8446, 5.1)."""


class Incoming:
    """The request that is being read."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_bounds",
        "_fields",
        "_is_ended",
        "_left",
        "_parser",
        "_start",
        "_tail",
        "_taken",
        "_target",
        "phase",
        "request",
    )

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.clear()

    def clear(self) -> None:
        """Forget what came; the next byte begins a request."""
        self.phase = IDLE
        self.request: Request | None = None
        """Known from the end of the head on."""
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._fields: list[Field] = []
        """Of the head; behind it, the trailer's."""
        self._target = b""
        self._start: tuple[str, str, bool] | None = None
        """Method, version and whether the connection goes on."""
        self._is_ended = False
        """Whether the parser has seen the end."""
        self._taken = 0
        """Bytes of the head, then of a chunked body with its framing."""
        self._left: int | None = None
        """Bytes to the end of a body whose length is known."""
        self._tail = b""
        """The last bytes, which may be the beginning of an empty line."""

    def close(self) -> None:
        """Let go of the parser, which holds this object."""
        del self._parser

    def feed(self, data: bytes, start: int = 0) -> int:
        """Take bytes from `start` to the end of one request; answers where that is.

        Raises `ServiceError` on what cannot be let in.
        """
        size = len(data)
        while start < size and self.phase is not WHOLE:
            if self._left is not None:
                start = self._take_counted(data, start)
                continue
            end = self._boundary(data, start)
            piece = data[start:end]
            if self.phase is BODY:
                self._take_chunks(piece)
            else:
                self._take_head(piece)
            start = end
        return start

    def take(self) -> Request:
        """The request that is whole; the next one begins."""
        request = self.request
        if request is None:
            raise RuntimeError("There is no request to take.")
        request.body = bytes(self._body)
        self.clear()
        return request

    # --- Pieces -----------------------------------------------------------------------------------

    def _boundary(self, data: bytes, start: int) -> int:
        """Where a piece ends: no message goes on behind it and ends there, too."""
        if self._tail:
            at = (self._tail + data[start : start + 3]).find(_END)
            if at >= 0:
                end = start + at + len(_END) - len(self._tail)
                self._tail = b""
                return end
        at = data.find(_END, start)
        if at >= 0:
            self._tail = b""
            return at + len(_END)
        self._tail = (self._tail + data[max(start, len(data) - 3) :])[-3:]
        return len(data)

    def _take_head(self, piece: bytes) -> None:
        if self._taken == 0 and piece.startswith(_TLS_RECORD):
            raise malformed("This port speaks HTTP, not HTTPS.")
        self.phase = HEAD
        self._taken += len(piece)
        if self._taken > self._bounds.head:
            raise malformed(f"The head of the request is larger than {self._bounds.head} bytes.")
        self._parse(piece)
        if self._start is not None:
            self._begin_body(*self._start)

    def _begin_body(self, method: str, version: str, keeps_alive: bool) -> None:  # noqa: FBT001 — as the parser tells
        fields, self._fields = self._fields, []
        self.request = request = read(method, self._target, version, fields, self._bounds)
        request.keeps_alive = keeps_alive
        self._left, self._taken = request.length, 0
        if self._left is None and self._is_ended:
            # An Upgrade it is: the parser has let go of the chunks.
            raise malformed("Expected a request with Upgrade to tell the length of its body.")
        self.phase = BODY if self._left != 0 else WHOLE

    def _take_counted(self, data: bytes, start: int) -> int:
        """Take of a body whose length is known; answers where that ends."""
        left = self._left or 0
        piece = data[start : start + left]
        self._body += piece
        self._left = left - len(piece)
        if self._left == 0:
            self.phase = WHOLE
        return start + len(piece)

    def _take_chunks(self, piece: bytes) -> None:
        """Take of a chunked body; bounds it, its framing and its trailer."""
        self._parse(piece)
        self._taken += len(piece)
        if len(self._body) > self._bounds.body:
            raise faults.too_large(self._bounds.body)
        if self._taken > self._bounds.head + _CHUNK_COST * len(self._body):
            raise malformed("The body's chunks hold more framing than content.")
        if not self._is_ended:
            return
        if any(name in TRAILERLESS for name, _ in self._fields):
            raise malformed("The trailer has a field that may only be in the head.")
        self.phase = WHOLE

    # --- The parser -------------------------------------------------------------------------------

    def _parse(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise _why(str(error)) from None

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._start = (
            parser.get_method().decode("ascii"),
            parser.get_http_version(),
            parser.should_keep_alive(),
        )

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self._is_ended = True


def _why(found: str) -> Exception:
    """A refusal from the parser's reason, a fixed text of its own."""
    if "PRI" in found:
        return refusal(505, "Expected HTTP/1.1 or HTTP/1.0, found the preface of HTTP/2.")
    return malformed(f"The request is not HTTP/1.1: {found}.")
