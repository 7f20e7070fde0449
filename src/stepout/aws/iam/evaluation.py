"""What follows from several policies: may a principal do what it asks for?

A statement that denies wins, wherever it stands. Then each kind of policy that there is must allow:
that of the VPC endpoint, one of the identity, the permissions boundary, one of the session. A
policy of the resource in the same account counts as one of the identity if it names the principal
more directly than by its account; it also passes over the boundary and the session if it names the
very user or session, or everyone. Across accounts, and for the trust policy of a role, the
resource's policy must allow besides. The root user of an account needs no policy of the identity.

Source: IAM user guide, "Policy evaluation logic". In which order AWS looks for what is missing, and
so which kind a refusal names, is documented in part; the endpoint comes first here, as it is the
first that a request passes.

All rules for an action are indexed by resource when the action is first asked for. A decision then
tries those rules only that may match the resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from stepout.aws.iam.decision import Decision, Source
from stepout.aws.iam.document import Policy, Statement
from stepout.aws.iam.index import Index
from stepout.aws.iam.kind import Kind
from stepout.aws.iam.patterns import Pattern
from stepout.aws.iam.principals import Naming
from stepout.aws.iam.request import Context, Request

__all__ = ["Grants", "decide_trust"]

_MOST_ACTIONS: Final = 256
"""Actions whose rules are kept indexed; those of all services that we serve are fewer."""

_RESOURCE: Final = 5
"""The place of the resource in an ARN, behind the account."""

_OF_RESOURCES: Final = (Kind.TRUST, Kind.RESOURCE)
_ANYTHING: Final = Pattern.read("*")
_ROOT: Final = Decision(True, "root", Kind.IDENTITY)


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A statement, ready to decide."""

    statement: Statement
    decision: Decision
    order: int

    def applies(self, request: Request, context: Context) -> bool:
        """Whether its principals, its exceptions and its conditions are those of the request."""
        statement = self.statement
        if statement.principals is not None and statement.naming(request.principal) is None:
            return False
        resources = statement.resources
        if (
            resources is not None
            and resources.is_negated
            and not resources.covers(request.resource, context)
        ):
            return False
        # A generator for `all` would cost as much as a condition, and there may be thousands.
        for condition in statement.conditions:  # noqa: SIM110
            if not condition.holds(context):
                return False
        return True


def _rules(policies: Iterable[Policy], order: Iterator[int]) -> list[_Rule]:
    return [
        _Rule(statement, _decision(policy, statement), next(order))
        for policy in policies
        for statement in policy.statements
    ]


def _decision(policy: Policy, statement: Statement) -> Decision:
    source = Source(policy.name, policy.kind, statement.label)
    return Decision.of(source, allows=statement.allows)


def _indexed(rules: Iterable[_Rule]) -> Index[_Rule]:
    return Index((pattern, rule) for rule in rules for pattern in _resources(rule.statement))


