"""Service integrations: what Task states call. One file each, registered by `@integration`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, TypeAlias, TypeVar

from stepout.asl.states_error import StatesError
from stepout.asl.values import PAYLOAD_LIMIT, Json
from stepout.aws.connections import Connection
from stepout.egress.message import Client

__all__ = [
    "Connections",
    "Finder",
    "Integration",
    "Integrations",
    "Permissions",
    "Ports",
    "Scope",
    "Tokens",
    "build",
    "integration",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom an integration works."""

    region: str
    account: str
    role_arn: str
    machine_arn: str
    machine_name: str
    execution_arn: str
    state_name: str
    invocation: int = 0
    """How often the state has called in this execution before."""
    test_case: str | None = None
    """The test case that the execution was started with."""


class Integration(Protocol):
    async def __call__(self, arguments: Json, scope: Scope, /) -> Json | StatesError:
        """Do the work. A failure is an answer, not an exception; cancelling ends the work."""


class Finder(Protocol):
    def find(self, resource: str, scope: Scope) -> Integration | None:
        """What performs a resource for a state, or None where this one does not."""


@dataclass(frozen=True, slots=True)
class Integrations:
    """What performs Tasks: stand-ins first, in their order, then what is served."""

    served: Mapping[str, Integration]
    stand_ins: Sequence[Finder] = ()

    def find(self, resource: str, scope: Scope) -> Integration | None:
        for stand_in in self.stand_ins:
            found = stand_in.find(resource, scope)
            if found is not None:
                return found
        return self.served.get(resource)


class Connections(Protocol):
    async def connection(self, arn: str) -> Connection | None:
        """The connection of an ARN."""


class Tokens(Protocol):
    async def token(self, connection: Connection) -> str:
        """An access token of an OAuth connection; raises `EgressError`."""

    def forget(self, connection: Connection) -> None:
        """The API did not accept the connection's token."""


class Permissions(Protocol):
    def allows(
        self,
        role_arn: str,
        machine_arn: str,
        action: str,
        resource: str,
        context: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether the role of a machine lets it do something."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What integrations may use."""

    egress: Client
    connections: Connections
    tokens: Tokens
    payload_limit: int = PAYLOAD_LIMIT
    """Bytes of an answer's body."""
    keeps_error_bodies: bool = False
    """Extension: an answer that is not 2xx is kept whole in the error's cause."""
    permissions: Permissions | None = None
    """None where roles are not asked."""


_Make: TypeAlias = Callable[[Ports], Integration]
_T = TypeVar("_T", bound=_Make)

_REGISTERED: dict[str, _Make] = {}
_MODULES: Final = ("http",)
"""The modules of this package that hold integrations."""


def integration(resource: str) -> Callable[[_T], _T]:
    """Register what makes the integration of a resource ARN."""

    def register(make: _T) -> _T:
        _REGISTERED[resource] = make
        return make

    return register


def build(ports: Ports) -> dict[str, Integration]:
    """All integrations, by resource ARN."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
    return {resource: make(ports) for resource, make in _REGISTERED.items()}
