"""The local Lambda runtime."""

from stepout.functions.environment import RESERVED
from stepout.functions.function import Function
from stepout.functions.inprocess import NOTICE, InProcessFunction
from stepout.functions.invocation import EVENT_LIMIT, FunctionError, FunctionSettings, Invocation
from stepout.functions.process import has_runtime_client

__all__ = [
    "EVENT_LIMIT",
    "NOTICE",
    "RESERVED",
    "Function",
    "FunctionError",
    "FunctionSettings",
    "InProcessFunction",
    "Invocation",
    "has_runtime_client",
]
