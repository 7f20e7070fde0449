"""One request from its arrival to its answer: what is known of it, for log, metrics and audit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stepout.api.access import Judgement
from stepout.api.caller import Arrival, Caller
from stepout.api.ids import new_uuid

__all__ = ["Answer", "Exchange"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    content_type: bytes
    body: bytes
    error: str | None = None
    """The error's code."""


@dataclass(slots=True)
class Exchange:
    """Filled in as the request goes through its checks."""

    arrival: Arrival
    operation: str = "unknown"
    """Its name, of those that are known: what counts requests must not grow with them."""
    caller: Caller | None = None
    judgement: Judgement | None = None
    request_id: str = field(default_factory=new_uuid)
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return time.perf_counter() - self.started
