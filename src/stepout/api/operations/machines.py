"""CreateStateMachine, DescribeStateMachine, UpdateStateMachine, DeleteStateMachine,
ListStateMachines and ValidateStateMachineDefinition (Step Functions API reference)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from stepout.api import faults
from stepout.api.access import may_run_as
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.ids import new_uuid
from stepout.api.names import check_name, machine_arn, role_arn
from stepout.api.paging import page
from stepout.api.services import Services
from stepout.asl.advice import warnings
from stepout.asl.check import has_shape
from stepout.asl.problems import Problem
from stepout.asl.values import Json, loads
from stepout.aws import arn as arns
from stepout.aws.timestamps import milliseconds
from stepout.errors import DefinitionError, ServiceError
from stepout.store.records import MachineRecord

__all__ = ["find_machine"]

NO_LOGGING: Final = {"level": "OFF", "includeExecutionData": False}
NO_TRACING: Final = {"enabled": False}

DEFAULT_PAGE: Final = 100
"""Items when maxResults is 0 or not given (API reference)."""


async def find_machine(services: Services, caller: Caller, arn: str) -> MachineRecord:
    """The machine of an ARN in the region that the caller asks, or AWS's error.

    Each region knows its own machines alone: else `aws:RequestedRegion` would mean nothing.
    """
    found = machine_arn(arn)
    is_here = found.region == caller.region
    record = await services.store.machines.get(str(found)) if is_here else None
    if record is None:
        raise faults.machine_missing(arn)
    return record


@operation("states", "CreateStateMachine", of_machine("name"), passes="roleArn")
async def create_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Idempotent over all but roleArn and tags: the first ones stay."""
    check_name(request["name"])
    _check_versions(request)
    _check_logging(request.get("loggingConfiguration"))
    await _check_definition(services, request["definition"], request.get("type", "STANDARD"))
    now = services.clock.now()
    arn = arns.state_machine(caller.region, caller.account, request["name"])
    role = _assumable(services, request["roleArn"], arn)
    record = MachineRecord(
        arn=arn,
        name=request["name"],
        type=request.get("type", "STANDARD"),
        definition=request["definition"],
        role_arn=role,
        created=now,
        updated=now,
        revision_id=None,
        logging=request.get("loggingConfiguration"),
        tracing=request.get("tracingConfiguration"),
        encryption=request.get("encryptionConfiguration"),
        tags=tuple((tag["key"], tag["value"]) for tag in request.get("tags", ())),
    )
    if not await services.store.machines.add(record):
        existing = await services.store.machines.get(record.arn)
        if existing is None or _identity(existing) != _identity(record):
            raise faults.machine_exists(record.arn)
        record = existing
    return {"stateMachineArn": record.arn, "creationDate": milliseconds(record.created)}


@operation("states", "DescribeStateMachine", of_machine("stateMachineArn"))
async def describe_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    record = await find_machine(services, caller, request["stateMachineArn"])
    response = {
        "stateMachineArn": record.arn,
        "name": record.name,
        "status": "ACTIVE",
        "definition": record.definition,
        "roleArn": record.role_arn,
        "type": record.type,
        "creationDate": milliseconds(record.created),
        "loggingConfiguration": record.logging or NO_LOGGING,
        "tracingConfiguration": record.tracing or NO_TRACING,
        "encryptionConfiguration": record.encryption,
        "revisionId": record.revision_id,
    }
    return {name: value for name, value in response.items() if value is not None}


