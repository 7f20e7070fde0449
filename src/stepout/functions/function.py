"""A function that runs as Lambda runs it: own process, time-out, warm between calls."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
import uuid
from types import TracebackType
from typing import Any, Self

from stepout.functions.environment import function_arn, variables
from stepout.functions.invocation import (
    INIT_LIMIT_S,
    FunctionError,
    FunctionSettings,
    Invocation,
    Outcome,
    check_event,
    log_invocation,
    runtime_exited,
    timed_out,
)
from stepout.functions.process import RuntimeProcess
from stepout.functions.runtime_api import RuntimeApi, Work

__all__ = ["Function"]


class Function:
    """A function in a process of its own; the process starts with the first call and stays.

    `listener` is an already bound socket for the Runtime API, for a program that lives in another
    network namespace; it then belongs to the function. Calls run one after the other, as in one
    execution environment of Lambda.
    """

    def __init__(
        self, settings: FunctionSettings, *, listener: socket.socket | None = None
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._api = RuntimeApi()
        self._process: RuntimeProcess | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._api.start(self._listener)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._retire()
        await self._api.close()

    async def invoke(self, event: bytes) -> Invocation:
        """Call the function with the JSON text of an event."""
        check_event(event)
        async with self._turn:
            try:
                invocation = await self._invoke(str(uuid.uuid4()), event)
            except BaseException:
                # Whoever cancels a call ends the work behind it.
                await self._retire()
                raise
        log_invocation(self._settings, invocation)
        return invocation

    async def _invoke(self, request_id: str, event: bytes) -> Invocation:
        if self._process is not None and self._process.exited.done():
            await self._retire()
        process = self._process
        init_ms = None
        began = time.perf_counter()
        if process is None:
            process, outcome = await self._start(request_id)
            init_ms = _milliseconds_since(began)
            if outcome.is_error:
                return await self._conclude(request_id, outcome, init_ms, None)
            began = time.perf_counter()
        outcome = await self._run(process, request_id, event)
        return await self._conclude(request_id, outcome, _milliseconds_since(began), init_ms)

    async def _start(self, request_id: str) -> tuple[RuntimeProcess, Outcome]:
        """Start the program and wait until it asks for work.

        Lambda ends an init phase after ten seconds and starts the program once more under the
        function's time-out; here the first one goes on, for the same time in all.
        """
        environment = variables(self._settings, self._api.address, time.time())
        ready = self._api.expect_program()
        process = self._process = await RuntimeProcess.start(self._settings, environment)
        limit = INIT_LIMIT_S + self._settings.timeout_s
        return process, await self._first(process, ready, limit, request_id)

    async def _run(self, process: RuntimeProcess, request_id: str, event: bytes) -> Outcome:
        now = time.time()
        work = Work(
            request_id=request_id,
            event=event,
            deadline_ms=int((now + self._settings.timeout_s) * 1000),
            function_arn=function_arn(self._settings),
            trace_header=_trace_header(now),
        )
        posted = self._api.offer(work)
        return await self._first(process, posted, self._settings.timeout_s, request_id)

    async def _first(
        self,
        process: RuntimeProcess,
        answer: asyncio.Future[Outcome],
        limit: float,
        request_id: str,
    ) -> Outcome:
        """Wait for the answer, the end of the process or the time-out, whichever comes first."""
        either: set[asyncio.Future[Any]] = {answer, process.exited}
        await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if process.exited.done():
            return runtime_exited(request_id, process.exited.result())
        return timed_out(request_id, self._settings.timeout_s)

    async def _conclude(
        self, request_id: str, outcome: Outcome, duration_ms: float, init_ms: float | None
    ) -> Invocation:
        if outcome.is_fatal:
            await self._retire()
        error = FunctionError.read(outcome.payload) if outcome.is_error else None
        return Invocation(outcome.payload, error, request_id, duration_ms, init_ms)

    async def _retire(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.kill()


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _trace_header(now: float) -> str:
    """Make a trace id that is not sampled (X-Ray developer guide, "Tracing header")."""
    root = f"1-{int(now):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"
