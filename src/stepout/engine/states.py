"""What each type of state does, in the order of the States Language.

Every visit of a state is: Entered event → input processing → its work → output processing →
Exited event → the next state. The work of Pass, Succeed and Fail is done at once; a Task asks for
it by a Call and goes on when the answer comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from stepout.asl import flow
from stepout.asl.intrinsics import FunctionCall
from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.machine import Catcher, Choice, Fail, Pass, State, Succeed, Task, Text, Wait
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.states_error import RUNTIME, TIMEOUT, Failure, StatesError, matches, too_large
from stepout.asl.templates import read
from stepout.asl.values import MISSING, PAYLOAD_LIMIT, Document, Json, dumps
from stepout.engine import history
from stepout.engine.commands import Call, Finish, Timer
from stepout.engine.context import context_object
from stepout.engine.frames import Frame, Purpose
from stepout.engine.inputs import Done, Failed, Fired
from stepout.engine.retries import choose, delay_ms
from stepout.engine.turn import Draft

__all__ = ["Visit", "enter", "resume"]

Answer: TypeAlias = Done | Failed | Fired


@dataclass(slots=True)
class Visit:
    """A state at work in a frame, within the turn being made."""

    draft: Draft
    frame_id: str
    frame: Frame
    state: State

    def context(self) -> Json:
        """See `templates.Context`."""
        return context_object(self.draft.run, self.frame, self.state)

    def draw(self) -> bytes:
        """See `templates.Context`."""
        return self.draft.entropy.draw()


def enter(draft: Draft, frame_id: str, frame: Frame) -> None:
    """Enter the frame's state and do what can be done at once."""
    state = draft.machine.states[frame.state]
    frame.is_ready = False
    frame.entered_at = draft.now
    frame.attempts = (0,) * len(state.retry)
    frame.entered_id = draft.record(
        frame, f"{state.type}StateEntered", lambda: history.entered(state, frame.input)
    )
    visit = Visit(draft, frame_id, frame, state)
    _guarded(visit, _ENTER[type(state.kind)])


def resume(draft: Draft, frame_id: str, frame: Frame, purpose: Purpose, answer: Answer) -> None:
    """Go on with the frame's state: one of its commands was answered."""
    visit = Visit(draft, frame_id, frame, draft.machine.states[frame.state])
    _guarded(visit, lambda visit: _RESUME[purpose](visit, answer))


def _guarded(visit: Visit, work: Callable[[Visit], None]) -> None:
    """Do a piece of work; what its input or output processing cannot do fails the state."""
    try:
        work(visit)
    except Failure as failure:
        _recover(visit, _located(visit, failure.error))


def _located(visit: Visit, error: StatesError) -> StatesError:
    """The error with the prefix that AWS gives to those of its interpreter."""
    prefix = (
        f"An error occurred while executing the state '{visit.state.name}' "
        f"(entered at the event id #{visit.frame.entered_id}). "
    )
    return StatesError(error.error, prefix + (error.cause or ""))


# --- Task ---------------------------------------------------------------------------------------


def _enter_task(visit: Visit) -> None:
    _schedule(visit)


def _schedule(visit: Visit) -> None:
    """Resolve the arguments and call the resource; also what a retry does."""
    draft, frame, task = visit.draft, visit.frame, _task(visit)
    source = flow.effective_input(visit.state.flow, frame.input, visit)
    arguments = flow.payload_of(visit.state.flow.parameters, source, visit)
    _check_arguments(task, arguments)
    timeout = _timeout(task, source, visit)
    resource = task.resource
    service = {"resourceType": resource.type, "resource": resource.name}
    region = draft.run.region
    draft.record(
        frame,
        "TaskScheduled",
        lambda: {**service, **history.scheduled(arguments, region, timeout)},
    )
    draft.record(frame, "TaskStarted", lambda: service)
    call_id = draft.open(visit.frame_id, frame, "call")
    draft.commands.append(Call(call_id, resource.arn, arguments.value, visit.state.name))
    if timeout is not None:
        timer_id = draft.open(visit.frame_id, frame, "timeout")
        draft.commands.append(Timer(timer_id, draft.now + timeout * 1_000))


def _check_arguments(task: Task, arguments: Document) -> None:
    """Refuse arguments that the resource cannot start with, worded as recorded on AWS."""
    if arguments.size > PAYLOAD_LIMIT:
        raise Failure(too_large(task.resource.type))
    problems = task.resource.check_arguments(arguments.value)
    if problems:
        shown = dumps(task.resource.shown(arguments.value)).decode()
        cause = (
            f"The Parameters '{shown}' could not be used to start the Task: [{', '.join(problems)}]"
        )
        raise Failure(StatesError(RUNTIME, cause))


