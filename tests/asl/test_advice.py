"""What is warned of: a definition that passes all checks and may not mean what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from mypy_boto3_stepfunctions import SFNClient
from tests.properties.machines import machines

from stepout.asl.advice import warnings
from stepout.asl.parse import parse

LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:work"
PASS: dict[str, Any] = {"Type": "Pass", "End": True}
TASK: dict[str, Any] = {"Type": "Task", "Resource": LAMBDA, "End": True}
EACH: dict[str, Any] = {
    "Type": "Map",
    "ItemProcessor": {"StartAt": "B", "States": {"B": PASS}},
    "End": True,
}
LOOKS: dict[str, Any] = {**PASS, "Parameters": {"a": "$.x"}}
"""A state that is warned of at `Parameters/a`."""


def machine(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": "A", "States": {"A": state}, **more}


def warned(definition: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Code and location of each warning."""
    parse(json.dumps(definition))
    return [(warning.code, warning.location) for warning in warnings(definition)]


def warned_in(state: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for one state, with locations in the state."""
    return [
        (code, str(location).removeprefix("/States/A/"))
        for code, location in warned(machine(state))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "$.x",
        "$.x[0].y",
        "$['x']",
        "$[0]",
        "$$.Execution.Input",
        "States.UUID()",
        "States.Format('{}', $.x)",
    ],
)
def test_a_path_or_a_call_under_a_key_without_dollar_is_warned_of(text: str) -> None:
    assert warned_in({**PASS, "Parameters": {"a": text}}) == [("NO_DOLLAR", "Parameters/a")]


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "",
        "$5",
        "$.5 off",
        "$. or so",
        "US$.x",
        "States.Unknown()",
        "States.Timeout",
        "States.Format(",
        1,
        None,
        True,
        [],
        {},
    ],
)
def test_what_is_neither_path_nor_call_is_not_warned_of(value: Any) -> None:
    assert warned_in({**PASS, "Parameters": {"a": value}}) == []


def test_a_key_with_dollar_is_not_warned_of() -> None:
    assert warned_in({**PASS, "Parameters": {"a.$": "$.x", "b.$": "States.UUID()"}}) == []


def test_every_place_in_a_template_is_warned_of_in_its_order() -> None:
    parameters = {
        "b": [{"c": {"d": "$.x"}}, "$.x", {"e.$": "$.x", "f": "$.x"}],
        "a": "$.x",
        "k/[0]": "$.x",
    }
    assert warned_in({**PASS, "Parameters": parameters}) == [
        ("NO_DOLLAR", "Parameters/b[0]/c/d"),
        ("NO_DOLLAR", "Parameters/b[2]/f"),
        ("NO_DOLLAR", "Parameters/a"),
        ("NO_DOLLAR", "Parameters/k/[0]"),
    ]


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (PASS, "Parameters"),
        (PASS, "Assign"),
        (TASK, "Parameters"),
        (TASK, "ResultSelector"),
        (EACH, "ItemSelector"),
    ],
)
def test_every_payload_template_is_looked_at(state: dict[str, Any], field: str) -> None:
    assert warned_in({**state, field: {"a": "$.x"}}) == [("NO_DOLLAR", f"{field}/a")]


@pytest.mark.parametrize(
    "state",
    [
        {**PASS, "Comment": "$.x"},
        {**PASS, "InputPath": "$.x", "OutputPath": "$.y", "ResultPath": "$.z"},
        {**PASS, "Result": {"a": 1, "$": 2, "$.a": 3}},
        {"Type": "Fail", "Error": "$.x", "Cause": "States.UUID()"},
    ],
)
def test_fields_that_are_no_templates_are_not_warned_of(state: dict[str, Any]) -> None:
    assert warned_in(state) == []


@pytest.mark.parametrize(
    "result",
    [{"a.$": "$.x"}, {"a": {"b.$": "$.x"}}, [1, [{"a.$": "$.x"}]], {"a.$": "$.x", "b.$": "$.y"}],
)
def test_a_result_with_paths_is_static_and_warned_of_once(result: Any) -> None:
    assert warned_in({**PASS, "Result": result}) == [("PASS_RESULT_IS_STATIC", "Result")]


def test_a_state_may_be_warned_of_for_both() -> None:
    state = {**LOOKS, "Result": {"a.$": "$.x"}}
    assert warned_in(state) == [
        ("NO_DOLLAR", "Parameters/a"),
        ("PASS_RESULT_IS_STATIC", "Result"),
    ]


def test_a_warning_says_what_is_meant() -> None:
    state = {**LOOKS, "Result": {"a.$": "$.x"}}
    assert [str(warning) for warning in warnings(machine(state))] == [
        "NO_DOLLAR: A field whose value is a JSONPath or an intrinsic function has no '.$'. at "
        "/States/A/Parameters/a",
        "PASS_RESULT_IS_STATIC: The Result of a Pass state is static: its paths are not "
        "evaluated. at /States/A/Result",
    ]


@pytest.mark.parametrize(
    ("state", "location"),
    [
        ({"Type": "Map", "ItemProcessor": {}}, "ItemProcessor"),
        ({"Type": "Map", "Iterator": {}}, "Iterator"),
        ({"Type": "Parallel", "Branches": [{}]}, "Branches[1]"),
    ],
)
def test_states_in_states_are_warned_of(state: dict[str, Any], location: str) -> None:
    inner = {"StartAt": "X", "States": {"X": LOOKS}}
    other = {"StartAt": "Y", "States": {"Y": PASS}}
    field = next(field for field in state if field != "Type")
    nested = [other, inner] if field == "Branches" else inner
    assert warned(machine({**state, field: nested, "End": True})) == [
        ("NO_DOLLAR", f"/States/A/{location}/States/X/Parameters/a")
    ]


def test_states_of_jsonata_are_not_warned_of() -> None:
    state = {**PASS, "Output": {"a": "$.x"}, "Assign": {"v": "$.x"}}
    assert warned(machine(state, QueryLanguage="JSONata")) == []
    assert warned(machine({**state, "QueryLanguage": "JSONata"})) == []


def test_states_in_a_state_of_jsonata_have_the_language_of_the_machine() -> None:
    inner = {"StartAt": "X", "States": {"X": LOOKS}}
    state = {"Type": "Map", "ItemProcessor": inner, "QueryLanguage": "JSONata", "End": True}
    assert warned(machine(state)) == [
        ("NO_DOLLAR", "/States/A/ItemProcessor/States/X/Parameters/a")
    ]


@given(machines())
def test_a_machine_whose_keys_say_what_they_are_is_not_warned_of(text: str) -> None:
    assert warned(json.loads(text)) == []


@pytest.mark.parametrize(
    ("more", "diagnostics"),
    [
        ({}, []),
        ({"severity": "ERROR"}, []),
        (
            {"severity": "WARNING"},
            [
                {
                    "severity": "WARNING",
                    "code": "NO_DOLLAR",
                    "message": "A field whose value is a JSONPath or an intrinsic function has no "
                    "'.$'.",
                    "location": "/States/A/Parameters/a",
                }
            ],
        ),
    ],
)
def test_the_api_warns_on_demand_and_finds_the_definition_right(
    sfn: SFNClient, more: Any, diagnostics: list[dict[str, str]]
) -> None:
    definition = json.dumps(machine(LOOKS))
    answer = sfn.validate_state_machine_definition(definition=definition, **more)
    assert (answer["result"], answer["truncated"]) == ("OK", False)
    assert answer["diagnostics"] == diagnostics


def test_the_api_tells_errors_alone_where_there_are_any(sfn: SFNClient) -> None:
    definition = json.dumps(machine({**LOOKS, "Colour": 1}))
    answer = sfn.validate_state_machine_definition(definition=definition, severity="WARNING")
    assert answer["result"] == "FAIL"
    assert [found["severity"] for found in answer["diagnostics"]] == ["ERROR"]
