"""The gateway machine: from the upstreams to a definition in the States Language.

    Route ─▶ one Task for each upstream, its connection written in ─▶ the answer
      │                │
      │                └─ error ─▶ Outcome ─▶ Answer   a status that is not 2xx, as data
      └─ no upstream, or not this way ─▶ a Fail state      └▶ Failed   anything else fails

No connection is taken from the input, so no caller can send one API's credential to another. The
longest prefix wins; where its methods do not have the request's, it is refused rather than handed
to a shorter one. An upstream with retries has two Tasks: only what may be sent twice goes to the
one that repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepout.gateway.upstreams import IDEMPOTENT, METHODS, Upstream, Upstreams

__all__ = [
    "METHOD_NOT_ALLOWED",
    "NOT_CLOSED",
    "PASSTHROUGH_NAME",
    "UNKNOWN_UPSTREAM",
    "gateway_machine",
    "passthrough_machine",
]

UNKNOWN_UPSTREAM: Final = "Gateway.UnknownUpstream"
METHOD_NOT_ALLOWED: Final = "Gateway.MethodNotAllowed"
NOT_CLOSED: Final = "Gateway.PathNotClosed"
"""Errors of the machine's own."""

PASSTHROUGH_NAME: Final = "stepout-passthrough"

MAX_SECONDS: Final = 300
"""Of an Express execution (AWS service quotas)."""

Json = dict[str, Any]

_HTTP: Final = "arn:aws:states:::http:invoke"

_REPEATED: Final = [
    *(f"States.Http.StatusCode.{code}" for code in (408, 425, 429, 500, 502, 503, 504)),
    "States.Http.Socket",
    "States.Timeout",
]
"""What may pass by itself; a request that may not be sent twice is not repeated for these."""

_UNSENT: Final = ["Events.ConnectionResource.ConcurrentModification"]
"""Raised before anything is sent, so that every request may be repeated."""

_LEAVES: Final = (
    *("*/..*", "*%2f..*", "*%2F..*", "*%2e*", "*%2E*", "*%5c*", "*%5C*", "*\\\\*"),
    *("*\t*", "*\n*", "*\r*"),
    *("*?*", "*#*"),
)
"""Patterns of URLs that may lead out of a prefix; the query has a member of its own.

Parsers that follow the URL Standard drop tabs and line breaks, so that dots come together."""


def gateway_machine(upstreams: Upstreams, connections: Mapping[str, str]) -> Json:
    """The definition; `connections` maps the name of each upstream to its connection's ARN."""
    states: Json = {"Route": _route(upstreams)}
    for upstream in upstreams:
        for name, retries in _tasks(upstream):
            states[name] = _task(upstream, connections[upstream.name], retries)
    known = ", ".join(upstream.url for upstream in upstreams)
    states |= {
        "Outcome": {
            "Type": "Choice",
            "Choices": [
                _rule("$.Error", "StringMatches", "States.Http.StatusCode.*", "Answer"),
                {"Variable": "$.Cause", "IsPresent": True, "Next": "Failed"},
            ],
            "Default": "Failed without a cause",
        },
        "Answer": {"Type": "Succeed", "Comment": "A status that is not 2xx: Error and Cause."},
        "Failed": {"Type": "Fail", "ErrorPath": "$.Error", "CausePath": "$.Cause"},
        "Failed without a cause": {"Type": "Fail", "ErrorPath": "$.Error"},
        "Not closed": _fail(NOT_CLOSED, "The URL may lead out of its upstream, or has a query."),
        "Unknown upstream": _fail(UNKNOWN_UPSTREAM, f"No upstream has this URL; known: {known}"),
    }
    if any(map(_is_restricted, upstreams)):
        # A state that nothing leads to would be refused.
        cause = "The upstream does not take this method."
        states["Method not allowed"] = _fail(METHOD_NOT_ALLOWED, cause)
    return {
        "Comment": "Calls the APIs of an upstreams file, each with its own connection.",
        "StartAt": "Route",
        "TimeoutSeconds": MAX_SECONDS,
        "States": states,
    }


