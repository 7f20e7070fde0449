"""CreateStateMachine, DescribeStateMachine, UpdateStateMachine, DeleteStateMachine,
ListStateMachines and ValidateStateMachineDefinition (Step Functions API reference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stepout.api import faults
from stepout.api.access import may_run_as
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.ids import new_uuid
from stepout.api.names import MachineArn, check_name, machine_arn, role_arn
from stepout.api.paging import page
from stepout.api.publishing import current_version, draw, published
from stepout.api.services import Services
from stepout.api.tagging import tagged
from stepout.asl.advice import warnings
from stepout.asl.check import has_shape
from stepout.asl.problems import Problem
from stepout.asl.values import Json, loads
from stepout.aws import arn as arns
from stepout.aws.timestamps import milliseconds
from stepout.errors import DefinitionError, ServiceError
from stepout.store.records import AliasRecord, KeptMachine, MachineRecord, VersionRecord

__all__ = [
    "Revision",
    "change_machine",
    "find_machine",
    "find_revision",
    "kept_machine",
    "the_machine",
]

NO_LOGGING: Final = {"level": "OFF", "includeExecutionData": False}
NO_TRACING: Final = {"enabled": False}
OWN_KEY: Final = {"type": "AWS_OWNED_KEY"}
"""What machines have that were given none (as recorded on AWS)."""

DEFAULT_PAGE: Final = 100
"""Items when maxResults is 0 or not given (API reference)."""

_PUBLISHING: Final = {"publish": "states:PublishStateMachineVersion"}
_TAGGING: Final = {"tags": "states:TagResource"}
"""Member → what its caller must be allowed besides (service authorization reference)."""


@dataclass(frozen=True, slots=True)
class Revision:
    """The revision of a machine that an ARN stands for, and by which version and alias."""

    record: MachineRecord
    version: VersionRecord | None = None
    alias_arn: str | None = None


def the_machine(kept: KeptMachine | None, arn: str) -> KeptMachine:
    """The machine of an ARN, for those who change it or what was published of it."""
    if kept is None:
        raise faults.machine_missing(arn)
    return kept


async def kept_machine(services: Services, caller: Caller, arn: MachineArn) -> KeptMachine | None:
    """The machine of an ARN in the region that the caller asks.

    Each region knows its own machines alone: else `aws:RequestedRegion` would mean nothing.
    """
    if arn.region != caller.region:
        return None
    return await services.store.machines.kept(arn.machine)


async def change_machine(
    services: Services,
    caller: Caller,
    arn: MachineArn,
    edit: Callable[[KeptMachine | None], KeptMachine | None],
) -> KeptMachine | None:
    """Change the machine of an ARN in the region that the caller asks; see `Machines.change`."""
    if arn.region != caller.region:
        return edit(None)
    return await services.store.machines.change(arn.machine, edit)


async def find_machine(services: Services, caller: Caller, arn: MachineArn) -> KeptMachine:
    """The machine of an ARN that names no version and no alias, or AWS's error."""
    kept = None if arn.is_qualified else await kept_machine(services, caller, arn)
    return the_machine(kept, arn.text)


async def find_revision(services: Services, caller: Caller, text: str) -> Revision:
    """What an ARN stands for when an execution starts, or AWS's error.

    An alias draws one of its versions, each with its weight.
    """
    return await _found(services, caller, text, lambda alias: draw(alias, services.random_below))


async def _found(
    services: Services, caller: Caller, text: str, choose: Callable[[AliasRecord], int]
) -> Revision:
    """What an ARN stands for; `choose` gives the number of one of an alias's versions."""
    arn = machine_arn(text)
    kept = the_machine(await kept_machine(services, caller, arn), text)
    if not arn.is_qualified:
        return Revision(kept.record)
    alias = None if arn.is_version else kept.aliases.get(arn.qualifier)
    number = arn.number if alias is None else choose(alias)
    version = None if number is None else kept.versions.get(number)
    if version is None:
        raise faults.machine_missing(text)
    return Revision(version.revision, version, None if alias is None else alias.arn)


@operation(
    "states",
    "CreateStateMachine",
    of_machine("name"),
    passes="roleArn",
    besides=_PUBLISHING | _TAGGING,
)
async def create_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Idempotent over all but roleArn and tags: the first ones stay."""
    check_name(request["name"])
    _check_publishing(request)
    _check_settings(request)
    await _check_definition(services, request["definition"], request.get("type", "STANDARD"))
    now = services.clock.now()
    arn = arns.state_machine(caller.region, caller.account, request["name"])
    made = _created(request, arn, _assumable(services, request["roleArn"], arn), now)
    kept = KeptMachine(made)
    if made.publish:
        kept = published(kept, made.version_description, now)
    if not await services.store.machines.add(kept):
        existing = await services.store.machines.get(arn)
        if existing is None or _creation(existing) != _creation(made):
            raise faults.machine_exists(arn)
        made = existing
    response: dict[str, Json] = {
        "stateMachineArn": arn,
        "creationDate": milliseconds(made.created),
    }
    return {**response, "stateMachineVersionArn": f"{arn}:1"} if made.publish else response


@operation("states", "DescribeStateMachine", of_machine("stateMachineArn"))
async def describe_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Of a version or, by an alias, the version that its first route leads to."""
    arn = request["stateMachineArn"]
    revision = await _found(services, caller, arn, lambda alias: alias.routes[0].version)
    record, version = revision.record, revision.version
    response = {
        "stateMachineArn": record.arn if version is None else version.arn,
        "name": record.name,
        "status": "ACTIVE",
        "definition": record.definition,
        "roleArn": record.role_arn,
        "type": record.type,
        "creationDate": milliseconds(record.created if version is None else version.created),
        "loggingConfiguration": NO_LOGGING | (record.logging or {}),
        "tracingConfiguration": NO_TRACING | (record.tracing or {}),
        "encryptionConfiguration": record.encryption or OWN_KEY,
        "revisionId": record.revision_id,
        "description": None if version is None else version.description,
    }
    return {name: value for name, value in response.items() if value is not None}


