"""A failure inside an execution: data for Retry and Catch, never an exception that gets out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "DATA_LIMIT_EXCEEDED",
    "HEARTBEAT_TIMEOUT",
    "QUERY_EVALUATION_ERROR",
    "RUNTIME",
    "TIMEOUT",
    "Failure",
    "StatesError",
    "matches",
    "too_large",
]

RUNTIME: Final = "States.Runtime"
TIMEOUT: Final = "States.Timeout"
HEARTBEAT_TIMEOUT: Final = "States.HeartbeatTimeout"
QUERY_EVALUATION_ERROR: Final = "States.QueryEvaluationError"
DATA_LIMIT_EXCEEDED: Final = "States.DataLimitExceeded"


@dataclass(frozen=True, slots=True)
class StatesError:
    """An error name and its cause text; `cause` is None where AWS sends no such field."""

    error: str
    cause: str | None = None
    alias: str | None = None
    """Another name by which retriers and catchers know it: a missed heartbeat is a time-out too."""


class Failure(Exception):
    """Leaves the evaluation of a state early; the engine turns it into its `StatesError`.

    `location` is the field whose JSONata failed, such as `Arguments/FunctionName`.
    """

    def __init__(self, error: StatesError, location: str | None = None) -> None:
        self.error = error
        self.location = location
        super().__init__(error.error)


def matches(names: tuple[str, ...], failed: StatesError) -> bool:
    """Whether a retrier's or catcher's ErrorEquals names this error.

    States.Runtime is never retried or caught, not even by its own name. States.ALL catches
    States.DataLimitExceeded of a task's result, which the documents deny and recordings show
    (of a state's output it is never asked: that fails the execution).
    """
    error = failed.error
    if error == RUNTIME:
        return False
    return (
        error in names
        or failed.alias in names
        or "States.ALL" in names
        or ("States.TaskFailed" in names and error != TIMEOUT)
    )


def too_large(name: str) -> StatesError:
    """The error of a result over the payload limit, worded as recorded on AWS."""
    return StatesError(
        DATA_LIMIT_EXCEEDED,
        f"The state/task '{name}' returned a result with a size exceeding the maximum number of "
        "bytes service limit.",
    )
