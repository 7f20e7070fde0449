"""What each type of state does, in the order of the States Language.

Every visit of a state is: Entered event → input processing → its work → output processing →
Exited event → the next state. The work of Pass, Choice, Succeed and Fail is done at once; a Task
asks for it by a Call and goes on when the answer comes; Parallel and Map start frames (`children`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from stepout.asl import flow
from stepout.asl.machine import Choice, Fail, Map, Parallel, Pass, Succeed, Task, Wait
from stepout.asl.settings import resolve
from stepout.asl.states_error import (
    HEARTBEAT_TIMEOUT,
    RUNTIME,
    TIMEOUT,
    Failure,
    StatesError,
    too_large,
)
from stepout.asl.values import MISSING, Document, dumps
from stepout.engine import children, history, leaving
from stepout.engine.commands import Call, Timer
from stepout.engine.frames import Frame, Purpose
from stepout.engine.inputs import Done, Failed, Fired
from stepout.engine.turn import Draft
from stepout.engine.visit import Visit

__all__ = ["beat", "enter", "resume"]

Answer: TypeAlias = Done | Failed | Fired


def enter(draft: Draft, frame_id: str, frame: Frame) -> None:
    """Enter the frame's state and do what can be done at once."""
    state = draft.machine.states[frame.state]
    arrived_from = frame.previous_id
    frame.ready = 0
    frame.entered_at = draft.now
    frame.attempts = (0,) * len(state.retry)
    frame.entered_id = draft.record(
        frame, f"{state.type}StateEntered", lambda: history.entered(state, frame.input)
    )
    visit = Visit(draft, frame_id, frame, state, arrived_from)
    _guarded(visit, _begin)


def resume(draft: Draft, frame_id: str, frame: Frame, purpose: Purpose, answer: Answer) -> None:
    """Go on with the frame's state: one of its commands was answered."""
    visit = Visit(draft, frame_id, frame, draft.machine.states[frame.state])
    _guarded(visit, lambda visit: _RESUME[purpose](visit, answer))


def beat(draft: Draft, frame_id: str, frame: Frame) -> None:
    """The work of the frame's Task is alive: its heartbeat timer begins anew."""
    visit = Visit(draft, frame_id, frame, draft.machine.states[frame.state])
    timers = [timer for timer, purpose in frame.open.items() if purpose == "heartbeat"]
    for timer_id in timers:
        draft.cancel(timer_id)
        draft.close(frame, timer_id)
        source = flow.select(visit.state.input_path, frame.input, visit)
        _set_timer(visit, "heartbeat", resolve(_task(visit).heartbeat, source, visit))


def _guarded(visit: Visit, work: Callable[[Visit], None]) -> None:
    """Do a piece of work; what its input or output processing cannot do fails the state."""
    try:
        work(visit)
    except Failure as failure:
        children.abandon(visit)
        visit.draft.give_up(visit.frame)
        leaving.fail(visit, failure)


def _begin(visit: Visit) -> None:
    """The state's work from its beginning; also what a retry does."""
    kind = visit.state.kind
    _BEGIN[type(kind)](visit, kind)


# --- Task ---------------------------------------------------------------------------------------


def _begin_task(visit: Visit, task: Task) -> None:
    """Resolve the arguments and call the resource."""
    draft, frame, resource = visit.draft, visit.frame, task.resource
    if resource.pattern == ".waitForTaskToken":
        visit.token = base64.b64encode(draft.entropy.draw() * 3).decode()
    source = flow.select(visit.state.input_path, frame.input, visit)
    arguments = flow.payload_of(visit.state.arguments, source, visit)
    _check_arguments(visit, task, arguments)
    timeout = resolve(task.timeout, source, visit)
    heartbeat = resolve(task.heartbeat, source, visit)
    limits = {"timeoutInSeconds": timeout, "heartbeatInSeconds": heartbeat}
    draft.record(
        frame,
        f"{resource.style}Scheduled",
        lambda: history.scheduled(resource, arguments, draft.run.region, limits),
    )
    draft.record(frame, f"{resource.style}Started", lambda: history.service(resource))
    call_id = draft.open(visit.frame_id, frame, "call")
    draft.commands.append(Call(call_id, resource.arn, arguments.value, visit.state.name))
    _set_timer(visit, "timeout", timeout)
    _set_timer(visit, "heartbeat", heartbeat)


def _set_timer(visit: Visit, purpose: Purpose, seconds: int | None) -> None:
    if seconds is not None:
        timer_id = visit.draft.open(visit.frame_id, visit.frame, purpose)
        visit.draft.commands.append(Timer(timer_id, visit.draft.now + seconds * 1_000))


def _check_arguments(visit: Visit, task: Task, arguments: Document) -> None:
    """Refuse arguments that the resource cannot start with, worded as recorded on AWS."""
    if arguments.size > visit.draft.run.payload_limit:
        raise Failure(too_large(task.resource.type))
    problems = task.resource.check_arguments(arguments.value)
    if problems:
        shown = dumps(task.resource.shown(arguments.value)).decode()
        cause = (
            f"The Parameters '{shown}' could not be used to start the Task: [{', '.join(problems)}]"
        )
        raise Failure(StatesError(RUNTIME, cause))


