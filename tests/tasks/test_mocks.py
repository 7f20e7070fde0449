"""Task mocks: Step Functions Local's MockConfigFile, and Python functions, in executions that run.

Facts of the file: developer guide, sfn-local-mock-cfg-file; counters as observed on Step Functions
Local 2.0.0.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import PAYLOAD_LIMIT, Json
from stepout.errors import SettingsError, TaskFailed
from stepout.runtime.inprocess import Result, run
from stepout.tasks import Scope
from stepout.tasks.mocks import Functions, Mocks, TaskFunction

PAY = "arn:aws:lambda:us-east-1:123456789012:function:pay"
BUSY = {"Throw": {"Error": "Busy", "Cause": "later"}}
PAID = {"Return": {"paid": True}}
SOON = {"ErrorEquals": ["Busy"], "MaxAttempts": 3, "IntervalSeconds": 1, "MaxDelaySeconds": 2}


def scope_of(state: str = "Pay", invocation: int = 0, test_case: str | None = "Case") -> Scope:
    return Scope(
        region="us-east-1",
        account="123456789012",
        role_arn="arn:aws:iam::123456789012:role/r",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:Order",
        machine_name="Order",
        execution_arn="arn:of:execution",
        state_name=state,
        invocation=invocation,
        test_case=test_case,
    )


def config(**responses: Json) -> dict[str, Any]:
    """A file in whose test case each state has a response of its own name."""
    cases = {"Case": {name: name for name in responses}}
    return {"StateMachines": {"Order": {"TestCases": cases}}, "MockedResponses": responses}


def mocks_of(**responses: Json) -> Mocks:
    return Mocks.parse(json.dumps(config(**responses)))


def task(**fields: Any) -> dict[str, Any]:
    end = {} if "Next" in fields else {"End": True}
    return {"Type": "Task", "Resource": PAY, **end, **fields}


async def ran(
    states: dict[str, Any],
    source: Json = None,
    *,
    tasks: dict[str, TaskFunction] | None = None,
    mocks: Mocks | None = None,
) -> Result:
    """Run the states, mocked by the test case `Case` where there are mocks."""
    machine = parse(json.dumps({"StartAt": next(iter(states)), "States": states}))
    test_case = None if mocks is None else "Case"
    async with asyncio.timeout(30):
        return await run(
            machine, source or {}, tasks=tasks, mocks=mocks, test_case=test_case, name="Order"
        )


async def output_of(function: TaskFunction, source: Json = None) -> Json:
    result = await ran({"Pay": task()}, source, tasks={"Pay": function})
    assert result.status == "SUCCEEDED", result
    return result.output


async def failure_of(function: TaskFunction) -> tuple[str | None, str | None]:
    result = await ran({"Pay": task()}, tasks={"Pay": function})
    assert (result.status, result.output) == ("FAILED", None)
    return result.error, result.cause


# --- The file: which answer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("invocation", "answer"),
    [
        (0, StatesError("Busy", "later")),
        (1, StatesError("Broken")),
        (2, StatesError("Broken")),
        (3, {"paid": True}),
        (10, [10]),
    ],
)
async def test_an_attempt_or_a_range_answers_its_invocations(
    invocation: int, answer: Json | StatesError
) -> None:
    mocks = mocks_of(
        Pay={"0": BUSY, "1-2": {"Throw": {"Error": "Broken"}}, "3": PAID, "10": {"Return": [10]}}
    )
    scope = scope_of(invocation=invocation)
    integration = mocks.find(PAY, scope)
    assert integration is not None
    assert await integration({}, scope) == answer


@pytest.mark.parametrize("invocation", [2, 3, 5])
async def test_an_invocation_without_an_answer_is_a_runtime_error(invocation: int) -> None:
    """Answers are not used again after the last one, nor in gaps (observed on Local)."""
    mocks = mocks_of(Pay={"0-1": PAID, "4": PAID})
    scope = scope_of(invocation=invocation)
    integration = mocks.find(PAY, scope)
    assert integration is not None
    assert await integration({}, scope) == StatesError(
        "States.Runtime",
        f"The mock of the state 'Pay' has no response for invocation {invocation} in the test case "
        "'Case'.",
    )


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, 1.5, "text", {"a": [{"b": None}]}])
async def test_any_json_may_be_returned(value: Json) -> None:
    result = await ran({"Pay": task()}, mocks=mocks_of(Pay={"0": {"Return": value}}))
    assert (result.status, result.output, type(result.output)) == (
        "SUCCEEDED",
        value,
        type(value),
    )


@pytest.mark.parametrize(
    ("thrown", "cause"),
    [
        ({"Error": "Card.Refused", "Cause": "no money"}, "no money"),
        ({"Error": "Card.Refused"}, None),
    ],
)
async def test_what_is_thrown_fails_the_task(thrown: Json, cause: str | None) -> None:
    result = await ran({"Pay": task()}, mocks=mocks_of(Pay={"0": {"Throw": thrown}}))
    assert (result.status, result.error, result.cause) == ("FAILED", "Card.Refused", cause)


async def test_a_retry_is_an_invocation() -> None:
    states = {"Pay": task(Retry=[SOON])}
    result = await ran(states, mocks=mocks_of(Pay={"0": BUSY, "1": PAID}))
    assert (result.status, result.output) == ("SUCCEEDED", {"paid": True})
    assert [event.type for event in result.events].count("LambdaFunctionScheduled") == 2


async def test_a_catcher_gets_what_is_thrown() -> None:
    catch = [{"ErrorEquals": ["Busy"], "Next": "Later", "ResultPath": "$.why"}]
    states = {"Pay": task(Catch=catch), "Later": {"Type": "Pass", "End": True}}
    result = await ran(states, {"order": 7}, mocks=mocks_of(Pay={"0": BUSY}))
    assert result.output == {"order": 7, "why": {"Error": "Busy", "Cause": "later"}}


async def test_a_loop_counts_its_invocations() -> None:
    again = [{"Variable": "$.paid", "BooleanEquals": False, "Next": "Pay"}]
    states = {
        "Pay": task(Next="Is it?"),
        "Is it?": {"Type": "Choice", "Choices": again, "Default": "Yes"},
        "Yes": {"Type": "Succeed"},
    }
    unpaid = {"Return": {"paid": False}}
    result = await ran(states, mocks=mocks_of(Pay={"0-1": unpaid, "2": PAID}))
    assert result.output == {"paid": True}
    assert [event.type for event in result.events].count("LambdaFunctionScheduled") == 3


async def test_the_iterations_of_a_map_count_together() -> None:
    processor = {"StartAt": "Pay", "States": {"Pay": task()}}
    every = {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": processor, "End": True}
    answers = {"0": {"Return": "a"}, "1": {"Return": "b"}, "2": {"Return": "c"}}
    result = await ran({"Each": every}, [7, 8, 9], mocks=mocks_of(Pay=answers))
    assert result.output == ["a", "b", "c"]


async def test_each_state_has_a_counter_of_its_own() -> None:
    states = {"Pay": task(Next="Send", ResultPath="$.pay"), "Send": task(ResultPath="$.send")}
    mocks = mocks_of(Pay={"0": {"Return": 1}}, Send={"0": {"Return": 2}})
    assert (await ran(states, mocks=mocks)).output == {"pay": 1, "send": 2}


async def test_each_execution_counts_anew() -> None:
    mocks = mocks_of(Pay={"0": PAID})
    results = [await ran({"Pay": task()}, mocks=mocks) for _ in range(2)]
    assert [result.output for result in results] == [{"paid": True}] * 2


async def test_a_mock_without_a_further_answer_fails_the_execution_past_every_catcher() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Later"}]
    states = {"Pay": task(Catch=catch, Next="Pay"), "Later": {"Type": "Pass", "End": True}}
    result = await ran(states, mocks=mocks_of(Pay={"0": PAID}))
    assert (result.status, result.error) == ("FAILED", "States.Runtime")


async def test_a_mocked_result_passes_the_output_fields() -> None:
    state = task(
        InputPath="$.order",
        ResultSelector={"id.$": "$.Payload.id"},
        ResultPath="$.payment",
        OutputPath="$.payment",
    )
    mocks = mocks_of(Pay={"0": {"Return": {"Payload": {"id": 4711}, "StatusCode": 200}}})
    assert (await ran({"Pay": state}, {"order": {"n": 1}}, mocks=mocks)).output == {"id": 4711}


@pytest.mark.parametrize(
    ("resource", "parameters"),
    [
        ("arn:aws:states:::lambda:invoke.waitForTaskToken", {"FunctionName": "f"}),
        ("arn:aws:states:::glue:startJobRun.sync", {"JobName": "j"}),
        ("arn:aws:states:::aws-sdk:s3:listBuckets", {}),
    ],
)
async def test_a_mock_is_the_final_result_of_any_integration(
    resource: str, parameters: Json
) -> None:
    """A task token is made and completed by the tool; a job's mock is the job's result."""
    payload = {"Payload": {"t.$": "$$.Task.Token"}} if "Token" in resource else {}
    state = task(Resource=resource, Parameters={**parameters, **payload})
    result = await ran({"Pay": state}, mocks=mocks_of(Pay={"0": PAID}))
    assert (result.status, result.output) == ("SUCCEEDED", {"paid": True})


async def test_a_mocked_result_over_the_limit_is_a_data_limit_error() -> None:
    answer = {"0": {"Return": "x" * (PAYLOAD_LIMIT - 1)}}
    result = await ran({"Pay": task()}, mocks=mocks_of(Pay=answer))
    assert (result.status, result.error, result.cause) == (
        "FAILED",
        "States.DataLimitExceeded",
        "The state/task 'Pay' returned a result with a size exceeding the maximum number of bytes "
        "service limit.",
    )


# --- The file: for whom ---------------------------------------------------------------------------


def test_a_state_that_the_test_case_does_not_name_is_not_mocked() -> None:
    assert mocks_of(Pay={"0": PAID}).find(PAY, scope_of("Send")) is None


def test_an_execution_without_a_test_case_is_not_mocked() -> None:
    assert mocks_of(Pay={"0": PAID}).find(PAY, scope_of(test_case=None)) is None
    assert Mocks().find(PAY, scope_of(test_case=None)) is None


async def test_a_state_without_a_mock_calls_what_is_served() -> None:
    states = {"Pay": task(Next="Send", ResultPath="$.pay"), "Send": task(ResultPath="$.send")}
    result = await ran(
        states, tasks={"Send": lambda _arguments: "sent"}, mocks=mocks_of(Pay={"0": PAID})
    )
    assert result.output == {"pay": {"paid": True}, "send": "sent"}


async def test_test_cases_and_machines_are_kept_apart() -> None:
    file = {
        "StateMachines": {
            "Order": {"TestCases": {"Case": {"Pay": "Good"}, "Sad path": {"Pay": "Bad"}}},
            "Other": {"TestCases": {"Case": {"Pay": "Bad"}}},
            "Empty": {"TestCases": {}},
        },
        "MockedResponses": {"Good": {"0": PAID}, "Bad": {"0": BUSY}, "Unused": {}},
    }
    mocks = Mocks.parse(json.dumps(file))
    found = {name: mocks.cases(name) for name in ("Order", "Other", "Empty", "Unknown")}
    assert found == {
        "Order": ("Case", "Sad path"),
        "Other": ("Case",),
        "Empty": (),
        "Unknown": (),
    }
    answers = []
    for test_case in mocks.cases("Order"):
        scope = scope_of(test_case=test_case)
        integration = mocks.find(PAY, scope)
        assert integration is not None
        answers.append(await integration({}, scope))
    assert answers == [{"paid": True}, StatesError("Busy", "later")]


# --- The file: what is wrong with it --------------------------------------------------------------

ONE_OF = "expected either Return, or Throw with the texts Error and Cause, found"
ATTEMPT = 'expected an attempt such as "0" or a range such as "1-3", found'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The mock file is not JSON: "),
        ("{", "The mock file is not JSON: "),
        ("[]", "The mock file: Expected an object with StateMachines and MockedResponses."),
        ("null", "The mock file: Expected an object with StateMachines and MockedResponses."),
        (
            '{"StateMachines": {}}',
            "The mock file: MockedResponses: expected an object, found null.",
        ),
        (
            '{"MockedResponses": {}}',
            "The mock file: StateMachines: expected an object, found null.",
        ),
        (
            '{"MockedResponses": [], "StateMachines": {}}',
            "The mock file: MockedResponses: expected an object, found [].",
        ),
        (
            '{"MockedResponses": {}, "StateMachines": {"M": {"Cases": {}}}}',
            "The mock file: StateMachines.M.TestCases: expected an object, found null.",
        ),
        (
            '{"MockedResponses": {}, "StateMachines": {"M": "x"}}',
            "The mock file: StateMachines.M.TestCases: expected an object, found null.",
        ),
        (
            '{"MockedResponses": {}, "StateMachines": {"M": {"TestCases": {"C": ["S"]}}}}',
            'The mock file: StateMachines.M.TestCases.C: expected an object of states, found ["S"].',
        ),
        (
            '{"MockedResponses": {}, "StateMachines": {"M": {"TestCases": {"C": {"S": "R"}}}}}',
            'The mock file: StateMachines.M.TestCases.C.S: no mocked response is called "R".',
        ),
        (
            '{"MockedResponses": {}, "StateMachines": {"M": {"TestCases": {"C": {"S": ["R"]}}}}}',
            'The mock file: StateMachines.M.TestCases.C.S: no mocked response is called ["R"].',
        ),
    ],
)
def test_a_file_of_another_form_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Mocks.parse(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ([PAID], 'MockedResponses.Pay: expected an object of attempts, found [{"Return": '),
        ({"": PAID}, f'MockedResponses.Pay: {ATTEMPT} "".'),
        ({"first": PAID}, f'MockedResponses.Pay: {ATTEMPT} "first".'),
        ({"-1": PAID}, f'MockedResponses.Pay: {ATTEMPT} "-1".'),
        ({"1-": PAID}, f'MockedResponses.Pay: {ATTEMPT} "1-".'),
        ({"3-1": PAID}, f'MockedResponses.Pay: {ATTEMPT} "3-1".'),
        ({"0 - 1": PAID}, f'MockedResponses.Pay: {ATTEMPT} "0 - 1".'),
        ({"1.0": PAID}, f'MockedResponses.Pay: {ATTEMPT} "1.0".'),
        ({"٣": PAID}, f'MockedResponses.Pay: {ATTEMPT} "\\u0663".'),
        ({"0-999999": PAID}, f'MockedResponses.Pay: {ATTEMPT} "0-999999".'),
        ({"0": {}}, f"MockedResponses.Pay.0: {ONE_OF} {{}}."),
        ({"0": None}, f"MockedResponses.Pay.0: {ONE_OF} null."),
        ({"0": {"return": 1}}, f'MockedResponses.Pay.0: {ONE_OF} {{"return": 1}}.'),
        ({"0": PAID | BUSY}, f'MockedResponses.Pay.0: {ONE_OF} {{"Return": {{"paid": true}}, "Th'),
        ({"0": {"Throw": "Busy"}}, f'MockedResponses.Pay.0: {ONE_OF} {{"Throw": "Busy"}}.'),
        ({"0": {"Throw": {}}}, f'MockedResponses.Pay.0: {ONE_OF} {{"Throw": {{}}}}.'),
        (
            {"0-1": {"Throw": {"Error": 404}}},
            f'MockedResponses.Pay.0-1: {ONE_OF} {{"Throw": {{"Error": 404}}}}.',
        ),
        (
            {"0": {"Throw": {"Error": "E", "Cause": {}}}},
            f'MockedResponses.Pay.0: {ONE_OF} {{"Throw": {{"Error": "E", "Cause": {{}}}}}}.',
        ),
    ],
)
def test_a_response_of_another_form_is_a_clear_error(response: Json, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        mocks_of(Pay=response)
    assert str(caught.value).startswith(f"The mock file: {message}")
    assert "\n" not in str(caught.value)


def test_all_problems_of_a_file_are_told_at_once() -> None:
    file = config(Pay={"x": PAID, "0": {}}, Send={"0": PAID})
    file["StateMachines"]["Order"]["TestCases"]["Case"]["Ship"] = "Unknown"
    with pytest.raises(SettingsError) as caught:
        Mocks.parse(json.dumps(file), "mocks.json")
    assert str(caught.value).splitlines() == [
        f'mocks.json: MockedResponses.Pay: {ATTEMPT} "x".',
        f"mocks.json: MockedResponses.Pay.0: {ONE_OF} {{}}.",
        "mocks.json: StateMachines.Order.TestCases.Case.Ship: no mocked response is called "
        '"Unknown".',
    ]


def test_a_long_value_is_cut_in_a_message() -> None:
    with pytest.raises(SettingsError) as caught:
        mocks_of(Pay={"0": "x" * 1_000})
    assert len(str(caught.value)) < 250
    assert str(caught.value).endswith("x….")


async def test_a_file_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "MockConfigFile.json"
    path.write_text(json.dumps(config(Pay={"0": {"Return": "é"}}), ensure_ascii=False), "utf-8")
    result = await ran({"Pay": task()}, mocks=Mocks.load(path))
    assert result.output == "é"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "The mock file {path} cannot be read: "),
        (b"\xff\xfe", "The mock file {path} cannot be read: "),
        (b"nonsense", "{path} is not JSON: "),
        (b"[]", "{path}: Expected an object with StateMachines and MockedResponses."),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "MockConfigFile.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        Mocks.load(path)
    assert str(caught.value).startswith(message.format(path=path))


# --- Functions ------------------------------------------------------------------------------------


async def test_a_function_gets_the_arguments_and_gives_the_result() -> None:
    assert await output_of(lambda arguments: {"got": arguments}, {"a": [1]}) == {"got": {"a": [1]}}


async def test_a_function_stands_for_every_state_of_its_resource() -> None:
    states = {"Pay": task(Next="Send", ResultPath="$.pay"), "Send": task(ResultPath="$.send")}
    calls: list[Json] = []

    def function(arguments: Json) -> int:
        calls.append(arguments)
        return len(calls)

    assert (await ran(states, tasks={PAY: function})).output == {"pay": 1, "send": 2}
    assert calls == [{}, {"pay": 1}]


async def test_the_function_of_a_state_comes_before_that_of_its_resource() -> None:
    states = {"Pay": task(Next="Send", ResultPath="$.pay"), "Send": task(ResultPath="$.send")}
    tasks: dict[str, TaskFunction] = {PAY: lambda _: "resource", "Send": lambda _: "state"}
    assert (await ran(states, tasks=tasks)).output == {"pay": "resource", "send": "state"}


def test_a_state_without_a_function_is_left_to_others() -> None:
    functions = Functions({"Send": lambda _: None, f"{PAY}:1": lambda _: None})
    assert functions.find(PAY, scope_of("Pay")) is None


async def test_a_function_may_be_asynchronous() -> None:
    async def function(arguments: Json) -> Json:
        await asyncio.sleep(0)
        return [arguments]

    assert await output_of(function, {"a": 1}) == [{"a": 1}]


async def test_a_function_may_give_something_to_wait_for() -> None:
    def function(_arguments: Json) -> Awaitable[str]:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.set_result, "waited for")
        return answer

    assert await output_of(function) == "waited for"


async def test_an_asynchronous_function_lets_other_states_go_on() -> None:
    second_began = asyncio.Event()

    async def first(_arguments: Json) -> str:
        await second_began.wait()
        return "first"

    async def second(_arguments: Json) -> str:
        second_began.set()
        return "second"

    branches = [{"StartAt": name, "States": {name: task()}} for name in ("A", "B")]
    both = {"Type": "Parallel", "Branches": branches, "End": True}
    result = await ran({"Both": both}, tasks={"A": first, "B": second})
    assert result.output == ["first", "second"]


def refuse(_arguments: Json) -> Json:
    raise TaskFailed("Card.Refused", "no money")


async def refuse_later(_arguments: Json) -> Json:
    await asyncio.sleep(0)
    raise TaskFailed("Card.Refused", "no money")


def refuse_silently(_arguments: Json) -> Json:
    raise TaskFailed("Card.Refused")


@pytest.mark.parametrize(
    ("function", "failure"),
    [
        (refuse, ("Card.Refused", "no money")),
        (refuse_later, ("Card.Refused", "no money")),
        (refuse_silently, ("Card.Refused", None)),
    ],
)
async def test_a_task_that_a_function_fails_has_its_error_and_cause(
    function: TaskFunction, failure: tuple[str, str | None]
) -> None:
    assert await failure_of(function) == failure


async def test_a_failed_function_is_retried_and_caught_as_any_task() -> None:
    calls: list[Json] = []

    def function(arguments: Json) -> Json:
        calls.append(arguments)
        raise TaskFailed("Busy", f"call {len(calls)}")

    states = {
        "Pay": task(
            Retry=[{**SOON, "MaxAttempts": 1}],
            Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "Later"}],
        ),
        "Later": {"Type": "Pass", "End": True},
    }
    result = await ran(states, {"order": 7}, tasks={"Pay": function})
    assert calls == [{"order": 7}] * 2
    assert result.output == {"Error": "Busy", "Cause": "call 2"}


class Order(Exception):
    """An exception of the user's own."""


