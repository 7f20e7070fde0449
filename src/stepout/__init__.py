"""HTTPS out of a subnet with no internet, through AWS Step Functions; and Step Functions itself.

Run a machine in process:

    machine = stepout.Machine.parse(definition)
    result = await stepout.run(machine, {"order": 7}, tasks={"Charge": charge})

Call an HTTPS API through the gateway machine of the settings:

    stepout.get("https://api.example.com/v1/items").json()

Names load when they are used. What a machine needs is an extra (`pip install 'stepout[engine]'`),
and so is what `AsyncGateway` needs (`stepout[async]`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepout.asl.machine import Machine
    from stepout.asl.problems import Problem
    from stepout.client.gateway import AsyncGateway, Gateway, get, post, request
    from stepout.errors import (
        AnswerFailed,
        BodyNotCarried,
        CallFailed,
        CallRefused,
        CallTimedOut,
        DefinitionError,
        GatewayError,
        JsonError,
        NotCarried,
        SettingsError,
        StepoutError,
        TaskFailed,
        TruncatedResponse,
        UnknownUpstream,
    )
    from stepout.runtime.inprocess import Result, run
    from stepout.tasks.mocks import Mocks

__version__ = "0.1.0"

__all__ = [
    "AnswerFailed",
    "AsyncGateway",
    "BodyNotCarried",
    "CallFailed",
    "CallRefused",
    "CallTimedOut",
    "DefinitionError",
    "Gateway",
    "GatewayError",
    "JsonError",
    "Machine",
    "Mocks",
    "NotCarried",
    "Problem",
    "Result",
    "SettingsError",
    "StepoutError",
    "TaskFailed",
    "TruncatedResponse",
    "UnknownUpstream",
    "__version__",
    "get",
    "post",
    "request",
    "run",
]

_HOMES = {
    "AnswerFailed": "stepout.errors",
    "AsyncGateway": "stepout.client.gateway",
    "BodyNotCarried": "stepout.errors",
    "CallFailed": "stepout.errors",
    "CallRefused": "stepout.errors",
    "CallTimedOut": "stepout.errors",
    "DefinitionError": "stepout.errors",
    "Gateway": "stepout.client.gateway",
    "GatewayError": "stepout.errors",
    "JsonError": "stepout.errors",
    "Machine": "stepout.asl.machine",
    "Mocks": "stepout.tasks.mocks",
    "NotCarried": "stepout.errors",
    "Problem": "stepout.asl.problems",
    "Result": "stepout.runtime.inprocess",
    "SettingsError": "stepout.errors",
    "StepoutError": "stepout.errors",
    "TaskFailed": "stepout.errors",
    "TruncatedResponse": "stepout.errors",
    "UnknownUpstream": "stepout.errors",
    "get": "stepout.client.gateway",
    "post": "stepout.client.gateway",
    "request": "stepout.client.gateway",
    "run": "stepout.runtime.inprocess",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stepout' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
