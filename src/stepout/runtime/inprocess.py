"""Runs a machine in the caller's process: no server, Tasks are Python functions or mocks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from stepout.asl.machine import Machine
from stepout.asl.values import (
    MAX_DEPTH,
    MISSING,
    PAYLOAD_LIMIT,
    Document,
    Json,
    Missing,
    dumps,
    is_too_deep,
    loads,
)
from stepout.engine.commands import Status
from stepout.engine.history import Event
from stepout.engine.turn import Run
from stepout.errors import JsonError, SettingsError
from stepout.journal.memory import MemoryJournal
from stepout.runtime.clock import SystemClock
from stepout.runtime.driver import Driver, Inbox
from stepout.runtime.pool import EvaluationPool
from stepout.tasks import Integrations
from stepout.tasks.mocks import Functions, Mocks, TaskFunction

__all__ = ["Result", "run"]

_REGION: Final = "us-east-1"
_ACCOUNT: Final = "123456789012"
_ROLE: Final = f"arn:aws:iam::{_ACCOUNT}:role/stepout"


@dataclass(frozen=True, slots=True)
class Result:
    """How an execution ended."""

    status: Status
    output: Json
    """None unless it succeeded."""
    error: str | None
    cause: str | None
    events: tuple[Event, ...]
    """Its history, in order."""


async def run(
    machine: Machine,
    input: Json | Missing = MISSING,  # noqa: A002 — the word of the States Language
    *,
    tasks: Mapping[str, TaskFunction] | None = None,
    mocks: Mocks | None = None,
    test_case: str | None = None,
    name: str = "machine",
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Run a machine to its end.

    `input` is the execution's input as JSON values, `{}` where it is not given. `tasks` are
    functions by the name of a state or the ARN of a resource: each takes the Task's arguments and
    gives its result, at once or awaited, or raises `stepout.TaskFailed`. `mocks` with `test_case`
    take their place as Step Functions Local's mock file has it, for the machine called `name`.
    Waits last as long as they say. Raises `JsonError` for an input that is not JSON or too large,
    `SettingsError` for a test case that the mocks do not have. What a function raises that is no
    `Exception`, such as `pytest.fail`, ends the run and is raised here.
    """
    _check(machine, tasks, mocks, test_case, name)
    source = _document({} if isinstance(input, Missing) else input)
    escaped: list[BaseException] = []
    functions = {key: _watched(function, escaped) for key, function in (tasks or {}).items()}
    finders = (mocks or Mocks(), Functions(functions))
    pool = EvaluationPool()
    driver = Driver(MemoryJournal(), Integrations({}, finders), SystemClock(), pool)
    events: list[Event] = []

    def observe(found: Sequence[Event]) -> None:
        events.extend(found)
        if on_event is not None:
            for event in found:
                on_event(event)

    try:
        finish = await driver.drive(machine, _run(name, source, test_case), Inbox(), observe)
    finally:
        pool.close()
    if escaped:
        raise escaped[0]
    return Result(
        status=finish.status,
        output=None if finish.output is None else finish.output.value,
        error=None if finish.error is None else finish.error.error or None,
        cause=None if finish.error is None else finish.error.cause,
        events=tuple(events),
    )


def _check(
    machine: Machine,
    tasks: Mapping[str, TaskFunction] | None,
    mocks: Mocks | None,
    test_case: str | None,
    name: str,
) -> None:
    """Refuse what could only fail later, in the middle of the run."""
    if not isinstance(machine, Machine):
        raise TypeError(f"Expected a Machine, as Machine.parse gives it, found {machine!r}.")
    given: object = tasks or {}
    if not isinstance(given, Mapping) or not all(map(callable, given.values())):
        raise TypeError(f"Expected tasks to map names to functions, found {tasks!r}.")
    known = (mocks or Mocks()).cases(name)
    if test_case is not None and test_case not in known:
        raise SettingsError(
            f"The mocks have no test case '{test_case}' for the machine '{name}'; they have: "
            f"{', '.join(known) or 'none'}."
        )


def _watched(function: TaskFunction, escaped: list[BaseException]) -> TaskFunction:
    """The function; what leaves it that is meant for more than its Task is kept."""

    async def watched(arguments: Json) -> Any:
        try:
            result = function(arguments)
            return await result if inspect.isawaitable(result) else result
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            escaped.append(error)
            raise

    return watched


def _run(name: str, source: Document, test_case: str | None) -> Run:
    execution = str(uuid4())
    states = f"arn:aws:states:{_REGION}:{_ACCOUNT}"
    return Run(
        arn=f"{states}:express:{name}:{execution}:{uuid4()}",
        name=execution,
        role_arn=_ROLE,
        machine_arn=f"{states}:stateMachine:{name}",
        machine_name=name,
        region=_REGION,
        account=_ACCOUNT,
        started_at=SystemClock().now(),
        input=source,
        is_express=True,
        test_case=test_case,
        wants_events=True,
    )


def _document(value: Json) -> Document:
    """The input as JSON would carry it."""
    if is_too_deep(value):
        raise JsonError(f"The input nests deeper than {MAX_DEPTH} levels, or holds itself.")
    try:
        encoded = dumps(value)
    except (TypeError, ValueError) as error:
        raise JsonError(f"The input is not JSON: {error}.") from None
    if len(encoded) > PAYLOAD_LIMIT:
        raise JsonError(f"The input has {len(encoded)} bytes; it may have {PAYLOAD_LIMIT}.")
    return Document(loads(encoded), encoded)
