"""What publishing makes of a machine: versions of its revisions, and aliases that route to them.

Pure functions of a kept machine, to be run as edits of the store, so that nothing comes between
what they look at and what they change. They raise AWS's refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from stepout.api import faults
from stepout.api.names import MachineArn, machine_arn
from stepout.asl.values import Json
from stepout.errors import ServiceError
from stepout.store.records import (
    AliasRecord,
    KeptMachine,
    MachineRecord,
    Route,
    VersionRecord,
)

__all__ = [
    "INITIAL",
    "MAX_ALIASES",
    "MAX_VERSIONS",
    "aliased",
    "check_revision",
    "current_version",
    "draw",
    "published",
    "referring",
    "routes_of",
    "routing_of",
    "unpublished",
]

MAX_VERSIONS: Final = 1_000
MAX_ALIASES: Final = 100
"""Of a machine (AWS service quotas, versions and aliases)."""

INITIAL: Final = "INITIAL"
"""What a caller names the revision by that has no id yet (API reference)."""

_WHOLE: Final = 100
"""Per cent: what the weights of a routing configuration come to."""


# --- Versions -------------------------------------------------------------------------------------


def current_version(kept: KeptMachine) -> VersionRecord | None:
    """The version of the machine's current revision, where it is published."""
    revision = kept.record.revision_id
    found = (each for each in kept.versions.values() if each.revision.revision_id == revision)
    return next(found, None)


def check_revision(record: MachineRecord, expected: str) -> None:
    """Refuse to publish another revision than the one that is expected."""
    current = record.revision_id or INITIAL
    if expected != current:
        raise faults.conflict(
            f"Failed to publish the State Machine version for revision {expected}. The current "
            f"State Machine revision is {current}."
        )


def published(kept: KeptMachine, description: str | None, now: int) -> KeptMachine:
    """The machine with a version of its current revision; as it is where there is one."""
    if current_version(kept) is not None:
        return kept
    if len(kept.versions) >= MAX_VERSIONS:
        raise faults.quota_exceeded(
            f"The state machine has {MAX_VERSIONS} versions, and cannot have more: '{kept.arn}'"
        )
    number = kept.record.last_version + 1
    version = VersionRecord(
        arn=f"{kept.arn}:{number}",
        number=number,
        description=description,
        created=now,
        revision=replace(kept.record, tags=()),
    )
    return replace(
        kept,
        record=replace(kept.record, last_version=number),
        versions={**kept.versions, number: version},
    )


def unpublished(kept: KeptMachine, number: int) -> KeptMachine:
    """The machine without a version; as it is where there is none of the number."""
    if number not in kept.versions:
        return kept
    referring_aliases = [alias.name for alias in referring(kept, number)]
    if referring_aliases:
        raise faults.conflict(
            "Version to be deleted must not be referenced by an alias. Current list of aliases "
            f"referencing this version: [{', '.join(referring_aliases)}]"
        )
    rest = {key: version for key, version in kept.versions.items() if key != number}
    return replace(kept, versions=rest)


# --- Aliases --------------------------------------------------------------------------------------


def referring(kept: KeptMachine, number: int) -> Sequence[AliasRecord]:
    """The aliases that route to a version, in the order of their creation."""
    return [
        alias
        for alias in kept.aliases.values()
        if any(route.version == number for route in alias.routes)
    ]


def aliased(kept: KeptMachine, alias: AliasRecord) -> KeptMachine:
    """The machine with an alias, new or changed, whose versions must be there."""
    for route in alias.routes:
        if route.version not in kept.versions:
            raise faults.alias_missing(f"{kept.arn}:{route.version}")
    if alias.name not in kept.aliases and len(kept.aliases) >= MAX_ALIASES:
        raise faults.quota_exceeded(
            f"The state machine has {MAX_ALIASES} aliases, and cannot have more: '{kept.arn}'"
        )
    return replace(kept, aliases={**kept.aliases, alias.name: alias})


def routes_of(
    configuration: Sequence[dict[str, Json]], machine: str | None = None
) -> tuple[str, tuple[Route, ...]]:
    """The machine and the routes of a routing configuration, or AWS's refusal.

    With a machine it must be that one.
    """
    texts = [item["stateMachineVersionArn"] for item in configuration]
    weights = [item["weight"] for item in configuration]
    arns = [machine_arn(text) for text in texts]
    if not all(arn.is_version for arn in arns):
        raise _bad_routing("Routing configuration must contain state machine version ARNs", texts)
    if len(set(texts)) != len(texts):
        raise _bad_routing(
            "Routing configuration must contain distinct state machine version ARNs", texts
        )
    machines = {arn.machine for arn in arns} | ({machine} if machine is not None else set())
    if len(machines) != 1:
        raise _bad_routing(
            "Routing configuration must contain versions of the same state machine", texts
        )
    if sum(weights) != _WHOLE:
        raise _bad_routing(f"Sum of routing configuration weights must equal {_WHOLE}", weights)
    routes = (Route(_number(arn), weight) for arn, weight in zip(arns, weights, strict=True))
    return arns[0].machine, tuple(routes)


def _number(arn: MachineArn) -> int:
    if arn.number is None:
        # A number with zeros before is that of no version.
        raise faults.alias_missing(arn.text)
    return arn.number


def _bad_routing(why: str, received: Sequence[object]) -> ServiceError:
    return faults.validation(
        f"{why}. Received: [{', '.join(map(str, received))}]", "INVALID_ROUTING_CONFIGURATION"
    )


def routing_of(kept: KeptMachine, alias: AliasRecord) -> list[Json]:
    """An alias's routes as the API shows them."""
    return [
        {"stateMachineVersionArn": f"{kept.arn}:{route.version}", "weight": route.weight}
        for route in alias.routes
    ]


def draw(alias: AliasRecord, random_below: Callable[[int], int]) -> int:
    """The number of the version that runs an execution of an alias.

    `random_below` gives a whole number from zero to below the one that it is given, each as often.
    """
    first, *others = alias.routes
    if not others or random_below(_WHOLE) < first.weight:
        return first.version
    return others[0].version