def raising(error: Exception) -> Callable[[Json], Json]:
    def function(_arguments: Json) -> Json:
        raise error

    return function


async def lookup(arguments: Json) -> Json:
    return arguments["order"]


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (raising(ValueError("ünknown item")), "ValueError", "ünknown item"),
        (raising(Order("late")), "Order", "late"),
        (raising(Order()), "Order", ""),
        (raising(RecursionError("deep")), "RecursionError", "deep"),
        (lookup, "KeyError", "'order'"),
    ],
)
async def test_any_other_exception_fails_as_a_python_function_on_lambda_does(
    function: TaskFunction, error: str, message: str
) -> None:
    told, cause = await failure_of(function)
    assert told == error
    assert cause is not None
    assert json.loads(cause) == {"errorMessage": message, "errorType": error}


async def test_the_class_of_an_exception_can_be_caught() -> None:
    catch = [{"ErrorEquals": ["Order"], "Next": "Later", "ResultPath": None}]
    states = {"Pay": task(Catch=catch), "Later": {"Type": "Pass", "End": True}}
    result = await ran(states, {"order": 7}, tasks={"Pay": raising(Order("late"))})
    assert (result.status, result.output) == ("SUCCEEDED", {"order": 7})


DEEP: list[Any] = []
for _ in range(1_001):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (object(), "Type is not JSON serializable: object"),
        ({"a": {1, 2}}, "Type is not JSON serializable: set"),
        (b"bytes", "Type is not JSON serializable: bytes"),
        ("\ud800", "surrogates not allowed"),
        ({1: "a"}, "a key must be a text"),
        (DEEP, "nests deeper than 1000 levels"),
    ],
)
async def test_a_result_that_is_not_json_is_a_runtime_error(result: Any, why: str) -> None:
    error, cause = await failure_of(lambda _arguments: result)
    assert error == "States.Runtime"
    assert cause is not None
    assert cause.startswith("The function of a Task must give JSON: ")
    assert why in cause


