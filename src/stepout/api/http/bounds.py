"""What one client may cost the front: bytes, counts and seconds, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stepout.config import CONNECTIONS

__all__ = ["OVERFLOW", "Bounds"]

OVERFLOW: Final = 64
"""Connections beyond the bound that are told so (503) before they are closed; the next are closed
without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of a front; all are ours, sizes in bytes. A client of AWS meets none of them."""

    head: int = 65_536
    """Request line and fields, with all that is between them. Signed requests have some 1,000."""

    fields: int = 100
    """Fields of a head, as Apache and Tomcat have it. AWS's SDKs send about 12."""

    body: int = 1_048_576
    """A body (AWS service quotas: 1 MB per API request)."""

    unfinished: int = 536_870_912
    """Requests that are not whole, in all: who sends one need not say who it is."""

    connections: int = CONNECTIONS
    """Connections in all."""

    per_address: int | None = None
    """Connections of one address. None by default: a subnet may come through one address."""

    head_seconds: float = 10.0
    """From the first byte of a head to its last; a real one comes in one packet or two."""

    pause_seconds: float = 20.0
    """Between two pieces of a body."""

    body_seconds: float = 120.0
    """For a whole body: the largest one at 10 kB a second."""

    idle_seconds: float = 75.0
    """Between requests. Clients of AWS keep connections for about a minute; who closes first
    should be the client, which otherwise may send into a connection that is being closed."""

    handshake_seconds: float = 10.0
    """For the TLS handshake, and for its end."""

    write_seconds: float = 30.0
    """For a client to take any of the bytes that wait for it."""

    linger_seconds: float = 2.0
    """For a client to read a refusal. Closing at once what still receives resets the connection,
    and the refusal is lost (RFC 9112, 9.6)."""

    stop_seconds: float = 5.0
    """For answers in the making when the front stops."""

    tick_seconds: float = 1.0
    """How often times are looked at: every other time is exact to this."""
