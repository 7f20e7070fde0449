"""What several policies come to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.aws.iam.world import (
    ACCOUNT,
    ALICE,
    ASSUME,
    OTHER,
    ROLE,
    ROOT,
    SESSION,
    START,
    STATES,
    STRANGER,
    machine,
    policy,
    request,
    statement,
    trust,
)

from stepout.aws.iam import Grants, Kind, Policy, Principal, Request, decide_trust

ALLOW = statement()
DENY = statement("Deny")


def of(kind: Kind, *statements: dict[str, Any], **members: Any) -> Policy:
    """A policy that speaks of everyone, where its kind has principals."""
    has_principal = kind in (Kind.ENDPOINT, Kind.RESOURCE)
    extra = {"Principal": "*"} if has_principal else {}
    return policy(*({**extra, **each} for each in statements), kind=kind, name=kind.value)


def allowed(*statements: dict[str, Any], **asked: Any) -> bool:
    return Grants([policy(*statements)]).decide(request(**asked)).allowed


def test_nothing_is_allowed_by_nothing() -> None:
    decision = Grants([]).decide(request())
    assert not decision.allowed
    assert decision.reason == "no-identity-policy-allows"
    assert decision.by is None


def test_one_statement_that_allows_is_enough() -> None:
    grants = Grants([policy(statement(Action="iam:*")), policy(statement(Sid="Yes"), name="q")])
    decision = grants.decide(request())
    assert decision.allowed
    assert decision.reason == "allowed"
    assert decision.by is not None
    assert (decision.by.policy, decision.by.statement) == ("q", "Yes")


def test_a_statement_that_denies_wins() -> None:
    for statements in ([ALLOW, DENY], [DENY, ALLOW]):
        decision = Grants([policy(each) for each in statements]).decide(request())
        assert not decision.allowed
        assert decision.reason == "explicit-deny"


@pytest.mark.parametrize(
    ("action", "matches"),
    [
        ("states:StartExecution", True),
        ("STATES:startexecution", True),
        ("states:Start*", True),
        ("states:St?rtExecution", True),
        ("*:StartExecution", True),
        ("*", True),
        ("st*", False),
        ("states:Start", False),
        ("states:StartExecutions", False),
        ("events:*", False),
    ],
)
def test_actions_have_wildcards_and_no_case(action: str, matches: bool) -> None:
    if ":" not in action and action != "*":
        return  # That is no action; `test_document` tells of those.
    assert allowed(statement(Action=action)) is matches
    rest = statement()
    del rest["Action"]
    assert allowed({**rest, "NotAction": action}) is not matches


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*", True),
        (machine("m"), True),
        (machine("M"), False),
        (machine("*"), True),
        (machine("?"), True),
        (machine("??"), False),
        ("arn:aws:states:*", True),
        ("arn:aws:states:*:m", True),
        ("arn:*:m", True),
        ("arn:aws:states:us-east-1:*:stateMachine:m", True),
        ("arn:aws:events:*", False),
        (f"{machine('m')}:*", False),
        (f"{machine('')}${{aws:PrincipalTag/Name, 'm'}}", True),
        (f"{machine('')}${{aws:PrincipalTag/Name}}", False),
    ],
)
def test_resources_have_wildcards_and_case(resource: str, matches: bool) -> None:
    assert allowed(statement(Resource=resource)) is matches
    assert allowed(statement(Resource=[machine("x"), resource])) is matches
    assert allowed(statement(NotResource=resource)) is not matches
    assert allowed(statement(NotResource=[machine("x"), resource])) is not matches


def test_a_resource_may_be_that_of_the_user() -> None:
    own = statement(Resource=machine("${aws:username}-*"))
    assert allowed(own, resource=machine("alice-1"))
    assert not allowed(own, resource=machine("bob-1"))
    assert not allowed(own, resource=machine("${aws:username}-1"))


def test_a_tag_that_is_a_pattern_opens_nothing() -> None:
    own = statement(Resource=machine("${aws:PrincipalTag/Odd}"))
    assert allowed(own, resource=machine("a*"))
    assert not allowed(own, resource=machine("ab"))


def test_the_old_version_takes_variables_for_text() -> None:
    old = policy(statement(Resource=machine("${aws:username}")), version="2008-10-17")
    assert not Grants([old]).decide(request(resource=machine("alice"))).allowed
    assert Grants([old]).decide(request(resource=machine("${aws:username}"))).allowed


def test_an_action_without_resource_asks_for_everything() -> None:
    assert allowed(statement(Resource="*"), action="states:ListStateMachines", resource="*")
    assert not allowed(
        statement(Resource="arn:aws:states:*"), action="states:ListStateMachines", resource="*"
    )


def test_all_operators_and_all_keys_must_hold() -> None:
    both = statement(
        Condition={
            "StringEquals": {"aws:username": "alice", "aws:RequestedRegion": "us-east-1"},
            "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
        }
    )
    good = {"aws_RequestedRegion": "us-east-1", "aws_SourceIp": "10.0.0.1"}
    assert allowed(both, **good)
    for key in good:
        assert not allowed(both, **{**good, key: "1.1.1.1"})
    assert not allowed(both, principal=SESSION, **good)


def test_the_case_of_a_key_does_not_matter() -> None:
    asked = statement(Condition={"StringEquals": {"AWS:requestedregion": "x"}})
    assert allowed(asked, aws_ReQuEsTeDrEgIoN="x")


def test_a_condition_of_a_deny_lets_the_rest_pass() -> None:
    insecure = statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})
    assert allowed(ALLOW, insecure, aws_SecureTransport="true")
    assert not allowed(ALLOW, insecure, aws_SecureTransport="false")
    assert allowed(ALLOW, insecure)


KINDS = {
    Kind.IDENTITY: "no-identity-policy-allows",
    Kind.BOUNDARY: "no-boundary-policy-allows",
    Kind.SESSION: "no-session-policy-allows",
    Kind.ENDPOINT: "no-endpoint-policy-allows",
}


def grants_with(kind: Kind, *statements: dict[str, Any]) -> Grants:
    """All kinds of policies, of which one has other statements than the rest."""
    made = {each: of(each, *(statements if each is kind else [ALLOW])) for each in KINDS}
    return Grants(
        [made[Kind.IDENTITY]], made[Kind.BOUNDARY], [made[Kind.SESSION]], made[Kind.ENDPOINT]
    )


@pytest.mark.parametrize(
    ("members", "asks"),
    [
        ({}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalTag/team": "shop"}}}, False),
        ({"Condition": {"StringEquals": {"AWS:resourcetag/Team": "shop"}}}, True),
        ({"Condition": {"Null": {"aws:ResourceTag/team": "true"}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "${aws:ResourceTag/owner}"}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "aws:ResourceTag/owner"}}}, False),
        ({"Resource": "arn:aws:states:a:1:stateMachine:${aws:ResourceTag/team, 'x'}-*"}, True),
    ],
)
def test_grants_tell_which_condition_keys_they_look_at(members: dict[str, Any], asks: bool) -> None:
    for effect in ("Allow", "Deny"):
        grants = Grants([policy(statement(effect, **members)), policy(ALLOW, name="other")])
        assert grants.asks_for("aws:resourcetag/") is asks
        assert grants.asks_for("aws:resourcetag/") is asks


@pytest.mark.parametrize("kind", KINDS)
def test_grants_of_each_kind_of_policy_tell_their_condition_keys(kind: Kind) -> None:
    tagged = statement(Condition={"StringEquals": {"aws:ResourceTag/team": "shop"}})
    assert grants_with(kind, tagged).asks_for("aws:resourcetag/")
    assert not grants_with(kind, ALLOW).asks_for("aws:resourcetag/")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_policy_must_allow(kind: Kind) -> None:
    assert grants_with(kind, ALLOW).decide(request()).allowed
    decision = grants_with(kind, statement(Action="iam:*")).decide(request())
    assert (decision.allowed, decision.reason, decision.by) == (False, KINDS[kind], None)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_policy_may_deny(kind: Kind) -> None:
    decision = grants_with(kind, ALLOW, {**DENY, "Sid": "No"}).decide(request())
    assert (decision.allowed, decision.reason) == (False, "explicit-deny")
    assert decision.by is not None
    assert (decision.by.kind, decision.by.statement) == (kind, "No")


def test_what_denies_is_told_before_what_does_not_allow() -> None:
    grants = Grants([], session=[of(Kind.SESSION, DENY)])
    assert grants.decide(request()).reason == "explicit-deny"


def test_the_first_statement_that_denies_is_told() -> None:
    first = {**statement("Deny", Resource=machine("*")), "Sid": "First"}
    second = {**statement("Deny", Resource=machine("m")), "Sid": "Second"}
    decision = Grants([policy(ALLOW, first, second)]).decide(request())
    assert decision.by is not None
    assert decision.by.statement == "First"


def test_the_endpoint_is_told_first() -> None:
    assert (
        Grants([], endpoint=of(Kind.ENDPOINT, statement(Action="iam:*"))).decide(request()).reason
        == "no-endpoint-policy-allows"
    )


def test_one_of_several_session_policies_is_enough() -> None:
    session = [of(Kind.SESSION, statement(Action="iam:*")), of(Kind.SESSION, ALLOW)]
    assert Grants([policy(ALLOW)], session=session).decide(request(SESSION)).allowed


def test_an_endpoint_may_be_for_some_principals() -> None:
    endpoint = policy(statement(Principal={"AWS": ROLE}), kind=Kind.ENDPOINT)
    grants = Grants([policy(ALLOW)], endpoint=endpoint)
    assert grants.decide(request(SESSION)).allowed
    assert not grants.decide(request(ALICE)).allowed


def test_a_policy_in_the_place_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a policy of the kind endpoint, found p, of"):
        Grants([], endpoint=policy(ALLOW))
    with pytest.raises(ValueError, match="Expected a policy of the kind identity"):
        Grants([of(Kind.SESSION, ALLOW)])


@pytest.mark.parametrize("kind", [Kind.IDENTITY, Kind.ENDPOINT, Kind.SESSION])
def test_only_the_policy_of_a_resource_tells_whom_it_trusts(kind: Kind) -> None:
    wrong = of(kind, ALLOW)
    with pytest.raises(ValueError, match="Expected the policy of a resource, found"):
        decide_trust(wrong, request())
    with pytest.raises(ValueError, match="Expected the policy of a resource, found"):
        Grants([policy(ALLOW)]).decide(request(), wrong)


def test_the_root_user_needs_no_policy_of_its_own() -> None:
    decision = Grants([]).decide(request(ROOT))
    assert decision.allowed
    assert decision.reason == "root"
    assert decision.explain() == "Allowed: the root user of an account needs no policy."
    assert not Grants([policy(DENY)]).decide(request(ROOT)).allowed
    endpoint = of(Kind.ENDPOINT, statement(Action="iam:*"))
    assert not Grants([], endpoint=endpoint).decide(request(ROOT)).allowed


def test_another_account_must_let_one_in() -> None:
    grants = Grants([policy(ALLOW)])
    asked = request(resource=machine("m", OTHER))
    assert grants.decide(asked).reason == "no-resource-policy-allows"
    assert grants.decide(asked, of(Kind.RESOURCE, ALLOW)).allowed
    own = grants.decide(asked, of(Kind.RESOURCE, {**DENY, "Sid": "Out"}))
    assert own.reason == "explicit-deny"
    assert Grants([]).decide(asked, of(Kind.RESOURCE, ALLOW)).reason == "no-identity-policy-allows"
    assert not Grants([]).decide(request(ROOT, resource=machine("m", OTHER))).allowed


def test_the_account_is_read_where_it_stands() -> None:
    """A name that holds the account's number is no part of the account."""
    assert not allowed(ALLOW, resource=f"arn:aws:states:us-east-1:{OTHER}:x:{ACCOUNT}:y")
    assert allowed(ALLOW, resource="arn:aws:s3:::bucket")
    assert allowed(ALLOW, resource="arn:aws:iam::aws:policy/ReadOnlyAccess")


