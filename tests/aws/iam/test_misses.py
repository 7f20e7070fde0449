"""What is told of the statements that came close."""

from __future__ import annotations

from typing import Any

from tests.aws.iam.world import ALICE, STRANGER, machine, policy, request, statement, trust

from stepout.aws.iam import misses

CALLING: dict[str, Any] = {"Action": "states:InvokeHTTPEndpoint", "Resource": machine("gateway")}


def test_a_condition_that_does_not_hold_is_told_with_what_was_found() -> None:
    role = policy(
        statement(
            Sid="Stripe",
            **CALLING,
            Condition={
                "StringLike": {"states:HTTPEndpoint": ["https://api.stripe.com/*", "https://x/*"]},
                "StringEquals": {"states:HTTPMethod": "GET"},
            },
        ),
        name="role",
    )
    asked: dict[str, Any] = {"action": CALLING["Action"], "resource": CALLING["Resource"]}
    found = misses(
        [role], request(**asked, states_HTTPEndpoint="https://evil.org/", states_HTTPMethod="GET")
    )
    assert [str(miss) for miss in found] == [
        "the statement Stripe of the identity-based policy role does not apply: StringLike "
        "states:HTTPEndpoint expects 'https://api.stripe.com/*' or 'https://x/*', "
        "found 'https://evil.org/'."
    ]
    (absent,) = misses([role], request(**asked, states_HTTPMethod=["PUT", "POST"]))
    assert absent.why == (
        "StringLike states:HTTPEndpoint expects 'https://api.stripe.com/*' or 'https://x/*', "
        "found none",
        "StringEquals states:HTTPMethod expects 'GET', found ['PUT', 'POST']",
    )


def test_the_nearest_come_first() -> None:
    far = statement(
        Sid="Far", Resource=machine("x"), Condition={"Bool": {"aws:SecureTransport": "true"}}
    )
    near = statement(Sid="Near", NotResource=machine("m"))
    found = misses([policy(far), policy(near)], request())
    assert [(miss.source.statement, len(miss.why)) for miss in found] == [("Near", 1), ("Far", 2)]
    assert found[0].why == (f"it is not about {machine('m')}",)


def test_only_what_allows_the_action_and_does_not_apply_is_told() -> None:
    others = [statement(Action="iam:*"), statement("Deny"), statement(), statement(NotAction="*")]
    assert misses([policy(*others)], request()) == []


def test_whom_a_statement_does_not_speak_of_is_told() -> None:
    found = misses([trust(Principal={"AWS": ALICE.arn})], request(STRANGER, "sts:AssumeRole", "*"))
    assert found[0].why == (f"it does not speak of {STRANGER.arn}",)
