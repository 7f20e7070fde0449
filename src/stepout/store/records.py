"""What the store keeps of a state machine: its current revision, its versions and its aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stepout.asl.values import Json

__all__ = ["AliasRecord", "KeptMachine", "MachineRecord", "Route", "VersionRecord"]


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """A state machine as its creator gave it. Times in milliseconds since the epoch."""

    arn: str
    name: str
    type: str
    """`STANDARD` or `EXPRESS`."""
    definition: str
    role_arn: str
    created: int
    updated: int
    revision_id: str | None
    """None until the first update that changes something."""
    logging: dict[str, Json] | None
    tracing: dict[str, Json] | None
    encryption: dict[str, Json] | None
    tags: tuple[tuple[str, str], ...]
    publish: bool = False
    """Whether the call that created it published a version, and so made the version 1."""
    version_description: str | None = None
    """The description which that call gave the version."""
    last_version: int = 0
    """The number of the version that was published last; no number is used twice."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A revision of a machine, kept as it was under a number."""

    arn: str
    number: int
    description: str | None
    created: int
    revision: MachineRecord
    """The machine when it was published, without its tags."""


@dataclass(frozen=True, slots=True)
class Route:
    """The share of an alias's executions, in per cent, that a version runs."""

    version: int
    weight: int


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """A name for one version of a machine, or for two that share the executions."""

    arn: str
    name: str
    description: str | None
    routes: tuple[Route, ...]
    created: int
    updated: int


@dataclass(frozen=True, slots=True)
class KeptMachine:
    """A machine with what was published of it: what changes together."""

    record: MachineRecord
    versions: Mapping[int, VersionRecord] = field(default_factory=dict)
    """By number, in the order of publication."""
    aliases: Mapping[str, AliasRecord] = field(default_factory=dict)
    """By name, in the order of creation."""

    @property
    def arn(self) -> str:
        return self.record.arn
