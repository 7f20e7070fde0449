"""A turn: what one call of `handle` changed and asks for. And the draft it is made in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from stepout.asl.machine import Machine
from stepout.asl.values import Document, Json
from stepout.engine.commands import Cancel, Command, Finish
from stepout.engine.entropy import Entropy
from stepout.engine.frames import Frame, Purpose
from stepout.engine.history import Event

__all__ = ["Draft", "Meta", "Run", "Turn"]

Details: TypeAlias = Callable[[], Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class Run:
    """What is fixed when an execution starts. Times in milliseconds since the epoch."""

    arn: str
    name: str
    role_arn: str
    machine_arn: str
    machine_name: str
    region: str
    account: str
    started_at: int
    input: Document
    is_express: bool
    limit_ms: int | None = None
    """The longest the service lets it run: 5 minutes for Express."""
    wants_events: bool = False
    """Events are always counted; they are made only when a history or a log level asks."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Counters and state of the execution as a whole; stored beside its frames."""

    events: int = 0
    commands: int = 0
    deadline: str | None = None
    """Id of the timer that ends the execution."""
    is_finished: bool = False

    def to_json(self) -> Json:
        return {
            "events": self.events,
            "commands": self.commands,
            "deadline": self.deadline,
            "isFinished": self.is_finished,
        }

    @classmethod
    def from_json(cls, value: Json) -> Meta:
        return cls(value["events"], value["commands"], value["deadline"], value["isFinished"])


@dataclass(frozen=True, slots=True)
class Turn:
    """The outcome of a turn, to be committed before its commands are performed."""

    meta: Meta
    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    changed: Mapping[str, Frame]
    removed: frozenset[str]
    consumed: frozenset[str]
    """Command ids that were answered or given up in this turn."""
    more: bool
    """The budget ran out: give others a chance, then call `handle([])`."""

    @property
    def finish(self) -> Finish | None:
        last = self.commands[-1] if self.commands else None
        return last if isinstance(last, Finish) else None


@dataclass(slots=True)
class Draft:
    """A turn being made, on copies of frames: nothing of it is seen unless it succeeds."""

    machine: Machine
    run: Run
    now: int
    entropy: Entropy
    budget: int
    base: Mapping[str, Frame]
    event_count: int
    command_count: int
    deadline: str | None
    is_finished: bool = False
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    changed: dict[str, Frame] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    consumed: set[str] = field(default_factory=set)

    def frame(self, frame_id: str) -> Frame | None:
        """A frame that may be changed, or None where there is none any more."""
        if frame_id in self.removed:
            return None
        if frame_id not in self.changed:
            if frame_id not in self.base:
                return None
            self.changed[frame_id] = self.base[frame_id].copy()
        return self.changed[frame_id]

    def record(self, frame: Frame, event_type: str, details: Details) -> int:
        """Count an event of a frame, and make it if anyone wants it."""
        event_id = self.note(frame.previous_id, event_type, details)
        frame.previous_id = event_id
        return event_id

    def note(self, previous_id: int, event_type: str, details: Details) -> int:
        self.event_count += 1
        if self.run.wants_events:
            event = Event(self.event_count, previous_id, event_type, self.now, details())
            self.events.append(event)
        return self.event_count

    def open(self, frame_id: str, frame: Frame, purpose: Purpose) -> str:
        """A fresh command id that leads back to the frame."""
        command_id = self.next_id(frame_id)
        frame.open = {**frame.open, command_id: purpose}
        return command_id

    def next_id(self, frame_id: str) -> str:
        self.command_count += 1
        return f"{self.command_count}@{frame_id}"

    def close(self, frame: Frame, command_id: str) -> None:
        """The command was answered."""
        frame.open = {key: value for key, value in frame.open.items() if key != command_id}
        self.consumed.add(command_id)

    def give_up(self, frame: Frame) -> None:
        """Cancel all open commands of the frame."""
        for command_id in frame.open:
            self.cancel(command_id)
        frame.open = {}

    def cancel(self, command_id: str) -> None:
        self.commands.append(Cancel(command_id))
        self.consumed.add(command_id)

    def finish(self, finish: Finish) -> None:
        """End the execution: give up all open work, drop all frames."""
        for frame_id in self.base.keys() | self.changed.keys():
            frame = self.changed.get(frame_id) or self.base[frame_id]
            for command_id in frame.open:
                if command_id not in self.consumed:
                    self.cancel(command_id)
            self.removed.add(frame_id)
        if self.deadline is not None and self.deadline not in self.consumed:
            self.cancel(self.deadline)
        self.is_finished = True
        self.commands.append(finish)

    def turn(self, *, more: bool) -> Turn:
        meta = Meta(self.event_count, self.command_count, self.deadline, self.is_finished)
        changed = {key: frame for key, frame in self.changed.items() if key not in self.removed}
        return Turn(
            meta=meta,
            events=tuple(self.events),
            commands=tuple(self.commands),
            changed=changed,
            removed=frozenset(self.removed),
            consumed=frozenset(self.consumed),
            more=more,
        )
