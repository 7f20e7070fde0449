"""Who asks for what: what a policy is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

__all__ = ["Context", "Principal", "Request", "Values"]

Values: TypeAlias = str | Sequence[str]
"""The value of a context key, or the values of one that may have many."""

PrincipalType: TypeAlias = Literal["User", "AssumedRole", "Root", "Service"]

# What `aws:PrincipalType` is for each (IAM user guide, "AWS global condition context keys").
_TYPES = {"User": "User", "AssumedRole": "AssumedRole", "Root": "Account"}

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user, a session of a role, the root user of an account or a service.

    `arn` is that of the user, of the session (`arn:aws:sts::…:assumed-role/role/session`) or of the
    root user; for a service it is its name. `user_id` is the unique id, for a session with
    `:session`. `services` are all names that a service goes by.
    """

    arn: str
    account: str
    type: PrincipalType
    user_id: str = ""
    role_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    source_identity: str = ""
    """Who began the session, and all sessions that follow from it."""
    services: tuple[str, ...] = ()
    context: Mapping[str, Values] = field(init=False, repr=False, compare=False)
    """What condition keys say of it; names in lower case."""

    def __post_init__(self) -> None:
        if self.type == "AssumedRole" and self.role_arn is None:
            raise ValueError(f"Expected the ARN of the role that {self.arn} is a session of.")
        object.__setattr__(self, "context", MappingProxyType(_context_of(self)))

    @classmethod
    def service(cls, name: str, region: str | None = None) -> Principal:
        """The service of a name such as `states`, with its regional name where there is one."""
        names = [f"{name}.amazonaws.com"]
        if region is not None:
            names += [f"{name}.{region}.amazonaws.com", f"{name}.{region}.amazonaws.com.cn"]
        return cls(names[0], "", "Service", services=tuple(names))


def _context_of(principal: Principal) -> dict[str, Values]:
    """IAM user guide, "AWS global condition context keys", properties of the principal."""
    if principal.type == "Service":
        return {
            "aws:principalisawsservice": "true",
            "aws:principalservicename": principal.arn,
            "aws:principalservicenameslist": principal.services,
        }
    context: dict[str, Values] = {
        "aws:principalisawsservice": "false",
        "aws:principalarn": principal.role_arn or principal.arn,
        "aws:principalaccount": principal.account,
        "aws:principaltype": _TYPES[principal.type],
    }
    if principal.user_id:
        context["aws:userid"] = principal.user_id
    if principal.type == "User":
        context["aws:username"] = principal.arn.rpartition("/")[2]
    if principal.source_identity:
        context["aws:sourceidentity"] = principal.source_identity
    for key, value in principal.tags.items():
        context[f"aws:principaltag/{key.lower()}"] = value
    return context


@dataclass(frozen=True, slots=True)
class Request:
    """What a principal asks for.

    `action` is such as `states:StartExecution`, `resource` an ARN or `*` where the action has none.
    `context` holds the values of condition keys; a key's case does not matter. Of the principal it
    need not say anything, and what it says does not count: the principal knows better.
    """

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, Values] = field(default_factory=lambda: _NOTHING)


class Context:
    """The values of condition keys of a request, put in order when the first is asked for."""

    __slots__ = ("_request", "_values")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._values: dict[str, Values] | None = None

    def get(self, key: str) -> Values | None:
        """The value or values of a key, which is in lower case; None where it is absent."""
        values = self._values
        if values is None:
            values = {name.lower(): value for name, value in self._request.context.items()}
            values.update(self._request.principal.context)
            self._values = values
        return values.get(key)

    def single(self, key: str) -> str | None:
        """The value of a key that has exactly one."""
        value = self.get(key)
        if value is None or isinstance(value, str):
            return value
        return value[0] if len(value) == 1 else None
