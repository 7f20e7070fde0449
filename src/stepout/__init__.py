"""HTTPS out of a subnet with no internet, through AWS Step Functions; and Step Functions itself.

Run a machine in process:

    machine = stepout.Machine.parse(definition)
    result = await stepout.run(machine, {"order": 7}, tasks={"Charge": charge})

Names load when they are used: what they need is an extra (`pip install 'stepout[engine]'`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepout.asl.machine import Machine
    from stepout.asl.problems import Problem
    from stepout.errors import DefinitionError, StepoutError, TaskFailed
    from stepout.runtime.inprocess import Result, run
    from stepout.tasks.mocks import Mocks

__version__ = "0.1.0"

__all__ = [
    "DefinitionError",
    "Machine",
    "Mocks",
    "Problem",
    "Result",
    "StepoutError",
    "TaskFailed",
    "__version__",
    "run",
]

_HOMES = {
    "DefinitionError": "stepout.errors",
    "Machine": "stepout.asl.machine",
    "Mocks": "stepout.tasks.mocks",
    "Problem": "stepout.asl.problems",
    "Result": "stepout.runtime.inprocess",
    "StepoutError": "stepout.errors",
    "TaskFailed": "stepout.errors",
    "run": "stepout.runtime.inprocess",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stepout' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
