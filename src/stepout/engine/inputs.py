"""What comes into an execution: results of the work it asked for, and what is decided outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from stepout.asl.states_error import StatesError
from stepout.asl.values import Json

__all__ = ["Done", "Failed", "Fired", "Heartbeat", "Input", "Stop"]


@dataclass(frozen=True, slots=True)
class Done:
    """The work of a Call succeeded."""

    id: str
    result: Json


@dataclass(frozen=True, slots=True)
class Failed:
    """The work of a Call failed."""

    id: str
    error: StatesError


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The work of a Call is alive."""

    id: str


@dataclass(frozen=True, slots=True)
class Fired:
    """A Timer is due."""

    id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The execution is to be aborted."""

    error: StatesError | None = None


Input: TypeAlias = Done | Failed | Heartbeat | Fired | Stop
