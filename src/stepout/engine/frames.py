"""Frames: where in the machine an execution stands. Plain data that can be stored and moved.

The root frame has the id "". A branch or an item is a frame of its own, its id below its parent's
(`/0`, `/0/3`), so that a large state never writes more than what changed. What waits to be read
by a parent is held beside the frames: the items of a Map (`/0/items`), and the result of a branch
or item, which takes the place of its frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from stepout.asl.values import Document, Json, loads

__all__ = [
    "ROOT",
    "Children",
    "Frame",
    "Held",
    "Purpose",
    "Stored",
    "child_id",
    "from_json",
    "index_of",
    "items_id",
    "parent_of",
]

ROOT: Final = ""

Purpose: TypeAlias = Literal["call", "timeout", "heartbeat", "backoff", "wait"]
"""What an open command of a frame is for."""


def child_id(frame_id: str, index: int) -> str:
    return f"{frame_id}/{index}"


def items_id(frame_id: str) -> str:
    return f"{frame_id}/items"


def parent_of(frame_id: str) -> str:
    return frame_id.rpartition("/")[0]


def index_of(frame_id: str) -> int:
    return int(frame_id.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Children:
    """The branches of a Parallel or the iterations of a Map that is at work: counts only."""

    total: int
    limit: int
    """How many may run at once."""
    tolerated: int = 0
    """How many may fail."""
    started: int = 0
    ended: int = 0
    failed: int = 0
    held: int = 0
    """Bytes of the results so far."""
    are_pairs: bool = False
    """The items are the members of an object, each `{"Key": …, "Value": …}`."""

    def to_json(self) -> Json:
        counts = [self.total, self.limit, self.tolerated, self.started, self.ended, self.failed]
        return [*counts, self.held, self.are_pairs]


@dataclass(slots=True)
class Frame:
    """One position. Changed only on a copy that belongs to the turn being made."""

    state: str
    input: Document
    """The state's raw input."""
    ready: int = 0
    """The state is to be entered; frames take turns by this number. 0: it is not."""
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
    variables: Mapping[str, Document] = field(default_factory=dict)
    """Those assigned in this scope."""
    children: Children | None = None

    def copy(self) -> Frame:
        # Spelled out: `dataclasses.replace` costs ten times as much, and each turn copies a frame.
        return Frame(
            self.state,
            self.input,
            self.ready,
            self.entered_id,
            self.entered_at,
            self.previous_id,
            self.attempts,
            self.open,
            self.variables,
            self.children,
        )

    def to_json(self) -> Json:
        return {
            "state": self.state,
            "input": self.input.text,
            "ready": self.ready,
            "enteredId": self.entered_id,
            "enteredAt": self.entered_at,
            "previousId": self.previous_id,
            "attempts": list(self.attempts),
            "open": dict(self.open),
            "variables": {name: value.text for name, value in self.variables.items()},
            "children": None if self.children is None else self.children.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Held:
    """A value that waits for its frame's parent; None for an item that failed and may."""

    value: Document | None

    def to_json(self) -> Json:
        return {"held": None if self.value is None else self.value.text}


Stored: TypeAlias = Frame | Held
"""What the frames of an execution map an id to."""


def from_json(value: Json) -> Stored:
    """What `to_json` of a frame or a held value gave."""
    if "held" in value:
        return Held(None if value["held"] is None else _document(value["held"]))
    children = value["children"]
    return Frame(
        state=value["state"],
        input=_document(value["input"]),
        ready=value["ready"],
        entered_id=value["enteredId"],
        entered_at=value["enteredAt"],
        previous_id=value["previousId"],
        attempts=tuple(value["attempts"]),
        open=value["open"],
        variables={name: _document(text) for name, text in value["variables"].items()},
        children=None if children is None else Children(*children),
    )


def _document(text: str) -> Document:
    encoded = text.encode("utf-8", "surrogatepass")
    return Document(loads(encoded), encoded)
