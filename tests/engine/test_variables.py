"""Variables: scopes, when they are seen, limits, and what the events show of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.engine.world import World, finish_of, http_task, machine, output_of, run_of

from stepout.asl.states_error import StatesError
from stepout.asl.values import Json
from stepout.engine import leaving

PASS = {"Type": "Pass", "End": True}


def shows(**template: str) -> dict[str, Any]:
    return {"Type": "Pass", "Parameters": template, "End": True}


def test_a_variable_is_seen_from_the_next_state_on() -> None:
    text = machine(
        A={"Type": "Pass", "Assign": {"x.$": "$.n", "y": [1], "z.$": "$$.State.Name"}, "Next": "B"},
        B={"Type": "Pass", "Assign": {"x": "new"}, "Parameters": {"x.$": "$x"}, "Next": "C"},
        C=shows(**{"x.$": "$x", "y.$": "$y[0]", "z.$": "$z", "then.$": "$.x"}),
    )
    assert output_of(text, {"n": 7}) == {"x": "new", "y": 1, "z": "A", "then": 7}


@pytest.mark.parametrize(
    ("state", "value"),
    [
        ({"Type": "Pass", "Result": {"r": 1}}, {"r": 1}),
        ({"Type": "Pass", "Parameters": {"p": 2}}, {"p": 2}),
        ({"Type": "Pass", "InputPath": "$.in"}, {"i": 3}),
        ({"Type": "Wait", "Seconds": 0, "InputPath": "$.in"}, {"i": 3}),
        ({**http_task(ResultSelector={"s": 5}, Next="Z")}, {"StatusCode": 200}),
        (
            {"Type": "Choice", "InputPath": "$.in", "Choices": [{"Variable": "$.i", "IsNull": True, "Next": "Z"}], "Default": "Z"},
            {"i": 3},
        ),
    ],
)  # fmt: skip
def test_what_the_dollar_is_in_an_assign(state: dict[str, Any], value: Json) -> None:
    end = {} if state["Type"] == "Choice" else {"Next": "Z"}
    text = machine(A={**state, **end, "Assign": {"v.$": "$"}}, Z=shows(**{"v.$": "$v"}))
    assert output_of(text, {"in": {"i": 3}}) == {"v": value}


def test_an_expression_sees_a_variable_whose_name_it_binds_too() -> None:
    text = machine(
        A={"Type": "Pass", "Assign": {"count": 2, "item": "kept"}, "Next": "B"},
        B={
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [{"Condition": "{% $count < 3 and $item = 'kept' %}", "Next": "C"}],
        },
        C={
            "Type": "Pass",
            "QueryLanguage": "JSONata",
            "Output": "{% [$item, $map([1], function($item) { $item })] %}",
            "End": True,
        },
    )
    assert output_of(text, {}) == ["kept", 1]


def test_a_rule_assigns_instead_of_its_state() -> None:
    rule = {"Variable": "$.n", "NumericEquals": 1, "Next": "Z", "Assign": {"by": "rule"}}
    text = machine(
        C={"Type": "Choice", "Choices": [rule], "Default": "Z", "Assign": {"by": "default"}},
        Z=shows(**{"by.$": "$by"}),
    )
    assert output_of(text, {"n": 1}) == {"by": "rule"}
    assert output_of(text, {"n": 2}) == {"by": "default"}


def test_a_catcher_assigns_instead_of_its_state() -> None:
    catcher = {"ErrorEquals": ["Boom"], "Next": "Z", "Assign": {"e.$": "$.Error"}}
    text = machine(
        T=http_task(Next="Z", Assign={"e": "none"}, Catch=[catcher]), Z=shows(**{"e.$": "$e"})
    )
    assert output_of(text, {}, lambda _call, _number: StatesError("Boom")) == {"e": "Boom"}
    assert output_of(text, {}) == {"e": "none"}


def test_inner_scopes_read_outer_variables_and_keep_their_own() -> None:
    inner = {
        "StartAt": "A",
        "States": {
            "A": {"Type": "Pass", "Assign": {"own.$": "$"}, "Next": "B"},
            "B": shows(**{"own.$": "$own", "outer.$": "$outer"}),
        },
    }
    text = machine(
        S={"Type": "Pass", "Assign": {"outer": "o"}, "Next": "M"},
        M={"Type": "Map", "ItemProcessor": inner, "ItemsPath": "$.l", "Next": "Z"},
        Z={"Type": "Pass", "Parameters": {"own.$": "$own"}, "End": True},
    )
    finish = finish_of(text, {"l": [1, 2]})
    assert finish.error is not None
    assert finish.error.cause is not None
    assert "The JSONPath '$own' specified for the field 'own.$'" in finish.error.cause
    definition = json.loads(text)
    definition["States"]["M"] = {**definition["States"]["M"], "Next": "Y"}
    definition["States"]["Y"] = PASS
    del definition["States"]["Z"]
    assert output_of(json.dumps(definition), {"l": [1, 2]}) == [
        {"own": 1, "outer": "o"},
        {"own": 2, "outer": "o"},
    ]


def test_a_variable_is_used_wherever_a_path_is() -> None:
    text = machine(
        S={"Type": "Pass", "Assign": {"i": {"l": [3, 4]}, "n": 1, "e": "E"}, "Next": "C"},
        C={
            "Type": "Choice",
            "Choices": [{"Variable": "$n", "NumericEqualsPath": "$.one", "Next": "M"}],
        },
        M={
            "Type": "Map",
            "ItemsPath": "$i.l",
            "MaxConcurrencyPath": "$n",
            "ItemSelector": {"s.$": "States.Format('{}{}', $e, $$.Map.Item.Value)"},
            "ItemProcessor": {"StartAt": "A", "States": {"A": PASS}},
            "Next": "F",
        },
        F={"Type": "Fail", "ErrorPath": "$e", "CausePath": "States.JsonToString($)"},
    )
    assert finish_of(text, {"one": 1}).error == StatesError("E", '[{"s":"E3"},{"s":"E4"}]')


def test_exited_events_show_what_was_assigned() -> None:
    world = World(machine(A={**PASS, "Assign": {"x.$": "$.n", "y": "t"}}))
    world.run(run_of({"n": [1]}))
    (exited,) = (event for event in world.events if event.type == "PassStateExited")
    assert exited.details["assignedVariables"] == {"x": "[1]", "y": '"t"'}
    assert exited.details["assignedVariablesDetails"] == {"truncated": False}


def test_an_empty_assign_shows_nothing() -> None:
    world = World(machine(A={**PASS, "Assign": {}}))
    world.run(run_of())
    assert "assignedVariables" not in world.events[2].details


def test_variables_over_the_limit_of_one_assign_fail_the_state() -> None:
    finish = finish_of(machine(A={**PASS, "Assign": {"x.$": "$", "y.$": "$"}}), "x" * 140_000)
    assert finish.error is not None
    assert finish.error.error == "States.DataLimitExceeded"


def test_variables_over_the_limit_of_an_execution_fail_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving, "MAX_VARIABLES", 1_000)
    once = {"Type": "Pass", "Assign": {"x.$": "$"}}
    replaced = machine(A={**once, "Next": "B"}, B={**once, "End": True})
    assert finish_of(replaced, "x" * 700).status == "SUCCEEDED"
    more = machine(A={**once, "Next": "B"}, B={**PASS, "Assign": {"y.$": "$"}})
    finish = finish_of(more, "x" * 700)
    assert finish.error is not None
    assert finish.error.error == "States.DataLimitExceeded"


def test_variables_of_an_iteration_that_has_ended_count_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving, "MAX_VARIABLES", 1_000)
    inner = {"StartAt": "A", "States": {"A": {**PASS, "Assign": {"x.$": "$"}}}}
    text = machine(
        M={"Type": "Map", "ItemProcessor": inner, "MaxConcurrency": 1, "End": True},
    )
    assert finish_of(text, ["x" * 700] * 5).status == "SUCCEEDED"