def passthrough_machine() -> Json:
    """The machine of the article: URL, method and connection come from the input.

    Whoever may start it may send any connection's credential to any host that the role allows.
    """
    return {
        "Comment": (
            "WARNING: the caller chooses URL and connection, so any caller may send any "
            "credential to any host that the role allows. Prefer the gateway."
        ),
        "StartAt": "Call HTTPS API",
        "States": {
            "Call HTTPS API": {
                "Type": "Task",
                "Resource": _HTTP,
                "Parameters": {
                    "ApiEndpoint.$": "$.apiEndpoint",
                    "Method.$": "$.method",
                    "Authentication": {"ConnectionArn.$": "$.connectionArn"},
                    "RequestBody.$": "$.requestBody",
                    "QueryParameters.$": "$.queryParameters",
                    "Headers.$": "$.headers",
                },
                "End": True,
            }
        },
    }


def _route(upstreams: Upstreams) -> Json:
    leaves: Json = {
        "Or": [{"Variable": "$.url", "StringMatches": pattern} for pattern in _LEAVES],
        "Next": "Not closed",
    }
    rules = [rule for upstream in upstreams for rule in _rules(upstream)]
    return {"Type": "Choice", "Choices": [leaves, *rules], "Default": "Unknown upstream"}


def _rules(upstream: Upstream) -> Iterator[Json]:
    """Where the requests of an upstream go, by their method; all that remain are refused."""
    begins = {"Variable": "$.url", "StringMatches": f"{upstream.url}*"}
    tasks = dict(_tasks(upstream))
    if upstream.retries and (methods := _repeatable(upstream)):
        yield {"And": [begins, _is_one_of(methods)], "Next": _repeating(upstream)}
    if upstream.name in tasks:
        if not _is_restricted(upstream):
            yield {**begins, "Next": upstream.name}
            return
        yield {"And": [begins, _is_one_of(upstream.methods)], "Next": upstream.name}
    yield {**begins, "Next": "Method not allowed"}


def _is_restricted(upstream: Upstream) -> bool:
    return set(upstream.methods) != set(METHODS)


def _is_one_of(methods: tuple[str, ...]) -> Json:
    rules = [{"Variable": "$.method", "StringEquals": method} for method in methods]
    return rules[0] if len(rules) == 1 else {"Or": rules}


def _tasks(upstream: Upstream) -> Iterator[tuple[str, int]]:
    """The names of an upstream's Tasks and how often each repeats."""
    repeatable = _repeatable(upstream) if upstream.retries else ()
    if repeatable:
        yield _repeating(upstream), upstream.retries
    if len(repeatable) < len(upstream.methods):
        yield upstream.name, 0


def _repeatable(upstream: Upstream) -> tuple[str, ...]:
    return tuple(method for method in upstream.methods if method in IDEMPOTENT)


def _repeating(upstream: Upstream) -> str:
    return f"{upstream.name}, repeated"


def _task(upstream: Upstream, connection: str, retries: int) -> Json:
    retriers = [_retrier(_UNSENT, 3)]
    if retries:
        retriers.append(_retrier(_REPEATED, retries))
    return {
        "Type": "Task",
        "Resource": _HTTP,
        "Parameters": {
            "ApiEndpoint.$": "$.url",
            "Method.$": "$.method",
            "InvocationConfig": {"ConnectionArn": connection},
            "Headers.$": "$.headers",
            "QueryParameters.$": "$.query",
            "RequestBody.$": "$.body",
        },
        "TimeoutSeconds": upstream.timeout,
        "Retry": retriers,
        "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "Outcome"}],
        "End": True,
    }


def _retrier(errors: list[str], attempts: int) -> Json:
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": 1,
        "MaxAttempts": attempts,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }


def _rule(variable: str, operator: str, value: str, to: str) -> Json:
    return {"Variable": variable, operator: value, "Next": to}


def _fail(error: str, cause: str) -> Json:
    return {"Type": "Fail", "Error": error, "Cause": cause}