NAMINGS = {"user": ALICE.arn, "role": ROLE, "session": SESSION.arn, "account": ACCOUNT, "all": "*"}


@pytest.mark.parametrize(
    ("naming", "principal", "needs_identity", "needs_limits"),
    [
        ("user", ALICE, False, False),
        ("session", SESSION, False, False),
        ("all", ALICE, False, False),
        ("role", SESSION, False, True),
        ("account", ALICE, True, True),
        ("account", SESSION, True, True),
    ],
)
def test_how_a_resource_names_one_tells_who_else_must_agree(
    naming: str, principal: Principal, needs_identity: bool, needs_limits: bool
) -> None:
    resource = policy(statement(Principal={"AWS": NAMINGS[naming]}), kind=Kind.RESOURCE)
    asked = request(principal)
    nothing = statement(Action="iam:*")
    assert Grants([]).decide(asked, resource).allowed is not needs_identity
    for boundary, session in (
        (of(Kind.BOUNDARY, nothing), []),
        (None, [of(Kind.SESSION, nothing)]),
    ):
        limited = Grants([policy(ALLOW)], boundary, session)
        assert limited.decide(asked, resource).allowed is not needs_limits
    assert Grants([policy(ALLOW)]).decide(asked, resource).allowed


def test_a_resource_that_does_not_name_one_does_not_matter_within_an_account() -> None:
    resource = policy(statement(Principal={"AWS": OTHER}), kind=Kind.RESOURCE)
    assert Grants([policy(ALLOW)]).decide(request(), resource).allowed
    assert not Grants([]).decide(request(), resource).allowed


