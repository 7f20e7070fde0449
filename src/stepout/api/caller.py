"""Who calls, and the operations that may be called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from stepout.api.services import Services
from stepout.asl.values import Json
from stepout.aws import arn as arns
from stepout.aws.iam import Grants, Principal

__all__ = [
    "OPERATIONS",
    "Arrival",
    "Caller",
    "Handler",
    "Operation",
    "of_connection",
    "of_machine",
    "of_role",
    "operation",
]


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: the context that policies may ask for."""

    source_ip: str = ""
    is_secure: bool = False
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request belongs, by its signature, and who made it."""

    account: str
    region: str
    access_key_id: str
    principal: Principal
    grants: Grants | None = None
    """What the caller may do; None in open mode, where everyone may do everything."""
    arrival: Arrival = Arrival()
    endpoint: str = ""
    """The id of the interface endpoint that it came through, such as `vpce-0123abcd`."""
    issued: str = ""
    """When a session's credentials were given out, in ISO 8601."""
    trace_header: str | None = None
    started: Callable[[str], None] = field(default=lambda _arn: None, compare=False, repr=False)
    """Told the ARN of an execution that the request has begun."""

    @property
    def account_holder(self) -> str:
        """Whose limits count: in open mode the key's, else those of the user or the role."""
        if self.grants is None:
            return self.access_key_id
        return self.principal.role_arn or self.principal.arn


Handler: TypeAlias = Callable[[Services, Caller, dict[str, Json]], Awaitable[dict[str, Json]]]
Resource: TypeAlias = Callable[[Caller, Mapping[str, Json]], str]
"""The ARN that a request is about, for the policies that name it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that is served."""

    action: str
    """What policies call it, such as `states:StartSyncExecution`."""
    handle: Handler
    resource: Resource | None
    """None where anybody with a key may call."""
    passes: str | None
    """The member with a role that the service will assume: `iam:PassRole` is asked for it."""
    besides: Mapping[str, str]
    """Member → the action that its caller must be allowed, too, where it is given."""
    assumes: bool
    """Whether the resource is a role that the caller becomes: its trust policy is asked, too."""


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {}
"""(signing name of the service, operation) → how it is served; filled by `@operation`."""


def everything(_caller: Caller, _request: Mapping[str, Json]) -> str:
    """For operations whose policies name no resource (service authorization reference)."""
    return "*"


def of_machine(member: str) -> Resource:
    """The state machine that a member names by its ARN or, at creation, by its name; or a version
    or an alias of one."""

    def resource(caller: Caller, request: Mapping[str, Json]) -> str:
        text: str = request[member]
        if text.startswith("arn:"):
            return text.partition("#")[0]
        return arns.state_machine(caller.region, caller.account, text)

    return resource


def of_connection(caller: Caller, request: Mapping[str, Json]) -> str:
    """The connection of a name: policies name it without the UUID at its end."""
    return arns.connection(caller.region, caller.account, request["Name"])


def of_role(_caller: Caller, request: Mapping[str, Json]) -> str:
    """The role that is to be assumed."""
    arn: str = request["RoleArn"]
    return arn


def operation(
    service: str,
    name: str,
    resource: Resource | None = everything,
    *,
    passes: str | None = None,
    besides: Mapping[str, str] = MappingProxyType({}),
    assumes: bool = False,
) -> Callable[[Handler], Handler]:
    """Serve an API operation by the decorated function.

    It takes the request's members, which the service model has checked, and answers the response's.
    """

    def register(handler: Handler) -> Handler:
        OPERATIONS[service, name] = Operation(
            f"{service}:{name}", handler, resource, passes, besides, assumes
        )
        return handler

    return register
