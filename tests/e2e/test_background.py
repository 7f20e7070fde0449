"""Express machines that no one waits for: StartExecution, mocks and log records of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.calls import ROLE, ServerProcess

Serve = Callable[..., ServerProcess]

PAY = "arn:aws:lambda:us-east-1:123456789012:function:pay"
PASS = {"Type": "Pass", "End": True}
TASK = {"Type": "Task", "Resource": PAY, "End": True}
FOREVER = {"Type": "Wait", "Seconds": 3_600, "End": True}
MOCKS = {
    "StateMachines": {
        "orders": {"TestCases": {"Happy": {"Pay": "Paid"}, "Sad": {"Pay": "Refused"}}},
        "other": {"TestCases": {}},
    },
    "MockedResponses": {
        "Paid": {"0": {"Return": {"paid": True}}},
        "Refused": {
            "0": {"Throw": {"Error": "Busy"}},
            "1": {"Throw": {"Error": "Card.Refused", "Cause": "no money"}},
        },
    },
}


def create(
    server: ServerProcess, state: dict[str, Any], name: str = "orders", **fields: Any
) -> str:
    """An Express machine of the one state `Pay`, logged at the level ALL; answers its ARN."""
    definition = {"StartAt": "Pay", "States": {"Pay": state}}
    created = server.client("stepfunctions").create_state_machine(
        **{
            "name": name,
            "type": "EXPRESS",
            "roleArn": ROLE,
            "definition": json.dumps(definition),
            "loggingConfiguration": logging_to("/aws/vendedlogs/states/orders"),
            **fields,
        }
    )
    arn: str = created["stateMachineArn"]
    return arn


def logging_to(group: str, level: str = "ALL", *, has_data: bool = True) -> dict[str, Any]:
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    return {
        "level": level,
        "includeExecutionData": has_data,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
    }


def refused(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    """The code and the message of the error that a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def records_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def types_of(records: list[dict[str, Any]], arn: str) -> list[str]:
    return [record["type"] for record in records if record["execution_arn"] == arn]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def file(logs: Path) -> Path:
    """Where the records of the log group of `create` are."""
    return logs / "aws" / "vendedlogs" / "states" / "orders.jsonl"


@pytest.fixture
def mocking(serve: Serve, tmp_path: Path, logs: Path) -> ServerProcess:
    """A server with the mock file and a directory of logs."""
    path = tmp_path / "MockConfigFile.json"
    path.write_text(json.dumps(MOCKS))
    return serve("--mock", str(path), "--execution-log", str(logs))


# --- Starting -------------------------------------------------------------------------------------


def test_an_execution_is_started_and_its_log_tells_how_it_ends(
    serve: Serve, logs: Path, file: Path
) -> None:
    """A server that is told to stop waits for what it has started: then the log is whole."""
    server = serve("--execution-log", str(logs))
    machine = create(server, {**PASS, "Result": {"é": 1}})
    began = datetime.now(UTC)
    answer = server.client("stepfunctions").start_execution(
        stateMachineArn=machine, name="seven", input='{"order": 7}'
    )
    arn = answer["executionArn"]
    assert arn.startswith("arn:aws:states:us-east-1:123456789012:express:orders:seven:")
    assert abs(answer["startDate"] - began) < timedelta(seconds=60)
    assert answer.keys() == {"executionArn", "startDate", "ResponseMetadata"}
    assert server.end() == 0
    records = records_in(file)
    stamps = [int(record.pop("event_timestamp")) for record in records]
    assert stamps == sorted(stamps)
    assert stamps[0] >= round(answer["startDate"].timestamp() * 1_000)
    whole = {"truncated": False}
    expected = [
        (
            "ExecutionStarted",
            {"input": '{"order": 7}', "inputDetails": whole, "roleArn": ROLE},
            "0",
        ),
        (
            "PassStateEntered",
            {"input": '{"order": 7}', "inputDetails": whole, "name": "Pay"},
            "0",
        ),
        (
            "PassStateExited",
            {"name": "Pay", "output": '{"é":1}', "outputDetails": whole},
            "2",
        ),
        ("ExecutionSucceeded", {"output": '{"é":1}', "outputDetails": whole}, "3"),
    ]
    assert records == [
        {
            "id": str(number),
            "type": event_type,
            "details": details,
            "previous_event_id": previous,
            "execution_arn": arn,
            "redrive_count": "0",
        }
        for number, (event_type, details, previous) in enumerate(expected, 1)
    ]


