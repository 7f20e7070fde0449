"""The demo: its exit status is 0 only when the answer arrived."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stepout.testing import Origin


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
    )


def test_the_demo_shows_the_main_job() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        "boto3 creates a connection and an Express state machine",
        "Amazon|StepFunctions|HttpInvoke|us-east-1",
        "206 Partial Content",
        "The API's answer is back in the function",
        '{"result": {"version": "1.3"',
    ):
        assert text in done.stdout


@pytest.mark.namespaces
def test_inside_the_subnet_a_direct_request_fails_first() -> None:
    done = demo()
    if "No isolation here" in done.stdout:
        pytest.skip(done.stdout)
    assert "GET https://192.0.2.1/ fails: [Errno 101] Network is unreachable" in done.stdout


def test_without_the_tools_for_it_the_demo_says_that_it_skipped_the_isolation() -> None:
    done = demo(PATH="/nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No isolation here" in done.stdout
    assert "is not installed" in done.stdout
    assert "The API's answer is back in the function" in done.stdout


def test_an_answer_that_does_not_arrive_is_exit_status_1(stepout_origin: Origin) -> None:
    """The address is refused by the egress: no answer can arrive."""
    done = demo("--url", f"https://127.0.0.1:{stepout_origin.port}/")
    assert done.returncode == 1
    assert "The function failed" in done.stdout
    assert "address-loopback" in done.stdout


def test_a_url_that_is_not_https_is_wrong_usage() -> None:
    done = demo("--url", "http://api.example.com/")
    assert done.returncode == 2
    assert "Expected an https URL" in done.stderr
