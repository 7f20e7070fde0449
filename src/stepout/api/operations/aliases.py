"""CreateStateMachineAlias, DescribeStateMachineAlias, UpdateStateMachineAlias,
DeleteStateMachineAlias and ListStateMachineAliases (Step Functions API reference)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stepout.api import faults
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.names import MachineArn, alias_arn, machine_arn
from stepout.api.operations.machines import (
    DEFAULT_PAGE,
    change_machine,
    kept_machine,
    the_machine,
)
from stepout.api.paging import page
from stepout.api.publishing import aliased, referring, routes_of, routing_of
from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws.arn import split_qualifier
from stepout.aws.timestamps import milliseconds
from stepout.store.records import AliasRecord, KeptMachine


def _of_new_alias(_caller: Caller, request: Mapping[str, Json]) -> str:
    """The alias to be made: of the machine whose versions it leads to."""
    machine, _ = split_qualifier(request["routingConfiguration"][0]["stateMachineVersionArn"])
    return f"{machine}:{request['name']}"


@operation("states", "CreateStateMachineAlias", _of_new_alias)
async def create_state_machine_alias(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Idempotent over name, description and routing configuration."""
    machine, routes = routes_of(request["routingConfiguration"])
    name, now = request["name"], services.clock.now()
    made = AliasRecord(
        arn=f"{machine}:{name}",
        name=name,
        description=request.get("description"),
        routes=routes,
        created=now,
        updated=now,
    )

    def edit(kept: KeptMachine | None) -> KeptMachine:
        if kept is None:
            raise faults.alias_missing(machine)
        existing = kept.aliases.get(name)
        if existing is None:
            return aliased(kept, made)
        if (existing.description, existing.routes) != (made.description, made.routes):
            raise faults.conflict(
                "Failed to create alias because an alias with the same name and a different "
                "routing configuration already exists."
            )
        return kept

    arn = machine_arn(machine)
    kept = the_machine(await change_machine(services, caller, arn, edit), machine)
    return _item(kept.aliases[name])


@operation("states", "DescribeStateMachineAlias", of_machine("stateMachineAliasArn"))
async def describe_state_machine_alias(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    arn = alias_arn(request["stateMachineAliasArn"])
    kept, alias = _found(await kept_machine(services, caller, arn), arn)
    response = {
        "stateMachineAliasArn": alias.arn,
        "name": alias.name,
        "description": alias.description,
        "routingConfiguration": routing_of(kept, alias),
        "creationDate": milliseconds(alias.created),
        "updateDate": milliseconds(alias.updated),
    }
    return {name: value for name, value in response.items() if value is not None}


@operation("states", "UpdateStateMachineAlias", of_machine("stateMachineAliasArn"))
async def update_state_machine_alias(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """What is not given stays; a call that changes nothing answers the date of the last change."""
    arn = alias_arn(request["stateMachineAliasArn"])
    if not {"description", "routingConfiguration"} & request.keys():
        raise faults.validation(
            "Either the description or the routingConfiguration must be specified",
            "MISSING_REQUIRED_PARAMETER",
        )
    now = services.clock.now()

    def edit(old: KeptMachine | None) -> KeptMachine:
        kept, alias = _found(old, arn)
        new = _updated(alias, arn.machine, request)
        return kept if new == alias else aliased(kept, replace(new, updated=now))

    _, alias = _found(await change_machine(services, caller, arn, edit), arn)
    return {"updateDate": milliseconds(alias.updated)}


@operation("states", "DeleteStateMachineAlias", of_machine("stateMachineAliasArn"))
async def delete_state_machine_alias(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """The versions that it led to stay."""
    arn = alias_arn(request["stateMachineAliasArn"])

    def edit(old: KeptMachine | None) -> KeptMachine:
        kept, alias = _found(old, arn)
        rest = {name: each for name, each in kept.aliases.items() if name != alias.name}
        return replace(kept, aliases=rest)

    await change_machine(services, caller, arn, edit)
    return {}


@operation("states", "ListStateMachineAliases", of_machine("stateMachineArn"))
async def list_state_machine_aliases(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Of a machine or, by the ARN of a version, those that lead to it; the oldest first (as
    recorded on AWS, where the API reference says otherwise)."""
    arn = machine_arn(request["stateMachineArn"])
    kept = the_machine(await kept_machine(services, caller, arn), arn.text)
    found = _listed(kept, arn)
    limit = request.get("maxResults") or DEFAULT_PAGE
    shown, token = page(found, lambda alias: alias.name, request.get("nextToken"), limit)
    response: dict[str, Json] = {"stateMachineAliases": [_item(alias) for alias in shown]}
    return response if token is None else {**response, "nextToken": token}


def _found(kept: KeptMachine | None, arn: MachineArn) -> tuple[KeptMachine, AliasRecord]:
    alias = None if kept is None else kept.aliases.get(arn.qualifier)
    if kept is None or alias is None:
        raise faults.alias_missing(arn.text)
    return kept, alias


def _updated(alias: AliasRecord, machine: str, request: dict[str, Json]) -> AliasRecord:
    new = replace(alias, description=request.get("description", alias.description))
    if "routingConfiguration" not in request:
        return new
    _, routes = routes_of(request["routingConfiguration"], machine)
    return replace(new, routes=routes)


def _listed(kept: KeptMachine, arn: MachineArn) -> Sequence[AliasRecord]:
    if not arn.is_qualified:
        return list(kept.aliases.values())
    if not arn.is_version:
        raise faults.wrong_resource("stateMachine")
    if arn.number is None or arn.number not in kept.versions:
        raise faults.alias_missing(arn.text)
    return referring(kept, arn.number)


def _item(alias: AliasRecord) -> dict[str, Json]:
    return {
        "stateMachineAliasArn": alias.arn,
        "creationDate": milliseconds(alias.created),
    }
