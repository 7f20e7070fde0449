"""The course of a soak: load, quiet, load again and an end, a new start; then the report.

- *Load*: all habits at once, and everything around the server changes. A probe calls all the while,
  as a client that does nothing wrong would.
- *Quiet*: all clients are gone. What they cost has to be given back: descriptors, sockets, tasks.
- *End*: load again, and SIGTERM in the middle of it.
- *Start*: a new server on the same data directory has what was kept, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from tests.soak import admins, broken, callers
from tests.soak.client import HABITS, Client
from tests.soak.ledger import Ledger, Sample, growth, quantile
from tests.soak.machines import one_pass
from tests.soak.outputs import Outputs
from tests.soak.process import sample
from tests.soak.wire import Closed, Link, Reply, signed
from tests.soak.world import DRAIN_SECONDS, World

__all__ = ["LONG", "SHORT", "Plan", "Soak"]

_HABITS: Final = {module.__name__ for module in (admins, broken, callers)}
"""Modules whose habits are registered by importing them."""

STOP_SECONDS: Final = DRAIN_SECONDS + 15.0
"""For a server to end: the drain, 5 s for answers that are being made, and what a busy machine
takes on top."""

MAX_THREADS: Final = 16
MAX_FILES: Final = 128
"""Descriptors of a server that nobody calls: the store, its lock, logs of at most 64 groups."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done, and what is still good."""

    seconds: float
    workers: dict[str, int]
    """Group of habits → clients of it at one time."""
    disk_seconds: float
    """Between two full disks; half of it at least."""
    flood_seconds: float
    quiet_seconds: float
    """For what is under way to end by itself: a token request takes 60 s."""
    probe_p99: float
    probe_max: float
    memory: float | None
    """MB by which memory may grow once it is warm; None where the time is too short to tell."""


LONG: Final = Plan(
    seconds=600.0,
    workers={"calls": 40, "broken": 16, "slow": 40, "admin": 6, "greedy": 4},
    disk_seconds=20.0,
    flood_seconds=60.0,
    quiet_seconds=90.0,
    probe_p99=2.0,
    probe_max=10.0,
    memory=24.0,
)

SHORT: Final = replace(
    LONG,
    seconds=12.0,
    workers={"calls": 12, "broken": 6, "slow": 6, "admin": 2, "greedy": 1},
    disk_seconds=4.0,
    flood_seconds=8.0,
    quiet_seconds=75.0,
    probe_p99=10.0,
    probe_max=20.0,
    memory=None,
)


