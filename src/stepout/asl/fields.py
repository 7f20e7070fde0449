"""THE table: which field belongs to which object of a definition, its type and its limits.

Fields and limits are those of the States Language and of AWS's documents; the messages are AWS's,
as its ValidateStateMachineDefinition words them. A new field of a state is a row here and a slot in
`machine`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from stepout.asl import jsonpath
from stepout.asl.choice import COMPARISONS, QUESTIONS
from stepout.asl.intrinsics import compile_call
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.values import Json
from stepout.errors import PathError

__all__ = [
    "BRANCH",
    "CATCHER",
    "ITEM_READER",
    "MACHINE",
    "OPERATORS",
    "PROCESSOR",
    "PROCESSOR_CONFIG",
    "READER_CONFIG",
    "RETRIER",
    "RULE",
    "STATES",
    "STATE_TYPES",
    "TOP_RULE",
    "Field",
    "Language",
    "Shape",
]

Queries = Literal["none", "instead", "only", "inside", "anywhere"]
"""No JSONata; one instead of a number or text; nothing but one among texts; in the members of an
object; at any depth."""

Verdict: TypeAlias = Callable[[Json], str | None]
"""What is wrong with a field's value, or None."""

MAX_SECONDS: Final = 99_999_999
"""The largest TimeoutSeconds, IntervalSeconds and MaxAttempts (developer guide, state-task)."""

MAX_DELAY_SECONDS: Final = 31_622_400
"""The largest MaxDelaySeconds (developer guide, concepts-error-handling)."""


Language = Literal["JSONPath", "JSONata"]


@dataclass(frozen=True, slots=True)
class Field:
    verdict: Verdict
    language: Language | None = None
    """The only query language that knows the field."""
    queries: Queries = "none"
    """Which JSONata the field may hold in a state of that language."""


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


def _integer(minimum: int, maximum: int | None) -> Verdict:
    def verdict(value: Json) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "Expected value of type Integer"
        return _within(value, minimum, maximum)

    return verdict


def _number(minimum: float, maximum: float | None = None) -> Verdict:
    def verdict(value: Json) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "Expected value of type Number"
        return _within(value, minimum, maximum)

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
        return "Value must be a valid JSONPath."
    return _text(value) or _compiles(jsonpath.compile, value, "Value must be a valid JSONPath.")


def _reference_path(value: Json) -> str | None:
    if value is None:
        return "Value is not a Reference Path"
    return _text(value) or _compiles(jsonpath.compile_reference, value, None)


def _or_null(verdict: Verdict) -> Verdict:
    """For InputPath, OutputPath and ResultPath, which may be null."""
    return lambda value: None if value is None else verdict(value)


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


def _items(value: Json) -> str | None:
    """An array, or (at the level of the language) an expression that gives one."""
    return None if isinstance(value, list) else "Expected value of type [ARRAY]"


_LABEL_FORBIDDEN: Final = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]")


def _label(value: Json) -> str | None:
    if not isinstance(value, str):
        return _text(value)
    if not value:
        return "Label cannot be empty"
    if len(value) > MAX_LABEL:
        return f"Label cannot exceed {MAX_LABEL} characters"
    found = _LABEL_FORBIDDEN.search(value)
    return f"Label contains invalid character: {found[0]!r}" if found else None


MAX_LABEL: Final = 40
"""Characters of a distributed Map's label (developer guide, state-map-distributed)."""

_ANY = Field(_anything)
_TEXT = Field(_text)
_MAPPING = Field(_mapping)
_PATH = Field(_path, "JSONPath")
_REFERENCE = Field(_reference_path, "JSONPath")
_SECONDS = Field(_integer(1, MAX_SECONDS), queries="instead")
_COUNT = Field(_integer(0, None), queries="instead")
_PERCENTAGE = Field(_number(0, 100), queries="instead")
_TEMPLATE = Field(_mapping, "JSONPath")
_ASSIGN = Field(_mapping, queries="inside")
_OUTPUT = Field(_anything, "JSONata", "anywhere")
_ARGUMENTS = Field(_anything, "JSONata", "anywhere")
_PARAMETERS = Field(_anything, "JSONPath")