def test_the_most_direct_naming_of_a_resource_counts() -> None:
    resource = policy(
        statement(Principal={"AWS": ACCOUNT}),
        statement(Principal={"AWS": ALICE.arn}),
        kind=Kind.RESOURCE,
    )
    assert Grants([]).decide(request(), resource).allowed


def assuming(principal: Principal, **context: str) -> Request:
    return request(principal, ASSUME, ROLE, **context)


@pytest.mark.parametrize(
    ("trusted", "principal", "expected"),
    [
        ({"Service": "states.amazonaws.com"}, STATES, True),
        ({"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]}, STATES, True),
        ({"Service": "states.us-east-1.amazonaws.com"}, STATES, True),
        ({"Service": "events.amazonaws.com"}, STATES, False),
        ({"Service": "states.amazonaws.com"}, ALICE, False),
        ({"AWS": ACCOUNT}, ALICE, True),
        ({"AWS": ACCOUNT}, STATES, False),
        ({"AWS": ACCOUNT}, STRANGER, False),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, STRANGER, True),
        ({"AWS": ROLE}, SESSION, True),
        ({"AWS": SESSION.arn}, SESSION, True),
        ({"AWS": ALICE.arn}, SESSION, False),
        ("*", STRANGER, True),
        ({"Federated": "accounts.google.com"}, ALICE, False),
    ],
)
def test_a_role_trusts_whom_it_names(trusted: Any, principal: Principal, expected: bool) -> None:
    decision = decide_trust(trust(Principal=trusted), assuming(principal))
    assert decision.allowed is expected
    assert decision.reason == ("allowed" if expected else "no-trust-policy-allows")


def test_a_trust_policy_has_conditions() -> None:
    guarded = trust(
        Principal={"Service": "states.amazonaws.com"},
        Condition={
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
            "ArnLike": {"aws:SourceArn": machine("*")},
        },
    )
    good = {"aws_SourceAccount": ACCOUNT, "aws_SourceArn": machine("gateway")}
    assert decide_trust(guarded, assuming(STATES, **good)).allowed
    assert not decide_trust(guarded, assuming(STATES)).allowed
    assert not decide_trust(
        guarded, assuming(STATES, **{**good, "aws_SourceAccount": OTHER})
    ).allowed


def test_a_trust_policy_may_deny() -> None:
    both = policy(
        {"Effect": "Allow", "Action": ASSUME, "Principal": "*"},
        {"Sid": "Bar", "Effect": "Deny", "Action": "sts:*", "Principal": {"AWS": ACCOUNT}},
        kind=Kind.TRUST,
    )
    assert decide_trust(both, assuming(ALICE)).reason == "explicit-deny"
    assert decide_trust(both, assuming(STRANGER)).allowed


def test_trust_is_for_the_action_that_it_names() -> None:
    assert not decide_trust(trust(Principal="*"), request(ALICE, "sts:TagSession", ROLE)).allowed


def test_a_deny_with_not_principal_spares_whom_it_names_in_full() -> None:
    def bar(*spared: str) -> Policy:
        return policy(
            {"Effect": "Allow", "Action": ASSUME, "Principal": "*"},
            {"Effect": "Deny", "Action": ASSUME, "NotPrincipal": {"AWS": [*spared]}},
            kind=Kind.TRUST,
        )

    assert not decide_trust(bar(ALICE.arn), assuming(ALICE)).allowed
    assert decide_trust(bar(ALICE.arn, ACCOUNT), assuming(ALICE)).allowed
    assert not decide_trust(bar(ALICE.arn, ACCOUNT), assuming(SESSION)).allowed


def test_a_role_must_trust_even_within_an_account() -> None:
    """And a user who is trusted by name needs no policy of their own."""
    grants = Grants([policy(ALLOW)])
    stranger = trust(Principal={"Service": "states.amazonaws.com"})
    assert grants.decide(assuming(ALICE), stranger).reason == "no-trust-policy-allows"
    assert Grants([]).decide(assuming(ALICE), trust(Principal={"AWS": ALICE.arn})).allowed
    account = trust(Principal={"AWS": ACCOUNT})
    assert Grants([]).decide(assuming(ALICE), account).reason == "no-identity-policy-allows"
    assert grants.decide(assuming(ALICE), account).allowed


def test_across_accounts_both_must_agree() -> None:
    named = trust(Principal={"AWS": STRANGER.arn})
    assert Grants([]).decide(assuming(STRANGER), named).reason == "no-identity-policy-allows"
    assert Grants([policy(ALLOW)]).decide(assuming(STRANGER), named).allowed


def test_passing_a_role_may_be_limited_to_a_service() -> None:
    passing = statement(
        Action="iam:PassRole",
        Resource=ROLE,
        Condition={"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}},
    )
    asked = {"action": "iam:PassRole", "resource": ROLE}
    assert allowed(passing, **asked, iam_PassedToService="states.amazonaws.com")
    assert not allowed(passing, **asked, iam_PassedToService="lambda.amazonaws.com")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/v1/charges", True),
        ("https://api.example.com/", True),
        ("https://api.example.com", False),
        ("https://api.example.com.evil.org/", False),
        ("https://evil.org/?https://api.example.com/", False),
        ("http://api.example.com/", False),
    ],
)
def test_an_http_task_goes_where_its_role_lets_it(url: str, expected: bool) -> None:
    calling = statement(
        Action="states:InvokeHTTPEndpoint",
        Resource=machine("gateway"),
        Condition={
            "StringEquals": {"states:HTTPMethod": ["GET", "POST"]},
            "StringLike": {"states:HTTPEndpoint": "https://api.example.com/*"},
        },
    )
    asked = {"action": "states:InvokeHTTPEndpoint", "resource": machine("gateway")}
    assert allowed(calling, **asked, states_HTTPMethod="GET", states_HTTPEndpoint=url) is expected
    assert not allowed(calling, **asked, states_HTTPMethod="PUT", states_HTTPEndpoint=url)


def test_many_actions_do_not_fill_the_memory() -> None:
    grants = Grants([policy(statement(Action="states:*"))])
    for number in range(2_000):
        assert not grants.decide(request(action=f"x:{number}")).allowed
    assert grants.decide(request()).allowed
    assert len(grants._applicable) <= 256


def test_the_case_of_an_action_that_is_asked_for_does_not_matter() -> None:
    assert allowed(statement(Action=START), action="STATES:STARTEXECUTION")
