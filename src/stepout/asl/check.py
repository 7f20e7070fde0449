"""Validation of a definition: a list of small checks that find all problems at once.

Each check takes the JSON of an object and yields `Problem`s with AWS's codes, messages and
locations. The schema is checked first; the graph only where the schema holds, so that a check may
rely on what those before it have seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from stepout.asl import jsonata, templates
from stepout.asl.choice import COMBINERS
from stepout.asl.fields import (
    BRANCH,
    CATCHER,
    ITEM_READER,
    MACHINE,
    OPERATORS,
    PROCESSOR,
    PROCESSOR_CONFIG,
    READER_CONFIG,
    RETRIER,
    RULE,
    STATE_TYPES,
    STATES,
    TOP_RULE,
    Field,
    Language,
    Shape,
)
from stepout.asl.integrations import Form, form_of, is_resource_arn
from stepout.asl.problems import (
    DUPLICATE_STATE_NAME,
    DUPLICATE_VARIABLE_NAME,
    INVALID_JSON_DESCRIPTION,
    INVALID_JSONATA_EXPRESSION,
    INVALID_STATE_NAME,
    INVALID_VARIABLE_NAME,
    MISSING_END_STATE,
    MISSING_TRANSITION_TARGET,
    RESERVED_VARIABLE_NAME,
    SCHEMA_VALIDATION_FAILED,
    TOO_DEEPLY_NESTED,
    UNSUPPORTED_JSONATA_EXPRESSION,
    Problem,
)
from stepout.asl.queries import expression, expressions
from stepout.asl.reach import reaching
from stepout.asl.resources import resource_of
from stepout.asl.values import Json, depth_of, loads
from stepout.errors import JsonError

__all__ = ["check", "has_shape", "read"]

Problems: TypeAlias = Iterator[Problem]
Fields: TypeAlias = dict[str, Json]

MAX_NAME: Final = 80
"""Characters of a state's name and of a variable's (States Language, "States")."""

MAX_NESTING: Final = 200
"""Levels of objects and arrays in a definition; ours, because templates recurse."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a check stands."""

    location: str
    language: Language
    is_express: bool
    members: tuple[str, ...] = ("input", "context")
    """Members that `$states` has here."""

    def at(self, step: str) -> str:
        return f"{self.location}/{step}"


def read(text: str) -> tuple[Fields, list[Problem]]:
    """The JSON object of a definition's text, and what is wrong with the text."""
    try:
        definition = loads(text) if text.strip() else None
    except JsonError as error:
        return {}, [_unreadable(text, str(error))]
    if depth_of(text.encode("utf-8", "surrogatepass")) > MAX_NESTING:
        message = f"Definition is nested deeper than {MAX_NESTING} levels"
        return {}, [Problem(TOO_DEEPLY_NESTED, message, None)]
    if not isinstance(definition, dict):
        message = "Definition must be a valid JSON object"
        return {}, [Problem(SCHEMA_VALIDATION_FAILED, message, None)]
    return definition, []


def check(definition: Fields, *, is_express: bool = False) -> list[Problem]:
    """All problems of a definition, in the order in which AWS lists them."""
    found = [*_schema(definition, is_express=is_express)]
    if not has_shape(found):
        return found
    return [*found, *_graph(definition, "", is_top=True), *_shadows(definition, "", _no_name)]


def has_shape(problems: Sequence[Problem]) -> bool:
    """Whether the fields of a definition with these problems can be relied on."""
    return all(problem.code not in _SHAPE_CODES for problem in problems)


_SHAPE_CODES: Final = (
    SCHEMA_VALIDATION_FAILED,
    INVALID_STATE_NAME,
    INVALID_JSON_DESCRIPTION,
    TOO_DEEPLY_NESTED,
)
"""With any of these the graph cannot be relied on."""


def _unreadable(text: str, message: str) -> Problem:
    """Jackson's words: the message repeats the location, which shows the text (recorded)."""
    token = re.match(r"\s*\S+", text)
    if not message.startswith("Unrecognized token") or token is None:
        return Problem(INVALID_JSON_DESCRIPTION, message, "/")
    before = text[: token.end()]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    where = f'[Source: (String)"{text[:500]}"; line: {line}, column: {column}]'
    return Problem(INVALID_JSON_DESCRIPTION, f"{message}\n at {where}", where)


# --- The schema -----------------------------------------------------------------------------------


def _schema(definition: Fields, *, is_express: bool) -> Problems:
    language = _language(definition, "JSONPath")
    place = Place("", language, is_express)
    yield from _shape(definition, MACHINE, place)
    yield from _states(definition, place, set())