@operation(
    "states",
    "UpdateStateMachine",
    of_machine("stateMachineArn"),
    passes="roleArn",
    besides=_PUBLISHING,
)
async def update_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Executions that run keep the definition they started with; so do versions."""
    arn = machine_arn(request["stateMachineArn"])
    kept = await find_machine(services, caller, arn)
    changes = {field: request[member] for member, field in _UPDATES.items() if member in request}
    if not changes:
        raise ServiceError(
            "MissingRequiredParameter",
            "Either the definition, the role ARN, the LoggingConfiguration, or the "
            "TracingConfiguration must be specified",
        )
    _check_publishing(request)
    _check_settings(request)
    if "definition" in changes:
        await _check_definition(services, changes["definition"], kept.record.type)
    if "role_arn" in changes:
        _assumable(services, changes["role_arn"], arn.machine)
    now = services.clock.now()

    def edit(old: KeptMachine | None) -> KeptMachine:
        new = _updated(the_machine(old, arn.text), changes, now)
        publishes = request.get("publish")
        return published(new, request.get("versionDescription"), now) if publishes else new

    new = the_machine(await change_machine(services, caller, arn, edit), arn.text)
    version = current_version(new) if request.get("publish") else None
    response = {
        "updateDate": milliseconds(now),
        "revisionId": new.record.revision_id,
        "stateMachineVersionArn": None if version is None else version.arn,
    }
    return {name: value for name, value in response.items() if value is not None}


@operation("states", "DeleteStateMachine", of_machine("stateMachineArn"))
async def delete_state_machine(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """With all its versions and aliases; answers alike for a machine that does not exist, such as
    a version or an alias."""
    arn = machine_arn(request["stateMachineArn"])
    if arn.region == caller.region and not arn.is_qualified:
        await services.store.machines.remove(arn.machine)
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


def _created(request: dict[str, Json], arn: str, role: str, now: int) -> MachineRecord:
    return MachineRecord(
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
        tags=tagged((), request.get("tags", ()), arn),
        publish=bool(request.get("publish")),
        version_description=request.get("versionDescription"),
    )


def _updated(kept: KeptMachine, changes: Mapping[str, Json], now: int) -> KeptMachine:
    """A new revision, unless nothing is different (as recorded on AWS)."""
    new = replace(kept.record, **changes, updated=now)
    if _revision(new) != _revision(kept.record):
        new = replace(new, revision_id=new_uuid())
    return replace(kept, record=new)


def _revision(record: MachineRecord) -> tuple[Json, ...]:
    """What tells a revision from another."""
    return (
        record.definition,
        record.role_arn,
        NO_LOGGING | (record.logging or {}),
        NO_TRACING | (record.tracing or {}),
        record.encryption or OWN_KEY,
    )


def _creation(record: MachineRecord) -> tuple[Json, ...]:
    """What CreateStateMachine's idempotency compares."""
    comparable = replace(record, role_arn="")
    return record.type, record.publish, record.version_description, *_revision(comparable)


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


def _check_publishing(request: dict[str, Json]) -> None:
    if "versionDescription" in request and not request.get("publish"):
        raise faults.validation("Version description can only be set when publish is true")


def _check_settings(request: dict[str, Json]) -> None:
    _check_logging(request.get("loggingConfiguration", {}))
    _check_encryption(request.get("encryptionConfiguration", OWN_KEY))


def _check_logging(logging: dict[str, Json]) -> None:
    if logging.get("level", "OFF") == "OFF":
        return
    if len(logging.get("destinations", ())) != 1:
        raise ServiceError(
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        )


def _check_encryption(encryption: dict[str, Json]) -> None:
    is_own = encryption["type"] == OWN_KEY["type"]
    own_problem = "kmsKeyId and kmsDataKeyReusePeriodSeconds belong to CUSTOMER_MANAGED_KMS_KEY."
    problem = None
    if is_own and encryption.keys() > {"type"}:
        problem = own_problem
    elif not is_own and "kmsKeyId" not in encryption:
        problem = "CUSTOMER_MANAGED_KMS_KEY needs a kmsKeyId."
    if problem is not None:
        raise ServiceError(
            "InvalidEncryptionConfiguration", f"Invalid Encryption Configuration: {problem}"
        )
