"""Errors that callers see: exceptions to AWS's codes, texts and HTTP status.

Texts are those recorded on AWS where one is known; the rest are listed in docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from stepout.asl.problems import Problem
from stepout.errors import ServiceError

__all__ = [
    "ACCESS_DENIED",
    "INTERNAL",
    "NOT_KEPT",
    "bad_host",
    "body_of",
    "denied",
    "from_browser",
    "invalid_arn",
    "invalid_definition",
    "invalid_input",
    "invalid_name",
    "machine_exists",
    "machine_missing",
    "not_post",
    "not_served",
    "role_not_assumable",
    "shutting_down",
    "stopped",
    "throttled",
    "too_large",
    "unknown_key",
    "unknown_operation",
    "unreadable",
    "validation",
]

ACCESS_DENIED: Final = "AccessDeniedException"

INTERNAL: Final = ServiceError(
    "InternalFailure", "The request failed inside the server; its log says why.", status=500
)


NOT_KEPT: Final = ServiceError(
    "ServiceUnavailable",
    "The server cannot keep the change: its store failed, and its log says why.",
    status=503,
)
"""A full disk, above all: nothing has changed, and an SDK may try again."""


def body_of(error: ServiceError) -> bytes:
    """The JSON body of an error answer; boto3 reads the code from `__type` alone."""
    return orjson.dumps({"__type": error.code, "message": error.message, **error.members})


def validation(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def invalid_arn(text: str, why: str = "Invalid ARN prefix: ") -> ServiceError:
    return ServiceError("InvalidArn", f"Invalid Arn: '{why}{text}'")


def invalid_name(name: str) -> ServiceError:
    return ServiceError("InvalidName", f"Invalid Name: '{name}'")


def invalid_input(why: str) -> ServiceError:
    return ServiceError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{why}'")


def invalid_definition(problems: Sequence[Problem]) -> ServiceError:
    found = ", ".join(map(str, problems))
    return ServiceError("InvalidDefinition", f"Invalid State Machine Definition: '{found}'")


def machine_missing(arn: str) -> ServiceError:
    return ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


def machine_exists(arn: str) -> ServiceError:
    return ServiceError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")


def throttled() -> ServiceError:
    return ServiceError("ThrottlingException", "Rate exceeded")


def shutting_down() -> ServiceError:
    return ServiceError(
        "ServiceUnavailable", "The server is shutting down and starts no executions.", status=503
    )


def stopped() -> ServiceError:
    return ServiceError(
        "ServiceUnavailable",
        "The server was shut down before the execution ended; the execution was stopped.",
        status=503,
    )


def denied(why: str) -> ServiceError:
    return ServiceError(ACCESS_DENIED, why)


def role_not_assumable() -> ServiceError:
    return ServiceError(
        ACCESS_DENIED,
        "Neither the global service principal states.amazonaws.com, nor the regional one is "
        "authorized to assume the provided role.",
    )


def from_browser() -> ServiceError:
    return ServiceError(
        ACCESS_DENIED,
        "The request has an Origin header: it comes from a web page. A server in open mode serves "
        "programs only.",
        status=403,
    )


def not_served(operation: str) -> ServiceError:
    return ServiceError(
        "UnknownOperationException", f"stepout does not serve {operation} yet.", status=400
    )


def not_post(method: str, path: str) -> ServiceError:
    return ServiceError(
        "UnknownOperationException", f"Expected POST /, found {method} {path}.", status=404
    )


def unknown_key() -> ServiceError:
    return ServiceError(
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        status=403,
    )


def unknown_operation(target: str | None) -> ServiceError:
    found = "no X-Amz-Target header" if target is None else f"X-Amz-Target '{target}'"
    return ServiceError(
        "UnknownOperationException",
        "Expected X-Amz-Target to name an operation of AWSStepFunctions or AWSEvents, "
        f"found {found}.",
        status=400,
    )


def unreadable(why: str) -> ServiceError:
    return ServiceError("SerializationException", why)


def too_large(limit: int) -> ServiceError:
    return ServiceError(
        "RequestEntityTooLargeException",
        f"The request's body is larger than {limit} bytes.",
        status=413,
    )


def bad_host(authority: str, host: str) -> ServiceError:
    return ServiceError(
        "InvalidRequest",
        f"The request's target names the authority '{authority}', its Host header '{host}'; "
        "they must be equal.",
    )
