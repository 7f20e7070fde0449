"""What the store keeps of a state machine."""

from __future__ import annotations

from dataclasses import dataclass

from stepout.asl.values import Json

__all__ = ["MachineRecord"]


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
    """None until the first update."""
    logging: dict[str, Json] | None
    tracing: dict[str, Json] | None
    encryption: dict[str, Json] | None
    tags: tuple[tuple[str, str], ...]
