"""Whatever comes to the door with a good signature is answered in AWS's shape, never with a 500."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepout.api import operations
from stepout.api.caller import OPERATIONS
from stepout.aws import shapes, sigv4
from stepout.aws.sigv4 import SignedRequest
from stepout.secret import Secret
from stepout.testing import Server

operations.load()
MODELS = {model.name: model for model in map(shapes.load, ("stepfunctions", "events", "sts"))}
IDENTITIES = """
[user.fuzz]
access_key_id = "AKIDFUZZ"
secret_access_key = "fuzz"
policies = ["AdministratorAccess"]
"""
ARNS = [
    "arn:aws:states:us-east-1:123456789012:stateMachine:m",
    "arn:aws:states:us-east-1:123456789012:stateMachine:m:1",
    "arn:aws:iam::123456789012:role/r",
    "arn:",
    "arn:aws:states:::",
]
TEXTS = st.text(max_size=20) | st.sampled_from(
    [*ARNS, "EXPRESS", "API_KEY", "m", "{}", "\x00", "é"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("door") / Path("identities.toml")
    path.write_text(IDENTITIES)
    with Server(identities=path) as running:
        yield running


def members_of(service: str, operation: str) -> list[str]:
    model = MODELS[service]
    given_shape = model.operations[operation].input
    assert given_shape is not None
    return list(model.shapes[given_shape["shape"]].get("members", {}))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """An operation, and values for some of its members."""
    service, operation = draw(st.sampled_from(sorted(OPERATIONS)))
    names = st.sampled_from([*members_of(service, operation), "another"])
    return service, operation, draw(st.dictionaries(names, VALUES, max_size=6))


def send(server: Server, service: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    host = server.url.removeprefix("http://")
    bare = SignedRequest(
        "POST",
        "/",
        "",
        [(b"host", host.encode()), *((k.encode(), v.encode()) for k, v in headers.items())],
        body,
    )
    signed = sigv4.sign(
        bare,
        access_key_id="AKIDFUZZ",
        secret=Secret("fuzz"),
        region="us-east-1",
        service=service,
        now=time.time(),
    )
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("POST", "/", body, {k.decode(): v.decode() for k, v in signed})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def envelope(service: str, operation: str, members: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    model = MODELS[service]
    if model.protocol == "json":
        target = {"x-amz-target": f"{model.target_prefix}.{operation}"}
        return target, json.dumps(members).encode()
    flat = {name: str(value) for name, value in members.items()}
    form = {"Action": operation, "Version": model.api_version, **flat}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return headers, urlencode(form, errors="replace").encode()


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests())
def test_members_of_any_kind_are_answered(
    server: Server, request: tuple[str, str, dict[str, Any]]
) -> None:
    service, operation, members = request
    headers, body = envelope(service, operation, members)
    status, answer = send(server, service, headers, body)
    assert status in (200, 400, 403), (operation, members, answer)
    assert_shaped(service, status, answer)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    service=st.sampled_from(sorted(MODELS)),
    target=st.sampled_from(["StartSyncExecution", "CreateConnection", "AssumeRole", "é", ""]),
    body=st.binary(max_size=300)
    | st.binary(max_size=40).map(lambda middle: b'{"input": "' + middle + b'"}')
    | st.text(max_size=60).map(str.encode),
)
def test_bodies_of_any_kind_are_answered(
    server: Server, service: str, target: str, body: bytes
) -> None:
    model = MODELS[service]
    name = target.encode("ascii", "replace").decode()
    headers = (
        {"x-amz-target": f"{model.target_prefix}.{name}"}
        if model.protocol == "json"
        else {"content-type": "application/x-www-form-urlencoded"}
    )
    status, answer = send(server, service, headers, body)
    assert status in (200, 400, 403, 404), (target, body, answer)
    assert_shaped(service, status, answer)


def assert_shaped(service: str, status: int, answer: bytes) -> None:
    if MODELS[service].protocol == "query":
        assert answer.startswith(b"<")
        return
    document = json.loads(answer)
    assert isinstance(document, dict)
    assert status == 200 or {"__type", "message"} <= set(document)
