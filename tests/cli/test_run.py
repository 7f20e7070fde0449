"""`stepout run`: a definition in this process; its output alone on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stepout.cli.main import commands
from stepout.cli.positions import Unreadable

LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:work"
PASS: dict[str, Any] = {"Type": "Pass", "End": True}
TASK: dict[str, Any] = {"Type": "Task", "Resource": LAMBDA, "End": True}
MOCKS: dict[str, Any] = {
    "StateMachines": {
        "Orders": {"TestCases": {"Good": {"A": "Answers"}, "Bad": {"A": "Fails"}}},
        "orders": {"TestCases": {"Only": {"A": "Answers"}}},
    },
    "MockedResponses": {
        "Answers": {"0": {"Return": {"id": 4711}}},
        "Fails": {"0": {"Throw": {"Error": "Busy", "Cause": "Come back later."}}},
    },
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as a user names them."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(
        commands, ["run", *arguments], stdin, prog_name="stepout", catch_exceptions=False
    )


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "run", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def write(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    Path(name).write_text(text, "utf-8")
    return name


def machine(name: str = "machine.json", /, **states: Any) -> str:
    return write(name, {"StartAt": next(iter(states)), "States": states})


# --- Input and output -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "{}"),
        (["--input", '{"é": [1, 2.50, null]}'], '{"é":[1,2.5,null]}'),
        (["--input", "null"], "null"),
        (["--input", " 0 "], "0"),
        (["--input", '"@x"'], '"@x"'),
        (["--input", "@input.json"], '{"from":"a file 😀"}'),
    ],
)
def test_the_output_stands_alone_on_standard_output(arguments: list[str], output: str) -> None:
    write("input.json", '{\n  "from": "a file 😀"\n}\n')
    done = run(machine(A=PASS), *arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{output}\n", "")


def test_a_definition_may_be_yaml() -> None:
    text = "StartAt: A\nStates:\n  A: {Type: Pass, Result: {day: 2026-11-23}, End: true}\n"
    done = run(write("machine.yaml", text))
    assert (done.exit_code, done.stdout) == (0, '{"day":"2026-11-23"}\n')


def test_a_definition_may_come_from_standard_input() -> None:
    text = json.dumps({"StartAt": "A", "States": {"A": PASS}})
    done = run("-", "--input", "[1]", stdin=text)
    assert (done.exit_code, done.stdout) == (0, "[1]\n")


def test_every_state_type_but_task_runs() -> None:
    more = {"Variable": "$[0]", "NumericGreaterThan": 1, "Next": "Each"}
    double = {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($, $)"}, "End": True}
    branch = {"StartAt": "Say", "States": {"Say": {**PASS, "Result": "said"}}}
    file = machine(
        Wait={"Type": "Wait", "Seconds": 0, "Next": "Choose"},
        Choose={"Type": "Choice", "Choices": [more], "Default": "Fail"},
        Each={
            "Type": "Map",
            "ItemProcessor": {"StartAt": "Double", "States": {"Double": double}},
            "Next": "Both",
        },
        Both={
            "Type": "Parallel",
            "Branches": [{"StartAt": "Keep", "States": {"Keep": PASS}}, branch],
            "Next": "Done",
        },
        Done={"Type": "Succeed"},
        Fail={"Type": "Fail", "Error": "Small"},
    )
    done = run(file, "--input", "[2, 3]")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [[{"n": 4}, {"n": 6}], "said"])
    done = run(file, "--input", "[1]")
    assert (done.exit_code, done.stderr) == (1, "FAILED: Small\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a", "The input is not JSON: "),
        ("", "The input is not JSON: "),
        ('{"a": NaN}', "The input is not JSON: "),
        ("[1] 2", "The input is not JSON: "),
        ("@broken.json", "The input is not JSON: "),
        ("@nowhere.json", "The input cannot be read: [Errno 2] No such file or directory"),
        ("@latin.json", "The input cannot be read: 'utf-8' codec can't decode byte 0xe9"),
        ("@.", "The input cannot be read: [Errno 21] Is a directory"),
    ],
)
def test_an_input_that_is_none_is_exit_status_2(text: str, message: str) -> None:
    write("broken.json", "{")
    Path("latin.json").write_bytes('"é"'.encode("latin-1"))
    done = run(machine(A=PASS), "--input", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {message}" in done.stderr


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "stderr"),
    [
        ({"Error": "Broken", "Cause": "It fell."}, "FAILED: Broken: It fell.\n"),
        ({"Error": "Broken"}, "FAILED: Broken\n"),
        ({"Cause": "It fell."}, "FAILED: no error name: It fell.\n"),
        ({}, "FAILED: no error name\n"),
    ],
)
def test_a_machine_that_fails_is_exit_status_1_and_says_why(
    fields: dict[str, str], stderr: str
) -> None:
    done = run(machine(A={"Type": "Fail", **fields}))
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", stderr)


def test_a_task_that_nothing_serves_fails_and_names_its_resource() -> None:
    done = run(machine(A=TASK))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"FAILED: States.Runtime: The resource '{LAMBDA}' of the state 'A'"
    )


def test_a_failed_task_may_be_caught() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "B", "ResultPath": "$.e"}]
    mock = write("mock.json", MOCKS)
    file = machine("orders.json", A={**TASK, "Catch": catch}, B={**PASS, "OutputPath": "$.e.Error"})
    done = run(file, "--mock", mock, "--machine", "Orders", "--case", "Bad")
    assert (done.exit_code, done.stdout) == (0, '"Busy"\n')


@pytest.mark.parametrize(
    ("state", "status", "told"),
    [
        (
            PASS,
            0,
            {"status": "SUCCEEDED", "output": {"a": "é"}, "error": None, "cause": None},
        ),
        (
            {"Type": "Fail", "Error": "Broken", "Cause": "It\nfell."},
            1,
            {"status": "FAILED", "output": None, "error": "Broken", "cause": "It\nfell."},
        ),
    ],
)
def test_as_json_how_it_ended_is_one_line_on_standard_output(
    state: dict[str, Any], status: int, told: dict[str, Any]
) -> None:
    done = run(machine(A=state), "--input", '{"a": "é"}', "--json")
    assert (done.exit_code, done.stderr) == (status, "")
    assert done.stdout == json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n"


# --- Mocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "stdout", "stderr"),
    [
        (["--machine", "Orders", "--case", "Good"], 0, '{"id":4711}\n', ""),
        (["--machine", "Orders", "--case", "Bad"], 1, "", "FAILED: Busy: Come back later.\n"),
        (["--machine", "orders", "--case", "Only"], 0, '{"id":4711}\n', ""),
    ],
)
def test_tasks_are_answered_by_the_test_case_of_the_mock_file(
    arguments: list[str], status: int, stdout: str, stderr: str
) -> None:
    done = run(machine(A=TASK), "--mock", write("mock.json", MOCKS), *arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (status, stdout, stderr)


@pytest.mark.parametrize("name", ["orders.json", "orders.asl.json"])
def test_the_machine_is_the_one_that_the_file_is_called_after_and_its_only_case(name: str) -> None:
    done = run(machine(name, A=TASK), "--mock", write("mock.json", MOCKS))
    assert (done.exit_code, done.stdout) == (0, '{"id":4711}\n')


def test_the_only_machine_of_a_mock_file_needs_no_name() -> None:
    only = {**MOCKS, "StateMachines": {"Orders": MOCKS["StateMachines"]["Orders"]}}
    done = run(machine(A=TASK), "--mock", write("mock.json", only), "--case", "Good")
    assert (done.exit_code, done.stdout) == (0, '{"id":4711}\n')


def test_each_invocation_has_its_own_answer() -> None:
    answers = {
        "0-1": {"Throw": {"Error": "Busy"}},
        "2": {"Return": "third"},
    }
    config = {
        "StateMachines": {"M": {"TestCases": {"Retried": {"A": "Answers"}}}},
        "MockedResponses": {"Answers": answers},
    }
    retry = {"ErrorEquals": ["Busy"], "IntervalSeconds": 0, "MaxAttempts": 2}
    mock = write("mock.json", config)
    done = run(machine(A={**TASK, "Retry": [retry]}), "--mock", mock)
    assert (done.exit_code, done.stdout) == (0, '"third"\n')
    done = run(machine(A={**TASK, "Retry": [{**retry, "MaxAttempts": 1}]}), "--mock", mock)
    assert (done.exit_code, done.stderr) == (1, "FAILED: Busy\n")


def test_a_state_that_the_case_does_not_name_is_not_mocked() -> None:
    done = run(machine("orders.json", B=TASK), "--mock", write("mock.json", MOCKS))
    assert done.exit_code == 1
    assert f"The resource '{LAMBDA}' of the state 'B' is not served" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "The mock file has no machine 'machine'; name one by --machine: Orders, orders."),
        (["--machine", "M"], "The mock file has no machine 'M'; name one by --machine: Orders, or"),
        (["--machine", "Orders"], "Name a test case of the machine 'Orders' by --case: Good, Bad."),
        (
            ["--machine", "Orders", "--case", "Only"],
            "Name a test case of the machine 'Orders' by --case: Good, Bad.",
        ),
    ],
)
def test_a_machine_or_case_that_the_mock_file_has_not_is_exit_status_2(
    arguments: list[str], message: str
) -> None:
    done = run(machine(A=TASK), "--mock", write("mock.json", MOCKS), *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


# --- The trace ------------------------------------------------------------------------------------


def test_a_trace_is_each_event_on_standard_error() -> None:
    done = run(machine(A={"Type": "Pass", "Next": "B"}, B={"Type": "Succeed"}), "--trace")
    assert (done.exit_code, done.stdout) == (0, "{}\n")
    assert done.stderr == (
        "    1  ExecutionStarted         {}\n"
        "    2  PassStateEntered         A  {}\n"
        "    3  PassStateExited          A  {}\n"
        "    4  SucceedStateEntered      B  {}\n"
        "    5  SucceedStateExited       B  {}\n"
        "    6  ExecutionSucceeded       {}\n"
    )


def test_a_trace_of_a_failure_ends_with_it() -> None:
    mock = ["--mock", write("mock.json", MOCKS), "--machine", "Orders", "--case", "Bad"]
    done = run(machine(A=TASK), *mock, "--trace", "--input", '{"n": 1}')
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        '    1  ExecutionStarted         {"n":1}\n'
        '    2  TaskStateEntered         A  {"n":1}\n'
        f'    3  LambdaFunctionScheduled  {LAMBDA}  {{"n":1}}\n'
        "    4  LambdaFunctionStarted\n"
        "    5  LambdaFunctionFailed     Busy  Come back later.\n"
        "    6  ExecutionFailed          Busy  Come back later.\n"
        "FAILED: Busy: Come back later.\n"
    )


def test_a_trace_beside_json_leaves_standard_output_to_it() -> None:
    done = run(machine(A={"Type": "Succeed"}), "--trace", "--json")
    assert json.loads(done.stdout)["status"] == "SUCCEEDED"
    assert [line.split()[1] for line in done.stderr.splitlines()] == [
        "ExecutionStarted",
        "SucceedStateEntered",
        "SucceedStateExited",
        "ExecutionSucceeded",
    ]


# --- The process ----------------------------------------------------------------------------------


def test_the_process_prints_utf8_and_ends_with_the_status() -> None:
    done = run_process(machine(A=PASS), "--input", '{"a": "é"}')
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"a":"é"}\n', "")
    done = run_process(machine(A={"Type": "Fail", "Error": "É"}))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "FAILED: É\n")


@pytest.mark.parametrize(
    ("definition", "arguments", "message"),
    [
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Colour": 1}}}',
            [],
            "Error: SCHEMA_VALIDATION_FAILED: This object should have only one of the following "
            "fields: [Next, End] at /States/A, SCHEMA_VALIDATION_FAILED: Field 'Colour' is not "
            "supported at /States/A\n",
        ),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}',
            [],
            "Error: MISSING_END_STATE: Workflow has no terminal state at null\n",
        ),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
            ["--input", "@large.json"],
            "Error: The input has 262145 bytes; it may have 262144.\n",
        ),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
            ["--mock", "nowhere.json"],
            "Error: The mock file nowhere.json cannot be read: [Errno 2] No such file or "
            "directory: 'nowhere.json'.\n",
        ),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
            ["--mock", "mock.json"],
            'Error: mock.json: MockedResponses.R: expected an attempt such as "0" or a range such '
            'as "1-3", found "first".\n'
            'mock.json: StateMachines.M.TestCases.C.A: no mocked response is called "X".\n',
        ),
    ],
)
def test_what_cannot_be_run_is_exit_status_1_and_says_all_that_is_wrong(
    definition: str, arguments: list[str], message: str
) -> None:
    write("large.json", f'"{"x" * 262_143}"')
    wrong = {
        "StateMachines": {"M": {"TestCases": {"C": {"A": "X"}}}},
        "MockedResponses": {"R": {"first": {"Return": 1}}},
    }
    write("mock.json", wrong)
    done = run_process(write("machine.json", definition), *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_a_definition_that_is_no_yaml_is_exit_status_1() -> None:
    done = run_process(write("machine.yaml", "StartAt: [\n"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The YAML text cannot be read: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_definition_that_is_nowhere_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match=r"^nowhere\.json cannot be read: "):
        run("nowhere.json")


def test_without_a_definition_it_is_exit_status_2() -> None:
    done = run()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Missing argument 'DEFINITION'" in done.stderr
