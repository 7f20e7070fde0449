"""Validation of a definition: a list of small checks that find all problems at once.

Each check takes the JSON of a definition and yields `Problem`s with AWS's codes, messages and
locations. The schema is checked first; the graph only where the schema holds, so that a check may
rely on what those before it have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from stepout.asl import jsonpath, templates
from stepout.asl.choice import COMBINERS
from stepout.asl.fields import (
    CATCHER,
    MACHINE,
    OPERATORS,
    RETRIER,
    RULE,
    STATE_TYPES,
    STATES,
    TOP_RULE,
    Shape,
)
from stepout.asl.intrinsics import compile_call
from stepout.asl.problems import (
    INVALID_JSON_DESCRIPTION,
    INVALID_STATE_NAME,
    MISSING_END_STATE,
    MISSING_TRANSITION_TARGET,
    NOT_SERVED,
    SCHEMA_VALIDATION_FAILED,
    TOO_DEEPLY_NESTED,
    Problem,
)
from stepout.asl.resources import RESOURCES
from stepout.asl.values import Json, depth_of, loads
from stepout.errors import JsonError, PathError

__all__ = ["check", "read"]

Problems: TypeAlias = Iterator[Problem]

MAX_NAME: Final = 80
"""Characters of a state's name (States Language, "States")."""

MAX_NESTING: Final = 200
"""Levels of objects and arrays in a definition; ours, because templates recurse."""

_RECOVERIES: Final = (("Retry", RETRIER), ("Catch", CATCHER))
_RULE_KINDS: Final = ("And", "Or", "Not", "Variable", "Condition")
_TEMPLATES: Final = ("Parameters", "ResultSelector")
_PATHS: Final = (
    "InputPath",
    "OutputPath",
    "ResultPath",
    "ErrorPath",
    "CausePath",
    "TimeoutSecondsPath",
    "SecondsPath",
    "TimestampPath",
)


def read(text: str) -> tuple[dict[str, Json], list[Problem]]:
    """The JSON object of a definition's text, and what is wrong with the text."""
    try:
        definition = loads(text) if text.strip() else None
    except JsonError as error:
        return {}, [Problem(INVALID_JSON_DESCRIPTION, str(error), "/")]
    if depth_of(text.encode("utf-8", "surrogatepass")) > MAX_NESTING:
        message = f"Definition is nested deeper than {MAX_NESTING} levels"
        return {}, [Problem(TOO_DEEPLY_NESTED, message, None)]
    if not isinstance(definition, dict):
        message = "Definition must be a valid JSON object"
        return {}, [Problem(SCHEMA_VALIDATION_FAILED, message, None)]
    return definition, []


def check(definition: dict[str, Json]) -> list[Problem]:
    """All problems of a definition, in the order in which AWS lists them."""
    found = list(_schema(definition))
    if found:
        return found
    return [*_graph(definition)]


def _schema(definition: dict[str, Json]) -> Problems:
    yield from _shape(definition, MACHINE, "/")
    if definition.get("QueryLanguage") == "JSONata":
        yield _unserved("the query language JSONata", "/QueryLanguage")
    states = definition.get("States")
    for name, state in states.items() if isinstance(states, dict) else ():
        yield from _state(name, state, f"/States/{name}")


def _state(name: str, state: Json, location: str) -> Problems:
    if len(name) > MAX_NAME:
        message = "Invalid State name: State exceeds the 80-character limit allowed by the service."
        yield Problem(INVALID_STATE_NAME, message, location)
    if not isinstance(state, dict):
        yield _schema_problem("Expected value of type [OBJECT]", location)
        return
    shape = STATES.get(kind) if isinstance(kind := state.get("Type"), str) else None
    if shape is None:
        yield from _type(kind, location)
        return
    yield from _shape(state, shape, location)
    for check_part in (
        _query_language,
        _recovery,
        _payload_templates,
        _variables,
        _resource,
        _choices,
    ):
        yield from check_part(state, location)


def _type(kind: Json, location: str) -> Problems:
    if kind in STATE_TYPES:
        yield _unserved(f"the state type '{kind}'", f"{location}/Type")
    else:
        types = ", ".join(STATE_TYPES)
        message = f"The field 'Type' should have one of these values: [{types}]"
        yield _schema_problem(message, f"{location}/Type")


