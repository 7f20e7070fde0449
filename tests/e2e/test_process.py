"""`stepout serve` as a process: restart, kill, shutdown, and what its log and files hold."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
from tests.e2e.calls import API_KEY, ROLE, SESAME, URL, ServerProcess, one_task, output_of

from stepout.testing import Origin

Serve = Callable[..., ServerProcess]


@pytest.fixture
def reach(stepout_origin: Origin, tmp_path: Path) -> list[str]:
    """Flags by which a server process reaches the origin."""
    certificate = tmp_path / "origin.pem"
    certificate.write_bytes(stepout_origin.certificate_pem)
    connect = f"api.example.com:443=127.0.0.1:{stepout_origin.port}"
    return ["--egress-ca", str(certificate), "--egress-connect", connect]


def set_up(server: ServerProcess) -> str:
    """A connection and a machine; answers the machine's ARN."""
    created = server.client("events").create_connection(
        Name="orders", AuthorizationType="API_KEY", AuthParameters=API_KEY
    )
    arn: str = server.client("stepfunctions").create_state_machine(
        name="m",
        type="EXPRESS",
        roleArn=ROLE,
        definition=json.dumps(one_task(created["ConnectionArn"])),
    )["stateMachineArn"]
    return arn


def test_machines_and_connections_survive_a_restart_and_a_kill(
    serve: Serve, stepout_origin: Origin, reach: list[str], tmp_path: Path
) -> None:
    route = stepout_origin.get(URL).respond(json={"ok": 1})
    data = ["--data", str(tmp_path / "data")]
    first = serve(*data, *reach)
    machine = set_up(first)
    assert first.end() == 0
    second = serve(*data, *reach)
    answer = second.client("stepfunctions").start_sync_execution(stateMachineArn=machine)
    assert output_of(answer)["ResponseBody"] == {"ok": 1}
    second.end(signal.SIGKILL)
    third = serve(*data, *reach)
    third.client("stepfunctions").start_sync_execution(stateMachineArn=machine)
    assert [request.header("x-api-key") for request in route.requests] == [SESAME, SESAME]


def test_no_secret_is_in_the_log_the_data_or_an_answer(
    serve: Serve, stepout_origin: Origin, reach: list[str], tmp_path: Path
) -> None:
    stepout_origin.get(URL).respond(500)
    server = serve("--data", str(tmp_path / "data"), "--log-format", "json", *reach)
    machine = set_up(server)
    events = server.client("events")
    answers = [
        server.client("stepfunctions").start_sync_execution(stateMachineArn=machine),
        events.describe_connection(Name="orders"),
        events.list_connections(),
    ]
    with pytest.raises(ClientError) as caught:
        events.create_connection(
            Name="bad name", AuthorizationType="API_KEY", AuthParameters=API_KEY
        )
    server.end()
    log = server.log.read_text()
    assert len([json.loads(line) for line in log.splitlines()]) > 5
    files = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert SESAME not in f"{log} {answers} {caught.value}"
    assert SESAME.encode() not in files


def test_a_call_in_flight_is_cut_by_a_kill_and_the_next_server_goes_on(
    serve: Serve, stepout_origin: Origin, reach: list[str], tmp_path: Path
) -> None:
    route = stepout_origin.get(URL).hang()
    data = ["--data", str(tmp_path / "data")]
    server = serve(*data, *reach)
    machine = set_up(server)
    sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
    failed: list[BaseException] = []

    def call() -> None:
        try:
            sfn.start_sync_execution(stateMachineArn=machine)
        except (HTTPClientError, EndpointConnectionError) as error:
            failed.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: route.requests)
    server.end(signal.SIGKILL)
    caller.join(10)
    assert len(failed) == 1
    route.respond(text="again")
    again = serve(*data, *reach).client("stepfunctions")
    answer = again.start_sync_execution(stateMachineArn=machine)
    assert output_of(answer)["ResponseBody"] == "again"


def test_a_shutdown_lets_calls_in_flight_finish(
    serve: Serve, stepout_origin: Origin, reach: list[str]
) -> None:
    route = stepout_origin.get(URL).respond(text="finished", delay=0.7)
    server = serve(*reach)
    machine = set_up(server)
    answers: list[Any] = []
    sfn = server.client("stepfunctions")
    caller = threading.Thread(
        target=lambda: answers.append(sfn.start_sync_execution(stateMachineArn=machine))
    )
    caller.start()
    wait_until(lambda: route.requests)
    assert server.end() == 0
    caller.join(10)
    assert output_of(answers[0])["ResponseBody"] == "finished"


def test_a_shutdown_tells_calls_that_take_too_long(
    serve: Serve, stepout_origin: Origin, reach: list[str]
) -> None:
    route = stepout_origin.get(URL).hang()
    server = serve("--drain-seconds", "0.2", *reach)
    machine = set_up(server)
    sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
    told: list[ClientError] = []

    def call() -> None:
        try:
            sfn.start_sync_execution(stateMachineArn=machine)
        except ClientError as error:
            told.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: route.requests)
    assert server.end() == 0
    caller.join(10)
    assert told[0].response["Error"]["Code"] == "ServiceUnavailable"
    assert told[0].response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_second_signal_does_not_wait_for_the_drain(
    serve: Serve, stepout_origin: Origin, reach: list[str]
) -> None:
    route = stepout_origin.get(URL).hang()
    server = serve(*reach)
    machine = set_up(server)
    sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
    failed: list[BaseException] = []

    def call() -> None:
        try:
            sfn.start_sync_execution(stateMachineArn=machine)
        except (HTTPClientError, ClientError) as error:
            failed.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: route.requests)
    server.send(signal.SIGTERM)
    wait_until(lambda: is_draining(server))
    assert server.end(signal.SIGTERM) == -signal.SIGTERM
    caller.join(10)
    assert len(failed) == 1


