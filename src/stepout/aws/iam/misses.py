"""Why nothing allowed a request: the statements that came close, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stepout.aws.iam.conditions import Condition
from stepout.aws.iam.decision import Source
from stepout.aws.iam.document import Policy, Statement
from stepout.aws.iam.request import Context, Request

__all__ = ["Miss", "misses"]


@dataclass(frozen=True, slots=True)
class Miss:
    """A statement that allows the action, but not this request; `why` are all reasons."""

    source: Source
    why: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source} does not apply: {'; '.join(self.why)}."


def misses(policies: Iterable[Policy], request: Request) -> list[Miss]:
    """The statements that allow the action elsewhere or otherwise; those of fewest reasons first.

    For a request that was refused because no policy allows it: it looks at every statement.
    """
    context = Context(request)
    action = request.action.lower()
    found = [
        Miss(Source(policy.name, policy.kind, statement.label), why)
        for policy in policies
        for statement in policy.statements
        if statement.allows and statement.speaks_of(action)
        if (why := tuple(_reasons(statement, request, context)))
    ]
    return sorted(found, key=lambda miss: len(miss.why))


def _reasons(statement: Statement, request: Request, context: Context) -> Iterator[str]:
    if statement.naming(request.principal) is None:
        yield f"it does not speak of {request.principal.arn}"
    if not statement.is_about(request.resource, context):
        yield f"it is not about {request.resource}"
    for condition in statement.conditions:
        if not condition.holds(context):
            yield _unmet(condition, context)


def _unmet(condition: Condition, context: Context) -> str:
    wanted = " or ".join(f"'{value.text}'" for value in condition.values)
    value = context.get(condition.key.lower())
    found = "none" if value is None else f"'{value}'" if isinstance(value, str) else [*value]
    return f"{condition.operator.name} {condition.key} expects {wanted}, found {found}"