def _timeout(task: Task, source: Document, visit: Visit) -> int | None:
    """Seconds the task may take."""
    if not isinstance(task.timeout, Path):
        return task.timeout
    seconds = flow.read_path(task.timeout, source, visit)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        cause = (
            f'The TimeoutSecondsPath field refers to value "{dumps(seconds).decode()}" which is '
            f"not a valid integer: {task.timeout.text}"
        )
        raise Failure(StatesError(RUNTIME, cause))
    return seconds


def _call_answered(visit: Visit, answer: Answer) -> None:
    visit.draft.give_up(visit.frame)
    if isinstance(answer, Done):
        _task_done(visit, Document(answer.result))
    elif isinstance(answer, Failed):
        _task_failed(visit, "TaskFailed", answer.error)


def _task_done(visit: Visit, result: Document) -> None:
    if result.size > PAYLOAD_LIMIT:
        _task_failed(visit, "TaskFailed", too_large(visit.state.name))
        return
    service = _service(visit)
    visit.draft.record(visit.frame, "TaskSucceeded", lambda: {**service, **history.result(result)})
    _leave(visit, result)


def _task_timed_out(visit: Visit, _answer: Answer) -> None:
    visit.draft.give_up(visit.frame)
    _task_failed(visit, "TaskTimedOut", StatesError(TIMEOUT))


def _task_failed(visit: Visit, event_type: str, error: StatesError) -> None:
    service = _service(visit)
    visit.draft.record(visit.frame, event_type, lambda: {**service, **history.failure(error)})
    _recover(visit, error)


def _retry_due(visit: Visit, _answer: Answer) -> None:
    _schedule(visit)


def _task(visit: Visit) -> Task:
    kind = visit.state.kind
    assert isinstance(kind, Task)  # noqa: S101 — the tables below lead here for a Task only
    return kind


def _service(visit: Visit) -> Mapping[str, Json]:
    resource = _task(visit).resource
    return {"resourceType": resource.type, "resource": resource.name}


# --- Pass, Succeed, Fail ------------------------------------------------------------------------


def _enter_pass(visit: Visit) -> None:
    kind = visit.state.kind
    if isinstance(kind, Pass) and kind.result is not MISSING:
        _leave(visit, Document(kind.result))
        return
    source = flow.effective_input(visit.state.flow, visit.frame.input, visit)
    _leave(visit, flow.payload_of(visit.state.flow.parameters, source, visit))


def _enter_succeed(visit: Visit) -> None:
    _leave(visit, flow.effective_input(visit.state.flow, visit.frame.input, visit))


def _enter_fail(visit: Visit) -> None:
    kind = visit.state.kind
    if isinstance(kind, Fail):
        error = _text(visit, kind.error, "ErrorPath")
        cause = _text(visit, kind.cause, "CausePath")
        _end(visit, StatesError(error or "", cause))


def _text(visit: Visit, text: Text, field: str) -> str | None:
    """The Error or Cause of a Fail state, read through its path or call if it has one."""
    if text is None or isinstance(text, str):
        return text
    source = visit.frame.input
    try:
        if isinstance(text, FunctionCall):
            value = text.evaluate(lambda path: read(path, source, visit), visit)
        else:
            value = read(text, source, visit)
    except PathMiss:
        cause = (
            f"The JSONPath '{text.text}' specified for the field '{field}' could not be found in "
            f"the input '{source.text}'"
        )
        raise Failure(StatesError(RUNTIME, cause)) from None
    if not isinstance(value, str):
        cause = (
            f"The JSONPath '{text.text}' specified for the field '{field}' must give a string "
            f"but gave {dumps(value).decode()}"
        )
        raise Failure(StatesError(RUNTIME, cause))
    return value


# --- Wait, Choice -------------------------------------------------------------------------------


def _enter_wait(visit: Visit) -> None:
    source = flow.effective_input(visit.state.flow, visit.frame.input, visit)
    due = _due(visit, source)
    if due <= visit.draft.now:
        _wait_over(visit, None)
        return
    timer_id = visit.draft.open(visit.frame_id, visit.frame, "wait")
    visit.draft.commands.append(Timer(timer_id, due))


def _wait_over(visit: Visit, _answer: Answer | None) -> None:
    _leave(visit, flow.effective_input(visit.state.flow, visit.frame.input, visit))


