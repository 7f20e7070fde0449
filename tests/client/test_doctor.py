"""The doctor finds what is closed, says so in words, and gives the fix."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.client.world import KEYS, OPEN, UPSTREAMS, World, opened

from stepout.certificates import Authority
from stepout.cli.main import commands
from stepout.client import doctor
from stepout.client.doctor import Finding, examine, handler
from stepout.config import ClientSettings

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:gateway"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened() as found:
        for url in (f"{OPEN}/", "https://bearer.example.com/", "https://read.example.com/"):
            found.origin.head(url).respond(204)
        found.origin.head("https://api.example.com/v1/").respond(401)
        yield found


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    (tmp_path / "upstreams.toml").write_text(UPSTREAMS)


def settings(url: str, tmp_path: Path | None = None, arn: str = ARN) -> ClientSettings:
    upstreams = None if tmp_path is None else tmp_path / "upstreams.toml"
    return ClientSettings(state_machine_arn=arn, endpoint_url=url, upstreams=upstreams)


def found(findings: Iterator[Finding] | list[Finding], probe: str) -> Finding:
    (one,) = [finding for finding in findings if finding.probe == probe]
    return one


def test_an_open_way_is_followed_to_the_apis(world: World, tmp_path: Path) -> None:
    findings = list(examine(settings(world.server.url, tmp_path, world.machine)))
    assert [finding.probe for finding in findings[:7]] == [
        *("settings", "endpoint", "credentials", "dns", "tcp", "tls", "service"),
    ]
    assert {finding.status for finding in findings[:7]} == {"ok"}
    assert found(findings, "execution: open").found.startswith(
        f"HEAD {OPEN}/ was answered with 204"
    )


def test_a_credential_that_the_api_refuses_is_a_warning(world: World, tmp_path: Path) -> None:
    finding = found(
        examine(settings(world.server.url, tmp_path, world.machine)), "execution: keyed"
    )
    assert (finding.status, "401" in finding.found) == ("warning", True)
    assert "connection's credential" in finding.fix
    assert KEYS["keyed"][1] not in f"{finding}"


def test_a_machine_that_is_not_there_is_told_with_its_fix(world: World) -> None:
    findings = list(examine(settings(world.server.url), ["https://open.example.com/"]))
    finding = found(findings, "execution: https://open.example.com/")
    assert finding.status == "failed"
    assert "There is no such machine. Is the ARN right, and its region?" in finding.fix


def test_nothing_that_listens_is_told_and_the_rest_is_skipped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    findings = list(examine(settings(f"http://127.0.0.1:{port}"), ["https://a.example/"]))
    assert found(findings, "tcp").status == "failed"
    assert "Let the security group of the endpoint take TCP 443" in found(findings, "tcp").fix
    skipped = [finding.probe for finding in findings if finding.status == "skipped"]
    assert skipped == ["tls", "service", "execution: https://a.example/"]


def test_packets_that_nobody_answers_take_no_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener with a full backlog: what a security group does that drops them."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        findings = list(examine(settings(f"http://127.0.0.1:{port}"), limit=0.2))
    assert found(findings, "tcp").status == "failed"


@pytest.mark.parametrize(
    ("error", "text"),
    [(socket.gaierror(-2, "Name or service not known"), "is not resolved"), (None, "within")],
)
def test_a_name_that_leads_nowhere_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, text: str
) -> None:
    never = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        if error is not None:
            raise error
        never.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    finding = found(
        examine(settings("https://sync-states.us-east-1.amazonaws.com"), limit=0.1), "dns"
    )
    never.set()
    assert finding.status == "failed"
    assert text.replace("within", "was not resolved in 0.1 seconds") in finding.found
    assert "com.amazonaws.us-east-1.sync-states with private DNS" in finding.fix


def test_a_public_address_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("52.46.1.1", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    case = doctor._Case(settings("https://x.example"), (), 1)
    doctor._endpoint(case)
    finding = doctor._tried("dns", lambda: doctor._dns(case))
    assert finding.status == "warning"
    assert "52.46.1.1. That is a public address" in finding.found


def test_another_server_than_step_functions_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):  # the probe of TCP, and that of the service
                accepted, _ = listener.accept()
                with accepted:
                    accepted.recv(4_096)
                    accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        finding = found(examine(settings(url)), "service")
        thread.join(5)
    assert finding.status == "failed"
    assert finding.found.startswith("What answered is not Step Functions")


def test_a_clock_that_is_off_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("stepout.client.doctor.time.time", lambda: now + 3_600)
    finding = found(examine(settings(world.server.url)), "service")
    assert finding.status == "failed"
    # The Date of an answer has whole seconds.
    assert re.search(r"clock is \+36\d\d seconds off|\+3599", finding.found)


def test_a_certificate_that_is_not_believed_is_told(tmp_path: Path) -> None:
    authority = Authority.create("another")
    context = authority.server_context("localhost", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                accepted, _ = listener.accept()
                try:
                    context.wrap_socket(accepted, server_side=True).close()
                except OSError:
                    accepted.close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        finding = found(examine(settings(url)), "tls")
        thread.join(5)
    assert finding.status == "failed"
    assert "The certificate is not believed" in finding.found
    assert "AWS_CA_BUNDLE" in finding.fix


def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    finding = found(examine(settings("http://127.0.0.1:1")), "credentials")
    assert finding.status == "failed"
    assert "Give the function, task or instance a role." in finding.fix


def test_settings_of_another_region_or_a_proxy_are_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    finding = found(examine(settings("http://127.0.0.1:1")), "endpoint")
    assert (finding.status, "eu-west-1" in finding.found) == ("warning", True)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:sesame@proxy.example:3128")
    case = doctor._Case(settings("https://sync-states.us-east-1.amazonaws.com"), (), 1)
    finding = doctor._tried("endpoint", lambda: doctor._endpoint(case))
    assert "the proxy proxy.example:3128" in finding.found
    assert "sesame" not in f"{finding}"


def test_a_broken_upstreams_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "upstreams.toml").write_text("[upstream")
    finding = found(examine(settings("http://127.0.0.1:1", tmp_path)), "settings")
    assert finding.status == "failed"
    assert "is not TOML" in finding.found


def test_as_a_lambda_function(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPOUT_STATE_MACHINE_ARN", world.machine)
    monkeypatch.setenv("STEPOUT_ENDPOINT_URL", world.server.url)
    answer = handler({"urls": [f"{OPEN}/"]}, None)
    assert answer["ok"] is True
    json.dumps(answer)
    monkeypatch.delenv("STEPOUT_STATE_MACHINE_ARN")
    assert handler({}, None)["findings"][0]["status"] == "failed"


def test_the_command_tells_people_and_programs(world: World) -> None:
    arguments = ["--state-machine-arn", world.machine, "--endpoint-url", world.server.url]
    result = CliRunner().invoke(commands, ["doctor", *arguments, "--url", f"{OPEN}/"])
    assert result.exit_code == 0
    assert "ok      service: Step Functions answers, and the clocks agree." in result.stdout
    result = CliRunner().invoke(
        commands, ["doctor", *arguments[:3], "http://127.0.0.1:1", "--json"]
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
