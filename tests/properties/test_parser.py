"""Whatever is handed in: a machine, or problems; and a machine that was accepted runs in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.world import World, run_of
from tests.properties.machines import SOURCE, machines

from stepout.asl.advice import warnings
from stepout.asl.graph import mermaid
from stepout.asl.machine import Machine
from stepout.asl.problems import Problem
from stepout.errors import DefinitionError

CASES = Path(__file__).parents[1] / "conformance" / "cases"
DEFINITIONS = [
    case["definition"] for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text())
]  # fmt: skip

WORDS = st.sampled_from(
    [
        *("", "$", "$$", "$.", "$.x", "$.x[0]", "$.x[*]", "$$.State.Name", "$v", "States.ALL", "JSONata"),
        *("JSONPath", "Pass", "Map", "Choice", "Task", "{% $x %}", "{% $states.input %}", "{% ( %}"),
        *("States.Format('{}', $)", "States.UUID()", "States.Nothing()", "2026-01-01T00:00:00Z"),
        *("arn:aws:states:::http:invoke", "arn:aws:states:::sqs:sendMessage.waitForTaskToken"),
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *("Type", "Next", "End", "Parameters", "Arguments", "Output", "Assign", "Retry", "Catch", "a.$"),
        *("ErrorEquals", "States", "StartAt", "Branches", "ItemProcessor", "Iterator", "Items", "Choices"),
        *("Condition", "Variable", "And", "Not", "IsPresent", "Seconds", "SecondsPath", "TimeoutSeconds"),
        *("ResultPath", "InputPath", "ItemSelector", "MaxConcurrency", "QueryLanguage", "Label", "v"),
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A good definition in which something was replaced, added or taken away."""
    definition = json.loads(json.dumps(draw(st.sampled_from(DEFINITIONS))))
    for _ in range(draw(st.integers(1, 3))):
        parent = definition
        while True:
            places = [
                key for key, value in _members(parent) if isinstance(value, dict | list) and value
            ]
            if not places or draw(st.integers(0, 4)) == 0:
                break
            parent = parent[draw(st.sampled_from(places))]
        keys = [key for key, _ in _members(parent)]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace" if keys:
                parent[draw(st.sampled_from(keys))] = draw(JSON)
            case "remove" if keys:
                del parent[draw(st.sampled_from(keys))]
            case _ if isinstance(parent, dict):
                parent[draw(KEYS)] = draw(JSON)
    return definition


def _members(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else list(enumerate(value))


def problems_of(text: str, *, is_express: bool = False) -> Sequence[Problem] | None:
    """What is wrong with a definition, which is something; None for one that is accepted."""
    try:
        Machine.parse(text, is_express=is_express)
    except DefinitionError as error:
        problems = error.problems
    else:
        return None
    assert problems
    return problems


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.booleans())
def test_a_definition_gives_a_machine_or_problems(definition: Any, is_express: bool) -> None:
    text = json.dumps(definition)
    if problems_of(text, is_express=is_express) is not None:
        return
    assert mermaid(definition).startswith("flowchart")
    list(warnings(definition))
    # What was accepted may fail, but in the words of the States Language.
    finish = World(text).run(run_of(SOURCE, limit_ms=400_000_000_000))
    assert finish.status in ("SUCCEEDED", "FAILED", "TIMED_OUT")


@given(JSON)
def test_any_json_gives_a_machine_or_problems(value: Any) -> None:
    for definition in (
        value,
        {"StartAt": "A", "States": value},
        {"StartAt": "A", "States": {"A": value}},
    ):
        problems_of(json.dumps(definition))


@given(st.text(max_size=60))
def test_any_text_gives_a_machine_or_problems(text: str) -> None:
    problems_of(text)


@settings(max_examples=50)
@given(machines())
def test_the_machines_of_these_tests_are_accepted(definition: str) -> None:
    Machine.parse(definition)
