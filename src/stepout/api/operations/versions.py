"""PublishStateMachineVersion, ListStateMachineVersions and DeleteStateMachineVersion
(Step Functions API reference)."""

from __future__ import annotations

from stepout.api import faults
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.names import machine_arn, version_arn
from stepout.api.operations.machines import (
    DEFAULT_PAGE,
    change_machine,
    find_machine,
    kept_machine,
    the_machine,
)
from stepout.api.paging import page
from stepout.api.publishing import check_revision, current_version, published, unpublished
from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws.timestamps import milliseconds
from stepout.store.records import KeptMachine, VersionRecord


@operation("states", "PublishStateMachineVersion", of_machine("stateMachineArn"))
async def publish_state_machine_version(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """A revision has one version: publishing it again answers the version that there is."""
    arn = machine_arn(request["stateMachineArn"])
    await find_machine(services, caller, arn)
    now = services.clock.now()

    def edit(old: KeptMachine | None) -> KeptMachine:
        kept = the_machine(old, arn.text)
        if "revisionId" in request:
            check_revision(kept.record, request["revisionId"])
        return published(kept, request.get("description"), now)

    kept = the_machine(await change_machine(services, caller, arn, edit), arn.text)
    version = current_version(kept)
    if version is None:
        raise faults.machine_missing(arn.text)
    return _item(version)


@operation("states", "ListStateMachineVersions", of_machine("stateMachineArn"))
async def list_state_machine_versions(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """The newest first; a machine that does not exist has none."""
    arn = machine_arn(request["stateMachineArn"])
    if arn.is_qualified:
        raise faults.wrong_resource("stateMachine")
    kept = await kept_machine(services, caller, arn)
    newest_first = () if kept is None else tuple(kept.versions.values())[::-1]
    limit = request.get("maxResults") or DEFAULT_PAGE
    token = request.get("nextToken")
    shown, following = page(newest_first, _key, token, limit, rank=_rank)
    response: dict[str, Json] = {"stateMachineVersions": [_item(version) for version in shown]}
    return response if following is None else {**response, "nextToken": following}


@operation("states", "DeleteStateMachineVersion", of_machine("stateMachineVersionArn"))
async def delete_state_machine_version(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Answers alike for a version that does not exist; its number is not used again."""
    arn = version_arn(request["stateMachineVersionArn"])
    number = arn.number
    if number is not None:
        await change_machine(
            services, caller, arn, lambda kept: None if kept is None else unpublished(kept, number)
        )
    return {}


def _item(version: VersionRecord) -> dict[str, Json]:
    return {
        "stateMachineVersionArn": version.arn,
        "creationDate": milliseconds(version.created),
    }


def _key(version: VersionRecord) -> str:
    return str(version.number)


def _rank(key: str) -> int:
    return -int(key)
