"""Compiled machines: one compilation per definition, the most used ones kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from stepout.asl.machine import Machine
from stepout.asl.parse import parse
from stepout.runtime.pool import EvaluationPool

__all__ = ["Machines"]

_Key: TypeAlias = tuple[str, bool]

_INLINE: Final = 32_768
"""Characters of a definition that is compiled on the event loop, in some 10 ms."""

_KEPT: Final = 16_777_216
"""Characters of the definitions whose machines are kept, a hundred bytes of memory for each."""


class Machines:
    """A machine depends on nothing but its text and type, so these are the key.

    The text of a record is one object, whose hash Python keeps: looking it up costs no more than
    the name of a dictionary.
    """

    def __init__(self, pool: EvaluationPool) -> None:
        self._pool = pool
        self._kept: OrderedDict[_Key, Machine] = OrderedDict()
        self._at_work: dict[_Key, asyncio.Task[Machine]] = {}
        self._size = 0

    async def compile(self, definition: str, *, is_express: bool) -> Machine:
        """The machine of a definition; raises `DefinitionError`."""
        key = (definition, is_express)
        machine = self._kept.get(key)
        if machine is not None:
            self._kept.move_to_end(key)
            return machine
        work = partial(parse, definition, is_express=is_express)
        machine = work() if len(definition) <= _INLINE else await self._apart(key, work)
        self._keep(key, machine)
        return machine

    async def _apart(self, key: _Key, work: Callable[[], Machine]) -> Machine:
        """Compile in the pool, once for all that ask meanwhile."""
        task = self._at_work.get(key)
        if task is None:
            task = self._at_work[key] = asyncio.create_task(self._pool.run(work))
            task.add_done_callback(lambda _task: self._at_work.pop(key))
        return await asyncio.shield(task)

    def _keep(self, key: _Key, machine: Machine) -> None:
        if key not in self._kept:
            self._size += len(key[0])
        self._kept[key] = machine
        while self._size > _KEPT:
            (dropped, _), _ = self._kept.popitem(last=False)
            self._size -= len(dropped)
