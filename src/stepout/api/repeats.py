"""Silent repeats: a client that gives up waiting sends its call again, and starts it again.

boto3 reads for 60 seconds, an Express execution may take 300. Then it sends StartSyncExecution once
more, with the same `amz-sdk-invocation-id`; AWS runs a second execution, which calls the API a
second time. There are three ways to deal with that:

- `warn`: do as AWS does, and say so in one line of the log.
- `join`, an extension beyond AWS: the repeat gets the answer of the first run, when it is there.
- `off`: do as AWS does.

A call is known by its *key*: the hash of who calls, of the operation, of the whole body and of the
id. So whoever asks for something else with an id, or is someone else, makes a call of their own.
Only a run that was answered is remembered; after an error the next attempt is a new call. The
number of the attempt (`amz-sdk-request`) decides nothing: it is what the client says.

In both ways the run in flight is known by its key, and stays known for `KEEP_SECONDS` after its
end. What is kept is bounded in number and in bytes, the oldest goes first; what finds no place is
run like any first call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from stepout.api import faults
from stepout.errors import ServiceError

__all__ = ["MODES", "Join", "Off", "Repeats", "Run", "Started", "Warn", "key_of"]

_log = logging.getLogger("stepout.repeat")

Key: TypeAlias = bytes

Started: TypeAlias = Callable[[str], None]
"""Told the ARN of an execution that has begun."""

Run: TypeAlias = Callable[[Started], Awaitable[bytes]]
"""Runs a call once; answers the body of its answer, or raises."""

KEEP_SECONDS: Final = 120.0
"""How long after its end a run is known; ours. An SDK waits 20 seconds at most between attempts."""

MAX_CALLS: Final = 10_000
"""Runs known at one time: so many in flight, so many that have ended; ours."""

MAX_BYTES: Final = 67_108_864
"""Bytes of answers kept; ours."""

MAX_WAITING: Final = 10
"""Callers who wait for one run, the first among them; ours. An SDK makes 3 attempts, or 5."""

_LONGEST_ID: Final = 128
"""Characters of an id that is believed to be one; SDKs send a UUID."""

_HINT: Final = (
    "The client sent this call again and a second execution was started; AWS would do the same. To "
    "have one execution for each call: "
    "Config(read_timeout=305, retries={'total_max_attempts': 1})."
)


class Repeats(Protocol):
    """What to do with a call that may be a repeat."""

    async def answer(self, key: Key | None, run: Run) -> bytes:
        """The body of the call's answer; a call without a key is no repeat of any other."""

    async def close(self) -> None:
        """End what is still running."""


def key_of(principal: str, operation: str, body: bytes, invocation_id: bytes) -> Key | None:
    """What two attempts of one call have in common, and nothing else has; None without an id."""
    if not 0 < len(invocation_id) <= _LONGEST_ID:
        return None
    digest = sha256()
    for part in (principal.encode("utf-8", "surrogatepass"), operation.encode(), invocation_id):
        # With its length, so that no part can end in another one's place.
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    digest.update(body)
    return digest.digest()


# --- What is known of runs ------------------------------------------------------------------------


@dataclass(slots=True)
class _First:
    """The first execution of a call."""

    arn: str = ""
    at: float = 0.0
    running: int = 0
    """Executions of the call in flight."""


_T = TypeVar("_T")


