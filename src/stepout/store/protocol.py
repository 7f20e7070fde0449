"""What the server asks of a store. What a call has answered survives; reads see it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stepout.aws.connections import Connection
from stepout.store.records import KeptMachine, MachineRecord

__all__ = ["Connections", "Machines", "Store"]


class Machines(Protocol):
    async def get(self, arn: str) -> MachineRecord | None:
        """The current revision of a machine."""

    async def kept(self, arn: str) -> KeptMachine | None:
        """A machine with its versions and aliases."""

    async def add(self, machine: KeptMachine) -> bool:
        """Keep a new machine; False where its ARN is taken."""

    async def change(
        self, arn: str, edit: Callable[[KeptMachine | None], KeptMachine | None]
    ) -> KeptMachine | None:
        """Keep what `edit` makes of a machine, all of it or nothing; answers what is kept then.

        No other change comes between what `edit` sees and what it makes of it. What it raises is
        raised, and nothing has changed.
        """

    async def remove(self, arn: str) -> bool:
        """Forget a machine with its versions and aliases; False where there is none."""

    async def list(self, region: str, account: str) -> Sequence[MachineRecord]:
        """The machines of a region and account, in the order of their creation."""


class Connections(Protocol):
    async def connection(self, arn: str) -> Connection | None: ...

    async def find(self, region: str, account: str, name: str) -> Connection | None: ...

    async def add(self, connection: Connection) -> bool:
        """Keep a new connection; False where its region and account have one of its name."""

    async def replace(self, was: Connection, now: Connection) -> bool:
        """Keep a changed connection; False where it is no longer what it was."""

    async def remove(self, arn: str) -> bool:
        """Forget a connection; False where there is none."""

    async def list(self, region: str, account: str) -> Sequence[Connection]:
        """The connections of a region and account, in the order of their creation."""

    async def all(self) -> Sequence[Connection]:
        """The connections of all regions and accounts."""


@dataclass(frozen=True, slots=True)
class Store:
    machines: Machines
    connections: Connections
    close: Callable[[], Awaitable[None]]
