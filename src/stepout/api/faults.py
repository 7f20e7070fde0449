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
    "alias_missing",
    "bad_host",
    "body_of",
    "conflict",
    "denied",
    "from_browser",
    "invalid_arn",
    "invalid_definition",
    "invalid_input",
    "invalid_name",
    "labelled",
    "machine_exists",
    "machine_missing",
    "not_post",
    "not_served",
    "quota_exceeded",
    "resource_missing",
    "role_not_assumable",
    "shutting_down",
    "stopped",
    "throttled",
    "too_large",
    "too_many_tags",
    "unknown_key",
    "unknown_operation",
    "unreadable",
    "validation",
    "wrong_resource",
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


def validation(message: str, reason: str | None = None) -> ServiceError:
    """`reason` is one of the service model's, for programs."""
    if reason is None:
        return ServiceError("ValidationException", message)
    return ServiceError("ValidationException", message, reason=reason)


def invalid_arn(text: str, why: str = "Invalid ARN prefix: ") -> ServiceError:
    return ServiceError("InvalidArn", f"Invalid Arn: '{why}{text}'")


def wrong_resource(kind: str) -> ServiceError:
    """An ARN of Step Functions that is none of what the operation is about."""
    return invalid_arn(kind, "Resource type not valid in this context: ")


def labelled(arn: str) -> ServiceError:
    """An ARN of a distributed Map's child, which no operation here takes."""
    return validation(
        f"Labeled state machine ARNs are not supported by this operation: '{arn}'",
        "API_DOES_NOT_SUPPORT_LABELED_ARNS",
    )


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


def resource_missing(arn: str) -> ServiceError:
    """No machine or activity that could have tags (as recorded on AWS)."""
    return ServiceError("ResourceNotFound", f"Resource not found: '{arn}'", resourceName=arn)


def alias_missing(arn: str) -> ServiceError:
    """No alias, or none of the versions that an alias is to lead to (as recorded on AWS)."""
    return ServiceError(
        "ResourceNotFound",
        "Request references a resource that does not exist.",
        resourceName=arn,
    )


def conflict(message: str) -> ServiceError:
    # The service model gives the status in words.
    return ServiceError("ConflictException", message, status=409)


def quota_exceeded(message: str) -> ServiceError:
    # The service model gives the status in words.
    return ServiceError("ServiceQuotaExceededException", message, status=402)


def too_many_tags(arn: str, most: int) -> ServiceError:
    return ServiceError(
        "TooManyTags",
        f"The number of tags exceeds the limit of {most} for the resource: '{arn}'",
        resourceName=arn,
    )


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
