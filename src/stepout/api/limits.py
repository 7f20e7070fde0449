"""Fairness: what the server does at one time, and how fast, for each principal and in all.

Over a limit a request is refused at once, as AWS refuses it. Nobody waits in a line here, so there
is no line that could grow, and the SDKs try again by themselves.

*Rooms* bound what is in flight. A room has places; one principal gets fewer than `SHARE` times the
places that are still free. When n principals take all they get, each has SHARE·C / (1 + n·SHARE) of
C places, and C / (1 + n·SHARE) stay free: whoever comes next finds a place, however greedy the
others are. One alone gets four fifths. So the defaults are fair although nothing is set; a quota
for each principal comes on top.

*Buckets* bound rates: one of tokens for each principal and operation, as AWS has them, so that
polling with one operation takes nothing from another. A bucket is one number, the moment at which
it is full again (the generic cell rate algorithm). A full bucket is what a new one is, so those and
only those are forgotten: nobody empties the table, and so their own bucket, by calling under many
names. While `MAX_BUCKETS` are not full, all newcomers share one more. They have the rate of one
principal then, which is the safe side; those who were there before notice nothing.

Names are believed as far as signatures are verified. In open mode anyone may call under any number
of names: what is bounded then is memory and the whole, not the share of one caller.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from stepout.api import faults

__all__ = ["MAX_BUCKETS", "SHARE", "Limits", "Quotas", "Ticket", "Visit"]

SHARE: Final = 4
"""How many times what is free one principal may hold; ours."""

MAX_BUCKETS: Final = 10_000
"""Buckets that are not full, ours: some 2 MB."""

MAX_BODIES: Final = 536_870_912
"""Bytes of request bodies in flight, ours: what they are parsed into takes several times that."""

LONG_POLLS: Final = frozenset({"GetActivityTask"})
"""Operations that wait for work, up to a minute each. They have a room of their own, so that those
who wait keep nobody from working."""

_LONGEST_NAME: Final = 128
"""Characters of an access key (IAM API reference, AccessKey). In open mode a name may be as long as
a head; longer ones are kept by their hash."""

_Bucket: TypeAlias = tuple[str, str]

_OVERFLOW: Final[_Bucket] = ("", "")
"""What newcomers share while the table is full; no principal has an empty name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How much there is of what; a quota of 0 for a principal leaves it to its share."""

    requests: int = 10_000
    """Requests in flight, in all; as many long polls on top."""

    principal_requests: int = 0
    """Requests in flight of one principal; as many long polls on top."""

    executions: int = 5_000
    """Executions in flight, in all."""

    principal_executions: int = 0
    """Executions in flight of one principal."""

    bodies: int = MAX_BODIES
    """Bytes of request bodies in flight, in all."""

    rate: float = 0
    """Requests a second of one principal and operation; 0: any number."""

    burst: int = 0
    """Requests at one moment of one principal and operation; 0: those of one second."""


class Limits:
    """Admits requests and executions, or refuses them with `ThrottlingException`.

    `clock` tells seconds that never go back. `refused` is told the reason of each refusal: the name
    of the setting that bounds it, or `max-bodies` and `principal-bodies`, which have none.
    """

    def __init__(
        self,
        quotas: Quotas,
        clock: Callable[[], float] = time.monotonic,
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        each = quotas.principal_requests
        self._requests = _Room("requests", quotas.requests, each, refused)
        self._polls = _Room("requests", quotas.requests, each, refused)
        self._bodies = _Room("bodies", quotas.bodies, 0, refused)
        self._executions = _Room(
            "executions", quotas.executions, quotas.principal_executions, refused
        )
        self._buckets = _Buckets(quotas.rate, quotas.burst, clock) if quotas.rate else None
        self._refused = refused

    def enter(self) -> Visit:
        """Let a request in, before anything is known of it; to be left by its `release`."""
        return Visit(self._requests, self._polls, self._bodies, self._take)

    def execution(self, principal: str) -> Ticket:
        """Let a principal run an execution; to be left by its `release`."""
        return Ticket(self._executions, _named(principal))

    def _take(self, principal: str, operation: str) -> None:
        if self._buckets is not None and not self._buckets.take((principal, operation)):
            self._refused("principal-rate")
            raise faults.throttled()


class Visit:
    """The places of one request; `release` gives them back, once, whatever became of it."""

    __slots__ = ("_bodies", "_polls", "_principal", "_room", "_size", "_take")

    def __init__(
        self, requests: _Room, polls: _Room, bodies: _Room, take: Callable[[str, str], None]
    ) -> None:
        self._room: _Room | None = requests
        self._polls = polls
        self._bodies = bodies
        self._take = take
        self._principal: str | None = None
        self._size = 0
        requests.enter()

    def read(self, size: int) -> None:
        """Make room for so many bytes more of the request's body."""
        self._bodies.enter(size)
        self._size += size

    def identify(self, principal: str, operation: str) -> None:
        """Hold the request against its principal's limits, now that its signature is known."""
        room = self._room
        if room is None or self._principal is not None:
            raise ValueError("A request is identified once, before it is released.")
        name = _named(principal)
        self._take(name, operation)
        if operation in LONG_POLLS:
            self._polls.enter()
            room.leave()
            room = self._room = self._polls
        room.claim(name)
        try:
            self._bodies.claim(name, self._size)
        except BaseException:
            room.disclaim(name)
            raise
        self._principal = name

    def release(self) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        if self._principal is not None:
            room.disclaim(self._principal)
            self._bodies.disclaim(self._principal, self._size)
        room.leave()
        self._bodies.leave(self._size)


