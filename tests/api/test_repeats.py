"""Repeats of a call: run again and told (`warn`), joined to the first run (`join`), or neither."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stepout.api import faults, repeats
from stepout.api.repeats import KEEP_SECONDS, MODES, Key, Repeats, Run, Started, key_of
from stepout.errors import ServiceError

ID = b"f1b1a1e2-0000-4000-8000-000000000001"
KEY = key_of("caller", "StartSyncExecution", b"{}", ID)
OTHER = key_of("caller", "StartSyncExecution", b'{"a":1}', ID)


class World:
    """A way to deal with repeats, the clock that it reads, and the runs that it makes."""

    def __init__(self, mode: str) -> None:
        self.now = 1_000.0
        self.counts: Counter[str] = Counter()
        self.repeats: Repeats = MODES[mode](lambda: self.now, self._count)
        self.runs: list[asyncio.Future[bytes]] = []

    def _count(self, decision: str) -> None:
        self.counts[decision] += 1

    async def run(self, started: Started) -> bytes:
        """An execution that ends when the test says how."""
        self.runs.append(asyncio.get_running_loop().create_future())
        started(f"arn:{len(self.runs)}")
        return await self.runs[-1]

    async def call(self, key: Key | None = KEY, run: Run | None = None) -> asyncio.Task[bytes]:
        """An attempt that has come as far as it comes without anything else happening."""
        task = asyncio.create_task(ready(self.repeats.answer(key, run or self.run)))
        await settle()
        return task

    async def end(self, number: int, answer: bytes | Exception) -> None:
        """End the run of a number, the first of which is 1."""
        future = self.runs[number - 1]
        if isinstance(answer, bytes):
            future.set_result(answer)
        else:
            future.set_exception(answer)
        await settle()


async def ready(answer: Awaitable[bytes]) -> bytes:
    return await answer


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


Make = Callable[[str], World]


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    found = [record for record in caplog.records if record.name == "stepout.repeat"]
    return [(record.levelname, getattr(record, "fields", {})) for record in found]


# --- Keys -----------------------------------------------------------------------------------------


def test_two_attempts_of_a_call_have_the_same_key() -> None:
    assert KEY is not None
    assert key_of("caller", "StartSyncExecution", b"{}", ID) == KEY


@pytest.mark.parametrize(
    "parts",
    [
        ("somebody", "StartSyncExecution", b"{}", ID),
        ("caller", "StartExecution", b"{}", ID),
        ("caller", "StartSyncExecution", b"{} ", ID),
        ("caller", "StartSyncExecution", b"{}", ID[:-1]),
        ("caller", "StartSyncExecution", ID + b"{}", b""),
        ("callerS", "tartSyncExecution", b"{}", ID),
        ("caller", "StartSyncExecution", ID[-1:] + b"{}", ID[:-1]),
    ],
)
def test_another_caller_operation_body_or_id_has_another_key(
    parts: tuple[str, str, bytes, bytes],
) -> None:
    """Also where the same bytes are spread over other parts."""
    assert key_of(*parts) != KEY


@pytest.mark.parametrize("invocation_id", [b"", b"x" * 129])
def test_without_an_id_that_may_be_one_there_is_no_key(invocation_id: bytes) -> None:
    assert key_of("caller", "StartSyncExecution", b"{}", invocation_id) is None


# --- All ways -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["warn", "join", "off"])
async def test_calls_without_a_key_have_nothing_in_common(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(mode)
    one, other = await world.call(None), await world.call(None)
    await world.end(2, b"second")
    await world.end(1, b"first")
    assert (await one, await other) == (b"first", b"second")
    assert lines(caplog) == []


@pytest.mark.parametrize("mode", ["warn", "join", "off"])
async def test_calls_with_other_keys_have_nothing_in_common(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(mode)
    one, other = await world.call(KEY), await world.call(OTHER)
    await world.end(1, b"first")
    await world.end(2, b"second")
    assert (await one, await other) == (b"first", b"second")
    assert lines(caplog) == []


@pytest.mark.parametrize("mode", ["warn", "off"])
async def test_a_repeat_is_run_again_as_on_aws(mode: str) -> None:
    world = World(mode)
    one, other = await world.call(), await world.call()
    await world.end(2, b"second")
    await world.end(1, b"first")
    assert (await one, await other) == (b"first", b"second")


@pytest.mark.parametrize("mode", ["warn", "join", "off"])
async def test_the_error_of_a_run_reaches_its_caller_and_nobody_after(mode: str) -> None:
    world = World(mode)
    one = await world.call()
    await world.end(1, faults.throttled())
    with pytest.raises(ServiceError, match="Rate exceeded"):
        await one
    other = await world.call()
    await world.end(2, b"served")
    assert await other == b"served"


# --- Warn -----------------------------------------------------------------------------------------


async def test_a_repeat_is_told_with_both_executions_and_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("warn")
    await world.call()
    world.now += 60.25
    await world.call()
    ((level, fields),) = lines(caplog)
    assert level == "WARNING"
    assert (fields["decision"], fields["first"], fields["second"], fields["after_ms"]) == (
        "run",
        "arn:1",
        "arn:2",
        60_250,
    )
    assert "AWS would do the same" in fields["hint"]
    assert "Config(read_timeout=305, retries={'total_max_attempts': 1})" in fields["hint"]
    assert world.counts == {"run": 1}
    for number in (1, 2):
        await world.end(number, b"")


async def test_each_further_attempt_is_told_against_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also when the ones before have ended."""
    world = World("warn")
    for number in (1, 2, 3):
        await world.call()
        await world.end(number, b"")
        world.now += 100
    told = [(fields["first"], fields["second"], fields["after_ms"]) for _, fields in lines(caplog)]
    assert told == [("arn:1", "arn:2", 100_000), ("arn:1", "arn:3", 200_000)]


