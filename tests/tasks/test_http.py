"""The HTTP Task: what is sent for which arguments, and what becomes of which answer.

The egress is a fake of its Protocol here; `tests/e2e` has the same calls over real HTTPS.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stepout.asl.states_error import StatesError
from stepout.asl.values import PAYLOAD_LIMIT, Json
from stepout.aws.connections import Connection, credential_from_request
from stepout.egress.message import Request, Response
from stepout.errors import EgressError, EgressFailed, EgressRefused, TokenRefused
from stepout.tasks import Ports, Scope, build
from stepout.tasks.http import HttpInvoke

ARN = "arn:aws:events:us-east-1:123456789012:connection/c/u"
URL = "https://api.example.com/v1"
SCOPE = Scope(
    region="eu-west-1",
    account="123456789012",
    role_arn="arn:aws:iam::123456789012:role/r",
    machine_arn="arn:of:machine",
    machine_name="m",
    execution_arn="arn:of:execution",
    state_name="Call",
)
API_KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "k"}}
BASIC = {"BasicAuthParameters": {"Username": "ann", "Password": "pä:ss"}}
AGENT = ("User-Agent", "Amazon|StepFunctions|HttpInvoke|eu-west-1")
RANGE = ("Range", "bytes=0-262144")
KEY = ("x-api-key", "k")
JSON_TYPE = ("Content-Type", "application/json; charset=UTF-8")
OK = Response(200, "OK", (("Content-Type", "application/json"),), b"{}")


class FakeEgress:
    """Keeps requests and gives one answer, or raises it."""

    def __init__(self, answer: Response | EgressError = OK) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def request(self, request: Request, *, max_body: int) -> Response:
        assert max_body == PAYLOAD_LIMIT
        self.requests.append(request)
        if isinstance(self.answer, EgressError):
            raise self.answer
        return self.answer


class HangingEgress:
    async def request(self, request: Request, *, max_body: int) -> Response:
        await asyncio.Event().wait()
        raise AssertionError


class FakeTokens:
    def __init__(self, token: str | EgressError = "t-1") -> None:
        self.answer = token
        self.forgotten: list[str] = []

    async def token(self, connection: Connection) -> str:
        if isinstance(self.answer, EgressError):
            raise self.answer
        return self.answer

    def forget(self, connection: Connection) -> None:
        self.forgotten.append(connection.arn)


class OneConnection:
    def __init__(self, connection: Connection) -> None:
        self.kept = connection

    async def connection(self, arn: str) -> Connection | None:
        return self.kept if arn == ARN else None


def connection_of(kind: str = "API_KEY", parameters: Json = None, **changes: Any) -> Connection:
    made = Connection(
        arn=ARN,
        name="c",
        authorization_type=kind,
        state="AUTHORIZED",
        state_reason=None,
        secret_arn="arn:of:secret",
        secret_version=1,
        credential=credential_from_request(kind, parameters or API_KEY),
        description=None,
        connectivity=None,
        kms_key=None,
        created=0,
        modified=0,
        authorized=0,
    )
    return replace(made, **changes)


def ports(
    egress: FakeEgress | HangingEgress,
    connection: Connection | None = None,
    tokens: FakeTokens | None = None,
) -> Ports:
    connections = OneConnection(connection or connection_of())
    return Ports(egress=egress, connections=connections, tokens=tokens or FakeTokens())


def arguments(**more: Json) -> dict[str, Json]:
    least = {"ApiEndpoint": URL, "Method": "GET", "Authentication": {"ConnectionArn": ARN}}
    return {**least, **more}


async def sent(connection: Connection | None = None, **more: Json) -> Request:
    egress = FakeEgress()
    await HttpInvoke(ports(egress, connection))(arguments(**more), SCOPE)
    return egress.requests[0]


async def result_of(answer: Response | EgressError) -> Json | StatesError:
    return await HttpInvoke(ports(FakeEgress(answer)))(arguments(), SCOPE)


# --- Requests -------------------------------------------------------------------------------------


async def test_a_plain_call_has_the_managed_headers_and_the_credential() -> None:
    assert await sent() == Request(
        "GET",
        URL,
        (AGENT, RANGE, KEY),
        role=SCOPE.role_arn,
        machine=SCOPE.machine_arn,
        connection=ARN,
    )


async def test_the_connection_may_stand_in_either_place() -> None:
    egress = FakeEgress()
    invoke = HttpInvoke(ports(egress))
    new = {"InvocationConfig": {"ConnectionArn": ARN}, "ApiEndpoint": URL, "Method": "GET"}
    await invoke(new, SCOPE)
    await invoke({**new, "Authentication": {"ConnectionArn": "another"}}, SCOPE)
    assert len(egress.requests) == 2


@pytest.mark.parametrize(
    ("kind", "parameters", "header"),
    [
        ("API_KEY", API_KEY, KEY),
        ("BASIC", BASIC, ("Authorization", "Basic YW5uOnDDpDpzcw==")),
        (
            "OAUTH_CLIENT_CREDENTIALS",
            {
                "OAuthParameters": {
                    "ClientParameters": {"ClientID": "i", "ClientSecret": "s"},
                    "AuthorizationEndpoint": "https://id.example.com/",
                    "HttpMethod": "POST",
                }
            },
            ("Authorization", "Bearer t-1"),
        ),
    ],
)
async def test_each_auth_type_has_its_header(
    kind: str, parameters: Json, header: tuple[str, str]
) -> None:
    request = await sent(connection_of(kind, parameters))
    assert request.headers == (AGENT, RANGE, header)


@pytest.mark.parametrize(
    ("body", "encoded"),
    [
        ({"b": [1, 2.5, None], "a": "é"}, '{"b":[1,2.5,null],"a":"é"}'.encode()),
        ({}, b"{}"),
        ([1], b"[1]"),
        (0, b"0"),
        (False, b"false"),
        ('{"a": 1}', b'{"a": 1}'),
        ("é", "é".encode()),
    ],
)
async def test_a_body_is_compact_json_and_a_text_is_sent_as_it_is(
    body: Json, encoded: bytes
) -> None:
    request = await sent(RequestBody=body)
    assert request.body == encoded
    assert request.headers[-1] == JSON_TYPE


@pytest.mark.parametrize("body", [None, ""])
async def test_null_and_an_empty_text_are_no_body(body: Json) -> None:
    request = await sent(RequestBody=body)
    assert request.body is None
    assert JSON_TYPE not in request.headers


FORM = {
    "shared": "x y",
    "items": ["red green", "blue+gold"],
    "nested": {"enabled": True, "count": 2},
}


@pytest.mark.parametrize(
    ("array_format", "items"),
    [
        (None, "items%5B0%5D=red%20green&items%5B1%5D=blue%2Bgold"),
        ("INDICES", "items%5B0%5D=red%20green&items%5B1%5D=blue%2Bgold"),
        ("REPEAT", "items=red%20green&items=blue%2Bgold"),
        ("COMMAS", "items=red%20green%2Cblue%2Bgold"),
        ("BRACKETS", "items%5B%5D=red%20green&items%5B%5D=blue%2Bgold"),
    ],
)
async def test_a_form_is_encoded_as_recorded_on_aws(array_format: str | None, items: str) -> None:
    transform: dict[str, Json] = {"RequestBodyEncoding": "URL_ENCODED"}
    if array_format:
        transform["RequestEncodingOptions"] = {"ArrayFormat": array_format}
    request = await sent(Method="POST", RequestBody=FORM, Transform=transform)
    nested = "nested%5Benabled%5D=true&nested%5Bcount%5D=2"
    assert request.body == f"shared=x%20y&{items}&{nested}".encode()


async def test_a_form_keeps_a_text_and_refuses_an_array() -> None:
    transform = {"RequestBodyEncoding": "URL_ENCODED"}
    assert (await sent(RequestBody="a=b&c", Transform=transform)).body == b"a=b&c"
    refused = await HttpInvoke(ports(FakeEgress()))(
        arguments(RequestBody=[1], Transform=transform), SCOPE
    )
    assert refused == StatesError(
        "States.Runtime", "A RequestBody must be an object to be URL-encoded."
    )


async def test_a_deep_form_is_encoded_without_recursion() -> None:
    body: Json = "x"
    for _ in range(990):
        body = {"a": body}
    request = await sent(RequestBody=body, Transform={"RequestBodyEncoding": "URL_ENCODED"})
    assert request.body is not None
    assert request.body.startswith(b"a%5Ba%5D%5Ba%5D")


PARAMETERS = {
    "InvocationHttpParameters": {
        "HeaderParameters": [{"Key": "x-shared", "Value": "connection-header"}],
        "QueryStringParameters": [
            {"Key": "shared", "Value": "connection query"},
            {"Key": "connectionOnly", "Value": "query-only"},
        ],
        "BodyParameters": [
            {"Key": "shared", "Value": "connection body"},
            {"Key": "connectionOnly", "Value": "body-only"},
        ],
    }
}


async def test_the_connections_parameters_win_and_keep_the_tasks_places() -> None:
    request = await sent(
        connection_of(parameters={**API_KEY, **PARAMETERS}),
        Method="POST",
        Headers={"x-shared": "task", "X-Shared": "task-case-header", "x-own": ["1", "2"]},
        QueryParameters={"taskOnly": "a+b & c", "shared": "task"},
        RequestBody={"shared": {"deep": 1}, "own": 2},
    )
    assert request.headers == (
        AGENT,
        RANGE,
        KEY,
        ("x-shared", "connection-header"),
        ("X-Shared", "task-case-header"),
        ("x-own", "1"),
        ("x-own", "2"),
        JSON_TYPE,
    )
    assert request.url == (
        f"{URL}?taskOnly=a%2Bb%20%26%20c&shared=connection%20query&connectionOnly=query-only"
    )
    assert request.body == (b'{"shared":"connection body","own":2,"connectionOnly":"body-only"}')


@pytest.mark.parametrize("name", ["X-Key", "x-key", "X-KEY"])
async def test_nothing_is_put_beside_the_credential(name: str) -> None:
    """Joined, the two would be another credential, which the API may read as it likes."""
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "the key"}}
    request = await sent(connection_of(parameters=key), Headers={name: "admin", "x-own": "1"})
    assert request.headers == (AGENT, RANGE, ("X-Key", "the key"), ("x-own", "1"))


async def test_a_connection_with_body_parameters_makes_a_body() -> None:
    request = await sent(connection_of(parameters={**API_KEY, **PARAMETERS}))
    assert request.body == b'{"shared":"connection body","connectionOnly":"body-only"}'


@pytest.mark.parametrize("body", ["text", [1], 5])
async def test_body_parameters_do_not_merge_with_what_is_no_object(body: Json) -> None:
    connection = connection_of(parameters={**API_KEY, **PARAMETERS})
    failed = await HttpInvoke(ports(FakeEgress(), connection))(arguments(RequestBody=body), SCOPE)
    assert failed == StatesError(
        "States.Runtime",
        "Cannot merge connection body authorization parameters with request body.",
    )


@pytest.mark.parametrize(
    ("endpoint", "parameters", "url"),
    [
        (URL, {}, URL),
        (URL, {"a": 1, "b": True, "c": None, "d": [1, "x"]}, f"{URL}?a=1&b=true&c=&d=1&d=x"),
        (f"{URL}?x=y", {"a": "é"}, f"{URL}?x=y&a=%C3%A9"),
        (f"{URL}#part", {"a": "b"}, f"{URL}?a=b"),
        (URL, "a=b&c=d", f"{URL}?a=b&c=d"),
        (URL, ["a=b", "c=d"], f"{URL}?a=b&c=d"),
        (URL, {"a[0]": "x,y"}, f"{URL}?a%5B0%5D=x%2Cy"),
    ],
)
async def test_query_parameters_are_added_to_the_url(
    endpoint: str, parameters: Json, url: str
) -> None:
    assert (await sent(ApiEndpoint=endpoint, QueryParameters=parameters)).url == url


async def test_managed_headers_cannot_be_replaced_and_a_content_type_is_kept() -> None:
    request = await sent(
        Method="POST",
        RequestBody="a=b",
        Headers={
            "user-agent": "mine",
            "RANGE": "bytes=0-1",
            "content-type": "application/x-www-form-urlencoded",
        },
    )
    assert request.headers == (
        AGENT,
        RANGE,
        KEY,
        ("content-type", "application/x-www-form-urlencoded"),
    )


# --- Answers --------------------------------------------------------------------------------------


def answer(body: bytes, content_type: str | None, status: int = 200) -> Response:
    headers = (("Content-Type", content_type),) if content_type else ()
    return Response(status, "Whatever", headers, body)


@pytest.mark.parametrize(
    ("content_type", "body", "read"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/json; charset=utf-8", b"[1]", [1]),
        ("Application/JSON", b"null", None),
        ("application/problem+json", b'"x"', "x"),
        ("text/json", b"1", 1),
        ("application/json", b"\xef\xbb\xbf{}", {}),
        ("application/json", b"not json", "not json"),
        ("application/json; charset=utf-16", '{"é": 1}'.encode("utf-16"), {"é": 1}),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ('text/plain; charset="ISO-8859-1"', b"\xe9", "é"),
        ("text/html", "é".encode(), "é"),
        (None, b"text", "text"),
    ],
)
async def test_a_body_is_read_by_its_content_type(
    content_type: str | None, body: bytes, read: Json
) -> None:
    result = await result_of(answer(body, content_type))
    assert not isinstance(result, StatesError)
    assert result["ResponseBody"] == read


async def test_the_result_has_awss_shape_and_the_senders_header_names() -> None:
    headers = (("Content-Type", "text/plain"), ("X-A", "1"), ("set-cookie", "a"), ("x-a", "2"))
    result = await result_of(Response(206, "", headers, b"hello"))
    assert result == {
        "Headers": {"Content-Type": ["text/plain"], "X-A": ["1", "2"], "set-cookie": ["a"]},
        "ResponseBody": "hello",
        "StatusCode": 206,
        "StatusText": "Partial Content",
    }
    assert list(result) == ["Headers", "ResponseBody", "StatusCode", "StatusText"]


@pytest.mark.parametrize("status", [200, 204])
async def test_without_a_body_there_is_no_response_body(status: int) -> None:
    result = await result_of(answer(b"", "image/png", status))
    assert not isinstance(result, StatesError)
    assert "ResponseBody" not in result


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("application/octet-stream", "application/octet-stream"),
        ("image/png", "image/png"),
        ("VIDEO/mp4; codecs=x", "VIDEO/mp4"),
        ("audio/ogg", "audio/ogg"),
    ],
)
async def test_content_types_without_text_are_refused(content_type: str, named: str) -> None:
    assert await result_of(answer(b"x", content_type)) == StatesError(
        "States.Runtime",
        f"Unsupported response content-type '{named}'. Please see documentation for list of "
        "unsupported content-types.",
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"\xff\xfe"),
        ("application/json", b"\x1f\x8b\x08\x00\xff"),
        ("text/plain; charset=nonsense", b"x"),
        ("text/plain; charset=base64", b"eA=="),
        ("text/plain; charset=unicode_escape", b"\\ud800"),
        ("text/plain; charset=unicode_escape", b"a"),
        # Of Python's own: this takes minutes for 256 KiB, and the event loop with it.
        ("text/plain; charset=punycode", b"a-" + b"b" * 262_142),
        ("text/plain; charset=idna", b"a"),
        ("text/plain; charset=utf-16", b"\xff\xfe\x00"),
    ],
)
async def test_a_body_that_is_no_text_is_refused(content_type: str, body: bytes) -> None:
    failed = await result_of(answer(body, content_type))
    assert isinstance(failed, StatesError)
    assert failed.error == "States.Runtime"
    assert "is not a valid" in str(failed.cause)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (301, "Moved Permanently"),
        (304, "Not Modified"),
        (400, "Bad Request"),
        (403, "Forbidden"),
        (418, None),
        (429, "Too Many Requests"),
        (503, "Service Unavailable"),
        (599, None),
    ],
)
async def test_any_other_status_is_an_error_with_the_phrase_alone(
    status: int, cause: str | None
) -> None:
    """The answer's body is lost, as on AWS; so its size and type do not matter."""
    for body in (b'{"why": "secret"}', None):
        refused = Response(status, "I'm a teapot", (("Content-Type", "image/png"),), body)
        assert await result_of(refused) == StatesError(f"States.Http.StatusCode.{status}", cause)


