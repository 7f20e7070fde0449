"""How a state ends: on to the next one, to the end of its scope, or by an error.

The end of the root frame is the execution's. That of a branch or an item is put down in the draft
for its Parallel or Map, which `children` looks after.
"""

from __future__ import annotations

from typing import Final

from stepout.asl.flow import Exit, Left, Variables
from stepout.asl.machine import Catcher, Map, Parallel
from stepout.asl.states_error import (
    DATA_LIMIT_EXCEEDED,
    QUERY_EVALUATION_ERROR,
    RUNTIME,
    Failure,
    StatesError,
    matches,
    too_large,
)
from stepout.asl.values import Document
from stepout.engine import history
from stepout.engine.commands import Finish, Timer
from stepout.engine.frames import ROOT
from stepout.engine.retries import choose, delay_ms
from stepout.engine.turn import Ended
from stepout.engine.visit import Visit, located

__all__ = ["end", "fail", "give_up", "leave", "leave_by", "recover"]

MAX_VARIABLES: Final = 10 * 1024 * 1024
"""Bytes of all variables of an execution (developer guide, workflow-variables)."""


def leave(visit: Visit, result: Document) -> None:
    """Process the result into the state's output and go on."""
    leave_by(visit, visit.state.exit, result, visit.state.next)


def leave_by(visit: Visit, way: Exit, result: Document, target: str | None) -> None:
    """Leave by an exit of the state, to a target or to the end of the scope."""
    left = way.leave(visit.frame.input, result, visit)
    if left.assigned:
        _check_variables(visit, left.assigned)
    limit = visit.draft.run.payload_limit
    if left.output is not visit.frame.input and left.output.size > limit:
        give_up(visit)
        return
    _go_on(visit, left, target)


def give_up(visit: Visit) -> None:
    """The state's output is over the limit, which is not for its Retry and Catch (recorded)."""
    _fail_execution(visit, too_large(visit.state.name))


def _go_on(visit: Visit, left: Left, target: str | None) -> None:
    """Record the exit and move to the target, or end where there is none."""
    draft, frame, state = visit.draft, visit.frame, visit.state
    output, assigned = left
    draft.record(frame, f"{state.type}StateExited", lambda: history.exited(state, output, assigned))
    if assigned:
        draft.variable_bytes += _growth(visit, assigned)
        frame.variables = {**frame.variables, **assigned}
    frame.input = output
    if target is not None:
        draft.make_ready(visit.frame_id, frame, target)
    elif visit.frame_id != ROOT:
        draft.ended.append(Ended(visit.frame_id, output=output))
    else:
        draft.record(frame, "ExecutionSucceeded", lambda: history.result(output))
        draft.finish(Finish("SUCCEEDED", output))


def _growth(visit: Visit, assigned: Variables) -> int:
    known = visit.frame.variables
    replaced = sum(known[name].size for name in assigned if name in known)
    return sum(value.size for value in assigned.values()) - replaced


def _check_variables(visit: Visit, assigned: Variables) -> None:
    if visit.draft.variable_bytes + _growth(visit, assigned) > MAX_VARIABLES:
        cause = f"The variables of the execution have more than {MAX_VARIABLES} bytes together."
        raise Failure(StatesError(DATA_LIMIT_EXCEEDED, cause))


def fail(visit: Visit, failure: Failure) -> None:
    """What input or output processing could not do fails the state."""
    recover(visit, _recorded(visit, failure))


def _recorded(visit: Visit, failure: Failure) -> StatesError:
    """The error of a failure, whose event is written down where it has one."""
    frame, state = visit.frame, visit.state
    error = located(visit, failure.error)
    if error.error == QUERY_EVALUATION_ERROR:
        if visit.arrived_from is not None:
            # Recorded on AWS: it does not point at the state's own Entered event.
            frame.previous_id = visit.arrived_from
        visit.draft.record(
            frame,
            "EvaluationFailed",
            lambda: history.evaluation_failed(state, error, failure.location),
        )
    return error


def recover(visit: Visit, error: StatesError) -> None:
    """Retry, then Catch, else the scope fails (States Language, "Errors")."""
    state = visit.state
    if error.error == RUNTIME:
        _fail_execution(visit, error)
        return
    index = choose(state.retry, visit.frame.attempts, error)
    if index is not None:
        _retry_later(visit, index)
        return
    if isinstance(state.kind, Parallel | Map):
        visit.draft.record(visit.frame, f"{state.type}StateFailed", dict)
    for catcher in state.catch:
        if matches(catcher.errors, error):
            _catch(visit, catcher, error)
            return
    end(visit, error)


def _retry_later(visit: Visit, index: int) -> None:
    draft, frame = visit.draft, visit.frame
    delay = delay_ms(visit.state.retry[index], frame.attempts[index], draft.entropy)
    frame.attempts = tuple(
        count + (position == index) for position, count in enumerate(frame.attempts)
    )
    timer_id = draft.open(visit.frame_id, frame, "backoff")
    draft.commands.append(Timer(timer_id, draft.now + delay))


def _catch(visit: Visit, catcher: Catcher, error: StatesError) -> None:
    caught = Document({"Error": error.error, "Cause": error.cause or ""})
    try:
        leave_by(visit, catcher.exit, caught, catcher.next)
    except Failure as failure:
        # What fails in a catcher is not caught by another one.
        end(visit, _recorded(visit, failure))


def end(visit: Visit, error: StatesError) -> None:
    """The scope fails: a branch, an item, or the execution."""
    if visit.frame_id == ROOT or error.error == RUNTIME:
        _fail_execution(visit, error)
    else:
        visit.draft.ended.append(Ended(visit.frame_id, error=error))


def _fail_execution(visit: Visit, error: StatesError) -> None:
    visit.draft.record(visit.frame, "ExecutionFailed", lambda: history.failure(error))
    visit.draft.finish(Finish("FAILED", error=error))
