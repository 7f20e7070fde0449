"""A real boto3 that does not wait long enough: what becomes of the call that it sends again."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.calls import API_KEY, ROLE, URL, one_task
from tests.e2e.signed import post

from stepout.testing import Answer, Origin, Received, Server

IMPATIENT = {"read_timeout": 1, "retries": {"total_max_attempts": 2}}
ID = {"amz-sdk-invocation-id": "f1b1a1e2-0000-4000-8000-000000000001"}


class Log(logging.Handler):
    """The lines about repeats, and a moment to wait for: the first one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.has_some = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append({"level": record.levelname, **getattr(record, "fields", {})})
        self.has_some.set()


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger("stepout.repeat")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


class Api:
    """The API behind the HTTP Task: its first call is answered when the test says so."""

    def __init__(self, origin: Origin, *, holds: bool = True) -> None:
        self.release = threading.Event()
        if not holds:
            self.release.set()
        self.calls = 0
        origin.get(URL).handle(self._answer)

    def _answer(self, _request: Received) -> Answer:
        """The origin does nothing else meanwhile, which is what its thread is for."""
        self.calls += 1
        number = self.calls
        assert self.release.wait(30)
        return Answer(
            headers=(("Content-Type", "application/json"),), body=json.dumps(number).encode()
        )


def set_up(server: Server) -> str:
    """A connection and a machine of one HTTP Task; answers the machine's ARN."""
    created = server.client("events").create_connection(
        Name="orders", AuthorizationType="API_KEY", AuthParameters=API_KEY
    )
    arn: str = server.client("stepfunctions").create_state_machine(
        name="m",
        type="EXPRESS",
        roleArn=ROLE,
        definition=json.dumps(one_task(created["ConnectionArn"])),
    )["stateMachineArn"]
    return arn


def body_of(answer: Any) -> Any:
    assert answer["status"] == "SUCCEEDED", answer
    return json.loads(answer["output"])["ResponseBody"]


def metrics(server: Server) -> str:
    import urllib.request

    with urllib.request.urlopen(f"{server.url}/_stepout/metrics") as response:
        return str(response.read().decode())


def start(
    server: Server, machine: str, *, key: str = "any", source: str = "{}", **more: str
) -> tuple[dict[str, Any], str]:
    """An attempt with headers of its own; answers the document and the request's id."""
    body = {"stateMachineArn": machine, "input": source}
    answered = post(server.url, "StartSyncExecution", body, key=key, more=more)
    assert answered.status == 200, answered
    return answered.document, answered.request_id


def test_by_default_a_repeat_calls_the_api_again_and_the_log_says_so(
    stepout_origin: Origin, log: Log
) -> None:
    with Server(origin=stepout_origin, drain_seconds=0) as server:
        machine = set_up(server)
        route = stepout_origin.get(URL).hang().respond(json="second")
        answer = server.client("stepfunctions", **IMPATIENT).start_sync_execution(
            stateMachineArn=machine
        )
        assert len(route.requests) == 2
        assert body_of(answer) == "second"
        assert answer["ResponseMetadata"]["RetryAttempts"] == 1
        assert 'stepout_repeats_total{decision="run"} 1.0' in metrics(server)
    (line,) = log.lines
    assert (line["level"], line["decision"]) == ("WARNING", "run")
    assert line["second"] == answer["executionArn"]
    assert line["first"] != line["second"]
    assert line["first"].startswith("arn:aws:states:us-east-1:123456789012:express:m:")
    assert line["after_ms"] >= 1_000
    assert "retries={'total_max_attempts': 1}" in line["hint"]


def test_without_warnings_it_is_the_same_in_silence(stepout_origin: Origin, log: Log) -> None:
    with Server(origin=stepout_origin, drain_seconds=0, repeats="off") as server:
        machine = set_up(server)
        stepout_origin.get(URL).hang().respond(json="second")
        answer = server.client("stepfunctions", **IMPATIENT).start_sync_execution(
            stateMachineArn=machine
        )
        assert body_of(answer) == "second"
    assert log.lines == []