def _language(fields: Fields, inherited: Language) -> Language:
    """JSONPath only by exactly that name, or inherited (measured on AWS)."""
    if "QueryLanguage" not in fields:
        return inherited
    return "JSONPath" if fields["QueryLanguage"] == "JSONPath" else "JSONata"


def _states(graph: Fields, place: Place, names: set[str]) -> Problems:
    """The states of a machine, a branch or an item processor."""
    states = graph.get("States")
    for name, state in states.items() if isinstance(states, dict) else ():
        inner = Place(place.at(f"States/{name}"), place.language, place.is_express)
        if name in names:
            yield Problem(DUPLICATE_STATE_NAME, f"Duplicate State name: {name}", inner.location)
        names.add(name)
        yield from _state(name, state, inner, names)


def _state(name: str, state: Json, place: Place, names: set[str]) -> Problems:
    if len(name) > MAX_NAME:
        message = "Invalid State name: State exceeds the 80-character limit allowed by the service."
        yield Problem(INVALID_STATE_NAME, message, place.location)
    if not isinstance(state, dict):
        yield _schema_problem("Expected value of type [OBJECT]", place.location)
        return
    if place.language == "JSONata" and state.get("QueryLanguage") == "JSONPath":
        message = (
            "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine"
        )
        yield _schema_problem(message, place.location)
        return
    shape = STATES.get(kind) if isinstance(kind := state.get("Type"), str) else None
    if shape is None:
        message = f"The field 'Type' should have one of these values: [{', '.join(STATE_TYPES)}]"
        yield _schema_problem(message, place.at("Type"))
        return
    own = _own_place(state, place)
    yield from _shape(state, shape, own)
    for check_part in _PARTS:
        yield from check_part(state, own)
    yield from _nested(state, place, names)


def _own_place(state: Fields, place: Place) -> Place:
    has_result = state["Type"] in ("Task", "Parallel", "Map")
    members = (*place.members, "result") if has_result else place.members
    return Place(place.location, _language(state, place.language), place.is_express, members)


def _nested(state: Fields, place: Place, names: set[str]) -> Problems:
    """Branches and item processors: they inherit the machine's language, not the state's."""
    for graph, shape, step in _graphs(state):
        where = Place(place.at(step), place.language, place.is_express)
        if not isinstance(graph, dict):
            yield _schema_problem("Expected value of type [OBJECT]", where.location)
            continue
        yield from _shape(graph, shape, where)
        yield from _processor_config(graph.get("ProcessorConfig"), where)
        yield from _states(graph, where, names)


def _graphs(state: Fields) -> Iterator[tuple[Json, Shape, str]]:
    branches = state.get("Branches")
    if state["Type"] == "Parallel" and isinstance(branches, list):
        for index, branch in enumerate(branches):
            yield branch, BRANCH, f"Branches[{index}]"
    if state["Type"] == "Map":
        for field in ("ItemProcessor", "Iterator"):
            if isinstance(state.get(field), dict):
                yield state[field], PROCESSOR, field


def _processor_config(config: Json, place: Place) -> Problems:
    if not isinstance(config, dict):
        return
    where = Place(place.at("ProcessorConfig"), place.language, place.is_express)
    yield from _shape(config, PROCESSOR_CONFIG, where)
    is_distributed = config.get("Mode") == "DISTRIBUTED"
    if is_distributed and place.is_express:
        message = (
            "The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state "
            "machines"
        )
        yield _schema_problem(message, where.at("Mode"))
    elif is_distributed and "ExecutionType" not in config:
        yield _schema_problem("These fields are required: [ExecutionType]", where.location)
    elif not is_distributed and "ExecutionType" in config:
        yield _schema_problem("Field 'ExecutionType' is not supported", where.location)


def _shape(value: Fields, shape: Shape, place: Place) -> Problems:
    """Fields that do not belong, are missing, exclude each other or have a wrong value."""
    location = place.location or "/"
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
        yield from _field(name, member, shape, place)


def _field(name: str, value: Json, shape: Shape, place: Place) -> Problems:
    field = shape.fields.get(name)
    location = place.location or "/"
    if field is None:
        yield _schema_problem(f"Field '{name}' is not supported", location)
    elif field.language not in (None, place.language):
        message = (
            f"The QueryLanguage is set to '{place.language}', but field '{name}' is only supported "
            f"for the '{field.language}' QueryLanguage"
        )
        yield _schema_problem(message, location)
    elif field.queries != "none" and place.language == "JSONata":
        yield from _query_field(name, value, field, place)
    elif wrong := field.verdict(value):
        yield _schema_problem(wrong, place.at(name))


