"""The public API: a machine runs in the process of its caller."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import threading
from typing import Any

import pytest

import stepout
from stepout.asl.values import PAYLOAD_LIMIT, Json
from stepout.engine.history import Event
from stepout.errors import JsonError

PAY = "arn:aws:lambda:us-east-1:123456789012:function:pay"
ECHO = {"Type": "Pass", "End": True}


def machine(**states: dict[str, Any]) -> stepout.Machine:
    return stepout.Machine.parse(json.dumps({"StartAt": next(iter(states)), "States": states}))


def task(**fields: Any) -> dict[str, Any]:
    end = {} if "Next" in fields else {"End": True}
    return {"Type": "Task", "Resource": PAY, **end, **fields}


def fail(**fields: Any) -> dict[str, Any]:
    return {"Type": "Fail", **fields}


def mocks(**answers: Json) -> stepout.Mocks:
    """For the machine `machine`, in the test case `Case`: each state returns its answer once."""
    return stepout.Mocks.parse(
        json.dumps(
            {
                "StateMachines": {
                    "machine": {"TestCases": {"Case": {name: name for name in answers}}}
                },
                "MockedResponses": {name: {"0": {"Return": it}} for name, it in answers.items()},
            }
        )
    )


# --- The shop window ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", stepout.__all__)
def test_each_name_of_the_window_can_be_had_and_tells_what_it_is(name: str) -> None:
    shown = getattr(stepout, name)
    assert shown is getattr(stepout, name)
    assert shown.__doc__


def test_everything_in_the_window_can_be_imported_at_once() -> None:
    names: dict[str, Any] = {}
    exec("from stepout import *", names)
    assert set(stepout.__all__) <= set(names)


def test_all_exceptions_of_the_window_have_one_base() -> None:
    assert issubclass(stepout.DefinitionError, stepout.StepoutError)
    assert issubclass(stepout.TaskFailed, stepout.StepoutError)


# --- Machines -------------------------------------------------------------------------------------


def test_a_definition_with_problems_is_refused_with_all_of_them() -> None:
    with pytest.raises(stepout.DefinitionError) as caught:
        machine(A={"Type": "Pass", "Next": "Nowhere"}, B=ECHO)
    problems = caught.value.problems
    assert all(isinstance(problem, stepout.Problem) for problem in problems)
    assert [(problem.code, problem.location) for problem in problems] == [
        ("MISSING_TRANSITION_TARGET", "/States/A/Next"),
        ("MISSING_TRANSITION_TARGET", "/States/B"),
    ]
    assert str(caught.value) == ", ".join(map(str, problems))


def test_a_definition_that_is_not_json_is_refused() -> None:
    with pytest.raises(stepout.DefinitionError, match="INVALID_JSON_DESCRIPTION"):
        stepout.Machine.parse("nonsense")


def test_what_express_machines_may_not_have_is_refused_on_demand() -> None:
    activity = "arn:aws:states:us-east-1:123456789012:activity:a"
    text = json.dumps({"StartAt": "A", "States": {"A": task(Resource=activity)}})
    assert stepout.Machine.parse(text).start_at == "A"
    with pytest.raises(stepout.DefinitionError, match="does not support Activity ARN"):
        stepout.Machine.parse(text, is_express=True)


# --- Results --------------------------------------------------------------------------------------


async def test_a_run_that_succeeds_has_an_output_and_no_error() -> None:
    states = {"Pay": task(ResultPath="$.paid")}
    result = await stepout.run(
        machine(**states), {"n": 7}, tasks={"Pay": lambda source: source["n"]}
    )
    assert result == stepout.Result(
        status="SUCCEEDED",
        output={"n": 7, "paid": 7},
        error=None,
        cause=None,
        events=result.events,
    )


@pytest.mark.parametrize(
    ("state", "error", "cause"),
    [
        (fail(Error="Card.Refused", Cause="no money"), "Card.Refused", "no money"),
        (fail(Error="Card.Refused"), "Card.Refused", None),
        (fail(Cause="no money"), None, "no money"),
        (fail(), None, None),
    ],
)
async def test_a_run_that_fails_is_a_result_with_its_error_and_cause(
    state: dict[str, Any], error: str | None, cause: str | None
) -> None:
    result = await stepout.run(machine(No=state))
    assert result == stepout.Result("FAILED", None, error, cause, result.events)


async def test_an_error_of_the_data_is_a_result_too() -> None:
    result = await stepout.run(machine(P={**ECHO, "InputPath": "$.missing"}), {"x": 1})
    assert (result.status, result.error) == ("FAILED", "States.Runtime")
    assert "$.missing" in str(result.cause)


async def test_a_machine_that_takes_too_long_is_timed_out() -> None:
    wait = {"Type": "Wait", "Seconds": 600, "End": True}
    definition = {"StartAt": "W", "States": {"W": wait}, "TimeoutSeconds": 1}
    result = await stepout.run(stepout.Machine.parse(json.dumps(definition)))
    assert (result.status, result.output, result.error) == ("TIMED_OUT", None, "States.Timeout")
    assert result.events[-1].type == "ExecutionTimedOut"


async def test_a_task_that_nothing_stands_for_fails_and_says_what_to_do() -> None:
    result = await stepout.run(machine(Pay=task()), tasks={"Send": lambda _: None})
    assert (result.status, result.error, result.cause) == (
        "FAILED",
        "States.Runtime",
        f"The resource '{PAY}' of the state 'Pay' is not served by stepout; mock it "
        "(docs/testing.md).",
    )


def test_a_result_cannot_be_changed() -> None:
    result = stepout.Result("SUCCEEDED", 1, None, None, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.output = 2  # type: ignore[misc] # the test is that it cannot be


# --- Input ----------------------------------------------------------------------------------------


async def test_without_an_input_it_is_an_empty_object() -> None:
    assert (await stepout.run(machine(P=ECHO))).output == {}


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, 1.5, "é", {"a": [1, {"b": None}]}])
async def test_any_json_may_be_the_input(value: Json) -> None:
    output = (await stepout.run(machine(P=ECHO), value)).output
    assert (output, type(output)) == (value, type(value))


async def test_a_tuple_comes_in_as_an_array() -> None:
    assert (await stepout.run(machine(P=ECHO), {"a": (1, (2,))})).output == {"a": [1, [2]]}


DEEP: list[Any] = []
for _ in range(1_001):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "The input is not JSON: Type is not JSON serializable: object"),
        ({"a": {1}}, "The input is not JSON: Type is not JSON serializable: set"),
        ("\ud800", "The input is not JSON: .*surrogates not allowed"),
        ({1: 2}, "a key must be a text"),
        (DEEP, "nests deeper than 1000 levels"),
        ("x" * (PAYLOAD_LIMIT - 1), "The input has 262145 bytes; it may have 262144."),
        ("é" * (PAYLOAD_LIMIT // 2), "The input has 262146 bytes; it may have 262144."),
    ],
)
async def test_an_input_that_is_not_json_or_too_large_is_refused(value: Any, why: str) -> None:
    seen: list[Event] = []
    with pytest.raises(JsonError, match=why) as caught:
        await stepout.run(machine(P=ECHO), value, on_event=seen.append)
    assert isinstance(caught.value, stepout.StepoutError)
    assert seen == []


async def test_the_largest_input_is_taken() -> None:
    largest = "x" * (PAYLOAD_LIMIT - 2)
    assert (await stepout.run(machine(P=ECHO), largest)).output == largest


async def test_the_input_of_the_caller_is_not_changed() -> None:
    def spoil(arguments: Json) -> Json:
        arguments["deep"]["list"].append(1)
        return arguments

    source: dict[str, Any] = {"deep": {"list": []}}
    result = await stepout.run(machine(Pay=task()), source, tasks={"Pay": spoil})
    assert result.output == {"deep": {"list": [1]}}
    assert source == {"deep": {"list": []}}


# --- Tasks and mocks ------------------------------------------------------------------------------


async def test_mocks_answer_for_the_machine_of_a_name_in_a_test_case() -> None:
    pay, answers = machine(Pay=task()), mocks(Pay="mocked")
    by_default = await stepout.run(pay, mocks=answers, test_case="Case")
    by_name = await stepout.run(pay, mocks=answers, test_case="Case", name="machine")
    assert [by_default.output, by_name.output] == ["mocked", "mocked"]


async def test_mocks_without_a_test_case_stand_aside() -> None:
    result = await stepout.run(
        machine(Pay=task()), mocks=mocks(Pay="mocked"), tasks={PAY: lambda _: "function"}
    )
    assert result.output == "function"


async def test_the_context_names_the_machine_and_the_execution() -> None:
    context = {**ECHO, "Parameters": {"machine.$": "$$.StateMachine", "run.$": "$$.Execution"}}
    output = (await stepout.run(machine(P=context), {"x": 1}, name="orders")).output
    assert output["machine"] == {
        "Id": "arn:aws:states:us-east-1:123456789012:stateMachine:orders",
        "Name": "orders",
    }
    name = output["run"]["Name"]
    assert output["run"]["Id"].startswith(
        f"arn:aws:states:us-east-1:123456789012:express:orders:{name}:"
    )
    assert output["run"]["Input"] == {"x": 1}
    assert output["run"]["RoleArn"] == "arn:aws:iam::123456789012:role/stepout"


# --- Events ---------------------------------------------------------------------------------------


async def test_the_result_has_the_history_in_order() -> None:
    result = await stepout.run(machine(Pay=task()), {"n": 1}, tasks={PAY: lambda _: 2})
    assert [(event.id, event.previous_id, event.type) for event in result.events] == [
        (1, 0, "ExecutionStarted"),
        (2, 0, "TaskStateEntered"),
        (3, 2, "LambdaFunctionScheduled"),
        (4, 3, "LambdaFunctionStarted"),
        (5, 4, "LambdaFunctionSucceeded"),
        (6, 5, "TaskStateExited"),
        (7, 6, "ExecutionSucceeded"),
    ]
    assert result.events[0].details == {
        "input": '{"n":1}',
        "inputDetails": {"truncated": False},
        "roleArn": "arn:aws:iam::123456789012:role/stepout",
    }
    assert result.events[-1].details == {"output": "2", "outputDetails": {"truncated": False}}
    stamps = [event.timestamp for event in result.events]
    assert stamps == sorted(stamps)


async def test_each_event_is_told_once_and_in_order() -> None:
    seen: list[Event] = []
    states = {"A": task(Next="B"), "B": task()}
    result = await stepout.run(machine(**states), tasks={PAY: lambda _: {}}, on_event=seen.append)
    assert len(seen) == 12
    assert tuple(seen) == result.events


async def test_an_event_is_told_when_it_happens() -> None:
    seen: list[str] = []
    at_work: list[list[str]] = []

    async def pay(_arguments: Json) -> Json:
        at_work.append([*seen])
        return {}

    states = {"A": task(Next="B"), "B": task()}
    await stepout.run(
        machine(**states), tasks={PAY: pay}, on_event=lambda event: seen.append(event.type)
    )
    entered = ["TaskStateEntered", "LambdaFunctionScheduled", "LambdaFunctionStarted"]
    first = ["ExecutionStarted", *entered]
    assert at_work == [first, [*first, "LambdaFunctionSucceeded", "TaskStateExited", *entered]]


async def test_what_on_event_raises_reaches_the_caller_and_ends_the_work() -> None:
    begun = False

    async def pay(_arguments: Json) -> Json:
        nonlocal begun
        begun = True

    def on_event(event: Event) -> None:
        if event.type == "LambdaFunctionScheduled":
            raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        await stepout.run(machine(Pay=task()), tasks={PAY: pay}, on_event=on_event)
    assert not begun


# --- Cancelling, and several at once --------------------------------------------------------------


async def test_cancelling_a_run_cancels_the_tasks_that_work() -> None:
    begun = {"A": asyncio.Event(), "B": asyncio.Event()}
    cancelled = {"A": asyncio.Event(), "B": asyncio.Event()}

    async def work(arguments: Json) -> Json:
        begun[arguments["is"]].set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled[arguments["is"]].set()
            raise

    branches = [
        {"StartAt": name, "States": {name: task(Parameters={"is": name})}} for name in begun
    ]
    both = machine(Both={"Type": "Parallel", "Branches": branches, "End": True})
    running = asyncio.create_task(stepout.run(both, tasks={PAY: work}))
    async with asyncio.timeout(10):
        for event in begun.values():
            await event.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        for event in cancelled.values():
            await event.wait()


class Loud(BaseException):
    """As `pytest.fail` raises one."""


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_is_meant_for_more_than_the_task_is_raised_by_run(is_async: bool) -> None:
    async def later(_arguments: Json) -> Json:
        raise Loud

    def at_once(_arguments: Json) -> Json:
        raise Loud

    with pytest.raises(Loud):
        await stepout.run(machine(A=task()), tasks={"A": later if is_async else at_once})


async def test_a_task_that_cancels_itself_fails_the_run() -> None:
    async def gives_up(_arguments: Json) -> Json:
        raise asyncio.CancelledError

    result = await stepout.run(machine(A=task()), tasks={"A": gives_up})
    assert (result.status, result.error) == ("FAILED", "States.Runtime")


async def test_a_task_changes_its_own_copy_of_the_arguments() -> None:
    def change(arguments: Json) -> Json:
        arguments["list"].append(1)
        return arguments["list"]

    compiled = machine(A=task(Parameters={"list": []}, ResultPath="$.r"))
    for _ in range(2):
        result = await stepout.run(compiled, {"n": 1}, tasks={"A": change})
        assert result.output == {"n": 1, "r": [1]}


async def test_cancelled_tasks_have_cleaned_up_when_the_run_is_over() -> None:
    log: list[str] = []

    async def works(_arguments: Json) -> Json:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    def fails(_arguments: Json) -> Json:
        raise stepout.TaskFailed("Orders.Empty")

    branches = [{"StartAt": name, "States": {name: task()}} for name in ("Works", "Fails")]
    parallel = {"Type": "Parallel", "Branches": branches, "End": True}
    result = await stepout.run(machine(P=parallel), tasks={"Works": works, "Fails": fails})
    assert (result.error, log) == ("Orders.Empty", ["cleaned up"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"test_case": "x"}, stepout.StepoutError, "no test case 'x' for the machine 'machine'"),
        ({"mocks": mocks(A={"0": {"Return": 1}}), "test_case": "x"}, stepout.StepoutError, "no test case 'x'"),
        ({"tasks": [1]}, TypeError, "Expected tasks to map names to functions"),
        ({"tasks": {"A": 1}}, TypeError, "Expected tasks to map names to functions"),
    ],
)  # fmt: skip
async def test_arguments_that_cannot_work_are_refused_before_the_run(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        await stepout.run(machine(A=task()), **arguments)


async def test_a_value_that_holds_itself_is_no_json() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(JsonError, match="holds itself"):
        await stepout.run(machine(A=task()), endless)
    result = await stepout.run(machine(A=task()), tasks={"A": lambda _arguments: endless})
    assert result.error == "States.Runtime"


async def test_a_branch_that_fails_cancels_the_task_of_another() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_arguments: Json) -> Json:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def refuse(_arguments: Json) -> Json:
        await begun.wait()
        raise stepout.TaskFailed("Card.Refused", "no money")

    branches = [{"StartAt": name, "States": {name: task()}} for name in ("A", "B")]
    both = machine(Both={"Type": "Parallel", "Branches": branches, "End": True})
    async with asyncio.timeout(10):
        result = await stepout.run(both, tasks={"A": wait, "B": refuse})
        await cancelled.wait()
    assert (result.error, result.cause) == ("Card.Refused", "no money")


async def test_a_task_that_takes_too_long_is_cancelled_and_fails() -> None:
    cancelled = asyncio.Event()

    async def wait(_arguments: Json) -> Json:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    result = await stepout.run(machine(Pay=task(TimeoutSeconds=1)), tasks={PAY: wait})
    assert (result.status, result.error) == ("FAILED", "States.Timeout")
    async with asyncio.timeout(10):
        await cancelled.wait()


async def test_two_runs_of_a_machine_at_once_are_two_executions() -> None:
    """Each waits for the other: they can only end together."""
    arrived: dict[int, asyncio.Event] = {1: asyncio.Event(), 2: asyncio.Event()}

    async def meet(arguments: Json) -> Json:
        arrived[arguments["n"]].set()
        await arrived[3 - arguments["n"]].wait()
        return arguments["n"] * 10

    pay = machine(Pay=task(Next="Id", ResultPath="$.met"), Id={**ECHO, "Parameters": ID})
    async with asyncio.timeout(10):
        results = await asyncio.gather(
            *(stepout.run(pay, {"n": n}, tasks={PAY: meet}) for n in (1, 2))
        )
    assert [result.output["met"] for result in results] == [10, 20]
    assert len({result.output["id"] for result in results}) == 2
    assert [len(result.events) for result in results] == [9, 9]


ID = {"id.$": "$$.Execution.Id", "met.$": "$.met"}


async def test_a_run_leaves_no_threads_behind() -> None:
    """Also where its expressions are evaluated beside the event loop."""
    before = set(threading.enumerate())
    heavy = {**ECHO, "QueryLanguage": "JSONata", "Output": "{% $sum([1..100000]) %}"}
    result = await stepout.run(machine(P=heavy))
    assert result.output == 5_000_050_000
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


def test_a_machine_runs_in_one_event_loop_after_the_other() -> None:
    pay = machine(Pay=task())
    outputs = [
        asyncio.run(stepout.run(pay, n, tasks={PAY: lambda source: source})).output for n in (1, 2)
    ]
    assert outputs == [1, 2]
