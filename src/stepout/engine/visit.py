"""A state at work in a frame, within the turn being made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stepout.asl.allowance import Allowance
from stepout.asl.machine import Map, State
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json
from stepout.engine.context import Item, context_object
from stepout.engine.frames import ROOT, Frame, Held, index_of, items_id, parent_of
from stepout.engine.turn import Draft

__all__ = ["Visit", "item_of", "located"]


@dataclass(slots=True)
class Visit:
    """See `templates.Context`, which this is for the expressions of its state."""

    draft: Draft
    frame_id: str
    frame: Frame
    state: State
    arrived_from: int | None = None
    """The event before the state's Entered event, while the state is being entered."""
    item: Item | None = None
    """The one whose iteration a Map is about to start."""
    token: str | None = None
    """The token of a callback, while its Task is being scheduled."""

    @property
    def allowance(self) -> Allowance:
        return self.draft.allowance

    @property
    def now(self) -> int:
        return self.draft.now

    def context(self) -> Json:
        item = self.item or self._item()
        return context_object(self.draft.run, self.frame, self.state, item, self.token)

    def variable(self, name: str) -> Document | None:
        """A variable of this scope, or of the next one around that has it."""
        for frame_id, frame in self._scopes():
            kind = self._kind(frame) if frame_id != self.frame_id else None
            if isinstance(kind, Map) and kind.is_distributed:
                # Its states do not see what is assigned outside (developer guide, variables).
                return None
            if name in frame.variables:
                return frame.variables[name]
        return None

    def draw(self) -> bytes:
        return self.draft.entropy.draw()

    def _scopes(self) -> Iterator[tuple[str, Frame]]:
        """This frame and those around it, from the inside out."""
        frame_id, frame = self.frame_id, self.frame
        yield frame_id, frame
        while frame_id != ROOT:
            frame_id = parent_of(frame_id)
            parent = self.draft.look(frame_id)
            assert isinstance(parent, Frame)  # noqa: S101 — a frame outlives its children
            yield frame_id, parent

    def _kind(self, frame: Frame) -> object:
        return self.draft.machine.states[frame.state].kind

    def _item(self) -> Item | None:
        """The item of the innermost iteration that the state belongs to."""
        inner = self.frame_id
        for frame_id, frame in self._scopes():
            is_around = frame_id != self.frame_id
            if is_around and isinstance(self._kind(frame), Map):
                return item_of(self.draft, frame_id, frame, index_of(inner))
            inner = frame_id
        return None


def item_of(draft: Draft, frame_id: str, frame: Frame, index: int) -> Item:
    """An item of a Map that is at work, `frame` being the Map's."""
    items = draft.look(items_id(frame_id))
    assert isinstance(items, Held)  # noqa: S101 — held as long as the Map works
    assert items.value is not None  # noqa: S101 — items are never a failed one's
    assert frame.children is not None  # noqa: S101 — see above
    return Item(index, items.value.value[index], frame.children.are_pairs)


def located(visit: Visit, error: StatesError) -> StatesError:
    """The error with the prefix that AWS gives to those of its interpreter."""
    prefix = (
        f"An error occurred while executing the state '{visit.state.name}' "
        f"(entered at the event id #{visit.frame.entered_id}). "
    )
    return StatesError(error.error, prefix + (error.cause or ""))
