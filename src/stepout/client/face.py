"""What the faces of other libraries share: bodies read up to the limit, errors by a table."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TypeAlias, TypeVar

from stepout.errors import GatewayError, NotCarried

__all__ = ["Row", "gather", "gather_async", "look_up"]

_Theirs = TypeVar("_Theirs")
_Kind = TypeVar("_Kind", bound=type[Exception])

Row: TypeAlias = tuple[type[GatewayError], str | None, _Theirs]
"""Our error, the `error` that it tells or None for any, the other library's."""


def look_up(error: GatewayError, rows: Iterable[Row[_Kind]]) -> _Kind:
    """The other library's class for an error: that of the first row that fits, and one does."""
    told = getattr(error, "error", None)
    return next(
        theirs for ours, name, theirs in rows if isinstance(error, ours) and name in (None, told)
    )


def gather(pieces: Iterable[bytes], limit: int) -> bytes:
    """A streamed body as a whole; raises `NotCarried` as soon as it is too large."""
    body = bytearray()
    for piece in pieces:
        body += piece
        _check(body, limit)
    return bytes(body)


async def gather_async(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    """As `gather`."""
    body = bytearray()
    async for piece in pieces:
        body += piece
        _check(body, limit)
    return bytes(body)


def _check(body: bytearray, limit: int) -> None:
    if len(body) > limit:
        raise NotCarried(
            f"The request's body has more than {limit:,} bytes, which is the most that an "
            "execution's input may have; nothing was sent. Send less at a time, or hand the data "
            "over by another way (S3, say)."
        )