async def test_a_result_over_the_limit_is_a_data_limit_error() -> None:
    assert len(await output_of(lambda _arguments: "x" * (PAYLOAD_LIMIT - 2))) == PAYLOAD_LIMIT - 2
    assert await failure_of(lambda _arguments: "é" * (PAYLOAD_LIMIT // 2)) == (
        "States.DataLimitExceeded",
        "The state/task 'Pay' returned a result with a size exceeding the maximum number of bytes "
        "service limit.",
    )


@pytest.mark.parametrize(
    ("result", "json_of_it"),
    [
        (None, None),
        (0, 0),
        (False, False),
        ("", ""),
        ((1, ("a",)), [1, ["a"]]),
        ({"a": (None,)}, {"a": [None]}),
        (10**30, 10**30),
    ],
)
async def test_a_result_is_what_json_makes_of_it(result: Any, json_of_it: Json) -> None:
    output = await output_of(lambda _arguments: result)
    assert (output, type(output)) == (json_of_it, type(json_of_it))


async def test_a_result_is_a_copy_that_the_function_cannot_change_later() -> None:
    kept: dict[str, int] = {}

    def first(_arguments: Json) -> Json:
        kept["a"] = 1
        return kept

    def second(_arguments: Json) -> Json:
        kept["a"] = 2
        return "second"

    states = {"Pay": task(Next="Send"), "Send": task(ResultPath="$.send")}
    result = await ran(states, tasks={"Pay": first, "Send": second})
    assert result.output == {"a": 1, "send": "second"}
