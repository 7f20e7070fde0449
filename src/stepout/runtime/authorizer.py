"""Authorises OAuth connections in the background: AUTHORIZING → AUTHORIZED."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from stepout.aws.connections import Connection
from stepout.errors import StoreError
from stepout.runtime.clock import Clock
from stepout.store.protocol import Connections

__all__ = ["Authorise", "Authorizer"]

_log = logging.getLogger("stepout.connection")

Authorise: TypeAlias = Callable[[Connection], Awaitable[str | None]]
"""Fetches a token; answers the StateReason of a failure, or None."""


class Authorizer:
    """One attempt for each connection that is created, updated or found at start."""

    def __init__(self, connections: Connections, authorise: Authorise, clock: Clock) -> None:
        self._connections = connections
        self._authorise = authorise
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: Connection) -> None:
        """Try to authorise a connection that is AUTHORIZING."""
        task = asyncio.create_task(self._try(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _try(self, connection: Connection) -> None:
        reason = await self._authorise(connection)
        if reason is None:
            now = self._clock.now() // 1_000
            current = replace(connection, state="AUTHORIZED", state_reason=None, authorized=now)
        else:
            # As recorded on AWS, a connection whose token endpoint fails stays AUTHORIZING.
            current = replace(connection, state_reason=reason)
        try:
            kept = await self._connections.replace(connection, current)
        except StoreError as error:
            # It stays AUTHORIZING until it is updated, or the server starts again.
            fields = {"arn": connection.arn, "reason": str(error)}
            _log.error("store failed", extra={"fields": fields})
            return
        if not kept:
            # Updated or deleted meanwhile: that change has its own attempt.
            return
        _log.info(
            "connection",
            extra={"fields": {"arn": current.arn, "state": current.state, "reason": reason}},
        )