def _shape(value: dict[str, Json], shape: Shape, location: str) -> Problems:
    """Fields that do not belong, are missing, exclude each other or have a wrong value."""
    missing = [name for name in shape.required if name not in value]
    if missing:
        yield _schema_problem(f"These fields are required: [{', '.join(missing)}]", location)
    for group in shape.one_of:
        if sum(name in value for name in group) != 1:
            message = f"This object should have only one of the following fields: {_list(group)}"
            yield _schema_problem(message, location)
    for group in shape.at_most_one_of:
        if sum(name in value for name in group) > 1:
            message = f"There should only be one of the following fields: {_list(group)}"
            yield _schema_problem(message, location)
    for group in shape.at_least_one_of:
        if not any(name in value for name in group):
            message = f"This object should have only one of the following fields: {_list(group)}"
            yield _schema_problem(message, location)
    for name, member in value.items():
        yield from _field(name, member, shape, location)


def _field(name: str, value: Json, shape: Shape, location: str) -> Problems:
    field = shape.fields.get(name)
    if field is None:
        yield _schema_problem(f"Field '{name}' is not supported", location)
    elif not field.is_served:
        yield _unserved(f"the field '{name}'", location)
    elif message := field.verdict(value):
        yield _schema_problem(message, f"{location.rstrip('/')}/{name}")


def _query_language(state: dict[str, Json], location: str) -> Problems:
    if state.get("QueryLanguage") == "JSONata":
        yield _unserved("the query language JSONata", f"{location}/QueryLanguage")


def _recovery(state: dict[str, Json], location: str) -> Problems:
    for field, shape in _RECOVERIES:
        entries = state.get(field)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            where = f"{location}/{field}[{index}]"
            if not isinstance(entry, dict):
                yield _schema_problem("Expected value of type [OBJECT]", where)
                continue
            yield from _shape(entry, shape, where)
            if not _may_hold_all(entry, is_last=index + 1 == len(entries or ())):
                yield _schema_problem("States.ALL must appear alone and at end of list", where)


def _may_hold_all(entry: dict[str, Json], *, is_last: bool) -> bool:
    names = entry.get("ErrorEquals")
    if not isinstance(names, list) or "States.ALL" not in names:
        return True
    return is_last and len(names) == 1


def _payload_templates(state: dict[str, Json], location: str) -> Problems:
    for field in _TEMPLATES:
        if field not in state:
            continue
        for message in templates.problems(state[field]):
            yield _schema_problem(message, f"{location}/{field}")
        for expression in _unserved_expressions(state[field]):
            yield _unserved(f"the expression '{expression}'", f"{location}/{field}")


def _unserved_expressions(template: Json) -> Iterator[str]:
    """Those expressions of a template that read variables."""
    members = template.items() if isinstance(template, dict) else ()
    for key, value in members:
        if not key.endswith(".$"):
            yield from _unserved_expressions(value)
        elif isinstance(value, str) and _is_unserved(value):
            yield value
    for item in template if isinstance(template, list) else ():
        yield from _unserved_expressions(item)


def _variables(state: dict[str, Json], location: str) -> Problems:
    for field in _PATHS:
        value = state.get(field)
        if isinstance(value, str) and _is_unserved(value):
            yield _unserved(f"the expression '{value}'", f"{location}/{field}")


def _is_unserved(expression: str) -> bool:
    try:
        if expression.startswith("States."):
            paths = compile_call(expression).paths
        else:
            paths = (jsonpath.compile(expression),)
    except PathError:
        return False
    return any(path.root not in ("$", "$$") for path in paths)


def _resource(state: dict[str, Json], location: str) -> Problems:
    arn = state.get("Resource")
    if state.get("Type") != "Task" or not isinstance(arn, str):
        return
    resource = RESOURCES.get(arn)
    if not arn.startswith("arn:"):
        yield _schema_problem("Value is not a valid resource ARN", f"{location}/Resource")
    elif resource is None:
        yield _unserved(f"the resource '{arn}'", f"{location}/Resource")
    elif "Parameters" not in state:
        message = f"Parameters field is required for resource ARN: {arn}"
        yield _schema_problem(message, location)
    elif isinstance(state["Parameters"], dict):
        for message in resource.check_template(state["Parameters"]):
            yield _schema_problem(message, f"{location}/Parameters")
    else:
        yield _schema_problem("Expected value of type [OBJECT]", f"{location}/Parameters")


