"""An execution played without a driver: virtual time, answers from a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json
from stepout.engine.commands import Call, Cancel, Command, Finish, Timer
from stepout.engine.execution import BUDGET, Execution
from stepout.engine.frames import from_json as frame_from_json
from stepout.engine.history import Event
from stepout.engine.inputs import Done, Failed, Fired, Input
from stepout.engine.turn import Meta, Run, Turn

SEED = bytes(32)
T0 = 1_700_000_000_000
HTTP = "arn:aws:states:::http:invoke"
CONNECTION = (
    "arn:aws:events:us-east-1:123456789012:connection/c/11111111-2222-3333-4444-555555555555"
)

Answer = Callable[[Call, int], Json | StatesError]
"""What the outside world does with a call; the number counts the calls of the execution."""


def http_task(**fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": HTTP,
        "Parameters": {
            "ApiEndpoint": "https://api.example.com/",
            "Method": "GET",
            "Authentication": {"ConnectionArn": CONNECTION},
        },
        **({} if "Next" in fields else {"End": True}),
        **fields,
    }


def machine(**states: dict[str, Any]) -> str:
    return json.dumps({"StartAt": next(iter(states)), "States": states})


def run_of(source: Json = None, **fields: Any) -> Run:
    return Run(
        arn="arn:aws:states:us-east-1:123456789012:express:m:n:u",
        name="n",
        role_arn="arn:aws:iam::123456789012:role/r",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:m",
        machine_name="m",
        region="us-east-1",
        account="123456789012",
        started_at=T0,
        input=Document({} if source is None else source),
        **{"is_express": True, "wants_events": True, **fields},
    )


@dataclass
class World:
    """Plays driver and outside: virtual time, answers from a function, everything recorded."""

    definition: str
    answer: Answer = lambda _call, _number: {"StatusCode": 200}
    budget: int = BUDGET
    restores: bool = False
    now: int = T0
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    turns: int = 0
    _order: Iterator[int] = field(default_factory=count)
    calls: int = 0

    def run(self, run: Run, inputs: Sequence[Input] = ()) -> Finish:
        compiled = parse(self.definition)
        execution, turn = Execution.start(compiled, run, self.now, SEED, self.budget)
        store = Store(run)
        pending: list[tuple[int, int, Input]] = []
        extra = list(inputs)
        for _ in range(10_000):
            store.commit(turn)
            self.turns += 1
            self.events += turn.events
            self.commands += turn.commands
            if turn.finish is not None:
                assert not store.frames, "a finished execution keeps no frames"
                return turn.finish
            self._perform(turn, pending)
            if self.restores:
                execution = store.restore(compiled)
            arrived: list[Input] = []
            if not turn.more:
                arrived = [extra.pop(0)] if extra else [self._next(pending)]
            turn = execution.handle(arrived, self.now, SEED, self.budget)
        raise AssertionError("the execution did not end")

    def _perform(self, turn: Turn, pending: list[tuple[int, int, Input]]) -> None:
        for command in turn.commands:
            if isinstance(command, Call):
                self.calls += 1
                result = self.answer(command, self.calls)
                answered: Input = (
                    Failed(command.id, result)
                    if isinstance(result, StatesError)
                    else Done(command.id, result)
                )
                if result is not NEVER:
                    pending.append((self.now + 10, next(self._order), answered))
            elif isinstance(command, Timer):
                pending.append((command.due, next(self._order), Fired(command.id)))
            elif isinstance(command, Cancel):
                pending[:] = [entry for entry in pending if entry[2].id != command.id]  # type: ignore[union-attr]

    def _next(self, pending: list[tuple[int, int, Input]]) -> Input:
        due, _, item = min(pending)
        pending.remove((due, _, item))
        self.now = max(self.now, due)
        return item

    @property
    def trace(self) -> list[str]:
        return [f"{event.id}<{event.previous_id} {event.type}" for event in self.events]

    @property
    def delays(self) -> list[int]:
        """Seconds of the back-off timers."""
        return [command.due for command in self.commands if isinstance(command, Timer)]


NEVER = StatesError("test.never")


class Store:
    """What a journal keeps, as JSON text, so that nothing lives on by reference."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.meta = ""
        self.frames: dict[str, str] = {}

    def commit(self, turn: Turn) -> None:
        self.meta = json.dumps(turn.meta.to_json())
        for frame_id, frame in turn.changed.items():
            self.frames[frame_id] = json.dumps(frame.to_json())
        for frame_id in turn.removed:
            self.frames.pop(frame_id, None)

    def restore(self, compiled: Any) -> Execution:
        frames = {key: frame_from_json(json.loads(text)) for key, text in self.frames.items()}
        return Execution.restore(compiled, self.run, Meta.from_json(json.loads(self.meta)), frames)


def finish_of(definition: str, source: Json = None, answer: Answer | None = None) -> Finish:
    world = World(definition) if answer is None else World(definition, answer)
    return world.run(run_of(source))


def output_of(definition: str, source: Json = None, answer: Answer | None = None) -> Json:
    finish = finish_of(definition, source, answer)
    assert finish.status == "SUCCEEDED", finish
    assert finish.output is not None
    return finish.output.value