async def test_a_call_is_forgotten_two_minutes_after_its_last_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("warn")
    await world.call()
    world.now += 300
    await world.end(1, b"")
    world.now += KEEP_SECONDS
    await world.call()
    assert lines(caplog) == []
    await world.end(2, b"")


async def test_a_call_whose_execution_never_began_is_not_repeated_by_the_next_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refused(_started: Started) -> bytes:
        raise faults.throttled()

    world = World("warn")
    for _ in range(3):
        with pytest.raises(ServiceError):
            await (await world.call(run=refused))
    call = await world.call()
    await world.end(1, b"")
    assert await call == b""
    assert lines(caplog) == []


async def test_an_attempt_whose_caller_has_gone_is_the_first_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("warn")
    (await world.call()).cancel()
    await settle()
    await world.call()
    assert [fields["second"] for _, fields in lines(caplog)] == ["arn:2"]
    await world.end(2, b"")


async def test_calls_in_flight_beyond_the_bound_are_run_and_not_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeats, "MAX_CALLS", 1)
    world = World("warn")
    for key in (KEY, OTHER, OTHER, KEY):
        await world.call(key)
    assert [fields["second"] for _, fields in lines(caplog)] == ["arn:4"]
    for number in (1, 2, 3, 4):
        await world.end(number, b"")
    assert_is_empty(world, kept=1)


def assert_is_empty(world: World, kept: int = 0) -> None:
    inside: Any = world.repeats
    assert (len(inside._running), len(inside._ended)) == (0, kept)


# --- Join -----------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_answer_of_the_run_in_flight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = World("join")
    calls = [await world.call() for _ in range(3)]
    assert len(world.runs) == 1
    world.now += 61
    calls.append(await world.call())
    await world.end(1, b"answer")
    assert [await call for call in calls] == [b"answer"] * 4
    assert world.counts == {"joined": 3}
    assert lines(caplog)[-1] == (
        "INFO",
        {"decision": "joined", "first": "arn:1", "after_ms": 61_000},
    )


async def test_a_repeat_gets_the_answer_of_a_run_that_has_ended_for_two_minutes() -> None:
    world = World("join")
    await world.call()
    await world.end(1, b"answer")
    world.now += KEEP_SECONDS - 1
    assert await (await world.call()) == b"answer"
    assert (len(world.runs), world.counts) == (1, {"kept": 1})
    world.now += 1
    call = await world.call()
    await world.end(2, b"another")
    assert await call == b"another"


