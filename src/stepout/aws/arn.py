"""Amazon Resource Names: reading them, and making those of machines, executions and connections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = [
    "Arn",
    "connection",
    "connection_secret",
    "express_execution",
    "partition_of",
    "split_qualifier",
    "state_machine",
]

_PARTS: Final = 6
"""`arn:partition:service:region:account:resource` (IAM user guide, "ARN format")."""

_PARTITIONS: Final = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))
"""Prefix of a region → its partition; all other public regions are in `aws`."""


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN in its parts; `resource` keeps its own colons and slashes."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    @lru_cache(4_096)
    def parse(cls, text: str) -> Arn:
        """Read an ARN; raises `ValueError`. IAM's ARNs have no region, some services no account."""
        parts = text.split(":", _PARTS - 1)
        if len(parts) != _PARTS or parts[0] != "arn" or not (parts[1] and parts[2] and parts[5]):
            raise ValueError(
                f"Expected an ARN, arn:partition:service:region:account:resource, found '{text}'."
            )
        return cls(*parts[1:])

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"


def partition_of(region: str) -> str:
    """The partition that a region belongs to."""
    return next((name for prefix, name in _PARTITIONS if region.startswith(prefix)), "aws")


def state_machine(region: str, account: str, name: str) -> str:
    return f"arn:{partition_of(region)}:states:{region}:{account}:stateMachine:{name}"


_QUALIFIED: Final = 8
"""Parts of the ARN of a version or an alias, `…:stateMachine:NAME:QUALIFIER`; the sixth of those of
Step Functions says what they name."""


def split_qualifier(arn: str) -> tuple[str, str]:
    """The ARN of the machine, and the version or alias that is named of it; other ARNs as they are,
    and an empty text."""
    parts = arn.split(":")
    if len(parts) != _QUALIFIED or parts[5] != "stateMachine":
        return arn, ""
    return arn[: -len(parts[7]) - 1], parts[7]


def express_execution(machine_arn: str, name: str, uuid: str) -> str:
    """The ARN of an Express execution; the UUID tells executions of one name apart."""
    machine = Arn.parse(machine_arn)
    machine_name = machine.resource.partition(":")[2]
    return str(
        Arn(
            machine.partition,
            machine.service,
            machine.region,
            machine.account,
            f"express:{machine_name}:{name}:{uuid}",
        )
    )


def connection(region: str, account: str, name: str, uuid: str = "") -> str:
    """The ARN of a connection; without a UUID the one that policies name it by."""
    last = f"/{uuid}" if uuid else ""
    return f"arn:{partition_of(region)}:events:{region}:{account}:connection/{name}{last}"


def connection_secret(region: str, account: str, name: str, uuid: str, suffix: str) -> str:
    """The ARN of the secret that EventBridge keeps for a connection (as recorded on AWS)."""
    return (
        f"arn:{partition_of(region)}:secretsmanager:{region}:{account}:"
        f"secret:events!connection/{name}/{uuid}-{suffix}"
    )