async def test_a_body_over_the_limit_is_a_data_limit_error() -> None:
    failed = await result_of(Response(200, "OK", (), None))
    assert failed == StatesError(
        "States.DataLimitExceeded",
        "The state/task 'Call' returned a result with a size exceeding the maximum number of bytes "
        "service limit.",
    )


@pytest.mark.parametrize("error", [EgressFailed("why"), EgressRefused("why")])
async def test_what_does_not_get_through_is_a_socket_error(error: EgressError) -> None:
    assert await result_of(error) == StatesError("States.Http.Socket", "why")


async def test_the_deadline_covers_the_whole_task() -> None:
    invoke = HttpInvoke(ports(HangingEgress()), deadline=0.01)
    assert await invoke(arguments(), SCOPE) == StatesError(
        "States.Http.Socket", "The HTTP call did not end within 0.01 seconds."
    )


# --- Connections ----------------------------------------------------------------------------------


async def test_an_unknown_connection_is_not_found() -> None:
    invoke = HttpInvoke(ports(FakeEgress()))
    failed = await invoke(arguments(Authentication={"ConnectionArn": "nonsense"}), SCOPE)
    assert failed == StatesError(
        "Events.ConnectionResource.ResourceNotFound", "Connection 'nonsense' does not exist."
    )


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("AUTHORIZING", "AuthInProgress"),
        ("DEAUTHORIZED", "InvalidConnectionState"),
        ("DELETING", "InvalidConnectionState"),
        ("FAILED_CONNECTIVITY", "InvalidPrivateConnectionState"),
    ],
)
async def test_a_connection_that_is_not_ready_is_an_error_of_its_own(
    state: str, error: str
) -> None:
    egress = FakeEgress()
    failed = await HttpInvoke(ports(egress, connection_of(state=state)))(arguments(), SCOPE)
    assert failed == StatesError(
        f"Events.ConnectionResource.{error}", f"Connection '{ARN}' is in the state {state}."
    )
    assert egress.requests == []


