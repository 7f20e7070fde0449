"""The journal of Express executions: in memory and gone with the process, as on AWS."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepout.engine.frames import Stored as StoredFrame
from stepout.engine.history import Event
from stepout.engine.turn import Meta, Run, Turn
from stepout.errors import Fenced, StoreError
from stepout.journal.protocol import Stored

__all__ = ["MemoryJournal"]


@dataclass(slots=True)
class _Record:
    run: Run
    meta: Meta
    rev: int = 0
    frames: dict[str, StoredFrame] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class MemoryJournal:
    """Keeps frames by reference: the engine changes copies only."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    async def create(self, run: Run, turn: Turn) -> None:
        if run.arn in self._records:
            raise StoreError(f"The run {run.arn} exists already.")
        record = self._records[run.arn] = _Record(run, turn.meta)
        _apply(record, turn)

    async def commit(self, arn: str, rev: int, turn: Turn) -> None:
        record = self._records.get(arn)
        if record is None or record.rev != rev:
            raise Fenced(f"The run {arn} is not at revision {rev} any more.")
        _apply(record, turn)

    async def load(self, arn: str) -> Stored | None:
        record = self._records.get(arn)
        if record is None:
            return None
        return Stored(
            record.run, record.rev, record.meta, dict(record.frames), tuple(record.events)
        )

    async def forget(self, arn: str) -> None:
        self._records.pop(arn, None)


def _apply(record: _Record, turn: Turn) -> None:
    record.rev += 1
    record.meta = turn.meta
    record.frames.update(turn.changed)
    for frame_id in turn.removed:
        record.frames.pop(frame_id, None)
    record.events += turn.events