def _choices(state: dict[str, Json], location: str) -> Problems:
    rules = state.get("Choices")
    if state.get("Type") == "Choice" and isinstance(rules, list):
        for index, rule in enumerate(rules):
            yield from _rule(rule, TOP_RULE, f"{location}/Choices[{index}]")


def _rule(rule: Json, shape: Shape, location: str) -> Problems:
    """A rule and those in it: one of And, Or, Not, or a Variable with one operator."""
    if not isinstance(rule, dict):
        yield _schema_problem("Expected value of type [OBJECT]", location)
        return
    yield from _shape(rule, shape, location)
    if sum(name in rule for name in _RULE_KINDS) != 1:
        message = f"The object must have only one of the following fields, {_list(_RULE_KINDS)}"
        yield _schema_problem(message, location)
    elif "Variable" in rule and not any(name in rule for name in OPERATORS):
        message = (
            f"This object should have only one of the following fields: {_list((*OPERATORS,))}"
        )
        yield _schema_problem(message, location)
    yield from _expressions(rule, location)
    for name in COMBINERS:
        nested = rule.get(name)
        for index, inner in enumerate(nested if isinstance(nested, list) else ()):
            yield from _rule(inner, RULE, f"{location}/{name}[{index}]")
        if isinstance(nested, dict) and name == "Not":
            yield from _rule(nested, RULE, f"{location}/{name}")


def _expressions(rule: dict[str, Json], location: str) -> Problems:
    """Variables of the language in a rule's paths."""
    for name, value in rule.items():
        is_path = name == "Variable" or (name.endswith("Path") and name in OPERATORS)
        if is_path and isinstance(value, str) and _is_unserved(value):
            yield _unserved(f"the expression '{value}'", f"{location}/{name}")


def _graph(definition: dict[str, Json]) -> Problems:
    states: dict[str, dict[str, Json]] = definition["States"]
    targets = [("/StartAt", definition["StartAt"])]
    for name, state in states.items():
        targets += _targets(state, f"/States/{name}")
    for location, target in targets:
        if target not in states:
            message = f"Missing 'Next' target: {target}"
            yield Problem(MISSING_TRANSITION_TARGET, message, location)
    if not any(map(_is_terminal, states.values())):
        yield Problem(MISSING_END_STATE, "Workflow has no terminal state", None)
        return
    reached = _reached(definition["StartAt"], states)
    for name in states:
        if name not in reached:
            message = f'State "{name}" is not reachable.'
            yield Problem(MISSING_TRANSITION_TARGET, message, f"/States/{name}")


def _targets(state: dict[str, Json], location: str) -> list[tuple[str, str]]:
    """Where a state may go next, with the location of the field that says so."""
    targets = [(f"{location}/Next", state["Next"])] if "Next" in state else []
    if "Default" in state:
        targets.append((f"{location}/Default", state["Default"]))
    for index, rule in enumerate(state.get("Choices", ())):
        targets.append((f"{location}/Choices[{index}]/Next", rule["Next"]))
    for index, catcher in enumerate(state.get("Catch", ())):
        targets.append((f"{location}/Catch[{index}]/Next", catcher["Next"]))
    return targets


def _is_terminal(state: dict[str, Json]) -> bool:
    return state["Type"] in ("Succeed", "Fail") or state.get("End") is True


def _reached(start: str, states: dict[str, dict[str, Json]]) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name in states and name not in reached:
            reached.add(name)
            ahead += (target for _, target in _targets(states[name], ""))
    return reached


def _list(names: tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]"


def _schema_problem(message: str, location: str) -> Problem:
    return Problem(SCHEMA_VALIDATION_FAILED, message, location)


def _unserved(what: str, location: str) -> Problem:
    return Problem(NOT_SERVED, f"stepout does not run {what} yet", location)
