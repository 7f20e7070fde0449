"""THE table: which field belongs to which object of a definition, its type and its limits.

Fields and limits are those of the States Language and of AWS's documents; the messages are AWS's,
as its ValidateStateMachineDefinition words them. A new field of a state is a row here and a slot in
`machine`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from stepout.asl import jsonpath
from stepout.asl.choice import COMPARISONS, QUESTIONS
from stepout.asl.intrinsics import compile_call
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.values import Json
from stepout.errors import PathError

__all__ = [
    "CATCHER",
    "MACHINE",
    "OPERATORS",
    "RETRIER",
    "RULE",
    "STATES",
    "STATE_TYPES",
    "TOP_RULE",
    "Field",
    "Shape",
]

Verdict: TypeAlias = Callable[[Json], str | None]
"""What is wrong with a field's value, or None."""

MAX_SECONDS: Final = 99_999_999
"""The largest TimeoutSeconds, IntervalSeconds and MaxAttempts (developer guide, state-task)."""

MAX_DELAY_SECONDS: Final = 31_622_400
"""The largest MaxDelaySeconds (developer guide, concepts-error-handling)."""


@dataclass(frozen=True, slots=True)
class Field:
    verdict: Verdict
    is_served: bool = True
    """False where AWS accepts the field and stepout does not run it yet."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one kind of object."""

    fields: Mapping[str, Field]
    required: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    """Groups of which exactly one field must be given."""
    at_most_one_of: tuple[tuple[str, ...], ...] = ()
    at_least_one_of: tuple[tuple[str, ...], ...] = ()


def _anything(_value: Json) -> None:
    return None


def _text(value: Json) -> str | None:
    return None if isinstance(value, str) else "Expected value of type [STRING]"


def _boolean(value: Json) -> str | None:
    return None if isinstance(value, bool) else "Expected value of type [BOOLEAN]"


def _mapping(value: Json) -> str | None:
    return None if isinstance(value, dict) else "Expected value of type [OBJECT]"


def _filled_mapping(value: Json) -> str | None:
    return _mapping(value) or (None if value else "Value cannot be empty")


def _filled_list(value: Json) -> str | None:
    if not isinstance(value, list):
        return "Expected value of type [ARRAY]"
    return None if value else "Value cannot be empty"


def _optional_list(value: Json) -> str | None:
    return None if isinstance(value, list) else "Expected value of type [ARRAY]"


def _names(value: Json) -> str | None:
    if isinstance(value, list) and not all(isinstance(name, str) for name in value):
        return "Expected value of type [STRING]"
    return _filled_list(value)


def _integer(minimum: int, maximum: int) -> Verdict:
    def verdict(value: Json) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "Expected value of type Integer"
        return _within(value, minimum, maximum)

    return verdict


def _number(minimum: float) -> Verdict:
    def verdict(value: Json) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "Expected value of type Number"
        return _within(value, minimum, None)

    return verdict


def _within(value: float, minimum: float, maximum: float | None) -> str | None:
    if value < minimum:
        return f"Minimum value is {minimum}"
    if maximum is not None and value > maximum:
        return f"Maximum value is {maximum}"
    return None


def _one_of(*allowed: str) -> Verdict:
    def verdict(value: Json) -> str | None:
        if value in allowed:
            return None
        return f"Value should be one of the following: [{', '.join(allowed)}]"

    return verdict


def _path(value: Json) -> str | None:
    if value is None:
        return None
    return _text(value) or _compiles(jsonpath.compile, value, "Value must be a valid JSONPath.")


def _reference_path(value: Json) -> str | None:
    if value is None:
        return None
    return _text(value) or _compiles(jsonpath.compile_reference, value, None)


_TEXT_FUNCTIONS: Final = re.compile(
    r"States\.(Format|JsonToString|ArrayGetItem|Base64Encode|Base64Decode|Hash|UUID)\b"
)
"""Those that ErrorPath and CausePath may call (developer guide, state-fail)."""


def _text_path(value: Json) -> str | None:
    """A path, or a call of a function that gives a text."""
    if isinstance(value, str) and _TEXT_FUNCTIONS.match(value):
        return _compiles(compile_call, value, "Value must be a valid JSONPath.")
    return _path(value)


def _compiles(compile_path: Callable[[str], object], value: str, message: str | None) -> str | None:
    try:
        compile_path(value)
    except PathError as error:
        return message or str(error)
    return None


def _result_path(value: Json) -> str | None:
    found = _reference_path(value)
    if found is None and isinstance(value, str) and jsonpath.compile(value).root != "$":
        return "Value is not a Reference Path: Reference path didn't start with '$'"
    return found


def _timestamp(value: Json) -> str | None:
    if isinstance(value, str) and nanoseconds(value) is None:
        return "String does not match RFC3339 timestamp"
    return _text(value)


def _any_number(value: Json) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number else "Expected value of type Number"


_ANY = Field(_anything)
_TEXT = Field(_text)
_PATH = Field(_path)
_SECONDS = _integer(1, MAX_SECONDS)

