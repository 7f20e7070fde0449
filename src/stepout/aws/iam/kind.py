"""What a policy is attached to, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Kind", "Rules", "rules_of"]


class Kind(Enum):
    """What a policy is attached to."""

    IDENTITY = "identity"
    """A user, a group or a role."""
    BOUNDARY = "boundary"
    """A user or a role, as a limit of what their identity-based policies grant."""
    SESSION = "session"
    """One session of a role."""
    TRUST = "trust"
    """A role: who may assume it."""
    RESOURCE = "resource"
    """Any other resource."""
    ENDPOINT = "endpoint"
    """A VPC endpoint."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a document of a kind must and may hold, and how AWS speaks of it.

    `largest` counts characters without white space, as IAM does (IAM user guide, "IAM and AWS STS
    quotas"; Amazon VPC quotas). Where AWS has several limits it is the largest of them.
    """

    has_principal: bool
    has_resource: bool
    largest: int
    implicit: str
    """After "because no": …"""
    explicit: str
    """After "with an explicit deny in": …"""


# The texts are those of IAM user guide, "Troubleshoot access denied error messages".
_RULES: Final = {
    Kind.IDENTITY: Rules(
        has_principal=False,
        has_resource=True,
        largest=10_240,
        implicit="identity-based policy",
        explicit="an identity-based policy",
    ),
    Kind.BOUNDARY: Rules(
        has_principal=False,
        has_resource=True,
        largest=6_144,
        implicit="permissions boundary",
        explicit="a permissions boundary",
    ),
    Kind.SESSION: Rules(
        has_principal=False,
        has_resource=True,
        largest=6_144,
        implicit="session policy",
        explicit="a session policy",
    ),
    Kind.TRUST: Rules(
        has_principal=True,
        has_resource=False,
        largest=8_192,
        implicit="role trust policy",
        explicit="the role trust policy",
    ),
    Kind.RESOURCE: Rules(
        has_principal=True,
        has_resource=True,
        largest=20_480,
        implicit="resource-based policy",
        explicit="a resource-based policy",
    ),
    Kind.ENDPOINT: Rules(
        has_principal=True,
        has_resource=True,
        largest=20_480,
        implicit="VPC endpoint policy",
        explicit="a VPC endpoint policy",
    ),
}


def rules_of(kind: Kind) -> Rules:
    return _RULES[kind]
