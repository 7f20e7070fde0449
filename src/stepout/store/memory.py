"""Machines and connections in memory: a store by itself, and what is read of a database.

Every change is first saved, then seen. Changes are made one at a time, and a caller that leaves
does not stop the change it began: what is saved is always what is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from stepout.aws.arn import Arn
from stepout.aws.connections import Connection
from stepout.store.protocol import Store
from stepout.store.records import KeptMachine, MachineRecord

__all__ = ["MemoryConnections", "MemoryMachines", "Save", "open_memory"]


class _Kept(Protocol):
    @property
    def arn(self) -> str: ...


_T = TypeVar("_T", bound=_Kept)

Save: TypeAlias = Callable[[_T | None, _T | None], Awaitable[None]]
"""Saves what stands in the place of what from now on; None is nothing."""


async def _nowhere(_old: object, _new: object) -> None:
    """Saves nothing."""


class _Items(Generic[_T]):
    """Items by ARN, in the order in which they came."""

    def __init__(self, items: Iterable[_T], save: Save[_T]) -> None:
        self.by_arn = {item.arn: item for item in items}
        self._save = save
        self._turn = asyncio.Lock()

    async def replace(self, was: _T, now: _T) -> bool:
        """Put an item in the place of what it was made from, if that is still there.

        Others may have been at work since it was read; their change is not undone.
        """
        _, new = await self.change(was.arn, lambda old: now if old == was else old)
        return new is now

    async def change(
        self, arn: str, edit: Callable[[_T | None], _T | None]
    ) -> tuple[_T | None, _T | None]:
        """Put under an ARN what `edit` makes of what is there; answers both.

        What `edit` raises is raised, and nothing has changed.
        """
        return await asyncio.shield(self._change(arn, edit))

    def within(self, region: str, account: str) -> Sequence[_T]:
        return [item for arn, item in self.by_arn.items() if _place(arn) == (region, account)]

    async def _change(
        self, arn: str, edit: Callable[[_T | None], _T | None]
    ) -> tuple[_T | None, _T | None]:
        async with self._turn:
            old = self.by_arn.get(arn)
            new = edit(old)
            if new is not old:
                await self._save(old, new)
            if new is not None:
                self.by_arn[arn] = new
            elif old is not None:
                del self.by_arn[arn]
            return old, new


class MemoryMachines:
    """See `Machines`."""

    def __init__(
        self, machines: Iterable[KeptMachine] = (), save: Save[KeptMachine] = _nowhere
    ) -> None:
        self._items = _Items(machines, save)

    async def get(self, arn: str) -> MachineRecord | None:
        kept = self._items.by_arn.get(arn)
        return None if kept is None else kept.record

    async def kept(self, arn: str) -> KeptMachine | None:
        return self._items.by_arn.get(arn)

    async def add(self, machine: KeptMachine) -> bool:
        _, new = await self._items.change(machine.arn, lambda old: machine if old is None else old)
        return new is machine

    async def change(
        self, arn: str, edit: Callable[[KeptMachine | None], KeptMachine | None]
    ) -> KeptMachine | None:
        _, new = await self._items.change(arn, edit)
        return new

    async def remove(self, arn: str) -> bool:
        old, _ = await self._items.change(arn, lambda _old: None)
        return old is not None

    async def list(self, region: str, account: str) -> Sequence[MachineRecord]:
        return [kept.record for kept in self._items.within(region, account)]


class MemoryConnections:
    """See `Connections`."""

    def __init__(
        self, connections: Iterable[Connection] = (), save: Save[Connection] = _nowhere
    ) -> None:
        self._items = _Items(connections, save)

    async def connection(self, arn: str) -> Connection | None:
        return self._items.by_arn.get(arn)

    async def find(self, region: str, account: str, name: str) -> Connection | None:
        return self._find((region, account), name)

    async def add(self, connection: Connection) -> bool:
        place = _place(connection.arn)

        def edit(old: Connection | None) -> Connection | None:
            return connection if self._find(place, connection.name) is None else old

        _, new = await self._items.change(connection.arn, edit)
        return new is connection

    async def replace(self, was: Connection, now: Connection) -> bool:
        return await self._items.replace(was, now)

    async def remove(self, arn: str) -> bool:
        old, _ = await self._items.change(arn, lambda _old: None)
        return old is not None

    async def list(self, region: str, account: str) -> Sequence[Connection]:
        return self._items.within(region, account)

    async def all(self) -> Sequence[Connection]:
        return list(self._items.by_arn.values())

    def _find(self, place: tuple[str, str], name: str) -> Connection | None:
        for arn, connection in self._items.by_arn.items():
            if connection.name == name and _place(arn) == place:
                return connection
        return None


def open_memory() -> Store:
    """A store that ends with the process."""

    async def close() -> None:
        """Nothing is held."""

    return Store(MemoryMachines(), MemoryConnections(), close)


def _place(arn: str) -> tuple[str, str]:
    """Region and account."""
    parsed = Arn.parse(arn)
    return parsed.region, parsed.account