def test_the_answer_does_not_wait_for_the_end_and_a_shutdown_ends_the_execution(
    serve: Serve, logs: Path, file: Path
) -> None:
    server = serve("--execution-log", str(logs), "--drain-seconds", "0")
    machine = create(server, FOREVER)
    arn = server.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    assert server.end() == 0
    records = records_in(file)
    assert types_of(records, arn) == ["ExecutionStarted", "WaitStateEntered", "ExecutionAborted"]
    assert records[-1]["details"] == {
        "error": "Stepout.Shutdown",
        "cause": "The server was shut down during the execution.",
    }


def test_without_a_name_and_an_input_they_are_made_up(serve: Serve, logs: Path, file: Path) -> None:
    server = serve("--execution-log", str(logs))
    machine = create(server, PASS)
    sfn = server.client("stepfunctions")
    arns = [sfn.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(2)]
    assert len({arn.split(":")[7] for arn in arns}) == 2
    assert [len(arn.split(":")[7]) for arn in arns] == [36, 36]
    server.end()
    inputs = [
        record["details"]["input"]
        for record in records_in(file)
        if record["type"] == "ExecutionStarted"
    ]
    assert inputs == ["{}", "{}"]


def test_a_name_may_be_used_again_at_once_for_another_execution(
    serve: Serve, logs: Path, file: Path
) -> None:
    """Express is not idempotent, neither for the same input nor for another."""
    server = serve("--execution-log", str(logs))
    machine = create(server, PASS)
    sfn = server.client("stepfunctions")
    arns = [
        sfn.start_execution(stateMachineArn=machine, name="again", input=source)["executionArn"]
        for source in ("1", "1", "2")
    ]
    assert len(set(arns)) == 3
    assert {arn.rpartition(":")[0] for arn in arns} == {
        "arn:aws:states:us-east-1:123456789012:express:orders:again"
    }
    server.end()
    assert all(types_of(records_in(file), arn)[-1] == "ExecutionSucceeded" for arn in arns)


def test_what_cannot_be_started_is_refused_as_aws_does(serve: Serve) -> None:
    server = serve()
    machine = create(server, PASS)
    start = server.client("stepfunctions").start_execution
    missing = machine.replace(":orders", ":missing")
    assert refused(start, stateMachineArn=missing) == (
        "StateMachineDoesNotExist",
        f"State Machine Does Not Exist: '{missing}'",
    )
    assert refused(start, stateMachineArn="nonsense") == (
        "InvalidArn",
        "Invalid Arn: 'Invalid ARN prefix: nonsense'",
    )
    assert refused(start, stateMachineArn=machine, name="two words") == (
        "InvalidName",
        "Invalid Name: 'two words'",
    )
    assert refused(start, stateMachineArn=machine, input="not json") == (
        "InvalidExecutionInput",
        "Invalid State Machine Execution Input: 'Unrecognized token 'not': was expecting (JSON "
        "String, Number, Array, Object or token 'null', 'true' or 'false')'",
    )
    assert refused(start, stateMachineArn=machine, input="") == (
        "InvalidExecutionInput",
        "Invalid State Machine Execution Input: 'Invalid execution input.'",
    )
    code, message = refused(start, stateMachineArn=machine, input=f'"{"é" * 131_072}"')
    assert code == "ValidationException"
    assert "Value at 'input' failed to satisfy constraint" in message


