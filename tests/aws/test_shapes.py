"""Requests are held against the service models, in AWS's words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.aws import shapes
from stepout.aws.shapes import _LINEAR, Service
from stepout.errors import ServiceError


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


@given(st.text(alphabet="a: \t\n\x00\x7f\x80~", max_size=12))
def test_the_linear_patterns_take_what_the_models_take(text: str) -> None:
    for original, linear in _LINEAR.items():
        assert bool(re.fullmatch(linear, text)) == bool(re.fullmatch(original, text))


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
