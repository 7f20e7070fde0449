"""Text to machine: read, check, compile. A definition is compiled once per revision."""

from __future__ import annotations

from stepout.asl import jsonpath
from stepout.asl.check import check, read
from stepout.asl.choice import Rule, compile_rule
from stepout.asl.jsonpath import Path
from stepout.asl.machine import (
    Catcher,
    Choice,
    Fail,
    Flow,
    Kind,
    Machine,
    Pass,
    Retrier,
    State,
    Succeed,
    Task,
    Text,
    Wait,
)
from stepout.asl.resources import RESOURCES
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.templates import compile_expression, compile_template
from stepout.asl.values import MISSING, Json
from stepout.errors import DefinitionError

__all__ = ["parse"]


def parse(text: str) -> Machine:
    """Compile a definition; raises `DefinitionError` with all problems."""
    definition, problems = read(text)
    problems = problems or check(definition)
    if problems:
        raise DefinitionError(problems)
    return Machine(
        start_at=definition["StartAt"],
        states={name: _state(name, state) for name, state in definition["States"].items()},
        # Zero passes AWS's validation; what it does there is not known. Here: no limit.
        timeout=definition.get("TimeoutSeconds") or None,
    )


def _state(name: str, state: dict[str, Json]) -> State:
    return State(
        name=name,
        type=state["Type"],
        kind=_KINDS[state["Type"]](state),
        flow=_flow(state),
        next=None if state.get("End") else state.get("Next"),
        retry=tuple(map(_retrier, state.get("Retry", ()))),
        catch=tuple(map(_catcher, state.get("Catch", ()))),
    )


def _flow(state: dict[str, Json]) -> Flow:
    return Flow(
        input_path=_path(state.get("InputPath", "$")),
        parameters=compile_template(state["Parameters"]) if "Parameters" in state else None,
        result_selector=(
            compile_template(state["ResultSelector"]) if "ResultSelector" in state else None
        ),
        result_path=_path(state.get("ResultPath", "$")),
        output_path=_path(state.get("OutputPath", "$")),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else jsonpath.compile(text)


def _retrier(retrier: dict[str, Json]) -> Retrier:
    return Retrier(
        errors=tuple(retrier["ErrorEquals"]),
        interval=retrier.get("IntervalSeconds", 1),
        max_attempts=retrier.get("MaxAttempts", 3),
        backoff_rate=float(retrier.get("BackoffRate", 2)),
        max_delay=retrier.get("MaxDelaySeconds"),
        has_full_jitter=retrier.get("JitterStrategy") == "FULL",
    )


def _catcher(catcher: dict[str, Json]) -> Catcher:
    return Catcher(
        errors=tuple(catcher["ErrorEquals"]),
        next=catcher["Next"],
        result_path=_path(catcher.get("ResultPath", "$")),
    )


def _task(state: dict[str, Json]) -> Kind:
    path = state.get("TimeoutSecondsPath")
    return Task(
        resource=RESOURCES[state["Resource"]],
        timeout=state.get("TimeoutSeconds") if path is None else jsonpath.compile(path),
    )


def _wait(state: dict[str, Json]) -> Kind:
    paths = {name: jsonpath.compile(state[name]) for name in _WAIT_PATHS if name in state}
    timestamp = state.get("Timestamp")
    return Wait(
        seconds=paths.get("SecondsPath", state.get("Seconds")),
        timestamp=paths.get("TimestampPath", None if timestamp is None else nanoseconds(timestamp)),
    )


def _choice(state: dict[str, Json]) -> Kind:
    rules = tuple(Rule(compile_rule(rule), rule["Next"]) for rule in state["Choices"])
    return Choice(rules, state.get("Default"))


def _fail(state: dict[str, Json]) -> Kind:
    return Fail(error=_text(state, "Error"), cause=_text(state, "Cause"))


def _text(state: dict[str, Json], field: str) -> Text:
    path = state.get(f"{field}Path")
    return state.get(field) if path is None else compile_expression(path)


_WAIT_PATHS = ("SecondsPath", "TimestampPath")

_KINDS = {
    "Pass": lambda state: Pass(result=state.get("Result", MISSING)),
    "Task": _task,
    "Wait": _wait,
    "Choice": _choice,
    "Succeed": lambda _state: Succeed(),
    "Fail": _fail,
}
