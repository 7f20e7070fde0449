"""Exceptions of stepout: the caller asked wrongly, or stepout is broken.

    StepoutError
    ├── SettingsError         a setting is missing, malformed or contradicts another
    ├── JsonError             a text is not JSON that Step Functions would read
    ├── PathError             a text is not a JSONPath of the dialect
    │   (what a path misses in a document is data of a run: `asl.jsonpath.PathMiss`)
    ├── DefinitionError       a definition has problems; carries all of them
    ├── EgressError           an outgoing request was refused or failed
    │   ├── EgressRefused     the egress policy said no; carries the decision
    │   ├── EgressFailed      network, DNS or TLS failed; carries what and where
    │   └── TokenRefused      an authorization endpoint answered without a token
    ├── StoreError            the store cannot be opened, read or written
    ├── Fenced                another driver has taken over the run
    ├── TaskFailed            a Python function that stands for a Task fails it
    └── ServiceError          an AWS-shaped error answer: code, message, HTTP status

What goes wrong *inside* an execution is data (`asl.states_error.StatesError`), and what is wrong
with a definition is a list of `asl.problems.Problem`; neither is an exception of this tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepout.asl.problems import Problem

__all__ = [
    "DefinitionError",
    "EgressError",
    "EgressFailed",
    "EgressRefused",
    "Fenced",
    "JsonError",
    "PathError",
    "ServiceError",
    "SettingsError",
    "StepoutError",
    "StoreError",
    "TaskFailed",
    "TokenRefused",
]


class StepoutError(Exception):
    """Base of all exceptions that stepout raises on purpose."""


class SettingsError(StepoutError):
    """Settings cannot be used; the message lists every problem, one a line."""


class JsonError(StepoutError, ValueError):
    """A text is not JSON. The message is worded as AWS words it where that is known."""


class PathError(StepoutError, ValueError):
    """A text is not a JSONPath."""


class DefinitionError(StepoutError):
    """A state machine definition has problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(", ".join(str(problem) for problem in self.problems))


class TaskFailed(StepoutError):
    """Raised by a function that stands for a Task: the Task fails with this error and cause."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        self.error = error
        self.cause = cause
        super().__init__(error if cause is None else f"{error}: {cause}")


class EgressError(StepoutError):
    """An outgoing request did not bring an answer."""


class EgressRefused(EgressError):
    """The egress policy refused a destination; `reason` says by which rule."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class EgressFailed(EgressError):
    """The network, DNS or TLS failed; the message says what and where, without secrets."""


class TokenRefused(EgressError):
    """An OAuth authorization endpoint answered, but gave no token; the message says why."""


class StoreError(StepoutError):
    """The store cannot be opened, read or written."""


class Fenced(StepoutError):
    """A commit lost: another driver has written this run since it was loaded."""


class ServiceError(StepoutError):
    """An error answer in AWS's shape.

    `code` is the `__type` of the answer, `status` its HTTP status, `members` are further members of
    the modelled exception.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, **members: object) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.members = members
        super().__init__(f"{code}: {message}")