_EVERY_STATE: Final[Mapping[str, Field]] = {
    "Type": _ANY,
    "Comment": _TEXT,
    "QueryLanguage": Field(_one_of("JSONPath", "JSONata")),
}
_NULLABLE_PATH = Field(_or_null(_path), "JSONPath")
_FLOW: Final[Mapping[str, Field]] = {
    "InputPath": _NULLABLE_PATH,
    "OutputPath": _NULLABLE_PATH,
    "Output": _OUTPUT,
}
_RESULT: Final[Mapping[str, Field]] = {
    "Parameters": _PARAMETERS,
    "ResultPath": Field(_or_null(_result_path), "JSONPath"),
}
_NEXT: Final[Mapping[str, Field]] = {"Next": _TEXT, "End": Field(_boolean), "Assign": _ASSIGN}
_RECOVERY: Final[Mapping[str, Field]] = {
    "ResultSelector": _TEMPLATE,
    "Retry": Field(_optional_list),
    "Catch": Field(_optional_list),
}

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

BRANCH: Final = Shape(
    fields={"StartAt": _TEXT, "States": Field(_filled_mapping), "Comment": _TEXT},
    required=("States", "StartAt"),
)
"""A branch of a Parallel."""

PROCESSOR: Final = Shape(
    fields={**BRANCH.fields, "ProcessorConfig": _MAPPING}, required=BRANCH.required
)
"""The ItemProcessor of a Map; Iterator is its older name."""

PROCESSOR_CONFIG: Final = Shape(
    fields={
        "Mode": Field(_one_of("INLINE", "DISTRIBUTED")),
        "ExecutionType": Field(_one_of("STANDARD", "EXPRESS")),
    }
)

ITEM_READER: Final = Shape(
    fields={
        "Resource": _TEXT,
        "ReaderConfig": _MAPPING,
        "Parameters": _PARAMETERS,
        "Arguments": _ARGUMENTS,
    },
    required=("Resource",),
)

