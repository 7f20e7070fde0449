"""Names and ARNs in requests: what AWS takes and how it refuses the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from stepout.api import faults
from stepout.aws.arn import Arn, split_qualifier

__all__ = ["MachineArn", "alias_arn", "check_name", "machine_arn", "role_arn", "version_arn"]

# Developer guide, "Name" of CreateStateMachine and StartSyncExecution: no white space, brackets,
# wildcards, special or control characters, surrogates, noncharacters. Other letters may be used.
_FORBIDDEN: Final = re.compile(
    r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]'
)


def check_name(name: str) -> None:
    if _FORBIDDEN.search(name):
        raise faults.invalid_name(name)


@dataclass(frozen=True, slots=True)
class MachineArn:
    """The ARN of a machine, or of a version or an alias of it."""

    text: str
    machine: str
    """That of the machine."""
    qualifier: str
    """The number of a version, the name of an alias, or empty."""
    region: str

    @property
    def is_qualified(self) -> bool:
        return self.qualifier != ""

    @property
    def is_version(self) -> bool:
        """Whether it is formed as that of a version: names of aliases are no numbers."""
        return _NUMBER.fullmatch(self.qualifier) is not None

    @property
    def number(self) -> int | None:
        """The version's number; None for what is no version, and for numbers with zeros before."""
        return int(self.qualifier) if _VERSION.fullmatch(self.qualifier) else None


_NUMBER: Final = re.compile("[0-9]+")
_VERSION: Final = re.compile("[1-9][0-9]{0,17}")


@lru_cache(4_096)
def machine_arn(text: str) -> MachineArn:
    """The ARN of a state machine, a version or an alias, or AWS's refusal."""
    arn = _parsed(text)
    kind, _, name = arn.resource.partition(":")
    if arn.service != "states":
        raise faults.invalid_arn(text)
    if kind != "stateMachine" or not name:
        raise faults.wrong_resource(kind)
    if "/" in name:
        raise faults.labelled(text)
    machine, qualifier = split_qualifier(text)
    if ":" in name and not qualifier:
        raise faults.invalid_arn(text)
    return MachineArn(text, machine, qualifier, arn.region)


def version_arn(text: str) -> MachineArn:
    """The ARN of a version, or AWS's refusal."""
    arn = machine_arn(text)
    if not arn.is_version:
        raise faults.wrong_resource("stateMachine")
    return arn


def alias_arn(text: str) -> MachineArn:
    """The ARN of an alias, or AWS's refusal."""
    arn = machine_arn(text)
    if arn.is_version or not arn.is_qualified:
        raise faults.wrong_resource("stateMachine")
    return arn


def role_arn(text: str) -> str:
    """The ARN of a role, or AWS's refusal."""
    _parsed(text)
    return text


def _parsed(text: str) -> Arn:
    try:
        return Arn.parse(text)
    except ValueError:
        raise faults.invalid_arn(text) from None