@operation("states", "UpdateStateMachine", of_machine("stateMachineArn"), passes="roleArn")
async def update_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Executions that run keep the definition they started with."""
    record = await find_machine(services, caller, request["stateMachineArn"])
    changes = {field: request[member] for member, field in _UPDATES.items() if member in request}
    if not changes:
        raise ServiceError(
            "MissingRequiredParameter",
            "Either the definition, the role ARN, the LoggingConfiguration, or the "
            "TracingConfiguration must be specified",
        )
    _check_versions(request)
    _check_logging(changes.get("logging"))
    if "definition" in changes:
        await _check_definition(services, changes["definition"], record.type)
    if "role_arn" in changes:
        _assumable(services, changes["role_arn"], record.arn)
    now = services.clock.now()
    revision = new_uuid()
    while not await services.store.machines.replace(
        record, replace(record, **changes, updated=now, revision_id=revision)
    ):
        # Another update has come first; this one changes what it has left.
        record = await find_machine(services, caller, record.arn)
    return {"updateDate": milliseconds(now), "revisionId": revision}


@operation("states", "DeleteStateMachine", of_machine("stateMachineArn"))
async def delete_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Answers alike for a machine that does not exist."""
    arn = machine_arn(request["stateMachineArn"])
    if arn.region == caller.region:
        await services.store.machines.remove(str(arn))
    return {}


@operation("states", "ListStateMachines")
async def list_state_machines(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    records = await services.store.machines.list(caller.region, caller.account)
    limit = request.get("maxResults") or DEFAULT_PAGE
    shown, token = page(records, lambda record: record.arn, request.get("nextToken"), limit)
    machines = [
        {
            "stateMachineArn": record.arn,
            "name": record.name,
            "type": record.type,
            "creationDate": milliseconds(record.created),
        }
        for record in shown
    ]
    response: dict[str, Json] = {"stateMachines": machines}
    return response if token is None else {**response, "nextToken": token}


@operation("states", "ValidateStateMachineDefinition")
async def validate_state_machine_definition(
    services: Services, _caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """What CreateStateMachine would refuse, as a list; nothing is kept."""
    limit = request.get("maxResults") or DEFAULT_PAGE
    text = request["definition"]
    problems = await _problems(services, text, request.get("type", "STANDARD"))
    found = [_diagnostic(problem, "ERROR") for problem in problems]
    if has_shape(problems) and request.get("severity") == "WARNING":
        found = [_diagnostic(warning, "WARNING") for warning in warnings(loads(text))]
    return {
        "result": "FAIL" if problems else "OK",
        "diagnostics": found[:limit],
        "truncated": len(found) > limit,
    }


async def _problems(services: Services, text: str, machine_type: str) -> Sequence[Problem]:
    try:
        await services.machines.compile(text, is_express=machine_type == "EXPRESS")
    except DefinitionError as error:
        return error.problems
    return ()


def _diagnostic(problem: Problem, severity: str) -> dict[str, Json]:
    diagnostic = {"severity": severity, "code": problem.code, "message": problem.message}
    return diagnostic if problem.location is None else {**diagnostic, "location": problem.location}


_UPDATES: Final = {
    "definition": "definition",
    "roleArn": "role_arn",
    "loggingConfiguration": "logging",
    "tracingConfiguration": "tracing",
    "encryptionConfiguration": "encryption",
}
"""Member of UpdateStateMachine → field of the record."""


def _identity(record: MachineRecord) -> tuple[Json, ...]:
    """What CreateStateMachine's idempotency compares."""
    return (
        record.definition,
        record.type,
        record.logging or NO_LOGGING,
        record.tracing or NO_TRACING,
        record.encryption,
    )


async def _check_definition(services: Services, text: str, machine_type: str) -> None:
    problems = await _problems(services, text, machine_type)
    if problems:
        raise faults.invalid_definition(problems)


def _assumable(services: Services, text: str, machine: str) -> str:
    """The ARN of a role that Step Functions may assume for a machine, or AWS's refusal."""
    arn = role_arn(text)
    known = services.directories
    if known is not None and may_run_as(known.current, arn, machine) is None:
        raise faults.role_not_assumable()
    return arn


def _check_versions(request: dict[str, Json]) -> None:
    if request.get("publish"):
        raise faults.validation("stepout does not publish versions of a state machine yet.")
    if "versionDescription" in request:
        raise faults.validation("Version description can only be set when publish is true")


def _check_logging(logging: dict[str, Json] | None) -> None:
    if logging is None or logging.get("level", "OFF") == "OFF":
        return
    if len(logging.get("destinations", ())) != 1:
        raise ServiceError(
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        )
