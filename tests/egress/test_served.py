"""`stepout serve` with a policy: who asks, upstreams, tokens, reload."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepout.client import Gateway
from stepout.errors import CallRefused, SettingsError
from stepout.origin import Origin
from stepout.secret import Secret
from stepout.tasks.credentials import CANNOT_CONNECT
from stepout.testing import Server

URL = "https://api.example.com/v1/x"
ROLE = "arn:aws:iam::123456789012:role/caller"

UPSTREAMS = """
[upstream.api]
url = "https://api.example.com/v1/"
methods = ["GET"]
auth = "oauth"
client_id = "me"
token_url = "https://id.example.com/token"
secret = { env = "CLIENT_SECRET" }
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CLIENT_SECRET", "sesame")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        running.get(URL).respond(json={"is": "here"})
        running.post("https://id.example.com/token").respond(json={"access_token": "t"})
        yield running


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "egress.toml"


def call(server: Server, url: str = URL, role: str = ROLE, name: str = "m") -> Any:
    """The answer of a machine of one HTTP Task."""
    events, sfn = server.client("events"), server.client("stepfunctions")
    connection = events.create_connection(
        Name=f"c{time.perf_counter_ns()}",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "v"}},
    )["ConnectionArn"]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {
            "ApiEndpoint": url,
            "Method": "GET",
            "Authentication": {"ConnectionArn": connection},
        },
        "End": True,
    }
    machine = sfn.create_state_machine(
        name=f"{name}{time.perf_counter_ns()}",
        type="EXPRESS",
        roleArn=role,
        definition=json.dumps({"StartAt": "Call", "States": {"Call": task}}),
    )["stateMachineArn"]
    return sfn.start_sync_execution(stateMachineArn=machine, input="{}")


def gateway_of(server: Server, upstreams: Path) -> Gateway:
    """The gateway once its connections have their tokens."""
    deadline = time.monotonic() + 30
    events = server.client("events")
    while {one["ConnectionState"] for one in events.list_connections()["Connections"]} != {
        "AUTHORIZED"
    }:
        assert time.monotonic() < deadline
    assert server.gateway_arn is not None
    return Gateway(server.gateway_arn, upstreams=upstreams, endpoint_url=server.url)


def test_a_rule_is_for_the_executions_role_and_machine_and_its_connection(
    origin: Origin, policy: Path
) -> None:
    policy.write_text(f"""
        [[allow]]
        name = "callers"
        hosts = ["api.example.com"]
        roles = ["{ROLE}"]
        machines = ["arn:aws:states:*:123456789012:stateMachine:good*"]
        connections = ["arn:aws:events:*:*:connection/c*"]
    """)
    with Server(origin=origin, egress_policy=policy) as server:
        assert call(server, name="good")["status"] == "SUCCEEDED"
        for refused in (
            call(server, name="bad"),
            call(server, name="good", role=f"{ROLE}s"),
            call(server, name="good", url="https://other.example.com/"),
        ):
            assert refused["error"] == "States.Http.Socket"
            assert refused["cause"].startswith("not-allowed: ")
    assert len(origin.exchanges) == 1


def test_upstreams_and_their_token_endpoints_are_let_out_and_nothing_else(
    origin: Origin, policy: Path, tmp_path: Path
) -> None:
    policy.write_text('default = "deny"\nupstreams = true\n')
    upstreams = tmp_path / "upstreams.toml"
    upstreams.write_text(UPSTREAMS)
    with Server(origin=origin, egress_policy=policy, upstreams=upstreams) as server:
        gateway = gateway_of(server, upstreams)
        assert gateway.request("GET", URL).json() == {"is": "here"}
        assert call(server, "https://api.example.com/v1/../x")["cause"].startswith("path-ambig")
        assert call(server, "https://api.example.com/v2/")["cause"].startswith("not-allowed: ")
        assert call(server, "https://id.example.com/token")["cause"].startswith("not-allowed: ")


def test_a_deny_rule_is_above_the_upstreams(origin: Origin, policy: Path, tmp_path: Path) -> None:
    policy.write_text('upstreams = true\n[[deny]]\nname = "stop"\npaths = ["/v1/x"]\n')
    upstreams = tmp_path / "upstreams.toml"
    upstreams.write_text(UPSTREAMS)
    with Server(origin=origin, egress_policy=policy, upstreams=upstreams) as server:
        gateway = gateway_of(server, upstreams)
        with pytest.raises(CallRefused, match="denied: stop"):
            gateway.request("GET", URL)


def test_a_token_endpoint_that_no_rule_has_is_not_asked(origin: Origin, policy: Path) -> None:
    policy.write_text('[[allow]]\nname = "api"\nhosts = ["api.example.com"]\n')
    with Server(origin=origin, egress_policy=policy) as server:
        made = server.client("events").create_connection(
            Name="oauth",
            AuthorizationType="OAUTH_CLIENT_CREDENTIALS",
            AuthParameters={
                "OAuthParameters": {
                    "ClientParameters": {"ClientID": "me", "ClientSecret": "sesame"},
                    "AuthorizationEndpoint": "https://id.example.com/token",
                    "HttpMethod": "POST",
                }
            },
        )
        assert made["ConnectionState"] == "AUTHORIZING"
        deadline = time.monotonic() + 30
        while "StateReason" not in (
            described := server.client("events").describe_connection(Name="oauth")
        ):
            assert time.monotonic() < deadline
        assert described["StateReason"] == CANNOT_CONNECT
    assert origin.exchanges == []


def test_a_changed_file_takes_effect_without_a_restart(
    origin: Origin, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepout.api.reload.INTERVAL_SECONDS", 0.01)
    policy.write_text('default = "allow-public"\n')
    with Server(origin=origin, egress_policy=policy) as server:
        assert call(server)["status"] == "SUCCEEDED"
        policy.write_text('[[deny]]\nname = "stop"\n')
        deadline = time.monotonic() + 30
        while (answer := call(server))["status"] == "SUCCEEDED":
            assert time.monotonic() < deadline
        assert answer["cause"] == "denied: stop"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode = 1", "mode: expected 'enforce' or 'report', found 1."),
        ("upstreams = true", "upstreams: expected a server with --upstreams FILE"),
    ],
)
def test_a_server_does_not_start_on_a_policy_that_cannot_be_used(
    policy: Path, text: str, problem: str
) -> None:
    policy.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Server(egress_policy=policy).start()
    assert problem in str(caught.value)


def test_a_server_goes_out_through_its_proxy(origin: Origin) -> None:
    """There is none: the message says which."""
    proxy = Secret("http://ann:sesame@127.0.0.1:1/")
    with Server(origin=origin, egress_proxy=proxy) as server:
        cause = call(server)["cause"]
    assert cause.startswith("The proxy 127.0.0.1:1 cannot be reached")
    assert "sesame" not in cause
