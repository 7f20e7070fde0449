"""Definitions and inputs that mean harm: an answer in AWS's shape, in bounded time and memory, and
others are served meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from botocore.exceptions import ClientError
from tests.e2e.calls import ROLE, ServerProcess

PASS = {"Type": "Pass", "End": True}
KIB = 1_024
LARGEST = 256 * KIB
LARGE = json.dumps({"s": "x" * (LARGEST - KIB)})
ITEMS = json.dumps([*range(38_000)])
MIB_AT_MOST = 700
"""Memory that the server may have used at its peak; it starts with some 90 MiB."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("hostile") / "server.log"
    with ServerProcess(log=log) as running:
        yield running
        assert "Traceback" not in log.read_text()
        assert peak_mib(running.pid) < MIB_AT_MOST


def peak_mib(pid: int) -> int:
    """The most memory that a process has used; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) // KIB


class Others:
    """Somebody else's short executions, one after the other, while the block runs."""

    def __init__(self, server: ServerProcess) -> None:
        self._client = server.client("stepfunctions", read_timeout=30)
        self._machine = create(self._client, one(PASS), "others")
        self._thread = threading.Thread(target=self._run)
        self._is_over = threading.Event()
        self.seconds: list[float] = []

    def _run(self) -> None:
        while not self._is_over.is_set():
            started = time.perf_counter()
            self._client.start_sync_execution(stateMachineArn=self._machine)
            self.seconds.append(time.perf_counter() - started)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


@pytest.fixture
def others(server: ServerProcess) -> Iterator[Others]:
    with Others(server) as running:
        yield running


def create(client: Any, definition: str, name: str = "hostile") -> str:
    """The ARN of an Express machine; one of this name is replaced."""
    arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{name}"
    client.delete_state_machine(stateMachineArn=arn)
    client.create_state_machine(name=name, type="EXPRESS", roleArn=ROLE, definition=definition)
    return arn


def execute(server: ServerProcess, definition: str, source: str = "{}") -> dict[str, Any]:
    client = server.client("stepfunctions", read_timeout=60, retries={"max_attempts": 0})
    machine = create(client, definition)
    answer: dict[str, Any] = client.start_sync_execution(stateMachineArn=machine, input=source)
    return answer


def one(state: dict[str, Any], **more: Any) -> str:
    return json.dumps({"StartAt": "A", "States": {"A": state}, **more})


def passing(**fields: Any) -> str:
    return one({**PASS, **fields})


def query(expression: str) -> str:
    return one({**PASS, "Output": f"{{% {expression} %}}"}, QueryLanguage="JSONata")


def chain(count: int, **fields: Any) -> str:
    """As many Pass states, one after the other."""
    states: dict[str, Any] = {
        f"S{index}": {"Type": "Pass", "Next": f"S{index + 1}", **fields} for index in range(count)
    }
    return json.dumps({"StartAt": "S0", "States": {**states, f"S{count}": PASS}})


def nested(levels: int) -> str:
    """Parallel states inside each other; written by hand, as Python's writer recurses."""
    inner = '{"Type":"Pass","End":true}'
    for level in range(levels):
        graph = f'{{"StartAt":"N{level}","States":{{"N{level}":{inner}}}}}'
        inner = f'{{"Type":"Parallel","End":true,"Branches":[{graph}]}}'
    return f'{{"StartAt":"A","States":{{"A":{inner}}}}}'


def laughing(call: str, width: int, depth: int) -> str:
    """A call of a call of a call…, each with all of the one inside, as often as it is wide."""
    expression = "$.s"
    for _ in range(depth):
        arguments = ", ".join([expression] * width)
        expression = f"States.{call}({arguments})"
    return passing(Parameters={"x.$": expression})


def deep(levels: int, size: int = 0) -> str:
    """An input of arrays inside each other, filled up to a size."""
    filling = max(size - 2 * levels - 2, 0)
    return "[" * (levels - 1) + (f'["{"x" * filling}"]' if filling else "[]") + "]" * (levels - 1)


Refused = Callable[[ServerProcess], Any]


# --- Definitions ----------------------------------------------------------------------------------


def test_a_definition_of_one_megabyte_runs(server: ServerProcess, others: Others) -> None:
    definition = chain(18_000)
    assert len(json.dumps({"definition": definition})) > 0.9 * KIB * KIB
    assert execute(server, definition)["status"] == "SUCCEEDED"
    assert len(others.seconds) > 5


