"""The driver and Express runs: real time in milliseconds, real tasks, real cancellation."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepout.asl.machine import Machine
from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json
from stepout.engine.turn import Run, Turn
from stepout.errors import Fenced
from stepout.journal.memory import MemoryJournal
from stepout.runtime.clock import SystemClock
from stepout.runtime.driver import Driver
from stepout.runtime.express import MAX_RUNS, Express, ShuttingDown, TooManyRuns
from stepout.runtime.machines import Machines
from stepout.runtime.pool import EvaluationPool
from stepout.tasks import Integrations, Scope

HTTP = "arn:aws:states:::http:invoke"
PASS = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
Work = Callable[[Json, Scope], Awaitable[Json | StatesError]]


def task(**fields: Any) -> Machine:
    parameters = {
        "ApiEndpoint": "https://api.example.com/",
        "Method": "GET",
        "Authentication": {"ConnectionArn": "arn"},
    }
    state = {"Type": "Task", "Resource": HTTP, "Parameters": parameters, "End": True, **fields}
    return parse(json.dumps({"StartAt": "T", "States": {"T": state}}))


def run_of(name: str = "n", **changes: Any) -> Run:
    clock = SystemClock()
    members: dict[str, Any] = {
        "arn": f"arn:aws:states:us-east-1:123456789012:express:m:{name}:u",
        "name": name,
        "role_arn": "arn:aws:iam::123456789012:role/r",
        "machine_arn": "arn:aws:states:us-east-1:123456789012:stateMachine:m",
        "machine_name": "m",
        "region": "us-east-1",
        "account": "123456789012",
        "started_at": clock.now(),
        "input": Document({"x": 1}),
        "is_express": True,
        "limit_ms": 300_000,
    }
    return Run(**{**members, **changes})


def make(
    work: Work | None = None, journal: MemoryJournal | None = None, max_runs: int = MAX_RUNS
) -> Express:
    journal = MemoryJournal() if journal is None else journal
    integrations: Any = {} if work is None else {HTTP: work}
    clock, pool = SystemClock(), EvaluationPool()
    driver = Driver(journal, Integrations(integrations), clock, pool)
    return Express(driver, journal, clock, max_runs)


async def test_a_run_ends_with_its_output_and_leaves_nothing_behind() -> None:
    journal = MemoryJournal()
    runs = make(journal=journal)
    outcome = await runs.run(parse(PASS), run_of())
    assert outcome.finish.status == "SUCCEEDED"
    assert outcome.finish.output is not None
    assert outcome.finish.output.value == {"x": 1}
    assert (len(journal), runs.in_flight) == (0, 0)


async def test_an_integration_gets_the_arguments_and_for_whom_it_works() -> None:
    seen: list[tuple[Json, Scope]] = []

    async def work(arguments: Json, scope: Scope) -> Json:
        seen.append((arguments, scope))
        return {"ok": True}

    run = run_of()
    outcome = await make(work).run(task(), run)
    assert outcome.finish.output is not None
    assert outcome.finish.output.value == {"ok": True}
    arguments, scope = seen[0]
    assert arguments["ApiEndpoint"] == "https://api.example.com/"
    assert (scope.state_name, scope.execution_arn, scope.region) == ("T", run.arn, "us-east-1")


async def test_an_integration_that_raises_fails_the_run_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(_arguments: Json, _scope: Scope) -> Json:
        raise KeyError("ours")

    outcome = await make(work).run(task(), run_of())
    assert outcome.finish.error == StatesError(
        "States.Runtime", "stepout failed inside; its log says why."
    )
    assert "integration failed" in caplog.text


async def test_a_time_out_cancels_the_work_behind_it() -> None:
    ended = asyncio.Event()

    async def work(_arguments: Json, _scope: Scope) -> Json:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    outcome = await make(work).run(task(), run_of(limit_ms=20))
    assert outcome.finish.status == "TIMED_OUT"
    assert outcome.finish.error == StatesError("States.Timeout")
    async with asyncio.timeout(1):
        await ended.wait()


async def test_a_caller_that_leaves_ends_the_run_and_its_work() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work(_arguments: Json, _scope: Scope) -> Json:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    journal = MemoryJournal()
    runs = make(work, journal)
    running = asyncio.create_task(runs.run(task(), run_of()))
    await started.wait()
    assert runs.in_flight == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(1):
        await ended.wait()
    assert (len(journal), runs.in_flight) == (0, 0)


async def test_a_retry_calls_again_after_its_delay() -> None:
    calls: list[float] = []

    async def work(_arguments: Json, _scope: Scope) -> Json | StatesError:
        calls.append(asyncio.get_running_loop().time())
        return StatesError("A", "why") if len(calls) == 1 else {"ok": 1}

    retry = [{"ErrorEquals": ["A"], "IntervalSeconds": 1}]
    outcome = await make(work).run(task(Retry=retry), run_of())
    assert outcome.finish.status == "SUCCEEDED"
    assert calls[1] - calls[0] >= 0.99


async def test_a_drain_waits_for_what_finishes_in_time() -> None:
    async def work(_arguments: Json, _scope: Scope) -> Json:
        await asyncio.sleep(0.03)
        return {}

    runs = make(work)
    running = asyncio.create_task(runs.run(task(), run_of()))
    await asyncio.sleep(0)
    assert await runs.drain(5) == 0
    assert (await running).finish.status == "SUCCEEDED"


async def test_a_drain_stops_what_does_not_and_says_so() -> None:
    async def work(_arguments: Json, _scope: Scope) -> Json:
        await asyncio.Event().wait()

    runs = make(work)
    running = [asyncio.create_task(runs.run(task(), run_of(str(n)))) for n in range(3)]
    await asyncio.sleep(0)
    assert await runs.drain(0.01) == 3
    outcomes = await asyncio.gather(*running)
    assert all(outcome.is_shutdown for outcome in outcomes)
    assert await runs.drain(0) == 0


async def test_a_server_that_drains_takes_no_new_runs() -> None:
    runs = make()
    await runs.drain(0)
    with pytest.raises(ShuttingDown):
        await runs.run(parse(PASS), run_of())


async def test_more_runs_than_the_server_is_willing_to_drive_are_refused() -> None:
    async def work(_arguments: Json, _scope: Scope) -> Json:
        await asyncio.Event().wait()

    runs = make(work, max_runs=2)
    begun: list[str] = []
    running = [
        asyncio.create_task(runs.run(task(), run_of(str(n)), started=begun.append))
        for n in range(2)
    ]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRuns):
        await runs.run(task(), run_of("3"), started=begun.append)
    assert begun == [run_of("0").arn, run_of("1").arn]
    await runs.drain(0)
    await asyncio.gather(*running)


async def test_a_long_run_of_states_lets_others_in() -> None:
    """A machine of a thousand states yields to the loop between its turns."""
    states: dict[str, Any] = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(1_000)}
    states["S1000"] = {"Type": "Succeed"}
    machine = parse(json.dumps({"StartAt": "S0", "States": states}))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await make().run(machine, run_of())
    running.cancel()
    assert turns >= 10


class FencingJournal(MemoryJournal):
    async def commit(self, arn: str, rev: int, turn: Turn) -> None:
        raise Fenced(arn)


async def test_a_run_that_another_has_taken_is_left_quietly() -> None:
    async def work(_arguments: Json, _scope: Scope) -> Json:
        return {}

    with pytest.raises(Fenced):
        await make(work, FencingJournal()).run(task(), run_of())


async def test_each_run_is_one_line_without_its_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepout.execution")
    await make().run(parse(PASS), run_of(input=Document({"secret": "sesame"})))
    (record,) = caplog.records
    fields = vars(record)["fields"]
    assert fields["status"] == "SUCCEEDED"
    assert fields["arn"].endswith(":express:m:n:u")
    assert "sesame" not in f"{fields}{caplog.text}"


async def test_a_definition_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepout.runtime.machines._KEPT", 100_000)
    compiled = Machines(EvaluationPool())
    first = await compiled.compile(PASS, is_express=True)
    assert await compiled.compile(PASS, is_express=True) is first
    assert await compiled.compile(PASS, is_express=False) is not first
    large = json.dumps({**json.loads(PASS), "Comment": "x" * 99_900})
    await compiled.compile(large, is_express=True)
    assert await compiled.compile(PASS, is_express=True) is not first
