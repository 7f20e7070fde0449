"""Runs a machine in the caller's process: no server, Tasks are Python functions or mocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from stepout.asl.machine import Machine
from stepout.asl.values import MISSING, PAYLOAD_LIMIT, Document, Json, Missing, dumps, loads
from stepout.engine.commands import Status
from stepout.engine.history import Event
from stepout.engine.turn import Run
from stepout.errors import JsonError
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
    Waits last as long as they say. Raises `JsonError` for an input that is not JSON or too large.
    """
    finders = (Functions(tasks or {}), mocks or Mocks())
    pool = EvaluationPool()
    driver = Driver(MemoryJournal(), Integrations({}, finders), SystemClock(), pool)
    events: list[Event] = []

    def observe(found: Sequence[Event]) -> None:
        events.extend(found)
        if on_event is not None:
            for event in found:
                on_event(event)

    try:
        finish = await driver.drive(machine, _run(name, input, test_case), Inbox(), observe)
    finally:
        pool.close()
    return Result(
        status=finish.status,
        output=None if finish.output is None else finish.output.value,
        error=None if finish.error is None else finish.error.error or None,
        cause=None if finish.error is None else finish.error.cause,
        events=tuple(events),
    )


def _run(name: str, value: Json | Missing, test_case: str | None) -> Run:
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
        input=_document({} if isinstance(value, Missing) else value),
        is_express=True,
        test_case=test_case,
        wants_events=True,
    )


def _document(value: Json) -> Document:
    """The input as JSON would carry it."""
    try:
        encoded = dumps(value)
    except TypeError as error:
        raise JsonError(f"The input is not JSON: {error}.") from None
    if len(encoded) > PAYLOAD_LIMIT:
        raise JsonError(f"The input has {len(encoded)} bytes; it may have {PAYLOAD_LIMIT}.")
    return Document(loads(encoded), encoded)
