"""The gateway machine, run by the engine with a function in the place of the HTTP Task."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepout
from stepout.errors import NotCarried
from stepout.gateway.codec import encode
from stepout.gateway.definition import gateway_machine, passthrough_machine
from stepout.gateway.messages import Request
from stepout.gateway.upstreams import METHODS, Upstreams

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


async def run(api: Api, source: Any) -> stepout.Result:
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