OAUTH = {
    "OAuthParameters": {
        "ClientParameters": {"ClientID": "i", "ClientSecret": "s"},
        "AuthorizationEndpoint": "https://id.example.com/",
        "HttpMethod": "POST",
    }
}


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (TokenRefused("no token"), "Events.ConnectionResource.InternalError"),
        (EgressFailed("no token"), "States.Http.Socket"),
    ],
)
async def test_a_token_that_is_not_got_fails_the_task(trouble: EgressError, error: str) -> None:
    egress = FakeEgress()
    connection = connection_of("OAUTH_CLIENT_CREDENTIALS", OAUTH)
    invoke = HttpInvoke(ports(egress, connection, FakeTokens(trouble)))
    assert await invoke(arguments(), SCOPE) == StatesError(error, "no token")
    assert egress.requests == []


@pytest.mark.parametrize(("status", "forgets"), [(401, 1), (407, 1), (403, 0), (200, 0)])
async def test_a_token_that_the_api_refuses_is_forgotten(status: int, forgets: int) -> None:
    tokens = FakeTokens()
    connection = connection_of("OAUTH_CLIENT_CREDENTIALS", OAUTH)
    egress = FakeEgress(answer(b"", None, status))
    await HttpInvoke(ports(egress, connection, tokens))(arguments(), SCOPE)
    assert len(tokens.forgotten) == forgets


def test_the_task_is_registered_under_its_arn() -> None:
    assert isinstance(build(ports(FakeEgress()))["arn:aws:states:::http:invoke"], HttpInvoke)
