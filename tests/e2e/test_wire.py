"""Bad input on the wire: each fault has AWS's shape of an error, and the server goes on."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_events import EventBridgeClient
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import API_KEY, ROLE

from stepout.aws import sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret
from stepout.testing import Server

STATES, EVENTS = "AWSStepFunctions", "AWSEvents"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:m"
JSON_SUITE = Path(__file__).parents[2].parent / "shared/security/json/test_parsing"


def post(
    server: Server,
    target: str | None,
    body: bytes = b"{}",
    *,
    now: float | None = None,
    path: str = "/",
    method: str = "POST",
    is_signed: bool = True,
    more: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
    """Send a request with any key's signature; answers status, document and response."""
    import time

    host = server.url.removeprefix("http://")
    service = "events" if (target or "").startswith(EVENTS) else "states"
    headers = [(b"host", host.encode())]
    if target is not None:
        headers.append((b"x-amz-target", target.encode("latin-1")))
    if is_signed:
        headers = sigv4.sign(
            SignedRequest(method, path, "", headers, body),
            access_key_id="any",
            secret=Secret("any"),
            region="us-east-1",
            service=service,
            now=now or time.time(),
        )
    connection = http.client.HTTPConnection(host, timeout=10)
    sent = {name.decode(): value.decode("latin-1") for name, value in headers}
    connection.request(method, path, body, {**sent, **(more or {})})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text or b"{}"), response


def alive(server: Server) -> None:
    status, document, _ = post(server, f"{STATES}.ListStateMachines")
    assert (status, document) == (200, {"stateMachines": []})


@pytest.mark.parametrize(
    ("target", "body", "status", "code"),
    [
        (f"{STATES}.ListStateMachines", b"{", 400, "SerializationException"),
        (f"{STATES}.ListStateMachines", b"[]", 400, "SerializationException"),
        (f"{STATES}.ListStateMachines", b"\xff", 400, "SerializationException"),
        (f"{STATES}.ListStateMachines", b"[" * 100_000, 400, "SerializationException"),
        (f"{STATES}.ListStateMachines", b'{"maxResults": "1"}', 400, "SerializationException"),
        (f"{STATES}.ListStateMachines", b'{"maxResults": -1}', 400, "ValidationException"),
        (f"{STATES}.ListStateMachines", b'{"nextToken": "nonsense"}', 400, "InvalidToken"),
        (f"{STATES}.Nonsense", b"{}", 400, "UnknownOperationException"),
        ("Nonsense.ListStateMachines", b"{}", 400, "UnknownOperationException"),
        ("ListStateMachines", b"{}", 400, "UnknownOperationException"),
        ("", b"{}", 400, "UnknownOperationException"),
        ("é", b"{}", 400, "UnknownOperationException"),
        (None, b"{}", 400, "UnknownOperationException"),
        (f"{STATES}.StartSyncExecution", b"{}", 400, "ValidationException"),
        (f"{STATES}.StartSyncExecution", b'{"stateMachineArn": "x"}', 400, "InvalidArn"),
        (
            f"{STATES}.StartSyncExecution",
            json.dumps({"stateMachineArn": MACHINE}).encode(),
            400,
            "StateMachineDoesNotExist",
        ),
        (f"{STATES}.ListStateMachines", b" " * 1_048_577, 413, "RequestEntityTooLargeException"),
        (f"{EVENTS}.DescribeConnection", b'{"Name": "x"}', 400, "ResourceNotFoundException"),
        (f"{EVENTS}.DescribeConnection", b'{"Name": "a b"}', 400, "ValidationException"),
    ],
)
def test_each_fault_is_an_error_of_awss_shape(
    stepout_server: Server, target: str | None, body: bytes, status: int, code: str
) -> None:
    found, document, response = post(stepout_server, target, body)
    assert (found, document["__type"]) == (status, code)
    assert isinstance(document["message"], str)
    assert document["message"]
    assert response.getheader("x-amzn-errortype") == code
    assert response.getheader("x-amzn-requestid")
    alive(stepout_server)


@pytest.mark.parametrize(
    ("service", "prefix", "version"), [("stepfunctions", STATES, "1.0"), ("events", EVENTS, "1.1")]
)
def test_every_operation_of_the_models_answers_and_none_with_a_500(
    stepout_server: Server, service: str, prefix: str, version: str
) -> None:
    model = botocore.session.get_session().get_service_model(service)
    assert len(model.operation_names) > 30
    for name in model.operation_names:
        status, document, response = post(stepout_server, f"{prefix}.{name}")
        assert status in (200, 400), (name, document)
        assert response.getheader("content-type") == f"application/x-amz-json-{version}"
        if status == 400:
            assert document["__type"], name


