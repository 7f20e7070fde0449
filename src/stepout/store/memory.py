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
from stepout.store.records import MachineRecord

__all__ = ["MemoryConnections", "MemoryMachines", "Save", "open_memory"]


class _Kept(Protocol):
    @property
    def arn(self) -> str: ...


_T = TypeVar("_T", bound=_Kept)

Save: TypeAlias = Callable[[str, _T | None], Awaitable[None]]
"""Saves what an ARN stands for from now on, or that it stands for nothing."""


async def _nowhere(_arn: str, _item: object) -> None:
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
        return await self.change(was.arn, now, lambda: self.by_arn.get(was.arn) == was)

    async def change(self, arn: str, item: _T | None, may: Callable[[], bool]) -> bool:
        """Put an item, or nothing, under an ARN if it may still be done; answers whether it was."""
        return await asyncio.shield(self._change(arn, item, may))

    def within(self, region: str, account: str) -> Sequence[_T]:
        return [item for arn, item in self.by_arn.items() if _place(arn) == (region, account)]

    async def _change(self, arn: str, item: _T | None, may: Callable[[], bool]) -> bool:
        async with self._turn:
            if not may():
                return False
            await self._save(arn, item)
            if item is None:
                del self.by_arn[arn]
            else:
                self.by_arn[arn] = item
            return True


class MemoryMachines:
    """See `Machines`."""

    def __init__(
        self, records: Iterable[MachineRecord] = (), save: Save[MachineRecord] = _nowhere
    ) -> None:
        self._items = _Items(records, save)

    async def get(self, arn: str) -> MachineRecord | None:
        return self._items.by_arn.get(arn)

    async def add(self, record: MachineRecord) -> bool:
        taken = self._items.by_arn
        return await self._items.change(record.arn, record, lambda: record.arn not in taken)

    async def replace(self, was: MachineRecord, now: MachineRecord) -> bool:
        return await self._items.replace(was, now)

    async def remove(self, arn: str) -> bool:
        return await self._items.change(arn, None, lambda: arn in self._items.by_arn)

    async def list(self, region: str, account: str) -> Sequence[MachineRecord]:
        return self._items.within(region, account)


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
        return await self._items.change(
            connection.arn, connection, lambda: self._find(place, connection.name) is None
        )

    async def replace(self, was: Connection, now: Connection) -> bool:
        return await self._items.replace(was, now)

    async def remove(self, arn: str) -> bool:
        return await self._items.change(arn, None, lambda: arn in self._items.by_arn)

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
