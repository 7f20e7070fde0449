"""One execution as a plain object: inputs in, a turn out. No clock, randomness, ids or I/O.

Theory of operation
-------------------
An execution is a set of *frames* (where it stands) and a few counters (`Meta`). `start` makes the
first turn; each `handle` takes what has come in since and makes the next. A *turn* says what
changed and holds *commands*: calls, timers, cancellations, and at last `Finish`. The driver commits
a turn and only then performs its commands; their answers come back as inputs.

- Time and randomness are parameters, so that the same inputs give the same turns.
- A turn is made in a `Draft`, on copies of frames, and installed only on success: an exception out
  of `handle` is a bug of ours and leaves the execution as it was.
- A command id is never used twice and leads back to its frame (`"12@"` + frame id). An answer to
  an id that is not open any more is dropped: it lost a race against a time-out or a stop.
- A turn makes at most `budget` steps into states, fewer where they are costly; then `more` is true
  and the caller should look after others, and take what has come in, before `handle([])`. Frames
  take turns in the order in which they became ready.
- An evaluation that does not fit the event loop raises `NeedsTime` out of a turn that is inline;
  the execution is as it was, and the caller repeats the call elsewhere, with `is_inline` false.
- After every turn: store `meta` and the changed frames, `restore`, go on → same result, same
  history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from stepout.asl.allowance import Allowance
from stepout.asl.machine import Machine
from stepout.asl.states_error import TIMEOUT, StatesError
from stepout.engine import children, history, states
from stepout.engine.commands import Finish, Timer
from stepout.engine.entropy import Entropy
from stepout.engine.frames import ROOT, Frame, Stored
from stepout.engine.inputs import Fired, Heartbeat, Input, Stop
from stepout.engine.turn import Draft, Meta, Run, Turn

__all__ = ["BUDGET", "Execution"]

BUDGET: Final = 100
"""Steps into states that one turn makes, some 1 ms of work."""


class Execution:
    """The state of one run of a machine."""

    __slots__ = ("_frames", "_machine", "_meta", "_ready", "_run")

    def __init__(
        self, machine: Machine, run: Run, meta: Meta, frames: Mapping[str, Stored]
    ) -> None:
        self._machine = machine
        self._run = run
        self._meta = meta
        self._frames = dict(frames)
        self._ready = _ready(frames)

    @classmethod
    def start(
        cls,
        machine: Machine,
        run: Run,
        now: int,
        entropy: bytes,
        budget: int = BUDGET,
        *,
        is_inline: bool = True,
    ) -> tuple[Execution, Turn]:
        """Begin an execution; `now` in milliseconds since the epoch, `entropy` 32 bytes."""
        execution = cls(machine, run, Meta(), {})
        draft = execution._draft(now, entropy, budget, is_inline=is_inline)
        root = Frame(state=machine.start_at, input=run.input)
        draft.put(ROOT, root)
        draft.make_ready(ROOT, root, machine.start_at)
        started = partial(history.started, run.input, run.role_arn, run.version_arn, run.alias_arn)
        draft.note(0, "ExecutionStarted", started)
        execution._set_deadline(draft)
        return execution, execution._install(draft)

    @classmethod
    def restore(
        cls, machine: Machine, run: Run, meta: Meta, frames: Mapping[str, Stored]
    ) -> Execution:
        """An execution as its last committed turn left it."""
        return cls(machine, run, meta, frames)

    @property
    def is_finished(self) -> bool:
        return self._meta.is_finished

    def handle(
        self,
        inputs: Iterable[Input],
        now: int,
        entropy: bytes,
        budget: int = BUDGET,
        *,
        is_inline: bool = True,
    ) -> Turn:
        """Take inputs and go on as far as possible within the budget; raises `NeedsTime`."""
        draft = self._draft(now, entropy, budget, is_inline=is_inline)
        for item in inputs:
            if draft.is_finished:
                break
            self._take(draft, item)
        return self._install(draft)

    def _draft(self, now: int, entropy: bytes, budget: int, *, is_inline: bool) -> Draft:
        return Draft(
            machine=self._machine,
            run=self._run,
            now=now,
            entropy=Entropy(entropy),
            budget=budget,
            allowance=Allowance(is_inline=is_inline),
            base=self._frames,
            ready=[*self._ready],
            event_count=self._meta.events,
            command_count=self._meta.commands,
            readied=self._meta.readied,
            variable_bytes=self._meta.variable_bytes,
            deadline=self._meta.deadline,
            is_finished=self._meta.is_finished,
        )

    def _set_deadline(self, draft: Draft) -> None:
        """The shorter of the machine's TimeoutSeconds and what the service allows."""
        own = None if self._machine.timeout is None else self._machine.timeout * 1_000
        limits = [limit for limit in (own, self._run.limit_ms) if limit is not None]
        if limits:
            draft.deadline = draft.next_id(ROOT)
            draft.commands.append(Timer(draft.deadline, draft.now + min(limits)))

    def _take(self, draft: Draft, item: Input) -> None:
        if isinstance(item, Stop):
            self._stop(draft, item)
        elif item.id == draft.deadline:
            self._time_out(draft, item)
        else:
            frame_id = item.id.partition("@")[2]
            frame = draft.frame(frame_id)
            purpose = frame.open.get(item.id) if frame else None
            if frame is None or purpose is None:
                return
            if isinstance(item, Heartbeat):
                states.beat(draft, frame_id, frame)
                return
            draft.close(frame, item.id)
            draft.allowance.renew()
            states.resume(draft, frame_id, frame, purpose, item)
            children.look_after(draft)

    def _stop(self, draft: Draft, stop: Stop) -> None:
        draft.note(0, "ExecutionAborted", lambda: history.failure(stop.error))
        draft.finish(Finish("ABORTED", error=stop.error))

    def _time_out(self, draft: Draft, item: Input) -> None:
        assert isinstance(item, Fired)  # noqa: S101 — only a timer has the deadline's id
        draft.consumed.add(item.id)
        error = StatesError(TIMEOUT)
        draft.note(0, "ExecutionTimedOut", lambda: history.failure(error))
        draft.finish(Finish("TIMED_OUT", error=error))

    def _install(self, draft: Draft) -> Turn:
        """Enter ready states within the budget, then make the draft the execution's state."""
        more = self._advance(draft)
        turn = draft.turn(more=more)
        for frame_id in turn.removed:
            self._frames.pop(frame_id, None)
        self._frames.update(turn.changed)
        self._ready = draft.ready
        self._meta = turn.meta
        return turn

    def _advance(self, draft: Draft) -> bool:
        """Whether a state is still to be entered when the budget or the allowance is used up."""
        done = 0
        while done < len(draft.ready) and draft.budget > 0 and not draft.allowance.is_low:
            number, frame_id = draft.ready[done]
            done += 1
            frame = draft.frame(frame_id)
            # A frame that was cancelled meanwhile is gone, or is another one that waits its turn.
            if frame is None or frame.ready != number:
                continue
            draft.budget -= 1
            draft.allowance.renew()
            states.enter(draft, frame_id, frame)
            children.look_after(draft)
            if draft.is_finished:
                return False
        del draft.ready[:done]
        return bool(draft.ready)


def _ready(frames: Mapping[str, Stored]) -> list[tuple[int, str]]:
    """The frames whose states are to be entered, in their order."""
    return sorted(
        (stored.ready, frame_id)
        for frame_id, stored in frames.items()
        if isinstance(stored, Frame) and stored.ready
    )
