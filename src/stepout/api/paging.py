"""Pages of a listing, and the opaque tokens between them."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from stepout.errors import ServiceError

__all__ = ["page"]

T = TypeVar("T")


def page(
    items: Sequence[T],
    key: Callable[[T], str],
    token: str | None,
    limit: int,
    rank: Callable[[str], int] | None = None,
) -> tuple[Sequence[T], str | None]:
    """The items after the token's, at most `limit`, and the token of the next page.

    A token names the last item seen, so that items which come or go between two pages move nothing.
    Where the items are in the order of a rank, which follows from their keys, a token leads on even
    when the item that it names has gone. `rank` raises `ValueError` for what is no key.
    """
    start = 0
    if token is not None:
        last = _decode(token)
        start = _after(items, key, last) if rank is None else _behind(items, key, last, rank)
    end = start + limit
    more = end < len(items)
    return items[start:end], _encode(key(items[end - 1])) if more else None


def _after(items: Sequence[T], key: Callable[[T], str], last: str) -> int:
    for index, item in enumerate(items):
        if key(item) == last:
            return index + 1
    raise _invalid()


def _behind(
    items: Sequence[T], key: Callable[[T], str], last: str, rank: Callable[[str], int]
) -> int:
    try:
        reached = rank(last)
    except ValueError:
        raise _invalid() from None
    return bisect_right(items, reached, key=lambda item: rank(key(item)))


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid() from None


def _invalid() -> ServiceError:
    return ServiceError("InvalidToken", "Invalid Token: 'Invalid token'")
