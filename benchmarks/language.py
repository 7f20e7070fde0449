"""The States Language in this process: what states, scopes and definitions cost.

Express executions through the server's own driver, without a wire around it. Rounds of all rows
alternate, the best of each counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import orjson

from benchmarks import machines
from stepout.asl.machine import Machine
from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json
from stepout.cli.event_loop import new_event_loop
from stepout.engine.inputs import Stop
from stepout.engine.turn import Run
from stepout.journal.memory import MemoryJournal
from stepout.runtime.clock import SystemClock
from stepout.runtime.driver import Driver, Inbox
from stepout.runtime.pool import EvaluationPool
from stepout.tasks import Integrations
from stepout.tasks.mocks import Functions

LINKS = 1_000
ITEMS = (40, 1_000, 10_000)
BRANCHES = (50, 500)
SIZES = (20, 200, 2_000, 10_000)
WAITING = 2_000

Measured = Callable[[], Awaitable[object]]

_Key = TypeVar("_Key", str, int)


def run(rounds: int) -> None:
    """Print the rows of the language."""
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        runner.run(_Language(rounds).run())


class _Language:
    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._clock = SystemClock()
        self._journal = MemoryJournal()
        self._pool = EvaluationPool()
        functions = Functions({machines.LAMBDA: lambda _arguments: {"is": "done"}})
        integrations = Integrations({}, (functions,))
        self._driver = Driver(self._journal, integrations, self._clock, self._pool)

    async def run(self) -> None:
        # First, while no row has left memory behind that could be used again.
        waiting = await self._memory()
        links = {
            name: self._running(machines.chain(LINKS, link, fields), {"n": 1})
            for name, (link, fields) in machines.LINKS.items()
        }
        maps = {n: self._running(machines.mapping(2), [*range(n)]) for n in ITEMS}
        parallels = {n: self._running(machines.parallel(n), {}) for n in BRANCHES}
        sizes = {n: _compiling(n) for n in SIZES}
        yardstick = (await self._best({"": _yardstick}))[""]
        found = await self._best(links)
        print(f"\na state of a chain{'µs':>23}{'yardsticks':>12}")
        for name, seconds in found.items():
            each = seconds / LINKS
            print(f"  {name:32}{each * 1e6:>7.1f}{each / yardstick:>12.2f}")
        _print("Map, two Pass states an item", "item", await self._best(maps))
        _print("Parallel, one Pass state a branch", "branch", await self._best(parallels))
        _print("compile a definition", "state", await self._best(sizes))
        print(f"\nan execution that waits: {waiting:.1f} KB")
        print(f"the yardstick: orjson reads and writes 6 KB in {yardstick * 1e6:.1f} µs")
        self._pool.close()

    def _running(self, definition: str, source: Json) -> Measured:
        machine = parse(definition, is_express=True)
        return lambda: self._drive(machine, source, Inbox())

    async def _drive(self, machine: Machine, source: Json, inbox: Inbox) -> None:
        run = self._run(source)
        try:
            finish = await self._driver.drive(machine, run, inbox)
        finally:
            await self._journal.forget(run.arn)
        if finish.status == "FAILED":
            raise RuntimeError(f"The machine failed: {finish.error}")

    def _run(self, source: Json) -> Run:
        name = str(uuid4())
        return Run(
            arn=f"arn:aws:states:us-east-1:123456789012:express:bench:{name}:{name}",
            name=name,
            role_arn="arn:aws:iam::123456789012:role/bench",
            machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:bench",
            machine_name="bench",
            region="us-east-1",
            account="123456789012",
            started_at=self._clock.now(),
            input=Document(source),
            is_express=True,
        )

    async def _best(self, rows: dict[_Key, Measured]) -> dict[_Key, float]:
        """Seconds of each row."""
        best = dict.fromkeys(rows, float("inf"))
        for _ in range(self._rounds + 1):
            for name, measured in rows.items():
                started = time.perf_counter()
                await measured()
                best[name] = min(best[name], time.perf_counter() - started)
        return best

    async def _memory(self) -> float:
        """Kilobytes of one of many executions that wait."""
        machine = parse(machines.waiting(300), is_express=True)
        gc.collect()
        before = _resident_kb()
        inboxes = [Inbox() for _ in range(WAITING)]
        drives = [asyncio.create_task(self._drive(machine, {}, inbox)) for inbox in inboxes]
        await asyncio.sleep(0.1)
        each = (_resident_kb() - before) / WAITING
        for inbox in inboxes:
            inbox.put(Stop(StatesError("Bench.Over")))
        await asyncio.gather(*drives)
        return each


def _compiling(states: int) -> Measured:
    definition = machines.chain(states, *machines.LINKS["Pass, Parameters of two members"])

    async def compile_it() -> None:
        parse(definition, is_express=True)

    return compile_it


async def _yardstick() -> None:
    orjson.loads(orjson.dumps(_DOCUMENT))


_DOCUMENT = {f"key{n}": {"id": n, "name": f"name of {n}", "tags": ["a", "b"]} for n in range(90)}
assert 5_000 < len(json.dumps(_DOCUMENT)) < 7_000


def _print(what: str, part: str, seconds: dict[int, float]) -> None:
    print(f"\n{what}{'ms':>{41 - len(what)}}{f'µs a {part}':>14}")
    for count, took in seconds.items():
        print(f"  {count:>6,}{took * 1e3:>33.2f}{took / count * 1e6:>14.1f}")


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])
