"""The engine on whole machines: results, events, retries, time-outs, and store/restore."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.world import (
    CONNECTION,
    NEVER,
    SEED,
    T0,
    Answer,
    World,
    finish_of,
    http_task,
    machine,
    output_of,
    run_of,
)

from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import PAYLOAD_LIMIT, Json
from stepout.engine.commands import Call, Cancel, Finish, Timer
from stepout.engine.execution import Execution
from stepout.engine.inputs import Done, Failed, Fired, Stop


def test_pass_states_hand_their_input_on() -> None:
    text = machine(A={"Type": "Pass", "Next": "B"}, B={"Type": "Succeed"})
    assert output_of(text, {"x": [1, None]}) == {"x": [1, None]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Result": {"a": 1}}, {"a": 1}),
        ({"Result": None}, None),
        ({"Result": 0, "ResultPath": "$.zero"}, {"x": 1, "y": {"z": 2}, "zero": 0}),
        ({"InputPath": "$.y"}, {"z": 2}),
        ({"InputPath": None}, {}),
        ({"OutputPath": "$.y.z"}, 2),
        ({"OutputPath": None}, {}),
        ({"ResultPath": None, "Result": 5}, {"x": 1, "y": {"z": 2}}),
        ({"Parameters": {"a.$": "$.x", "b": [{"c.$": "$.y.z"}], "d": 7}}, {"a": 1, "b": [{"c": 2}], "d": 7}),
        ({"Parameters": {"name.$": "$$.State.Name", "id.$": "$$.Execution.Name"}}, {"name": "A", "id": "n"}),
        ({"InputPath": "$.y", "Parameters": {"a.$": "$.z"}, "ResultPath": "$.r", "OutputPath": "$.r"}, {"a": 2}),
        ({"Parameters": {"a.$": "$$.Execution.Input.x"}}, {"a": 1}),
    ],
)  # fmt: skip
def test_input_and_output_are_processed_in_the_order_of_the_language(
    fields: dict[str, Any], expected: Json
) -> None:
    text = machine(A={"Type": "Pass", "End": True, **fields})
    assert output_of(text, {"x": 1, "y": {"z": 2}}) == expected


def test_the_context_object_of_express_has_no_redrive_count() -> None:
    text = machine(A={"Type": "Pass", "Parameters": {"c.$": "$$"}, "End": True})
    assert output_of(text, {"i": 1})["c"] == {
        "Execution": {
            "Id": "arn:aws:states:us-east-1:123456789012:express:m:n:u",
            "Input": {"i": 1},
            "Name": "n",
            "RoleArn": "arn:aws:iam::123456789012:role/r",
            "StartTime": "2023-11-14T22:13:20Z",
        },
        "State": {"EnteredTime": "2023-11-14T22:13:20Z", "Name": "A"},
        "StateMachine": {
            "Id": "arn:aws:states:us-east-1:123456789012:stateMachine:m",
            "Name": "m",
        },
    }


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (
            {"Parameters": {"v.$": "$.nope"}},
            "The JSONPath '$.nope' specified for the field 'v.$' could not be found in the input "
            "'{\"x\":1}'",
        ),
        ({"InputPath": "$.X"}, "Invalid path '$.X' : No results for path: $['X']"),
        (
            {"OutputPath": "$.no.such"},
            "Invalid path '$.no.such' : Missing property in path $['no']",
        ),
    ],
)
def test_a_missing_path_is_a_runtime_error_worded_as_on_aws(
    fields: dict[str, Any], cause: str
) -> None:
    finish = finish_of(machine(A={"Type": "Pass", "End": True, **fields}), {"x": 1})
    prefix = "An error occurred while executing the state 'A' (entered at the event id #2). "
    assert finish == Finish("FAILED", error=StatesError("States.Runtime", prefix + cause))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"Error": "E", "Cause": "C"}, StatesError("E", "C")),
        ({"Error": "E"}, StatesError("E", None)),
        ({}, StatesError("", None)),
        ({"ErrorPath": "$.e", "CausePath": "$.c"}, StatesError("from input", "why")),
        (
            {"Error": "E", "CausePath": "States.Format('{} for {}', $.c, $$.State.Name)"},
            StatesError("E", "why for A"),
        ),
    ],
)
def test_a_fail_state_ends_the_execution(fields: dict[str, Any], error: StatesError) -> None:
    finish = finish_of(machine(A={"Type": "Fail", **fields}), {"e": "from input", "c": "why"})
    assert finish == Finish("FAILED", error=error)


def test_a_fail_state_whose_path_misses_is_a_runtime_error() -> None:
    finish = finish_of(machine(A={"Type": "Fail", "ErrorPath": "$.nope"}), {})
    assert finish.error is not None
    assert finish.error.error == "States.Runtime"
    assert "'$.nope' specified for the field 'ErrorPath' could not be found" in str(
        finish.error.cause
    )


def test_a_task_calls_its_resource_with_the_resolved_arguments() -> None:
    task = http_task()
    task["Parameters"] = {
        "ApiEndpoint.$": "$.url",
        "Method": "POST",
        "InvocationConfig": {"ConnectionArn.$": "$.arn"},
        "RequestBody": {"n.$": "$.n"},
    }
    world = World(machine(T=task), lambda call, _: {"ResponseBody": call.arguments})
    finish = world.run(run_of({"url": "https://a.example/", "arn": CONNECTION, "n": 1}))
    assert finish.output is not None
    assert finish.output.value["ResponseBody"] == {
        "ApiEndpoint": "https://a.example/",
        "Method": "POST",
        "InvocationConfig": {"ConnectionArn": CONNECTION},
        "RequestBody": {"n": 1},
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ResultSelector": {"s.$": "$.StatusCode"}}, {"s": 200}),
        ({"ResultPath": "$.r"}, {"x": 1, "r": {"StatusCode": 200}}),
        ({"ResultPath": None}, {"x": 1}),
        ({"OutputPath": "$.StatusCode"}, 200),
        (
            {"ResultSelector": {"s.$": "$.StatusCode"}, "ResultPath": "$.r", "OutputPath": "$.r.s"},
            200,
        ),
    ],
)
def test_a_result_is_selected_and_placed(fields: dict[str, Any], expected: Json) -> None:
    assert output_of(machine(T=http_task(**fields)), {"x": 1}) == expected


def test_the_events_of_a_task_are_those_of_aws() -> None:
    world = World(machine(T=http_task()))
    world.run(run_of({"x": 1}))
    assert world.trace == [
        "1<0 ExecutionStarted",
        "2<0 TaskStateEntered",
        "3<2 TaskScheduled",
        "4<3 TaskStarted",
        "5<4 TaskSucceeded",
        "6<5 TaskStateExited",
        "7<6 ExecutionSucceeded",
    ]
    assert world.events[0].details == {
        "input": '{"x":1}',
        "inputDetails": {"truncated": False},
        "roleArn": "arn:aws:iam::123456789012:role/r",
    }
    assert world.events[2].details["resourceType"] == "http"
    assert world.events[2].details["resource"] == "invoke"
    assert world.events[2].details["region"] == "us-east-1"
    assert json.loads(world.events[2].details["parameters"])["Method"] == "GET"
    assert world.events[4].details == {
        "resourceType": "http",
        "resource": "invoke",
        "output": '{"StatusCode":200}',
        "outputDetails": {"truncated": False},
    }


def test_events_are_counted_though_nobody_wants_them() -> None:
    text = machine(
        A={"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "InputPath": "$.no", "End": True}
    )
    world = World(text)
    finish = world.run(run_of({}, wants_events=False))
    assert world.events == []
    assert "(entered at the event id #4)" in str(finish.error)


def failing(*errors: str) -> Answer:
    """Fail the first calls with these errors, then succeed."""

    def answer(_call: Call, number: int) -> Json | StatesError:
        return StatesError(errors[number - 1], "why") if number <= len(errors) else {"ok": number}

    return answer


ALL = {"ErrorEquals": ["States.ALL"]}
E503 = "States.Http.StatusCode.503"


def seconds_between_calls(
    definition: str, answer: Answer, seed: bytes = SEED
) -> tuple[Finish, list[float]]:
    world = World(definition, answer)
    finish = world.run(run_of())
    started = [event.timestamp for event in world.events if event.type == "TaskScheduled"]
    failed = [event.timestamp for event in world.events if event.type == "TaskFailed"]
    return finish, [(b - a) / 1_000 for a, b in zip(failed, started[1:], strict=False)]


@pytest.mark.parametrize(
    ("retrier", "delays"),
    [
        ({}, [1, 2, 4]),
        ({"IntervalSeconds": 3, "BackoffRate": 1}, [3, 3, 3]),
        ({"IntervalSeconds": 2, "BackoffRate": 1.5, "MaxAttempts": 4}, [2, 3, 4.5, 6.75]),
        ({"MaxDelaySeconds": 3, "MaxAttempts": 5}, [1, 2, 3, 3, 3]),
        ({"IntervalSeconds": 0}, [0, 0, 0]),
        ({"MaxAttempts": 0}, []),
        ({"MaxAttempts": 1}, [1]),
    ],
)
def test_delays_grow_by_the_backoff_rate_up_to_the_cap(
    retrier: dict[str, Any], delays: list[float]
) -> None:
    text = machine(T=http_task(Retry=[{**ALL, **retrier}]))
    finish, measured = seconds_between_calls(text, failing(*[E503] * 20))
    assert measured == delays
    assert finish == Finish("FAILED", error=StatesError(E503, "why"))


def test_a_retry_that_succeeds_ends_well_and_enters_the_state_once() -> None:
    world = World(machine(T=http_task(Retry=[ALL])), failing(E503))
    finish = world.run(run_of())
    assert finish.status == "SUCCEEDED"
    assert [event.type for event in world.events] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskFailed",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_full_jitter_stays_between_zero_and_the_computed_delay(seed: bytes) -> None:
    text = machine(T=http_task(Retry=[{**ALL, "IntervalSeconds": 8, "JitterStrategy": "FULL"}]))
    compiled = parse(text)
    execution, turn = Execution.start(compiled, run_of(), T0, seed)
    delays = []
    now = T0
    for _ in range(3):
        (call,) = (command for command in turn.commands if isinstance(command, Call))
        turn = execution.handle([Failed(call.id, StatesError(E503))], now, seed)
        (timer,) = (command for command in turn.commands if isinstance(command, Timer))
        delays.append(timer.due - now)
        now = timer.due
        turn = execution.handle([Fired(timer.id)], now, seed)
    assert 0 <= delays[0] <= 8_000
    assert 0 <= delays[1] <= 16_000
    assert 0 <= delays[2] <= 32_000


def test_every_retrier_counts_for_itself() -> None:
    text = machine(
        T=http_task(
            Retry=[
                {"ErrorEquals": ["A"], "MaxAttempts": 1, "IntervalSeconds": 10},
                {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "BackoffRate": 1},
            ]
        )
    )
    finish, delays = seconds_between_calls(text, failing("A", "B", "B", "A"))
    assert delays == [10, 1, 1]
    assert finish.error == StatesError("A", "why")


@pytest.mark.parametrize(
    ("names", "error", "is_caught"),
    [
        (["States.ALL"], E503, True),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.DataLimitExceeded", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.Runtime"], "States.Runtime", False),
        (["States.TaskFailed"], E503, True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.TaskFailed"], "States.Runtime", False),
        (["States.Timeout"], "States.Timeout", True),
        ([E503], E503, True),
        ([E503], "States.Http.StatusCode.500", False),
        (["x", "Events.ConnectionResource.AuthInProgress"], "Events.ConnectionResource.AuthInProgress", True),
    ],
)  # fmt: skip
def test_catchers_match_the_errors_that_aws_lets_them_match(
    names: list[str], error: str, *, is_caught: bool
) -> None:
    text = machine(
        T=http_task(Catch=[{"ErrorEquals": names, "Next": "C", "ResultPath": "$.caught"}]),
        C={"Type": "Pass", "End": True},
    )
    finish = finish_of(text, {"x": 1}, failing(error))
    if is_caught:
        assert finish.output is not None
        assert finish.output.value == {"x": 1, "caught": {"Error": error, "Cause": "why"}}
    else:
        assert finish == Finish("FAILED", error=StatesError(error, "why"))


def test_a_catcher_is_asked_after_the_retriers_are_exhausted() -> None:
    text = machine(
        T=http_task(
            Retry=[{"ErrorEquals": [E503], "MaxAttempts": 2, "IntervalSeconds": 1}],
            Catch=[{"ErrorEquals": ["States.ALL"], "Next": "C"}],
        ),
        C={"Type": "Pass", "End": True},
    )
    world = World(text, failing(*[E503] * 9))
    finish = world.run(run_of())
    assert world.calls == 3
    assert finish.output is not None
    assert finish.output.value == {"Error": E503, "Cause": "why"}
    assert world.trace[-5:] == [
        "11<10 TaskFailed",
        "12<11 TaskStateExited",
        "13<12 PassStateEntered",
        "14<13 PassStateExited",
        "15<14 ExecutionSucceeded",
    ]


def test_a_time_out_cancels_the_call_and_is_states_timeout() -> None:
    text = machine(T=http_task(TimeoutSeconds=3))
    world = World(text, lambda _call, _number: NEVER)
    finish = world.run(run_of())
    assert finish == Finish("FAILED", error=StatesError("States.Timeout"))
    assert world.now == T0 + 3_000
    (call,) = (command for command in world.commands if isinstance(command, Call))
    assert Cancel(call.id) in world.commands
    assert "TaskTimedOut" in [event.type for event in world.events]


def test_a_time_out_may_come_from_a_path() -> None:
    text = machine(T=http_task(TimeoutSecondsPath="$.t"))
    world = World(text, lambda _call, _number: NEVER)
    world.run(run_of({"t": 7}))
    assert world.now == T0 + 7_000


@pytest.mark.parametrize("value", [0, -1, 1.5, "x", True, None])
def test_a_time_out_path_that_gives_no_positive_integer_is_a_runtime_error(value: Json) -> None:
    finish = finish_of(machine(T=http_task(TimeoutSecondsPath="$.t")), {"t": value})
    assert finish.error is not None
    assert finish.error.error == "States.Runtime"


def test_an_answer_after_its_time_out_is_dropped() -> None:
    text = machine(T=http_task(TimeoutSeconds=3, Retry=[{"ErrorEquals": ["States.Timeout"]}]))
    execution, turn = Execution.start(parse(text), run_of(), T0, SEED)
    call, timer = (c for c in turn.commands if isinstance(c, Call | Timer))
    turn = execution.handle([Fired(timer.id)], T0 + 3_000, SEED)
    late = execution.handle([Done(call.id, {"late": True})], T0 + 3_001, SEED)
    assert not late.commands
    assert not late.events
    assert not execution.is_finished


def test_the_machines_time_out_ends_everything() -> None:
    definition = json.loads(machine(T=http_task(Catch=[{**ALL, "Next": "T"}])))
    definition["TimeoutSeconds"] = 2
    world = World(json.dumps(definition), lambda _call, _number: NEVER)
    finish = world.run(run_of(limit_ms=300_000))
    assert finish == Finish("TIMED_OUT", error=StatesError("States.Timeout"))
    assert world.now == T0 + 2_000
    assert world.trace[-1] == "5<0 ExecutionTimedOut"


def test_the_services_limit_holds_where_the_machine_has_none() -> None:
    world = World(machine(T=http_task()), lambda _call, _number: NEVER)
    finish = world.run(run_of(limit_ms=300_000))
    assert finish.status == "TIMED_OUT"
    assert world.now == T0 + 300_000


def test_a_stop_cancels_what_is_open() -> None:
    world = World(machine(T=http_task(TimeoutSeconds=60)), lambda _call, _number: NEVER)
    finish = world.run(run_of(limit_ms=300_000), [Stop(StatesError("mine", "I said so"))])
    assert finish == Finish("ABORTED", error=StatesError("mine", "I said so"))
    cancelled = {command.id for command in world.commands if isinstance(command, Cancel)}
    opened = {command.id for command in world.commands if isinstance(command, Call | Timer)}
    assert cancelled == opened


def test_a_result_over_the_limit_can_be_caught() -> None:
    text = machine(
        T=http_task(Catch=[{**ALL, "Next": "C"}], Next="C"), C={"Type": "Pass", "End": True}
    )
    output = output_of(text, {}, lambda _call, _number: "x" * PAYLOAD_LIMIT)
    assert output["Error"] == "States.DataLimitExceeded"
    assert "The state/task 'T' returned a result with a size exceeding" in output["Cause"]


def test_an_output_over_the_limit_fails_the_execution() -> None:
    text = machine(
        T=http_task(ResultPath="$.r", Catch=[{**ALL, "Next": "C"}], Next="C"),
        C={"Type": "Pass", "End": True},
    )
    half = "x" * (PAYLOAD_LIMIT // 2)
    finish = finish_of(text, {"x": half}, lambda _call, _number: half)
    assert finish.error is not None
    assert finish.error.error == "States.DataLimitExceeded"


def test_the_limit_counts_bytes_of_utf_8() -> None:
    text = machine(T=http_task())
    fits = "é" * (PAYLOAD_LIMIT // 2 - 1)
    assert output_of(text, {}, lambda _call, _number: fits) == fits
    over = finish_of(text, {}, lambda _call, _number: fits + "é")
    assert over.status == "FAILED"


def test_arguments_that_the_task_cannot_start_with_are_a_runtime_error() -> None:
    task = http_task(Catch=[{**ALL, "Next": "T"}])
    task["Parameters"]["Headers.$"] = "$.headers"
    finish = finish_of(machine(T=task), {"headers": {"Authorization": "x"}})
    assert finish.error is not None
    assert finish.error.error == "States.Runtime"
    assert str(finish.error.cause).startswith(
        "An error occurred while executing the state 'T' (entered at the event id #2). "
        "The Parameters '{"
    )
    assert str(finish.error.cause).endswith(
        "could not be used to start the Task: "
        "[The 'Headers' field contains unsupported values: [authorization]]"
    )


def test_a_long_run_of_states_yields_between_turns() -> None:
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(250)}
    world = World(machine(**states, S250={"Type": "Succeed"}))
    world.run(run_of())
    assert world.turns == 3


def test_a_stop_gets_into_an_endless_loop() -> None:
    """A machine as a definition cannot have it yet: without Choice, a loop has no end."""
    parsed = parse(machine(A={"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "End": True}))
    loop = replace(parsed, states={**parsed.states, "B": replace(parsed.states["B"], next="A")})
    execution, turn = Execution.start(loop, run_of(wants_events=False), T0, SEED)
    for _ in range(5):
        assert turn.more
        turn = execution.handle([], T0, SEED)
    turn = execution.handle([Stop()], T0, SEED)
    assert turn.finish is not None
    assert turn.finish.status == "ABORTED"


def choice(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Type": "Choice", "Choices": list(rules), **fields}


BIG = {"Variable": "$.n", "NumericGreaterThan": 10, "Next": "Big"}


@pytest.mark.parametrize(
    ("source", "state"), [({"n": 11}, "Big"), ({"n": 10}, "Small"), ({"n": "11"}, "Small")]
)
def test_a_choice_takes_the_first_rule_that_holds(source: Json, state: str) -> None:
    names = {"Type": "Pass", "Parameters": {"at.$": "$$.State.Name"}, "End": True}
    world = World(machine(C=choice(BIG, Default="Small"), Big=names, Small=names))
    finish = world.run(run_of(source))
    assert finish.output is not None
    assert finish.output.value == {"at": state}
    assert world.trace[1:3] == ["2<0 ChoiceStateEntered", "3<2 ChoiceStateExited"]


def test_a_choice_without_a_match_fails_as_recorded_on_aws() -> None:
    world = World(machine(C=choice(BIG), Big={"Type": "Succeed"}))
    finish = world.run(run_of({"n": 1}))
    assert finish.error == StatesError(
        "States.Runtime",
        "An error occurred while executing the state 'C' (entered at the event id #2). Failed to "
        "transition out of the state. The state does not point to a next state.",
    )
    assert world.trace == ["1<0 ExecutionStarted", "2<0 ChoiceStateEntered", "3<2 ExecutionFailed"]


def test_a_choice_processes_its_input_and_output() -> None:
    rule = {"Variable": "$.n", "NumericEquals": 1, "Next": "E"}
    text = machine(C=choice(rule, InputPath="$.in", OutputPath="$.n"), E={"Type": "Succeed"})
    finish = finish_of(text, {"in": {"n": 1}, "n": 2})
    assert finish.output is not None
    assert finish.output.value == 1


LOOP_STATES: dict[str, Any] = {
    "Check": choice({"Variable": "$.go", "BooleanEquals": False, "Next": "End"}, Default="Again"),
    "Again": {"Type": "Pass", "Next": "Check"},
    "End": {"Type": "Succeed"},
}


def test_a_loop_that_never_ends_is_ended_by_its_time_out() -> None:
    execution, turn = Execution.start(
        parse(machine(**LOOP_STATES)),
        run_of({"go": True}, wants_events=False, limit_ms=300_000),
        T0,
        SEED,
    )
    (timer,) = (command for command in turn.commands if isinstance(command, Timer))
    assert turn.more
    turn = execution.handle([Fired(timer.id)], T0 + 300_000, SEED)
    assert turn.finish is not None
    assert turn.finish.status == "TIMED_OUT"


@pytest.mark.parametrize(
    ("fields", "source", "milliseconds"),
    [
        ({"Seconds": 5}, {}, 5_000),
        ({"Seconds": 0}, {}, 0),
        ({"SecondsPath": "$.s"}, {"s": 7}, 7_000),
        ({"SecondsPath": "$.s", "InputPath": "$.in"}, {"in": {"s": 1}}, 1_000),
        ({"Timestamp": "2023-11-14T22:13:21.5Z"}, {}, 1_500),
        ({"Timestamp": "2023-11-14T22:13:20.0000001Z"}, {}, 1),
        ({"TimestampPath": "$.t"}, {"t": "2023-11-14T23:13:22+01:00"}, 2_000),
        ({"Timestamp": "2001-01-01T00:00:00Z"}, {}, 0),
    ],
)
def test_a_wait_takes_its_time(fields: dict[str, Any], source: Json, milliseconds: int) -> None:
    """T0 is 2023-11-14T22:13:20Z."""
    world = World(machine(W={"Type": "Wait", "End": True, **fields}))
    finish = world.run(run_of(source))
    assert finish.status == "SUCCEEDED"
    entered, exited = (event for event in world.events if event.type.startswith("WaitState"))
    assert (entered.type, exited.type) == ("WaitStateEntered", "WaitStateExited")
    assert exited.timestamp - entered.timestamp == milliseconds


@pytest.mark.parametrize(
    ("fields", "source", "cause"),
    [
        ({"SecondsPath": "$.p"}, {}, "The SecondsPath parameter does not reference an input value: $.p"),
        ({"SecondsPath": "$.p"}, {"p": 1.5}, "The SecondsPath parameter cannot be parsed as a long value: $.p == 1.5"),
        ({"SecondsPath": "$.p"}, {"p": "x"}, "The SecondsPath parameter cannot be parsed as a long value: $.p == x"),
        ({"SecondsPath": "$.p"}, {"p": True}, "The SecondsPath parameter cannot be parsed as a long value: $.p == true"),
        ({"SecondsPath": "$.p"}, {"p": -1}, "The SecondsPath parameter references a negative value: $.p == -1"),
        ({"TimestampPath": "$.p"}, {"p": 20}, "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: $.p == 20"),
        ({"TimestampPath": "$.p"}, {"p": "soon"}, "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: $.p == soon"),
    ],
)  # fmt: skip
def test_a_wait_that_cannot_be_read_fails_as_recorded_on_aws(
    fields: dict[str, Any], source: Json, cause: str
) -> None:
    finish = finish_of(machine(W={"Type": "Wait", "End": True, **fields}), source)
    assert finish.error == StatesError(
        "States.Runtime",
        f"An error occurred while executing the state 'W' (entered at the event id #2). {cause}",
    )


def test_events_have_dense_ids_and_point_backwards() -> None:
    world = World(machine(T=http_task(Retry=[ALL])), failing(E503, E503))
    world.run(run_of())
    assert [event.id for event in world.events] == list(range(1, len(world.events) + 1))
    assert all(event.previous_id < event.id for event in world.events)


def test_a_failed_turn_leaves_the_execution_as_it_was() -> None:
    execution, turn = Execution.start(parse(machine(T=http_task())), run_of(), T0, SEED)
    (call,) = (command for command in turn.commands if isinstance(command, Call))
    with pytest.raises(TypeError):
        execution.handle([Done(call.id, object())], T0, SEED)
    turn = execution.handle([Done(call.id, {"ok": 1})], T0, SEED)
    assert turn.finish is not None
    assert turn.finish.status == "SUCCEEDED"


def test_inputs_after_the_end_are_ignored() -> None:
    execution, turn = Execution.start(parse(machine(A={"Type": "Succeed"})), run_of(), T0, SEED)
    assert turn.finish is not None
    later = execution.handle([Stop(), Fired("1@")], T0, SEED)
    assert not later.commands
    assert not later.events
    assert later.meta == turn.meta
