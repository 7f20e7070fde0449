"""Express executions: kept in memory, five minutes at most; driven in the task of their caller, or
in one of their own for callers that do not wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stepout.asl.machine import Machine
from stepout.asl.states_error import StatesError
from stepout.engine.commands import Finish
from stepout.engine.inputs import Stop
from stepout.engine.turn import Run
from stepout.journal.protocol import Journal
from stepout.runtime.clock import Clock
from stepout.runtime.driver import Driver, Inbox, Observe

__all__ = ["LIMIT_MS", "MAX_RUNS", "Express", "Outcome", "ShuttingDown", "TooManyRuns"]

_log = logging.getLogger("stepout.execution")

LIMIT_MS: Final = 300_000
"""Five minutes (AWS service quotas, Express workflows)."""

MAX_RUNS: Final = 5_000
"""Runs at one time unless told otherwise; ours. More are refused rather than served late."""

STOPPED: Final = StatesError("Stepout.Shutdown", "The server was shut down during the execution.")


class TooManyRuns(Exception):
    """The server drives as many runs as it is willing to."""


class ShuttingDown(Exception):
    """The server takes no new runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. Times in milliseconds since the epoch."""

    finish: Finish
    started_at: int
    stopped_at: int

    @property
    def is_shutdown(self) -> bool:
        """The run was ended by the server, not by itself."""
        return self.finish.status == "ABORTED"


class Express:
    """Runs machines to their end and knows which are in flight."""

    def __init__(
        self, driver: Driver, journal: Journal, clock: Clock, max_runs: int = MAX_RUNS
    ) -> None:
        self._max_runs = max_runs
        self._driver = driver
        self._journal = journal
        self._clock = clock
        self._inboxes: dict[str, Inbox] = {}
        self._background: set[asyncio.Task[Outcome]] = set()
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        return len(self._inboxes)

    async def run(
        self,
        machine: Machine,
        run: Run,
        observe: Observe | None = None,
        started: Callable[[str], None] = lambda _arn: None,
    ) -> Outcome:
        """Drive a run to its end; raises `TooManyRuns` and `ShuttingDown`. `started` is told the
        ARN of a run that was admitted."""
        inbox = self._admit(run)
        started(run.arn)
        return await self._drive(machine, run, inbox, observe)

    def start(
        self, machine: Machine, run: Run, observe: Observe | None = None
    ) -> asyncio.Task[Outcome]:
        """Drive a run in the background; raises `TooManyRuns` and `ShuttingDown`."""
        task = asyncio.create_task(self._drive(machine, run, self._admit(run), observe))
        self._background.add(task)
        task.add_done_callback(self._end_in_background)
        return task

    def _end_in_background(self, task: asyncio.Task[Outcome]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours, which nobody waits for.
            _log.error("execution failed inside", exc_info=error)

    def _admit(self, run: Run) -> Inbox:
        if self._is_draining:
            raise ShuttingDown
        if len(self._inboxes) >= self._max_runs:
            raise TooManyRuns
        inbox = self._inboxes[run.arn] = Inbox()
        self._idle.clear()
        return inbox

    async def _drive(
        self, machine: Machine, run: Run, inbox: Inbox, observe: Observe | None
    ) -> Outcome:
        try:
            finish = await self._driver.drive(machine, run, inbox, observe)
        finally:
            del self._inboxes[run.arn]
            await self._journal.forget(run.arn)
            if not self._inboxes:
                self._idle.set()
        outcome = Outcome(finish, run.started_at, self._clock.now())
        _report(run, outcome)
        return outcome

    async def drain(self, seconds: float) -> int:
        """Refuse new runs and wait for those in flight; stop those that take longer, and answer
        how many."""
        self._is_draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            stopped = len(self._inboxes)
            for inbox in self._inboxes.values():
                inbox.put(Stop(STOPPED))
            await self._idle.wait()
            return stopped
        return 0


def _report(run: Run, outcome: Outcome) -> None:
    """One line for each execution, without its data."""
    if not _log.isEnabledFor(logging.INFO):
        return
    finish = outcome.finish
    fields: dict[str, object] = {
        "arn": run.arn,
        "status": finish.status,
        "duration_ms": outcome.stopped_at - outcome.started_at,
    }
    if finish.error is not None:
        fields["error"] = finish.error.error
    _log.info("execution", extra={"fields": fields})
