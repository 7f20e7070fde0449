"""Compiled machines are kept by text and type, and large ones are compiled beside the event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from stepout.asl.parse import parse
from stepout.errors import DefinitionError
from stepout.runtime import machines
from stepout.runtime.machines import Machines
from stepout.runtime.pool import EvaluationPool

LARGE = 40_000
"""Characters of a definition that the event loop should not wait for."""

WRONG = '{"StartAt":"Nowhere","States":{"P":{"Type":"Pass","End":true}}}'
MISSING_TARGET = (
    "MISSING_TRANSITION_TARGET: Missing 'Next' target: Nowhere at /StartAt, "
    'MISSING_TRANSITION_TARGET: State "P" is not reachable. at /States/P'
)


def definition(name: str = "P", size: int = 0) -> str:
    """A machine of one Pass state, padded to a number of characters."""
    plain = {"StartAt": name, "States": {name: {"Type": "Pass", "End": True}}, "Comment": ""}
    text = json.dumps(plain)
    return json.dumps({**plain, "Comment": "x" * max(0, size - len(text))})


@pytest.fixture
def pool() -> Iterator[EvaluationPool]:
    evaluation = EvaluationPool()
    yield evaluation
    evaluation.close()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which definitions are compiled, one for each compilation."""
    names: list[str] = []

    def compiling(text: str, *, is_express: bool) -> object:
        names.append(threading.current_thread().name)
        return parse(text, is_express=is_express)

    monkeypatch.setattr(machines, "parse", compiling)
    return names


# --- Compiled once --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, LARGE])
async def test_a_definition_is_compiled_once_for_its_text_and_type(
    pool: EvaluationPool, threads: list[str], size: int
) -> None:
    compiled = Machines(pool)
    text = definition(size=size)
    express = await compiled.compile(text, is_express=True)
    standard = await compiled.compile(text, is_express=False)
    equal = "".join(list(text))
    for _ in range(3):
        assert await compiled.compile(equal, is_express=True) is express
        assert await compiled.compile(equal, is_express=False) is standard
    assert express is not standard
    assert len(threads) == 2


async def test_a_compiled_machine_is_that_of_its_definition(pool: EvaluationPool) -> None:
    compiled = Machines(pool)
    for size in (0, LARGE):
        for name in ("A", "B"):
            text = definition(name, size)
            assert await compiled.compile(text, is_express=True) == parse(text, is_express=True)


async def test_the_type_decides_what_a_machine_may_have(pool: EvaluationPool) -> None:
    compiled = Machines(pool)
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:us-east-1:123456789012:activity:a",
        "End": True,
    }
    text = json.dumps({"StartAt": "T", "States": {"T": task}})
    assert (await compiled.compile(text, is_express=False)).start_at == "T"
    with pytest.raises(DefinitionError, match="does not support Activity ARN at /States/T"):
        await compiled.compile(text, is_express=True)


# --- Kept within the bound ------------------------------------------------------------------------


async def kept(compiled: Machines, threads: list[str], *names: str) -> list[bool]:
    """Whether each machine is still there; asking compiles it again where it is not."""
    found = []
    for name in names:
        before = len(threads)
        await compiled.compile(definition(name, 1_000), is_express=True)
        found.append(len(threads) == before)
    return found


