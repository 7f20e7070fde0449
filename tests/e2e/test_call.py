"""The flagship call with boto3, against real HTTPS origins of every temper."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from mypy_boto3_events import EventBridgeClient
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import API_KEY, ROLE, URL, Call, one_task, output_of

from stepout.testing import Answer, Origin, Received, Route, Server


def test_the_answer_of_the_api_comes_back(stepout_origin: Origin, call: Call) -> None:
    route = stepout_origin.get(URL).respond(json={"orders": [1, 2]}, headers={"X-Page": "1"})
    answer = call({"any": "input"})
    assert output_of(answer) == {
        "Headers": {
            "Content-Type": ["application/json"],
            "X-Page": ["1"],
            "Content-Length": ["18"],
        },
        "ResponseBody": {"orders": [1, 2]},
        "StatusCode": 200,
        "StatusText": "OK",
    }
    assert answer["input"] == '{"any": "input"}'
    assert answer["inputDetails"] == answer["outputDetails"] == {"included": True}
    assert answer["billingDetails"]["billedMemoryUsedInMB"] == 64
    assert answer["executionArn"].split(":")[5] == "express"
    received = route.requests[0]
    assert received.header("x-api-key") == API_KEY["ApiKeyAuthParameters"]["ApiKeyValue"]
    assert received.header("user-agent") == "Amazon|StepFunctions|HttpInvoke|us-east-1"
    assert received.header("range") == "bytes=0-262144"
    assert received.header("host") == "api.example.com"
    assert received.header("accept-encoding") is None


def test_everything_may_come_from_the_input(
    stepout_origin: Origin, sfn: SFNClient, connection: str
) -> None:
    route = stepout_origin.post("https://other.example.com/x").respond(201, text="made")
    template = {
        "ApiEndpoint.$": "$.url",
        "Method.$": "$.method",
        "Authentication": {"ConnectionArn.$": "$.connection"},
        "Headers.$": "$.headers",
        "QueryParameters.$": "$.query",
        "RequestBody.$": "$.body",
    }
    definition = one_task("unused")
    definition["States"]["Call"]["Parameters"] = template
    machine = sfn.create_state_machine(
        name="all", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
    )
    source = {
        "url": "https://other.example.com/x",
        "method": "POST",
        "connection": connection,
        "headers": {"x-trace": ["a", "b"]},
        "query": {"q": "é &"},
        "body": {"a": [1, None, "é"]},
    }
    answer = sfn.start_sync_execution(
        stateMachineArn=machine["stateMachineArn"], input=json.dumps(source)
    )
    assert output_of(answer)["ResponseBody"] == "made"
    received = route.requests[0]
    assert received.target == "/x?q=%C3%A9%20%26"
    assert received.body == '{"a":[1,null,"é"]}'.encode()
    assert received.header("x-trace") == "a,b"
    assert received.header("content-type") == "application/json; charset=UTF-8"


def test_a_document_with_ranges_answers_206_and_stays_a_text(
    stepout_origin: Origin, call: Call
) -> None:
    document = json.dumps({"items": list(range(2_000))}).encode()
    stepout_origin.get(URL).document(document, "text/plain; charset=utf-8")
    output = output_of(call())
    assert (output["StatusCode"], output["StatusText"]) == (206, "Partial Content")
    assert json.loads(output["ResponseBody"]) == json.loads(document)


@pytest.mark.parametrize(
    ("arrange", "body"),
    [
        (lambda route: route.respond(text="x" * 200_000, framing="chunked"), "x" * 200_000),
        (lambda route: route.respond(text="late", delay=0.3), "late"),
        (lambda route: route.respond(text="to the end", framing="close"), "to the end"),
        (
            lambda route: route.respond(
                body="schön".encode("latin-1"),
                headers={"Content-Type": "text/plain; charset=iso-8859-1"},
            ),
            "schön",
        ),
        (lambda route: route.respond(body=b"text", headers={}), "text"),
    ],
    ids=["chunked", "slow", "until-close", "latin-1", "no-content-type"],
)
def test_a_body_is_read_whatever_its_form(
    stepout_origin: Origin, call: Call, arrange: Callable[[Route], Route], body: str
) -> None:
    arrange(stepout_origin.get(URL))
    assert output_of(call())["ResponseBody"] == body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_each_method_is_sent(stepout_origin: Origin, call: Call, method: str) -> None:
    route = stepout_origin.route(method, URL).respond(204)
    output = output_of(call(Parameters={"Method": method, "RequestBody": {"a": 1}}))
    assert "ResponseBody" not in output
    assert output["StatusCode"] == 204
    assert route.requests[0].body == b'{"a":1}'


def test_head_has_headers_and_no_body(stepout_origin: Origin, call: Call) -> None:
    stepout_origin.head(URL).respond(text="never seen")
    output = output_of(call(Parameters={"Method": "HEAD"}))
    assert "ResponseBody" not in output
    assert output["Headers"]["Content-Length"] == ["10"]


@pytest.mark.parametrize(
    ("arrange", "error", "cause"),
    [
        (lambda route: route.respond(402, json={"why": "x"}), "States.Http.StatusCode.402", "Payment Required"),
        (lambda route: route.respond(418, text="short and stout"), "States.Http.StatusCode.418", None),
        (lambda route: route.respond(301, headers={"Location": URL}), "States.Http.StatusCode.301", "Moved Permanently"),
        (lambda route: route.respond(503, text="x" * 300_000), "States.Http.StatusCode.503", "Service Unavailable"),
        (lambda route: route.reset(), "States.Http.Socket", "api.example.com:443"),
        (lambda route: route.raw(b"nonsense\r\n\r\n"), "States.Http.Socket", "is not HTTP"),
        (lambda route: route.respond(text="x" * 999, ending="truncate"), "States.Http.Socket", "broke off"),
        (lambda route: route.respond(text="x" * 262_145), "States.DataLimitExceeded", "size exceeding the maximum"),
        (lambda route: route.respond(text="x" * 262_144), "States.DataLimitExceeded", "size exceeding the maximum"),
        (lambda route: route.respond(text="x" * 900_000, framing="chunked"), "States.DataLimitExceeded", "size exceeding"),
        (lambda route: route.respond(body=b"x", headers={"Content-Type": "image/png"}), "States.Runtime", "Unsupported response content-type 'image/png'"),
        (lambda route: route.respond(body=gzip.compress(b"{}"), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}), "States.Runtime", "is not a valid UTF-8 string"),
    ],
)  # fmt: skip
def test_each_failure_has_its_error_and_cause(
    stepout_origin: Origin,
    call: Call,
    arrange: Callable[[Route], Route],
    error: str,
    cause: str | None,
) -> None:
    arrange(stepout_origin.get(URL))
    answer = call()
    assert (answer["status"], answer["error"]) == ("FAILED", error)
    assert "output" not in answer
    if cause is None:
        assert "cause" not in answer
    else:
        assert cause in answer["cause"]


def test_a_hanging_origin_ends_with_the_states_time_out(stepout_origin: Origin, call: Call) -> None:
    stepout_origin.get(URL).hang()
    answer = call(TimeoutSeconds=1)
    assert (answer["status"], answer["error"]) == ("FAILED", "States.Timeout")


def test_a_machine_has_a_time_out_of_its_own(
    stepout_origin: Origin, sfn: SFNClient, connection: str
) -> None:
    stepout_origin.get(URL).hang()
    definition = {**one_task(connection), "TimeoutSeconds": 1}
    machine = sfn.create_state_machine(
        name="short", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
    )
    answer = sfn.start_sync_execution(stateMachineArn=machine["stateMachineArn"])
    assert (answer["status"], answer["error"]) == ("TIMED_OUT", "States.Timeout")


def test_retry_and_catch_see_the_errors_of_the_task(
    stepout_origin: Origin, sfn: SFNClient, connection: str
) -> None:
    route = stepout_origin.get(URL).respond(503).respond(503).respond(404)
    definition = one_task(
        connection,
        Retry=[{"ErrorEquals": ["States.Http.StatusCode.503"], "IntervalSeconds": 1, "MaxDelaySeconds": 1, "BackoffRate": 1}],
        Catch=[{"ErrorEquals": ["States.Http.StatusCode.404"], "Next": "Missing", "ResultPath": "$.error"}],
    )  # fmt: skip
    definition["States"]["Missing"] = {"Type": "Pass", "End": True}
    machine = sfn.create_state_machine(
        name="retry", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
    )
    answer = sfn.start_sync_execution(
        stateMachineArn=machine["stateMachineArn"], input='{"kept": 1}'
    )
    assert output_of(answer) == {
        "kept": 1,
        "error": {"Error": "States.Http.StatusCode.404", "Cause": "Not Found"},
    }
    assert len(route.requests) == 3


@pytest.mark.parametrize(
    ("endpoint", "cause"),
    [
        ("https://127.0.0.1/", "address-loopback"),
        ("https://localhost/", "address-loopback"),
        ("https://169.254.169.254/latest/meta-data/", "metadata"),
        ("https://[::ffff:10.0.0.1]/", "address-private"),
        ("https://0x7f000001/", "host-invalid"),
        ("https://user:pw@api.example.com/", "credentials"),
        ("https://api.example.com:0/", "port-invalid"),
    ],
)
def test_what_is_not_the_public_internet_is_refused(call: Call, endpoint: str, cause: str) -> None:
    answer = call(Parameters={"ApiEndpoint": endpoint})
    assert (answer["status"], answer["error"]) == ("FAILED", "States.Http.Socket")
    assert cause in answer["cause"]


def test_a_network_that_a_setting_names_may_be_called(stepout_origin: Origin) -> None:
    stepout_origin.get("https://127.0.0.1/").respond(text="inside")
    with Server(origin=stepout_origin, egress_allow=("127.0.0.0/8",)) as server:
        sfn, events = server.client("stepfunctions"), server.client("events")
        arn = events.create_connection(
            Name="c", AuthorizationType="API_KEY", AuthParameters=API_KEY
        )["ConnectionArn"]
        url = f"https://127.0.0.1:{stepout_origin.port}/"
        definition = one_task(arn, Parameters={"ApiEndpoint": url})
        machine = sfn.create_state_machine(
            name="m", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
        )
        answer = sfn.start_sync_execution(stateMachineArn=machine["stateMachineArn"])
        assert output_of(answer)["ResponseBody"] == "inside"


def test_a_wrong_certificate_is_not_accepted(stepout_origin: Origin, call: Call) -> None:
    stepout_origin.get(URL).respond(text="ok")
    wrong = stepout_origin.authority.server_context("other.example.com")
    stepout_origin.present("api.example.com", wrong)
    answer = call()
    assert answer["error"] == "States.Http.Socket"
    assert "certificate of api.example.com:443 was not accepted" in answer["cause"]


def test_a_header_that_is_forbidden_fails_at_run_time_when_it_comes_from_the_input(
    call: Call, connection: str
) -> None:
    answer = call({"h": {"Authorization": "x"}}, Parameters={"Headers.$": "$.h"})
    assert answer["error"] == "States.Runtime"
    assert answer["cause"] == (
        "An error occurred while executing the state 'Call' (entered at the event id #2). The "
        f'Parameters \'{{"Authentication":{{"ConnectionArn":"{connection}"}},"Headers":'
        f'{{"Authorization":"x"}},"ApiEndpoint":"{URL}","Method":"GET"}}\' could not be used to '
        "start the Task: [The 'Headers' field contains unsupported values: [authorization]]"
    )


def test_two_hundred_calls_in_flight_each_get_their_own_answer(
    stepout_origin: Origin, stepout_server: Server, connection: str
) -> None:
    def answer_of(request: Received) -> Answer:
        body = request.target.rpartition("=")[2].encode()
        return Answer(headers=(("Content-Type", "text/plain"),), body=body, delay=0.5)

    stepout_origin.get(URL).handle(answer_of)
    sfn = stepout_server.client("stepfunctions", max_pool_connections=200)
    definition = one_task(connection, Parameters={"QueryParameters": {"n.$": "$.n"}})
    machine = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=json.dumps(definition)
    )["stateMachineArn"]

    def one(number: int) -> str:
        answer = sfn.start_sync_execution(
            stateMachineArn=machine, input=json.dumps({"n": str(number)})
        )
        body: str = output_of(answer)["ResponseBody"]
        return body

    with concurrent.futures.ThreadPoolExecutor(200) as threads:
        assert list(threads.map(one, range(200))) == [str(number) for number in range(200)]


OAUTH = {
    "OAuthParameters": {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s-1"},
        "AuthorizationEndpoint": "https://id.example.com/token",
        "HttpMethod": "POST",
        "OAuthHttpParameters": {
            "BodyParameters": [{"Key": "grant_type", "Value": "client_credentials"}]
        },
    }
}


def wait_for(events: EventBridgeClient, name: str, state: str) -> Any:
    for _ in range(2_000):
        described: Any = events.describe_connection(Name=name)
        if described["ConnectionState"] == state and "StateReason" not in described:
            return described
    raise AssertionError(described)


def test_an_oauth_connection_gets_its_token_and_renews_it_after_a_401(
    stepout_origin: Origin, sfn: SFNClient, events: EventBridgeClient
) -> None:
    tokens = stepout_origin.post("https://id.example.com/token")
    tokens.respond(json={"access_token": "t-1", "expires_in": 3600})
    tokens.respond(json={"access_token": "t-2", "expires_in": 3600})
    api = stepout_origin.get(URL).respond(text="one").respond(401).respond(text="two")
    created: Any = events.create_connection(
        Name="oauth",
        AuthorizationType="OAUTH_CLIENT_CREDENTIALS",
        AuthParameters=OAUTH,  # type: ignore[arg-type] # a plain dictionary
    )
    assert created["ConnectionState"] == "AUTHORIZING"
    wait_for(events, "oauth", "AUTHORIZED")
    definition = json.dumps(one_task(created["ConnectionArn"]))
    machine = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    answers = [sfn.start_sync_execution(stateMachineArn=machine) for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert answers[1]["error"] == "States.Http.StatusCode.401"
    sent = [request.header("authorization") for request in api.requests]
    assert sent == ["Bearer t-1", "Bearer t-1", "Bearer t-2"]
    assert tokens.requests[0].body == (
        b"grant_type=client_credentials&client_secret=s-1&client_id=me"
    )


def test_an_oauth_connection_whose_endpoint_is_out_of_reach_stays_authorizing(
    sfn: SFNClient, events: EventBridgeClient
) -> None:
    unreachable = json.loads(json.dumps(OAUTH).replace("id.example.com", "127.0.0.1"))
    created: Any = events.create_connection(
        Name="oauth",
        AuthorizationType="OAUTH_CLIENT_CREDENTIALS",
        AuthParameters=unreachable,
    )
    for _ in range(2_000):
        described: Any = events.describe_connection(Name="oauth")
        if "StateReason" in described:
            break
    assert described["ConnectionState"] == "AUTHORIZING"
    assert described["StateReason"] == "Could not connect to the specified endpoint."
    assert described["LastAuthorizedTime"].timestamp() == 0
    machine = sfn.create_state_machine(
        name="m",
        type="EXPRESS",
        roleArn=ROLE,
        definition=json.dumps(one_task(created["ConnectionArn"])),
    )["stateMachineArn"]
    answer = sfn.start_sync_execution(stateMachineArn=machine)
    assert answer["error"] == "Events.ConnectionResource.AuthInProgress"