_EVERY_STATE: Final[Mapping[str, Field]] = {
    "Type": _ANY,
    "Comment": _TEXT,
    "QueryLanguage": Field(_one_of("JSONPath", "JSONata")),
}
_FLOW: Final[Mapping[str, Field]] = {"InputPath": _PATH, "OutputPath": _PATH}
_RESULT: Final[Mapping[str, Field]] = {
    "Parameters": _ANY,
    "ResultPath": Field(_result_path),
}
_NEXT: Final[Mapping[str, Field]] = {"Next": _TEXT, "End": Field(_boolean)}
_RECOVERY: Final[Mapping[str, Field]] = {
    "Retry": Field(_optional_list),
    "Catch": Field(_optional_list),
}
_LATER: Final = Field(_anything, is_served=False)
"""Variables and JSONata: in every state but Fail."""

_WAITS: Final = ("SecondsPath", "Seconds", "TimestampPath", "Timestamp")

MACHINE: Final = Shape(
    fields={
        "StartAt": _TEXT,
        "States": Field(_filled_mapping),
        "Comment": _TEXT,
        "Version": Field(_one_of("1.0")),
        "TimeoutSeconds": Field(_integer(0, MAX_SECONDS)),
        "QueryLanguage": Field(_one_of("JSONPath", "JSONata")),
    },
    required=("States", "StartAt"),
)

STATES: Final[Mapping[str, Shape]] = {
    "Task": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_RESULT,
            **_NEXT,
            **_RECOVERY,
            "Resource": _TEXT,
            "ResultSelector": Field(_mapping),
            "TimeoutSeconds": Field(_SECONDS),
            "TimeoutSecondsPath": Field(_reference_path),
            "HeartbeatSeconds": Field(_SECONDS, is_served=False),
            "HeartbeatSecondsPath": Field(_reference_path, is_served=False),
            "Arguments": _LATER,
            "Output": _LATER,
            "Assign": _LATER,
            "Credentials": _LATER,
        },
        required=("Resource",),
        one_of=(("Next", "End"),),
        at_most_one_of=(("TimeoutSeconds", "TimeoutSecondsPath"),),
    ),
    "Pass": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_RESULT,
            **_NEXT,
            "Result": _ANY,
            "Output": _LATER,
            "Assign": _LATER,
        },
        one_of=(("Next", "End"),),
    ),
    "Wait": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_NEXT,
            "Seconds": Field(_integer(0, MAX_SECONDS)),
            "SecondsPath": Field(_reference_path),
            "Timestamp": Field(_timestamp),
            "TimestampPath": Field(_reference_path),
            "Output": _LATER,
            "Assign": _LATER,
        },
        one_of=(("Next", "End"),),
        at_most_one_of=(_WAITS,),
        at_least_one_of=(_WAITS,),
    ),
    "Choice": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            "Choices": Field(_filled_list),
            "Default": _TEXT,
            "Output": _LATER,
            "Assign": _LATER,
        },
        required=("Choices",),
    ),
    "Succeed": Shape(fields={**_EVERY_STATE, **_FLOW, "Output": _LATER}),
    "Fail": Shape(
        fields={
            **_EVERY_STATE,
            "Error": _TEXT,
            "Cause": _TEXT,
            "ErrorPath": Field(_text_path),
            "CausePath": Field(_text_path),
        },
        at_most_one_of=(("Error", "ErrorPath"), ("Cause", "CausePath")),
    ),
}

STATE_TYPES: Final = ("Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map")
"""All types of the language, in the order in which AWS lists them."""

RETRIER: Final = Shape(
    fields={
        "ErrorEquals": Field(_names),
        "IntervalSeconds": Field(_integer(0, MAX_SECONDS)),
        "MaxAttempts": Field(_integer(0, MAX_SECONDS)),
        "BackoffRate": Field(_number(1)),
        "MaxDelaySeconds": Field(_integer(1, MAX_DELAY_SECONDS)),
        "JitterStrategy": Field(_one_of("NONE", "FULL")),
        "Comment": _TEXT,
    },
    required=("ErrorEquals",),
)

_BY_TYPE: Final[Mapping[str, Verdict]] = {
    "String": _text,
    "Numeric": _any_number,
    "Boolean": _boolean,
    "Timestamp": _timestamp,
}
"""What an operator of Choice begins with → what it takes."""

OPERATORS: Final[Mapping[str, Field]] = {
    **{
        name: Field(next(verdict for kind, verdict in _BY_TYPE.items() if name.startswith(kind)))
        for name in COMPARISONS
    },
    **{f"{name}Path": Field(_path) for name in COMPARISONS},
    **{name: Field(_boolean) for name in (*QUESTIONS, "IsPresent")},
    "StringMatches": _TEXT,
}
"""Operators of Choice; a rule has exactly one."""

RULE: Final = Shape(
    fields={
        "And": Field(_filled_list),
        "Or": Field(_filled_list),
        "Not": Field(_mapping),
        "Variable": Field(_path),
        "Condition": _LATER,
        "Comment": _TEXT,
        **OPERATORS,
    },
    at_most_one_of=(tuple(OPERATORS),),
)
"""A rule inside another; one at the top has a Next too."""

TOP_RULE: Final = Shape(
    fields={**RULE.fields, "Next": _TEXT, "Assign": _LATER, "Output": _LATER},
    required=("Next",),
    at_most_one_of=RULE.at_most_one_of,
)

CATCHER: Final = Shape(
    fields={
        "ErrorEquals": Field(_names),
        "Next": _TEXT,
        "ResultPath": Field(_result_path),
        "Comment": _TEXT,
        "Output": _LATER,
        "Assign": _LATER,
    },
    required=("ErrorEquals", "Next"),
)
