"""The flagship call with AWS's own tools: the AWS CLI, the JavaScript SDK, and printed settings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mypy_boto3_stepfunctions import SFNClient
from tests.e2e.calls import ROLE, URL, one_task

from stepout.cli.env import Target, variables
from stepout.testing import Origin, Server

JS = Path(__file__).with_name("js")
INPUT = '{"from": "an SDK"}'


@pytest.fixture
def machine(stepout_origin: Origin, sfn: SFNClient, connection: str) -> str:
    stepout_origin.get(URL).respond(json={"orders": [1, 2]})
    arn: str = sfn.create_state_machine(
        name="m", type="EXPRESS", roleArn=ROLE, definition=json.dumps(one_task(connection))
    )["stateMachineArn"]
    return arn


def environment(server: Server) -> dict[str, str]:
    target = Target(server.url, "us-east-1", "stepout", "stepout", None)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **variables(target)}


def run(*program: str, env: dict[str, str], cwd: Path | None = None) -> Any:
    done = subprocess.run(program, env=env, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_aws_cli(stepout_server: Server, machine: str) -> None:
    program = [sys.executable, "-m", "awscli", "stepfunctions", "start-sync-execution"]
    arguments = ["--state-machine-arn", machine, "--input", INPUT, "--output", "json"]
    answer = run(*program, *arguments, env=environment(stepout_server))
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"])["ResponseBody"] == {"orders": [1, 2]}


def test_the_aws_cli_with_the_printed_profile(
    stepout_server: Server, machine: str, tmp_path: Path
) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "env", "--format", "profile", "--url", stepout_server.url],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    (tmp_path / "config").write_text(printed.stdout)
    env = {
        "PATH": os.environ["PATH"],
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_PROFILE": "stepout",
    }
    program = [sys.executable, "-m", "awscli", "stepfunctions", "start-sync-execution"]
    arguments = ["--state-machine-arn", machine, "--output", "json"]
    assert run(*program, *arguments, env=env)["status"] == "SUCCEEDED"


def test_the_javascript_sdk(stepout_server: Server, machine: str) -> None:
    node = installed_javascript()
    answer = run(node, "call.mjs", machine, INPUT, env=environment(stepout_server), cwd=JS)
    assert answer["status"] == "SUCCEEDED"
    assert answer["output"]["ResponseBody"] == {"orders": [1, 2]}


def installed_javascript() -> str:
    """Node with the SDK beside the script; where they cannot be had the test is skipped, but in CI
    it fails."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        refuse("Node.js and npm are not installed.")
    elif not (JS / "node_modules" / "@aws-sdk" / "client-sfn").exists():
        flags = ["--no-audit", "--no-fund", "--loglevel", "error"]
        done = subprocess.run([npm, "ci", *flags], cwd=JS, capture_output=True, text=True)
        if done.returncode != 0:
            refuse(f"The JavaScript SDK cannot be installed: {done.stderr}")
    return str(node)


def refuse(reason: str) -> None:
    if os.environ.get("STEPOUT_SKIPS_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_env_runs_a_command_that_knows_nothing_of_the_server(
    stepout_server: Server, machine: str
) -> None:
    program = (
        "import boto3, sys; "
        "answer = boto3.client('stepfunctions').start_sync_execution("
        "stateMachineArn=sys.argv[1]); print(answer['status'])"
    )
    stepout = [sys.executable, "-m", "stepout.cli", "env", "--url", stepout_server.url, "--"]
    done = subprocess.run(
        [*stepout, sys.executable, "-c", program, machine],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "AWS_PROFILE": "somewhere-else", "AWS_SESSION_TOKEN": "stale"},
    )
    assert done.stdout.strip() == "SUCCEEDED", done.stderr


def test_the_printed_shell_settings_work_in_a_shell(stepout_server: Server, machine: str) -> None:
    program = "import boto3; print(len(boto3.client('stepfunctions').list_state_machines()['stateMachines']))"
    script = (
        f'eval "$({sys.executable} -m stepout.cli env --url {stepout_server.url})"\n'
        f'{sys.executable} -c "{program}"'
    )
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1", done.stderr
