"""TagResource, UntagResource and ListTagsForResource (Step Functions API reference)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stepout.api import faults
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.names import MachineArn, machine_arn
from stepout.api.operations.machines import change_machine, kept_machine
from stepout.api.services import Services
from stepout.api.tagging import Tags, shown, tagged, untagged
from stepout.asl.values import Json
from stepout.store.records import KeptMachine

# Machines and activities have tags, versions and aliases have none (as recorded on AWS). Activities
# are not served yet: what is to change when they are is `_change` and `_tags` alone.


@operation("states", "TagResource", of_machine("resourceArn"))
async def tag_resource(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Adds tags; one of a key that is there takes its place."""
    arn = request["resourceArn"]
    await _change(services, caller, arn, lambda tags: tagged(tags, request["tags"], arn))
    return {}


@operation("states", "UntagResource", of_machine("resourceArn"))
async def untag_resource(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Removes tags; keys that are not there count for nothing."""
    keys = request["tagKeys"]
    await _change(services, caller, request["resourceArn"], lambda tags: untagged(tags, keys))
    return {}


@operation("states", "ListTagsForResource", of_machine("resourceArn"))
async def list_tags_for_resource(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    return {"tags": shown(await _tags(services, caller, request["resourceArn"]))}


async def _tags(services: Services, caller: Caller, text: str) -> Tags:
    kept = await kept_machine(services, caller, _tagged_machine(text))
    if kept is None:
        raise faults.resource_missing(text)
    return kept.record.tags


async def _change(
    services: Services, caller: Caller, text: str, change: Callable[[Tags], Tags]
) -> None:
    def edit(kept: KeptMachine | None) -> KeptMachine:
        if kept is None:
            raise faults.resource_missing(text)
        return replace(kept, record=replace(kept.record, tags=change(kept.record.tags)))

    await change_machine(services, caller, _tagged_machine(text), edit)


def _tagged_machine(text: str) -> MachineArn:
    """The ARN of a machine that may have tags, or AWS's refusal."""
    if ":activity:" in text:
        raise faults.resource_missing(text)
    arn = machine_arn(text)
    if arn.is_qualified:
        raise faults.resource_missing(text)
    return arn
