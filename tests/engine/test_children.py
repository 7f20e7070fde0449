"""Parallel and Map: frames below a frame, their events, failures, cancellation and restoring."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.engine.world import SEED, T0, World, finish_of, http_task, machine, output_of, run_of

from stepout.asl.parse import parse
from stepout.asl.states_error import StatesError
from stepout.asl.values import Json
from stepout.engine.commands import Call, Cancel, Finish, Timer
from stepout.engine.execution import Execution
from stepout.engine.inputs import Done, Failed, Fired, Stop

PASS = {"Type": "Pass", "End": True}
ALL = {"ErrorEquals": ["States.ALL"]}


def branch(**states: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def parallel(*branches: dict[str, Any], **fields: Any) -> dict[str, Any]:
    end = {} if "Next" in fields else {"End": True}
    return {"Type": "Parallel", "Branches": list(branches), **end, **fields}


def each(processor: dict[str, Any], **fields: Any) -> dict[str, Any]:
    end = {} if "Next" in fields else {"End": True}
    return {"Type": "Map", "ItemProcessor": processor, **end, **fields}


def test_what_is_too_large_for_a_child_is_not_handed_to_it() -> None:
    big = {"a.$": "$.s", "b.$": "$.s"}
    source = {"s": "x" * 200_000}
    for state in (
        parallel(branch(A=PASS), Parameters=big),
        each(branch(A=PASS), ItemsPath="$.l", ItemSelector=big),
    ):
        finish = finish_of(machine(S=state), {**source, "l": [1]})
        assert finish.error is not None
        assert finish.error.error == "States.DataLimitExceeded"


def test_a_percentage_is_counted_in_decimals() -> None:
    inner = branch(
        A={
            "Type": "Choice",
            "Choices": [{"Variable": "$", "NumericLessThan": 323, "Next": "F"}],
            "Default": "Z",
        },
        F={"Type": "Fail"},
        Z={"Type": "Succeed"},
    )
    state = each(inner, ToleratedFailurePercentage=32.3)
    assert len(output_of(machine(M=state), [*range(1_000)])) == 677


@pytest.mark.parametrize(
    "field",
    [
        {"ItemBatcher": {"MaxItemsPerBatch": 2}},
        {"ResultWriter": {"Resource": "arn:aws:states:::s3:putObject"}},
    ],
)
def test_what_a_distributed_map_cannot_do_here_fails_by_its_name(field: dict[str, Any]) -> None:
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    text = machine(M=each({**branch(A=PASS), "ProcessorConfig": config}, **field))
    finish = finish_of(text, [1, 2])
    assert finish.error is not None
    assert f"The field {next(iter(field))} is not served by stepout." in (finish.error.cause or "")


def test_the_states_of_a_distributed_map_do_not_see_outer_variables() -> None:
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    reads = {"Type": "Pass", "Parameters": {"x.$": "$x"}, "End": True}
    text = machine(
        A={"Type": "Pass", "Assign": {"x": 1}, "Next": "M"},
        M=each({**branch(B=reads), "ProcessorConfig": config}),
    )
    assert finish_of(text, [1]).status == "FAILED"
    inline = machine(A={"Type": "Pass", "Assign": {"x": 1}, "Next": "M"}, M=each(branch(B=reads)))
    assert output_of(inline, [1]) == [{"x": 1}]


# --- Parallel -------------------------------------------------------------------------------------


def test_a_parallel_gathers_its_branches_in_their_order() -> None:
    text = machine(
        P=parallel(
            branch(A={"Type": "Pass", "Parameters": {"a.$": "$.x"}, "Next": "B"}, B=PASS),
            branch(C={"Type": "Wait", "Seconds": 5, "End": True}),
            branch(D={"Type": "Succeed"}),
        )
    )
    assert output_of(text, {"x": 1}) == [{"a": 1}, {"x": 1}, {"x": 1}]


def test_the_fields_around_a_parallel_work_as_those_of_a_task() -> None:
    text = machine(
        P=parallel(
            branch(A=PASS),
            branch(B=PASS),
            InputPath="$.in",
            Parameters={"n.$": "$.x"},
            ResultSelector={"first.$": "$[0].n", "both.$": "$[*].n"},
            ResultPath="$.out",
            OutputPath="$.out",
        )
    )
    assert output_of(text, {"in": {"x": 7}}) == {"first": 7, "both": [7, 7]}


def test_the_events_of_a_parallel_are_a_tree_as_recorded_on_aws() -> None:
    world = World(machine(P=parallel(branch(A=PASS), branch(B=PASS))))
    world.run(run_of())
    assert world.trace == [
        "1<0 ExecutionStarted",
        "2<0 ParallelStateEntered",
        "3<2 ParallelStateStarted",
        "4<3 PassStateEntered",
        "5<4 PassStateExited",
        "6<3 PassStateEntered",
        "7<6 PassStateExited",
        "8<7 ParallelStateSucceeded",
        "9<7 ParallelStateExited",
        "10<9 ExecutionSucceeded",
    ]


def test_a_failing_branch_cancels_its_siblings_in_the_same_turn() -> None:
    text = machine(
        P=parallel(
            branch(A=http_task()),
            branch(B=parallel(branch(C=http_task()), branch(D={"Type": "Wait", "Seconds": 9, "End": True}))),
            branch(E=http_task()),
        )
    )  # fmt: skip
    execution, turn = Execution.start(parse(text), run_of(), T0, SEED)
    calls = {command.state: command.id for command in turn.commands if isinstance(command, Call)}
    (timer,) = (command for command in turn.commands if isinstance(command, Timer))
    error = StatesError("Boom", "why")
    turn = execution.handle([Failed(calls["A"], error)], T0, SEED)
    cancelled = {command.id for command in turn.commands if isinstance(command, Cancel)}
    assert cancelled == {calls["C"], calls["E"], timer.id}
    assert turn.finish == Finish("FAILED", error=error)
    assert [event.type for event in turn.events] == [
        "TaskFailed",
        "TaskStateAborted",
        "WaitStateAborted",
        "ParallelStateAborted",
        "TaskStateAborted",
        "ParallelStateFailed",
        "ExecutionFailed",
    ]
    assert not turn.changed


def test_an_answer_for_a_cancelled_branch_is_dropped() -> None:
    caught = {**ALL, "Next": "After"}
    text = machine(
        P=parallel(branch(A=http_task()), branch(B=http_task()), Catch=[caught]),
        After={"Type": "Wait", "Seconds": 5, "End": True},
    )
    execution, turn = Execution.start(parse(text), run_of(), T0, SEED)
    first, second = (command.id for command in turn.commands if isinstance(command, Call))
    execution.handle([Failed(first, StatesError("Boom"))], T0, SEED)
    late = execution.handle([Done(second, {"late": True})], T0, SEED)
    assert (late.commands, late.events) == ((), ())


def test_a_failure_in_a_branch_is_caught_by_the_parallel() -> None:
    text = machine(
        P=parallel(
            branch(A={"Type": "Fail", "Error": "Boom", "Cause": "why"}),
            Catch=[{"ErrorEquals": ["Boom"], "Next": "After", "ResultPath": "$.caught"}],
        ),
        After=PASS,
    )
    assert output_of(text, {"x": 1}) == {"x": 1, "caught": {"Error": "Boom", "Cause": "why"}}


def test_a_parallel_that_is_retried_starts_all_branches_again() -> None:
    text = machine(
        P=parallel(branch(A=http_task()), branch(B=PASS), Retry=[{**ALL, "MaxAttempts": 1}])
    )
    world = World(text, lambda _call, number: StatesError("Busy") if number == 1 else {"n": number})
    finish = world.run(run_of({"x": 1}))
    assert finish.output is not None
    assert finish.output.value == [{"n": 2}, {"x": 1}]
    # Recorded on AWS: no ParallelStateFailed between, only another ParallelStateStarted.
    types = [event.type for event in world.events]
    assert types.count("ParallelStateStarted") == 2
    assert "ParallelStateFailed" not in types


def test_a_runtime_error_in_a_branch_ends_the_execution_uncaught() -> None:
    text = machine(
        P=parallel(
            branch(A={"Type": "Pass", "Parameters": {"v.$": "$.nope"}, "End": True}),
            Catch=[{**ALL, "Next": "After"}],
        ),
        After=PASS,
    )
    finish = finish_of(text)
    assert finish.error is not None
    assert finish.error.error == "States.Runtime"


# --- Map ------------------------------------------------------------------------------------------


def test_a_map_runs_its_processor_for_every_item() -> None:
    text = machine(
        M=each(branch(A={"Type": "Pass", "Parameters": {"v.$": "$"}, "End": True}), ItemsPath="$.l")
    )
    assert output_of(text, {"l": [1, "two", None]}) == [{"v": 1}, {"v": "two"}, {"v": None}]
    assert output_of(text, {"l": []}) == []


@pytest.mark.parametrize("field", ["ItemProcessor", "Iterator"])
@pytest.mark.parametrize("selector", ["ItemSelector", "Parameters"])
def test_the_older_names_of_a_maps_fields_work(field: str, selector: str) -> None:
    state = {
        "Type": "Map",
        field: branch(A=PASS),
        "ItemsPath": "$.l",
        selector: {
            "i.$": "$$.Map.Item.Index",
            "v.$": "$$.Map.Item.Value",
            "all.$": "$.k",
            "s": "x",
        },
        "End": True,
    }
    assert output_of(machine(M=state), {"l": ["a", "b"], "k": 9}) == [
        {"i": 0, "v": "a", "all": 9, "s": "x"},
        {"i": 1, "v": "b", "all": 9, "s": "x"},
    ]


def test_states_in_an_iteration_see_the_item_that_they_work_for() -> None:
    inner = branch(
        A={"Type": "Pass", "Parameters": {"i.$": "$$.Map.Item.Index"}, "Next": "P"},
        P=parallel(branch(B={"Type": "Pass", "Parameters": {"v.$": "$$.Map.Item.Value"}, "End": True})),
    )  # fmt: skip
    assert output_of(machine(M=each(inner)), ["a", "b"]) == [[{"v": "a"}], [{"v": "b"}]]


def test_the_events_of_a_map_are_those_recorded_on_aws() -> None:
    world = World(machine(M=each(branch(A=PASS), MaxConcurrency=1)))
    world.run(run_of([1, 2]))
    assert world.trace == [
        "1<0 ExecutionStarted",
        "2<0 MapStateEntered",
        "3<2 MapStateStarted",
        "4<3 MapIterationStarted",
        "5<4 PassStateEntered",
        "6<5 PassStateExited",
        "7<6 MapIterationSucceeded",
        "8<6 MapIterationStarted",
        "9<8 PassStateEntered",
        "10<9 PassStateExited",
        "11<10 MapIterationSucceeded",
        "12<11 MapStateSucceeded",
        "13<11 MapStateExited",
        "14<13 ExecutionSucceeded",
    ]


@pytest.mark.parametrize(
    ("fields", "items", "most"),
    [
        ({}, 100, 40),
        ({"MaxConcurrency": 3}, 10, 3),
        ({"MaxConcurrency": 0}, 100, 40),
        ({"MaxConcurrency": 500}, 100, 40),
        ({"MaxConcurrencyPath": "$.n", "ItemsPath": "$.l"}, 10, 2),
    ],
)
def test_no_more_iterations_run_at_once_than_allowed(
    fields: dict[str, Any], items: int, most: int
) -> None:
    text = machine(M=each(branch(A=http_task()), **fields))
    source: Json = {"n": 2, "l": [*range(items)]} if "ItemsPath" in fields else [*range(items)]
    execution, turn = Execution.start(parse(text), run_of(source), T0, SEED)
    running, ended = set[str](), 0
    while turn.finish is None:
        running |= {command.id for command in turn.commands if isinstance(command, Call)}
        assert len(running) <= most
        if ended == 0:
            assert len(running) == most
        turn = execution.handle([Done(running.pop(), {"ok": True})] if running else [], T0, SEED)
        ended += 1
    assert turn.finish.output is not None
    assert len(turn.finish.output.value) == items


def test_results_stand_in_the_order_of_the_items_whatever_ends_first() -> None:
    execution, turn = Execution.start(
        parse(machine(M=each(branch(A=http_task())))), run_of([0, 1, 2]), T0, SEED
    )
    calls = [command.id for command in turn.commands if isinstance(command, Call)]
    for index in (2, 0, 1):
        turn = execution.handle([Done(calls[index], {"n": index})], T0, SEED)
    assert turn.finish is not None
    assert turn.finish.output is not None
    assert turn.finish.output.value == [{"n": 0}, {"n": 1}, {"n": 2}]


def failing(*numbers: int) -> dict[str, Any]:
    """A processor that fails for these items."""
    rules = [{"Variable": "$", "NumericEquals": number, "Next": "No"} for number in numbers]
    return branch(
        C={"Type": "Choice", "Choices": rules, "Default": "Yes"},
        Yes=PASS,
        No={"Type": "Fail", "Error": "Bad", "Cause": "item"},
    )


def test_the_first_failing_iteration_fails_the_map_with_its_own_error() -> None:
    finish = finish_of(machine(M=each(failing(1, 2))), [0, 1, 2])
    assert finish.error == StatesError("Bad", "item")


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"ToleratedFailureCount": 1}, [0, 2, 3]),
        ({"ToleratedFailurePercentage": 25}, [0, 2, 3]),
        ({"ToleratedFailurePercentage": 24.9}, None),
        ({"ToleratedFailureCount": 3, "ToleratedFailurePercentage": 0}, None),
    ],
)
def test_tolerated_failures_are_left_out_of_the_result(
    fields: dict[str, Any], output: Json
) -> None:
    finish = finish_of(machine(M=each(failing(1), **fields)), [0, 1, 2, 3])
    assert (None if finish.output is None else finish.output.value) == output


def test_more_failures_than_tolerated_have_an_error_of_their_own() -> None:
    finish = finish_of(machine(M=each(failing(1, 2), ToleratedFailureCount=1)), [0, 1, 2, 3])
    assert finish.error == StatesError(
        "States.ExceedToleratedFailureThreshold",
        "The specified tolerated failure threshold was exceeded",
    )


@pytest.mark.parametrize(
    ("fields", "source", "cause"),
    [
        ({}, "no array", 'Reference path "$" must point to array.'),
        ({"ItemsPath": "$.l"}, {}, "Invalid path '$.l' : No results for path: $['l']"),
        (
            {"ItemsPath": "$.l", "MaxConcurrencyPath": "$.n"},
            {"l": [], "n": "x"},
            'The MaxConcurrencyPath field refers to value "x" which is not a valid integer: $.n',
        ),
        (
            {"ItemsPath": "$.l", "ToleratedFailureCountPath": "$.n"},
            {"l": [], "n": -1},
            "ToleratedFailureCount cannot be negative.",
        ),
        (
            {"ItemsPath": "$.l", "ToleratedFailurePercentagePath": "$.n"},
            {"l": [], "n": 100.1},
            "ToleratedFailurePercentage must be between 0 and 100.",
        ),
        (
            {"ItemsPath": "$.l", "ToleratedFailurePercentagePath": "$.n"},
            {"l": [], "n": "NoNumber"},
            'The ToleratedFailurePercentagePath field refers to value "NoNumber" which is not a '
            "valid float: $.n",
        ),
    ],
)
def test_what_a_map_cannot_work_with_is_a_runtime_error(
    fields: dict[str, Any], source: Json, cause: str
) -> None:
    finish = finish_of(machine(M=each(branch(A=PASS), **fields)), source)
    assert finish.error == StatesError(
        "States.Runtime",
        f"An error occurred while executing the state 'M' (entered at the event id #2). {cause}",
    )


def test_an_item_reader_is_refused_when_it_is_needed() -> None:
    reader = {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b"}}
    finish = finish_of(machine(M=each(branch(A=PASS), ItemReader=reader)), [])
    assert finish.error is not None
    assert finish.error.cause is not None
    assert finish.error.cause.endswith("The field ItemReader is not served by stepout.")


def test_a_stop_cancels_everything_below() -> None:
    text = machine(M=each(branch(P=parallel(branch(A=http_task()), branch(B=http_task())))))
    execution, turn = Execution.start(parse(text), run_of([1, 2]), T0, SEED)
    calls = {command.id for command in turn.commands if isinstance(command, Call)}
    turn = execution.handle([Stop()], T0, SEED)
    assert {command.id for command in turn.commands if isinstance(command, Cancel)} == calls
    assert turn.finish == Finish("ABORTED")


def test_the_machines_time_out_reaches_into_iterations() -> None:
    definition = json.loads(machine(M=each(branch(A=http_task()))))
    definition["TimeoutSeconds"] = 2
    execution, turn = Execution.start(parse(json.dumps(definition)), run_of([1]), T0, SEED)
    (timer,) = (command for command in turn.commands if isinstance(command, Timer))
    (call,) = (command for command in turn.commands if isinstance(command, Call))
    turn = execution.handle([Fired(timer.id)], T0 + 2_000, SEED)
    assert Cancel(call.id) in turn.commands
    assert turn.finish == Finish("TIMED_OUT", error=StatesError("States.Timeout"))


def test_a_large_map_takes_turns_with_others() -> None:
    """One turn makes a bounded number of steps; no turn writes more than its part."""
    text = machine(M=each(branch(A={"Type": "Pass", "Next": "B"}, B=PASS)))
    execution, turn = Execution.start(parse(text), run_of([*range(1_000)]), T0, SEED)
    turns, most = 1, len(turn.changed)
    while turn.finish is None:
        assert turn.more
        turn = execution.handle([], T0, SEED)
        turns, most = turns + 1, max(most, len(turn.changed))
    assert turns > 20
    assert most < 200


def test_maps_and_parallels_nest() -> None:
    text = machine(
        M=each(branch(P=parallel(branch(N=each(branch(A=PASS), ItemsPath="$.l")), branch(B=PASS))))
    )
    source = [{"l": [1, 2]}, {"l": []}]
    assert output_of(text, source) == [[[1, 2], {"l": [1, 2]}], [[], {"l": []}]]


@pytest.mark.parametrize("restores", [False, True])
def test_stored_and_restored_with_one_step_a_turn_nothing_changes(restores: bool) -> None:
    text = machine(
        S={"Type": "Pass", "Assign": {"k.$": "$.k"}, "Next": "M"},
        M=each(
            branch(
                A={"Type": "Pass", "Assign": {"own.$": "$"}, "Next": "T"},
                T=http_task(Next="P", Retry=[{**ALL, "MaxAttempts": 1}], ResultPath="$.r"),
                P=parallel(
                    branch(B={"Type": "Wait", "Seconds": 1, "End": True}),
                    branch(C={"Type": "Pass", "Parameters": {"k.$": "$k", "o.$": "$own"}, "End": True}),
                ),
            ),
            ItemsPath="$.l",
            ItemSelector={"v.$": "$$.Map.Item.Value"},
            MaxConcurrency=2,
        ),
    )  # fmt: skip

    def answer(_call: Call, number: int) -> Json | StatesError:
        return StatesError("Busy") if number % 3 == 0 else {"n": 1}

    plain = World(text, answer)
    expected = plain.run(run_of({"k": 5, "l": [1, 2, 3]}))
    again = World(text, answer, budget=1, restores=restores)
    finish = again.run(run_of({"k": 5, "l": [1, 2, 3]}))
    assert finish.status == expected.status == "SUCCEEDED"
    assert finish.output is not None
    assert expected.output is not None
    assert finish.output.value == expected.output.value
    if restores:
        # The same turns, whether or not the execution was stored between them.
        kept = World(text, answer, budget=1)
        kept.run(run_of({"k": 5, "l": [1, 2, 3]}))
        assert again.events == kept.events
        assert [*map(repr, again.commands)] == [*map(repr, kept.commands)]
