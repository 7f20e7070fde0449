"""The proxy's log: a line for each request, and for each tunnel that did not come about.

What a line says is a mapping beside its text, so that it can be written in another form. No query,
no headers, no bodies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import h11

from stepout.client.intake import left_out
from stepout.client.replies import Reply
from stepout.gateway.messages import Response

__all__ = ["Line", "tell_connect"]

_log = logging.getLogger("stepout.proxy")

_REQUEST: Final = (
    "request method=%(method)s host=%(host)s path=%(path)s status=%(status)s "
    "upstream=%(upstream)s duration_ms=%(duration_ms).1f execution=%(execution)s error=%(error)s "
    "left_out=%(left_out)s"
)
_CONNECT: Final = 'connect host=%(host)s status=%(status)s error=%(error)s reason="%(reason)s"'

_LONGEST: Final = 1_000
"""Characters of a reason: it may list all upstreams."""


@dataclass(slots=True)
class Line:
    """What is told of a request when it is over."""

    request: h11.Request
    authority: str
    started: float = field(default_factory=time.perf_counter)
    response: Response | None = None
    reply: Reply | None = None
    error: str | None = None

    def tell(self) -> None:
        error = self.error or (self.reply.error if self.reply else None)
        level = logging.INFO if error is None else logging.WARNING
        if _log.isEnabledFor(level):
            _log.log(level, _REQUEST, self._members(error))

    def _members(self, error: str | None) -> Mapping[str, Any]:
        known = self.response.extensions if self.response else {}
        return {
            "method": self.request.method.decode("ascii"),
            "host": self.authority,
            "path": _shown(self.request.target.partition(b"?")[0]),
            "status": self.reply.status if self.reply else None,
            "upstream": known.get("upstream"),
            "duration_ms": round((time.perf_counter() - self.started) * 1e3, 1),
            "execution": known.get("execution_arn"),
            "error": error,
            "left_out": ",".join(left_out(self.request)) or None,
        }


def tell_connect(target: bytes, status: int, error: str, reason: str = "") -> None:
    """Of a tunnel that did not come about."""
    in_one_line = " ".join(reason.split())[:_LONGEST]
    members = {"host": _shown(target), "status": status, "error": error, "reason": in_one_line}
    _log.warning(_CONNECT, members)


def _shown(text: bytes) -> str:
    return ascii(text.decode("latin-1"))[1:-1]
