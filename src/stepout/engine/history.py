"""History events as GetExecutionHistory and the log records show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepout.asl.flow import Variables
from stepout.asl.machine import State
from stepout.asl.resources import Resource
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json

__all__ = [
    "Event",
    "entered",
    "evaluation_failed",
    "exited",
    "failure",
    "result",
    "scheduled",
    "service",
    "started",
]


@dataclass(frozen=True, slots=True)
class Event:
    """`details` has the members of the event's details structure in the service model."""

    id: int
    previous_id: int
    type: str
    timestamp: int
    """Milliseconds since the epoch."""
    details: Mapping[str, Json]


def started(
    source: Document,
    role_arn: str,
    version_arn: str | None = None,
    alias_arn: str | None = None,
) -> Mapping[str, Json]:
    details = {
        "input": source.text,
        "inputDetails": {"truncated": False},
        "roleArn": role_arn,
        "stateMachineAliasArn": alias_arn,
        "stateMachineVersionArn": version_arn,
    }
    return {name: value for name, value in details.items() if value is not None}


def entered(state: State, source: Document) -> Mapping[str, Json]:
    return {"name": state.name, "input": source.text, "inputDetails": {"truncated": False}}


def exited(state: State, output: Document, assigned: Variables) -> Mapping[str, Json]:
    details: dict[str, Json] = {
        "name": state.name,
        "output": output.text,
        "outputDetails": {"truncated": False},
    }
    if assigned:
        details["assignedVariables"] = {name: value.text for name, value in assigned.items()}
        details["assignedVariablesDetails"] = {"truncated": False}
    return details


def evaluation_failed(state: State, error: StatesError, location: str | None) -> Mapping[str, Json]:
    details = {**failure(error), "location": location, "state": state.name}
    return {name: text for name, text in details.items() if text is not None}


def result(output: Document) -> Mapping[str, Json]:
    return {"output": output.text, "outputDetails": {"truncated": False}}


def scheduled(
    resource: Resource, arguments: Document, region: str, limits: Mapping[str, int | None]
) -> Mapping[str, Json]:
    """`limits` are `timeoutInSeconds` and `heartbeatInSeconds`."""
    details: dict[str, Json] = {name: value for name, value in limits.items() if value is not None}
    if resource.style == "Task":
        return {**service(resource), "region": region, "parameters": arguments.text, **details}
    described = {"input": arguments.text, "inputDetails": {"truncated": False}}
    return {"resource": resource.arn, **described, **details}


def service(resource: Resource) -> Mapping[str, Json]:
    """What each event of a Task says of its service; those of Lambda and activities do not."""
    if resource.style == "Task":
        return {"resourceType": resource.type, "resource": resource.name}
    return {}


def failure(error: StatesError | None) -> Mapping[str, Json]:
    if error is None:
        return {}
    # A Fail state without an Error has none here either (recorded on AWS).
    details = {"error": error.error or None, "cause": error.cause}
    return {name: text for name, text in details.items() if text is not None}
