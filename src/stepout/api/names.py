"""Names and ARNs in requests: what AWS takes and how it refuses the rest."""

from __future__ import annotations

import re
from typing import Final

from stepout.api import faults
from stepout.aws.arn import Arn

__all__ = ["check_name", "machine_arn", "role_arn"]

# Developer guide, "Name" of CreateStateMachine and StartSyncExecution: no white space, brackets,
# wildcards, special or control characters, surrogates, noncharacters. Other letters may be used.
_FORBIDDEN: Final = re.compile(
    r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]'
)


def check_name(name: str) -> None:
    if _FORBIDDEN.search(name):
        raise faults.invalid_name(name)


def machine_arn(text: str) -> Arn:
    """The ARN of a state machine, or AWS's refusal."""
    arn = _parsed(text)
    kind, _, name = arn.resource.partition(":")
    if arn.service != "states":
        raise faults.invalid_arn(text)
    if kind != "stateMachine" or not name:
        raise faults.invalid_arn(kind, "Resource type not valid in this context: ")
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