def test_a_test_case_needs_a_mock_file(serve: Serve) -> None:
    server = serve()
    machine = create(server, PASS)
    code, _ = refused(
        server.client("stepfunctions").start_execution, stateMachineArn=f"{machine}#Happy"
    )
    assert code in {"InvalidArn", "StateMachineDoesNotExist"}


# --- Mocks ----------------------------------------------------------------------------------------


def test_the_test_case_in_the_arn_answers_the_tasks(mocking: ServerProcess, file: Path) -> None:
    machine = create(mocking, TASK)
    sfn = mocking.client("stepfunctions")
    answer = sfn.start_execution(stateMachineArn=f"{machine}#Happy", input='{"order": 7}')
    arn = answer["executionArn"]
    assert arn.split(":")[5:7] == ["express", "orders"]
    mocking.end()
    records = records_in(file)
    assert types_of(records, arn) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
        "LambdaFunctionSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
    assert records[-1]["details"]["output"] == '{"paid":true}'


def test_retries_and_failures_of_a_test_case_are_in_the_log(
    mocking: ServerProcess, file: Path
) -> None:
    retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1}]
    machine = create(mocking, {**TASK, "Retry": retry})
    sfn = mocking.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=f"{machine}#Sad")["executionArn"]
    mocking.end()
    records = records_in(file)
    assert types_of(records, arn).count("LambdaFunctionScheduled") == 2
    assert [record["details"] for record in records if record["type"].endswith("Failed")] == [
        {"error": "Busy"},
        {"error": "Card.Refused", "cause": "no money"},
        {"error": "Card.Refused", "cause": "no money"},
    ]


def test_executions_have_test_cases_of_their_own(mocking: ServerProcess, file: Path) -> None:
    machine = create(mocking, TASK)
    sfn = mocking.client("stepfunctions")
    ends = {"Happy": "ExecutionSucceeded", "Sad": "ExecutionFailed"}
    arns = {
        sfn.start_execution(stateMachineArn=f"{machine}#{case}")["executionArn"]: end
        for case, end in [*ends.items()] * 3
    }
    mocking.end()
    records = records_in(file)
    assert len(arns) == 6
    assert {arn: types_of(records, arn)[-1] for arn in arns} == arns


@pytest.mark.parametrize("mark", ["", "#"])
def test_without_a_test_case_nothing_is_mocked(
    mocking: ServerProcess, file: Path, mark: str
) -> None:
    """A bare # runs without mocks, as on Step Functions Local."""
    machine = create(mocking, TASK)
    sfn = mocking.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=f"{machine}{mark}")["executionArn"]
    mocking.end()
    records = records_in(file)
    assert types_of(records, arn)[-2:] == ["LambdaFunctionFailed", "ExecutionFailed"]
    assert records[-1]["details"] == {
        "error": "States.Runtime",
        "cause": f"The resource '{PAY}' of the state 'Pay' is not served by stepout; mock it "
        "(docs/testing.md).",
    }


@pytest.mark.parametrize(
    ("name", "known"), [("orders", "Happy, Sad"), ("other", "none"), ("unknown", "none")]
)
def test_an_unknown_test_case_is_refused_and_the_known_ones_named(
    mocking: ServerProcess, name: str, known: str
) -> None:
    machine = create(mocking, TASK, name)
    start = mocking.client("stepfunctions").start_execution
    assert refused(start, stateMachineArn=f"{machine}#Nonsense") == (
        "ValidationException",
        f"The mock file has no test case 'Nonsense' for the state machine '{name}'; it has: "
        f"{known}.",
    )


def test_a_machine_that_does_not_exist_has_no_test_case(mocking: ServerProcess) -> None:
    missing = "arn:aws:states:us-east-1:123456789012:stateMachine:orders"
    start = mocking.client("stepfunctions").start_execution
    assert refused(start, stateMachineArn=f"{missing}#Happy") == (
        "StateMachineDoesNotExist",
        f"State Machine Does Not Exist: '{missing}'",
    )


# --- Logs -----------------------------------------------------------------------------------------


