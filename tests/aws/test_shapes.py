"""Requests are held against the service models, in AWS's words."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepout.aws import shapes
from stepout.aws.shapes import _LINEAR, Service, _Compiler, _pattern
from stepout.errors import ServiceError, StepoutError


@pytest.fixture(scope="module")
def states() -> Service:
    return shapes.load("stepfunctions")


@pytest.fixture(scope="module")
def events() -> Service:
    return shapes.load("events")


def error_of(service: Service, operation: str, members: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        service.operations[operation].check(members)
    return caught.value.code, caught.value.message


def test_the_models_say_how_a_service_is_called(states: Service, events: Service) -> None:
    assert (states.name, states.target_prefix, states.json_version) == (
        "states",
        "AWSStepFunctions",
        "1.0",
    )
    assert (events.name, events.target_prefix, events.json_version) == (
        "events",
        "AWSEvents",
        "1.1",
    )
    assert {"StartSyncExecution", "TestState", "CreateStateMachine"} <= states.operations.keys()
    assert {"CreateConnection", "PutEvents"} <= events.operations.keys()


def test_a_model_says_which_protocol_its_service_speaks(states: Service, events: Service) -> None:
    assert {states.protocol, events.protocol} == {"json"}
    assert states.api_version == "2016-11-23"
    assert states.xml_namespace == ""
    sts = shapes.load("sts")
    assert (sts.name, sts.protocol, sts.api_version) == ("sts", "query", "2011-06-15")
    assert sts.xml_namespace == "https://sts.amazonaws.com/doc/2011-06-15/"
    assert (sts.target_prefix, sts.json_version) == ("", "")
    stacks = shapes.load("cloudformation")
    assert (stacks.name, stacks.protocol) == ("cloudformation", "query")
    assert stacks.operations["DeleteStack"].output is None
    with pytest.raises(StepoutError, match="Expected s3 to speak json or query, found rest-xml"):
        shapes.load("s3")


def test_an_operation_without_input_takes_whatever_it_is_given() -> None:
    operation = shapes.load("iam").operations["GetAccountSummary"]
    assert operation.input is None
    assert operation.output is not None
    assert operation.check({}) == {}


def test_the_code_of_a_violated_constraint_is_that_of_the_protocol() -> None:
    found = error_of(shapes.load("sts"), "GetSessionToken", {"DurationSeconds": 899})
    assert found == (
        "ValidationError",
        "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy "
        "constraint: Member must have value greater than or equal to 900",
    )


def test_blobs_are_checked_by_their_size_and_never_shown() -> None:
    email = shapes.load("ses")
    operation = email.operations["SendRawEmail"]
    assert operation.check({"RawMessage": {"Data": b"\x00"}}) == {"RawMessage": {"Data": b"\x00"}}
    code, message = error_of(email, "SendRawEmail", {"RawMessage": {"Data": "text"}})
    assert (code, message) == (
        "SerializationException",
        "Expected a blob at 'rawMessage.data', found a string.",
    )
    checked = _Compiler({"Limited": {"type": "blob", "max": 2}}).compile("Limited")
    assert list(checked(b"ok", "data")) == []
    assert list(checked(b"secret", "data")) == [
        "Value at 'data' failed to satisfy constraint: "
        "Member must have length less than or equal to 2"
    ]


def test_a_list_that_is_refused_is_shown_without_what_is_sensitive() -> None:
    compiler = _Compiler(
        {
            "Limited": {"type": "list", "member": {"shape": "Item"}, "max": 1},
            "Item": {
                "type": "structure",
                "members": {"Name": {"shape": "Name"}, "Key": {"shape": "Key"}},
            },
            "Name": {"type": "string"},
            "Key": {"type": "string", "sensitive": True},
        }
    )
    value = [{"Name": "a", "Key": "open-sesame"}, {"Key": "open-sesame", "Name": None}, "no item"]
    checked = compiler.compile("Limited")(value, "items")
    assert next(checked) == (
        "Value '[Item(Name=a, Key=*** Sensitive Data Redacted ***), "
        "Item(Key=*** Sensitive Data Redacted ***), no item]' at 'items' failed to satisfy "
        "constraint: Member must have length less than or equal to 1"
    )


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("StartSyncExecution", {"stateMachineArn": "arn:x"}),
        ("StartSyncExecution", {"stateMachineArn": "arn:x", "name": None, "unknown": 1}),
        ("ListStateMachines", {}),
        ("ListStateMachines", {"maxResults": 0}),
        ("CreateStateMachine", {"name": "é", "definition": "{}", "roleArn": "r", "publish": True}),
    ],
)
def test_a_request_that_fits_is_let_through(
    states: Service, operation: str, members: dict[str, Any]
) -> None:
    states.operations[operation].check(members)


@pytest.mark.parametrize(
    ("operation", "members", "message"),
    [
        (
            "StartSyncExecution",
            {},
            "1 validation error detected: Value null at 'stateMachineArn' failed to satisfy "
            "constraint: Member must not be null",
        ),
        (
            "StartSyncExecution",
            {"stateMachineArn": "a", "name": "", "includedData": "SOME"},
            "2 validation errors detected: Value '' at 'name' failed to satisfy constraint: Member "
            "must have length greater than or equal to 1; Value 'SOME' at 'includedData' failed to "
            "satisfy constraint: Member must satisfy enum value set: [ALL_DATA, METADATA_ONLY]",
        ),
        (
            "StartSyncExecution",
            {"stateMachineArn": "a", "traceHeader": "é"},
            "1 validation error detected: Value 'é' at 'traceHeader' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: \\p{ASCII}*",
        ),
        (
            "ListStateMachines",
            {"maxResults": 1001},
            "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy "
            "constraint: Member must have value less than or equal to 1000",
        ),
        (
            "CreateStateMachine",
            {"name": "m", "definition": "d", "roleArn": "r", "tags": [{"key": "k" * 129}]},
            f"1 validation error detected: Value '{'k' * 129}' at 'tags.1.member.key' failed to "
            "satisfy constraint: Member must have length less than or equal to 128",
        ),
        (
            "CreateStateMachineAlias",
            {
                "name": "a",
                "routingConfiguration": [
                    {"weight": number, "stateMachineVersionArn": f"m:{number}"}
                    for number in (1, 2, 3)
                ],
            },
            "1 validation error detected: Value '[RoutingConfigurationListItem("
            "stateMachineVersionArn=m:1, weight=1), RoutingConfigurationListItem("
            "stateMachineVersionArn=m:2, weight=2), RoutingConfigurationListItem("
            "stateMachineVersionArn=m:3, weight=3)]' at 'routingConfiguration' failed to satisfy "
            "constraint: Member must have length less than or equal to 2",
        ),
    ],
)
def test_what_does_not_fit_is_a_validation_exception(
    states: Service, operation: str, members: dict[str, Any], message: str
) -> None:
    assert error_of(states, operation, members) == ("ValidationException", message)


def test_null_members_count_as_absent(states: Service) -> None:
    operation = states.operations["CreateStateMachine"]
    members = {"name": "n", "definition": "{}", "roleArn": "r", "type": None}
    logging = {"level": None, "includeExecutionData": False, "destinations": [None]}
    assert operation.check({**members, "loggingConfiguration": None}) == {
        "name": "n",
        "definition": "{}",
        "roleArn": "r",
    }
    given = states.operations["UpdateStateMachine"].check(
        {"stateMachineArn": "arn", "loggingConfiguration": {**logging, "destinations": []}}
    )
    assert given["loggingConfiguration"] == {"includeExecutionData": False, "destinations": []}


def test_a_sensitive_value_is_not_repeated(states: Service, events: Service) -> None:
    secret = "sesame\x01"
    members = {
        "Name": "c",
        "AuthorizationType": "BASIC",
        "AuthParameters": {"BasicAuthParameters": {"Username": "u", "Password": secret}},
    }
    code, message = error_of(events, "CreateConnection", members)
    assert code == "ValidationException"
    assert "at 'authParameters.basicAuthParameters.password' failed" in message
    assert "sesame" not in message
    long = {"stateMachineArn": "a", "input": "x" * 262_145}
    assert "Value at 'input' failed" in error_of(states, "StartSyncExecution", long)[1]


def test_enumerations_and_patterns_of_connections_read_as_recorded(events: Service) -> None:
    members = {"Name": "a b", "AuthorizationType": "X", "AuthParameters": {}}
    assert error_of(events, "CreateConnection", members)[1] == (
        "2 validation errors detected: Value 'a b' at 'name' failed to satisfy constraint: Member "
        r"must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+; Value 'X' at "
        "'authorizationType' failed to satisfy constraint: Member must satisfy enum value set: "
        "[BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]"
    )


@pytest.mark.parametrize(
    ("operation", "members", "message"),
    [
        (
            "StartSyncExecution",
            {"stateMachineArn": 1},
            "Expected a string at 'stateMachineArn', found a number.",
        ),
        (
            "ListStateMachines",
            {"maxResults": True},
            "Expected an integer at 'maxResults', found a boolean.",
        ),
        (
            "ListStateMachines",
            {"maxResults": "1"},
            "Expected an integer at 'maxResults', found a string.",
        ),
        ("CreateStateMachine", {"tags": {}}, "Expected an array at 'tags', found an object."),
        (
            "CreateStateMachine",
            {"tags": [None]},
            "Expected an object at 'tags.1.member', found null.",
        ),
        (
            "CreateStateMachine",
            {"publish": 1},
            "Expected a boolean at 'publish', found a number.",
        ),
    ],
)
def test_a_wrong_type_is_a_serialization_exception(
    states: Service, operation: str, members: dict[str, Any], message: str
) -> None:
    assert error_of(states, operation, members) == ("SerializationException", message)


PIECES = ["arn:", "aws", "-gov", ":iam::", "123456789012", ":role/", ":cloudformation:", "us-1"]
PIECES += [
    "::type/",
    "type",
    "/",
    "AbcdefGhijk1",
    "http:",
    "https:",
    ":",
    "a",
    "~",
    " ",
    "\t",
    "\n",
]
PIECES += ["\x00", "\x7f", "\x80"]


@pytest.mark.parametrize(("original", "linear"), _LINEAR.items())
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_linear_patterns_take_what_the_models_take(
    original: str, linear: str, data: st.DataObject
) -> None:
    model = re.compile(original, re.ASCII)
    pieces = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
    text = data.draw(st.one_of(pieces, st.from_regex(model, fullmatch=True)))
    assert bool(re.fullmatch(linear, text, re.ASCII)) == bool(model.fullmatch(text))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(http:|https:)+[^\s]+[\w]", "http:" * 200_000 + " "),
        (r"(http:|https:)+[^\s]+[\w]", "http:" * 200_000 + "-"),
        (r"arn:.+:iam::[0-9]{12}:role/.+", "arn:" + "x:iam::123456789012:role/" * 40_000 + "\n"),
        (r"arn:aws(-[\w]+)*:.+:.+:[0-9]{12}:.+", "arn:aws" + ":123456789012" * 80_000 + ":\n"),
        (r"arn:aws(-[\w]+)*:.+:.+:[0-9]{12}:.+", "arn:aws" + ":" * 1_000_000),
        (
            r"arn:aws[A-Za-z0-9-]{0,64}:cloudformation:[A-Za-z0-9-]{1,64}::"
            r"type/.+/[0-9a-zA-Z]{12,40}/.+",
            "arn:aws:cloudformation:us::type" + "/AbcdefGhijk1" * 80_000 + "/\n",
        ),
    ],
)
def test_a_megabyte_against_a_pattern_is_refused_in_linear_time(pattern: str, text: str) -> None:
    """As the models have these patterns, each of the texts takes from a minute to hours."""
    assert pattern in _LINEAR
    assert _pattern(pattern).fullmatch(text) is None


@pytest.mark.parametrize("service", ["stepfunctions", "events", "sts", "cloudformation"])
def test_every_pattern_of_the_models_can_be_read(service: str) -> None:
    patterns = [s["pattern"] for s in shapes.load(service).shapes.values() if "pattern" in s]
    assert patterns
    assert all(_pattern(pattern) for pattern in patterns)


def test_letters_separators_and_numbers_are_those_of_unicode() -> None:
    pattern = _pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+")
    for code in range(sys.maxunicode + 1):
        expected = unicodedata.category(chr(code))[0] in "LZN" or chr(code) in "_.:/=+-@"
        assert bool(pattern.fullmatch(chr(code))) == expected, hex(code)


def test_a_hostile_header_value_is_checked_in_linear_time(events: Service) -> None:
    """The model's own pattern would take longer than the universe has for this."""
    hostile = {"HeaderParameters": [{"Key": "k", "Value": " " * 500 + "\x01"}]}
    members = {
        "Name": "c",
        "AuthorizationType": "API_KEY",
        "AuthParameters": {
            "ApiKeyAuthParameters": {"ApiKeyName": " " * 500 + "\x01", "ApiKeyValue": "v"},
            "InvocationHttpParameters": hostile,
        },
    }
    assert error_of(events, "CreateConnection", members)[0] == "ValidationException"
