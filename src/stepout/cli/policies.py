"""IAM policies for `stepout check`: what is wrong with them, and what may not be meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepout.aws.iam import Kind, Policy, warnings
from stepout.errors import PolicyError

__all__ = ["findings", "is_policy"]


def is_policy(document: Any) -> bool:
    """Whether a document is an IAM policy, not a state machine."""
    return isinstance(document, dict) and "Statement" in document and "States" not in document


def findings(document: dict[str, Any], text: str) -> Iterator[tuple[str, str, str, str]]:
    """Severity, code, message and location of each finding of a policy."""
    try:
        policy = Policy.parse("policy", text, kind=_kind(document))
    except PolicyError as error:
        for problem in error.problems:
            yield "error", "INVALID_POLICY", problem.message, _location(problem.path)
        return
    for found in warnings(policy):
        code = found.code.upper().replace("-", "_")
        yield "warning", code, found.message, _location(found.path)


def _kind(document: dict[str, Any]) -> Kind:
    """What a policy must be attached to, by what its statements have."""
    given = document["Statement"]
    statements = given if isinstance(given, list) else [given]
    tables = [one for one in statements if isinstance(one, dict)]
    if not any("Principal" in one or "NotPrincipal" in one for one in tables):
        return Kind.IDENTITY
    has_resource = any("Resource" in one or "NotResource" in one for one in tables)
    return Kind.RESOURCE if has_resource else Kind.TRUST


def _location(path: str) -> str:
    """`Statement[2].Condition` as `/Statement[2]/Condition`."""
    return f"/{path.replace('.', '/')}"
