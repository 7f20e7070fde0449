"""The journal: turns are committed whole, in order, and a late driver is fenced."""

from __future__ import annotations

import pytest

from stepout.asl.parse import parse
from stepout.asl.values import Document
from stepout.engine.execution import Execution
from stepout.engine.frames import Frame
from stepout.engine.turn import Run
from stepout.errors import Fenced, StoreError
from stepout.journal.memory import MemoryJournal

MACHINE = parse('{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Succeed"}}}')
RUN = Run(
    arn="arn:of:run",
    name="n",
    role_arn="r",
    machine_arn="m",
    machine_name="m",
    region="us-east-1",
    account="1",
    started_at=0,
    input=Document({}),
    is_express=True,
    limit_ms=None,
)


async def test_a_run_is_loaded_as_its_last_turn_left_it() -> None:
    journal = MemoryJournal()
    execution, turn = Execution.start(MACHINE, RUN, 0, bytes(32), budget=1)
    await journal.create(RUN, turn)
    stored = await journal.load(RUN.arn)
    assert stored is not None
    assert stored.rev == 1
    frame = stored.frames[""]
    assert isinstance(frame, Frame)
    assert frame.state == "B"
    await journal.commit(RUN.arn, 1, execution.handle([], 0, bytes(32)))
    stored = await journal.load(RUN.arn)
    assert stored is not None
    assert (stored.rev, stored.meta.is_finished, stored.frames) == (2, True, {})


async def test_a_late_driver_is_fenced_and_changes_nothing() -> None:
    journal = MemoryJournal()
    execution, turn = Execution.start(MACHINE, RUN, 0, bytes(32), budget=1)
    await journal.create(RUN, turn)
    later = execution.handle([], 0, bytes(32))
    await journal.commit(RUN.arn, 1, later)
    with pytest.raises(Fenced):
        await journal.commit(RUN.arn, 1, later)
    stored = await journal.load(RUN.arn)
    assert stored is not None
    assert stored.rev == 2


async def test_an_arn_is_taken_once() -> None:
    journal = MemoryJournal()
    _, turn = Execution.start(MACHINE, RUN, 0, bytes(32))
    await journal.create(RUN, turn)
    with pytest.raises(StoreError):
        await journal.create(RUN, turn)


async def test_what_is_forgotten_is_gone() -> None:
    journal = MemoryJournal()
    _, turn = Execution.start(MACHINE, RUN, 0, bytes(32))
    await journal.create(RUN, turn)
    await journal.forget(RUN.arn)
    await journal.forget(RUN.arn)
    assert await journal.load(RUN.arn) is None
    assert len(journal) == 0
    with pytest.raises(Fenced):
        await journal.commit(RUN.arn, 1, turn)
