"""Frames: where in the machine an execution stands. Plain data that can be stored and moved.

The root frame has the id "". (A branch or an item will be a frame of its own, its id below its
parent's, so that a large state never writes more than what changed.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from stepout.asl.values import Document, Json, loads

__all__ = ["ROOT", "Frame", "Purpose"]

ROOT: Final = ""

Purpose: TypeAlias = Literal["call", "timeout", "backoff", "wait"]
"""What an open command of a frame is for."""


@dataclass(slots=True)
class Frame:
    """One position. Changed only on a copy that belongs to the turn being made."""

    state: str
    input: Document
    """The state's raw input."""
    is_ready: bool = True
    """The state is to be entered in the next turn."""
    entered_id: int = 0
    """Id of the state's Entered event; error texts name it."""
    entered_at: int = 0
    """Milliseconds since the epoch."""
    previous_id: int = 0
    """The event that the frame's next event points at."""
    attempts: tuple[int, ...] = ()
    """Retries used, by retrier; the state's visit owns them."""
    open: Mapping[str, Purpose] = field(default_factory=dict)
    """Commands without an answer."""

    def copy(self) -> Frame:
        # Spelled out: `dataclasses.replace` costs ten times as much, and each turn copies a frame.
        return Frame(
            self.state,
            self.input,
            self.is_ready,
            self.entered_id,
            self.entered_at,
            self.previous_id,
            self.attempts,
            self.open,
        )

    def to_json(self) -> Json:
        return {
            "state": self.state,
            "input": self.input.text,
            "isReady": self.is_ready,
            "enteredId": self.entered_id,
            "enteredAt": self.entered_at,
            "previousId": self.previous_id,
            "attempts": list(self.attempts),
            "open": dict(self.open),
        }

    @classmethod
    def from_json(cls, value: Json) -> Frame:
        text = value["input"].encode()
        return cls(
            state=value["state"],
            input=Document(loads(text), text),
            is_ready=value["isReady"],
            entered_id=value["enteredId"],
            entered_at=value["enteredAt"],
            previous_id=value["previousId"],
            attempts=tuple(value["attempts"]),
            open=value["open"],
        )