def _query_field(name: str, value: Json, field: Field, place: Place) -> Problems:
    """A field that may hold JSONata, in a state of that language."""
    text = expression(value)
    if text is None:
        wrong = field.verdict(value)
        if wrong and isinstance(value, str) and "RFC3339" not in wrong:
            wrong = "JSONata string must start with {% and end with %}"
        if wrong:
            yield _schema_problem(wrong, place.at(name))
    elif field.queries == "inside":
        yield _schema_problem(field.verdict(value) or "", place.at(name))
        return
    if text is None and field.queries == "instead":
        return
    for found, location in expressions(value, place.at(name)):
        yield from _expression(found, location, place)


def _expression(text: str, location: str, place: Place) -> Problems:
    try:
        query = jsonata.compile(text)
    except jsonata.SyntaxProblem as problem:
        yield Problem(INVALID_JSONATA_EXPRESSION, str(problem), location)
        return
    for name in query.unsupported:
        level = "" if name == "$$" else " at the top level"
        message = f"Reference to '{name}'{level} is not supported."
        yield Problem(UNSUPPORTED_JSONATA_EXPRESSION, message, location)
    for member in query.members:
        if member not in place.members and f"$states.{member}" in text:
            message = f"Field '$states.{member}' does not exist."
            yield Problem(UNSUPPORTED_JSONATA_EXPRESSION, message, location)


# --- The parts of a state -------------------------------------------------------------------------


def _recovery(state: Fields, place: Place) -> Problems:
    for field, shape in (("Retry", RETRIER), ("Catch", CATCHER)):
        entries = state.get(field)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            where = _catch_place(place, f"{field}[{index}]")
            if not isinstance(entry, dict):
                yield _schema_problem("Expected value of type [OBJECT]", where.location)
                continue
            yield from _shape(entry, shape, where)
            yield from _assigned(entry, where)
            if not _may_hold_all(entry, is_last=index + 1 == len(entries or ())):
                message = "States.ALL must appear alone and at end of list"
                yield _schema_problem(message, where.location)


def _catch_place(place: Place, step: str) -> Place:
    members = ("input", "context", "errorOutput")
    return Place(place.at(step), place.language, place.is_express, members)


def _may_hold_all(entry: Fields, *, is_last: bool) -> bool:
    names = entry.get("ErrorEquals")
    if not isinstance(names, list) or "States.ALL" not in names:
        return True
    return is_last and len(names) == 1


def _payload_templates(state: Fields, place: Place) -> Problems:
    if place.language == "JSONPath":
        for field in ("Parameters", "ResultSelector", "ItemSelector", "Credentials"):
            yield from _template(state, field, place)


def _template(fields: Fields, field: str, place: Place) -> Problems:
    for message in templates.problems(fields.get(field)):
        yield _schema_problem(message, place.at(field))


def _assigned(fields: Fields, place: Place) -> Problems:
    """The names that an Assign gives, and its templates."""
    assign = fields.get("Assign")
    if not isinstance(assign, dict):
        return
    if place.language == "JSONPath":
        yield from _template(fields, "Assign", place)
    for key in assign:
        name = key.removesuffix(".$") if place.language == "JSONPath" else key
        if name == "states":
            message = "Cannot assign to reserved variable '$states'."
            yield Problem(RESERVED_VARIABLE_NAME, message, place.at("Assign"))
        elif len(name) > MAX_NAME:
            message = (
                f"Invalid variable name '{name}': the variable name exceeds {MAX_NAME} characters."
            )
            yield Problem(INVALID_VARIABLE_NAME, message, place.at("Assign"))
        elif not _is_variable_name(name):
            message = (
                f"Invalid variable name '{name}': the variable name contains invalid characters."
            )
            yield Problem(INVALID_VARIABLE_NAME, message, place.at("Assign"))


def _is_variable_name(name: str) -> bool:
    """Unicode's ID_Start, then ID_Continue (UAX 31); Python's identifiers add the underscore."""
    return name.isidentifier() and not name.startswith("_")


def _resource(state: Fields, place: Place) -> Problems:
    arn = state.get("Resource")
    if state["Type"] != "Task" or not isinstance(arn, str):
        return
    form = form_of(arn)
    if not is_resource_arn(arn):
        yield _schema_problem("Value is not a valid resource ARN", place.at("Resource"))
    elif form is None:
        message = (
            f"The resource provided {arn} is not recognized. The value is not a valid resource "
            "ARN, or the resource is not available in this region."
        )
        yield _schema_problem(message, place.at("Resource"))
    else:
        yield from _express_resource(form, place)
        yield from _credentials(state, form, place)
        if form.style == "Task":
            yield from _request(arn, state, place)


