"""Refusals in AWS's words, and reasons in plain ones."""

from __future__ import annotations

import pytest
from tests.aws.iam.world import ALICE, SESSION, machine, request

from stepout.aws.iam import Decision, Kind, Source

IMPLICIT = {
    Kind.IDENTITY: "because no identity-based policy allows the states:StartExecution action",
    Kind.RESOURCE: "because no resource-based policy allows the states:StartExecution action",
    Kind.SESSION: "because no session policy allows the states:StartExecution action",
    Kind.BOUNDARY: "because no permissions boundary allows the states:StartExecution action",
    Kind.ENDPOINT: "because no VPC endpoint policy allows the states:StartExecution action",
    Kind.TRUST: "because no role trust policy allows the states:StartExecution action",
}
EXPLICIT = {
    Kind.IDENTITY: "with an explicit deny in an identity-based policy",
    Kind.RESOURCE: "with an explicit deny in a resource-based policy",
    Kind.SESSION: "with an explicit deny in a session policy",
    Kind.BOUNDARY: "with an explicit deny in a permissions boundary",
    Kind.ENDPOINT: "with an explicit deny in a VPC endpoint policy",
    Kind.TRUST: "with an explicit deny in the role trust policy",
}


@pytest.mark.parametrize("kind", Kind)
def test_what_no_policy_allows_is_told_as_aws_tells_it(kind: Kind) -> None:
    assert Decision.missing(kind).message(request(SESSION)) == (
        f"User: {SESSION.arn} is not authorized to perform: states:StartExecution "
        f"on resource: {machine('m')} {IMPLICIT[kind]}"
    )


@pytest.mark.parametrize("kind", Kind)
def test_what_a_policy_denies_is_told_as_aws_tells_it(kind: Kind) -> None:
    denied = Decision.of(Source("ops", kind, "No"), allows=False)
    assert denied.message(request()) == (
        f"User: {ALICE.arn} is not authorized to perform: states:StartExecution "
        f"on resource: {machine('m')} {EXPLICIT[kind]}"
    )


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (
            Decision.of(Source("ops", Kind.IDENTITY, "Call"), allows=True),
            "Allowed by the statement Call of the identity-based policy ops.",
        ),
        (
            Decision.of(Source("vpce", Kind.ENDPOINT, "Statement[2]"), allows=False),
            "Denied by the statement Statement[2] of the VPC endpoint policy vpce.",
        ),
        (Decision.missing(Kind.BOUNDARY), "Denied: no permissions boundary allows it."),
        (Decision.missing(Kind.TRUST), "Denied: no role trust policy allows it."),
    ],
)
def test_a_decision_is_explained_in_a_sentence(decision: Decision, sentence: str) -> None:
    assert decision.explain() == sentence


def test_what_is_allowed_is_no_refusal() -> None:
    with pytest.raises(ValueError, match="There is no refusal to tell of: Allowed by"):
        Decision.of(Source("ops", Kind.IDENTITY, "Call"), allows=True).message(request())
