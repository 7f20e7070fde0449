"""Parallel and Map: frames below a frame, started, counted and gathered.

A child's end is put down in the draft by `leaving` and looked at here, after the step that made it:
no recursion, however deep scopes nest. A failing child that is not tolerated ends its siblings:
every open command below them is cancelled in the same turn.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from stepout.asl import flow
from stepout.asl.machine import Map, Parallel
from stepout.asl.queries import query_failure, unexpected
from stepout.asl.settings import resolve
from stepout.asl.states_error import RUNTIME, Failure, StatesError, too_large
from stepout.asl.values import Document, Json, dumps
from stepout.engine import leaving
from stepout.engine.context import Item
from stepout.engine.frames import (
    Children,
    Frame,
    Held,
    child_id,
    index_of,
    items_id,
    parent_of,
)
from stepout.engine.turn import Details, Draft, Ended
from stepout.engine.visit import Visit, item_of

__all__ = ["abandon", "enter_map", "enter_parallel", "look_after"]

INLINE_LIMIT: Final = 40
"""Iterations of an inline Map at one time (developer guide, state-map-inline)."""

DISTRIBUTED_LIMIT: Final = 1_000
"""Of a distributed one; AWS: 10,000 child executions."""

MAX_RESULTS: Final = 16 * 1_048_576
"""Bytes of the results of one Parallel or Map, of which a ResultSelector may take its part; ours.

All children run, as they would on AWS, but what is over is not kept.
"""

EXCEEDED: Final = StatesError(
    "States.ExceedToleratedFailureThreshold",
    "The specified tolerated failure threshold was exceeded",
)


# --- Starting -------------------------------------------------------------------------------------


def enter_parallel(visit: Visit, kind: Parallel) -> None:
    """Start every branch with the state's effective input."""
    draft, frame, state = visit.draft, visit.frame, visit.state
    source = flow.select(state.input_path, frame.input, visit)
    arguments = flow.payload_of(state.arguments, source, visit)
    started_id = draft.record(frame, "ParallelStateStarted", dict)
    total = len(kind.branches)
    frame.children = Children(total, total, started=total)
    for index, start_at in enumerate(kind.branches):
        _start(visit, index, start_at, arguments, started_id)


def enter_map(visit: Visit, kind: Map) -> None:
    """Start as many iterations as may run at once."""
    draft, frame = visit.draft, visit.frame
    source = flow.select(visit.state.input_path, frame.input, visit)
    found = _items(visit, kind, source)
    are_pairs = isinstance(found, dict)
    items = [{"Key": key, "Value": value} for key, value in found.items()] if are_pairs else found
    total = len(items)
    most = DISTRIBUTED_LIMIT if kind.is_distributed else INLINE_LIMIT
    children = Children(
        total=total,
        limit=min(resolve(kind.concurrency, source, visit) or most, most),
        tolerated=_tolerated(visit, kind, source, total),
        are_pairs=are_pairs,
    )
    draft.record(frame, "MapStateStarted", lambda: {"length": total})
    frame.children = children
    if total == 0:
        _finish(visit, frame.previous_id)
        return
    draft.put(items_id(visit.frame_id), Held(Document(items)))
    for _ in range(min(children.limit, total)):
        _start_iteration(visit, kind, frame.previous_id)


def _items(visit: Visit, kind: Map, source: Document) -> Json:
    """The array or the object that a Map iterates over; the texts are those recorded on AWS.

    Objects are documented since 2025; in JSONata they are refused, as recorded in 2024.
    """
    if kind.unserved is not None:
        cause = f"The field {kind.unserved} is not served by stepout."
        raise Failure(StatesError(RUNTIME, cause))
    if kind.items.path is not None:
        found = flow.read_path(kind.items.path, source, visit)
        if not isinstance(found, list | dict):
            cause = f'Reference path "{kind.items.path.text}" must point to array.'
            raise Failure(StatesError(RUNTIME, cause))
    elif kind.items.field is not None:
        found = kind.items.field.evaluate(source, visit)
        if not isinstance(found, list):
            raise unexpected(kind.items.text, "Items", "array", found)
    else:
        found = source.value
        if not isinstance(found, list):
            shown = dumps(found).decode()
            raise query_failure(f"Map state input must be an array but was: {shown}")
    return found


def _tolerated(visit: Visit, kind: Map, source: Document, total: int) -> int:
    """How many iterations may fail: the state fails where either limit is exceeded."""
    count = resolve(kind.tolerated_count, source, visit)
    percentage = resolve(kind.tolerated_percentage, source, visit)
    limits = [] if count is None else [count]
    if percentage is not None:
        # In decimals: 323 of 1,000 are 32.3 %, and no binary fraction less.
        limits.append(int(total * Decimal(str(percentage)) / 100))
    return min(limits, default=0)


def _start_iteration(visit: Visit, kind: Map, previous_id: int) -> None:
    """Start the next iteration; its first event points at `previous_id`."""
    draft, frame = visit.draft, visit.frame
    children = _children(frame)
    index = children.started
    item = item_of(draft, visit.frame_id, frame, index)
    source = Document(item.value)
    if kind.item_selector is not None:
        source = _selected(visit, kind, item)
    frame.children = replace(children, started=index + 1)
    started_id = draft.note(previous_id, "MapIterationStarted", _iteration(frame, index))
    _start(visit, index, kind.start_at, source, started_id)


def _selected(visit: Visit, kind: Map, item: Item) -> Document:
    source = flow.select(visit.state.input_path, visit.frame.input, visit)
    around = Visit(
        visit.draft,
        visit.frame_id,
        visit.frame,
        visit.state,
        visit.arrived_from,
        item=item,
    )
    return flow.payload_of(kind.item_selector, source, around)


