"""One client of the soak: its chance, its connection, what it may expect; and the table of habits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias

from tests.soak.ledger import Broken, Ledger
from tests.soak.wire import Closed, Key, Link, Reply, signed
from tests.soak.world import APPS, World

__all__ = ["ANSWER_SECONDS", "HABITS", "Client", "Habit", "habit"]

ANSWER_SECONDS: Final = 30.0
"""Within which every request is answered or refused that waits for no one else: the machine is
shared with the clients, which take more of it than the server does."""

_ENDING: Final = frozenset({"503 ServiceUnavailable", "200 ABORTED Stepout.Shutdown"})


class Client:
    """Does one thing after another until it is told to stop."""

    def __init__(self, world: World, ledger: Ledger, random: Random) -> None:
        self.world = world
        self.ledger = ledger
        self.random = random
        self.state: dict[str, Any] = {}
        """What it remembers from one turn to the next."""
        self._link: Link | None = None

    async def turn(self, habits: list[Habit]) -> None:
        """Do one thing, and put down what came of it."""
        habit = self.random.choices(habits, [habit.weight for habit in habits])[0]
        try:
            async with asyncio.timeout(habit.seconds):
                outcome = await habit.do(self)
        except Closed as closed:
            outcome = "closed"
            if not self.may_be_closed:
                self.ledger.breaks(f"{habit.name}: the server closed the connection ({closed}).")
        except TimeoutError:
            outcome = "no answer in time"
            self.ledger.breaks(f"{habit.name}: not answered within {habit.seconds:g} s.")
        except Broken as broken:
            outcome = "broken"
            self.ledger.breaks(f"{habit.name}: {broken}")
        if outcome in ("closed", "no answer in time", "broken"):
            self.drop()
        self.ledger.count(habit.name, outcome)

    @property
    def may_be_closed(self) -> bool:
        """Whether the server may turn away whoever comes."""
        return self.world.is_flooded or self.world.is_ending

    @property
    def app(self) -> Key:
        return self.world.keys[f"app{self.random.randrange(APPS)}"]

    async def ask(self, key: Key, operation: str, members: Any, **more: Any) -> Reply:
        """Send a signed request over the kept connection; see `tell`."""
        return await self.tell(signed(key, operation, members, **more))

    async def run(self, machine: str, source: Any, key: Key | None = None, **more: Any) -> Reply:
        """StartSyncExecution."""
        members = {"stateMachineArn": self.world.machine(machine), "input": json.dumps(source)}
        return await self.ask(key or self.app, "StartSyncExecution", members, **more)

    async def tell(self, request: bytes) -> Reply:
        """Send a request over the kept connection. One that the server has closed since is made
        anew, once, as SDKs do."""
        while True:
            link = self._link or await Link.open(self.world.port, self.world.tls)
            self._link = None
            try:
                await link.send(request)
                reply = await link.reply()
            except Closed:
                link.drop()
                if link.answers:
                    continue
                raise
            except BaseException:
                link.drop()
                raise
            self._take(link, reply)
            return reply

    def check(self, reply: Reply) -> None:
        """No secret is in an answer, and none tells of a failure inside."""
        for sentence in self.world.canaries.found_in("An answer", reply.body):
            self.ledger.breaks(sentence)
        if reply.status == 500:
            raise Broken(f"answered {reply.outcome}.")

    def expect(self, reply: Reply, *outcomes: str) -> str:
        """The outcome of a reply, which has to begin like one of these."""
        outcome = reply.outcome
        allowed = (*outcomes, *_ENDING) if self.world.is_ending else outcomes
        if self.world.is_flooded and reply.status == 503:
            return outcome
        if not outcome.startswith(allowed):
            raise Broken(
                f"expected {' or '.join(outcomes)}, found {outcome}: {reply.body[:300]!r}."
            )
        return outcome

    @asynccontextmanager
    async def fresh(self, *, raw: bool = False) -> AsyncIterator[Link]:
        """A connection of its own, reset at the end; with `raw` without TLS."""
        link = await Link.open(self.world.port, None if raw else self.world.tls)
        try:
            yield link
        finally:
            link.drop()

    def drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    def _take(self, link: Link, reply: Reply) -> None:
        self.check(reply)
        if reply.headers.get("connection") == "close" or self.random.random() < 0.05:
            link.close()
        else:
            self._link = link


Do: TypeAlias = Callable[[Client], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Habit:
    """A thing that clients do, how often and for how long at most."""

    name: str
    group: str
    weight: float
    seconds: float
    do: Do


HABITS: Final[list[Habit]] = []
"""All of them, in the order of their definition."""


def habit(group: str, weight: float, seconds: float = ANSWER_SECONDS) -> Callable[[Do], Do]:
    """Register a habit; its name is the function's."""

    def register(do: Do) -> Do:
        name = do.__name__.replace("_", " ")
        HABITS.append(Habit(name, group, weight, seconds, do))
        return do

    return register
