"""The states of a connection: where each may lead, and how long it may last.

    OPENING ─▶ IDLE ─▶ HEAD ─▶ BODY ─▶ SERVING ─▶ IDLE …      from each: ─▶ LINGERING ─▶ CLOSING

Reading and writing have a state each in many servers. They need not here: an answer is written
only while SERVING, or once, before LINGERING.
"""

from __future__ import annotations

from math import inf
from typing import Final

from stepout.api.http import incoming
from stepout.api.http.bounds import Bounds

__all__ = [
    "BODY",
    "CLOSING",
    "HEAD",
    "IDLE",
    "LINGERING",
    "MOVES",
    "OPENING",
    "READING",
    "SERVING",
    "patience",
]

OPENING: Final = "opening"
"""Accepted; the TLS handshake, if there is one, is under way."""

IDLE: Final = incoming.IDLE
"""Nothing of a request is there."""

HEAD: Final = incoming.HEAD
"""A head has begun."""

BODY: Final = incoming.BODY
"""The head is there, the body is not."""

SERVING: Final = "serving"
"""The request is whole and with the app."""

LINGERING: Final = "lingering"
"""The last answer is written; what still comes is thrown away."""

CLOSING: Final = "closing"
"""Closed, but for what the client has not taken yet."""

MOVES: Final = {
    OPENING: {IDLE, LINGERING, CLOSING},
    IDLE: {HEAD, BODY, SERVING, LINGERING, CLOSING},
    HEAD: {BODY, SERVING, LINGERING, CLOSING},
    BODY: {SERVING, LINGERING, CLOSING},
    SERVING: {IDLE, LINGERING, CLOSING},
    LINGERING: {CLOSING},
    CLOSING: {CLOSING},
}
"""State → where it may lead. One read may bring a head, a body and their ends."""

READING: Final = frozenset({IDLE, HEAD, BODY})


def patience(bounds: Bounds) -> dict[str, float]:
    """State → seconds in which it must be left."""
    return {
        # asyncio watches the handshake.
        OPENING: inf,
        IDLE: bounds.idle_seconds,
        HEAD: bounds.head_seconds,
        BODY: bounds.pause_seconds,
        # How long the app takes is its own matter; what a client does not take is watched.
        SERVING: inf,
        LINGERING: bounds.linger_seconds,
        CLOSING: bounds.write_seconds,
    }
