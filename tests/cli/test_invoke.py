"""`stepout invoke`: the answer on standard output alone, the rest on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HANDLER = """
import os

def handle(event, context):
    print("a line of the handler")
    return {"event": event, "mine": os.environ.get("MINE"), "from": os.environ.get("FROM_CALLER")}

def fail(event, context):
    raise ValueError("no")
"""


def invoke(directory: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    (directory / "functions").mkdir(exist_ok=True)
    (directory / "functions" / "handler.py").write_text(HANDLER)
    (directory / "handler.py").write_text(HANDLER)
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "invoke", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        input=stdin,
    )


@pytest.mark.parametrize("more", [[], ["--in-process"]])
def test_the_answer_stands_alone_on_standard_output(tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "e.json").write_text('{"a": "é"}')
    done = invoke(tmp_path, "handler.handle", "--event", "e.json", "--env", "MINE=x=y", *more)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"event": {"a": "é"}, "mine": "x=y", "from": None}
    assert "a line of the handler" in done.stderr
    assert "REPORT RequestId: " in done.stderr
    assert "Init Duration: " in done.stderr
    assert ("not under AWS's runtime client" in done.stderr) == bool(more)


def test_an_event_may_come_from_standard_input(tmp_path: Path) -> None:
    done = invoke(tmp_path, "functions/handler.handle", "--event", "-", stdin="[1]")
    assert json.loads(done.stdout)["event"] == [1]


def test_without_an_event_it_is_an_empty_object(tmp_path: Path) -> None:
    assert json.loads(invoke(tmp_path, "handler.handle").stdout)["event"] == {}


def test_a_failed_function_is_exit_status_1(tmp_path: Path) -> None:
    done = invoke(tmp_path, "handler.fail")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorMessage"] == "no"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["handler"], "expected module.function"),
        (["handler.py"], "is a file; expected module.function, such as handler.lambda_handler"),
        (["handler.handle", "--env", "X"], "expected NAME=VALUE"),
        (["handler.handle", "--env", "AWS_REGION=x"], "is set by Lambda itself"),
        (["handler.handle", "--event", "nowhere.json"], "nowhere.json"),
        (["handler.handle", "--event", "handler.py"], "does not hold JSON"),
        (["handler.handle", "--timeout", "901"], "900"),
    ],
)
def test_wrong_usage_is_exit_status_2_and_says_what_was_expected(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = invoke(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
