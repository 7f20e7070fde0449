"""What a correct policy may say without being meant to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.aws.iam.world import machine, policy, statement

from stepout.aws.iam import Kind, closed_host, warnings
from stepout.aws.iam.keys import is_unknown, meant


@pytest.mark.parametrize(
    "pattern",
    [
        "https://api.example.com/*",
        "https://api.example.com/v1/*",
        "https://api.example.com/v?/*",
        "https://api.example.com/",
        "https://api.example.com",
        "https://api.example.com:8443/*",
        "http://localhost:8080/*",
        "https://[2001:db8::1]/*",
        "https://api.example.com/${aws:username}/*",
    ],
)
def test_a_host_is_closed_when_a_slash_ends_it(pattern: str) -> None:
    assert closed_host(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("*", "it does not begin with https://"),
        ("", "it does not begin with https://"),
        ("api.example.com/*", "it does not begin with https://"),
        ("*://api.example.com/*", "it does not begin with https://"),
        ("http?://api.example.com/*", "it does not begin with https://"),
        ("${aws:PrincipalTag/url}/*", "it does not begin with https://"),
        ("https:*", "it does not begin with https://"),
        (
            "https://api.example.com*",
            "so that it matches https://api.example.com.evil.example/, too",
        ),
        ("https://*", "so that it matches https://evil.example/, too"),
        ("https://*.example.com/*", "no slash ends the host before the first *"),
        ("https://api.*/*", "no slash ends the host before the first *"),
        ("https://api.example.com:*/*", "no slash ends the host before the first *"),
        ("https://api?example.com/*", "before the first ?, which may itself be a slash"),
        ("https://${aws:PrincipalTag/host}/*", "the variable ${aws:principaltag/host} may bring"),
        ("https://api.example.com@evil.org/*", "'api.example.com@evil.org' is no host"),
        ("https://api.example.com\\@evil.org/*", "is no host"),
        ("https://api.example.com#/*", "'api.example.com#' is no host"),
        ("https:///*", "'' is no host"),
        ("https://api.example.com:99999999/*", "is no host"),
        ("https://api.example.com/${", "expected a variable"),
    ],
)
def test_an_open_host_is_told_with_its_reason(pattern: str, why: str) -> None:
    found = closed_host(pattern)
    assert found is not None
    assert why in found


def codes(*statements: dict[str, Any], **options: Any) -> list[str]:
    return [finding.code for finding in warnings(policy(*statements, **options))]


GATEWAY = machine("gateway")


def invoking(condition: dict[str, Any], resource: Any = GATEWAY) -> dict[str, Any]:
    return statement(Action="states:InvokeHTTPEndpoint", Resource=resource, Condition=condition)


GOOD = {"StringLike": {"states:HTTPEndpoint": "https://api.example.com/*"}}


def test_a_good_policy_has_no_findings() -> None:
    assert codes(invoking({**GOOD, "StringEquals": {"states:HTTPMethod": "GET"}})) == []
    assert codes(statement("Deny", NotAction="iam:*")) == []
    assert codes(statement(Action="states:StartSyncExecution", Resource="*")) == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, ["any-host"]),
        ({"StringEquals": {"states:HTTPMethod": "GET"}}, ["any-host"]),
        ({"StringNotLike": {"states:HTTPEndpoint": "https://evil.example/*"}}, ["any-host"]),
        ({"StringLikeIfExists": GOOD["StringLike"]}, ["any-host"]),
        ({"ForAllValues:StringLike": GOOD["StringLike"]}, ["for-all-values", "any-host"]),
        ({"ForAnyValue:StringLike": GOOD["StringLike"]}, []),
        ({"StringEquals": {"states:HTTPEndpoint": "https://api.example.com/v1"}}, []),
        ({"StringEquals": {"states:HTTPEndpoint": "https://${aws:username}/"}}, ["open-host"]),
        ({"StringLike": {"STATES:httpendpoint": "https://api.example.com*"}}, ["open-host"]),
        ({"StringLike": {"states:HTTPEndpoint": ["https://*", "https://a/*"]}}, ["open-host"]),
    ],
)
def test_an_http_task_should_be_kept_to_hosts(
    condition: dict[str, Any], expected: list[str]
) -> None:
    assert codes(invoking(condition)) == expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("*", ["any-machine"]),
        (machine("*"), ["any-machine"]),
        ("arn:aws:states:*", ["any-machine"]),
        (f"{machine('m')}:*", []),
        ([machine("a"), machine("b-*")], []),
    ],
)
def test_an_http_task_should_be_kept_to_machines(resource: Any, expected: list[str]) -> None:
    assert codes(invoking(GOOD, resource)) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [("*", True), ("states:*", True), ("states:Invoke*", True), ("states:Start*", False)],
)
def test_wildcards_allow_http_tasks_too(action: str, expected: bool) -> None:
    assert ("any-host" in codes(statement(Action=action))) is expected


def test_only_policies_that_grant_are_asked_about_hosts() -> None:
    assert codes(statement(), kind=Kind.BOUNDARY) == []
    assert codes(statement("Deny")) == []


@pytest.mark.parametrize(
    ("members", "kind", "code"),
    [
        ({"NotAction": "iam:*", "Resource": machine("m")}, Kind.BOUNDARY, "allow-not-action"),
        ({"NotResource": machine("m")}, Kind.BOUNDARY, "allow-not-resource"),
        ({"NotPrincipal": {"AWS": "123456789012"}}, Kind.RESOURCE, "allow-not-principal"),
    ],
)
def test_allowing_all_but_some_is_told(members: dict[str, Any], kind: Kind, code: str) -> None:
    assert codes(statement(**members), kind=kind) == [code]
    assert codes(statement("Deny", **members), kind=kind) == []


def test_for_all_values_with_null_is_good() -> None:
    keys = {"aws:TagKeys": ["a"]}
    alone = statement(Action="iam:*", Condition={"ForAllValues:StringEquals": keys})
    guarded = statement(
        Action="iam:*",
        Condition={"ForAllValues:StringEquals": keys, "Null": {"aws:tagkeys": "false"}},
    )
    assert codes(alone) == ["for-all-values"]
    assert codes(guarded) == []


def test_a_key_that_there_is_not_is_told_with_the_one_that_may_be_meant() -> None:
    asked = statement(
        "Deny",
        Resource="arn:aws:s3:::${aws:usrname}",
        Condition={"StringEquals": {"aws:Weather": "${aws:PrincipalTags/x}"}},
    )
    assert [str(finding) for finding in warnings(policy(asked))] == [
        "unknown-key: There is no condition key aws:Weather. at "
        "Statement[0].Condition.StringEquals.aws:Weather",
        "unknown-key: There is no condition key aws:principaltags/x; did you mean "
        "aws:PrincipalTag/x? at Statement[0].Condition.StringEquals.aws:Weather",
        "unknown-key: There is no condition key aws:usrname; did you mean aws:username? at "
        "Statement[0].Resource",
    ]


@pytest.mark.parametrize(
    ("key", "unknown", "like"),
    [
        ("states:HTTPEndpoints", True, "states:HTTPEndpoint"),
        ("states:HttpEndpoint", False, "states:HTTPEndpoint"),
        ("states:HTTPMethods", True, "states:HTTPMethod"),
        ("aws:SourceIP", False, "aws:SourceIp"),
        ("aws:SourceIpAddress", True, "aws:SourceIp"),
        ("aws:ResourceTag/Cost Center", False, "aws:ResourceTag/Cost Center"),
        ("aws:ResourceTag", True, "aws:ResourceTag/"),
        ("s3:whatever", False, None),
        ("iam:PassedToService", False, None),
    ],
)
def test_keys_of_the_services_here_are_known(key: str, unknown: bool, like: str | None) -> None:
    assert is_unknown(key) is unknown
    if like is not None:
        assert meant(key) == like


def test_variables_in_the_old_version_are_told() -> None:
    asked = statement("Deny", Resource="arn:aws:s3:::${aws:username}")
    assert codes(asked, version="2008-10-17") == ["version-without-variables"]
    assert codes(asked) == []
