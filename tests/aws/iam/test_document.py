"""Documents: what is read, and what is told of those that are not."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from tests.aws.iam.world import ACCOUNT, policy, statement

from stepout.aws.iam import Kind, Policy
from stepout.errors import PolicyError, StepoutError

WITH_PRINCIPAL = (Kind.TRUST, Kind.RESOURCE, Kind.ENDPOINT)
WITHOUT_PRINCIPAL = (Kind.IDENTITY, Kind.BOUNDARY, Kind.SESSION)


def problems(document: Any, kind: Kind = Kind.IDENTITY) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        Policy.parse("p", document, kind=kind)
    return [str(problem) for problem in caught.value.problems]


def of(members: dict[str, Any], **top: Any) -> list[str]:
    """The problems of a document of one statement."""
    return problems({"Version": "2012-10-17", "Statement": members, **top})


def test_a_whole_policy_is_read() -> None:
    read = Policy.parse(
        "gateway",
        json.dumps(
            {
                "Version": "2012-10-17",
                "Id": "any text",
                "Statement": [
                    {
                        "Sid": "Call",
                        "Effect": "Allow",
                        "Action": ["states:StartSyncExecution", "states:Describe*"],
                        "Resource": "arn:aws:states:*:*:stateMachine:gateway",
                        "Condition": {
                            "StringLike": {"aws:username": ["a*", "b"], "aws:UserAgent": "x"},
                            "Bool": {"aws:SecureTransport": True},
                            "NumericLessThan": {"aws:MultiFactorAuthAge": 3600},
                        },
                    },
                    {"Effect": "Deny", "NotAction": "iam:*", "NotResource": ["arn:aws:s3:::x"]},
                ],
            }
        ),
        kind=Kind.IDENTITY,
    )
    call, other = read.statements
    assert (read.name, read.kind, read.has_variables) == ("gateway", Kind.IDENTITY, True)
    assert (call.label, call.path, call.allows) == ("Call", "Statement[0]", True)
    assert [p.text for p in call.actions.patterns] == [
        "states:startsyncexecution",
        "states:describe*",
    ]
    assert [(c.operator.name, c.key) for c in call.conditions] == [
        ("StringLike", "aws:username"),
        ("StringLike", "aws:UserAgent"),
        ("Bool", "aws:SecureTransport"),
        ("NumericLessThan", "aws:MultiFactorAuthAge"),
    ]
    assert [v.text for c in call.conditions[2:] for v in c.values] == ["true", "3600"]
    assert (other.label, other.allows, other.actions.is_negated) == ("Statement[1]", False, True)
    assert other.resources is not None
    assert other.resources.is_negated


def test_a_statement_may_have_no_conditions() -> None:
    assert policy(statement(Condition={})).statements[0].conditions == ()


def test_one_statement_needs_no_list() -> None:
    read = Policy.parse("p", {"Statement": statement()}, kind=Kind.IDENTITY)
    assert len(read.statements) == 1
    assert not read.has_variables


def test_a_document_may_be_any_mapping() -> None:
    document = MappingProxyType({"Statement": MappingProxyType(statement())})
    assert Policy.parse("p", document, kind=Kind.IDENTITY).statements[0].allows


def test_an_error_tells_the_policy_and_each_problem_on_its_line() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse("mine", {"Statement": {"Effect": "allow"}}, kind=Kind.IDENTITY)
    assert isinstance(caught.value, StepoutError)
    assert caught.value.name == "mine"
    assert str(caught.value).splitlines() == [
        "The policy mine cannot be used:",
        "  Statement[0].Effect: expected 'Allow' or 'Deny', found 'allow'.",
        "  Statement[0]: expected either Action or NotAction, found neither.",
        "  Statement[0]: expected either Resource or NotResource, found neither.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected JSON: Expecting value: line 1 column 1 (char 0)."),
        ("{", "expected JSON: "),
        ("[]", "expected an object, found a list."),
        ("null", "expected an object, found null."),
        ("3", "expected an object, found the number 3."),
        ('"x"', "expected an object, found 'x'."),
        ("true", "expected an object, found a boolean."),
        ("[" * 100_000, "expected JSON of few levels, found too many."),
        ('{"a":' * 20_000, "expected JSON of few levels, found too many."),
        ('{"Version": NaN}', "expected JSON: NaN is no value of JSON."),
        ("9" * 5_000, "expected an object, found the number 9"),
        ("{}", "Statement: expected one statement or a list of them, found none."),
        ('{"Statement": []}', "Statement: expected a statement, found an empty list."),
        ('{"Statement": 1}', "Statement[0]: expected an object, found the number 1."),
        ('{"Statement": [[]]}', "Statement[0]: expected an object, found a list."),
    ],
)
def test_what_is_no_document_is_told(text: str, told: str) -> None:
    assert problems(text)[0].startswith(told)


def test_what_cannot_be_written_as_json_is_told() -> None:
    circle: dict[str, Any] = {}
    circle["Statement"] = circle
    assert problems(circle)[0].startswith("expected JSON: ")
    assert problems({"Statement": {1, 2}})[0].startswith("expected JSON: ")
    assert problems({("a",): 1})[0].startswith("expected JSON: ")


def test_all_problems_are_told_at_once() -> None:
    bad = {
        "Sid": "no spaces",
        "Effect": "Permit",
        "Action": ["states", "states:*", 3],
        "NotResource": "machine",
        "Resources": "*",
        "Principal": "*",
        "Condition": {
            "StringLikes": {"aws:username": "x"},
            "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "ten", "10.0.0.0/99"]},
            "Bool": {"SecureTransport": "yes"},
            "Null": [],
        },
    }
    assert of(bad, Name="x") == [
        "Name: there is no such element.",
        "Statement[0].Sid: expected letters and digits only, found 'no spaces'.",
        "Statement[0].Resources: there is no such element; did you mean Resource?",
        "Statement[0].Effect: expected 'Allow' or 'Deny', found 'Permit'.",
        "Statement[0].Action[0]: expected '*' or service:Action, found 'states'.",
        "Statement[0].Action[2]: expected a text, found the number 3.",
        "Statement[0].NotResource: expected '*' or an ARN, found 'machine'.",
        "Statement[0].Principal: expected none: the policy speaks of who it is attached to.",
        "Statement[0].Condition.StringLikes: there is no such operator; did you mean StringLike?",
        "Statement[0].Condition.IpAddress.aws:SourceIp[1]: "
        "expected an IP address or a network such as 203.0.113.0/24, found 'ten'.",
        "Statement[0].Condition.IpAddress.aws:SourceIp[2]: "
        "expected an IP address or a network such as 203.0.113.0/24, found '10.0.0.0/99'.",
        "Statement[0].Condition.Bool.SecureTransport: expected a key such as aws:SourceIp.",
        "Statement[0].Condition.Bool.SecureTransport: expected true or false, found 'yes'.",
        "Statement[0].Condition.Null: expected an object, found a list.",
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"Version": "2012-10-17", "Version": "2008-10-17", "Statement": %s}', ""),
        ('{"Statement": {"Effect": "Deny", "Effect": "Allow", "Action": "*", "Resource": "*"}}', "Statement[0]"),
        (
            '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": '
            '{"Bool": {"a:b": "true"}, "Bool": {"a:c": "true"}}}}',
            "Statement[0].Condition",
        ),
        (
            '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": '
            '{"Bool": {"a:b": "true", "a:b": "false"}}}}',
            "Statement[0].Condition.Bool",
        ),
    ],
)  # fmt: skip
def test_a_name_may_stand_once_only(text: str, path: str) -> None:
    found = problems(text.replace("%s", json.dumps(statement())))
    assert len(found) == 1
    assert found[0].startswith(f"{path}: expected each name once" if path else "expected each name")


def test_an_id_is_a_text() -> None:
    assert of(statement(), Id=3) == ["Id: expected a text, found the number 3."]


@pytest.mark.parametrize("version", ["2012-10-18", "", 2012, None, True])
def test_a_version_is_one_of_two(version: Any) -> None:
    assert problems({"Version": version, "Statement": statement()})[0].startswith(
        "Version: expected"
    )


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"Action": "*", "NotAction": "*"}, "expected either Action or NotAction, found both."),
        ({"Action": []}, "expected a text or several, found an empty list."),
        ({"Action": None}, "expected a text, found null."),
        ({"Action": {"a": 1}}, "expected a text, found an object."),
        ({"Action": [["*"]]}, "expected a text, found a list."),
        ({"Action": "iam:Get User"}, "expected '*' or service:Action, found 'iam:Get User'."),
        ({"Action": "${aws:username}:x"}, "expected '*' or service:Action"),
        ({"Action": "iam:"}, "expected '*' or service:Action"),
        ({"Action": "states:StаrtExecution"}, "expected '*' or service:Action"),
        ({"Resource": ""}, "expected '*' or an ARN, found ''." ),
        ({"Resource": "states"}, "expected '*' or an ARN, found 'states'."),
        ({"Resource": "arn:aws:s3:::a/${aws:username"}, "expected a variable such as"),
        ({"Resource": "arn:aws:s3:::a/${aws:username*}"}, "expected a variable such as"),
        ({"Resource": "arn:aws:${aws:x}:::a"}, "expected variables behind the fifth colon"),
        ({"Effect": None}, "expected 'Allow' or 'Deny', found none."),
        ({"Effect": ["Allow"]}, "expected 'Allow' or 'Deny', found a list."),
        ({"Sid": 3}, "expected a text, found the number 3."),
        ({"Sid": None}, "expected a text, found null."),
        ({"Condition": None}, "expected an object, found null."),
        ({"Condition": {"Bool": "x"}}, "expected an object, found 'x'."),
        ({"Condition": {"Bool": {}}}, "Bool: expected a key and its values, found an empty object."),
        ({"Condition": {"Bool": {"a:b": []}}}, "expected a text or several, found an empty list."),
        ({"Condition": {"Bool": {"a:b": {}}}}, "expected a text, found an object."),
        ({"Condition": {"StringEquals": {"a:b": None}}}, "expected a text, found null."),
        ({"Condition": {"StringEquals": {"a:*": "x"}}}, "expected a key such as aws:SourceIp."),
        ({"Condition": {"NullIfExists": {"a:b": "true"}}}, "there is no such operator."),
        ({"Condition": {"stringEquals": {"a:b": "x"}}}, "did you mean StringEquals?"),
        ({"Effects": "Allow"}, "there is no such element; did you mean Effect?"),
        ({"principal": "*"}, "there is no such element; did you mean Principal?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_statement_is_told(members: dict[str, Any], told: str) -> None:
    base = {} if "NotAction" in members else {"Action": "*"}
    found = of({"Effect": "Allow", "Resource": "*", **base, **members})
    assert len(found) == 1 or "both" in told
    assert told in found[0]


def test_an_unhelpful_path_is_cut() -> None:
    assert len(of({**statement(), "x" * 5_000: 1})[0]) < 200


def test_sids_are_unique_where_they_are_given() -> None:
    same = [statement(Sid="A"), statement(Sid="A"), statement(Sid=""), statement(Sid="")]
    assert problems({"Statement": same}) == [
        "Statement[1].Sid: expected each Sid once, found 'A' again."
    ]


def test_a_sid_of_an_endpoint_is_any_text() -> None:
    read = policy(statement(Sid="Allow-this one", Principal="*"), kind=Kind.ENDPOINT)
    assert read.statements[0].label == "Allow-this one"


@pytest.mark.parametrize("kind", WITH_PRINCIPAL)
def test_a_policy_of_a_resource_names_principals(kind: Kind) -> None:
    assert any(
        "expected either Principal or NotPrincipal, found neither" in each
        for each in problems({"Statement": statement(Action="sts:*")}, kind)
    )


@pytest.mark.parametrize("kind", WITHOUT_PRINCIPAL)
@pytest.mark.parametrize("name", ["Principal", "NotPrincipal"])
def test_a_policy_of_an_identity_names_none(kind: Kind, name: str) -> None:
    assert problems({"Statement": statement(**{name: "*"})}, kind) == [
        f"Statement[0].{name}: expected none: the policy speaks of who it is attached to."
    ]


@pytest.mark.parametrize("name", ["Resource", "NotResource"])
def test_a_trust_policy_names_no_resource(name: str) -> None:
    document = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", name: "*"}
    assert problems({"Statement": document}, Kind.TRUST) == [
        f"Statement[0].{name}: expected none: the policy speaks of what it is attached to."
    ]


def test_a_trust_policy_speaks_of_assuming() -> None:
    document = {"Effect": "Allow", "Principal": "*", "Action": "states:*"}
    assert problems({"Statement": document}, Kind.TRUST) == [
        "Statement[0].Action: expected an action of sts, as in sts:AssumeRole, found 'states:*'."
    ]


@pytest.mark.parametrize(
    ("principal", "told"),
    [
        ("alice", "Principal: expected '*' or an object such as"),
        ({}, "Principal: expected '*' or an object such as"),
        ([], "Principal: expected '*' or an object such as"),
        (1, "Principal: expected '*' or an object such as"),
        ({"Aws": "*"}, "Principal.Aws: there is no such element; did you mean AWS?"),
        ({"AWS": []}, "Principal.AWS: expected a text or several, found an empty list."),
        ({"AWS": [ACCOUNT, "bob"]}, "Principal.AWS[1]: expected '*', an account"),
        ({"AWS": 123456789012}, "Principal.AWS: expected a text, found the number 123456789012."),
        ({"Service": "states"}, "Principal.Service: expected the name of a service"),
    ],
)
def test_what_is_no_principal_is_told(principal: Any, told: str) -> None:
    found = problems({"Statement": statement(Principal=principal)}, Kind.RESOURCE)
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize("kind", Kind)
def test_a_document_has_a_largest_size(kind: Kind) -> None:
    members = {"Principal": "*"} if kind in WITH_PRINCIPAL else {}
    rest = {} if kind is Kind.TRUST else {"Resource": "*"}

    def document(length: int) -> str:
        value = {"Effect": "Allow", "Action": "sts:" + "a" * length, **members, **rest}
        return json.dumps({"Statement": value}, indent=4)

    Policy.parse("p", document(1_000) + " " * 50_000, kind=kind)
    assert "characters but for space, found " in problems(document(20_480), kind)[0]


def test_a_text_of_spaces_has_an_end() -> None:
    assert problems(" " * 200_000) == ["expected at most 131,072 characters, found 200,000."]


def test_characters_are_those_that_iam_takes() -> None:
    text = json.dumps({"Statement": statement(Resource="arn:aws:s3:::é")}, ensure_ascii=False)
    Policy.parse("p", text, kind=Kind.IDENTITY)
    foreign = text.replace("é", "е")  # Cyrillic.
    assert problems(foreign) == ["expected characters up to U+00FF, found U+0435."]


def test_problems_are_told_up_to_a_number() -> None:
    assert len(problems({str(n): 0 for n in range(900)})) == 100
