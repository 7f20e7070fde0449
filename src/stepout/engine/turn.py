"""A turn: what one call of `handle` changed and asks for. And the draft it is made in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from stepout.asl.allowance import Allowance
from stepout.asl.machine import Machine
from stepout.asl.states_error import StatesError
from stepout.asl.values import PAYLOAD_LIMIT, Document, Json
from stepout.engine.commands import Cancel, Command, Finish
from stepout.engine.entropy import Entropy
from stepout.engine.frames import Frame, Purpose, Stored
from stepout.engine.history import Event

__all__ = ["Details", "Draft", "Ended", "Meta", "Run", "Turn"]

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
    payload_limit: int = PAYLOAD_LIMIT
    """Bytes of an input or output."""
    limit_ms: int | None = None
    """The longest the service lets it run: 5 minutes for Express."""
    test_case: str | None = None
    """Which mocks stand for Tasks."""
    wants_events: bool = False
    """Events are always counted; they are made only when a history or a log level asks."""
    version_arn: str | None = None
    """The machine's version that runs, where it was started by a version or an alias."""
    alias_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """Counters and state of the execution as a whole; stored beside its frames."""

    events: int = 0
    commands: int = 0
    readied: int = 0
    """How often a frame became ready; the next one gets the next number."""
    variable_bytes: int = 0
    """Of all variables that are alive."""
    deadline: str | None = None
    """Id of the timer that ends the execution."""
    is_finished: bool = False

    def to_json(self) -> Json:
        return {
            "events": self.events,
            "commands": self.commands,
            "readied": self.readied,
            "variableBytes": self.variable_bytes,
            "deadline": self.deadline,
            "isFinished": self.is_finished,
        }

    @classmethod
    def from_json(cls, value: Json) -> Meta:
        return cls(
            value["events"],
            value["commands"],
            value["readied"],
            value["variableBytes"],
            value["deadline"],
            value["isFinished"],
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """The outcome of a turn, to be committed before its commands are performed."""

    meta: Meta
    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    changed: Mapping[str, Stored]
    removed: frozenset[str]
    consumed: frozenset[str]
    """Command ids that were answered or given up in this turn."""
    more: bool
    """The budget ran out: give others a chance, then call `handle([])`."""

    @property
    def finish(self) -> Finish | None:
        last = self.commands[-1] if self.commands else None
        return last if isinstance(last, Finish) else None


@dataclass(frozen=True, slots=True)
class Ended:
    """A branch or an item has come to its end: with an output, or else an error."""

    frame_id: str
    output: Document | None = None
    error: StatesError | None = None


@dataclass(slots=True)
class Draft:
    """A turn being made, on copies of frames: nothing of it is seen unless it succeeds."""

    machine: Machine
    run: Run
    now: int
    entropy: Entropy
    budget: int
    allowance: Allowance
    """What the evaluations of the turn pay with."""
    base: Mapping[str, Stored]
    ready: list[tuple[int, str]]
    """Frames whose states are to be entered, in their order."""
    event_count: int
    command_count: int
    readied: int
    variable_bytes: int
    deadline: str | None
    is_finished: bool = False
    ended: list[Ended] = field(default_factory=list)
    """Not looked at yet; never survives the turn."""
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    changed: dict[str, Stored] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    consumed: set[str] = field(default_factory=set)

    def frame(self, frame_id: str) -> Frame | None:
        """A frame that may be changed, or None where there is none any more."""
        found = self.changed.get(frame_id)
        if found is None:
            if frame_id in self.removed or frame_id not in self.base:
                return None
            found = self.base[frame_id]
            if isinstance(found, Frame):
                found = self.changed[frame_id] = found.copy()
        return found if isinstance(found, Frame) else None

    def look(self, frame_id: str) -> Stored | None:
        """What an id stands for, to be read only."""
        if frame_id in self.changed:
            return self.changed[frame_id]
        return None if frame_id in self.removed else self.base.get(frame_id)

    def put(self, frame_id: str, stored: Stored) -> None:
        """Add a frame or a held value, or put one in a frame's place."""
        self.removed.discard(frame_id)
        self.changed[frame_id] = stored

    def remove(self, frame_id: str) -> None:
        """Drop a frame with its variables, or a held value."""
        stored = self.look(frame_id)
        if isinstance(stored, Frame):
            self.variable_bytes -= sum(value.size for value in stored.variables.values())
        self.changed.pop(frame_id, None)
        if frame_id in self.base:
            self.removed.add(frame_id)

    def make_ready(self, frame_id: str, frame: Frame, state: str) -> None:
        """The frame is to enter the state when its turn comes."""
        self.readied += 1
        frame.state, frame.ready = state, self.readied
        self.ready.append((self.readied, frame_id))

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
        self.cancel_open(frame)
        frame.open = {}

    def cancel_open(self, frame: Frame) -> None:
        for command_id in frame.open:
            if command_id not in self.consumed:
                self.cancel(command_id)

    def cancel(self, command_id: str) -> None:
        self.commands.append(Cancel(command_id))
        self.consumed.add(command_id)

    def finish(self, finish: Finish) -> None:
        """End the execution: give up all open work, drop all frames."""
        for frame_id in {**self.base, **self.changed}:
            stored = self.look(frame_id)
            if isinstance(stored, Frame):
                self.cancel_open(stored)
            if frame_id in self.base:
                self.removed.add(frame_id)
        self.changed.clear()
        self.ready.clear()
        self.ended.clear()
        if self.deadline is not None and self.deadline not in self.consumed:
            self.cancel(self.deadline)
        self.is_finished = True
        self.commands.append(finish)

    def turn(self, *, more: bool) -> Turn:
        meta = Meta(
            self.event_count,
            self.command_count,
            self.readied,
            self.variable_bytes,
            self.deadline,
            self.is_finished,
        )
        return Turn(
            meta=meta,
            events=tuple(self.events),
            commands=tuple(self.commands),
            changed=self.changed,
            removed=frozenset(self.removed),
            consumed=frozenset(self.consumed),
            more=more,
        )
