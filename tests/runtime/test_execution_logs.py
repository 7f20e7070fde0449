"""The log records of executions: which events, with which members, in which file.

The form is AWS's: developer guide, cw-logs, and records of executions on AWS.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import Document, Json
from stepout.engine.history import Event
from stepout.engine.turn import Run
from stepout.errors import SettingsError
from stepout.journal.memory import MemoryJournal
from stepout.runtime.clock import SystemClock
from stepout.runtime.driver import Driver, Inbox
from stepout.runtime.execution_logs import MAX_DATA, MAX_OPEN, STDOUT, ExecutionLogs, record_of
from stepout.runtime.pool import EvaluationPool
from stepout.tasks import Integrations, Scope

PAY = "arn:aws:lambda:us-east-1:123456789012:function:pay"
SEND = "arn:aws:states:::sqs:sendMessage"
ARN = "arn:aws:states:us-east-1:123456789012:express:orders:n:u"
T0 = 1_700_000_000_000

SERVICE: Any = botocore.session.get_session().get_service_model("stepfunctions")
EVENT_TYPES: list[str] = SERVICE.shape_for("HistoryEventType").enum


def run_of(source: Json = None, **changes: Any) -> Run:
    run = Run(
        arn=ARN,
        name="n",
        role_arn="arn:aws:iam::123456789012:role/r",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:orders",
        machine_name="orders",
        region="us-east-1",
        account="123456789012",
        started_at=T0,
        input=Document({} if source is None else source),
        is_express=True,
        wants_events=True,
    )
    return replace(run, **changes)


def logging_to(group: str = "orders", level: str = "ALL", **members: Json) -> dict[str, Json]:
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    destination = {"cloudWatchLogsLogGroup": {"logGroupArn": arn}}
    return {"level": level, "destinations": [destination], **members}


def event_of(number: int = 1, event_type: str = "PassStateEntered", **details: Json) -> Event:
    return Event(number, number - 1, event_type, T0 + number, details)


def written(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def write(target: Path, configuration: dict[str, Json], events: Sequence[Event]) -> None:
    logs = ExecutionLogs(str(target))
    observe = logs.observer(configuration, run_of())
    assert observe is not None
    observe(events)
    logs.close()


# --- Levels ---------------------------------------------------------------------------------------

FATAL = {"ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"}
ERROR = FATAL | {
    "ActivityFailed",
    "ActivityScheduleFailed",
    "ActivityTimedOut",
    "EvaluationFailed",
    "FailStateEntered",
    "LambdaFunctionFailed",
    "LambdaFunctionScheduleFailed",
    "LambdaFunctionStartFailed",
    "LambdaFunctionTimedOut",
    "MapIterationAborted",
    "MapIterationFailed",
    "MapRunAborted",
    "MapRunFailed",
    "MapStateAborted",
    "MapStateFailed",
    "ParallelStateAborted",
    "ParallelStateFailed",
    "TaskFailed",
    "TaskStartFailed",
    "TaskStateAborted",
    "TaskSubmitFailed",
    "TaskTimedOut",
    "WaitStateAborted",
}


@pytest.mark.parametrize(
    ("level", "shown"), [("ALL", set(EVENT_TYPES)), ("ERROR", ERROR), ("FATAL", FATAL)]
)
def test_a_level_shows_its_event_types(tmp_path: Path, level: str, shown: set[str]) -> None:
    assert len(EVENT_TYPES) == 62
    assert set(EVENT_TYPES) >= ERROR
    events = [event_of(number, name) for number, name in enumerate(EVENT_TYPES, 1)]
    write(tmp_path, logging_to(level=level), events)
    records = written(tmp_path / "orders.jsonl")
    assert {record["type"] for record in records} == shown
    assert len(records) == len(shown)


@pytest.mark.parametrize(
    "configuration",
    [
        None,
        {},
        {"level": "OFF"},
        {"includeExecutionData": True},
        logging_to(level="OFF", includeExecutionData=True),
    ],
)
def test_nothing_is_logged_unless_a_level_asks_for_it(
    tmp_path: Path, configuration: dict[str, Json] | None
) -> None:
    assert ExecutionLogs(str(tmp_path)).observer(configuration, run_of()) is None
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_logged_without_a_target() -> None:
    assert ExecutionLogs(None).observer(logging_to(), run_of()) is None


# --- Records --------------------------------------------------------------------------------------


async def recorded(
    states: dict[str, Any], tmp_path: Path, *, run: Run | None = None, has_data: bool = True
) -> list[dict[str, Any]]:
    """The records of an execution whose Tasks give the output 1, or fail for an input of null."""

    async def work(arguments: Json, _scope: Scope) -> Json | StatesError:
        return StatesError("Card.Refused", "no money") if arguments is None else 1

    machine = parse(json.dumps({"StartAt": next(iter(states)), "States": states}))
    run = run_of({"x": 1}) if run is None else run
    logs = ExecutionLogs(str(tmp_path))
    observe = logs.observer(logging_to(includeExecutionData=has_data), run)
    pool = EvaluationPool()
    driver = Driver(MemoryJournal(), Integrations({PAY: work, SEND: work}), SystemClock(), pool)
    await driver.drive(machine, run, Inbox(), observe)
    pool.close()
    logs.close()
    return written(tmp_path / "orders.jsonl")


IS_WHOLE = {"truncated": False}


async def test_a_record_has_the_form_that_was_recorded_on_aws(tmp_path: Path) -> None:
    """Ids, timestamp and count are texts; details are those of GetExecutionHistory."""
    states = {"Pass": {"Type": "Pass", "Result": {"é": [1]}, "End": True}}
    records = await recorded(states, tmp_path)
    stamps = [record.pop("event_timestamp") for record in records]
    common = {"execution_arn": ARN, "redrive_count": "0"}
    assert records == [
        {
            "id": "1",
            "type": "ExecutionStarted",
            "details": {
                "input": '{"x":1}',
                "inputDetails": IS_WHOLE,
                "roleArn": "arn:aws:iam::123456789012:role/r",
            },
            "previous_event_id": "0",
            **common,
        },
        {
            "id": "2",
            "type": "PassStateEntered",
            "details": {"input": '{"x":1}', "inputDetails": IS_WHOLE, "name": "Pass"},
            "previous_event_id": "0",
            **common,
        },
        {
            "id": "3",
            "type": "PassStateExited",
            "details": {"name": "Pass", "output": '{"é":[1]}', "outputDetails": IS_WHOLE},
            "previous_event_id": "2",
            **common,
        },
        {
            "id": "4",
            "type": "ExecutionSucceeded",
            "details": {"output": '{"é":[1]}', "outputDetails": IS_WHOLE},
            "previous_event_id": "3",
            **common,
        },
    ]
    assert all(isinstance(stamp, str) and len(stamp) == 13 for stamp in stamps)
    assert stamps == sorted(stamps)


def test_a_record_has_the_time_and_the_place_of_its_event() -> None:
    event = Event(12, 7, "FailStateEntered", T0 + 5, {"name": "No"})
    assert record_of(event, run_of(), has_data=True) == {
        "id": "12",
        "type": "FailStateEntered",
        "details": {"name": "No"},
        "previous_event_id": "7",
        "event_timestamp": "1700000000005",
        "execution_arn": ARN,
        "redrive_count": "0",
    }


async def test_without_execution_data_inputs_and_outputs_are_left_out(tmp_path: Path) -> None:
    states = {
        "Pay": {"Type": "Task", "Resource": PAY, "Assign": {"paid": True}, "Next": "Send"},
        "Send": {
            "Type": "Task",
            "Resource": SEND,
            "Parameters": {"QueueUrl": "https://q", "MessageBody": "sesame"},
            "TimeoutSeconds": 60,
            "End": True,
        },
    }
    records = await recorded(states, tmp_path, has_data=False)
    assert [(record["type"], record["details"]) for record in records] == [
        ("ExecutionStarted", {"roleArn": "arn:aws:iam::123456789012:role/r"}),
        ("TaskStateEntered", {"name": "Pay"}),
        ("LambdaFunctionScheduled", {"resource": PAY}),
        ("LambdaFunctionStarted", {}),
        ("LambdaFunctionSucceeded", {}),
        ("TaskStateExited", {"name": "Pay"}),
        ("TaskStateEntered", {"name": "Send"}),
        (
            "TaskScheduled",
            {
                "resourceType": "sqs",
                "resource": "sendMessage",
                "region": "us-east-1",
                "timeoutInSeconds": 60,
            },
        ),
        ("TaskStarted", {"resourceType": "sqs", "resource": "sendMessage"}),
        ("TaskSucceeded", {"resourceType": "sqs", "resource": "sendMessage"}),
        ("TaskStateExited", {"name": "Send"}),
        ("ExecutionSucceeded", {}),
    ]


async def test_with_execution_data_arguments_and_variables_are_there(tmp_path: Path) -> None:
    states = {
        "Pay": {"Type": "Task", "Resource": PAY, "Assign": {"paid": [True]}, "Next": "Send"},
        "Send": {
            "Type": "Task",
            "Resource": SEND,
            "Parameters": {"QueueUrl": "https://q", "MessageBody": "sesame"},
            "End": True,
        },
    }
    records = await recorded(states, tmp_path)
    details = {record["type"]: record["details"] for record in reversed(records)}
    assert details["LambdaFunctionScheduled"] == {
        "resource": PAY,
        "input": '{"x":1}',
        "inputDetails": IS_WHOLE,
    }
    assert details["TaskStateExited"] == {
        "name": "Pay",
        "output": "1",
        "outputDetails": IS_WHOLE,
        "assignedVariables": {"paid": "[true]"},
        "assignedVariablesDetails": IS_WHOLE,
    }
    assert details["TaskScheduled"] == {
        "resourceType": "sqs",
        "resource": "sendMessage",
        "region": "us-east-1",
        "parameters": '{"QueueUrl":"https://q","MessageBody":"sesame"}',
    }


@pytest.mark.parametrize("has_data", [True, False])
async def test_error_and_cause_stay_without_execution_data(tmp_path: Path, has_data: bool) -> None:
    states = {"Pay": {"Type": "Task", "Resource": PAY, "InputPath": "$.none", "End": True}}
    run = run_of({"none": None})
    records = await recorded(states, tmp_path, run=run, has_data=has_data)
    failed = {"error": "Card.Refused", "cause": "no money"}
    assert [(record["type"], record["details"]) for record in records[-2:]] == [
        ("LambdaFunctionFailed", failed),
        ("ExecutionFailed", failed),
    ]


async def test_a_failed_expression_is_told_without_execution_data(tmp_path: Path) -> None:
    failing = {
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Output": "{% $error('x') %}",
        "End": True,
    }
    records = await recorded({"P": failing}, tmp_path, has_data=False)
    (details,) = (entry["details"] for entry in records if entry["type"] == "EvaluationFailed")
    assert details.keys() == {"error", "cause", "location", "state"}
    assert (details["error"], details["location"]) == ("States.QueryEvaluationError", "Output")


async def test_a_time_out_is_recorded(tmp_path: Path) -> None:
    states = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    records = await recorded(states, tmp_path, run=run_of(limit_ms=1))
    assert [(record["type"], record["details"]) for record in records[2:]] == [
        ("ExecutionTimedOut", {"error": "States.Timeout"})
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * MAX_DATA, MAX_DATA),
        ("x" * (MAX_DATA + 1), MAX_DATA),
        ("é" * MAX_DATA, MAX_DATA // 2),
        (f"x{'é' * MAX_DATA}", MAX_DATA // 2),
    ],
)
@pytest.mark.parametrize("member", ["input", "output", "parameters"])
def test_a_record_shows_248_kib_of_its_data(member: str, text: str, shown: int) -> None:
    """Counted in bytes; no character is cut in two."""
    assert MAX_DATA == 253_952
    event = Event(1, 0, "PassStateEntered", T0, {member: text})
    record = record_of(event, run_of(), has_data=True)
    assert record["details"][member] == text[:shown]


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("orders", "orders.jsonl"),
        ("/aws/vendedlogs/states/orders", "aws/vendedlogs/states/orders.jsonl"),
        ("a.b-c_d#e", "a.b-c_d#e.jsonl"),
        ("../../outside", "outside.jsonl"),
        ("/a/../../b", "a/b.jsonl"),
        ("..", "group.jsonl"),
    ],
)
def test_each_log_group_has_a_file_inside_the_directory(
    tmp_path: Path, group: str, file: str
) -> None:
    target = tmp_path / "new" / "logs"
    write(target, logging_to(group), [event_of()])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [target / file]
    assert len(written(target / file)) == 1


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:logs:us-east-1:123456789012:log-group:orders",
        "arn:aws:logs:us-east-1:123456789012:log-group:orders:*",
        "arn:aws-cn:logs:cn-north-1:123456789012:log-group:orders:*",
    ],
)
def test_the_group_is_found_in_its_arn(tmp_path: Path, arn: str) -> None:
    destination = {"cloudWatchLogsLogGroup": {"logGroupArn": arn}}
    write(tmp_path, {"level": "ALL", "destinations": [destination]}, [event_of()])
    assert [path.name for path in tmp_path.iterdir()] == ["orders.jsonl"]


@pytest.mark.parametrize(
    "destinations",
    [[], [{}], [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:s3:::orders"}}]],
)
def test_records_without_a_group_are_not_lost(tmp_path: Path, destinations: Json) -> None:
    write(tmp_path, {"level": "ALL", "destinations": destinations}, [event_of()])
    assert len(written(tmp_path / "unnamed.jsonl")) == 1


def test_executions_of_one_group_share_its_file_and_groups_do_not(tmp_path: Path) -> None:
    logs = ExecutionLogs(str(tmp_path))
    for group, name in (("a", "1"), ("b", "2"), ("a", "3")):
        observe = logs.observer(logging_to(group), run_of(arn=name))
        assert observe is not None
        observe([event_of()])
    logs.close()
    found = {
        path.stem: [record["execution_arn"] for record in written(path)]
        for path in tmp_path.iterdir()
    }
    assert found == {"a": ["1", "3"], "b": ["2"]}


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    logs = ExecutionLogs(str(tmp_path))
    observe = logs.observer(logging_to(), run_of())
    assert observe is not None
    for number in (1, 2):
        observe([event_of(number)])
        assert len(written(tmp_path / "orders.jsonl")) == number
    logs.close()


def test_the_next_server_adds_to_the_file(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path, logging_to(), [event_of(number)])
    assert [record["id"] for record in written(tmp_path / "orders.jsonl")] == ["1", "2"]


def test_a_text_with_line_breaks_stays_on_one_line(tmp_path: Path) -> None:
    data = json.dumps("one\ntwo\u2028three", ensure_ascii=False)
    write(tmp_path, logging_to(includeExecutionData=True), [event_of(input=data)])
    lines = (tmp_path / "orders.jsonl").read_bytes().split(b"\n")
    assert [bool(line) for line in lines] == [True, False]
    assert json.loads(json.loads(lines[0])["details"]["input"]) == "one\ntwo\u2028three"


def test_a_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    logs = ExecutionLogs(STDOUT)
    for group in ("a", "b"):
        observe = logs.observer(logging_to(group, includeExecutionData=True), run_of())
        assert observe is not None
        observe([event_of(input='"é"')])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        record_of(event_of(input='"é"'), run_of(), has_data=True)
    ] * 2


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="^The directory .*file of the execution log cannot "):
        ExecutionLogs(str(tmp_path / "file"))


# --- Delivery is best effort ----------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_stops_no_execution(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "orders.jsonl").mkdir()
    write(tmp_path, logging_to(), [event_of()])
    (record,) = caplog.records
    fields = vars(record)["fields"]
    assert (record.levelno, fields["file"]) == (logging.ERROR, str(tmp_path / "orders.jsonl"))
    assert "Is a directory" in fields["error"]


def test_no_number_of_log_groups_keeps_more_files_open(tmp_path: Path) -> None:
    logs = ExecutionLogs(str(tmp_path))
    groups = [f"group{number}" for number in range(MAX_OPEN + 10)]
    observers = [logs.observer(logging_to(group), run_of()) for group in groups]
    for number in (1, 2):
        for observe in observers:
            assert observe is not None
            observe([event_of(number)])
            assert len(logs._files) <= MAX_OPEN
    logs.close()
    for group in groups:
        assert [line["id"] for line in written(tmp_path / f"{group}.jsonl")] == ["1", "2"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="The system has no /dev/full.")
def test_output_that_takes_no_more_stops_no_execution(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # What could not be written makes closing the file fail, too.
    with suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        observe = ExecutionLogs(STDOUT).observer(logging_to(), run_of())
        assert observe is not None
        observe([event_of()])
    (record,) = caplog.records
    fields = vars(record)["fields"]
    assert (record.levelno, fields["file"]) == (logging.ERROR, STDOUT)
    assert "No space left on device" in fields["error"]