class Ticket:
    """The place of one execution; `release` gives it back, once."""

    __slots__ = ("_principal", "_room")

    def __init__(self, room: _Room, principal: str) -> None:
        room.enter()
        try:
            room.claim(principal)
        except BaseException:
            room.leave()
            raise
        self._room: _Room | None = room
        self._principal = principal

    def release(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.disclaim(self._principal)
            room.leave()


class _Room:
    """Places in all, and how many each principal has of them. Invariant: the named ones are among
    those that are taken, so the table is no longer than the room is large."""

    __slots__ = ("_each", "_held", "_most", "_name", "_refused", "_taken")

    def __init__(self, name: str, most: int, each: int, refused: Callable[[str], None]) -> None:
        self._name = name
        self._most = most
        self._each = each or most
        self._refused = refused
        self._taken = 0
        self._held: dict[str, int] = {}

    def enter(self, size: int = 1) -> None:
        """Take places for someone whose name is not known yet."""
        if self._taken + size > self._most:
            self._refuse(f"max-{self._name}")
        self._taken += size

    def claim(self, principal: str, size: int = 1) -> None:
        """Put a name to places that are taken."""
        if not size:
            return
        held = self._held.get(principal, 0)
        free = self._most - self._taken + size
        if held + size > self._each or held >= SHARE * free:
            self._refuse(f"principal-{self._name}")
        self._held[principal] = held + size

    def disclaim(self, principal: str, size: int = 1) -> None:
        held = self._held.pop(principal, 0) - size
        if held:
            self._held[principal] = held

    def leave(self, size: int = 1) -> None:
        self._taken -= size

    def _refuse(self, reason: str) -> None:
        self._refused(reason)
        raise faults.throttled()


class _Buckets:
    """Bucket → when it is full again.

    `_ahead` has each bucket once, by a moment at which it was to be full or an earlier one: what
    has been taken since is looked up when that moment comes. So its first is a lower bound of all.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._interval = 1 / rate
        self._depth = max(1, burst or int(rate)) * self._interval
        self._clock = clock
        self._full_at: dict[_Bucket, float] = {}
        self._ahead: list[tuple[float, _Bucket]] = []
        self._shared_full_at = 0.0

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, bucket: _Bucket) -> bool:
        """Take one token if there is one."""
        now = self._clock()
        self._forget(now)
        full_at = self._full_at.get(bucket)
        if full_at is None and len(self._full_at) >= MAX_BUCKETS:
            bucket, full_at = _OVERFLOW, self._shared_full_at
        after = (now if full_at is None else max(now, full_at)) + self._interval
        # Sums of floats: a token is not lost to their last digit.
        if after - now > self._depth + self._interval / 1_000:
            return False
        self._keep(bucket, after, is_new=full_at is None)
        return True

    def _keep(self, bucket: _Bucket, full_at: float, *, is_new: bool) -> None:
        if bucket == _OVERFLOW:
            self._shared_full_at = full_at
            return
        self._full_at[bucket] = full_at
        if is_new:
            heapq.heappush(self._ahead, (full_at, bucket))

    def _forget(self, now: float) -> None:
        ahead = self._ahead
        while ahead and ahead[0][0] <= now:
            bucket = ahead[0][1]
            full_at = self._full_at[bucket]
            if full_at <= now:
                heapq.heappop(ahead)
                del self._full_at[bucket]
            else:
                heapq.heapreplace(ahead, (full_at, bucket))


def _named(principal: str) -> str:
    if len(principal) <= _LONGEST_NAME:
        return principal
    return sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()
