"""What is wrong with a definition: a value with a stable code, a message and a location."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "DUPLICATE_STATE_NAME",
    "DUPLICATE_VARIABLE_NAME",
    "INVALID_JSONATA_EXPRESSION",
    "INVALID_JSON_DESCRIPTION",
    "INVALID_STATE_NAME",
    "INVALID_VARIABLE_NAME",
    "MISSING_END_STATE",
    "MISSING_TRANSITION_TARGET",
    "NO_DOLLAR",
    "PASS_RESULT_IS_STATIC",
    "RESERVED_VARIABLE_NAME",
    "SCHEMA_VALIDATION_FAILED",
    "TOO_DEEPLY_NESTED",
    "UNSUPPORTED_JSONATA_EXPRESSION",
    "Problem",
]

# The codes of ValidateStateMachineDefinition, an open-ended set by its documentation.
DUPLICATE_STATE_NAME: Final = "DUPLICATE_STATE_NAME"
DUPLICATE_VARIABLE_NAME: Final = "DUPLICATE_VARIABLE_NAME"
INVALID_JSONATA_EXPRESSION: Final = "INVALID_JSONATA_EXPRESSION"
INVALID_JSON_DESCRIPTION: Final = "INVALID_JSON_DESCRIPTION"
INVALID_STATE_NAME: Final = "INVALID_STATE_NAME"
INVALID_VARIABLE_NAME: Final = "INVALID_VARIABLE_NAME"
MISSING_END_STATE: Final = "MISSING_END_STATE"
MISSING_TRANSITION_TARGET: Final = "MISSING_TRANSITION_TARGET"
NO_DOLLAR: Final = "NO_DOLLAR"
PASS_RESULT_IS_STATIC: Final = "PASS_RESULT_IS_STATIC"  # noqa: S105 — it is no password
RESERVED_VARIABLE_NAME: Final = "RESERVED_VARIABLE_NAME"
SCHEMA_VALIDATION_FAILED: Final = "SCHEMA_VALIDATION_FAILED"
TOO_DEEPLY_NESTED: Final = "TOO_DEEPLY_NESTED"
UNSUPPORTED_JSONATA_EXPRESSION: Final = "UNSUPPORTED_JSONATA_EXPRESSION"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding; `location` is AWS's JSON-Pointer-like path (`/States/A/Retry[0]`) or None."""

    code: str
    message: str
    location: str | None

    def __str__(self) -> str:
        # AWS prints a missing location as null (recorded for MISSING_END_STATE).
        return f"{self.code}: {self.message} at {self.location or 'null'}"