def _resources(statement: Statement) -> Sequence[Pattern]:
    resources = statement.resources
    if resources is None or resources.is_negated:
        return (_ANYTHING,)
    return resources.patterns


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one kind of policy allows, and what is said when that is not enough."""

    allows: Index[_Rule]
    missing: Decision


@dataclass(frozen=True, slots=True)
class _Applicable:
    """What is to be tried for an action."""

    denies: Index[_Rule]
    endpoint: tuple[_Layer, ...]
    identity: _Layer
    limits: tuple[_Layer, ...]


class Grants:
    """What the policies of a principal come to."""

    __slots__ = ("_applicable", "_asked", "_rules")

    def __init__(
        self,
        identity: Sequence[Policy],
        boundary: Policy | None = None,
        session: Sequence[Policy] = (),
        endpoint: Policy | None = None,
    ) -> None:
        given = {
            Kind.ENDPOINT: [endpoint] if endpoint else [],
            Kind.IDENTITY: [*identity],
            Kind.BOUNDARY: [boundary] if boundary else [],
            Kind.SESSION: [*session],
        }
        for kind, policies in given.items():
            for policy in policies:
                if policy.kind is not kind:
                    raise ValueError(
                        f"Expected a policy of the kind {kind.value}, "
                        f"found {policy.name}, of the kind {policy.kind.value}."
                    )
        order = count()
        self._rules = {
            kind: _rules(policies, order)
            for kind, policies in given.items()
            if policies or kind is Kind.IDENTITY
        }
        self._applicable: dict[str, _Applicable] = {}
        self._asked: dict[str, bool] = {}

    def decide(self, request: Request, resource: Policy | None = None) -> Decision:
        """Whether the principal may.

        `resource` is the policy of what is asked for, where it has one; for `sts:AssumeRole` that
        is the trust policy of the role.
        """
        applicable = self._applicable.get(request.action) or self._index(request.action)
        context = Context(request)
        denied = _foremost(applicable.denies, request, context)
        if denied is not None:
            return denied
        own, naming = (None, None) if resource is None else _own(resource, request, context)
        if own is not None and not own.allowed:
            return own
        for layer in applicable.endpoint:
            if _any(layer.allows, request, context) is None:
                return layer.missing
        is_foreign = _is_foreign(request)
        if own is None and (is_foreign or (resource is not None and resource.kind is Kind.TRUST)):
            return Decision.missing(Kind.RESOURCE if resource is None else resource.kind)
        return _limited(applicable, request, context, own, None if is_foreign else naming)

    def asks_for(self, prefix: str) -> bool:
        """Whether a statement looks at a condition key with this beginning, in lower case."""
        found = self._asked.get(prefix)
        if found is None:
            keys = (
                key
                for rules in self._rules.values()
                for rule in rules
                for key in rule.statement.asked_keys()
            )
            found = self._asked[prefix] = any(key.startswith(prefix) for key in keys)
        return found

    def _index(self, action: str) -> _Applicable:
        folded = action.lower()
        rules = {
            kind: [rule for rule in of_kind if rule.statement.speaks_of(folded)]
            for kind, of_kind in self._rules.items()
        }
        layers = {
            kind: _Layer(
                _indexed(rule for rule in of_kind if rule.statement.allows),
                Decision.missing(kind),
            )
            for kind, of_kind in rules.items()
        }
        found = _Applicable(
            _indexed(rule for each in rules.values() for rule in each if not rule.statement.allows),
            tuple(layer for kind, layer in layers.items() if kind is Kind.ENDPOINT),
            layers[Kind.IDENTITY],
            tuple(layer for kind, layer in layers.items() if kind in (Kind.BOUNDARY, Kind.SESSION)),
        )
        if len(self._applicable) >= _MOST_ACTIONS:
            self._applicable.clear()
        self._applicable[action] = found
        return found


def _limited(
    applicable: _Applicable,
    request: Request,
    context: Context,
    own: Decision | None,
    naming: Naming | None,
) -> Decision:
    """By identity, boundary and session, some of which the resource's own policy passes over."""
    decision = own
    if naming is None or naming < Naming.ROLE:
        decision = (
            _ROOT
            if request.principal.type == "Root"
            else _any(applicable.identity.allows, request, context)
        )
    if decision is None:
        return applicable.identity.missing
    if naming is not Naming.ITSELF:
        for layer in applicable.limits:
            if _any(layer.allows, request, context) is None:
                return layer.missing
    return decision


def _any(index: Index[_Rule], request: Request, context: Context) -> Decision | None:
    """What a rule decides that applies."""
    for rule in index.matching(request.resource, context):
        if rule.applies(request, context):
            return rule.decision
    return None


def _foremost(index: Index[_Rule], request: Request, context: Context) -> Decision | None:
    """What the first rule decides of all that apply, in the order of the policies."""
    found: _Rule | None = None
    for rule in index.matching(request.resource, context):
        if (found is None or rule.order < found.order) and rule.applies(request, context):
            found = rule
    return None if found is None else found.decision


def _own(
    policy: Policy, request: Request, context: Context
) -> tuple[Decision | None, Naming | None]:
    """What a resource's own policy says, and how directly it names whom it allows."""
    if policy.kind not in _OF_RESOURCES:
        # One without principals would speak of everyone.
        raise ValueError(f"Expected the policy of a resource, found {policy.name}.")
    action = request.action.lower()
    allowed: Decision | None = None
    best: Naming | None = None
    for rule in _rules([policy], count()):
        statement = rule.statement
        if not (statement.speaks_of(action) and statement.is_about(request.resource, context)):
            continue
        if not rule.applies(request, context):
            continue
        if not statement.allows:
            return rule.decision, None
        naming = statement.naming(request.principal)
        if naming is not None and (best is None or naming > best):
            allowed, best = rule.decision, naming
    return allowed, best


def _is_foreign(request: Request) -> bool:
    """Whether the resource is that of another account; the ARNs of some name none."""
    parts = request.resource.split(":", _RESOURCE)
    if len(parts) <= _RESOURCE:
        return False
    account = parts[_RESOURCE - 1]
    return account != request.principal.account and len(account) == 12 and account.isdigit()


def decide_trust(policy: Policy, request: Request) -> Decision:
    """What the trust policy of a role alone says of who asks for the role.

    That is all for a service. A user or a session that it names by their account needs an
    identity-based policy besides: `Grants.decide` with the trust policy as `resource`.
    """
    decision, _ = _own(policy, request, Context(request))
    return decision or Decision.missing(policy.kind)
