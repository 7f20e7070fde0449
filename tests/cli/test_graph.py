"""`stepout graph`: a definition as a Mermaid flowchart on standard output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepout.cli.main import commands
from stepout.cli.positions import Unreadable

JSON = """{"StartAt": "Größe", "States": {
  "Größe": {"Type": "Choice",
    "Choices": [{"Variable": "$.n", "NumericGreaterThan": 1, "Next": "Each \\"one\\""}],
    "Default": "Done"},
  "Each \\"one\\"": {"Type": "Map", "Next": "Done",
    "ItemProcessor": {"StartAt": "X", "States": {"X": {"Type": "Pass", "End": true}}}},
  "Done": {"Type": "Succeed"}
}}"""

YAML = """\
StartAt: Größe
States:
  Größe:
    Type: Choice
    Choices:
    - {Variable: $.n, NumericGreaterThan: 1, Next: Each "one"}
    Default: Done
  Each "one":
    Type: Map
    ItemProcessor:
      StartAt: X
      States: {X: {Type: Pass, End: true}}
    Next: Done
  Done: {Type: Succeed}
"""

DRAWN = """\
flowchart TD
    s0{{"Größe<br/><i>Choice</i>"}}
    subgraph s1["Each #quot;one#quot; · Map"]
        s2["X<br/><i>Pass</i>"]
        s1_0((start)) --> s2
    end
    s3(["Done<br/><i>Succeed</i>"])
    start((start)) --> s0
    s0 -->|"$.n NumericGreaterThan 1"| s1
    s0 -->|"default"| s3
    s1 --> s3
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as a user names them."""
    monkeypatch.chdir(tmp_path)


def graph(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(
        commands, ["graph", *arguments], stdin, prog_name="stepout", catch_exceptions=False
    )


def graph_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "graph", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def write(name: str, text: str) -> str:
    Path(name).write_text(text, "utf-8")
    return name


@pytest.mark.parametrize(
    ("name", "text"), [("machine.json", JSON), ("machine.yaml", YAML), ("machine.yml", YAML)]
)
def test_a_definition_is_drawn_alone_on_standard_output(name: str, text: str) -> None:
    done = graph(write(name, text))
    assert (done.exit_code, done.stdout, done.stderr) == (0, DRAWN, "")


def test_a_definition_may_come_from_standard_input() -> None:
    done = graph("-", stdin=JSON)
    assert (done.exit_code, done.stdout) == (0, DRAWN)


def test_the_process_prints_utf8() -> None:
    done = graph_process(write("machine.json", JSON))
    assert (done.returncode, done.stdout, done.stderr) == (0, DRAWN, "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "machine.json",
            '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}',
            "Error: MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next, "
            "MISSING_END_STATE: Workflow has no terminal state at null\n",
        ),
        (
            "machine.yaml",
            "",
            "Error: SCHEMA_VALIDATION_FAILED: Definition must be a valid JSON object at null\n",
        ),
    ],
)
def test_a_definition_with_problems_is_not_drawn_and_is_exit_status_1(
    name: str, text: str, message: str
) -> None:
    done = graph_process(write(name, text))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_what_is_no_yaml_is_exit_status_1() -> None:
    done = graph_process(write("machine.yaml", "StartAt: [\n"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The YAML text cannot be read: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_definition_that_is_nowhere_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match=r"^nowhere\.json cannot be read: "):
        graph("nowhere.json")


@pytest.mark.parametrize("arguments", [[], ["a.json", "b.json"]])
def test_one_definition_is_drawn_at_a_time(arguments: list[str]) -> None:
    done = graph(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