def _call_answered(visit: Visit, answer: Answer) -> None:
    visit.draft.give_up(visit.frame)
    if isinstance(answer, Done):
        _task_done(visit, Document(answer.result))
    elif isinstance(answer, Failed):
        _task_failed(visit, "Failed", answer.error)


def _task_done(visit: Visit, result: Document) -> None:
    if result.size > visit.draft.run.payload_limit:
        _task_failed(visit, "Failed", too_large(visit.state.name))
        return
    resource = _task(visit).resource
    visit.draft.record(
        visit.frame,
        f"{resource.style}Succeeded",
        lambda: {**history.service(resource), **history.result(result)},
    )
    leaving.leave(visit, result)


def _task_timed_out(visit: Visit, _answer: Answer) -> None:
    visit.draft.give_up(visit.frame)
    _task_failed(visit, "TimedOut", StatesError(TIMEOUT))


def _heartbeat_missed(visit: Visit, _answer: Answer) -> None:
    visit.draft.give_up(visit.frame)
    _task_failed(visit, "TimedOut", StatesError(TIMEOUT, alias=HEARTBEAT_TIMEOUT))


def _task_failed(visit: Visit, outcome: str, error: StatesError) -> None:
    resource = _task(visit).resource
    visit.draft.record(
        visit.frame,
        f"{resource.style}{outcome}",
        lambda: {**history.service(resource), **history.failure(error)},
    )
    leaving.recover(visit, error)


def _retry_due(visit: Visit, _answer: Answer) -> None:
    _begin(visit)


def _task(visit: Visit) -> Task:
    kind = visit.state.kind
    assert isinstance(kind, Task)  # noqa: S101 — the tables below lead here for a Task only
    return kind


# --- Pass, Succeed, Fail ------------------------------------------------------------------------


def _begin_pass(visit: Visit, kind: Pass) -> None:
    if kind.result is not MISSING:
        leaving.leave(visit, Document(kind.result))
        return
    source = flow.select(visit.state.input_path, visit.frame.input, visit)
    leaving.leave(visit, flow.payload_of(visit.state.arguments, source, visit))


def _begin_succeed(visit: Visit, _kind: Succeed) -> None:
    leaving.leave(visit, flow.select(visit.state.input_path, visit.frame.input, visit))


def _begin_fail(visit: Visit, kind: Fail) -> None:
    error = resolve(kind.error, visit.frame.input, visit)
    cause = resolve(kind.cause, visit.frame.input, visit)
    leaving.end(visit, StatesError("" if error is None else error, cause))


# --- Wait, Choice -------------------------------------------------------------------------------


def _begin_wait(visit: Visit, kind: Wait) -> None:
    source = flow.select(visit.state.input_path, visit.frame.input, visit)
    due = _due(visit, kind, source)
    if due <= visit.draft.now:
        _wait_over(visit, None)
        return
    timer_id = visit.draft.open(visit.frame_id, visit.frame, "wait")
    visit.draft.commands.append(Timer(timer_id, due))


def _wait_over(visit: Visit, _answer: Answer | None) -> None:
    leaving.leave(visit, flow.select(visit.state.input_path, visit.frame.input, visit))


def _due(visit: Visit, kind: Wait, source: Document) -> int:
    """When a Wait ends, in milliseconds since the epoch; rounded up, so that it is never early."""
    seconds = resolve(kind.seconds, source, visit)
    if seconds is not None:
        return visit.draft.now + 1_000 * seconds
    return -(-(resolve(kind.timestamp, source, visit) or 0) // 1_000_000)


def _begin_choice(visit: Visit, kind: Choice) -> None:
    source = flow.select(visit.state.input_path, visit.frame.input, visit)
    rule = next((rule for rule in kind.rules if rule.test(source, visit)), None)
    if rule is not None:
        leaving.leave_by(visit, rule.exit, source, rule.next)
    elif kind.default is not None:
        leaving.leave_by(visit, visit.state.exit, source, kind.default)
    else:
        cause = "Failed to transition out of the state. The state does not point to a next state."
        raise Failure(StatesError(RUNTIME, cause))


_BEGIN: Final[Mapping[type, Callable[[Visit, Any], None]]] = {
    Task: _begin_task,
    Pass: _begin_pass,
    Wait: _begin_wait,
    Choice: _begin_choice,
    Succeed: _begin_succeed,
    Fail: _begin_fail,
    Parallel: children.enter_parallel,
    Map: children.enter_map,
}

_RESUME: Final[Mapping[Purpose, Callable[[Visit, Answer], None]]] = {
    "call": _call_answered,
    "timeout": _task_timed_out,
    "heartbeat": _heartbeat_missed,
    "backoff": _retry_due,
    "wait": _wait_over,
}
