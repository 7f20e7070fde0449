"""What is known of runs: the only truth a driver goes by. One file per database beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stepout.engine.frames import Stored as StoredFrame
from stepout.engine.history import Event
from stepout.engine.turn import Meta, Run, Turn

__all__ = ["Journal", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A run as its last committed turn left it."""

    run: Run
    rev: int
    """Turns committed."""
    meta: Meta
    frames: Mapping[str, StoredFrame]
    events: tuple[Event, ...]


class Journal(Protocol):
    """A turn is committed whole or not at all; its commands are performed only afterwards."""

    async def create(self, run: Run, turn: Turn) -> None:
        """Commit a run's first turn, revision 1; raises `StoreError` where the ARN is taken."""

    async def commit(self, arn: str, rev: int, turn: Turn) -> None:
        """Commit the turn that follows revision `rev`; raises `Fenced` where another did."""

    async def load(self, arn: str) -> Stored | None:
        """What is known of a run."""

    async def forget(self, arn: str) -> None:
        """Drop a run."""
