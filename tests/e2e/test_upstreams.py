"""`stepout serve --upstreams`, and the extensions that the client makes use of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepout.client import Gateway
from stepout.errors import CallFailed, NotCarried, SettingsError
from stepout.testing import Origin, Server

UPSTREAMS = """
[gateway]
machine = "way-out"
passthrough = true

[upstream.keyed]
url = "https://api.example.com/v1/"
auth = "api-key"
header = "Authorization"
prefix = "Bearer "

[upstream.basic]
url = "https://basic.example.com/"
auth = "basic"
username = "me"
secret = { file = "%s" }

[upstream.token]
url = "https://oauth.example.com/"
auth = "oauth"
client_id = "id"
token_url = "https://auth.example.com/token"
scope = "read"
secret = { env = "CLIENT_SECRET" }

[upstream.open]
url = "https://open.example.com/"
methods = ["GET"]
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("STEPOUT_SECRET_KEYED", "first")
    monkeypatch.setenv("CLIENT_SECRET", "of the client")


@pytest.fixture
def upstreams(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("pass word\n")
    file = tmp_path / "upstreams.toml"
    file.write_text(UPSTREAMS % (tmp_path / "password"))
    return file


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as found:
        yield found


def gateway_of(server: Server, upstreams: Path, **options: int) -> Gateway:
    assert server.gateway_arn is not None
    arn = server.gateway_arn
    return Gateway(arn, upstreams=upstreams, endpoint_url=server.url, **options)


def test_every_upstream_is_called_with_its_own_credential(upstreams: Path, origin: Origin) -> None:
    token = origin.post("https://auth.example.com/token").respond(200, json={"access_token": "t0k"})
    expected = {
        "https://api.example.com/v1/x": "Bearer first",
        "https://basic.example.com/x": "Basic bWU6cGFzcyB3b3Jk",
        "https://oauth.example.com/x": "Bearer t0k",
        "https://open.example.com/x": None,
    }
    routes = {url: origin.get(url).respond(200, json={"for": url}) for url in expected}
    with Server(origin=origin, upstreams=upstreams) as server:
        events = server.client("events")
        wait_until_authorized(events)
        with gateway_of(server, upstreams) as gateway:
            for url in expected:
                assert gateway.request("GET", url).json() == {"for": url}
    for url, credential in expected.items():
        (request,) = routes[url].requests
        assert request.header("authorization") == credential
    assert b"client_secret=of%20the%20client" in token.requests[0].body


def wait_until_authorized(events: Any) -> None:
    for _ in range(1_000):
        found = events.list_connections()["Connections"]
        states = {item["ConnectionState"] for item in found}
        if states == {"AUTHORIZED"}:
            return
    raise AssertionError(states)


def test_a_restart_takes_a_rotated_secret_and_a_changed_file(
    upstreams: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.post("https://auth.example.com/token").respond(200, json={"access_token": "t0k"})
    route = origin.get("https://api.example.com/v1/x").respond(200, json={})
    data = tmp_path / "data"
    arns = []
    for secret in ("first", "second"):
        monkeypatch.setenv("STEPOUT_SECRET_KEYED", secret)
        with Server(origin=origin, upstreams=upstreams, data=data) as server:
            arns.append(server.gateway_arn)
            with gateway_of(server, upstreams) as gateway:
                gateway.request("GET", "https://api.example.com/v1/x")
        upstreams.write_text(upstreams.read_text().replace('["GET"]', '["GET", "POST"]'))
    assert arns[0] == arns[1]
    assert [request.header("authorization") for request in route.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    with Server(origin=origin, upstreams=upstreams, data=data) as server:
        states = server.client("stepfunctions")
        text = states.describe_state_machine(stateMachineArn=server.gateway_arn)["definition"]
        machines = {item["name"] for item in states.list_state_machines()["stateMachines"]}
    assert '"POST"' in text
    assert "second" not in text
    assert machines == {"way-out", "stepout-passthrough"}


def test_a_restart_gives_the_gateway_its_own_role_back(upstreams: Path, tmp_path: Path) -> None:
    """Whoever may update the machine could else run it with another role for good."""
    data, other = tmp_path / "data", "arn:aws:iam::123456789012:role/other"
    with Server(upstreams=upstreams, data=data) as server:
        sfn = server.client("stepfunctions")
        sfn.update_state_machine(stateMachineArn=server.gateway_arn, roleArn=other)
    with Server(upstreams=upstreams, data=data) as server:
        sfn = server.client("stepfunctions")
        found = sfn.describe_state_machine(stateMachineArn=server.gateway_arn)
        assert found["roleArn"] == "arn:aws:iam::123456789012:role/way-out"


def test_a_machine_that_is_no_gateway_is_not_taken_for_one(upstreams: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data=data) as server:
        server.client("stepfunctions").create_state_machine(
            name="way-out",
            type="STANDARD",
            roleArn="arn:aws:iam::123456789012:role/other",
            definition='{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}',
        )
    with pytest.raises(SettingsError, match="way-out is there and not of the type EXPRESS"):
        Server(upstreams=upstreams, data=data).start()


def test_every_secret_that_is_missing_is_told_at_the_start(
    upstreams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEPOUT_SECRET_KEYED")
    monkeypatch.delenv("CLIENT_SECRET")
    with pytest.raises(SettingsError) as caught, Server(upstreams=upstreams):
        pass
    assert sorted(str(caught.value).splitlines()) == [
        "[upstream.keyed]: Expected a secret in the variable STEPOUT_SECRET_KEYED, found nothing.",
        "[upstream.token]: Expected a secret in the variable CLIENT_SECRET, found nothing.",
    ]


def test_a_secret_that_a_connection_cannot_hold_is_refused_without_being_shown(
    upstreams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPOUT_SECRET_KEYED", "not:allowed")
    with (
        pytest.raises(SettingsError, match=r"^\[upstream\.keyed\]: ") as caught,
        Server(upstreams=upstreams),
    ):
        pass
    assert "not:allowed" not in str(caught.value)


# --- Extensions -----------------------------------------------------------------------------------

OPEN = """
[upstream.open]
url = "https://open.example.com/"
"""


@pytest.fixture
def open_upstreams(tmp_path: Path) -> Path:
    file = tmp_path / "open.toml"
    file.write_text(OPEN)
    return file


def test_error_bodies_are_carried_where_the_server_keeps_them(
    open_upstreams: Path, origin: Origin
) -> None:
    body = {"error": {"code": "card_declined", "amount": 1.0}}
    origin.post("https://open.example.com/pay").respond(
        402, json=body, headers={"X-Request-Id": "r1"}
    )
    origin.get("https://open.example.com/icon").respond(
        404, body=b"\x89PNG\xff", headers={"Content-Type": "image/png"}
    )
    with (
        Server(origin=origin, upstreams=open_upstreams, error_bodies=True) as server,
        gateway_of(server, open_upstreams) as gateway,
    ):
        response = gateway.request("POST", "https://open.example.com/pay", json={})
        binary = gateway.request("GET", "https://open.example.com/icon")
    assert (response.status_code, response.reason) == (402, "Payment Required")
    assert response.json() == body
    assert response.content == json.dumps(body, separators=(",", ":")).encode()
    assert response.headers["x-request-id"] == "r1"
    # A body that no Task can carry stays behind all the same.
    assert (binary.status_code, binary.content) == (404, b"")
    assert binary.headers["content-type"] == "image/png"


def test_a_caught_error_has_the_standard_phrase_unless_the_extension_is_on(
    open_upstreams: Path, origin: Origin
) -> None:
    origin.get("https://open.example.com/x").respond(404, json={"why": "gone"})
    with (
        Server(origin=origin, upstreams=open_upstreams) as server,
        gateway_of(server, open_upstreams) as gateway,
    ):
        response = gateway.request("GET", "https://open.example.com/x")
    assert not response.is_body_carried


def test_a_larger_payload_is_carried_where_server_and_client_say_so(
    open_upstreams: Path, origin: Origin
) -> None:
    text = "äx" * 200_000
    route = origin.post("https://open.example.com/echo").respond(200, text=text)
    with Server(origin=origin, upstreams=open_upstreams, payload_limit=2_000_000) as server:
        with gateway_of(server, open_upstreams, payload_limit=2_000_000) as gateway:
            response = gateway.request("POST", "https://open.example.com/echo", data=text)
        gateway = gateway_of(server, open_upstreams)
        with pytest.raises(NotCarried, match="262,144 is the most"):
            gateway.request("POST", "https://open.example.com/echo", data=text)
    assert response.text == text
    assert route.requests[0].body == text.encode()


def test_without_the_extension_an_answer_over_the_limit_fails_in_words(
    open_upstreams: Path, origin: Origin
) -> None:
    origin.get("https://open.example.com/large").respond(200, text="x" * 300_000)
    with (
        Server(origin=origin, upstreams=open_upstreams) as server,
        gateway_of(server, open_upstreams) as gateway,
        pytest.raises(CallFailed, match="larger than the 262,144 bytes") as caught,
    ):
        gateway.request("GET", "https://open.example.com/large")
    assert caught.value.error == "States.DataLimitExceeded"
