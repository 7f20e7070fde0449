"""Choice rules: the operators as a table, rules compiled to tests.

A value of another type than the operator's is no match and no error; a Variable that leads nowhere
is States.Runtime, but for IsPresent (States Language, "Choice State").
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from stepout.asl import jsonpath
from stepout.asl.jsonpath import Path, PathMiss
from stepout.asl.queries import typed
from stepout.asl.rfc3339 import nanoseconds
from stepout.asl.states_error import RUNTIME, Failure, StatesError
from stepout.asl.templates import Context, read
from stepout.asl.values import MISSING, Document, Json, Missing

__all__ = ["COMBINERS", "COMPARISONS", "QUESTIONS", "Test", "compile_condition", "compile_rule"]

Test: TypeAlias = Callable[[Document, Context], bool]


Typed: TypeAlias = Callable[[Json], Json | Missing]
"""A value as the operator compares it, or MISSING for one of another type."""


def _string(value: Json) -> Json | Missing:
    return value if isinstance(value, str) else MISSING


def _number(value: Json) -> Json | Missing:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else MISSING


def _boolean(value: Json) -> Json | Missing:
    return value if isinstance(value, bool) else MISSING


def _timestamp(value: Json) -> Json | Missing:
    moment = nanoseconds(value) if isinstance(value, str) else None
    return MISSING if moment is None else moment


_ORDERS: Final[Mapping[str, Callable[[Json, Json], bool]]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}
_ORDERED: Final[Mapping[str, Typed]] = {
    "String": _string,
    "Numeric": _number,
    "Timestamp": _timestamp,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    typed: Typed
    compare: Callable[[Json, Json], bool]


COMPARISONS: Final[Mapping[str, Comparison]] = {
    **{
        f"{kind}{order}": Comparison(typed, compare)
        for kind, typed in _ORDERED.items()
        for order, compare in _ORDERS.items()
    },
    "BooleanEquals": Comparison(_boolean, operator.eq),
}
"""Operators that compare with a value of their type; each has a twin `…Path`."""

QUESTIONS: Final[Mapping[str, Callable[[Json], bool]]] = {
    "IsNull": lambda value: value is None,
    "IsNumeric": lambda value: _number(value) is not MISSING,
    "IsString": lambda value: isinstance(value, str),
    "IsBoolean": lambda value: isinstance(value, bool),
    "IsTimestamp": lambda value: _timestamp(value) is not MISSING,
}
"""Operators that ask what a value is; they take true or false."""

COMBINERS: Final = ("And", "Or", "Not")


def compile_condition(condition: Json, location: str) -> Test:
    """The test of a JSONata rule: a literal or an expression that must give a boolean."""
    test = typed(condition, location, "boolean")
    return test or (lambda _source, _context: condition is True)


def compile_rule(rule: dict[str, Json]) -> Test:
    """The test of a JSONPath rule that the checks have passed."""
    for name, combine in _COMBINE.items():
        if name in rule:
            nested = rule[name] if isinstance(rule[name], list) else [rule[name]]
            return combine([compile_rule(inner) for inner in nested])
    variable = jsonpath.compile(rule["Variable"])
    name = next(field for field in rule if field not in _NO_OPERATORS)
    return _operator(name, rule[name], variable)


_NO_OPERATORS: Final = ("Variable", "Next", "Assign", "Comment")


def _operator(name: str, operand: Json, variable: Path) -> Test:
    if name == "IsPresent":
        return lambda source, context: _is_present(variable, source, context) is operand
    if name == "StringMatches":
        matches = _matcher(operand)
        return lambda source, context: matches(_value(variable, source, context))
    if name in QUESTIONS:
        question = QUESTIONS[name]
        return lambda source, context: question(_value(variable, source, context)) is operand
    comparison = COMPARISONS[name.removesuffix("Path")]
    if name.endswith("Path"):
        other = jsonpath.compile(operand)
        return lambda source, context: _compared(
            comparison, _value(variable, source, context), _value(other, source, context)
        )
    return lambda source, context: _compared(comparison, _value(variable, source, context), operand)


def _compared(comparison: Comparison, left: Json, right: Json) -> bool:
    one, other = comparison.typed(left), comparison.typed(right)
    if isinstance(one, Missing) or isinstance(other, Missing):
        return False
    return comparison.compare(one, other)


def _value(path: Path, source: Document, context: Context) -> Json:
    try:
        return read(path, source, context)
    except PathMiss:
        cause = (
            f"Invalid path '{path.text}': The choice state's condition path references an invalid "
            "value."
        )
        raise Failure(StatesError(RUNTIME, cause)) from None


def _is_present(path: Path, source: Document, context: Context) -> bool:
    try:
        found = read(path, source, context)
    except PathMiss:
        return False
    # A path that may select several nodes is present when it selects one.
    return path.keys is not None or bool(found)


_PARTS: Final = re.compile(r"\\(.)|(\*)|([^\\*]+)|(\\)", re.DOTALL)


def _matcher(pattern: str) -> Callable[[Json], bool]:
    """Match texts against a pattern with `*`, without backtracking; `\\*` is a star."""
    parts = [""]
    for escaped, star, plain, lone in _PARTS.findall(pattern):
        if star:
            parts.append("")
        else:
            parts[-1] += escaped or plain or lone
    return lambda value: isinstance(value, str) and _matches(value, parts)


def _matches(text: str, parts: Sequence[str]) -> bool:
    """Whether the parts stand in the text in their order, the first and the last at its ends."""
    if len(parts) == 1:
        return text == parts[0]
    first, *between, last = parts
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _negated(tests: Sequence[Test]) -> Test:
    (test,) = tests
    return lambda source, context: not test(source, context)


_COMBINE: Final[Mapping[str, Callable[[Sequence[Test]], Test]]] = {
    "And": lambda tests: lambda source, context: all(test(source, context) for test in tests),
    "Or": lambda tests: lambda source, context: any(test(source, context) for test in tests),
    "Not": _negated,
}
