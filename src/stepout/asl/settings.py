"""Fields that hold one value: a literal, a path to it (`…Path`) or a JSONata expression.

Each compiles to the literal, or to a function of input and context that reads, checks and words
its failures as recorded on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from stepout.asl import jsonpath
from stepout.asl.flow import read_path
from stepout.asl.intrinsics import FunctionCall
from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.queries import expression, query_failure, typed, unexpected
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.states_error import RUNTIME, Failure, StatesError
from stepout.asl.templates import Context, compile_expression, read
from stepout.asl.values import Document, Json, dumps

__all__ = [
    "Setting",
    "compile_integer",
    "compile_percentage",
    "compile_seconds",
    "compile_text",
    "compile_timestamp",
    "resolve",
]

_T = TypeVar("_T")

Setting: TypeAlias = _T | Callable[[Document, Context], _T]

State: TypeAlias = dict[str, Json]


def resolve(setting: Setting[_T], source: Document, context: Context) -> _T:
    """The value of a setting."""
    return setting(source, context) if callable(setting) else setting


def compile_integer(state: State, field: str, minimum: int = 0) -> Setting[int | None]:
    """A count or a number of seconds; None where the field is not given."""
    if f"{field}Path" in state:
        return _integer_path(f"{field}Path", jsonpath.compile(state[f"{field}Path"]), minimum)
    return _numeric_query(state, field, minimum, None) or state.get(field)


def compile_percentage(state: State, field: str) -> Setting[float | None]:
    """From 0 to 100; None where the field is not given."""
    if f"{field}Path" in state:
        return _percentage_path(field, jsonpath.compile(state[f"{field}Path"]))
    return _numeric_query(state, field, 0, 100) or state.get(field)


def compile_text(state: State, field: str) -> Setting[str | None]:
    """The Error or Cause of a Fail state."""
    if f"{field}Path" in state:
        return _text_path(f"{field}Path", compile_expression(state[f"{field}Path"]))
    return typed(state.get(field), field, "string") or state.get(field)


def compile_seconds(state: State) -> Setting[int | None]:
    """How long a Wait lasts."""
    if "SecondsPath" in state:
        return _wait_seconds(jsonpath.compile(state["SecondsPath"]))
    return _numeric_query(state, "Seconds", 0, None) or state.get("Seconds")


def compile_timestamp(state: State) -> Setting[int | None]:
    """When a Wait ends, in nanoseconds since the epoch."""
    if "TimestampPath" in state:
        return _wait_timestamp(jsonpath.compile(state["TimestampPath"]))
    text = state.get("Timestamp")
    if text is None:
        return None
    evaluate = typed(text, "Timestamp", "string")
    return nanoseconds(text) if evaluate is None else _timestamp_query(evaluate)


# --- JSONata --------------------------------------------------------------------------------------


def _numeric_query(
    state: State, field: str, minimum: int, maximum: int | None
) -> Callable[[Document, Context], int] | None:
    text = expression(state.get(field))
    evaluate = typed(state.get(field), field, "number")
    if evaluate is None or text is None:
        return None

    def evaluate_number(source: Document, context: Context) -> int:
        found = evaluate(source, context)
        if maximum is None and (isinstance(found, float) and not found.is_integer()):
            raise unexpected(text, field, "integer", found)
        if found < minimum or (maximum is not None and found > maximum):
            raise query_failure(_out_of_range(field, minimum, maximum), field)
        return found if maximum is not None else int(found)

    return evaluate_number


def _out_of_range(field: str, minimum: int, maximum: int | None) -> str:
    if maximum is not None:
        return f"{field} must be between {minimum} and {maximum}."
    return f"{field} cannot be negative." if minimum == 0 else f"{field} must be positive."


def _timestamp_query(
    evaluate: Callable[[Document, Context], Json],
) -> Callable[[Document, Context], int]:
    def evaluate_timestamp(source: Document, context: Context) -> int:
        found = evaluate(source, context)
        moment = nanoseconds(found)
        if moment is None:
            cause = (
                "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time "
                f"format string: {found}"
            )
            raise query_failure(cause, "Timestamp")
        return moment

    return evaluate_timestamp


# --- JSONPath -------------------------------------------------------------------------------------


def _integer_path(field: str, path: Path, minimum: int) -> Callable[[Document, Context], int]:
    def read_integer(source: Document, context: Context) -> int:
        found = _number_of(read_path(path, source, context))
        if isinstance(found, bool) or not isinstance(found, int):
            raise _runtime(_refers(field, path, found, "integer"))
        if found < minimum:
            raise _runtime(_out_of_range(field.removesuffix("Path"), minimum, None))
        return found

    return read_integer


def _percentage_path(field: str, path: Path) -> Callable[[Document, Context], float]:
    def read_percentage(source: Document, context: Context) -> float:
        found = read_path(path, source, context)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise _runtime(_refers(f"{field}Path", path, found, "float"))
        if not 0 <= found <= _ALL:
            raise _runtime(_out_of_range(field, 0, _ALL))
        return found

    return read_percentage


def _number_of(value: Json) -> Json:
    """A text of digits counts as the number (recorded on AWS for a variable)."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


_DIGITS: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_ALL: Final = 100


def _text_path(field: str, text: Path | FunctionCall) -> Callable[[Document, Context], str]:
    def read_text(source: Document, context: Context) -> str:
        try:
            if isinstance(text, FunctionCall):
                value = text.evaluate(lambda path: read(path, source, context), context)
            else:
                value = read(text, source, context)
        except PathMiss:
            raise _runtime(
                f"The JSONPath '{text.text}' specified for the field '{field}' could not be found "
                f"in the input '{source.text}'"
            ) from None
        if not isinstance(value, str):
            raise _runtime(
                f"The JSONPath '{text.text}' specified for the field '{field}' must give a string "
                f"but gave {dumps(value).decode()}"
            )
        return value

    return read_text


def _wait_seconds(path: Path) -> Callable[[Document, Context], int]:
    def read_seconds(source: Document, context: Context) -> int:
        found = _waited_for("SecondsPath", path, source, context)
        if isinstance(found, bool) or not isinstance(found, int):
            raise _runtime(
                "The SecondsPath parameter cannot be parsed as a long value: "
                f"{path.text} == {_shown(found)}"
            )
        if found < 0:
            raise _runtime(
                f"The SecondsPath parameter references a negative value: {path.text} == {found}"
            )
        return found

    return read_seconds


def _wait_timestamp(path: Path) -> Callable[[Document, Context], int]:
    def read_timestamp(source: Document, context: Context) -> int:
        found = _waited_for("TimestampPath", path, source, context)
        moment = nanoseconds(found) if isinstance(found, str) else None
        if moment is None:
            raise _runtime(
                "The TimestampPath parameter does not reference a valid ISO-8601 extended offset "
                f"date-time format string: {path.text} == {_shown(found)}"
            )
        return moment

    return read_timestamp


def _waited_for(field: str, path: Path, source: Document, context: Context) -> Json:
    try:
        return read(path, source, context)
    except PathMiss:
        raise _runtime(
            f"The {field} parameter does not reference an input value: {path.text}"
        ) from None


def _refers(field: str, path: Path, found: Json, expected: str) -> str:
    return (
        f'The {field} field refers to value "{_shown(found)}" which is not a valid {expected}: '
        f"{path.text}"
    )


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _runtime(cause: str) -> Failure:
    return Failure(StatesError(RUNTIME, cause))
