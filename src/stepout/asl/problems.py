"""What is wrong with a definition: a value with a stable code, a message and a location."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "DUPLICATE_STATE_NAME",
    "INVALID_JSON_DESCRIPTION",
    "INVALID_STATE_NAME",
    "MISSING_END_STATE",
    "MISSING_TRANSITION_TARGET",
    "NOT_SERVED",
    "SCHEMA_VALIDATION_FAILED",
    "TOO_DEEPLY_NESTED",
    "Problem",
]

# The codes of ValidateStateMachineDefinition, an open-ended set by its documentation.
DUPLICATE_STATE_NAME: Final = "DUPLICATE_STATE_NAME"
INVALID_JSON_DESCRIPTION: Final = "INVALID_JSON_DESCRIPTION"
INVALID_STATE_NAME: Final = "INVALID_STATE_NAME"
MISSING_END_STATE: Final = "MISSING_END_STATE"
MISSING_TRANSITION_TARGET: Final = "MISSING_TRANSITION_TARGET"
SCHEMA_VALIDATION_FAILED: Final = "SCHEMA_VALIDATION_FAILED"

TOO_DEEPLY_NESTED: Final = "TOO_DEEPLY_NESTED"

NOT_SERVED: Final = "NOT_SERVED_BY_STEPOUT"
"""Ours: AWS accepts this part of the language, stepout does not run it yet."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding; `location` is AWS's JSON-Pointer-like path (`/States/A/Retry[0]`) or None."""

    code: str
    message: str
    location: str | None

    def __str__(self) -> str:
        # AWS prints a missing location as null (recorded for MISSING_END_STATE).
        return f"{self.code}: {self.message} at {self.location or 'null'}"
