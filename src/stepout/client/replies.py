"""What the proxy answers: responses of APIs as they came, errors as texts for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, TypeAlias

from stepout.errors import (
    CallFailed,
    CallRefused,
    CallTimedOut,
    NotCarried,
    StepoutError,
    TruncatedResponse,
    UnknownUpstream,
)
from stepout.gateway.messages import Response, header_bytes

__all__ = ["Reply", "closing", "reply_to", "reply_with", "told"]

Pairs: TypeAlias = list[tuple[bytes, bytes]]

_STATUSES: Final[tuple[tuple[type[StepoutError], int], ...]] = (
    (UnknownUpstream, 403),
    (NotCarried, 501),
    (CallTimedOut, 504),
    (CallRefused, 502),
    (CallFailed, 502),
    (TruncatedResponse, 502),
    (StepoutError, 502),
)
"""The first that an error is one of."""

_BODILESS: Final = frozenset({204, 304})
"""Answers that have no body (RFC 9110, 6.4.1)."""

_OF_THE_HOP: Final = frozenset(
    {
        *("connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Of one connection only (RFC 9110, 7.6.1), and the length, which is written anew."""

_PLAIN: Final = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it is written. `error` is the class of what went wrong."""

    status: int
    reason: bytes
    headers: Pairs
    body: bytes
    error: str | None = None


def reply_with(response: Response, method: str, left_out: Iterable[str] = ()) -> Reply:
    """What the API answered, and which headers of the request were left out.

    Raises `ValueError` where it cannot be written.
    """
    status = response.status_code
    if not 200 <= status <= 599:
        raise ValueError(f"the status {status} is no end of a request")
    pairs = [
        (header_bytes(name), header_bytes(value))
        for name, value in response.headers.pairs
        if name.lower() not in _OF_THE_HOP
    ]
    body = b"" if method == "HEAD" or status in _BODILESS else response.content
    if method == "HEAD":
        # What a GET would have; the HTTP Task hands it on.
        pairs += [(b"Content-Length", n.encode()) for n in _length(response)]
    elif status not in _BODILESS:
        pairs.append((b"Content-Length", str(len(body)).encode()))
    if not response.is_body_carried:
        pairs.append((b"Stepout-Body", b"not-carried"))
    pairs += [(b"Stepout-Left-Out", name.encode()) for name in left_out]
    return Reply(status, _reason(status, response.reason), pairs, body)


def _length(response: Response) -> Iterable[str]:
    found = response.headers.get("content-length")
    return () if found is None or not found.isdecimal() or not found.isascii() else (found,)


def reply_to(error: StepoutError) -> Reply:
    """What is answered in place of an API that did not."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    return told(status, str(error), error=type(error).__name__)


def told(status: int, text: str, *, error: str | None = None, reason: str = "") -> Reply:
    """A text for people; a `reason` stands in the first line, which some clients show alone."""
    body = f"{text}\n".encode()
    pairs = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode()),
    ]
    if error is not None:
        pairs.append((b"Stepout-Error", error.encode()))
    return Reply(status, _reason(status, reason), pairs, body, error)


def closing(reply: Reply) -> Reply:
    """The reply, after which the connection ends."""
    return replace(reply, headers=[*reply.headers, (b"Connection", b"close")])


def _reason(status: int, text: str) -> bytes:
    """The text, where it can stand in a status line, else the usual words."""
    if text and _PLAIN.fullmatch(text):
        return text.encode()
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