def _due(visit: Visit, source: Document) -> int:
    """When a Wait ends, in milliseconds since the epoch; rounded up, so that it is never early."""
    kind = visit.state.kind
    assert isinstance(kind, Wait)  # noqa: S101 — the table below leads here for a Wait only
    if kind.seconds is not None:
        return visit.draft.now + 1_000 * _wait_seconds(kind.seconds, source, visit)
    if isinstance(kind.timestamp, Path):
        return -(-_wait_timestamp(kind.timestamp, source, visit) // 1_000_000)
    return -(-(kind.timestamp or 0) // 1_000_000)


def _wait_seconds(seconds: int | Path, source: Document, visit: Visit) -> int:
    if not isinstance(seconds, Path):
        return seconds
    found = _waited_for("SecondsPath", seconds, source, visit)
    shown = found if isinstance(found, str) else dumps(found).decode()
    if isinstance(found, bool) or not isinstance(found, int):
        raise _runtime(
            f"The SecondsPath parameter cannot be parsed as a long value: {seconds.text} == {shown}"
        )
    if found < 0:
        raise _runtime(
            f"The SecondsPath parameter references a negative value: {seconds.text} == {shown}"
        )
    return found


def _wait_timestamp(timestamp: Path, source: Document, visit: Visit) -> int:
    found = _waited_for("TimestampPath", timestamp, source, visit)
    moment = nanoseconds(found) if isinstance(found, str) else None
    if moment is None:
        shown = found if isinstance(found, str) else dumps(found).decode()
        raise _runtime(
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset "
            f"date-time format string: {timestamp.text} == {shown}"
        )
    return moment


def _waited_for(field: str, path: Path, source: Document, visit: Visit) -> Json:
    try:
        return flow.read_path(path, source, visit)
    except Failure:
        raise _runtime(
            f"The {field} parameter does not reference an input value: {path.text}"
        ) from None


def _enter_choice(visit: Visit) -> None:
    kind = visit.state.kind
    assert isinstance(kind, Choice)  # noqa: S101 — the table below leads here for a Choice only
    state_flow = visit.state.flow
    source = flow.effective_input(state_flow, visit.frame.input, visit)
    target = next((rule.next for rule in kind.rules if rule.test(source, visit)), kind.default)
    if target is None:
        raise _runtime(
            "Failed to transition out of the state. The state does not point to a next state."
        )
    _go_on(visit, flow.select(state_flow.output_path, source, visit), target)


def _runtime(cause: str) -> Failure:
    return Failure(StatesError(RUNTIME, cause))


# --- Leaving a state ----------------------------------------------------------------------------


def _leave(visit: Visit, result: Document) -> None:
    """Process the result into the state's output and go on."""
    output = flow.output_of(visit.state.flow, visit.frame.input, result, visit)
    _go_on(visit, output, visit.state.next)


def _go_on(visit: Visit, output: Document, target: str | None) -> None:
    """Record the exit and move to the target, or end where there is none."""
    draft, frame, state = visit.draft, visit.frame, visit.state
    if output is not frame.input and output.size > PAYLOAD_LIMIT:
        # A state's output over the limit is not for its Retry and Catch (recorded on AWS).
        _end(visit, too_large(state.name))
        return
    draft.record(frame, f"{state.type}StateExited", lambda: history.exited(state, output))
    frame.input = output
    if target is not None:
        frame.state, frame.is_ready = target, True
        return
    draft.record(frame, "ExecutionSucceeded", lambda: history.result(output))
    draft.finish(Finish("SUCCEEDED", output))


def _recover(visit: Visit, error: StatesError) -> None:
    """Retry, then Catch, else the execution fails (States Language, "Errors")."""
    index = choose(visit.state.retry, visit.frame.attempts, error.error)
    if index is not None:
        _retry_later(visit, index)
        return
    for catcher in visit.state.catch:
        if matches(catcher.errors, error.error):
            _catch(visit, catcher, error)
            return
    _end(visit, error)


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
        output = flow.place(catcher.result_path, visit.frame.input, caught)
    except Failure as failure:
        _end(visit, _located(visit, failure.error))
        return
    _go_on(visit, output, catcher.next)


def _end(visit: Visit, error: StatesError) -> None:
    """The execution fails with this error."""
    visit.draft.record(visit.frame, "ExecutionFailed", lambda: history.failure(error))
    visit.draft.finish(Finish("FAILED", error=error))


_ENTER: Final[Mapping[type, Callable[[Visit], None]]] = {
    Task: _enter_task,
    Pass: _enter_pass,
    Wait: _enter_wait,
    Choice: _enter_choice,
    Succeed: _enter_succeed,
    Fail: _enter_fail,
}

_RESUME: Final[Mapping[Purpose, Callable[[Visit, Answer], None]]] = {
    "call": _call_answered,
    "timeout": _task_timed_out,
    "backoff": _retry_due,
    "wait": _wait_over,
}
