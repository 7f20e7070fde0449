"""The context object (`$$`) of a state."""

from __future__ import annotations

from stepout.asl.machine import State, Task
from stepout.asl.values import Json
from stepout.aws.timestamps import iso_8601
from stepout.engine.frames import Frame
from stepout.engine.turn import Run

__all__ = ["context_object"]


def context_object(run: Run, frame: Frame, state: State) -> Json:
    """What `$$` shows while the state works.

    Members as recorded on AWS: an Express execution has no RedriveCount, and only states that can
    be retried have a RetryCount.
    """
    execution = {
        "Id": run.arn,
        "Input": run.input.value,
        "Name": run.name,
        "RoleArn": run.role_arn,
        "StartTime": iso_8601(run.started_at),
    }
    if not run.is_express:
        execution["RedriveCount"] = 0
    current: dict[str, Json] = {"EnteredTime": iso_8601(frame.entered_at), "Name": state.name}
    if isinstance(state.kind, Task):
        current["RetryCount"] = sum(frame.attempts)
    machine = {"Id": run.machine_arn, "Name": run.machine_name}
    return {"Execution": execution, "State": current, "StateMachine": machine}
