"""History events as GetExecutionHistory and the log records show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepout.asl.machine import State
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json

__all__ = ["Event", "entered", "exited", "failure", "result", "scheduled", "started"]


@dataclass(frozen=True, slots=True)
class Event:
    """`details` has the members of the event's details structure in the service model."""

    id: int
    previous_id: int
    type: str
    timestamp: int
    """Milliseconds since the epoch."""
    details: Mapping[str, Json]


def started(source: Document, role_arn: str) -> Mapping[str, Json]:
    return {
        "input": source.text,
        "inputDetails": {"truncated": False},
        "roleArn": role_arn,
    }


def entered(state: State, source: Document) -> Mapping[str, Json]:
    return {"name": state.name, "input": source.text, "inputDetails": {"truncated": False}}


def exited(state: State, output: Document) -> Mapping[str, Json]:
    return {"name": state.name, "output": output.text, "outputDetails": {"truncated": False}}


def result(output: Document) -> Mapping[str, Json]:
    return {"output": output.text, "outputDetails": {"truncated": False}}


def scheduled(arguments: Document, region: str, timeout: int | None) -> Mapping[str, Json]:
    details: dict[str, Json] = {"region": region, "parameters": arguments.text}
    return details if timeout is None else {**details, "timeoutInSeconds": timeout}


def failure(error: StatesError | None) -> Mapping[str, Json]:
    if error is None:
        return {}
    details = {"error": error.error, "cause": error.cause}
    return {name: text for name, text in details.items() if text is not None}
