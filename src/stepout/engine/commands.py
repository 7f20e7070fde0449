"""What an execution asks for. The driver performs a command only after its turn is committed.

An id is never used twice in an execution; an answer to an id that is no longer open is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json

__all__ = ["Call", "Cancel", "Command", "Finish", "Status", "Timer"]

Status: TypeAlias = Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


@dataclass(frozen=True, slots=True)
class Call:
    """Invoke a resource for a state; answered by Done or Failed."""

    id: str
    resource: str
    arguments: Json
    state: str


@dataclass(frozen=True, slots=True)
class Timer:
    """Answered by Fired at `due`, in milliseconds since the epoch."""

    id: str
    due: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the work or timer behind an id; it is not answered any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The execution is over."""

    status: Status
    output: Document | None = None
    error: StatesError | None = None


Command: TypeAlias = Call | Timer | Cancel | Finish
