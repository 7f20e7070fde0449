"""Stored and restored anywhere, an execution goes on as if nothing had happened."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.world import NEVER, World, run_of
from tests.properties.machines import ERRORS, SOURCE, machines

from stepout.asl.states_error import StatesError
from stepout.asl.values import Json
from stepout.engine.commands import Call

OUTCOMES = st.lists(st.sampled_from([*ERRORS, "never", "ok", "ok", "ok"]), max_size=6)


def outcome(definition: str, answers: list[str], **how: Any) -> tuple[Any, ...]:
    """How an execution ends, and its history."""

    def answer(call: Call, _number: int) -> Json | StatesError:
        # By command: with a larger budget a call may be cancelled in the turn that would make it.
        number = crc32(call.id.encode())
        drawn = answers[number % len(answers)] if answers else "ok"
        if drawn in ("ok", "never"):
            return {"x": number} if drawn == "ok" else NEVER
        return StatesError(drawn, "as drawn")

    world = World(definition, answer, **how)
    finish = world.run(run_of(SOURCE, limit_ms=900_000))
    output = None if finish.output is None else finish.output.text
    return finish.status, output, finish.error, world.events


@settings(max_examples=150)
@given(machines(), OUTCOMES)
def test_stored_and_restored_after_every_turn_an_execution_ends_the_same(
    definition: str, answers: list[str]
) -> None:
    whole = outcome(definition, answers)
    assert whole == outcome(definition, answers, budget=1)
    assert whole == outcome(definition, answers, budget=1, restores=True)


@settings(max_examples=100)
@given(machines(), OUTCOMES)
def test_a_history_is_dense_and_points_backwards(definition: str, answers: list[str]) -> None:
    *_, events = outcome(definition, answers)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert all(0 <= event.previous_id < event.id for event in events)
    assert events[0].type == "ExecutionStarted"
    assert events[-1].type in ("ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut")