def is_draining(server: ServerProcess) -> bool:
    try:
        get(f"{server.url}/_stepout/ready")
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 503
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux limits another process.")
def test_a_change_that_cannot_be_kept_is_refused_and_is_made_when_there_is_room(
    serve: Serve, tmp_path: Path
) -> None:
    import resource

    data, audit = str(tmp_path / "data"), tmp_path / "audit.jsonl"
    server = serve("--data", data, "--audit", str(audit))
    sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
    machine: Any = {
        "name": "m",
        "type": "EXPRESS",
        "roleArn": ROLE,
        "definition": '{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}',
    }
    arn = "arn:aws:states:us-east-1:123456789012:stateMachine:m"
    # Such as a disk that takes nothing more.
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    with pytest.raises(ClientError) as refused:
        sfn.create_state_machine(**machine)
    with pytest.raises(ClientError, match="Does Not Exist"):
        sfn.start_sync_execution(stateMachineArn=arn)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (-1, resource.RLIM_INFINITY))
    assert refused.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    sfn.create_state_machine(**machine)
    assert sfn.start_sync_execution(stateMachineArn=arn)["status"] == "SUCCEEDED"
    assert server.end() == 0
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["operation"] for line in lines] == ["CreateStateMachine", "StartSyncExecution"]
    again = serve("--data", data).client("stepfunctions")
    assert again.start_sync_execution(stateMachineArn=arn)["status"] == "SUCCEEDED"


@pytest.mark.skipif(os.name != "posix", reason="The signals are POSIX's.")
def test_signals_for_daemons_do_not_end_the_server(serve: Serve) -> None:
    server = serve()
    names = ["SIGHUP", "SIGUSR1", "SIGUSR2"]
    for name in names:
        server.send(getattr(signal, name))
    wait_until(lambda: server.log.read_text().count(" signal name=") == len(names))
    assert get(f"{server.url}/_stepout/ready") == '{"status":"ready"}'
    assert server.end() == 0


@pytest.mark.skipif(os.name != "posix", reason="The terminals are POSIX's.")
def test_a_server_of_a_terminal_ends_with_it(tmp_path: Path) -> None:
    ours, its = os.openpty()
    command = [sys.executable, "-m", "stepout.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdin=its, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"stepout serves")
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    os.close(ours)
    os.close(its)


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux shows the limits of others.")
@pytest.mark.parametrize(("hard", "warned"), [(20_000, 0), (500, 1)])
def test_the_server_asks_for_the_descriptors_that_it_needs(
    tmp_path: Path, hard: int, warned: int
) -> None:
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("The system allows less.")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "stepout.cli", "serve", "--port", "0"]
    limited = ["sh", "-c", f'ulimit -Sn 256 && ulimit -Hn {hard} && exec "$@"', "sh", *command]
    with (
        log.open("w") as stderr,
        subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        soft, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        process.terminate()
    assert soft == min(hard, 10_000 + 64 + 1_024 + 256)
    assert log.read_text().count("few descriptors") == warned


def test_health_readiness_and_metrics(serve: Serve) -> None:
    server = serve()
    server.client("stepfunctions").list_state_machines()
    assert get(f"{server.url}/_stepout/health") == '{"status":"ok"}'
    assert get(f"{server.url}/_stepout/ready") == '{"status":"ready"}'
    metrics = get(f"{server.url}/_stepout/metrics")
    assert 'stepout_requests_total{error="",operation="ListStateMachines"} 1.0' in metrics
    assert "stepout_executions_in_flight 0.0" in metrics
    assert re.search(r"^stepout_tasks [1-9]", metrics, re.MULTILINE)


def test_the_ready_line_says_where_and_how(serve: Serve) -> None:
    server = serve("--region", "eu-west-1", "--account", "999999999999")
    assert server.ready_line == (
        f"stepout serves {server.url} region=eu-west-1 account=999999999999 data=in memory "
        "mode=open: any access key is let in"
    )


def test_a_taken_port_is_a_clear_error_and_no_trace() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port)
    assert done.returncode == 2
    assert f"The server cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_in_use_is_a_clear_error(serve: Serve, tmp_path: Path) -> None:
    serve("--data", str(tmp_path / "data"))
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "is in use by another server" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (
            ["--host", "0.0.0.0", "--egress-connect", "a.b:1=127.0.0.1:2"],
            ["needs --tls-cert and --tls-key", "needs --identities", "on loopback only"],
        ),
        (
            ["--port", "x", "--egress-allow", "10.0.0.1/8", "--egress-connect", "a"],
            ["--port: Expected a port", "--egress-allow: Expected a network", "HOST:PORT=ADDRESS"],
        ),
        (["--tls-cert", "x.pem"], ["belong together"]),
        (["--egress-ca", "/nowhere.pem"], ["Expected /nowhere.pem to hold certificates"]),
        (["--identities", "/nowhere.toml"], ["The identities file /nowhere.toml cannot be read"]),
    ],
)
def test_settings_that_cannot_work_are_all_told_at_once(
    flags: list[str], messages: list[str]
) -> None:
    done = run("serve", *(["--port", "0"] if "--port" not in flags else []), *flags)
    assert done.returncode == 2
    for message in messages:
        assert message in done.stderr
    assert "Traceback" not in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def wait_until(is_so: Callable[[], object]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("It did not come to be so.")