READER_CONFIG: Final = Shape(
    fields={
        "InputType": Field(_one_of("CSV", "JSON", "JSONL", "PARQUET", "MANIFEST")),
        "Transformation": Field(_one_of("NONE", "LOAD_AND_FLATTEN")),
        "ManifestType": Field(_one_of("ATHENA_DATA", "S3_INVENTORY")),
        "CSVDelimiter": Field(_one_of("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB")),
        "CSVHeaderLocation": Field(_one_of("FIRST_ROW", "GIVEN")),
        "CSVHeaders": Field(_names),
        "ItemsPointer": _TEXT,
        "MaxItems": Field(_integer(0, 100_000_000), queries="instead"),
        "MaxItemsPath": _REFERENCE,
    },
    at_most_one_of=(("MaxItems", "MaxItemsPath"),),
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
            "Arguments": _ARGUMENTS,
            "TimeoutSeconds": _SECONDS,
            "TimeoutSecondsPath": _REFERENCE,
            "HeartbeatSeconds": _SECONDS,
            "HeartbeatSecondsPath": _REFERENCE,
            "Credentials": Field(_mapping, queries="inside"),
        },
        required=("Resource",),
        one_of=(("Next", "End"),),
        at_most_one_of=(
            ("TimeoutSeconds", "TimeoutSecondsPath"),
            ("HeartbeatSeconds", "HeartbeatSecondsPath"),
        ),
    ),
    "Pass": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_RESULT,
            **_NEXT,
            "Result": Field(_anything, "JSONPath"),
        },
        one_of=(("Next", "End"),),
    ),
    "Wait": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_NEXT,
            "Seconds": Field(_integer(0, MAX_SECONDS), queries="instead"),
            "SecondsPath": _REFERENCE,
            "Timestamp": Field(_timestamp, queries="instead"),
            "TimestampPath": _REFERENCE,
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
            "Assign": _ASSIGN,
        },
        required=("Choices",),
    ),
    "Succeed": Shape(fields={**_EVERY_STATE, **_FLOW}),
    "Fail": Shape(
        fields={
            **_EVERY_STATE,
            "Error": Field(_text, queries="anywhere"),
            "Cause": Field(_text, queries="anywhere"),
            "ErrorPath": Field(_text_path, "JSONPath"),
            "CausePath": Field(_text_path, "JSONPath"),
        },
        at_most_one_of=(("Error", "ErrorPath"), ("Cause", "CausePath")),
    ),
    "Parallel": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_RESULT,
            **_NEXT,
            **_RECOVERY,
            "Branches": Field(_filled_list),
            "Arguments": _ARGUMENTS,
        },
        required=("Branches",),
        one_of=(("Next", "End"),),
    ),
    "Map": Shape(
        fields={
            **_EVERY_STATE,
            **_FLOW,
            **_RESULT,
            **_NEXT,
            **_RECOVERY,
            "ItemProcessor": _MAPPING,
            "Iterator": _MAPPING,
            "ItemsPath": _PATH,
            "Items": Field(_items, "JSONata", "only"),
            "ItemSelector": Field(_anything, queries="anywhere"),
            "MaxConcurrency": _COUNT,
            "MaxConcurrencyPath": _REFERENCE,
            "ItemReader": _MAPPING,
            "ItemBatcher": _MAPPING,
            "ResultWriter": _MAPPING,
            "ToleratedFailureCount": _COUNT,
            "ToleratedFailureCountPath": _REFERENCE,
            "ToleratedFailurePercentage": _PERCENTAGE,
            "ToleratedFailurePercentagePath": _REFERENCE,
            "Label": Field(_label),
        },
        one_of=(("Next", "End"), ("ItemProcessor", "Iterator")),
        at_most_one_of=(
            ("ItemSelector", "Parameters"),
            ("MaxConcurrency", "MaxConcurrencyPath"),
            ("ToleratedFailureCount", "ToleratedFailureCountPath"),
            ("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
        ),
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
        name: Field(
            next(verdict for kind, verdict in _BY_TYPE.items() if name.startswith(kind)),
            "JSONPath",
        )
        for name in COMPARISONS
    },
    **{f"{name}Path": _PATH for name in COMPARISONS},
    **{name: Field(_boolean, "JSONPath") for name in (*QUESTIONS, "IsPresent")},
    "StringMatches": Field(_text, "JSONPath"),
}
"""Operators of Choice; a rule has exactly one."""

RULE: Final = Shape(
    fields={
        "And": Field(_filled_list, "JSONPath"),
        "Or": Field(_filled_list, "JSONPath"),
        "Not": Field(_mapping, "JSONPath"),
        "Variable": _PATH,
        "Condition": Field(_boolean, "JSONata", "instead"),
        "Comment": _TEXT,
        **OPERATORS,
    },
    at_most_one_of=(tuple(OPERATORS),),
)
"""A rule inside another; one at the top has a Next too."""

TOP_RULE: Final = Shape(
    fields={**RULE.fields, "Next": _TEXT, "Assign": _ASSIGN, "Output": _OUTPUT},
    required=("Next",),
    at_most_one_of=RULE.at_most_one_of,
)

CATCHER: Final = Shape(
    fields={
        "ErrorEquals": Field(_names),
        "Next": _TEXT,
        "ResultPath": Field(_or_null(_result_path), "JSONPath"),
        "Comment": _TEXT,
        "Output": _OUTPUT,
        "Assign": _ASSIGN,
    },
    required=("ErrorEquals", "Next"),
)
