"""The event loop of the commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["new_event_loop"]


def new_event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, else Python's own."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