def test_a_joined_repeat_gets_the_answer_of_the_first_run(stepout_origin: Origin, log: Log) -> None:
    """The first attempt's connection is closed long before the API answers."""
    api = Api(stepout_origin)
    with Server(origin=stepout_origin, repeats="join") as server:
        machine = set_up(server)
        releasing = threading.Thread(target=release_when_joined, args=(api, log))
        releasing.start()
        sfn = server.client("stepfunctions", **IMPATIENT)
        answer = sfn.start_sync_execution(stateMachineArn=machine)
        releasing.join()
        assert (api.calls, body_of(answer)) == (1, 1)
        assert answer["ResponseMetadata"]["RetryAttempts"] == 1
        assert 'stepout_repeats_total{decision="joined"} 1.0' in metrics(server)
    (line,) = log.lines
    assert (line["level"], line["first"]) == ("INFO", answer["executionArn"])


def release_when_joined(api: Api, log: Log) -> None:
    assert log.has_some.wait(30)
    api.release.set()


def test_a_repeat_that_comes_later_gets_the_answer_as_it_was_under_an_id_of_its_own(
    stepout_origin: Origin,
) -> None:
    api = Api(stepout_origin, holds=False)
    with Server(origin=stepout_origin, repeats="join") as server:
        machine = set_up(server)
        first, first_id = start(server, machine, **ID, **{"amz-sdk-request": "attempt=1; max=3"})
        again, again_id = start(server, machine, **ID, **{"amz-sdk-request": "attempt=2; max=3"})
        # What the number of the attempt says decides nothing.
        liar, liar_id = start(server, machine, **ID, **{"amz-sdk-request": "attempt=1; max=1"})
    assert first == again == liar
    assert api.calls == 1
    assert len({first_id, again_id, liar_id}) == 3


@pytest.mark.parametrize(
    "other",
    [{"key": "somebody"}, {"source": "[]"}, {"amz-sdk-invocation-id": "x"}, {"amz-sdk-invocation-id": ""}],
    ids=["caller", "body", "id", "no id"],
)  # fmt: skip
def test_what_is_not_the_same_call_is_run(stepout_origin: Origin, other: dict[str, str]) -> None:
    api = Api(stepout_origin, holds=False)
    with Server(origin=stepout_origin, repeats="join") as server:
        machine = set_up(server)
        first, _ = start(server, machine, **ID)
        second, _ = start(server, machine, **{**ID, **other})
    assert api.calls == 2
    assert first["executionArn"] != second["executionArn"]


def test_two_calls_of_a_client_are_two_calls(stepout_origin: Origin, log: Log) -> None:
    api = Api(stepout_origin, holds=False)
    with Server(origin=stepout_origin, repeats="join") as server:
        machine = set_up(server)
        sfn = server.client("stepfunctions")
        answers = [sfn.start_sync_execution(stateMachineArn=machine) for _ in range(2)]
    assert [body_of(answer) for answer in answers] == [1, 2]
    assert (api.calls, log.lines) == (2, [])


def test_an_attempt_that_was_refused_is_not_what_the_next_one_gets(
    stepout_origin: Origin, log: Log
) -> None:
    """boto3 sends again what was throttled, too."""
    with Server(
        origin=stepout_origin, repeats="join", principal_rate=2, principal_burst=1
    ) as server:
        machine = set_up(server)
        Api(stepout_origin, holds=False)
        sfn = server.client("stepfunctions", retries={"total_max_attempts": 10})
        answers = [sfn.start_sync_execution(stateMachineArn=machine) for _ in range(3)]
    assert [body_of(answer) for answer in answers] == [1, 2, 3]
    assert answers[1]["ResponseMetadata"]["RetryAttempts"] > 0
    assert log.lines == []


def test_a_shutdown_ends_the_run_and_tells_those_who_wait(stepout_origin: Origin, log: Log) -> None:
    with Server(origin=stepout_origin, repeats="join", drain_seconds=0) as server:
        machine = set_up(server)
        stepout_origin.get(URL).hang()
        found: list[int] = []

        def attempt() -> None:
            body = {"stateMachineArn": machine}
            found.append(post(server.url, "StartSyncExecution", body, more=ID).status)

        attempts = [threading.Thread(target=attempt) for _ in range(2)]
        for thread in attempts:
            thread.start()
        assert log.has_some.wait(30)
        server.stop()
        for thread in attempts:
            thread.join()
    assert found == [503, 503]
