"""Definitions that are measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

LAMBDA: Final = "arn:aws:states:::lambda:invoke"
JSONATA: Final = {"QueryLanguage": "JSONata"}

States: TypeAlias = dict[str, Any]
Link: TypeAlias = Callable[[str], States]
"""The fields of a state that goes on to the one of this name."""

END: Final[States] = {"Type": "Succeed"}
PASS: Final[States] = {"Type": "Pass", "End": True}

LINKS: Final[Mapping[str, tuple[Link, States]]] = {
    "Pass": (lambda to: {"Type": "Pass", "Next": to}, {}),
    "Pass, Parameters of two members": (
        lambda to: {"Type": "Pass", "Parameters": {"n.$": "$.n", "b": 1}, "Next": to},
        {},
    ),
    "Pass, JSONata: a path": (
        lambda to: {"Type": "Pass", "Output": {"n": "{% $states.input.n %}"}, "Next": to},
        JSONATA,
    ),
    "Pass, JSONata: a sum": (
        lambda to: {"Type": "Pass", "Output": {"n": "{% $states.input.n + 1 %}"}, "Next": to},
        JSONATA,
    ),
    "Choice of two rules": (
        lambda to: {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.n", "NumericLessThan": 0, "Next": to},
                {"Variable": "$.n", "NumericGreaterThanEquals": 0, "Next": to},
            ],
        },
        {},
    ),
    "Choice of two rules, JSONata": (
        lambda to: {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.n < 0 %}", "Next": to},
                {"Condition": "{% $states.input.n >= 0 %}", "Next": to},
            ],
        },
        JSONATA,
    ),
    "Task": (
        lambda to: {
            "Type": "Task",
            "Resource": LAMBDA,
            "Parameters": {"FunctionName": "f", "Payload.$": "$"},
            "ResultPath": "$.result",
            "Next": to,
        },
        {},
    ),
    "Task, JSONata": (
        lambda to: {
            "Type": "Task",
            "Resource": LAMBDA,
            "Arguments": {"FunctionName": "f", "Payload": "{% $states.input %}"},
            "Output": "{% $merge([$states.input, {'result': $states.result}]) %}",
            "Next": to,
        },
        JSONATA,
    ),
}
"""By name: a link of a chain, and the fields of its machine."""


def chain(count: int, link: Link, fields: States) -> str:
    """As many states, one after the other, and an end."""
    states = {f"S{index}": link(f"S{index + 1}") for index in range(count)}
    return json.dumps({"StartAt": "S0", "States": {**states, f"S{count}": END}, **fields})


def mapping(states: int) -> str:
    """An inline Map over the input, each iteration through as many Pass states."""
    inner = {f"I{n}": {"Type": "Pass", "Next": f"I{n + 1}"} for n in range(states - 1)}
    processor = {"StartAt": "I0", "States": {**inner, f"I{states - 1}": PASS}}
    return _one({"Type": "Map", "ItemProcessor": processor, "End": True})


def parallel(branches: int) -> str:
    """A Parallel of branches with one Pass state each."""
    graphs = [{"StartAt": f"B{n}", "States": {f"B{n}": PASS}} for n in range(branches)]
    return _one({"Type": "Parallel", "Branches": graphs, "End": True})


def waiting(seconds: int) -> str:
    return _one({"Type": "Wait", "Seconds": seconds, "End": True})


def workflow() -> str:
    """Twenty states of many kinds, as people write them: an order that is checked and priced."""
    states = {
        "Receive": {
            "Type": "Pass",
            "Parameters": {
                "id.$": "States.Format('order-{}', $.a)",
                "lines": [{"sku": "A", "count": 2}, {"sku": "B", "count": 1}],
                "country": "JP",
            },
            "Assign": {"order.$": "$.id"},
            "Next": "HasLines",
        },
        "HasLines": _choice("$.lines[0]", "IsPresent", True, "Country", "Empty"),
        "Empty": {"Type": "Fail", "Error": "Orders.Empty"},
        "Country": _choice("$.country", "StringEquals", "JP", "Domestic", "Abroad"),
        "Abroad": {"Type": "Pass", "Result": 30, "ResultPath": "$.postage", "Next": "Price"},
        "Domestic": {"Type": "Pass", "Result": 5, "ResultPath": "$.postage", "Next": "Price"},
        "Price": {
            "Type": "Map",
            "ItemsPath": "$.lines",
            "ItemSelector": {"line.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index"},
            "ItemProcessor": {
                "StartAt": "Look up",
                "States": {
                    "Look up": {
                        "Type": "Pass",
                        "Result": 12,
                        "ResultPath": "$.price",
                        "Next": "Sum",
                    },
                    "Sum": {
                        "Type": "Pass",
                        "Parameters": {"total.$": "States.MathAdd($.price, $.line.count)"},
                        "End": True,
                    },
                },
            },
            "ResultPath": "$.prices",
            "Next": "Total",
        },
        "Total": {
            "Type": "Pass",
            "QueryLanguage": "JSONata",
            "Output": "{% $merge([$states.input, {'total': $sum($states.input.prices.total)}]) %}",
            "Next": "Checks",
        },
        "Checks": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Stock", "States": {"Stock": {**PASS, "Result": "in stock"}}},
                {"StartAt": "Credit", "States": {"Credit": {**PASS, "Result": "good"}}},
            ],
            "ResultSelector": {"stock.$": "$[0]", "credit.$": "$[1]"},
            "ResultPath": "$.checks",
            "Next": "Good",
        },
        "Good": _choice("$.checks.credit", "StringEquals", "good", "Large", "Refuse"),
        "Refuse": {"Type": "Fail", "Error": "Orders.Credit"},
        "Large": {
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [{"Condition": "{% $states.input.total > 1000 %}", "Next": "Approve"}],
            "Default": "Book",
        },
        "Approve": {"Type": "Pass", "Next": "Book"},
        "Book": {
            "Type": "Pass",
            "Parameters": {"order.$": "$order", "total.$": "$.total", "by.$": "$$.Execution.Name"},
            "ResultPath": "$.booking",
            "Next": "Clean",
        },
        "Clean": {"Type": "Pass", "OutputPath": "$.booking", "Next": "Done"},
        "Done": END,
    }  # fmt: skip
    return json.dumps({"StartAt": "Receive", "States": states})


def _choice(variable: str, operator: str, value: object, to: str, otherwise: str) -> States:
    rule = {"Variable": variable, operator: value, "Next": to}
    return {"Type": "Choice", "Choices": [rule], "Default": otherwise}


def _one(state: States) -> str:
    return json.dumps({"StartAt": "S", "States": {"S": state}})
