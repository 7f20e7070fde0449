"""What the server of the soak is made to run."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["CALLS", "HEAVY", "ROLE", "definitions", "logging_to", "one_pass"]

ROLE: Final = "arn:aws:iam::123456789012:role/machines"

TASK_SECONDS: Final = 4
"""TimeoutSeconds of the Tasks: the bound of a call to an API that hangs."""

CALLS: Final = ("key", "basic", "oauth", "no-token", "bad-token")
"""Connections; to each belongs a machine `call-NAME` that sends a GET to the input's `url`."""

HEAVY: Final = ("map", "parallel", "jsonata", "long")

_END: Final = {"End": True}


def one_pass(comment: str = "") -> str:
    return json.dumps(
        {"Comment": comment, "StartAt": "P", "States": {"P": {"Type": "Pass", **_END}}}
    )


def logging_to(group: str) -> dict[str, Any]:
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    return {
        "level": "ALL",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
    }


def definitions(connections: dict[str, str]) -> dict[str, str]:
    """Name of a machine → its definition; `connections` are ARNs by name."""
    return {
        "pass": one_pass(),
        "logged": one_pass("logged"),
        **{name: json.dumps(definition) for name, definition in _HEAVY.items()},
        "wait": json.dumps(_one({"Type": "Wait", "Seconds": 2, **_END})),
        "fail": json.dumps(_one({"Type": "Fail", "Error": "Mine", "Cause": "as told"})),
        "again": json.dumps(_one(_call(connections["key"], retried=True))),
        **{f"call-{name}": json.dumps(_one(_call(arn))) for name, arn in connections.items()},
    }


def _one(state: dict[str, Any], name: str = "S", **fields: Any) -> dict[str, Any]:
    return {"StartAt": name, "States": {name: state}, **fields}


def _call(connection: str, *, retried: bool = False) -> dict[str, Any]:
    retry = {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 1,
        "MaxAttempts": 2,
        "BackoffRate": 1.0,
        "JitterStrategy": "FULL",
    }
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {
            "ApiEndpoint.$": "$.url",
            "Method": "GET",
            "Authentication": {"ConnectionArn": connection},
        },
        "TimeoutSeconds": 1 if retried else TASK_SECONDS,
        **({"Retry": [retry]} if retried else {}),
        **_END,
    }


def _jsonata(expression: str) -> dict[str, Any]:
    state = {"Type": "Pass", "Output": f"{{% {expression} %}}", **_END}
    return _one(state, QueryLanguage="JSONata")


_HEAVY: Final = {
    "map": _one(
        {
            "Type": "Map",
            "Items": "{% [1..120] %}",
            "MaxConcurrency": 40,
            "ItemProcessor": _one(
                {"Type": "Pass", "Output": "{% $string($states.input * 7) & 'x' %}", **_END},
                "Each",
            ),
            **_END,
        },
        QueryLanguage="JSONata",
    ),
    "parallel": _one(
        {
            "Type": "Parallel",
            "Branches": [
                _one(
                    {
                        "Type": "Parallel",
                        "Branches": [_one({"Type": "Pass", **_END}, f"P{i}-{j}") for j in range(4)],
                        **_END,
                    },
                    f"B{i}",
                )
                for i in range(6)
            ],
            **_END,
        }
    ),
    "jsonata": _jsonata("$sum($map([1..20000], function($n) { $n * $n }))"),
    "long": _jsonata("$count([1..300000].($string($ * 3)))"),
}