def test_an_operation_that_is_not_served_yet_says_so(sfn: SFNClient) -> None:
    with pytest.raises(ClientError, match="stepout does not serve ListActivities yet"):
        sfn.list_activities()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x"}, "MissingAuthenticationTokenException"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, "IncompleteSignatureException"),
    ],
)
def test_a_request_without_a_signature_is_refused_in_open_mode_too(
    stepout_server: Server, more: dict[str, str], code: str
) -> None:
    status, document, _ = post(
        stepout_server, f"{STATES}.ListStateMachines", is_signed=False, more=more
    )
    assert (status, document["__type"]) == (403, code)


def test_a_web_page_is_no_caller_in_open_mode(stepout_server: Server) -> None:
    """A name that leads to 127.0.0.1 makes any web page a neighbour; browsers give it away."""
    status, document, _ = post(
        stepout_server, f"{STATES}.ListStateMachines", more={"Origin": "http://evil.test:8083"}
    )
    assert (status, document["__type"]) == (403, "AccessDeniedException")
    assert "comes from a web page" in document["message"]


def test_a_head_without_end_is_refused(stepout_server: Server) -> None:
    endless = b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-Y: " + b"z" * 70_000 + b"\r\n\r\n"
    assert raw(stepout_server, endless).startswith(b"HTTP/1.1 400")
    many = b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-Y: zzzz\r\n" * 20_000 + b"\r\n"
    assert raw(stepout_server, many).startswith(b"HTTP/1.1 400")
    alive(stepout_server)


def test_a_long_cause_is_cut_to_what_the_model_allows(sfn: SFNClient) -> None:
    failing = {"Type": "Fail", "Error": "E" * 300, "Cause": "é" * 40_000}
    definition = json.dumps({"StartAt": "F", "States": {"F": failing}})
    machine = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    answer = sfn.start_sync_execution(stateMachineArn=machine)
    assert (len(answer["error"]), len(answer["cause"])) == (256, 32_768)


def test_a_definition_nested_without_end_is_refused(sfn: SFNClient) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    state = {"Type": "Pass", "Parameters": deep, "End": True}
    with pytest.raises(
        ClientError, match="TOO_DEEPLY_NESTED: Definition is nested deeper than 200"
    ):
        sfn.create_state_machine(
            name="m",
            roleArn=ROLE,
            definition=json.dumps({"StartAt": "P", "States": {"P": state}}),
        )


@pytest.mark.parametrize("levels", [253, 400, 990])
def test_deep_data_passes_through_unharmed(sfn: SFNClient, levels: int) -> None:
    definition = (
        '{"StartAt":"P","States":{"P":{"Type":"Pass","Parameters":{"in.$":"$"},"End":true}}}'
    )
    machine = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    source = "[" * levels + "]" * levels
    answer = sfn.start_sync_execution(stateMachineArn=machine, input=source)
    assert answer["output"] == f'{{"in":{source}}}'


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("PUT", "/"), ("POST", "/x")])
def test_another_method_or_path_is_not_found(
    stepout_server: Server, method: str, path: str
) -> None:
    status, document, _ = post(
        stepout_server, f"{STATES}.ListStateMachines", method=method, path=path
    )
    assert (status, document["__type"]) == (404, "UnknownOperationException")
    assert f"found {method} {path}" in document["message"]


def test_the_account_and_the_region_come_from_the_signature(stepout_server: Server) -> None:
    connect: Any = boto3.client
    sfn = connect(
        "stepfunctions",
        endpoint_url=stepout_server.url,
        region_name="eu-central-1",
        aws_access_key_id="999999999999",
        aws_secret_access_key="x",
        config=Config(inject_host_prefix=False),
    )
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    created = sfn.create_state_machine(name="m", roleArn=ROLE, definition=definition)
    assert created["stateMachineArn"] == ("arn:aws:states:eu-central-1:999999999999:stateMachine:m")
    alive(stepout_server)


