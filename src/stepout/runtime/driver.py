"""The one loop that drives executions: take inputs → `handle` → commit → perform the commands.

It knows no states and no services: the engine decides, integrations work, the journal remembers.
Commands are performed only after their turn is committed, so that nothing is done that a restart
would not know of. Cancelling the driving task ends all work behind the run.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

from stepout.asl.allowance import NeedsTime
from stepout.asl.machine import Machine
from stepout.asl.states_error import RUNTIME, StatesError
from stepout.engine.commands import Call, Cancel, Command, Finish, Timer
from stepout.engine.execution import Execution
from stepout.engine.history import Event
from stepout.engine.inputs import Done, Failed, Fired, Input
from stepout.engine.turn import Run
from stepout.journal.protocol import Journal
from stepout.runtime.clock import Alarm, Clock
from stepout.runtime.pool import EvaluationPool
from stepout.tasks import Finder, Scope

__all__ = ["Driver", "Inbox", "Observe"]

_log = logging.getLogger("stepout.execution")

_SEED: Final = 32
"""Bytes of entropy for a turn."""

_CLEAN_UP_SECONDS: Final = 1.0
"""How long a run's end waits for cancelled work; what swallows its cancellation goes on alone."""

_T = TypeVar("_T")

Observe: TypeAlias = Callable[[Sequence[Event]], None]


class Inbox:
    """Inputs that have come in for one run, in their order."""

    __slots__ = ("_inputs", "_waiter")

    def __init__(self) -> None:
        self._inputs: list[Input] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Input) -> None:
        self._inputs.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> list[Input]:
        """What has come in so far, which may be nothing."""
        inputs, self._inputs = self._inputs, []
        return inputs

    async def wait(self) -> list[Input]:
        """What has come in, at least one input."""
        if not self._inputs:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        return self.take()


class Driver:
    """Drives runs over one journal with one set of integrations."""

    def __init__(
        self,
        journal: Journal,
        integrations: Finder,
        clock: Clock,
        pool: EvaluationPool,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._journal = journal
        self._integrations = integrations
        self._clock = clock
        self._entropy = entropy
        self._pool = pool

    async def drive(
        self, machine: Machine, run: Run, inbox: Inbox, observe: Observe | None = None
    ) -> Finish:
        """Run a new execution to its end; raises `Fenced` where another driver has taken it.

        `observe` is told the events of each turn, if the run wants them.
        """
        work = _Work(self._integrations, self._clock, run, inbox)
        try:
            return await self._loop(machine, run, inbox, work, observe)
        finally:
            await work.end()

    async def _loop(
        self, machine: Machine, run: Run, inbox: Inbox, work: _Work, observe: Observe | None
    ) -> Finish:
        now, entropy = self._clock.now, self._entropy
        execution, turn = await self._evaluate(
            partial(Execution.start, machine, run, now(), entropy(_SEED))
        )
        await self._journal.create(run, turn)
        rev = 1
        while True:
            if observe is not None and turn.events:
                observe(turn.events)
            if turn.finish is not None:
                # Whatever is still open ends with the run.
                return turn.finish
            for command in turn.commands:
                work.perform(command)
            if turn.more:
                await asyncio.sleep(0)
                inputs = inbox.take()
            else:
                inputs = await inbox.wait()
            turn = await self._evaluate(partial(execution.handle, inputs, now(), entropy(_SEED)))
            await self._journal.commit(run.arn, rev, turn)
            rev += 1

    async def _evaluate(self, make: Callable[..., _T]) -> _T:
        """Make a turn; where its expressions need time, in the evaluation pool."""
        try:
            return make(is_inline=True)
        except NeedsTime:
            return await self._pool.run(partial(make, is_inline=False))


class _Work:
    """The calls and timers that a run has open."""

    __slots__ = ("_clock", "_ending", "_inbox", "_integrations", "_invocations", "_open", "_run")

    def __init__(self, integrations: Finder, clock: Clock, run: Run, inbox: Inbox) -> None:
        self._integrations = integrations
        self._clock = clock
        self._run = run
        self._inbox = inbox
        self._invocations: Counter[str] = Counter()
        self._open: dict[str, asyncio.Task[None] | Alarm] = {}
        self._ending: list[asyncio.Task[None]] = []

    def perform(self, command: Command) -> None:
        match command:
            case Call():
                self._open[command.id] = asyncio.create_task(self._call(command))
            case Timer(id=timer_id, due=due):
                fire = Fired(timer_id)
                self._open[timer_id] = self._clock.call_at(due, lambda: self._answer(fire))
            case Cancel(id=open_id):
                self._cancel(open_id)
            case Finish():
                pass

    async def end(self) -> None:
        """Cancel whatever is still open, and let what was cancelled clean up for a moment."""
        for open_id in tuple(self._open):
            self._cancel(open_id)
        ending = [task for task in self._ending if not task.done()]
        if ending:
            await asyncio.wait(ending, timeout=_CLEAN_UP_SECONDS)

    def _cancel(self, open_id: str) -> None:
        work = self._open.pop(open_id, None)
        if work is not None:
            work.cancel()
        if isinstance(work, asyncio.Task):
            self._ending.append(work)

    async def _call(self, call: Call) -> None:
        self._answer(await self._invoke(call))

    async def _invoke(self, call: Call) -> Done | Failed:
        run = self._run
        invocation = self._invocations[call.state]
        self._invocations[call.state] += 1
        scope = Scope(
            region=run.region,
            account=run.account,
            role_arn=run.role_arn,
            machine_arn=run.machine_arn,
            machine_name=run.machine_name,
            execution_arn=run.arn,
            state_name=call.state,
            invocation=invocation,
            test_case=run.test_case,
        )
        try:
            integration = self._integrations.find(call.resource, scope)
            if integration is None:
                return Failed(call.id, StatesError(RUNTIME, _not_served(call)))
            result = await integration(call.arguments, scope)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and call.id not in self._open:
                # Nobody waits for it any more.
                raise
            # An integration answers with data; an exception is a bug of ours, or a function's way
            # to end more than its Task. The run must end.
            _log.exception("integration failed", extra={"fields": {"resource": call.resource}})
            return Failed(call.id, StatesError(RUNTIME, "stepout failed inside; its log says why."))
        if isinstance(result, StatesError):
            return Failed(call.id, result)
        return Done(call.id, result)

    def _answer(self, answer: Done | Failed | Fired) -> None:
        self._open.pop(answer.id, None)
        self._inbox.put(answer)


def _not_served(call: Call) -> str:
    return (
        f"The resource '{call.resource}' of the state '{call.state}' is not served by stepout; "
        "mock it (docs/testing.md)."
    )