async def test_a_run_goes_on_when_its_caller_has_gone() -> None:
    world = World("join")
    (await world.call()).cancel()
    await settle()
    call = await world.call()
    await world.end(1, b"answer")
    assert await call == b"answer"
    assert len(world.runs) == 1


async def test_one_caller_less_ends_it_for_no_other() -> None:
    world = World("join")
    calls = [await world.call() for _ in range(4)]
    for gone in (calls[1], calls[0]):
        gone.cancel()
    await settle()
    await world.end(1, b"answer")
    assert [await call for call in calls[2:]] == [b"answer"] * 2


async def test_those_who_wait_for_a_run_share_its_error_and_the_next_attempt_runs() -> None:
    world = World("join")
    calls = [await world.call() for _ in range(3)]
    await world.end(1, faults.shutting_down())
    for call in calls:
        with pytest.raises(ServiceError, match="shutting down"):
            await call
    assert_is_empty(world)
    await world.call()
    assert len(world.runs) == 2
    await world.end(2, b"")


async def test_more_callers_than_a_call_has_attempts_are_refused() -> None:
    world = World("join")
    calls = [await world.call() for _ in range(repeats.MAX_WAITING)]
    with pytest.raises(ServiceError, match="Rate exceeded"):
        await (await world.call())
    calls[0].cancel()
    await settle()
    calls.append(await world.call())
    await world.end(1, b"answer")
    assert [await call for call in calls[1:]] == [b"answer"] * repeats.MAX_WAITING


async def test_an_error_that_nobody_waits_for_is_logged_unless_it_is_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("join")
    for number, error in enumerate((faults.throttled(), RuntimeError("a bug")), 1):
        (await world.call()).cancel()
        await settle()
        await world.end(number, error)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a bug"


async def test_answers_are_kept_up_to_a_number_of_bytes_the_oldest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "MAX_BYTES", 100)
    world = World("join")
    keys = [key_of("caller", "StartSyncExecution", b"%d" % n, ID) for n in range(4)]
    for number, (key, size) in enumerate(zip(keys, (60, 40, 41, 101), strict=True), 1):
        await world.call(key)
        await world.end(number, b"x" * size)
    kept = [key for key in keys if await is_kept(world, key)]
    assert kept == keys[1:3]


async def is_kept(world: World, key: Key | None) -> bool:
    runs = len(world.runs)
    await world.call(key)
    if len(world.runs) == runs:
        return True
    await world.end(len(world.runs), faults.throttled())
    return False


async def test_answers_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_CALLS", 5)
    world = World("join")
    for number in range(1, 50):
        await world.call(key_of("caller", "StartSyncExecution", b"%d" % number, ID))
        await world.end(number, b"x")
    assert_is_empty(world, kept=5)


async def test_calls_in_flight_beyond_the_bound_are_run_without_being_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "MAX_CALLS", 1)
    world = World("join")
    calls = [await world.call(key) for key in (KEY, OTHER, OTHER, KEY)]
    for number in (1, 2, 3):
        await world.end(number, b"%d" % number)
    assert [await call for call in calls] == [b"1", b"2", b"3", b"1"]


async def test_a_close_ends_what_runs_and_tells_who_waits() -> None:
    world = World("join")
    call = await world.call()
    fresh = asyncio.create_task(ready(world.repeats.answer(OTHER, world.run)))
    await asyncio.sleep(0)
    await world.repeats.close()
    for waiting in (call, fresh):
        with pytest.raises(ServiceError, match="the execution was stopped"):
            await waiting
    assert_is_empty(world)


# --- Any order of events --------------------------------------------------------------------------

KEYS = {name: key_of(name, "StartSyncExecution", b"{}", ID) for name in "abc"}


