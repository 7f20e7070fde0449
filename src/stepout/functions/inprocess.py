"""A function in this very process, for where AWS's runtime client cannot be had.

It is less than a process of its own: the handler shares this interpreter and, while the function is
open, its environment; a call over its time-out is reported as such, but its thread cannot be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import importlib
import json
import os
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

from stepout.functions.environment import function_arn, variables
from stepout.functions.invocation import (
    ANSWER_LIMIT,
    INIT_LIMIT_S,
    FunctionError,
    FunctionSettings,
    Invocation,
    Outcome,
    answer_too_large,
    check_event,
    log_invocation,
    runtime_exited,
    timed_out,
)

__all__ = ["NOTICE", "InProcessFunction", "LambdaContext"]

NOTICE: Final = (
    "The handler runs inside this process, not under AWS's runtime client (awslambdaric): it "
    "shares this interpreter, and a call over its time-out is reported but not ended."
)


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """What a handler gets as its second argument (Lambda, "Python context object")."""

    aws_request_id: str
    invoked_function_arn: str
    function_name: str
    function_version: str
    memory_limit_in_mb: str
    log_group_name: str
    log_stream_name: str
    deadline_ms: int
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds that are left before the time-out."""
        return max(0, self.deadline_ms - int(time.time() * 1000))


Handler: TypeAlias = Callable[[Any, LambdaContext], Any]
T = TypeVar("T")


class InProcessFunction:
    """A function called in a thread of this process; the same results as `Function`."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self._handler: Handler | None = None
        self._undo = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        environment = variables(self._settings, "", time.time())
        self._undo.enter_context(_environment(environment))
        self._undo.enter_context(_importable(self._settings.directory.resolve()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    async def invoke(self, event: bytes) -> Invocation:
        """Call the function with the JSON text of an event."""
        check_event(event)
        async with self._turn:
            invocation = await self._invoke(str(uuid.uuid4()), event)
        log_invocation(self._settings, invocation)
        return invocation

    async def _invoke(self, request_id: str, event: bytes) -> Invocation:
        handler, init_ms = self._handler, None
        if handler is None:
            limit = INIT_LIMIT_S + self._settings.timeout_s
            loaded, init_ms = await self._timed(self._load, limit, request_id)
            if isinstance(loaded, Outcome):
                return _invocation(request_id, loaded, init_ms, None)
            handler = self._handler = loaded
        call = partial(self._call, handler, event)
        outcome, duration_ms = await self._timed(call, self._settings.timeout_s, request_id)
        return _invocation(request_id, outcome, duration_ms, init_ms)

    async def _timed(
        self, work: Callable[[str], T], limit: float, request_id: str
    ) -> tuple[T | Outcome, float]:
        began = time.perf_counter()
        outcome: T | Outcome
        try:
            outcome = await asyncio.wait_for(_in_thread(partial(work, request_id)), limit)
        except TimeoutError:
            outcome = timed_out(request_id, self._settings.timeout_s)
        return outcome, (time.perf_counter() - began) * 1000

    def _load(self, request_id: str) -> Handler | Outcome:
        module_name, _, name = self._settings.handler.rpartition(".")
        try:
            module = importlib.import_module(module_name.replace("/", "."))
        except SystemExit as error:
            return runtime_exited(request_id, _exit_status(error))
        except BaseException as error:  # noqa: BLE001 - whatever the module raises is its answer.
            return _import_failure(request_id, error, module_name)
        handler: Handler | None = getattr(module, name, None)
        if handler is None:
            message = f"Handler '{name}' missing on module '{module_name}'"
            return _failure(request_id, "Runtime.HandlerNotFound", message)
        return handler

    def _call(self, handler: Handler, event: bytes, request_id: str) -> Outcome:
        try:
            document = json.loads(event)
        except ValueError as error:
            message = f"Unable to unmarshal input: {error}"
            return _failure(request_id, "Runtime.UnmarshalError", message)
        try:
            answer = handler(document, self._context(request_id))
        except SystemExit as error:
            return runtime_exited(request_id, _exit_status(error))
        except BaseException as error:  # noqa: BLE001 - whatever the handler raises is its answer.
            return _failure(request_id, type(error).__name__, str(error), _frames(error))
        return _answer(request_id, answer)

    def _context(self, request_id: str) -> LambdaContext:
        return LambdaContext(
            aws_request_id=request_id,
            invoked_function_arn=function_arn(self._settings),
            function_name=self._settings.name,
            function_version=os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            memory_limit_in_mb=str(self._settings.memory_mb),
            log_group_name=os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
            log_stream_name=os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
            deadline_ms=int((time.time() + self._settings.timeout_s) * 1000),
        )


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run the user's code in a thread of its own.

    It may block for as long as it likes, and it must not keep the interpreter from ending, which
    the threads of a pool do.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(outcome: T) -> None:
        if not future.done():
            future.set_result(outcome)

    def run() -> None:
        outcome = work()
        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="stepout-function", daemon=True).start()
    return future


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextlib.contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Import from a directory, and forget its modules afterwards: the next may have the same."""
    known = set(sys.modules)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        for name in sys.modules.keys() - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(directory):
                del sys.modules[name]


def _invocation(
    request_id: str, outcome: Outcome, duration_ms: float, init_ms: float | None
) -> Invocation:
    error = FunctionError.read(outcome.payload) if outcome.is_error else None
    return Invocation(outcome.payload, error, request_id, duration_ms, init_ms)


def _answer(request_id: str, answer: object) -> Outcome:
    if isinstance(answer, bytes):
        payload = answer
    else:
        try:
            payload = json.dumps(answer, default=_plain).encode()
        except (TypeError, ValueError, RecursionError) as error:
            message = f"Unable to marshal response: {error}"
            return _failure(request_id, "Runtime.MarshalError", message)
    return Outcome(payload) if len(payload) <= ANSWER_LIMIT else answer_too_large()


def _plain(value: object) -> object:
    """Give a Decimal, which DynamoDB's answers are full of, as the number that it is."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _import_failure(request_id: str, error: BaseException, module: str) -> Outcome:
    """Word an import that failed as AWS's runtime client does."""
    if isinstance(error, ImportError):
        message = f"Unable to import module '{module}': {error}"
        return _failure(request_id, "Runtime.ImportModuleError", message)
    if isinstance(error, SyntaxError):
        message = f"Syntax error in module '{module}': {error}"
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        return _failure(request_id, "Runtime.UserCodeSyntaxError", message, [place])
    return _failure(request_id, type(error).__name__, str(error), _frames(error))


def _failure(
    request_id: str, error_type: str, message: str, stack_trace: Sequence[str] = ()
) -> Outcome:
    document = {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": list(stack_trace),
    }
    return Outcome(json.dumps(document).encode(), is_error=True)


def _frames(error: BaseException) -> list[str]:
    """Give the frames of the user's code: not ours, nor those of the import system."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    return traceback.format_list(
        [
            frame
            for frame in frames
            if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
        ]
    )


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
