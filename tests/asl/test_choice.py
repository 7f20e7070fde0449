"""Choice rules: every operator on values of its type, of another, and on none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asl.around import Around

from stepout.asl.choice import COMPARISONS, QUESTIONS, _matcher, compile_rule
from stepout.asl.fields import OPERATORS
from stepout.asl.states_error import Failure, StatesError
from stepout.asl.values import Document

SOURCE = Document(
    {
        "text": "banana",
        "same": "banana",
        "other": "cherry",
        "number": 3,
        "float": 3.0,
        "more": 4,
        "yes": True,
        "no": False,
        "null": None,
        "early": "2024-01-01T00:00:00Z",
        "equal": "2024-01-01T01:00:00+01:00",
        "late": "2024-01-01T00:00:00.001Z",
        "list": [1, 2],
        "empty": [],
        "object": {},
    }
)


def holds(rule: dict[str, Any]) -> bool:
    return compile_rule(rule)(SOURCE, Around())


@pytest.mark.parametrize(
    ("variable", "operator", "operand", "result"),
    [
        ("text", "StringEquals", "banana", True),
        ("text", "StringEquals", "Banana", False),
        ("number", "StringEquals", "3", False),
        ("text", "StringLessThan", "cherry", True),
        ("text", "StringLessThanEquals", "banana", True),
        ("text", "StringGreaterThan", "apple", True),
        ("text", "StringGreaterThanEquals", "banana", True),
        ("text", "StringGreaterThan", "banana", False),
        ("text", "StringEqualsPath", "$.same", True),
        ("text", "StringLessThanPath", "$.other", True),
        ("text", "StringEqualsPath", "$.number", False),
        ("number", "NumericEquals", 3, True),
        ("number", "NumericEquals", 3.0, True),
        ("text", "NumericEquals", 3, False),
        ("yes", "NumericEquals", 1, False),
        ("number", "NumericLessThan", 3.5, True),
        ("number", "NumericGreaterThanEquals", 3, True),
        ("number", "NumericEqualsPath", "$.float", True),
        ("number", "NumericLessThanPath", "$.more", True),
        ("yes", "BooleanEquals", True, True),
        ("yes", "BooleanEquals", False, False),
        ("number", "BooleanEquals", True, False),
        ("yes", "BooleanEqualsPath", "$.no", False),
        ("early", "TimestampEquals", "2024-01-01T00:00:00Z", True),
        ("early", "TimestampEqualsPath", "$.equal", True),
        ("early", "TimestampLessThanPath", "$.late", True),
        ("late", "TimestampGreaterThan", "2024-01-01T00:00:00Z", True),
        ("text", "TimestampEquals", "2024-01-01T00:00:00Z", False),
        ("null", "IsNull", True, True),
        ("text", "IsNull", False, True),
        ("text", "IsNull", True, False),
        ("number", "IsNumeric", True, True),
        ("yes", "IsNumeric", True, False),
        ("text", "IsString", True, True),
        ("yes", "IsBoolean", True, True),
        ("number", "IsBoolean", False, True),
        ("early", "IsTimestamp", True, True),
        ("text", "IsTimestamp", True, False),
        ("null", "IsPresent", True, True),
        ("nope", "IsPresent", True, False),
        ("nope", "IsPresent", False, True),
        ("nope.deeper", "IsPresent", False, True),
        ("list[*]", "IsPresent", True, True),
        ("empty[*]", "IsPresent", True, False),
        ("text", "StringMatches", "ban*", True),
        ("number", "StringMatches", "*", False),
    ],
)
def test_operators(variable: str, operator: str, operand: Any, result: bool) -> None:
    assert holds({"Variable": f"$.{variable}", operator: operand}) is result


def test_every_operator_of_the_language_is_in_the_table() -> None:
    """The developer guide lists 39: 16 comparisons, their twins, and 7 without one."""
    assert len(COMPARISONS) == 16
    assert len(QUESTIONS) == 5
    assert len(OPERATORS) == 39


@pytest.mark.parametrize(
    ("rule", "result"),
    [
        ({"And": [{"Variable": "$.yes", "BooleanEquals": True}]}, True),
        ({"And": [{"Variable": "$.yes", "BooleanEquals": True}, {"Variable": "$.no", "BooleanEquals": True}]}, False),
        ({"Or": [{"Variable": "$.no", "BooleanEquals": True}, {"Variable": "$.yes", "BooleanEquals": True}]}, True),
        ({"Not": {"Variable": "$.yes", "BooleanEquals": True}}, False),
        ({"Not": {"And": [{"Not": {"Variable": "$.yes", "BooleanEquals": True}}]}}, True),
        ({"Or": [{"Variable": "$.yes", "IsPresent": True}, {"Variable": "$.nope", "IsNull": True}]}, True),
        ({"And": [{"Variable": "$.nope", "IsPresent": True}, {"Variable": "$.nope", "IsNull": True}]}, False),
    ],
)  # fmt: skip
def test_combinations_ask_no_more_than_they_need(rule: dict[str, Any], result: bool) -> None:
    assert holds(rule) is result


def test_the_context_object_may_be_asked() -> None:
    assert holds({"Variable": "$$.State.Name", "StringEquals": "S"})


@pytest.mark.parametrize(
    "rule",
    [
        {"Variable": "$.nope", "StringEquals": "x"},
        {"Variable": "$.nope", "IsNull": True},
        {"Variable": "$.text", "StringEqualsPath": "$.nope"},
        {"Not": {"Variable": "$.nope", "NumericEquals": 1}},
    ],
)
def test_a_variable_that_leads_nowhere_fails_the_state(rule: dict[str, Any]) -> None:
    with pytest.raises(Failure) as caught:
        holds(rule)
    assert caught.value.error == StatesError(
        "States.Runtime",
        "Invalid path '$.nope': The choice state's condition path references an invalid value.",
    )


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [
        ("*", "", True),
        ("*", "anything", True),
        ("", "", True),
        ("", "x", False),
        ("a*", "abc", True),
        ("*c", "abc", True),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("**a**", "bab", True),
        ("a\\*c", "a*c", True),
        ("a\\*c", "abc", False),
        ("a\\\\*", "a\\x", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("zeile*", "zeile\nzwei", True),
    ],
)
def test_string_matches(pattern: str, text: str, result: bool) -> None:
    assert _matcher(pattern)(text) is result


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_string_matches_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    import re

    expected = re.fullmatch(pattern.replace("*", ".*"), text) is not None
    assert _matcher(pattern)(text) is expected


def test_a_hostile_pattern_is_matched_in_no_time() -> None:
    assert not _matcher("a*" * 5_000 + "b")("a" * 100_000)