def _express_resource(form: Form, place: Place) -> Problems:
    if not place.is_express:
        return
    if form.style == "Activity":
        message = "Express state machine does not support Activity ARN"
        yield _schema_problem(message, place.at("Resource"))
    elif form.pattern:
        # AWS names `.sync:2` as it names `.sync`, and the text of the other ends with a blank.
        pattern = form.pattern.removesuffix(":2")
        end = " " if pattern == ".waitForTaskToken" else ""
        message = f"Express state machine does not support '{pattern}' service integration{end}"
        yield _schema_problem(message, place.at("Resource"))


def _credentials(state: Fields, form: Form, place: Place) -> Problems:
    credentials = state.get("Credentials")
    if not isinstance(credentials, dict):
        return
    if form.style == "Activity":
        message = "The field 'Credentials' is not supported for activities"
        yield _schema_problem(message, place.location)
    elif credentials.keys().isdisjoint(("RoleArn", "RoleArn.$")):
        message = "The field 'RoleArn' is required but was missing"
        yield _schema_problem(message, place.at("Credentials"))


def _request(arn: str, state: Fields, place: Place) -> Problems:
    """The fields of an integration's request, as far as AWS looks at them."""
    field = "Arguments" if place.language == "JSONata" else "Parameters"
    request = state.get(field)
    if field not in state:
        yield _schema_problem(f"{field} field is required for resource ARN: {arn}", place.location)
    elif isinstance(request, dict):
        for message in resource_of(arn).check_template(request):
            yield _schema_problem(message, place.at(field))
    elif expression(request) is None:
        yield _schema_problem("Expected value of type [OBJECT]", place.at(field))


def _choices(state: Fields, place: Place) -> Problems:
    rules = state.get("Choices")
    if state["Type"] == "Choice" and isinstance(rules, list):
        for index, rule in enumerate(rules):
            where = Place(place.at(f"Choices[{index}]"), place.language, place.is_express)
            yield from _rule(rule, TOP_RULE, where)
            if isinstance(rule, dict):
                yield from _assigned(rule, where)


def _rule(rule: Json, shape: Shape, place: Place) -> Problems:
    """A rule and those in it: one of And, Or, Not, or a Variable with one operator."""
    if not isinstance(rule, dict):
        yield _schema_problem("Expected value of type [OBJECT]", place.location)
        return
    yield from _shape(rule, shape, place)
    if sum(name in rule for name in _RULE_KINDS) != 1:
        message = f"The object must have only one of the following fields, {_list(_RULE_KINDS)}"
        yield _schema_problem(message, place.location)
    elif "Variable" in rule and not any(name in rule for name in OPERATORS):
        operators = _list((*OPERATORS,))
        message = f"This object should have only one of the following fields: {operators}"
        yield _schema_problem(message, place.location)
    for name in COMBINERS:
        nested = rule.get(name)
        for index, inner in enumerate(nested if isinstance(nested, list) else ()):
            where = Place(place.at(f"{name}[{index}]"), place.language, place.is_express)
            yield from _rule(inner, RULE, where)
        if isinstance(nested, dict) and name == "Not":
            where = Place(place.at(name), place.language, place.is_express)
            yield from _rule(nested, RULE, where)


_RULE_KINDS: Final = ("And", "Or", "Not", "Variable", "Condition")


def _item_reader(state: Fields, place: Place) -> Problems:
    reader = state.get("ItemReader")
    if state["Type"] != "Map" or not isinstance(reader, dict):
        return
    where = Place(place.at("ItemReader"), place.language, place.is_express)
    yield from _shape(reader, ITEM_READER, where)
    resource = reader.get("Resource")
    if isinstance(resource, str) and not _READERS.fullmatch(resource):
        message = "The field 'Resource' does not match any of the allowed values"
        yield _schema_problem(message, where.at("Resource"))
    config = reader.get("ReaderConfig")
    if isinstance(config, dict):
        yield from _reader_config(config, where.at("ReaderConfig"), place)


