"""Limits of a real server: who is over one is refused in AWS's words, everybody else is served."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.calls import ROLE
from tests.e2e.signed import Answered, post

from stepout.api.limits import Quotas
from stepout.testing import Server

PASS = {"Type": "Pass", "End": True}
TASK = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "End": True}


class Work:
    """A Task that takes until the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()

    async def __call__(self, _arguments: Any) -> Any:
        self.begun.release()
        assert await asyncio.to_thread(self.end.wait, 30)
        return {}


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[Server, Work]]:
    work = Work()
    with Server(tasks={"S": work}, **settings) as server:
        try:
            yield server, work
        finally:
            work.end.set()


def create(server: Server, name: str, state: dict[str, Any]) -> str:
    definition = json.dumps({"StartAt": "S", "States": {"S": state}})
    arn: str = server.client("stepfunctions").create_state_machine(
        name=name, type="EXPRESS", roleArn=ROLE, definition=definition
    )["stateMachineArn"]
    return arn


def start(server: Server, machine: str, key: str) -> Answered:
    return post(server.url, "StartSyncExecution", {"stateMachineArn": machine}, key=key)


def list_machines(server: Server, key: str, body: bytes = b"{}", secret: str = "any") -> Answered:
    return post(server.url, "ListStateMachines", body, key=key, secret=secret)


def is_refused(answered: Answered) -> bool:
    """Refused by a limit; else served."""
    if answered.status == 200:
        return False
    assert (answered.status, answered.document) == (
        400,
        {"__type": "ThrottlingException", "message": "Rate exceeded"},
    )
    return True


def in_background(server: Server, work: Work, machine: str, key: str) -> threading.Thread:
    """A call by a key that waits for the work, which has begun."""
    thread = threading.Thread(target=start, args=(server, machine, key))
    thread.start()
    assert work.begun.acquire(timeout=30)
    return thread


def metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.url}/_stepout/metrics") as response:
        return str(response.read().decode())


def test_one_key_has_its_quota_of_executions_and_others_have_theirs() -> None:
    with serving(principal_executions=2) as (server, work):
        busy, quick = create(server, "busy", TASK), create(server, "quick", PASS)
        calls = [in_background(server, work, busy, "greedy") for _ in range(2)]
        assert is_refused(start(server, quick, "greedy"))
        assert not is_refused(start(server, quick, "modest"))
        assert 'stepout_refused_total{limit="principal-executions"} 1.0' in metrics(server)
        work.end.set()
        for call in calls:
            call.join()
        assert not is_refused(start(server, quick, "greedy"))


def test_executions_are_bounded_in_all() -> None:
    with serving(max_executions=2) as (server, work):
        busy = create(server, "busy", TASK)
        calls = [in_background(server, work, busy, key) for key in ("one", "other")]
        assert is_refused(start(server, busy, "third"))
        work.end.set()
        for call in calls:
            call.join()
        assert not is_refused(start(server, busy, "third"))


def test_an_execution_that_nobody_waits_for_has_its_place_until_it_ends() -> None:
    with serving(principal_executions=1) as (server, work):
        busy, quick = create(server, "busy", TASK), create(server, "quick", PASS)
        sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
        sfn.start_execution(stateMachineArn=busy)
        assert work.begun.acquire(timeout=30)
        for call in (sfn.start_execution, sfn.start_sync_execution):
            with pytest.raises(ClientError, match="ThrottlingException.*Rate exceeded"):
                call(stateMachineArn=quick)
        work.end.set()
        # The SDK tries again by itself until the place is free.
        patient = server.client("stepfunctions", retries={"total_max_attempts": 10})
        assert patient.start_sync_execution(stateMachineArn=quick)["status"] == "SUCCEEDED"


def test_what_is_refused_before_it_begins_takes_no_place() -> None:
    with serving(principal_executions=1) as (server, _):
        quick = create(server, "quick", PASS)
        sfn = server.client("stepfunctions", retries={"total_max_attempts": 1})
        for source in ("nonsense", "{}", "nonsense", "{}"):
            for call in (sfn.start_execution, sfn.start_sync_execution):
                try:
                    call(stateMachineArn=quick, input=source)
                except ClientError as error:
                    assert error.response["Error"]["Code"] == "InvalidExecutionInput"  # noqa: PT017
                # The place of an execution in the background is given back a moment later.
                wait_until_idle(server)


def wait_until_idle(server: Server) -> None:
    while "stepout_executions_in_flight 0.0" not in metrics(server):
        time.sleep(0.01)


def test_requests_are_bounded_in_all_and_the_own_pages_are_served_all_the_same() -> None:
    with serving(max_requests=1) as (server, work):
        busy = create(server, "busy", TASK)
        call = in_background(server, work, busy, "one")
        assert is_refused(list_machines(server, "other"))
        assert 'stepout_refused_total{limit="max-requests"} 1.0' in metrics(server)
        work.end.set()
        call.join()
        assert not is_refused(list_machines(server, "other"))


def test_requests_of_one_key_are_bounded() -> None:
    with serving(principal_requests=1) as (server, work):
        busy = create(server, "busy", TASK)
        call = in_background(server, work, busy, "one")
        assert is_refused(list_machines(server, "one"))
        assert not is_refused(list_machines(server, "other"))
        work.end.set()
        call.join()


def test_the_bytes_of_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepout.api.server._quotas", lambda _settings: Quotas(bodies=1_000))
    with serving() as (server, work):
        busy = create(server, "busy", TASK)
        call = in_background(server, work, busy, "one")
        large = json.dumps({"Unknown": "x" * 950}).encode()
        assert is_refused(list_machines(server, "other", large))
        work.end.set()
        call.join()
        for _ in range(3):
            assert not is_refused(list_machines(server, "other", large))


def test_a_rate_is_held_for_each_key_and_operation() -> None:
    with serving(principal_rate=0.001, principal_burst=3) as (server, _):
        refused = [is_refused(list_machines(server, "one")) for _ in range(5)]
        assert refused == [False, False, False, True, True]
        assert not is_refused(list_machines(server, "other"))
        missing = {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:m"}
        described = post(server.url, "DescribeStateMachine", missing, key="one")
        assert described.document["__type"] == "StateMachineDoesNotExist"
        assert 'stepout_refused_total{limit="principal-rate"} 2.0' in metrics(server)


def test_boto3_waits_for_its_turn() -> None:
    with serving(principal_rate=4, principal_burst=1) as (server, _):
        sfn = server.client("stepfunctions", retries={"total_max_attempts": 10})
        answers = [sfn.list_state_machines() for _ in range(4)]
    assert sum(answer["ResponseMetadata"]["RetryAttempts"] for answer in answers) > 0


def test_a_request_whose_signature_is_wrong_counts_for_nobody(tmp_path: Path) -> None:
    """Else anyone could use up the rate of a key of which they know the name alone."""
    identities = tmp_path / "identities.toml"
    identities.write_text(
        '[user.one]\naccess_key_id = "AKIDONE"\nsecret_access_key = "right"\n'
        'policies = ["AdministratorAccess"]'
    )
    with serving(identities=identities, principal_rate=0.001) as (server, _):
        for _ in range(5):
            answered = list_machines(server, "AKIDONE", secret="wrong")
            assert answered.document["__type"] == "InvalidSignatureException"
        assert not is_refused(list_machines(server, "AKIDONE", secret="right"))
        assert is_refused(list_machines(server, "AKIDONE", secret="right"))
