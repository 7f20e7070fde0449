"""StartSyncExecution and StartExecution of Express machines (Step Functions API reference)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from stepout.api import faults
from stepout.api.caller import Caller, of_machine, operation
from stepout.api.ids import new_uuid
from stepout.api.names import check_name
from stepout.api.operations.machines import Revision, find_revision
from stepout.api.services import Services
from stepout.asl.values import Document, Json, loads
from stepout.aws import arn as arns
from stepout.aws.timestamps import milliseconds
from stepout.engine.turn import Run
from stepout.errors import JsonError, ServiceError
from stepout.runtime.driver import Observe
from stepout.runtime.express import LIMIT_MS, Outcome, ShuttingDown, TooManyRuns

_BILLED_MS: Final = 100
"""Duration is billed in steps of 100 ms (Step Functions pricing)."""

_BILLED_MB: Final = 64
"""Memory is billed in steps of 64 MB; small workflows are billed one (recorded on AWS)."""


_MAX_ERROR: Final = 256
_MAX_CAUSE: Final = 32_768
"""Characters of an answer's error and cause (service model)."""


@operation("states", "StartSyncExecution", of_machine("stateMachineArn"))
async def start_sync_execution(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Run an Express machine and answer with its end; a run that fails is an answer as well."""
    revision, test_case = await _find(services, caller, request["stateMachineArn"])
    record = revision.record
    if record.type != "EXPRESS":
        raise ServiceError(
            "StateMachineTypeNotSupported",
            "This operation is not supported by this type of state machine",
        )
    run, observe = _run(services, revision, request, test_case)
    machine = await services.machines.compile(record.definition, is_express=True)
    ticket = services.limits.execution(caller.account_holder)
    try:
        with _admission():
            outcome = await services.express.run(machine, run, observe, caller.started)
    finally:
        ticket.release()
    if outcome.is_shutdown:
        raise faults.stopped()
    trace = caller.trace_header or request.get("traceHeader")
    is_metadata_only = request.get("includedData") == "METADATA_ONLY"
    return _response(run, outcome, trace, is_metadata_only=is_metadata_only)


@operation("states", "StartExecution", of_machine("stateMachineArn"))
async def start_execution(
    services: Services, caller: Caller, request: dict[str, Json]
) -> dict[str, Json]:
    """Start an Express machine and answer at once; only its log tells how it ends."""
    revision, test_case = await _find(services, caller, request["stateMachineArn"])
    record = revision.record
    if record.type != "EXPRESS":
        raise faults.validation(
            "stepout does not run executions of STANDARD state machines yet; create the machine "
            "with the type EXPRESS."
        )
    run, observe = _run(services, revision, request, test_case)
    machine = await services.machines.compile(record.definition, is_express=True)
    ticket = services.limits.execution(caller.account_holder)
    try:
        with _admission():
            task = services.express.start(machine, run, observe)
    except BaseException:
        ticket.release()
        raise
    task.add_done_callback(lambda _task: ticket.release())
    return {"executionArn": run.arn, "startDate": milliseconds(run.started_at)}


@contextmanager
def _admission() -> Iterator[None]:
    """Word the refusal of a run as AWS words it."""
    try:
        yield
    except TooManyRuns:
        raise faults.throttled() from None
    except ShuttingDown:
        raise faults.shutting_down() from None


async def _find(services: Services, caller: Caller, arn: str) -> tuple[Revision, str | None]:
    """The revision, and the test case that `arn#testCase` names where mocks are served."""
    machine, _, test_case = arn.partition("#")
    if not test_case or not services.mocks.machines:
        return await find_revision(services, caller, machine if not test_case else arn), None
    revision = await find_revision(services, caller, machine)
    name = revision.record.name
    if test_case not in services.mocks.cases(name):
        known = ", ".join(services.mocks.cases(name)) or "none"
        raise faults.validation(
            f"The mock file has no test case '{test_case}' for the state machine '{name}'; "
            f"it has: {known}."
        )
    return revision, test_case


def _run(
    services: Services, revision: Revision, request: dict[str, Json], test_case: str | None
) -> tuple[Run, Observe | None]:
    """A new run, and what writes its events down."""
    record, version = revision.record, revision.version
    name = request.get("name") or new_uuid()
    check_name(name)
    arn = arns.Arn.parse(record.arn)
    run = Run(
        arn=arns.express_execution(record.arn, name, new_uuid()),
        name=name,
        role_arn=record.role_arn,
        machine_arn=record.arn,
        machine_name=record.name,
        region=arn.region,
        account=arn.account,
        started_at=services.clock.now(),
        input=_input(request.get("input", "{}"), services.payload_limit),
        is_express=True,
        payload_limit=services.payload_limit,
        limit_ms=LIMIT_MS,
        test_case=test_case,
        version_arn=None if version is None else version.arn,
        alias_arn=revision.alias_arn,
    )
    observe = services.logs.observer(record.logging, run)
    return (run if observe is None else replace(run, wants_events=True)), observe


def _input(text: str, limit: int) -> Document:
    """The execution's input; texts of AWS's errors as recorded."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > limit:
        raise faults.validation(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limit}"
        )
    if not text.strip():
        raise faults.invalid_input("Invalid execution input.")
    try:
        return Document(loads(encoded), encoded)
    except JsonError as error:
        raise faults.invalid_input(str(error)) from None


def _response(
    run: Run, outcome: Outcome, trace: str | None, *, is_metadata_only: bool
) -> dict[str, Json]:
    finish = outcome.finish
    details = {"included": not is_metadata_only}
    response: dict[str, Json] = {
        "executionArn": run.arn,
        "stateMachineArn": run.machine_arn,
        "name": run.name,
        "startDate": milliseconds(outcome.started_at),
        "stopDate": milliseconds(outcome.stopped_at),
        "status": finish.status,
    }
    if finish.error is not None:
        cause = finish.error.cause
        response["error"] = finish.error.error[:_MAX_ERROR] or None
        response["cause"] = None if cause is None else cause[:_MAX_CAUSE]
    if not is_metadata_only:
        response["input"] = run.input.text
        response["output"] = None if finish.output is None else finish.output.text
    response |= {
        "inputDetails": details,
        "outputDetails": details,
        "traceHeader": trace,
        "billingDetails": _billing(outcome.stopped_at - outcome.started_at),
    }
    return {name: value for name, value in response.items() if value is not None}


def _billing(duration_ms: int) -> Json:
    steps = max(1, -(-duration_ms // _BILLED_MS))
    return {
        "billedMemoryUsedInMB": _BILLED_MB,
        "billedDurationInMilliseconds": steps * _BILLED_MS,
    }