def test_a_level_and_a_group_are_those_of_the_machine(mocking: ServerProcess, logs: Path) -> None:
    levels = {"ALL": "all", "ERROR": "error", "FATAL": "deep/fatal", "OFF": "off"}
    sfn = mocking.client("stepfunctions")
    for level, group in levels.items():
        configuration = logging_to(group, level, has_data=False)
        machine = create(mocking, TASK, f"m-{level}", loggingConfiguration=configuration)
        sfn.start_execution(stateMachineArn=machine)
    unlogged = create(mocking, PASS, "unlogged", loggingConfiguration={"level": "OFF"})
    sfn.start_execution(stateMachineArn=unlogged)
    mocking.end()
    files = {path for path in logs.rglob("*") if path.is_file()}
    assert files == {logs / "all.jsonl", logs / "error.jsonl", logs / "deep" / "fatal.jsonl"}
    found = {path.stem: [record["type"] for record in records_in(path)] for path in files}
    assert found == {
        "all": [
            "ExecutionStarted",
            "TaskStateEntered",
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionFailed",
            "ExecutionFailed",
        ],
        "error": ["LambdaFunctionFailed", "ExecutionFailed"],
        "fatal": ["ExecutionFailed"],
    }


def test_without_execution_data_no_data_is_on_the_disk(serve: Serve, logs: Path) -> None:
    server = serve("--execution-log", str(logs))
    machine = create(server, PASS, loggingConfiguration=logging_to("orders", has_data=False))
    sfn = server.client("stepfunctions")
    sfn.start_execution(stateMachineArn=machine, input='"sesame"')
    server.end()
    text = (logs / "orders.jsonl").read_text()
    assert len(text.splitlines()) == 4
    assert "sesame" not in f"{text}{server.log.read_text()}"


def test_an_execution_that_is_waited_for_is_logged_as_well(
    serve: Serve, logs: Path, file: Path
) -> None:
    server = serve("--execution-log", str(logs))
    machine = create(server, PASS)
    answer = server.client("stepfunctions").start_sync_execution(stateMachineArn=machine)
    assert types_of(records_in(file), answer["executionArn"]) == [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "ExecutionSucceeded",
    ]


def test_a_changed_logging_configuration_is_that_of_the_next_execution(
    serve: Serve, logs: Path
) -> None:
    server = serve("--execution-log", str(logs))
    machine = create(server, PASS, loggingConfiguration=logging_to("before"))
    sfn = server.client("stepfunctions")
    first = sfn.start_sync_execution(stateMachineArn=machine)["executionArn"]
    sfn.update_state_machine(stateMachineArn=machine, loggingConfiguration=logging_to("after"))
    second = sfn.start_sync_execution(stateMachineArn=machine)["executionArn"]
    found = {
        path.stem: {record["execution_arn"] for record in records_in(path)}
        for path in logs.iterdir()
    }
    assert found == {"before": {first}, "after": {second}}


def test_records_on_standard_output_come_as_things_happen(serve: Serve) -> None:
    server = serve("--execution-log", "-")
    machine = create(server, FOREVER)
    arn = server.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    output = server._process.stdout
    assert output is not None
    records = [json.loads(output.readline()) for _ in range(2)]
    assert types_of(records, arn) == ["ExecutionStarted", "WaitStateEntered"]


def test_without_an_execution_log_nothing_is_written(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    machine = create(server, PASS)
    server.client("stepfunctions").start_execution(stateMachineArn=machine)
    server.send(15)
    output = server._process.stdout
    assert output is not None
    assert output.read() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_the_servers_own_log_has_one_line_for_each_execution(serve: Serve) -> None:
    server = serve("--log-format", "json")
    machine = create(server, {"Type": "Fail", "Error": "Card.Refused"})
    arn = server.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    assert server.end() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    ours = [line for line in lines if line.get("arn") == arn]
    assert [(line["status"], line["error"]) for line in ours] == [("FAILED", "Card.Refused")]
