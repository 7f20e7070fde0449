"""Decisions: yes or no, by which statement, in AWS's words and in plain ones."""

from __future__ import annotations

from dataclasses import dataclass

from stepout.aws.iam.kind import Kind, rules_of
from stepout.aws.iam.request import Request

__all__ = ["Decision", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """The statement that decided."""

    policy: str
    kind: Kind
    statement: str
    """Its Sid or, where it has none, its place: `Statement[2]`."""

    def __str__(self) -> str:
        noun = rules_of(self.kind).implicit
        return f"the statement {self.statement} of the {noun} {self.policy}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is allowed, and why.

    `reason` is one of `allowed`, `root`, `explicit-deny`, `no-identity-policy-allows`,
    `no-boundary-policy-allows`, `no-session-policy-allows`, `no-endpoint-policy-allows`,
    `no-resource-policy-allows` and `no-trust-policy-allows`. `by` is the statement that decided;
    None where none did. `kind` is the kind of policy that refused or, at last, allowed.
    """

    allowed: bool
    reason: str
    kind: Kind
    by: Source | None = None

    @classmethod
    def of(cls, source: Source, *, allows: bool) -> Decision:
        return cls(allows, "allowed" if allows else "explicit-deny", source.kind, source)

    @classmethod
    def missing(cls, kind: Kind) -> Decision:
        """No policy of the kind allows the request."""
        return cls(False, f"no-{kind.value}-policy-allows", kind)

    def explain(self) -> str:
        """A sentence for people."""
        if self.by is not None:
            return f"{'Allowed' if self.allowed else 'Denied'} by {self.by}."
        if self.allowed:
            return "Allowed: the root user of an account needs no policy."
        return f"Denied: no {rules_of(self.kind).implicit} allows it."

    def message(self, request: Request) -> str:
        """The text of AWS's AccessDeniedException; the decision must be a refusal."""
        if self.allowed:
            raise ValueError(f"There is no refusal to tell of: {self.explain()}")
        rules = rules_of(self.kind)
        action = request.action
        why = (
            f"because no {rules.implicit} allows the {action} action"
            if self.by is None
            else f"with an explicit deny in {rules.explicit}"
        )
        return (
            f"User: {request.principal.arn} is not authorized to perform: {action} "
            f"on resource: {request.resource} {why}"
        )
