"""Our own cases of the language, by theme: a machine, its input, its Tasks' responses, its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stepout

CASES = Path(__file__).with_name("cases")


def _cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.json")):
        for case in json.loads(path.read_text("utf-8")):
            yield pytest.param(case, id=f"{path.stem}: {case['name']}")


def _mocks(case: dict[str, Any]) -> stepout.Mocks:
    """The responses as Step Functions Local's mock file has them."""
    responses = case.get("responses", {})
    states = {state: state for state in responses}
    config = {
        "StateMachines": {"machine": {"TestCases": {"case": states}}},
        "MockedResponses": responses,
    }
    return stepout.Mocks.parse(json.dumps(config))


@pytest.mark.parametrize("case", list(_cases()))
async def test_a_case_ends_as_it_should(case: dict[str, Any]) -> None:
    machine = stepout.Machine.parse(json.dumps(case["definition"]))
    source = case.get("input", {})
    result = await stepout.run(machine, source, mocks=_mocks(case), test_case="case")
    if "output" in case:
        assert (result.status, result.error) == ("SUCCEEDED", None), result.cause
        assert result.output == case["output"]
    else:
        assert (result.status, result.error, result.cause) == (
            "FAILED",
            case["error"],
            case["cause"],
        )
    if "events" in case:
        found = [f"{event.id}<{event.previous_id} {event.type}" for event in result.events]
        assert found == case["events"]
