"""What the operations work with: made once by the server, passed to each call."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from stepout.api.identities import Directories
from stepout.api.limits import Limits
from stepout.api.sessions import Sessions
from stepout.asl.values import PAYLOAD_LIMIT
from stepout.runtime.authorizer import Authorizer
from stepout.runtime.clock import Clock
from stepout.runtime.execution_logs import ExecutionLogs
from stepout.runtime.express import Express
from stepout.runtime.machines import Machines
from stepout.store.protocol import Store
from stepout.tasks.mocks import Mocks

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    store: Store
    machines: Machines
    express: Express
    logs: ExecutionLogs
    mocks: Mocks
    authorizer: Authorizer
    clock: Clock
    sessions: Sessions
    limits: Limits
    directories: Directories | None = None
    """Who is known and may do what; None where everybody may do everything."""
    payload_limit: int = PAYLOAD_LIMIT
    """Bytes of an execution's input."""
    random_below: Callable[[int], int] = random.randrange
    """A whole number from zero to below the given one, each as often: which version of an alias an
    execution runs."""
