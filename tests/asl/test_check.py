"""What CreateStateMachine refuses, in AWS's words and at AWS's locations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.asl.parse import parse
from stepout.errors import DefinitionError

HTTP = "arn:aws:states:::http:invoke"
CALL: dict[str, Any] = {
    "Type": "Task",
    "Resource": HTTP,
    "Parameters": {
        "ApiEndpoint": "https://api.example.com/",
        "Method": "GET",
        "Authentication": {"ConnectionArn": "arn"},
    },
    "End": True,
}
PASS: dict[str, Any] = {"Type": "Pass", "End": True}
SCHEMA = "SCHEMA_VALIDATION_FAILED"


def machine(*, more: dict[str, Any] | None = None, **states: Any) -> str:
    return json.dumps({"StartAt": next(iter(states)), "States": states, **(more or {})})


def problems_of(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", f"{SCHEMA}: Definition must be a valid JSON object at null"),
        ("[]", f"{SCHEMA}: Definition must be a valid JSON object at null"),
        ("null", f"{SCHEMA}: Definition must be a valid JSON object at null"),
        ("{}", f"{SCHEMA}: These fields are required: [States, StartAt] at /"),
        ('{"StartAt": "A"}', f"{SCHEMA}: These fields are required: [States] at /"),
    ],
)
def test_the_root_is_checked_first(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_what_is_no_json_is_told_as_jackson_tells_it() -> None:
    (problem,) = problems_of("not a definition")
    assert problem.startswith(
        "INVALID_JSON_DESCRIPTION: Unrecognized token 'not': was expecting (JSON String, Number, "
        "Array, Object or token 'null', 'true' or 'false')"
    )


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"Colour": 1}, f"{SCHEMA}: Field 'Colour' is not supported at /"),
        ({"Version": "2.0"}, f"{SCHEMA}: Value should be one of the following: [1.0] at /Version"),
        (
            {"QueryLanguage": "SQL"},
            f"{SCHEMA}: Value should be one of the following: [JSONPath, JSONata] at /QueryLanguage",
        ),
        ({"TimeoutSeconds": "1"}, f"{SCHEMA}: Expected value of type Integer at /TimeoutSeconds"),
        ({"TimeoutSeconds": True}, f"{SCHEMA}: Expected value of type Integer at /TimeoutSeconds"),
        ({"Comment": 1}, f"{SCHEMA}: Expected value of type [STRING] at /Comment"),
    ],
)
def test_fields_of_the_machine(more: dict[str, Any], problem: str) -> None:
    assert problems_of(machine(more=more, A=PASS)) == [problem]


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (1, f"{SCHEMA}: Expected value of type [OBJECT] at /States/A"),
        (
            {"Type": "Nap", "End": True},
            f"{SCHEMA}: The field 'Type' should have one of these values: [Task, Wait, Pass, "
            "Succeed, Fail, Choice, Parallel, Map] at /States/A/Type",
        ),
        (
            {"End": True},
            f"{SCHEMA}: The field 'Type' should have one of these values: [Task, Wait, Pass, "
            "Succeed, Fail, Choice, Parallel, Map] at /States/A/Type",
        ),
        ({**PASS, "Colour": 1}, f"{SCHEMA}: Field 'Colour' is not supported at /States/A"),
        (
            {"Type": "Pass"},
            f"{SCHEMA}: This object should have only one of the following fields: [Next, End] at "
            "/States/A",
        ),
        ({**PASS, "InputPath": "x"}, f"{SCHEMA}: Value must be a valid JSONPath. at /States/A/InputPath"),
        (
            {**PASS, "ResultPath": "$.a[*]"},
            f"{SCHEMA}: Value is not a Reference Path at /States/A/ResultPath",
        ),
        (
            {**PASS, "ResultPath": "a"},
            f"{SCHEMA}: Value is not a Reference Path: Reference path didn't start with '$' at "
            "/States/A/ResultPath",
        ),
        (
            {**PASS, "Parameters": {"x.$": "y"}},
            f"{SCHEMA}: The value for the field 'x.$' must be a valid JSONPath or a valid intrinsic "
            "function call at /States/A/Parameters",
        ),
        (
            {**CALL, "Resource": "x"},
            f"{SCHEMA}: Value is not a valid resource ARN at /States/A/Resource",
        ),
        (
            {key: value for key, value in CALL.items() if key != "Resource"},
            f"{SCHEMA}: These fields are required: [Resource] at /States/A",
        ),
        (
            {key: value for key, value in CALL.items() if key != "Parameters"},
            f"{SCHEMA}: Parameters field is required for resource ARN: {HTTP} at /States/A",
        ),
        (
            {**CALL, "TimeoutSeconds": 1, "TimeoutSecondsPath": "$.a"},
            f"{SCHEMA}: There should only be one of the following fields: [TimeoutSeconds, "
            "TimeoutSecondsPath] at /States/A",
        ),
        (
            {"Type": "Fail", "CausePath": "States.Array()"},
            f"{SCHEMA}: Value must be a valid JSONPath. at /States/A/CausePath",
        ),
        ({**CALL, "TimeoutSeconds": 0}, f"{SCHEMA}: Minimum value is 1 at /States/A/TimeoutSeconds"),
        (
            {**CALL, "TimeoutSeconds": 100_000_000},
            f"{SCHEMA}: Maximum value is 99999999 at /States/A/TimeoutSeconds",
        ),
        (
            {**CALL, "Parameters": {**CALL["Parameters"], "Headers": {"Authorization": "x"}}},
            f"{SCHEMA}: The 'Headers' field contains unsupported values: [authorization] at "
            "/States/A/Parameters",
        ),
    ],
)  # fmt: skip
def test_fields_of_a_state(state: Any, problem: str) -> None:
    assert problem in problems_of(machine(A=state))


@pytest.mark.parametrize(
    ("recovery", "problem"),
    [
        ({"Retry": [{}]}, f"{SCHEMA}: These fields are required: [ErrorEquals] at /States/A/Retry[0]"),
        ({"Retry": [1]}, f"{SCHEMA}: Expected value of type [OBJECT] at /States/A/Retry[0]"),
        (
            {"Retry": [{"ErrorEquals": []}]},
            f"{SCHEMA}: Value cannot be empty at /States/A/Retry[0]/ErrorEquals",
        ),
        (
            {"Retry": [{"ErrorEquals": ["A"], "JitterStrategy": "SOME"}]},
            f"{SCHEMA}: Value should be one of the following: [NONE, FULL] at "
            "/States/A/Retry[0]/JitterStrategy",
        ),
        (
            {"Retry": [{"ErrorEquals": ["A"], "MaxAttempts": 100_000_000}]},
            f"{SCHEMA}: Maximum value is 99999999 at /States/A/Retry[0]/MaxAttempts",
        ),
        (
            {"Retry": [{"ErrorEquals": ["A"], "BackoffRate": 0.5}]},
            f"{SCHEMA}: Minimum value is 1 at /States/A/Retry[0]/BackoffRate",
        ),
        (
            {"Retry": [{"ErrorEquals": ["States.ALL", "A"]}]},
            f"{SCHEMA}: States.ALL must appear alone and at end of list at /States/A/Retry[0]",
        ),
        (
            {"Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["A"]}]},
            f"{SCHEMA}: States.ALL must appear alone and at end of list at /States/A/Retry[0]",
        ),
        (
            {"Catch": [{"ErrorEquals": ["A"]}]},
            f"{SCHEMA}: These fields are required: [Next] at /States/A/Catch[0]",
        ),
        (
            {"Catch": [{"ErrorEquals": ["A"], "Next": "A", "Colour": 1}]},
            f"{SCHEMA}: Field 'Colour' is not supported at /States/A/Catch[0]",
        ),
    ],
)  # fmt: skip
def test_retriers_and_catchers(recovery: dict[str, Any], problem: str) -> None:
    assert problem in problems_of(machine(A={**CALL, **recovery}))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (1, f"{SCHEMA}: Expected value of type [OBJECT] at /States/A/Choices[0]"),
        (
            {"Variable": "$.a", "IsNull": True},
            f"{SCHEMA}: These fields are required: [Next] at /States/A/Choices[0]",
        ),
        (
            {"Next": "A"},
            f"{SCHEMA}: The object must have only one of the following fields, [And, Or, Not, "
            "Variable, Condition] at /States/A/Choices[0]",
        ),
        (
            {"Variable": "$.a", "IsNull": True, "Colour": 1, "Next": "A"},
            f"{SCHEMA}: Field 'Colour' is not supported at /States/A/Choices[0]",
        ),
        (
            {"Variable": "a", "IsNull": True, "Next": "A"},
            f"{SCHEMA}: Value must be a valid JSONPath. at /States/A/Choices[0]/Variable",
        ),
        (
            {"Variable": "$.a", "StringEquals": 1, "Next": "A"},
            f"{SCHEMA}: Expected value of type [STRING] at /States/A/Choices[0]/StringEquals",
        ),
        (
            {"Variable": "$.a", "TimestampEquals": "now", "Next": "A"},
            f"{SCHEMA}: String does not match RFC3339 timestamp at "
            "/States/A/Choices[0]/TimestampEquals",
        ),
        ({"And": [], "Next": "A"}, f"{SCHEMA}: Value cannot be empty at /States/A/Choices[0]/And"),
        (
            {"Not": {"Variable": "$.a", "IsNull": True, "Next": "A"}, "Next": "A"},
            f"{SCHEMA}: Field 'Next' is not supported at /States/A/Choices[0]/Not",
        ),
        (
            {"Or": [{"Variable": "$.a", "IsNull": 1}], "Next": "A"},
            f"{SCHEMA}: Expected value of type [BOOLEAN] at /States/A/Choices[0]/Or[0]/IsNull",
        ),
    ],
)  # fmt: skip
def test_rules_of_choice(rule: Any, problem: str) -> None:
    choice = {"Type": "Choice", "Choices": [rule]}
    assert problem in problems_of(machine(A=choice, B=PASS))


def test_a_rule_has_one_operator() -> None:
    for operators in ({}, {"IsNull": True, "IsString": True}):
        rule = {"Variable": "$.a", "Next": "A", **operators}
        found = problems_of(machine(A={"Type": "Choice", "Choices": [rule]}, B=PASS))
        assert any("the following fields: [StringEquals," in problem for problem in found), found


def test_choices_are_targets_and_may_end_nowhere_but_in_states() -> None:
    rule = {"Variable": "$.a", "IsNull": True, "Next": "X"}
    text = machine(A={"Type": "Choice", "Choices": [rule], "Default": "Y"}, B=PASS)
    assert problems_of(text) == [
        "MISSING_TRANSITION_TARGET: Missing 'Next' target: Y at /States/A/Default",
        "MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/A/Choices[0]/Next",
        'MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B',
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"Seconds": 1, "Timestamp": "2024-01-01T00:00:00Z"},
            f"{SCHEMA}: There should only be one of the following fields: [SecondsPath, Seconds, "
            "TimestampPath, Timestamp] at /States/A",
        ),
        (
            {},
            f"{SCHEMA}: This object should have only one of the following fields: [SecondsPath, "
            "Seconds, TimestampPath, Timestamp] at /States/A",
        ),
        ({"Seconds": -1}, f"{SCHEMA}: Minimum value is 0 at /States/A/Seconds"),
        ({"Seconds": 1.5}, f"{SCHEMA}: Expected value of type Integer at /States/A/Seconds"),
        (
            {"Timestamp": "tomorrow"},
            f"{SCHEMA}: String does not match RFC3339 timestamp at /States/A/Timestamp",
        ),
        (
            {"SecondsPath": "$.a[*]"},
            f"{SCHEMA}: Value is not a Reference Path at /States/A/SecondsPath",
        ),
    ],
)
def test_fields_of_wait(fields: dict[str, Any], problem: str) -> None:
    assert problems_of(machine(A={"Type": "Wait", "End": True, **fields})) == [problem]


def test_intervals_of_zero_and_a_time_out_of_zero_are_accepted_as_on_aws() -> None:
    retry = [{"ErrorEquals": ["A"], "IntervalSeconds": 0, "MaxAttempts": 0}]
    parse(machine(more={"TimeoutSeconds": 0}, A={**CALL, "Retry": retry}))


@pytest.mark.parametrize(
    ("states", "problems"),
    [
        (
            {"A": {"Type": "Pass", "Next": "X"}, "B": {"Type": "Succeed"}},
            [
                "MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/A/Next",
                'MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B',
            ],
        ),
        (
            {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}},
            ["MISSING_END_STATE: Workflow has no terminal state at null"],
        ),
        (
            {"A": {**CALL, "Catch": [{"ErrorEquals": ["E"], "Next": "X"}]}},
            ["MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/A/Catch[0]/Next"],
        ),
    ],
)
def test_the_graph(states: dict[str, Any], problems: list[str]) -> None:
    assert problems_of(machine(**states)) == problems


@pytest.mark.parametrize(
    ("state", "message"),
    [
        *(
            ({"Type": "Fail", name: None}, f"Value must be a valid JSONPath. at /States/A/{name}")
            for name in ("ErrorPath", "CausePath")
        ),
        *(
            ({"Type": "Wait", "End": True, name: None}, f"Value is not a Reference Path at /States/A/{name}")
            for name in ("SecondsPath", "TimestampPath")
        ),
        ({**CALL, "TimeoutSecondsPath": None}, "Value is not a Reference Path at /States/A/TimeoutSecondsPath"),
        (
            {"Type": "Choice", "Choices": [{"Variable": None, "IsNull": True, "Next": "A"}]},
            "Value must be a valid JSONPath. at /States/A/Choices[0]/Variable",
        ),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$", "StringEqualsPath": None, "Next": "A"}]},
            "Value must be a valid JSONPath. at /States/A/Choices[0]/StringEqualsPath",
        ),
    ],
)  # fmt: skip
def test_a_path_is_null_only_where_that_has_a_meaning(state: dict[str, Any], message: str) -> None:
    assert f"{SCHEMA}: {message}" in problems_of(machine(A=state))
    parse(machine(A={**PASS, "InputPath": None, "OutputPath": None, "ResultPath": None}))


@pytest.mark.parametrize("value", [5, "{% $states.input %}", "{% 5 %}", "text"])
def test_an_assign_is_an_object_whose_names_can_be_read(value: Any) -> None:
    state = {**PASS, "QueryLanguage": "JSONata", "Assign": value}
    (problem,) = problems_of(machine(A=state))
    assert problem.endswith(" at /States/A/Assign")


def test_parameters_of_an_http_task_that_are_no_texts_are_refused() -> None:
    parameters = {**CALL["Parameters"], "Method": {"a.$": "$.b"}}
    (problem,) = problems_of(machine(A={**CALL, "Parameters": parameters}))
    assert (
        problem
        == f"{SCHEMA}: The value of the field 'Method' has an invalid format at /States/A/Parameters"
    )


def scoped(inner: dict[str, Any], **states: Any) -> str:
    branch = {"StartAt": "B", "States": {"B": {**PASS, "Assign": inner}}}
    return machine(**states, P={"Type": "Parallel", "Branches": [branch], "End": True})


def test_an_inner_scope_does_not_assign_what_an_outer_one_has() -> None:
    before = {"Type": "Pass", "Assign": {"x": 1}, "Next": "P"}
    assert problems_of(scoped({"x.$": "$.y"}, A=before)) == [
        "DUPLICATE_VARIABLE_NAME: Variable 'x' is assigned in an outer scope already. at "
        "/States/P/Branches[0]/States/B"
    ]
    parse(scoped({"y": 1}, A=before))
    parse(machine(
        P={
            "Type": "Parallel",
            "Branches": [{"StartAt": "B", "States": {"B": {**PASS, "Assign": {"x": 1}}}}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"x": 2}, "Next": "Z"}],
            "Assign": {"x": 3},
            "Next": "Z",
        },
        Z={**PASS, "Assign": {"x": 4}},
    ))  # fmt: skip


def test_a_start_that_is_nowhere() -> None:
    text = json.dumps({"StartAt": "X", "States": {"A": PASS}})
    assert problems_of(text)[0] == (
        "MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /StartAt"
    )


def test_a_name_over_eighty_characters() -> None:
    (problem,) = problems_of(machine(**{"x" * 81: PASS}))
    assert problem.startswith("INVALID_STATE_NAME: Invalid State name: State exceeds the 80-char")


def test_all_problems_of_a_definition_are_told_at_once() -> None:
    text = machine(
        more={"Colour": 1},
        A={"Type": "Pass", "Colour": 1, "InputPath": 5, "End": True},
        B={**CALL, "Retry": [{}]},
    )
    assert len(problems_of(text)) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Type",
                    "Next",
                    "End",
                    "Parameters",
                    "Retry",
                    "Catch",
                    "ErrorEquals",
                    "a.$",
                    "States",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON, JSON)
def test_no_definition_makes_the_parser_fail_in_another_way(state: Any, other: Any) -> None:
    for value in (
        state,
        {"StartAt": "A", "States": state},
        {"StartAt": "A", "States": {"A": state, "B": other}},
        {"StartAt": "A", "States": {"A": {**CALL, "Parameters": state, "Retry": other}}},
        {"StartAt": "A", "States": {"A": {**PASS, "Parameters": state, "ResultPath": other}}},
    ):
        try:
            parse(json.dumps(value))
        except DefinitionError:
            continue