def _reader_config(config: Fields, location: str, place: Place) -> Problems:
    yield from _shape(config, READER_CONFIG, Place(location, place.language, place.is_express))
    if config.get("InputType") == "CSV" and "CSVHeaderLocation" not in config:
        yield _schema_problem("The field 'CSVHeaderLocation' is required", location)
    if config.get("CSVHeaderLocation") == "GIVEN" and "CSVHeaders" not in config:
        yield _schema_problem("These fields are required: [CSVHeaders]", location)


_READERS: Final = re.compile(r"arn:aws[a-z-]*:states:::s3:(getObject|listObjectsV2)")

_PARTS: Final[tuple[Callable[[Fields, Place], Problems], ...]] = (
    _recovery,
    _payload_templates,
    _assigned,
    _resource,
    _choices,
    _item_reader,
)


# --- The graph ------------------------------------------------------------------------------------


def _graph(graph: Fields, location: str, *, is_top: bool = False) -> Problems:
    states: dict[str, Fields] = graph["States"]
    targets = [(f"{location}/StartAt", graph["StartAt"])]
    for name, state in states.items():
        targets += _targets(state, f"{location}/States/{name}")
    for where, target in targets:
        if target not in states:
            message = f"Missing 'Next' target: {target}"
            yield Problem(MISSING_TRANSITION_TARGET, message, where)
    for name, state in states.items():
        for inner, _, step in _graphs(state):
            yield from _graph(inner, f"{location}/States/{name}/{step}")
    if is_top and not any(map(_is_terminal, states.values())):
        yield Problem(MISSING_END_STATE, "Workflow has no terminal state", None)
        return
    reached = _reached(graph["StartAt"], states)
    for name in states:
        if name not in reached:
            message = f'State "{name}" is not reachable.'
            yield Problem(MISSING_TRANSITION_TARGET, message, f"{location}/States/{name}")


def _shadows(graph: Fields, location: str, is_outer: Callable[[str], bool]) -> Problems:
    """Names that an inner scope assigns and an outer one has (developer guide, variables).

    It has those that a state before the Parallel or Map assigns; what the Parallel itself assigns,
    in a Catch for one, may have the name of an inner variable (recorded on AWS).
    """
    states: dict[str, Fields] = graph["States"]
    marks: dict[str, int] = {}
    assigning: dict[str, int] = {}
    for name, state in states.items():
        names = sorted({*_names_assigned(state)})
        marks[name] = 1 << len(marks) if names else 0
        for variable in names:
            assigning[variable] = assigning.get(variable, 0) | marks[name]
            if is_outer(variable):
                message = f"Variable '{variable}' is assigned in an outer scope already."
                where = f"{location}/States/{name}"
                yield Problem(DUPLICATE_VARIABLE_NAME, message, where)
    before = reaching(_edges(states), marks)
    for name, state in states.items():
        seen = before[name] & ~marks[name]
        for inner, _, step in _graphs(state):
            yield from _shadows(
                inner,
                f"{location}/States/{name}/{step}",
                _no_name
                # The states of a distributed Map do not see the variables around it.
                if _is_distributed(inner)
                else partial(_is_seen, seen, assigning, is_outer),
            )


def _is_seen(
    seen: int, assigning: Mapping[str, int], is_outer: Callable[[str], bool], variable: str
) -> bool:
    """Whether one of the states that are `seen` assigns a variable, or a scope further out has."""
    return bool(assigning.get(variable, 0) & seen) or is_outer(variable)


def _no_name(_variable: str) -> bool:
    return False


def _edges(states: Mapping[str, Fields]) -> dict[str, list[str]]:
    return {
        name: [target for _, target in _targets(state, "") if target in states]
        for name, state in states.items()
    }


def _names_assigned(state: Fields) -> Iterator[str]:
    for holder in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        yield from (key.removesuffix(".$") for key in holder.get("Assign", ()))


def _is_distributed(graph: Fields) -> bool:
    return bool(graph.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED")


def _targets(state: Fields, location: str) -> list[tuple[str, str]]:
    """Where a state may go next, with the location of the field that says so."""
    targets = [(f"{location}/Next", state["Next"])] if "Next" in state else []
    if "Default" in state:
        targets.append((f"{location}/Default", state["Default"]))
    for index, rule in enumerate(state.get("Choices", ())):
        targets.append((f"{location}/Choices[{index}]/Next", rule["Next"]))
    for index, catcher in enumerate(state.get("Catch", ())):
        targets.append((f"{location}/Catch[{index}]/Next", catcher["Next"]))
    return targets


def _is_terminal(state: Fields) -> bool:
    return state["Type"] in ("Succeed", "Fail") or state.get("End") is True


def _reached(start: str, states: Mapping[str, Fields]) -> set[str]:
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