async def test_the_machines_that_were_used_last_are_kept(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", 2_000)
    compiled = Machines(pool)
    assert await kept(compiled, threads, "A", "B") == [False, False]
    assert await kept(compiled, threads, "A", "B", "A") == [True, True, True]
    assert await kept(compiled, threads, "C") == [False]
    assert await kept(compiled, threads, "A", "C") == [True, True]
    assert await kept(compiled, threads, "B") == [False]


async def test_the_bound_counts_characters_not_machines(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", 3_000)
    compiled = Machines(pool)
    await kept(compiled, threads, "A", "B", "C")
    await compiled.compile(definition("D", 1_500), is_express=True)
    assert await kept(compiled, threads, "C") == [True]
    assert await kept(compiled, threads, "A", "B") == [False, False]


async def test_both_types_of_a_definition_count(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", 1_000)
    compiled = Machines(pool)
    await compiled.compile(definition("A", 1_000), is_express=True)
    await compiled.compile(definition("A", 1_000), is_express=False)
    assert await kept(compiled, threads, "A") == [False]


async def test_a_definition_beyond_the_bound_is_compiled_each_time(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", 999)
    compiled = Machines(pool)
    assert await kept(compiled, threads, "A", "A") == [False, False]


async def test_compiling_one_definition_twice_at_once_counts_it_once(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", LARGE + 1_000)
    compiled = Machines(pool)
    text = definition("Large", LARGE)
    await asyncio.gather(*(compiled.compile(text, is_express=True) for _ in range(4)))
    assert await kept(compiled, threads, "A", "A") == [False, True]
    before = len(threads)
    await compiled.compile(text, is_express=True)
    assert len(threads) == before


# --- In the pool ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "thread"),
    [
        (0, "MainThread"),
        (machines._INLINE, "MainThread"),
        (machines._INLINE + 1, "stepout-evaluate"),
    ],
)
async def test_a_large_definition_is_compiled_in_the_pool(
    pool: EvaluationPool, threads: list[str], size: int, thread: str
) -> None:
    await Machines(pool).compile(definition(size=size), is_express=True)
    assert [name.rpartition("_")[0] or name for name in threads] == [thread]


async def test_the_event_loop_goes_on_while_a_large_definition_is_compiled(
    pool: EvaluationPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_gone_on = threading.Event()

    def compiling(text: str, *, is_express: bool) -> object:
        assert has_gone_on.wait(30)
        return parse(text, is_express=is_express)

    monkeypatch.setattr(machines, "parse", compiling)
    running = asyncio.create_task(Machines(pool).compile(definition(size=LARGE), is_express=True))
    await asyncio.sleep(0)
    has_gone_on.set()
    assert (await running).start_at == "P"


async def test_work_in_the_pool_gives_its_result_or_its_exception(pool: EvaluationPool) -> None:
    assert await pool.run(lambda: 7) == 7
    with pytest.raises(KeyError, match="ours"):
        await pool.run(partial(dict.__getitem__, {}, "ours"))


async def test_the_pool_works_at_two_things_at_once_and_no_more(pool: EvaluationPool) -> None:
    both = threading.Barrier(2, timeout=30)
    assert sorted(await asyncio.gather(pool.run(both.wait), pool.run(both.wait))) == [0, 1]
    names = await asyncio.gather(
        *(pool.run(lambda: threading.current_thread().name) for _ in range(50))
    )
    assert set(names) <= {"stepout-evaluate_0", "stepout-evaluate_1"}


async def test_a_closed_pool_ends_its_work_and_gives_up_what_waits() -> None:
    pool = EvaluationPool()
    are_working, may_end = threading.Barrier(3, timeout=30), threading.Event()

    def work() -> str:
        are_working.wait()
        assert may_end.wait(30)
        return "done"

    working = [asyncio.create_task(pool.run(work)) for _ in range(2)]
    waiting = asyncio.create_task(pool.run(lambda: "never"))
    await asyncio.to_thread(are_working.wait)
    pool.close()
    may_end.set()
    assert await asyncio.gather(*working) == ["done", "done"]
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="after shutdown"):
        await pool.run(lambda: "too late")


# --- Problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, LARGE])
async def test_problems_are_raised_each_time(
    pool: EvaluationPool, threads: list[str], size: int
) -> None:
    compiled = Machines(pool)
    wrong = json.dumps({**json.loads(WRONG), "Comment": "x" * size})
    told = []
    for _ in range(2):
        with pytest.raises(DefinitionError) as caught:
            await compiled.compile(wrong, is_express=True)
        told.append(str(caught.value))
    assert told == [MISSING_TARGET] * 2
    assert len(threads) == 2


async def test_a_wrong_definition_takes_no_ones_place(
    pool: EvaluationPool, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_KEPT", 1_000)
    compiled = Machines(pool)
    assert await kept(compiled, threads, "A") == [False]
    with pytest.raises(DefinitionError):
        await compiled.compile(WRONG, is_express=True)
    assert await kept(compiled, threads, "A") == [True]
