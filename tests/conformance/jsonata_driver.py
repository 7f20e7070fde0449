"""Answers the official JSONata suite: one request a line, one answer a line.

A request is `{"expr", "data"?, "bindings"}`; an answer is `{"result"}`, `{"undefined": true}` or
`{"error": code}`. The suite reads its data as `$`, which Step Functions has not; so this is the
engine with the limits of `stepout.asl.jsonata`, without what the adapter puts around an expression.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jlens

from stepout.asl.allowance import APART
from stepout.asl.jsonata import LIMITS

NOT_A_TEXT = "D3140"
"""The engine takes UTF-8; half a surrogate pair cannot be handed to it."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        result = _evaluate("{}", request)
        if result is not None:
            return {"result": result}
        kind = _evaluate("$type(({}\n))", request)
    except jlens.JlensError as error:
        return {"error": error.code}
    except UnicodeEncodeError:
        return {"error": NOT_A_TEXT}
    return {"result": None} if kind == "null" else {"undefined": True}


def _evaluate(around: str, request: dict[str, Any]) -> Any:
    expression = jlens.Expression(around.replace("{}", request["expr"]))
    bindings = request.get("bindings") or None
    limits: dict[str, Any] = {"timeout": APART.seconds, **LIMITS}
    if "data" not in request:
        return expression.evaluate(None, bindings, **limits)
    text = expression.evaluate_json(json.dumps(request["data"]), bindings, **limits)
    return None if text is None else json.loads(text)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(answer(json.loads(line)))}\n")
        sys.stdout.flush()