def test_a_definition_of_a_thousand_problems_is_refused_with_all_of_them(
    server: ServerProcess, others: Others
) -> None:
    client = server.client("stepfunctions")
    with pytest.raises(ClientError, match="InvalidDefinition"):
        create(client, chain(15_000, Colour=1))
    answer = client.validate_state_machine_definition(
        definition=chain(1_000, Colour=1), maxResults=0
    )
    assert answer["truncated"]
    assert others.seconds


@pytest.mark.parametrize("definition", [nested(1_000), nested(100), "[" * 100_000])
def test_nesting_is_refused_by_name(server: ServerProcess, others: Others, definition: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidDefinition.*(nests|nested) deeper than"):
        create(server.client("stepfunctions"), definition)


def test_thousands_of_scopes_that_assign_are_checked_while_others_are_served(
    server: ServerProcess, others: Others
) -> None:
    """Each may hold a name that one of all states before it has."""
    states: dict[str, Any] = {}
    for n in range(3_000):
        branch = {"StartAt": f"B{n}", "States": {f"B{n}": {**PASS, "Assign": {f"w{n}": 1}}}}
        states[f"P{n}"] = {"Type": "Pass", "Assign": {f"v{n}": 1}, "Next": f"Q{n}"}
        states[f"Q{n}"] = {"Type": "Parallel", "Branches": [branch], "Next": f"P{n + 1}"}
    definition = json.dumps({"StartAt": "P0", "States": {**states, "P3000": PASS}})
    create(server.client("stepfunctions"), definition)
    assert others.seconds
    clash = definition.replace('"w2999"', '"v0"')
    with pytest.raises(ClientError, match="Variable 'v0' is assigned in an outer scope already"):
        create(server.client("stepfunctions"), clash)


def test_a_choice_of_a_thousand_rules_finds_the_last_one(
    server: ServerProcess, others: Others
) -> None:
    rules = [{"Variable": "$.n", "NumericEquals": n, "Next": "B"} for n in range(999)]
    last = {"Variable": "$.n", "NumericEquals": 999, "Next": "C"}
    states = {
        "A": {"Type": "Choice", "Choices": [*rules, last]},
        "B": PASS,
        "C": {**PASS, "Result": "the last"},
    }
    answer = execute(server, json.dumps({"StartAt": "A", "States": states}), '{"n": 999}')
    assert answer["output"] == '"the last"'


# --- Inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [254, 255, 1_000])
def test_the_largest_input_may_nest_up_to_the_limit(
    server: ServerProcess, others: Others, levels: int
) -> None:
    source = deep(levels, LARGEST)
    assert len(source) == LARGEST
    for definition in (
        passing(),
        passing(Parameters={"x.$": "States.ArrayLength($)"}),
        query("$count($states.input)"),
    ):
        assert execute(server, definition, source)["status"] == "SUCCEEDED"
    assert execute(server, passing(), source)["output"] == source


def test_an_input_that_nests_deeper_is_refused(server: ServerProcess, others: Others) -> None:
    with pytest.raises(ClientError, match=r"InvalidExecutionInput.*deeper than 1000 levels"):
        execute(server, passing(), deep(1_001))


def test_integers_of_any_length_come_through(server: ServerProcess, others: Others) -> None:
    number = "9" * 300
    definition = passing(Parameters={"x.$": "States.Array($.n, $.n)"})
    assert (
        execute(server, definition, f'{{"n":{number}}}')["output"] == f'{{"x":[{number},{number}]}}'
    )


# --- Expressions ----------------------------------------------------------------------------------

QUERY = "States.QueryEvaluationError"
TOO_LARGE = "States.DataLimitExceeded"


@pytest.mark.parametrize(
    ("definition", "source", "error"),
    [
        (query("($f := function($x) { $f($x + 1) }; $f(1))"), "{}", QUERY),
        (query("($f := function($x) { 1 + $f($x + 1) }; $f(1))"), "{}", QUERY),
        (query("[1..10000000]"), "{}", QUERY),
        (query("$range(1, 1000000000000, 1)"), "{}", QUERY),
        (query("[1..2000].($x := $; [1..2000].($x * $))"), "{}", QUERY),
        (query("($f := function($s, $n) { $n = 0 ? $s : $f($s & $s, $n - 1) }; $f('xx', 60))"), "{}", QUERY),
        (query("$pad('x', 2000000000)"), "{}", QUERY),
        (query("$match($states.input, /(a+)+$/)"), json.dumps("a" * 200 + "b"), QUERY),
        (laughing("Format", 2, 9).replace("Format(", "Format('{}{}', "), LARGE, "States.IntrinsicFailure"),
        (laughing("Array", 4, 8), LARGE, TOO_LARGE),
        (passing(Parameters={f"k{n}.$": "$" for n in range(10_000)}), LARGE, TOO_LARGE),
        (passing(Assign={f"k{n}.$": "$" for n in range(10_000)}), LARGE, TOO_LARGE),
        (one({**PASS, "Output": {f"k{n}": "{% $states.input %}" for n in range(10_000)}}, QueryLanguage="JSONata"), LARGE, TOO_LARGE),
        (passing(Parameters={"x.$": "$..a..a..a..a..a"}), '{"a":' * 90 + "1" + "}" * 90, "States.Runtime"),
        (
            one({"Type": "Map", "ItemsPath": "$.l", "ItemSelector": {"s.$": "$.s"}, "End": True,
                 "ItemProcessor": {"StartAt": "B", "States": {"B": PASS}}}),
            json.dumps({"l": [0] * 3_000, "s": "x" * 200_000}),
            TOO_LARGE,
        ),
        (
            one({"Type": "Parallel", "End": True, "Branches": [
                {"StartAt": f"B{n}", "States": {f"B{n}": PASS}} for n in range(3_000)]}),
            LARGE,
            TOO_LARGE,
        ),
    ],
    ids=[
        "endless loop", "endless recursion", "long range", "endless range", "product of ranges", "doubled text",
        "long text", "slow pattern", "laughing Format", "laughing Array", "wide Parameters", "wide Assign",
        "wide Output", "multiplying path", "Map of large items", "Parallel of large branches",
    ],
)  # fmt: skip
def test_what_grows_without_end_fails_in_the_words_of_the_language(
    server: ServerProcess, others: Others, definition: str, source: str, error: str
) -> None:
    started = time.perf_counter()
    answer = execute(server, definition, source)
    took = time.perf_counter() - started
    assert (answer["status"], answer["error"]) == ("FAILED", error)
    # Nobody else waits for it: where it takes long, each other call takes a small part of that.
    assert max(others.seconds) < max(took / 4, 0.5)


def test_a_machine_that_never_ends_is_ended_by_its_time_out(
    server: ServerProcess, others: Others
) -> None:
    loop = {"Type": "Choice", "Choices": [{"Variable": "$", "IsPresent": True, "Next": "A"}], "Default": "B"}  # fmt: skip
    states = {"A": {"Type": "Pass", "Next": "C"}, "C": loop, "B": PASS}
    definition = json.dumps({"StartAt": "A", "States": states, "TimeoutSeconds": 1})
    assert execute(server, definition, LARGE)["status"] == "TIMED_OUT"
    assert len(others.seconds) > 5


# --- An evaluation that takes long ----------------------------------------------------------------


def test_others_are_as_fast_while_a_quarter_of_a_megabyte_is_made_distinct(
    server: ServerProcess,
) -> None:
    """`$distinct` compares each item with each other one, inside one step of the engine."""
    client = server.client("stepfunctions", read_timeout=60)
    machine = create(client, query("$count($distinct($states.input))"))
    source = json.dumps([f"{n:x}" for n in range(31_000)])
    assert 0.9 * LARGEST < len(source) <= LARGEST
    with Others(server) as alone:
        time.sleep(1)
    with Others(server) as meanwhile:
        started = time.perf_counter()
        answer = client.start_sync_execution(stateMachineArn=machine, input=source)
        took = time.perf_counter() - started
    assert answer["output"] == "31000"
    assert took > 20 * p99(alone), "the evaluation must take long enough to be felt"
    # Flat: of the time that the evaluation takes, others feel nothing but a shared processor.
    assert p99(meanwhile) < max(10 * p99(alone), took / 20)


def p99(others: Others) -> float:
    return sorted(others.seconds)[int(len(others.seconds) * 0.99)]
