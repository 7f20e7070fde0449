"""Exceptions of stepout: the caller asked wrongly, or stepout is broken.

    StepoutError
    ├── SettingsError         a setting is missing, malformed or contradicts another
    ├── JsonError             a text is not JSON that Step Functions would read
    ├── PathError             a text is not a JSONPath of the dialect
    │   (what a path misses in a document is data of a run: `asl.jsonpath.PathMiss`)
    ├── DefinitionError       a definition has problems; carries all of them
    ├── PolicyError           an IAM policy has problems; carries all of them
    ├── EgressError           an outgoing request was refused or failed
    │   ├── EgressRefused     the egress policy said no; carries the decision
    │   ├── EgressFailed      network, DNS or TLS failed; carries what and where
    │   └── TokenRefused      an authorization endpoint answered without a token
    ├── StoreError            the store cannot be opened, read or written
    ├── Fenced                another driver has taken over the run
    ├── TaskFailed            a Python function that stands for a Task fails it
    ├── GatewayError          a request did not bring an answer through the gateway
    │   ├── NotCarried        the way cannot carry this request; nothing was sent
    │   │   └── UnknownUpstream   no upstream has its URL; lists those there are
    │   ├── CallRefused       AWS, the server or the gateway said no; nothing reached the API
    │   ├── CallFailed        the call went wrong on the way; it may have reached the API
    │   │   └── CallTimedOut  no answer in time; it may have reached the API
    │   ├── TruncatedResponse the answer came in part
    │   ├── BodyNotCarried    the body of an error answer was asked for, which AWS drops
    │   └── AnswerFailed      the API answered 4xx or 5xx, and `raise_for_status` was asked
    └── ServiceError          an AWS-shaped error answer: code, message, HTTP status

What goes wrong *inside* an execution is data (`asl.states_error.StatesError`), and what is wrong
with a definition is a list of `asl.problems.Problem`; neither is an exception of this tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepout.asl.problems import Problem

__all__ = [
    "AnswerFailed",
    "BodyNotCarried",
    "CallFailed",
    "CallRefused",
    "CallTimedOut",
    "DefinitionError",
    "EgressError",
    "EgressFailed",
    "EgressRefused",
    "Fenced",
    "GatewayError",
    "JsonError",
    "NotCarried",
    "PathError",
    "PolicyError",
    "PolicyProblem",
    "ServiceError",
    "SettingsError",
    "StepoutError",
    "StoreError",
    "TaskFailed",
    "TokenRefused",
    "TruncatedResponse",
    "UnknownUpstream",
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


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """What is wrong at a place of an IAM policy, such as `Statement[2].Condition.StringLike`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PolicyError(StepoutError):
    """An IAM policy has problems; `name` is that of the policy."""

    def __init__(self, name: str, problems: Sequence[PolicyProblem]) -> None:
        self.name = name
        self.problems = tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"The policy {name} cannot be used:{listed}")


class TaskFailed(StepoutError):
    """Raised by a function that stands for a Task: the Task fails with this error and cause."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        texts: tuple[object, object] = (error, "" if cause is None else cause)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"Expected the texts error and cause, found {error!r} and {cause!r}.")
        self.error = writable(error)
        self.cause = None if cause is None else writable(cause)
        super().__init__(error if cause is None else f"{error}: {cause}")


def writable(text: str) -> str:
    """The text without halves of characters, which JSON cannot be written with."""
    return text.encode("utf-8", "replace").decode()


class GatewayError(StepoutError):
    """A request did not bring an answer through the gateway."""


class NotCarried(GatewayError):
    """The way cannot carry this request; nothing was sent. The message says what to do."""


class UnknownUpstream(NotCarried):
    """No upstream has the URL of a request; `known` maps the names of those there are to theirs."""

    def __init__(self, url: str, known: Mapping[str, str]) -> None:
        self.url = url
        self.known = dict(known)
        listed = "".join(f"\n  {name}: {prefix}" for name, prefix in self.known.items())
        super().__init__(f"No upstream has the URL {url}; nothing was sent. Known:{listed}")


class CallRefused(GatewayError):
    """The call was refused before it reached the API.

    `error` and `cause` are those of AWS, the server or the gateway machine.
    """

    def __init__(self, message: str, error: str, cause: str | None = None) -> None:
        self.error = error
        self.cause = cause
        super().__init__(message)


class CallFailed(GatewayError):
    """The call went wrong on the way; it may have reached the API.

    `error` and `cause` are those of AWS, the server or the network.
    """

    def __init__(self, message: str, error: str, cause: str | None = None) -> None:
        self.error = error
        self.cause = cause
        super().__init__(message)


class CallTimedOut(CallFailed):
    """No answer came in time; the call may have reached the API."""


class TruncatedResponse(GatewayError):
    """The API sent a part of its answer only; `content_range` says which."""

    def __init__(self, url: str, content_range: str) -> None:
        self.url = url
        self.content_range = content_range
        super().__init__(
            f"The answer of {url} came in part (Content-Range: {content_range}): an HTTP Task asks "
            "for the first 262,145 bytes and no more. Ask the API for smaller pages."
        )


class BodyNotCarried(GatewayError):
    """The body of an error answer was asked for."""

    def __init__(self, status: int, url: str) -> None:
        self.status = status
        self.url = url
        super().__init__(
            f"{url} answered {status}, and its body was not carried: an HTTP Task drops the bodies "
            "of answers that are not 2xx. A stepout server keeps those that are texts with "
            "--error-bodies."
        )


class AnswerFailed(GatewayError):
    """The API answered 4xx or 5xx."""

    def __init__(self, status: int, reason: str, url: str) -> None:
        self.status = status
        self.url = url
        super().__init__(f"{url} answered {status} {reason}.")


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
