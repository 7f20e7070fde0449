"""Values that are loaded from files, and loaded again when the files change.

A change is taken when it has stood still from one look to the next, so that files that are written
in pieces, or one after the other, are not read in between. What cannot be loaded is told once, and
the value of before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from stepout.errors import StepoutError

__all__ = ["INTERVAL_SECONDS", "Reloading"]

_log = logging.getLogger("stepout.reload")

INTERVAL_SECONDS: float = 1.0
"""Between two looks: one stat of each file."""

_T = TypeVar("_T")

Look: TypeAlias = tuple[object, ...]
"""What a look at the files saw; equal where nothing has changed."""


class Reloading(Generic[_T]):
    """A value that follows its files; `value` is the one of now.

        known = Reloading("identities", [path], lambda: load_identities(path))
        known.start()

    `load` reads the files and gives the value, or raises; it runs in a thread, apart from the first
    time, and may take long. `what` names the value in the log. `also` are further files that a
    value was made of; `take` is told of each value after the first. `sleep` waits between two
    looks; tests call `check` instead of `start`.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        load: Callable[[], _T],
        *,
        also: Callable[[_T], Sequence[Path]] = lambda _value: (),
        take: Callable[[_T], object] = lambda _value: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Load the value; raises what `load` raises."""
        self._what = what
        self._paths = self._named = tuple(paths)
        self._also = also
        self._take = take
        self._load = load
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        # The look comes first: what changes while the files are read is seen by the next one.
        self._seen = self._judged = self._look()
        self.value = load()
        self._follow()

    def start(self) -> None:
        """Look at the files in the running event loop, until `close`."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def check(self) -> bool:
        """Look at the files once; answers whether a new value was taken.

        A change is loaded by the look after the one that saw it first.
        """
        look = self._look()
        if look != self._seen:
            self._seen = look
            return False
        if look == self._judged:
            return False
        reason: str | None = None
        try:
            value = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 — whatever a loader raises, the watching goes on
            reason = _reason(error)
        if self._look() != look:
            # It went on changing while it was read: the next looks see to it.
            return False
        self._judged = look
        fields = {"what": self._what, "files": " ".join(map(str, self._paths)), "reason": reason}
        if reason is not None:
            _log.error("not reloaded", extra={"fields": fields})
            return False
        self.value = value
        self._follow()
        self._take(value)
        _log.info("reloaded", extra={"fields": fields})
        return True

    def _follow(self) -> None:
        """Look at the files of the value of now, from now on."""
        paths = (*self._named, *self._also(self.value))
        if paths != self._paths:
            self._paths = paths
            self._seen = self._judged = self._look()

    async def _watch(self) -> None:
        while True:
            await self._sleep(INTERVAL_SECONDS)
            await self.check()

    def _look(self) -> Look:
        return tuple(map(_status, self._paths))


def _status(path: Path) -> object:
    """What tells one state of a file from another.

    Links are followed, so that one that leads elsewhere counts (Kubernetes swaps a directory). The
    time of the change is there for tools that set back the time of the content.
    """
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _reason(error: Exception) -> str:
    """Why a value was not loaded; what others than ours say might quote a secret."""
    if isinstance(error, StepoutError | OSError):
        return str(error)
    return type(error).__name__
