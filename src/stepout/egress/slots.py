"""How many requests are under way at once: to one host and in all.

A slow origin holds its own slots and no more; who comes while they are taken waits in its host's
queue, which is as long as the host has slots, and is told at once when that is full, too. A slot
that becomes free goes to the hosts in turn, and there to whoever has waited longest.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from stepout.errors import EgressFailed

__all__ = ["IN_ALL", "PER_HOST", "Slots"]

IN_ALL: Final = 1_024
"""Each holds a connection, which is an open file of the process; ours."""

PER_HOST: Final = 256
"""So that a host which hangs leaves three quarters to the others; ours."""


class Slots:
    """Slots of one event loop, by host and port."""

    def __init__(self, in_all: int = IN_ALL, per_host: int = PER_HOST) -> None:
        self._in_all = in_all
        self._per_host = per_host
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting = 0

    async def take(self, place: str) -> None:
        """Have a slot of a place, to be freed; raises `EgressFailed` where too many wait."""
        if place not in self._queues and self._has_room(place):
            self._count(place)
        else:
            await self._wait(place)

    def free(self, place: str) -> None:
        """Give a slot back."""
        self._total -= 1
        self._taken[place] -= 1
        if not self._taken[place]:
            del self._taken[place]
        if self._queues:
            self._hand_on()

    def _has_room(self, place: str) -> bool:
        return self._total < self._in_all and self._taken[place] < self._per_host

    def _count(self, place: str) -> None:
        self._taken[place] += 1
        self._total += 1

    async def _wait(self, place: str) -> None:
        queue = self._queues.get(place, ())
        if len(queue) >= self._per_host or self._waiting >= self._in_all:
            raise EgressFailed(
                f"Too many requests are under way: {self._taken[place]} to {place} and "
                f"{self._total} in all, with {len(queue)} and {self._waiting} waiting; at most "
                f"{self._per_host} and {self._in_all} may be, and as many wait."
            )
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(place, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(place, turn)
            else:
                # The slot came at the moment in which nobody wanted it any more.
                self.free(place)
            raise

    def _leave(self, place: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(place)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del self._queues[place]

    def _hand_on(self) -> None:
        for place in [*self._queues]:
            if self._has_room(place):
                turn = self._next(place)
                if turn is not None:
                    self._count(place)
                    turn.set_result(None)
                    return

    def _next(self, place: str) -> asyncio.Future[None] | None:
        """The first who still waits for a place; its queue goes behind those of other hosts."""
        queue = self._queues.pop(place)
        turn = None
        while queue and turn is None:
            first = queue.popleft()
            self._waiting -= 1
            turn = None if first.done() else first
        if queue:
            self._queues[place] = queue
        return turn
