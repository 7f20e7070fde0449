"""Random machines that CreateStateMachine accepts: all state types, both languages, nested scopes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

RESOURCE = "arn:aws:lambda:us-east-1:123456789012:function:work"
ERRORS = ("Boom", "Busy", "States.Timeout", "States.Permissions", "Lambda.Unknown")
ITEMS = "$$.Execution.Input.items"
"""Where every execution has a list; see `SOURCE`."""
SOURCE = {"x": 1, "items": [3, {"y": [1, 2]}, "z"]}


@st.composite
def machines(draw: DrawFn) -> str:
    """The text of a definition. Its tasks call `RESOURCE`; its executions expect `SOURCE`."""
    language = draw(st.sampled_from(["JSONPath", "JSONata"]))
    writer = _Writer(draw, language)
    more = {"QueryLanguage": language, "TimeoutSeconds": 600}
    return json.dumps({**more, **writer.scope(depth=0)})


@dataclass
class _Writer:
    draw: DrawFn
    language: str
    _numbers: Iterator[int] = field(default_factory=count)
    _variables: list[str] = field(default_factory=list)

    def scope(self, depth: int) -> dict[str, Any]:
        """A chain of states; the first assigns a variable of the scope's own."""
        outer = list(self._variables)
        names = [f"S{next(self._numbers)}" for _ in range(self.draw(st.integers(2, 4)))]
        variable = f"v{next(self._numbers)}"
        states = {}
        for position, name in enumerate(names):
            later = names[position + 1 :]
            kinds = ["Pass"] if position == 0 else self._kinds(depth, is_last=not later)
            state = self._state(self.draw(st.sampled_from(kinds)), later, depth)
            if position == 0 or (state["Type"] in ("Pass", "Task") and self.draw(st.booleans())):
                state["Assign"] = {
                    variable: self.draw(st.integers(0, 9)),
                    **state.get("Assign", {}),
                }
            if position == 0:
                self._variables.append(variable)
            states[name] = state
        self._variables = outer
        return {"StartAt": names[0], "States": states}

    def _kinds(self, depth: int, *, is_last: bool) -> list[str]:
        nested = ["Parallel", "Map"] if depth < 2 else []
        ends = ["Succeed", "Fail"] if is_last else ["Choice"]
        return ["Pass", "Task", "Task", "Wait", *nested, *ends]

    def _state(self, kind: str, later: list[str], depth: int) -> dict[str, Any]:
        is_jsonata = self.language == "JSONata" or self.draw(st.integers(0, 3)) == 0
        chosen = (
            {} if self.language == "JSONata" or not is_jsonata else {"QueryLanguage": "JSONata"}
        )
        state: dict[str, Any] = {"Type": kind, **chosen}
        if kind not in ("Succeed", "Fail", "Choice"):
            state |= {"Next": later[0]} if later else {"End": True}
        match kind:
            case "Pass":
                state |= self._shaping(is_jsonata=is_jsonata)
            case "Task":
                state |= {"Resource": RESOURCE, **self._recovery(later, is_jsonata=is_jsonata)}
                state |= {"TimeoutSeconds": 30} if self.draw(st.booleans()) else {}
                state |= self._shaping(is_jsonata=is_jsonata, of_result=True)
            case "Wait":
                state |= {"Seconds": self.draw(st.integers(0, 40))}
            case "Parallel":
                branches = [self.scope(depth + 1) for _ in range(self.draw(st.integers(1, 3)))]
                state |= {"Branches": branches, **self._recovery(later, is_jsonata=is_jsonata)}
            case "Map":
                state |= self._map(later, depth, is_jsonata=is_jsonata)
            case "Choice":
                state |= self._choice(later, is_jsonata=is_jsonata)
            case "Fail":
                state |= {"Error": self.draw(st.sampled_from(ERRORS)), "Cause": "as drawn"}
        return state

    def _shaping(self, *, is_jsonata: bool, of_result: bool = False) -> dict[str, Any]:
        """What makes the state's output depend on its input, context and variables."""
        if not self.draw(st.booleans()):
            return {}
        variable = self.draw(st.sampled_from(self._variables)) if self._variables else None
        if is_jsonata:
            read = f"${variable}" if variable else "0"
            source = "$states.result" if of_result else "$states.input"
            return {"Output": {"in": f"{{% {source} %}}", "v": f"{{% {read} %}}", "n": "{% $states.context.State.Name %}"}}  # fmt: skip
        template: dict[str, Any] = {"in.$": "$", "n.$": "$$.State.Name"}
        template |= {"v.$": f"${variable}"} if variable else {}
        path = self.draw(st.sampled_from(["$", "$.r", None]))
        if of_result:
            return {"ResultSelector": template, "ResultPath": "$" if path is None else path}
        return {"Parameters": template, "ResultPath": path}

    def _recovery(self, later: list[str], *, is_jsonata: bool) -> dict[str, Any]:
        retry = [
            {
                "ErrorEquals": [self.draw(st.sampled_from([*ERRORS, "States.TaskFailed"]))],
                "IntervalSeconds": self.draw(st.integers(1, 5)),
                "MaxAttempts": self.draw(st.integers(0, 2)),
                "BackoffRate": self.draw(st.sampled_from([1.0, 1.5, 2.0])),
            }
            for _ in range(self.draw(st.integers(0, 2)))
        ]
        found: dict[str, Any] = {"Retry": retry} if retry else {}
        catches = self.draw(st.booleans())
        if later and catches:
            catcher: dict[str, Any] = {
                "ErrorEquals": [self.draw(st.sampled_from(["States.ALL", *ERRORS]))],
                "Next": self.draw(st.sampled_from(later)),
            }
            if not is_jsonata:
                catcher["ResultPath"] = self.draw(st.sampled_from(["$", "$.e", None]))
            found["Catch"] = [catcher]
        return found

    def _map(self, later: list[str], depth: int, *, is_jsonata: bool) -> dict[str, Any]:
        items: dict[str, Any] = {"Items": [1, "{% 1 + 1 %}", "three"]} if is_jsonata else {"ItemsPath": ITEMS}  # fmt: skip
        limits = {
            "MaxConcurrency": self.draw(st.integers(0, 2)),
            "ToleratedFailureCount": self.draw(st.integers(0, 2)),
        }
        processor = self.scope(depth + 1)
        return {"ItemProcessor": processor, **items, **limits, **self._recovery(later, is_jsonata=is_jsonata)}  # fmt: skip

    def _choice(self, later: list[str], *, is_jsonata: bool) -> dict[str, Any]:
        rule: dict[str, Any] = {"Next": self.draw(st.sampled_from(later))}
        if is_jsonata:
            is_literal = self.draw(st.booleans())
            rule["Condition"] = True if is_literal else "{% $exists($states.input.x) %}"
        else:
            rule |= {"Variable": "$.x", "IsPresent": self.draw(st.booleans())}
        return {"Choices": [rule], "Default": later[0]}
