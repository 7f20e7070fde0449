"""The evaluation pool: threads for what would keep the event loop waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["EvaluationPool"]

_THREADS: Final = 2

_T = TypeVar("_T")


class EvaluationPool:
    """Turns that take long and large definitions; who waits for a thread is bounded by the calls
    that the server is willing to take."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stepout-evaluate")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads when what they work at is done; what waits is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