class Soak:
    """One run in a world."""

    def __init__(self, world: World, plan: Plan, seed: int, seconds: float) -> None:
        self.world = world
        self.plan = plan
        self.seed = seed
        self.seconds = seconds
        self.ledger = Ledger()
        self.outputs = Outputs(world, self.ledger)
        self.probes: Counter[str] = Counter()
        self.quiet: Sample | None = None
        self.base: Sample | None = None
        self.quiet_after = 0.0
        self.end_seconds = 0.0
        self._work: list[asyncio.Task[None]] = []
        self._is_over = False

    async def run(self) -> None:
        """Everything, in its order; what is found is in the ledger."""
        world = self.world
        world.start()
        await world.set_up()
        self.base = await self._sample()
        self._started = time.monotonic()
        await self._load(self.seconds, self._around())
        if world.status is None:
            await self._be_quiet()
        if world.status is None:
            await self._end_under_load()
        if world.status == 0:
            await self._start_again()
        world.kill()
        self.outputs.look(is_last=True)
        self._judge()

    # --- Load -------------------------------------------------------------------------------------

    def _around(self) -> Iterator[Coroutine[Any, Any, None]]:
        world, plan = self.world, self.plan
        yield admins.change_files(world, self._random("files"))
        yield admins.fill_disks(world, self._random("disks"), plan.disk_seconds)
        yield admins.send_signals(world, self._random("signals"))
        yield admins.flood(world, self._random("flood"), plan.flood_seconds)
        yield self.outputs.watch(min(3.0, plan.disk_seconds))
        yield self._measure()

    async def _load(self, seconds: float, around: Iterator[Coroutine[Any, Any, None]]) -> None:
        """All clients for a while; each ends what it has begun."""
        self._is_over = False
        others = [asyncio.create_task(work) for work in around]
        clients = [
            asyncio.create_task(self._client(group, number))
            for group, workers in self.plan.workers.items()
            for number in range(workers)
        ]
        clients.append(asyncio.create_task(self._probe()))
        # Only a server that is told to ends sooner.
        await asyncio.to_thread(self.world.end, seconds)
        self._is_over = True
        if self.world.status is not None and not self.world.is_ending:
            self.ledger.breaks(f"The server ended with the status {self.world.status}.")
        for task in others:
            task.cancel()
        done = await asyncio.gather(*others, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                raise error
        if self.world.status is not None:
            for task in clients:
                task.cancel()
        for error in await asyncio.gather(*clients, return_exceptions=True):
            if isinstance(error, Exception):
                raise error
        self.world.is_flooded = False

    async def _client(self, group: str, number: int) -> None:
        client = Client(self.world, self.ledger, self._random(f"{group} {number}"))
        habits = [habit for habit in HABITS if habit.group == group]
        while not self._is_over:
            await client.turn(habits)
            if client.may_be_closed:
                await asyncio.sleep(0.05)
        client.drop()

    async def _probe(self) -> None:
        """A call every 50 ms, as of a client that does nothing wrong."""
        client = Client(self.world, self.ledger, self._random("probe"))
        key = self.world.keys["probe"]
        while not self._is_over:
            began = time.monotonic()
            try:
                async with asyncio.timeout(2 * self.plan.probe_max):
                    outcome = (await client.run("pass", {}, key)).outcome
            except Closed:
                outcome = "closed"
            except TimeoutError:
                outcome = "no answer in time"
            taken = time.monotonic() - began
            if not client.may_be_closed and not self._is_over:
                self.ledger.probe.append(taken)
                if outcome != "200 SUCCEEDED":
                    self.ledger.breaks(f"The probe was answered with: {outcome}.")
            self.probes[outcome] += 1
            await asyncio.sleep(max(0.0, 0.05 - taken))
        client.drop()

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.ledger.samples.append(sample(self.world.pid, time.monotonic() - self._started))

    async def _sample(self) -> Sample:
        """With what only the server knows."""
        reply = await self._get("/_stepout/metrics")
        seconds = 0.0 if self.base is None else time.monotonic() - self._started
        return replace(
            sample(self.world.pid, seconds),
            tasks=_metric(reply, "stepout_tasks"),
            executions=_metric(reply, "stepout_executions_in_flight"),
        )

    async def _get(self, path: str) -> Reply:
        link = await Link.open(self.world.port, self.world.tls)
        try:
            await link.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            return await link.reply()
        finally:
            link.drop()
            # The server has to hear of it before it is looked at.
            await asyncio.sleep(0.1)

    # --- Quiet ------------------------------------------------------------------------------------

    async def _be_quiet(self) -> None:
        """Wait until nothing is left of the clients, or the time for that is over."""
        admins.restore_files(self.world)
        began = time.monotonic()
        while True:
            self.quiet = await self._sample()
            self.quiet_after = time.monotonic() - began
            if not self._left(self.quiet) or self.quiet_after > self.plan.quiet_seconds:
                break
            await asyncio.sleep(1.0)
        for sentence in self._left(self.quiet):
            self.ledger.breaks(f"{self.quiet_after:.0f} s after the load: {sentence}")

    def _left(self, found: Sample) -> list[str]:
        """What the load has left behind."""
        base = self.base
        assert base is not None
        assert base.tasks is not None
        assert found.tasks is not None
        sockets = {
            state: number
            for state, number in found.sockets.items()
            if state not in ("LISTEN", "UDP", "other")
        }
        most = [
            ("executions", found.executions or 0, 0),
            ("tasks", found.tasks, base.tasks),
            ("threads", found.threads, MAX_THREADS),
            ("files", found.files, MAX_FILES),
            ("UDP sockets", found.sockets["UDP"], 4),
            ("other sockets", found.sockets["other"], base.sockets["other"]),
            *((f"sockets {state}", number, 0) for state, number in sockets.items()),
        ]
        return [
            f"{number} {what}, expected {allowed} at most."
            for what, number, allowed in most
            if number > allowed
        ]

    # --- End and start ----------------------------------------------------------------------------

    async def _end_under_load(self) -> None:
        load = asyncio.create_task(self._load(3.0 + STOP_SECONDS, iter(())))
        await asyncio.sleep(3.0)
        self.world.is_ending = True
        self.world.send(signal.SIGTERM)
        began = time.monotonic()
        status = await asyncio.to_thread(self.world.end, STOP_SECONDS)
        self.end_seconds = time.monotonic() - began
        if status is None:
            self.ledger.breaks(f"SIGTERM did not end the server within {STOP_SECONDS:g} s.")
            self.world.kill()
        elif status != 0:
            self.ledger.breaks(f"After SIGTERM the server ended with the status {status}.")
        await load

    async def _start_again(self) -> None:
        """The data directory has the machines that were kept, each whole, and no other."""
        world = self.world
        world.is_ending = False
        world.start()
        link = await Link.open(world.port, world.tls)
        for name, comment in world.kept.items():
            members = {"stateMachineArn": world.machine(name)}
            reply = await _untroubled(link, world, members)
            if reply.status != 200:
                self.ledger.breaks(f"A machine that was kept is gone: {reply.outcome}.")
            elif comment and reply.document["definition"] != one_pass(comment):
                self.ledger.breaks("A machine has another definition after the restart.")
        link.close()
        world.send(signal.SIGTERM)
        status = await asyncio.to_thread(world.end, STOP_SECONDS)
        if status != 0:
            self.ledger.breaks(f"The second server ended with the status {status}.")

    # --- Report -----------------------------------------------------------------------------------

    def _judge(self) -> None:
        ledger, plan = self.ledger, self.plan
        measured = {
            "p99": (quantile(ledger.probe, 0.99), plan.probe_p99),
            "max": (max(ledger.probe, default=0.0), plan.probe_max),
        }
        for name, (found, most) in measured.items():
            if found > most:
                ledger.breaks(f"The probe's {name} is {found:.2f} s, expected {most:g} s at most.")
        grown = growth([one.pss for one in ledger.samples])
        if plan.memory is not None and grown > plan.memory:
            ledger.breaks(f"Memory grows: by {grown:.0f} MB, expected {plan.memory:g} MB at most.")
        left = list(self.world.temporary.iterdir())
        if left:
            ledger.breaks(f"{len(left)} temporary files are left, such as {left[0].name}.")
        if not ledger.probe:
            ledger.breaks("The probe was never answered.")

    def _random(self, name: str) -> Random:
        return Random(f"{self.seed} {name}")

    def report(self) -> str:
        """The table."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        world, ledger, outputs = self.world, self.ledger, self.outputs
        kind = "short soak, looser bounds" if self.plan is SHORT else "soak"
        yield f"{kind}: seed {self.seed}, {self.seconds:g} s of load, {ledger.requests} turns"
        yield f"disks filled: {_told(world.disks_filled) or 'none'}; floods: {world.floods}"
        yield (
            f"searched for {world.canaries.count} secrets: {outputs.bytes / 1e6:.0f} MB of logs, "
            "all answers, the data directory"
        )
        yield from self._outcome_lines()
        yield ""
        times = ledger.probe
        yield (
            f"probe: {len(times)} calls, p50 {quantile(times, 0.5) * 1_000:.1f} ms, "
            f"p99 {quantile(times, 0.99) * 1_000:.0f} ms, max {max(times, default=0) * 1_000:.0f} ms"
        )
        yield from self._sample_lines()
        yield f"SIGTERM under load: exit after {self.end_seconds:.1f} s"
        yield f"lines: {_told(outputs.lines)}"
        yield f"events of the log: {_told(outputs.events)}"
        yield ""
        yield from (f"BROKEN ({count}x): {text}" for text, count in ledger.broken.most_common())
        yield "every promise was kept" if not ledger.broken else "promises were broken"

    def _outcome_lines(self) -> Iterator[str]:
        yield ""
        yield f"{'client':22} {'turns':>8}  outcomes"
        for habit in HABITS:
            outcomes = self.ledger.outcomes.get(habit.name)
            if outcomes:
                yield f"{habit.name:22} {outcomes.total():>8}  {_told(outcomes)}"

    def _sample_lines(self) -> Iterator[str]:
        yield ""
        yield f"{'':12} {'RSS MB':>7} {'PSS MB':>7} {'threads':>7} {'fds':>6}  sockets"
        named = [("at start", self.base), *self._marks(), ("quiet", self.quiet)]
        for name, one in named:
            if one is not None:
                states = " ".join(
                    f"{state} {count}" for state, count in sorted(one.sockets.items())
                )
                known = "" if one.tasks is None else f"; tasks {one.tasks}"
                yield (
                    f"{name:12} {one.rss:>7.0f} {one.pss:>7.0f} {one.threads:>7} "
                    f"{one.descriptors:>6}  {states}{known}"
                )
        yield f"quiet after {self.quiet_after:.0f} s"

    def _marks(self) -> Iterator[tuple[str, Sample]]:
        """The sample next to each full minute."""
        samples = self.ledger.samples
        for minute in range(1, int(self.seconds // 60) + 1):
            yield f"{minute} min", min(samples, key=lambda one: abs(one.second - minute * 60))


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(8) if count)


def _metric(reply: Reply, name: str) -> int | None:
    found = re.search(rf"^{name} (\S+)$", reply.body.decode(), re.MULTILINE)
    return None if found is None else int(float(found[1]))


async def _untroubled(link: Link, world: World, members: dict[str, Any]) -> Reply:
    """What the administrator is answered when its rate lets it ask."""
    while True:
        await link.send(signed(world.keys["admin"], "DescribeStateMachine", members))
        reply = await link.reply()
        if "Throttling" not in reply.outcome:
            return reply
        await asyncio.sleep(0.02)
