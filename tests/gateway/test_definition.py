"""The gateway machine, run by the engine with a function in the place of the HTTP Task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepout
from stepout.errors import NotCarried
from stepout.gateway.codec import decode, encode
from stepout.gateway.definition import gateway_machine, passthrough_machine
from stepout.gateway.messages import Request
from stepout.gateway.upstreams import METHODS, Upstreams
from stepout.testing import Server

UPSTREAMS = Upstreams.parse("""
[upstream.host]
url = "https://api.example.com/"

[upstream.inner]
url = "https://api.example.com/inner/"
methods = ["GET", "POST"]
retries = 2

[upstream.other]
url = "https://other.example.com:8443/v1/"
methods = ["GET"]
""")
ARNS = {
    name: f"arn:aws:events:us-east-1:123456789012:connection/{name}/0d1b0c0f-0000-4000-8000-000000000000"
    for name in UPSTREAMS.names
}
DEFINITION = gateway_machine(UPSTREAMS, ARNS)
MACHINE = stepout.Machine.parse(json.dumps(DEFINITION), is_express=True)
TASKS = [name for name, state in DEFINITION["States"].items() if state["Type"] == "Task"]


class Api:
    """Stands for every HTTP Task: notes what it is asked, and answers or fails."""

    def __init__(self, *errors: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self._errors = list(errors)

    def __call__(self, arguments: Any) -> Any:
        self.asked.append(arguments)
        if self._errors:
            raise stepout.TaskFailed(self._errors.pop(0), "as it is told")
        return {"Headers": {}, "StatusCode": 200, "StatusText": "OK"}

    @property
    def connections(self) -> list[str]:
        """Names of the connections that were used."""
        arns = [arguments["InvocationConfig"]["ConnectionArn"] for arguments in self.asked]
        return [arn.split("/")[1] for arn in arns]


def given_input(url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"url": url, "method": method, "headers": {}, "query": {}, "body": "", **more}


async def run(api: Any, source: Any) -> stepout.Result:
    return await stepout.run(MACHINE, source, tasks=dict.fromkeys(TASKS, api))


@pytest.mark.parametrize(
    ("method", "url", "connection"),
    [
        ("GET", "https://api.example.com/x", "host"),
        ("DELETE", "https://api.example.com/", "host"),
        ("GET", "https://api.example.com/inner/x", "inner"),
        ("POST", "https://api.example.com/inner/", "inner"),
        ("GET", "https://api.example.com/innermost", "host"),
        ("GET", "https://other.example.com:8443/v1/x", "other"),
    ],
)
async def test_the_longest_prefix_has_the_request(method: str, url: str, connection: str) -> None:
    api = Api()
    result = await run(api, given_input(url, method))
    assert (result.status, api.connections) == ("SUCCEEDED", [connection])


@pytest.mark.parametrize(
    ("method", "url", "error"),
    [
        ("DELETE", "https://api.example.com/inner/x", "Gateway.MethodNotAllowed"),
        ("POST", "https://other.example.com:8443/v1/x", "Gateway.MethodNotAllowed"),
        ("GET", "https://other.example.com/v1/x", "Gateway.UnknownUpstream"),
        ("GET", "https://api.example.com.evil.test/", "Gateway.UnknownUpstream"),
        ("GET", "https://api.example.com@evil.test/", "Gateway.UnknownUpstream"),
        ("GET", "https://api.example.com:444/", "Gateway.UnknownUpstream"),
        ("GET", "https://API.example.com/", "Gateway.UnknownUpstream"),
        ("GET", "http://api.example.com/", "Gateway.UnknownUpstream"),
        ("GET", "https://api.example.com./", "Gateway.UnknownUpstream"),
        ("GET", "", "Gateway.UnknownUpstream"),
        *(
            ("GET", f"https://api.example.com/inner/{leaf}", "Gateway.PathNotClosed")
            for leaf in ("../x", "..", "..;/x", "..%2fx", "%2e%2e/x", ".%2E/x", "a\\..\\x", "%5cx", "x?y", "x#y")
        ),
    ],
)  # fmt: skip
async def test_what_is_no_upstreams_reaches_no_task(method: str, url: str, error: str) -> None:
    api = Api()
    result = await run(api, given_input(url, method))
    assert (result.status, result.error, api.asked) == ("FAILED", error, [])


async def test_no_input_chooses_a_connection() -> None:
    api = Api()
    stolen = {"ConnectionArn": ARNS["other"]}
    more: dict[str, Any] = {
        "Authentication": stolen,
        "InvocationConfig": stolen,
        "connectionArn": ARNS["other"],
    }
    await run(api, given_input("https://api.example.com/x", **more))
    assert api.connections == ["host"]
    assert "Authentication" not in api.asked[0]
    for name in TASKS:
        config = DEFINITION["States"][name]["Parameters"]["InvocationConfig"]
        assert config["ConnectionArn"] in ARNS.values()


async def test_a_status_that_is_not_2xx_is_data_and_any_other_failure_fails() -> None:
    url = given_input("https://api.example.com/x")
    result = await run(Api("States.Http.StatusCode.404"), url)
    assert result.output == {"Error": "States.Http.StatusCode.404", "Cause": "as it is told"}
    for error in ("States.Http.Socket", "Events.ConnectionResource.AccessDenied", "Other"):
        result = await run(Api(error), url)
        assert (result.status, result.error, result.cause) == ("FAILED", error, "as it is told")


@pytest.mark.parametrize(
    ("method", "error", "attempts"),
    [
        ("POST", "States.Http.StatusCode.503", 1),
        ("POST", "States.Http.Socket", 1),
        ("GET", "States.Http.StatusCode.404", 1),
        ("GET", "Events.ConnectionResource.ResourceNotFound", 1),
    ],
)
async def test_what_may_not_be_sent_twice_is_not_repeated(
    method: str, error: str, attempts: int
) -> None:
    api = Api(error)
    await run(api, given_input("https://api.example.com/inner/x", method))
    assert len(api.asked) == attempts


def test_only_the_task_of_idempotent_requests_repeats() -> None:
    repeats = {
        name: [retrier["MaxAttempts"] for retrier in DEFINITION["States"][name]["Retry"]]
        for name in TASKS
    }
    # All repeat what was refused before anything was sent.
    assert repeats == {"inner, repeated": [3, 2], "inner": [3], "host": [3], "other": [3]}
    (route,) = [
        rule
        for rule in DEFINITION["States"]["Route"]["Choices"]
        if rule["Next"] == "inner, repeated"
    ]
    assert route["And"][1] == {"Variable": "$.method", "StringEquals": "GET"}


def test_an_upstream_that_takes_every_method_needs_no_refusal() -> None:
    upstreams = Upstreams.parse('[upstream.a]\nurl = "https://a.example.com/"\n')
    stepout.Machine.parse(
        json.dumps(gateway_machine(upstreams, {"a": ARNS["host"]})), is_express=True
    )


def test_the_machine_of_the_article_says_what_is_wrong_with_it() -> None:
    definition = passthrough_machine()
    stepout.Machine.parse(json.dumps(definition), is_express=True)
    assert definition["Comment"].startswith("WARNING: the caller chooses URL and connection")


pieces = st.sampled_from(
    ["https://", "http://", "api.example.com", "other.example.com", ":8443", ":443", "/", "//", "inner", "v1",
     "..", ".", "%2e", "%2F", "\\", "@", "?", "#", ";", "*", "x", "ä", " ", "API.EXAMPLE.COM", ".evil.test"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=9), st.sampled_from(METHODS))
async def test_client_and_machine_agree_on_every_url(parts: list[str], method: str) -> None:
    """What the client lets through, the machine sends to the same upstream, below its prefix."""
    try:
        encoded = encode(Request(method, "".join(parts)), UPSTREAMS)
    except NotCarried:
        return
    api = Api()
    result = await run(api, json.loads(encoded.input))
    assert (result.status, api.connections) == ("SUCCEEDED", [encoded.upstream])
    prefix = next(upstream.url for upstream in UPSTREAMS if upstream.name == encoded.upstream)
    assert api.asked[0]["ApiEndpoint"].startswith(prefix)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=9))
async def test_the_machine_alone_keeps_every_url_below_its_prefix(parts: list[str]) -> None:
    """A caller who does not use the client."""
    api = Api()
    await run(api, given_input("".join(parts)))
    for arguments, connection in zip(api.asked, api.connections, strict=True):
        prefix = next(upstream.url for upstream in UPSTREAMS if upstream.name == connection)
        assert arguments["ApiEndpoint"].startswith(prefix)
        assert "/.." not in arguments["ApiEndpoint"]


# --- Attacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leaf",
    ["x%2f..%2fy", "x%2F..%2F..%2Fy", "x/..", "..", "..;x", "...", ".\t./x", ".\n./x", "\r", "x%2e", "x%2E%2e",
     "%252e%2e", "x\\", "\\..\\", "x%5Cy", "?", "#", "x?y#z"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_may_lead_out_reaches_no_task(leaf: str, method: str) -> None:
    api = Api()
    result = await run(api, given_input(f"https://api.example.com/inner/{leaf}", method))
    assert (result.status, result.error) == ("FAILED", "Gateway.PathNotClosed")
    assert api.asked == []


@pytest.mark.parametrize(
    "leaf",
    ["a..b", "..".join("ab"), "x.", ".x", "%25", "%252e%252e", "a;b=c", "a:b@c", "~", "x/./y"],
)
async def test_a_path_that_only_looks_so_goes_through(leaf: str) -> None:
    api = Api()
    result = await run(api, given_input(f"https://api.example.com/inner/{leaf}"))
    assert (result.status, api.connections) == ("SUCCEEDED", ["inner"])


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "https://api.example.com:443/x", "https://api.example.com:8443/v1/x",
     "https://other.example.com:8443/v2/", "https://other.example.com:8443/v1", "https://other.example.com.:8443/v1/x",
     "https://api.example.com:@evil.test/", "https://api.example.com%2f@evil.test/", "https://evil.test/https://api.example.com/",
     "https://api.example.com%00.evil.test/", "//api.example.com/x", "HTTPS://api.example.com/x", " https://api.example.com/x",
     "https://api.example.com\t/x", "https:/api.example.com/x", "https://аpi.example.com/x", "https://api.example.com．/x"],
)  # fmt: skip
async def test_a_host_that_only_looks_like_an_upstreams_reaches_no_task(url: str) -> None:
    api = Api()
    result = await run(api, given_input(url))
    assert (result.status, api.asked) == ("FAILED", [])
    assert result.error in ("Gateway.UnknownUpstream", "Gateway.PathNotClosed")


@pytest.mark.parametrize("url", [None, 5, True, ["https://api.example.com/x"], {"url": "x"}])
async def test_a_url_that_is_no_text_reaches_no_task(url: Any) -> None:
    api = Api()
    result = await run(api, given_input(url))
    assert (result.status, result.error, api.asked) == ("FAILED", "Gateway.UnknownUpstream", [])


@pytest.mark.parametrize("missing", ["url", "method", "headers", "query", "body"])
async def test_an_input_without_a_member_reaches_no_api(missing: str) -> None:
    api = Api()
    source = given_input("https://api.example.com/inner/x")
    del source[missing]
    result = await run(api, source)
    assert (result.status, result.error, api.asked) == ("FAILED", "States.Runtime", [])


@pytest.mark.parametrize("method", ["get", "TRACE", "", "GET ", None, ["GET"], {"x": 1}, "*"])
async def test_a_method_that_an_upstream_does_not_name_reaches_none_of_its_tasks(
    method: Any,
) -> None:
    api = Api()
    result = await run(api, given_input("https://api.example.com/inner/x", method))
    assert (result.status, result.error) == ("FAILED", "Gateway.MethodNotAllowed")
    assert api.asked == []


def test_connections_are_written_in_and_nothing_else_is_taken_from_the_input() -> None:
    for name in TASKS:
        parameters = DEFINITION["States"][name]["Parameters"]
        assert parameters["InvocationConfig"] == {"ConnectionArn": ARNS[name.partition(",")[0]]}
        taken = {key: value for key, value in parameters.items() if key.endswith(".$")}
        assert taken == {
            "ApiEndpoint.$": "$.url",
            "Method.$": "$.method",
            "Headers.$": "$.headers",
            "QueryParameters.$": "$.query",
            "RequestBody.$": "$.body",
        }
    # Nowhere else could a path name one.
    assert json.dumps(DEFINITION).count("ConnectionArn") == len(TASKS)


async def test_a_connection_in_any_member_of_the_input_stays_data() -> None:
    api = Api()
    stolen = {"InvocationConfig": {"ConnectionArn": ARNS["other"]}}
    source = given_input("https://api.example.com/x", "POST")
    for member in ("query", "body"):
        await run(api, {**source, member: stolen})
    await run(api, {**source, "headers": {"InvocationConfig": ARNS["other"]}})
    assert api.connections == ["host"] * 3


async def test_what_goes_to_the_task_is_what_came() -> None:
    api = Api()
    source = {
        "url": "https://api.example.com/inner/a%20b",
        "method": "POST",
        "headers": {"X": "$.url", "Y.$": "States.UUID()"},
        "query": "a=$.url&b",
        "body": "$.headers {} States.Format('{}', 1)",
    }
    await run(api, source)
    (asked,) = api.asked
    assert asked == {
        "ApiEndpoint": source["url"],
        "Method": "POST",
        "InvocationConfig": {"ConnectionArn": ARNS["inner"]},
        "Headers": source["headers"],
        "QueryParameters": source["query"],
        "RequestBody": source["body"],
    }


# --- How it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 400, 401, 418, 429, 500, 503, 599])
async def test_every_status_is_data(status: int) -> None:
    error = f"States.Http.StatusCode.{status}"
    result = await run(Api(error), given_input("https://api.example.com/x"))
    assert (result.status, result.output["Error"]) == ("SUCCEEDED", error)
    response = decode({"status": "SUCCEEDED", "output": json.dumps(result.output)}, "https://x/")
    assert (response.status_code, response.is_body_carried) == (status, False)


async def test_a_status_without_a_cause_is_data_too_and_a_failure_without_one_fails() -> None:
    """AWS gives no cause for a status without a standard phrase."""

    def without(error: str) -> Any:
        def fail(_arguments: Any) -> Any:
            raise stepout.TaskFailed(error)

        return fail

    source = given_input("https://api.example.com/x")
    result = await run(without("States.Http.StatusCode.418"), source)
    assert (result.status, result.output["Error"]) == ("SUCCEEDED", "States.Http.StatusCode.418")
    result = await run(without("States.Http.Socket"), source)
    assert (result.status, result.error, result.cause) == ("FAILED", "States.Http.Socket", "")


@pytest.mark.parametrize(
    "error", ["States.Timeout", "States.Runtime", "States.DataLimitExceeded", "States.Permissions"]
)
async def test_a_failure_of_the_service_keeps_its_name(error: str) -> None:
    result = await run(Api(error), given_input("https://api.example.com/x"))
    assert (result.status, result.error) == ("FAILED", error)


async def test_the_answer_of_an_api_cannot_pass_for_an_error_of_the_machine() -> None:
    def answer(_arguments: Any) -> Any:
        body = {"Error": "States.Http.Socket", "Cause": "x"}
        return {"Headers": {}, "ResponseBody": body, "StatusCode": 200, "StatusText": "OK"}

    result = await run(answer, given_input("https://api.example.com/x"))
    response = decode({"status": "SUCCEEDED", "output": json.dumps(result.output)}, "https://x/")
    assert (response.status_code, response.json()["Error"]) == (200, "States.Http.Socket")


def test_what_may_be_sent_twice_is_repeated_for_what_passes_by_itself() -> None:
    upstreams = Upstreams.parse(
        '[upstream.a]\nurl = "https://a.example.com/"\nretries = 5\ntimeout = 7'
    )
    states = gateway_machine(upstreams, {"a": ARNS["host"]})["States"]
    unsent, repeated = states["a, repeated"]["Retry"]
    assert unsent["ErrorEquals"] == ["Events.ConnectionResource.ConcurrentModification"]
    assert repeated["MaxAttempts"] == 5
    assert "States.Timeout" in repeated["ErrorEquals"]
    assert "States.Http.StatusCode.429" in repeated["ErrorEquals"]
    assert not {"States.ALL", "States.TaskFailed", "States.Http.StatusCode.404"} & {
        *repeated["ErrorEquals"]
    }
    assert [states[name]["TimeoutSeconds"] for name in ("a", "a, repeated")] == [7, 7]
    routed = {
        rule["Next"]: {method["StringEquals"] for method in rule["And"][1]["Or"]}
        for rule in states["Route"]["Choices"]
        if rule["Next"] == "a, repeated"
    }
    assert routed == {"a, repeated": {"GET", "PUT", "DELETE", "OPTIONS", "HEAD"}}


@pytest.mark.parametrize(
    ("methods", "tasks"),
    [
        ('["GET"]', ["a, repeated"]),
        ('["POST", "PATCH"]', ["a"]),
        ('["GET", "POST"]', ["a, repeated", "a"]),
    ],
)
def test_a_task_that_no_request_could_enter_is_not_made(methods: str, tasks: list[str]) -> None:
    text = f'[upstream.a]\nurl = "https://a.example.com/"\nretries = 1\nmethods = {methods}'
    definition = gateway_machine(Upstreams.parse(text), {"a": ARNS["host"]})
    stepout.Machine.parse(json.dumps(definition), is_express=True)
    found = [name for name, state in definition["States"].items() if state["Type"] == "Task"]
    assert found == tasks


# --- As AWS takes it ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def states() -> Iterator[Any]:
    with Server() as server:
        yield server.client("stepfunctions")


@pytest.mark.parametrize(
    "definition", [DEFINITION, passthrough_machine()], ids=["gateway", "passthrough"]
)
def test_the_machines_pass_the_service(states: Any, definition: Any) -> None:
    found = states.validate_state_machine_definition(
        definition=json.dumps(definition), type="EXPRESS", severity="WARNING"
    )
    assert (found["result"], found["diagnostics"]) == ("OK", [])


def test_a_hundred_upstreams_fit_a_definition(states: Any) -> None:
    text = "".join(
        f'[upstream.u{n}]\nurl = "https://u{n}.example.com/"\nretries = 1\nmethods = ["GET", "POST"]\n'
        for n in range(100)
    )
    upstreams = Upstreams.parse(text)
    definition = gateway_machine(upstreams, dict.fromkeys(upstreams.names, ARNS["host"]))
    found = states.validate_state_machine_definition(
        definition=json.dumps(definition), type="EXPRESS"
    )
    assert found["result"] == "OK"


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40), st.sampled_from(["", "https://api.example.com/", UPSTREAMS.items[0].url])
)
async def test_any_text_as_a_url_stays_below_its_prefix(tail: str, head: str) -> None:
    api = Api()
    result = await run(api, given_input(head + tail))
    assert len(api.asked) == (result.status == "SUCCEEDED")
    for arguments, connection in zip(api.asked, api.connections, strict=True):
        prefix = next(upstream.url for upstream in UPSTREAMS if upstream.name == connection)
        assert arguments["ApiEndpoint"].startswith(prefix)
        assert not set("?#\\\t\r\n") & set(arguments["ApiEndpoint"])
        # What the machine takes, the client sends to the same upstream.
        encoded = encode(Request("GET", arguments["ApiEndpoint"]), UPSTREAMS)
        assert encoded.upstream == connection