class _Ended(Generic[_T]):
    """What is known of runs that have ended, in the order of their ends."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._items: OrderedDict[Key, tuple[float, int, _T]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> _T | None:
        self._expire()
        found = self._items.get(key)
        return None if found is None else found[2]

    def add(self, key: Key, item: _T, size: int = 0) -> None:
        """Keep an item; one that is too large for all there is, is not kept."""
        self._expire()
        if size > MAX_BYTES:
            return
        self._items[key] = (self._clock() + KEEP_SECONDS, size, item)
        self.size += size
        while self.size > MAX_BYTES or len(self._items) > MAX_CALLS:
            self.remove(next(iter(self._items)))

    def remove(self, key: Key) -> None:
        found = self._items.pop(key, None)
        if found is not None:
            self.size -= found[1]

    def _expire(self) -> None:
        now = self._clock()
        while self._items:
            key, (until, _, _) = next(iter(self._items.items()))
            if until > now:
                return
            self.remove(key)


# --- The three ways -------------------------------------------------------------------------------

_Counted: TypeAlias = Callable[[str], None]


class Off:
    """Each attempt is a call."""

    def __init__(self, _clock: Callable[[], float], _counted: _Counted) -> None:
        pass

    async def answer(self, _key: Key | None, run: Run) -> bytes:
        return await run(_ignore)

    async def close(self) -> None:
        pass


class Warn:
    """Each attempt is a call, and those that repeat one are told in the log."""

    def __init__(self, clock: Callable[[], float], counted: _Counted) -> None:
        self._clock = clock
        self._counted = counted
        self._running: dict[Key, _First] = {}
        self._ended: _Ended[_First] = _Ended(clock)

    async def answer(self, key: Key | None, run: Run) -> bytes:
        first = None if key is None else self._find(key)
        if key is None or first is None:
            return await run(_ignore)
        first.running += 1
        try:
            return await run(lambda arn: self._started(first, arn))
        finally:
            first.running -= 1
            if not first.running:
                del self._running[key]
                # Without an execution there is nothing that a next attempt could repeat.
                if first.arn:
                    self._ended.add(key, first)

    async def close(self) -> None:
        pass

    def _find(self, key: Key) -> _First | None:
        """The call of a key, from now on among those in flight; None where there is no place."""
        first = self._running.get(key)
        if first is not None:
            return first
        if len(self._running) >= MAX_CALLS:
            return None
        ended = self._ended.get(key)
        self._ended.remove(key)
        first = self._running[key] = _First() if ended is None else ended
        return first

    def _started(self, first: _First, arn: str) -> None:
        if not first.arn:
            first.arn, first.at = arn, self._clock()
            return
        self._counted("run")
        fields = _fields("run", first, self._clock())
        _log.warning("repeat", extra={"fields": {**fields, "second": arn, "hint": _HINT}})


@dataclass(slots=True)
class _Joined:
    """A run that its callers wait for."""

    first: _First
    task: asyncio.Task[bytes]
    waiting: int = 0


class Join:
    """A repeat waits for the run in flight, or gets the answer of one that has ended.

    A run is a task of its own. It goes on when its first caller has gone, for the next attempt may
    be on its way; and one caller less ends it for no other.
    """

    def __init__(self, clock: Callable[[], float], counted: _Counted) -> None:
        self._clock = clock
        self._counted = counted
        self._running: dict[Key, _Joined] = {}
        self._ended: _Ended[tuple[_First, bytes]] = _Ended(clock)

    async def answer(self, key: Key | None, run: Run) -> bytes:
        if key is None:
            return await run(_ignore)
        ended = self._ended.get(key)
        if ended is not None:
            first, answer = ended
            self._tell("kept", first)
            return answer
        joined = self._running.get(key)
        if joined is not None:
            return await self._join(joined)
        if len(self._running) >= MAX_CALLS:
            return await run(_ignore)
        return await _wait(self._begin(key, run))

    async def close(self) -> None:
        tasks = [joined.task for joined in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    async def _join(self, joined: _Joined) -> bytes:
        if joined.waiting >= MAX_WAITING:
            raise faults.throttled()
        self._tell("joined", joined.first)
        return await _wait(joined)

    def _begin(self, key: Key, run: Run) -> _Joined:
        first = _First()
        task = asyncio.create_task(self._run(key, run, first))
        joined = self._running[key] = _Joined(first, task)
        task.add_done_callback(lambda task: _see(task, joined))
        return joined

    async def _run(self, key: Key, run: Run, first: _First) -> bytes:
        def started(arn: str) -> None:
            first.arn, first.at = arn, self._clock()

        try:
            answer = await run(started)
        finally:
            del self._running[key]
        self._ended.add(key, (first, answer), len(answer))
        return answer

    def _tell(self, decision: str, first: _First) -> None:
        self._counted(decision)
        _log.info("repeat", extra={"fields": _fields(decision, first, self._clock())})


async def _wait(joined: _Joined) -> bytes:
    joined.waiting += 1
    try:
        # Unlike an await of the task itself, this leaves it alone when the caller is cancelled.
        await asyncio.wait((joined.task,))
    finally:
        joined.waiting -= 1
    if joined.task.cancelled():
        raise faults.stopped()
    return joined.task.result()


def _see(task: asyncio.Task[bytes], joined: _Joined) -> None:
    """Look at how a run ended, which nobody else does when all its callers have gone."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not joined.waiting and not isinstance(error, ServiceError):
        # A bug of ours; where someone waits, the door logs it.
        _log.error("request failed", exc_info=error)


def _fields(decision: str, first: _First, now: float) -> dict[str, object]:
    after = round((now - first.at) * 1_000) if first.arn else None
    return {"decision": decision, "first": first.arn, "after_ms": after}


def _ignore(_arn: str) -> None:
    pass


MODES: Final[Mapping[str, Callable[[Callable[[], float], _Counted], Repeats]]] = {
    "warn": Warn,
    "join": Join,
    "off": Off,
}
"""Setting → what it does; made with a clock in seconds and with what counts decisions."""
