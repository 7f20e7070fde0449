"""Who calls, and the operations that may be called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from stepout.api.services import Services
from stepout.asl.values import Json

__all__ = ["OPERATIONS", "Caller", "Handler", "operation"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request belongs, by its signature."""

    account: str
    region: str
    access_key_id: str
    trace_header: str | None = None
    started: Callable[[str], None] = field(default=lambda _arn: None, compare=False, repr=False)
    """Told the ARN of an execution that the request has begun."""


Handler: TypeAlias = Callable[[Services, Caller, dict[str, Json]], Awaitable[dict[str, Json]]]

OPERATIONS: Final[dict[tuple[str, str], Handler]] = {}
"""(signing name of the service, operation) → its function; filled by `@operation`."""


def operation(service: str, name: str) -> Callable[[Handler], Handler]:
    """Serve an API operation by the decorated function.

    It takes the request's members, which the service model has checked, and answers the response's.
    """

    def register(handler: Handler) -> Handler:
        OPERATIONS[service, name] = handler
        return handler

    return register
