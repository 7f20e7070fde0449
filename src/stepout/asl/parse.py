"""Text to machine: read, check, compile. A definition is compiled once per revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from stepout.asl import jsonpath
from stepout.asl.check import check, read
from stepout.asl.choice import compile_condition, compile_rule
from stepout.asl.fields import Language
from stepout.asl.flow import Exit, PathExit
from stepout.asl.jsonpath import Path
from stepout.asl.machine import (
    Catcher,
    Choice,
    Fail,
    Items,
    Kind,
    Machine,
    Map,
    Parallel,
    Pass,
    Retrier,
    Rule,
    State,
    Succeed,
    Task,
    Wait,
)
from stepout.asl.queries import QueryExit, compile_field, expression
from stepout.asl.resources import resource_of
from stepout.asl.settings import (
    compile_integer,
    compile_percentage,
    compile_seconds,
    compile_text,
    compile_timestamp,
)
from stepout.asl.templates import Template, compile_template
from stepout.asl.values import MISSING, Json
from stepout.errors import DefinitionError

__all__ = ["parse"]

Fields = dict[str, Json]


def parse(text: str, *, is_express: bool = False) -> Machine:
    """Compile a definition; raises `DefinitionError` with all problems."""
    definition, problems = read(text)
    problems = problems or check(definition, is_express=is_express)
    if problems:
        raise DefinitionError(problems)
    language: Language = definition.get("QueryLanguage", "JSONPath")
    return Machine(
        start_at=definition["StartAt"],
        states={name: _state(name, state, language) for name, state in _states(definition)},
        # Zero passes AWS's validation; what it does there is not known. Here: no limit.
        timeout=definition.get("TimeoutSeconds") or None,
    )


def _states(graph: Fields) -> Iterator[tuple[str, Fields]]:
    """All states of a definition, those in branches and item processors too."""
    for name, state in graph["States"].items():
        yield name, state
        for inner in nested_graphs(state):
            yield from _states(inner)


def nested_graphs(state: Fields) -> list[Fields]:
    """The branches of a Parallel, the item processor of a Map."""
    if state["Type"] == "Parallel":
        return list(state["Branches"])
    return [_processor(state)] if state["Type"] == "Map" else []


def _processor(state: Fields) -> Fields:
    processor: Fields = state["ItemProcessor"] if "ItemProcessor" in state else state["Iterator"]
    return processor


def _state(name: str, state: Fields, inherited: Language) -> State:
    language: Language = state.get("QueryLanguage", inherited)
    return State(
        name=name,
        type=state["Type"],
        kind=_KINDS[state["Type"]](state, language),
        input_path=_path(state.get("InputPath", "$")),
        arguments=_arguments(state, language),
        exit=_exit(state, language),
        next=None if state.get("End") else state.get("Next"),
        language=language,
        retry=tuple(map(_retrier, state.get("Retry", ()))),
        catch=tuple(
            _catcher(catcher, index, language)
            for index, catcher in enumerate(state.get("Catch", ()))
        ),
    )


def _arguments(state: Fields, language: Language) -> Template | None:
    """Parameters or Arguments; those of a Map are its older ItemSelector."""
    if state["Type"] == "Map":
        return None
    if language == "JSONata":
        return compile_field(state["Arguments"], "Arguments") if "Arguments" in state else None
    return _template(state, "Parameters")


def _exit(state: Fields, language: Language) -> Exit:
    if language == "JSONata":
        return QueryExit.of(state, is_result=state["Type"] in ("Task", "Parallel", "Map"))
    return PathExit(
        result_selector=_template(state, "ResultSelector"),
        result_path=_path(state.get("ResultPath", "$")),
        output_path=_path(state.get("OutputPath", "$")),
        assign=_template(state, "Assign"),
    )


def _template(fields: Fields, field: str) -> Template | None:
    # An empty Assign assigns nothing, and its event shows nothing (recorded on AWS).
    if field not in fields or (field == "Assign" and not fields[field]):
        return None
    return compile_template(fields[field])


def _path(text: str | None) -> Path | None:
    return None if text is None else jsonpath.compile(text)


def _retrier(retrier: Fields) -> Retrier:
    return Retrier(
        errors=tuple(retrier["ErrorEquals"]),
        interval=retrier.get("IntervalSeconds", 1),
        max_attempts=retrier.get("MaxAttempts", 3),
        backoff_rate=float(retrier.get("BackoffRate", 2)),
        max_delay=retrier.get("MaxDelaySeconds"),
        has_full_jitter=retrier.get("JitterStrategy") == "FULL",
    )


def _catcher(catcher: Fields, index: int, language: Language) -> Catcher:
    return Catcher(
        errors=tuple(catcher["ErrorEquals"]),
        next=catcher["Next"],
        exit=_catcher_exit(catcher, index, language),
    )


def _catcher_exit(catcher: Fields, index: int, language: Language) -> Exit:
    if language == "JSONata":
        return QueryExit.of(
            catcher, is_result=True, at=f"Catch[{index}]/", result_name="errorOutput"
        )
    return PathExit(
        result_selector=None,
        result_path=_path(catcher.get("ResultPath", "$")),
        output_path=_WHOLE,
        assign=_template(catcher, "Assign"),
    )


_WHOLE: Final = jsonpath.compile("$")


def _task(state: Fields, _language: Language) -> Kind:
    return Task(
        resource=resource_of(state["Resource"]),
        timeout=compile_integer(state, "TimeoutSeconds", minimum=1),
        heartbeat=compile_integer(state, "HeartbeatSeconds", minimum=1),
    )


def _wait(state: Fields, _language: Language) -> Kind:
    return Wait(seconds=compile_seconds(state), timestamp=compile_timestamp(state))


def _choice(state: Fields, language: Language) -> Kind:
    rules = tuple(
        _rule(rule, index, state, language) for index, rule in enumerate(state["Choices"])
    )
    return Choice(rules, state.get("Default"))


def _rule(rule: Fields, index: int, state: Fields, language: Language) -> Rule:
    at = f"Choices[{index}]"
    if language == "JSONata":
        test = compile_condition(rule["Condition"], f"{at}/Condition")
        return Rule(test, rule["Next"], QueryExit.of(rule, is_result=False, at=f"{at}/"))
    leave = PathExit(None, _WHOLE, _path(state.get("OutputPath", "$")), _template(rule, "Assign"))
    return Rule(compile_rule(rule), rule["Next"], leave)


def _fail(state: Fields, _language: Language) -> Kind:
    return Fail(error=compile_text(state, "Error"), cause=compile_text(state, "Cause"))


def _parallel(state: Fields, _language: Language) -> Kind:
    return Parallel(tuple(branch["StartAt"] for branch in state["Branches"]))


def _map(state: Fields, language: Language) -> Kind:
    processor = _processor(state)
    mode = processor.get("ProcessorConfig", {}).get("Mode", "INLINE")
    return Map(
        start_at=processor["StartAt"],
        items=_items(state, language),
        item_selector=_item_selector(state, language),
        concurrency=compile_integer(state, "MaxConcurrency"),
        tolerated_count=compile_integer(state, "ToleratedFailureCount"),
        tolerated_percentage=compile_percentage(state, "ToleratedFailurePercentage"),
        is_distributed=mode == "DISTRIBUTED",
        unserved=next((field for field in _UNSERVED if field in state), None),
    )


_UNSERVED: Final = ("ItemReader", "ItemBatcher", "ResultWriter")
"""Fields of a distributed Map that are not served yet."""


def _items(state: Fields, language: Language) -> Items:
    if language == "JSONPath":
        return Items(path=jsonpath.compile(state.get("ItemsPath", "$")))
    if "Items" not in state:
        return Items()
    return Items(
        field=compile_field(state["Items"], "Items"), text=expression(state["Items"]) or ""
    )


def _item_selector(state: Fields, language: Language) -> Template | None:
    if language == "JSONata" and "ItemSelector" in state:
        return compile_field(state["ItemSelector"], "ItemSelector")
    # Parameters is the older name of ItemSelector.
    return _template(state, "ItemSelector") or _template(state, "Parameters")


_KINDS: Final[Mapping[str, Callable[[Fields, Language], Kind]]] = {
    "Pass": lambda state, _language: Pass(result=state.get("Result", MISSING)),
    "Task": _task,
    "Wait": _wait,
    "Choice": _choice,
    "Succeed": lambda _state, _language: Succeed(),
    "Fail": _fail,
    "Parallel": _parallel,
    "Map": _map,
}
