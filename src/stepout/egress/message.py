"""What goes out and what comes back, and the seam that callers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Client", "Request", "Response"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is sent: headers in this order and case, nothing added but Host and
    Content-Length.

    The ARNs say who asks, for the policy and its log: the execution's role and state machine, and
    the connection whose credential goes out. A token request is the connection's own: it has no
    role, because its answer serves every role.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    role: str = ""
    machine: str = ""
    connection: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; header names in the sender's case and order, the body as it was sent.

    `body` is None where it was larger than asked for: it was cut off while it came in.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


class Client(Protocol):
    async def request(self, request: Request, *, max_body: int) -> Response:
        """Send a request once and read the answer, at most `max_body` bytes of it.

        Raises `EgressRefused` and `EgressFailed`. Deadlines are the caller's; cancelling ends the
        connection.
        """