class Attempts(RuleBasedStateMachine):
    """Arrivals, ends, errors, disconnects and expiries in any order."""

    BYTES, CALLS, WAITING = 100, 3, 3

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(repeats, "MAX_BYTES", self.BYTES)
        self.patch.setattr(repeats, "MAX_CALLS", self.CALLS)
        self.patch.setattr(repeats, "MAX_WAITING", self.WAITING)
        self.loop = asyncio.new_event_loop()
        self.world = World("join")
        self.in_flight: dict[str, int] = {}
        """Caller → number of the run in flight."""
        self.kept: list[tuple[str, float, bytes]] = []
        """Callers whose answer is kept, until when, and the answer; in the order of their ends."""
        self.waiting: dict[str, list[asyncio.Task[bytes]]] = {name: [] for name in KEYS}

    def teardown(self) -> None:
        self.loop.run_until_complete(self.world.repeats.close())
        self.loop.run_until_complete(self._gather())
        self.loop.close()
        self.patch.undo()

    async def _gather(self) -> None:
        tasks = [task for calls in self.waiting.values() for task in calls]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _expire(self) -> None:
        self.kept = [entry for entry in self.kept if entry[1] > self.world.now]

    @rule(name=st.sampled_from(sorted(KEYS)))
    def arrive(self, name: str) -> None:
        self._expire()
        runs = len(self.world.runs)
        task = self.loop.run_until_complete(self.world.call(KEYS[name]))
        kept = [answer for caller, _, answer in self.kept if caller == name]
        if kept:
            assert task.result() == kept[-1]
            assert len(self.world.runs) == runs
        elif len(self.waiting[name]) >= self.WAITING:
            assert isinstance(task.exception(), ServiceError)
            assert len(self.world.runs) == runs
        else:
            assert not task.done()
            self.waiting[name].append(task)
            assert len(self.world.runs) == runs + (name not in self.in_flight)
            self.in_flight.setdefault(name, len(self.world.runs))

    @precondition(lambda self: self.in_flight)
    @rule(which=st.integers(0, 2), size=st.integers(2, 120))
    def answer(self, which: int, size: int) -> None:
        name, number = self._take(which)
        answer = f"{name}{number}".encode().ljust(size, b".")
        self.loop.run_until_complete(self.world.end(number, answer))
        for task in self.waiting[name]:
            assert task.result() == answer
        self.waiting[name] = []
        self._expire()
        if len(answer) <= self.BYTES:
            self.kept.append((name, self.world.now + KEEP_SECONDS, answer))
        while sum(len(text) for _, _, text in self.kept) > self.BYTES:
            del self.kept[0]

    @precondition(lambda self: self.in_flight)
    @rule(which=st.integers(0, 2))
    def fail(self, which: int) -> None:
        name, number = self._take(which)
        self.loop.run_until_complete(self.world.end(number, faults.throttled()))
        for task in self.waiting[name]:
            assert isinstance(task.exception(), ServiceError)
        self.waiting[name] = []

    @precondition(lambda self: any(self.waiting.values()))
    @rule(which=st.integers(0, 20))
    def disconnect(self, which: int) -> None:
        callers = [(name, task) for name, calls in self.waiting.items() for task in calls]
        name, task = callers[which % len(callers)]
        self.waiting[name].remove(task)
        task.cancel()
        self.loop.run_until_complete(settle())
        assert task.cancelled()

    @rule(seconds=st.floats(0, 1.2 * KEEP_SECONDS))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    def _take(self, which: int) -> tuple[str, int]:
        name = sorted(self.in_flight)[which % len(self.in_flight)]
        return name, self.in_flight.pop(name)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        for name, calls in self.waiting.items():
            assert not any(task.done() for task in calls)
            assert not calls or name in self.in_flight

    @invariant()
    def the_memory_is_bounded(self) -> None:
        inside: Any = self.world.repeats
        assert {*inside._running} == {KEYS[name] for name in self.in_flight}
        kept = [len(item[2][1]) for item in inside._ended._items.values()]
        assert sum(kept) == inside._ended.size <= self.BYTES
        assert len(kept) <= self.CALLS


TestAttempts = Attempts.TestCase