def _start(visit: Visit, index: int, start_at: str, source: Document, previous_id: int) -> None:
    if source.size > visit.draft.run.payload_limit:
        raise Failure(too_large(visit.state.name))
    frame_id = child_id(visit.frame_id, index)
    child = Frame(state=start_at, input=source, previous_id=previous_id)
    visit.draft.put(frame_id, child)
    visit.draft.make_ready(frame_id, child, start_at)


# --- Ending ---------------------------------------------------------------------------------------


def look_after(draft: Draft) -> None:
    """Deal with the children that have ended, and with what follows from it."""
    while draft.ended and not draft.is_finished:
        ended = draft.ended.pop(0)
        child, parent_id = draft.frame(ended.frame_id), parent_of(ended.frame_id)
        parent = draft.frame(parent_id)
        if child is not None and parent is not None:
            visit = Visit(draft, parent_id, parent, draft.machine.states[parent.state])
            try:
                _end_child(visit, ended, child)
            except Failure as failure:
                abandon(visit)
                leaving.fail(visit, failure)


def _end_child(visit: Visit, ended: Ended, child: Frame) -> None:
    kind = visit.state.kind
    if isinstance(kind, Map):
        _end_iteration(visit, kind, ended, child)
    elif ended.error is not None:
        _fail(visit, ended, child.previous_id, ended.error)
    else:
        _gather(visit, ended)
        if _is_complete(visit.frame):
            _finish(visit, child.previous_id)


def _end_iteration(visit: Visit, kind: Map, ended: Ended, child: Frame) -> None:
    draft, frame = visit.draft, visit.frame
    index, outcome = index_of(ended.frame_id), "Succeeded" if ended.error is None else "Failed"
    ended_id = draft.note(child.previous_id, f"MapIteration{outcome}", _iteration(frame, index))
    children = _children(frame)
    if ended.error is not None and children.failed == children.tolerated:
        is_exceeded = children.tolerated or kind.is_distributed
        error = EXCEEDED if is_exceeded else ended.error
        _fail(visit, ended, child.previous_id, error)
        return
    _gather(visit, ended)
    children = _children(frame)
    if children.started < children.total:
        _start_iteration(visit, kind, child.previous_id)
    elif _is_complete(frame):
        _finish(visit, ended_id)


def _gather(visit: Visit, ended: Ended) -> None:
    """Hold the child's result in the place of its frame, unless all together are too large."""
    children = _children(visit.frame)
    failed = 0 if ended.error is None else 1
    held = children.held + (0 if ended.output is None else ended.output.size)
    is_too_much = held > MAX_RESULTS
    visit.draft.remove(ended.frame_id)
    visit.draft.put(ended.frame_id, Held(None if is_too_much else ended.output))
    visit.frame.children = replace(
        children, ended=children.ended + 1, failed=children.failed + failed, held=held
    )


def _is_complete(frame: Frame) -> bool:
    children = _children(frame)
    return children.ended == children.total


def _finish(visit: Visit, previous_id: int) -> None:
    """All children have ended well enough: their results, in order, are the state's."""
    draft, frame = visit.draft, visit.frame
    if _children(frame).held > MAX_RESULTS:
        leaving.give_up(visit)
        return
    result = _results(visit)
    abandon(visit)
    frame.previous_id = previous_id
    # Recorded on AWS: the Exited event points at the same event, not at this one.
    draft.note(previous_id, f"{visit.state.type}StateSucceeded", dict)
    leaving.leave(visit, result)


def _results(visit: Visit) -> Document:
    """The results as one array; those of tolerated failures are left out."""
    found = []
    for index in range(_children(visit.frame).total):
        held = visit.draft.look(child_id(visit.frame_id, index))
        if isinstance(held, Held) and held.value is not None:
            found.append(held.value)
    # Each has been written already, to be measured.
    encoded = b"[" + b",".join(result.encoded for result in found) + b"]"
    return Document([result.value for result in found], encoded)


def _fail(visit: Visit, ended: Ended, previous_id: int, error: StatesError) -> None:
    """The first failure that is not tolerated ends the state and all its other children."""
    visit.draft.remove(ended.frame_id)
    abandon(visit)
    visit.frame.previous_id = previous_id
    leaving.recover(visit, error)


def abandon(visit: Visit) -> None:
    """End all children and forget their results."""
    if visit.frame.children is not None:
        _drop_children(visit.draft, visit.frame_id, visit.frame)
        visit.frame.children = None


def _drop_children(draft: Draft, frame_id: str, frame: Frame) -> None:
    """Give up all that is open below a frame, the innermost first."""
    children = _children(frame)
    draft.remove(items_id(frame_id))
    for index in range(children.started):
        inner_id = child_id(frame_id, index)
        inner = draft.look(inner_id)
        if isinstance(inner, Frame):
            _abort(draft, inner_id, inner)
            if isinstance(draft.machine.states[frame.state].kind, Map):
                draft.note(inner.previous_id, "MapIterationAborted", _iteration(frame, index))
        if inner is not None:
            draft.remove(inner_id)


def _iteration(frame: Frame, index: int) -> Details:
    """The details of an event of a Map's iteration."""
    return lambda: {"name": frame.state, "index": index}


def _abort(draft: Draft, frame_id: str, frame: Frame) -> None:
    if frame.children is not None:
        _drop_children(draft, frame_id, frame)
    draft.cancel_open(frame)
    state = draft.machine.states[frame.state]
    if not frame.ready and state.type in _ABORTED:
        draft.note(frame.previous_id, f"{state.type}StateAborted", dict)


_ABORTED: Final = ("Task", "Wait", "Parallel", "Map")
"""Types whose abortion has an event (service model)."""


def _children(frame: Frame) -> Children:
    assert frame.children is not None  # noqa: S101 — asked while the state works only
    return frame.children
