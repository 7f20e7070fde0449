"""Time as a parameter: wall-clock milliseconds, and timers on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Alarm", "Clock", "SystemClock"]


class Alarm(Protocol):
    """A timer that has been set."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the epoch."""

    def call_at(self, due: int, callback: Callable[[], None]) -> Alarm:
        """Call back when `now()` reaches `due`, soon where it is past."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def call_at(self, due: int, callback: Callable[[], None]) -> Alarm:
        delay = max(0, due - self.now()) / 1_000
        return asyncio.get_running_loop().call_later(delay, callback)
