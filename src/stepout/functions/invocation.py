"""What a function is and what came of calling it, in the words of AWS Lambda."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from stepout.errors import ServiceError

__all__ = [
    "ANSWER_LIMIT",
    "EVENT_LIMIT",
    "INIT_LIMIT_S",
    "FunctionError",
    "FunctionSettings",
    "Invocation",
    "Outcome",
    "answer_too_large",
    "check_event",
    "log_invocation",
    "runtime_exited",
    "timed_out",
]

log: Final = logging.getLogger("stepout.functions")

EVENT_LIMIT: Final = 6 * 1024 * 1024
"""Bytes of an event of a synchronous invocation (Lambda quotas: 6 MB)."""

ANSWER_LIMIT: Final = EVENT_LIMIT + 100
"""Bytes of an answer: the 6,291,556 that Lambda's own message about a larger one states."""

INIT_LIMIT_S: Final = 10.0
"""How long the init phase may take before the time-out of the function begins to count."""


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """A function as Lambda's configuration knows it, and how its process is started.

    `environment` is all that the program sees besides Lambda's own variables; nothing is inherited.
    `command_prefix` stands before the command, as `nsenter …` does. `log` is the file descriptor
    that the program's standard output and error go to; without it they pass through.
    """

    handler: str
    directory: Path
    name: str = "function"
    region: str = "us-east-1"
    account: str = "123456789012"
    memory_mb: int = 128
    timeout_s: float = 3.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command_prefix: tuple[str, ...] = ()
    log: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionError:
    """Why a function failed, read from the error document that Lambda returns as the payload."""

    error_type: str
    message: str
    stack_trace: tuple[str, ...] = ()

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """Read an error document; a runtime may post anything, so what is missing is empty."""
        try:
            document = json.loads(payload)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return cls("", payload.decode(errors="replace"))
        trace = document.get("stackTrace")
        return cls(
            str(document.get("errorType", "")),
            str(document.get("errorMessage", "")),
            tuple(map(str, trace)) if isinstance(trace, list) else (),
        )


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a function: the answer, or the error document with `error` set.

    `init_ms` is given when this call had to start the program. When that already failed, the time
    is part of `duration_ms`, as in Lambda's report.
    """

    payload: bytes
    error: FunctionError | None
    request_id: str
    duration_ms: float
    init_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the program, or the platform in its place, answered; after a fatal one it is dead."""

    payload: bytes
    is_error: bool = False
    is_fatal: bool = False


def check_event(event: bytes) -> None:
    """Refuse an event that Lambda's Invoke refuses for its size, in Lambda's words."""
    if len(event) > EVENT_LIMIT:
        message = (
            f"Request must be smaller than {EVENT_LIMIT} bytes for the InvokeFunction operation"
        )
        raise ServiceError("RequestTooLargeException", message, status=413)


def log_invocation(settings: FunctionSettings, invocation: Invocation) -> None:
    """Log one line about a call."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields = {
        "function": settings.name,
        "request_id": invocation.request_id,
        "duration_ms": round(invocation.duration_ms, 3),
        "init_ms": invocation.init_ms and round(invocation.init_ms, 3),
        "error": invocation.error and invocation.error.error_type,
    }
    log.info("invocation", extra={"fields": fields})


def timed_out(request_id: str, timeout_s: float) -> Outcome:
    """Answer for a program that did not answer in time."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return _platform_error("Sandbox.Timedout", message)


def runtime_exited(request_id: str, status: int) -> Outcome:
    """Answer for a program that ended first; a negative status is the signal that ended it."""
    message = f"RequestId: {request_id} Error: Runtime exited {_exit_reason(status)}"
    return _platform_error("Runtime.ExitError", message)


def answer_too_large() -> Outcome:
    """Answer for a program whose own was over `ANSWER_LIMIT`."""
    message = f"Response payload size exceeded maximum allowed payload size ({ANSWER_LIMIT} bytes)."
    return _platform_error("Function.ResponseSizeTooLarge", message)


def _exit_reason(status: int) -> str:
    if status == 0:
        return "without providing a reason"
    if status > 0:
        return f"with error: exit status {status}"
    name = signal.strsignal(-status) or str(-status)
    return f"with error: signal: {name.lower()}"


def _platform_error(error_type: str, message: str) -> Outcome:
    document = {"errorType": error_type, "errorMessage": message}
    return Outcome(json.dumps(document).encode(), is_error=True, is_fatal=True)