def raw(server: Server, data: bytes) -> bytes:
    """Send bytes and read until the server has answered or closed."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        return connection.recv(65_536)


def signed_lines(server: Server, host: str) -> bytes:
    import time

    headers = sigv4.sign(
        SignedRequest("POST", "/", "", [(b"host", host.encode()), (b"x-amz-target", f"{STATES}.ListStateMachines".encode())], b"{}"),
        access_key_id="any",
        secret=Secret("any"),
        region="us-east-1",
        service="states",
        now=time.time(),
    )  # fmt: skip
    return b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"Content-Length: 2\r\n\r\n{}"


def test_an_absolute_target_must_name_the_host_that_is_signed(stepout_server: Server) -> None:
    host = "sync-states.us-east-1.amazonaws.com"
    right = f"POST http://{host}/ HTTP/1.1\r\n".encode() + signed_lines(stepout_server, host)
    assert raw(stepout_server, right).startswith(b"HTTP/1.1 200")
    wrong = b"POST http://evil.test/ HTTP/1.1\r\n" + signed_lines(stepout_server, host)
    assert raw(stepout_server, wrong).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    ],
)
def test_what_is_not_http_does_not_disturb_the_server(stepout_server: Server, data: bytes) -> None:
    host, _, port = stepout_server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
    alive(stepout_server)


@pytest.mark.skipif(not JSON_SUITE.exists(), reason="The JSON suite is not beside the repository.")
def test_the_json_suite_makes_no_500(stepout_server: Server, sfn: SFNClient) -> None:
    """Each text as a request, as an input and as a definition."""
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    machine = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    for path in sorted(JSON_SUITE.glob("*.json")):
        data = path.read_bytes()
        status, document, _ = post(stepout_server, f"{STATES}.ListStateMachines", data)
        assert status in (200, 400, 413), path.name
        if path.name.startswith("n_") and data.strip(b" \t\r\n"):
            assert document["__type"] == "SerializationException", path.name
        text = data.decode("utf-8", "replace")
        body = json.dumps({"stateMachineArn": machine, "input": text}).encode()
        status, document, _ = post(stepout_server, f"{STATES}.StartSyncExecution", body)
        assert status in (200, 400), path.name
        if path.name.startswith("y_"):
            assert document["status"] == "SUCCEEDED", path.name
            assert json.loads(document["output"]) == json.loads(text), path.name
        body = json.dumps({"name": "d", "roleArn": ROLE, "definition": text or "x"}).encode()
        status, document, _ = post(stepout_server, f"{STATES}.CreateStateMachine", body)
        assert (status, document["__type"]) == (400, "InvalidDefinition"), path.name


def test_a_definition_with_several_problems_tells_them_all(sfn: SFNClient) -> None:
    definition = {
        "StartAt": "A",
        "States": {"A": {"Type": "Pass", "Next": "B", "Colour": 1}, "C": {"Type": "Map"}},
    }
    with pytest.raises(ClientError) as caught:
        sfn.create_state_machine(name="m", roleArn=ROLE, definition=json.dumps(definition))
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidDefinition"
    assert error["Message"] == (
        "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Field 'Colour' is not "
        "supported at /States/A, SCHEMA_VALIDATION_FAILED: This object should have only one of the "
        "following fields: [Next, End] at /States/C, SCHEMA_VALIDATION_FAILED: This object should "
        "have only one of the following fields: [ItemProcessor, Iterator] at /States/C'"
    )


def test_a_definition_is_validated_without_being_kept(sfn: SFNClient) -> None:
    right = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    answer = sfn.validate_state_machine_definition(definition=right, type="EXPRESS")
    assert (answer["result"], answer["diagnostics"], answer["truncated"]) == ("OK", [], False)
    wrong = '{"StartAt":"P","States":{"P":{"Type":"Pass","Next":"P","Colour":1,"InputPath":1}}}'
    answer = sfn.validate_state_machine_definition(definition=wrong)
    assert answer["result"] == "FAIL"
    assert answer["diagnostics"] == [
        {
            "severity": "ERROR",
            "code": "SCHEMA_VALIDATION_FAILED",
            "message": "Field 'Colour' is not supported",
            "location": "/States/P",
        },
        {
            "severity": "ERROR",
            "code": "SCHEMA_VALIDATION_FAILED",
            "message": "Expected value of type [STRING]",
            "location": "/States/P/InputPath",
        },
    ]
    answer = sfn.validate_state_machine_definition(definition=wrong, maxResults=1)
    assert (len(answer["diagnostics"]), answer["truncated"]) == (1, True)
    (nowhere,) = sfn.validate_state_machine_definition(definition="[]")["diagnostics"]
    assert "location" not in nowhere
    assert sfn.list_state_machines()["stateMachines"] == []


def test_inputs_are_refused_in_awss_words(stepout_server: Server, sfn: SFNClient) -> None:
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    express = sfn.create_state_machine(
        name="e", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    standard = sfn.create_state_machine(name="s", roleArn=ROLE, definition=definition)
    refused = [
        ({"input": "not json"}, "Invalid State Machine Execution Input: 'Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')'"),
        ({"input": " "}, "Invalid State Machine Execution Input: 'Invalid execution input.'"),
        ({"input": '"' + "é" * 131_072 + '"'}, "1 validation error detected: Value at 'input' failed"),
        ({"name": "a b"}, "Invalid Name: 'a b'"),
        ({"stateMachineArn": standard["stateMachineArn"]}, "This operation is not supported by this type of state machine"),
        ({"stateMachineArn": "arn:aws:states:us-east-1:123456789012:express:m:n:u"}, "Invalid Arn: 'Resource type not valid in this context: express'"),
    ]  # fmt: skip
    for changes, message in refused:
        request: Any = {"stateMachineArn": express, **changes}
        with pytest.raises(ClientError) as caught:
            sfn.start_sync_execution(**request)
        assert caught.value.response["Error"]["Message"].startswith(message)


def test_machines_live_as_on_aws(sfn: SFNClient) -> None:
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    request: Any = {"name": "m", "type": "EXPRESS", "roleArn": ROLE, "definition": definition}
    arn = sfn.create_state_machine(**request)["stateMachineArn"]
    assert sfn.create_state_machine(**request)["stateMachineArn"] == arn
    with pytest.raises(sfn.exceptions.StateMachineAlreadyExists, match="Already Exists"):
        sfn.create_state_machine(**{**request, "definition": definition + " "})
    described = sfn.describe_state_machine(stateMachineArn=arn)
    assert (described["status"], described["type"]) == ("ACTIVE", "EXPRESS")
    assert described["definition"] == definition
    assert "revisionId" not in described
    with pytest.raises(ClientError, match="MissingRequiredParameter"):
        sfn.update_state_machine(stateMachineArn=arn)
    updated = sfn.update_state_machine(stateMachineArn=arn, definition=definition + "\n")
    again = sfn.describe_state_machine(stateMachineArn=arn)
    assert again["revisionId"] == updated["revisionId"]
    sfn.delete_state_machine(stateMachineArn=arn)
    sfn.delete_state_machine(stateMachineArn=arn)
    with pytest.raises(sfn.exceptions.StateMachineDoesNotExist):
        sfn.describe_state_machine(stateMachineArn=arn)


def test_lists_come_in_pages(sfn: SFNClient) -> None:
    definition = '{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}'
    for number in range(7):
        sfn.create_state_machine(name=f"m{number}", roleArn=ROLE, definition=definition)
    pages = list(
        sfn.get_paginator("list_state_machines").paginate(PaginationConfig={"PageSize": 3})
    )
    assert [len(page["stateMachines"]) for page in pages] == [3, 3, 1]
    names = [machine["name"] for page in pages for machine in page["stateMachines"]]
    assert names == [f"m{number}" for number in range(7)]


def test_connections_live_as_recorded_on_aws(events: EventBridgeClient) -> None:
    parameters: Any = {**API_KEY, "InvocationHttpParameters": {}}
    created = events.create_connection(
        Name="c", AuthorizationType="API_KEY", AuthParameters=parameters, Description="first"
    )
    assert created["ConnectionState"] == "AUTHORIZED"
    with pytest.raises(events.exceptions.ResourceAlreadyExistsException):
        events.create_connection(Name="c", AuthorizationType="API_KEY", AuthParameters=parameters)
    described = events.describe_connection(Name="c")
    assert described["AuthParameters"] == {
        "ApiKeyAuthParameters": {"ApiKeyName": "x-api-key"},
        "InvocationHttpParameters": {},
    }
    assert ":secret:events!connection/c/" in described["SecretArn"]
    events.update_connection(Name="c", Description="second")
    assert events.describe_connection(Name="c")["Description"] == "second"
    with pytest.raises(ClientError, match=r"Failed to update the connection\(s\)"):
        events.update_connection(Name="c", AuthParameters=parameters)
    assert events.deauthorize_connection(Name="c")["ConnectionState"] == "DEAUTHORIZING"
    removed = events.describe_connection(Name="c")
    assert removed["AuthParameters"] == {}
    assert removed["StateReason"].startswith("The authorization parameters were removed")
    events.deauthorize_connection(Name="c")
    events.update_connection(Name="c", AuthorizationType="API_KEY", AuthParameters=parameters)
    renewed = events.describe_connection(Name="c")
    assert renewed["ConnectionState"] == "AUTHORIZED"
    assert renewed["ConnectionArn"] == created["ConnectionArn"]
    assert renewed["SecretArn"] != described["SecretArn"]
    listed = events.list_connections(NamePrefix="c")["Connections"]
    assert [item["Name"] for item in listed] == ["c"]
    assert events.delete_connection(Name="c")["ConnectionState"] == "DELETING"
    with pytest.raises(ClientError) as caught:
        events.describe_connection(Name="c")
    assert caught.value.response["Error"]["Message"] == (
        "Failed to describe the connection(s). Connection 'c' does not exist."
    )
