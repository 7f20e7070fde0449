"""The context object (`$$`) of a state."""

from __future__ import annotations

from dataclasses import dataclass

from stepout.asl.machine import Map, Parallel, State, Task
from stepout.asl.values import Json
from stepout.aws.timestamps import iso_8601
from stepout.engine.frames import Frame
from stepout.engine.turn import Run

__all__ = ["Item", "context_object"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a Map."""

    index: int
    value: Json
    is_pair: bool
    """It is a member of an object, `{"Key": …, "Value": …}`."""

    def shown(self) -> Json:
        told = self.value if self.is_pair else {"Value": self.value}
        return {"Index": self.index, **told, "Source": "STATE_DATA"}


def context_object(
    run: Run,
    frame: Frame,
    state: State,
    item: Item | None = None,
    token: str | None = None,
) -> Json:
    """What `$$` shows while the state works.

    Members as recorded on AWS: an Express execution has no RedriveCount, and only states that can
    be retried have a RetryCount. `item` is the Map's item that the state works
    for, `token` that of a callback.
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
    if isinstance(state.kind, Task | Parallel | Map):
        current["RetryCount"] = sum(frame.attempts)
    machine = {"Id": run.machine_arn, "Name": run.machine_name}
    context: dict[str, Json] = {
        "Execution": execution,
        "State": current,
        "StateMachine": machine,
    }
    if item is not None:
        context["Map"] = {"Item": item.shown()}
    if token is not None:
        context["Task"] = {"Token": token}
    return context
