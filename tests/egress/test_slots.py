"""One slow origin takes its own slots and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.egress.servers import FakeResolver, TlsServer

from stepout.egress.addresses import network
from stepout.egress.http import Egress
from stepout.egress.message import Request
from stepout.egress.policy import Policy
from stepout.egress.slots import Slots
from stepout.errors import EgressError, EgressFailed


class Holder:
    """Takes a slot in a task of its own and keeps it until told."""

    def __init__(self, slots: Slots, place: str) -> None:
        self.has_it = False
        self._done = asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots, place))

    async def _hold(self, slots: Slots, place: str) -> None:
        await slots.take(place)
        try:
            self.has_it = True
            await self._done.wait()
        finally:
            slots.free(place)

    def end(self) -> None:
        self._done.set()

    async def leave(self) -> None:
        self.end()
        await self.task
        await settle()


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def holders(slots: Slots, *places: str) -> list[Holder]:
    made = [Holder(slots, place) for place in places]
    await settle()
    return made


def having(found: list[Holder]) -> list[bool]:
    return [one.has_it for one in found]


def is_empty(slots: Slots) -> bool:
    return not (slots._taken or slots._total or slots._queues or slots._waiting)


async def end(slots: Slots, found: list[Holder]) -> None:
    for one in found:
        if not one.task.done():
            await one.leave()
    assert is_empty(slots)


async def test_a_host_has_so_many_slots_and_leaves_the_rest_to_others() -> None:
    slots = Slots(in_all=4, per_host=2)
    found = await holders(slots, "a", "a", "a", "b", "b")
    assert having(found) == [True, True, False, True, True]
    await found[0].leave()
    assert having(found) == [True, True, True, True, True]
    await end(slots, found)


async def test_in_all_there_are_so_many_slots() -> None:
    slots = Slots(in_all=2, per_host=2)
    found = await holders(slots, "a", "b", "c")
    assert having(found) == [True, True, False]
    await found[1].leave()
    assert found[2].has_it
    await end(slots, found)


async def test_a_free_slot_goes_to_the_hosts_in_turn_and_to_who_waited_longest() -> None:
    slots = Slots(in_all=4, per_host=4)
    found = await holders(slots, "a", "a", "a", "a", "a", "a", "b", "c")
    order: list[int] = []
    for running in found[:4]:
        await running.leave()
        order += [at for at in range(4, 8) if found[at].has_it and at not in order]
    assert order == [4, 6, 7, 5]
    await end(slots, found)


async def test_when_too_many_wait_for_a_host_the_next_is_told_at_once() -> None:
    slots = Slots(in_all=100, per_host=2)
    found = await holders(slots, "a:443", "a:443", "a:443", "a:443")
    with pytest.raises(EgressFailed) as caught:
        await slots.take("a:443")
    assert str(caught.value) == (
        "Too many requests are under way: 2 to a:443 and 2 in all, with 2 and 2 waiting; at most 2 "
        "and 100 may be, and as many wait."
    )
    await slots.take("b:443")
    slots.free("b:443")
    await end(slots, found)


async def test_when_too_many_wait_in_all_the_next_is_told_at_once() -> None:
    slots = Slots(in_all=2, per_host=2)
    found = await holders(slots, "a", "b", "c", "d")
    with pytest.raises(EgressFailed, match="2 in all, with 0 and 2 waiting"):
        await slots.take("e")
    await end(slots, found)


async def test_who_gives_up_leaves_the_queue() -> None:
    slots = Slots(in_all=2, per_host=2)
    found = await holders(slots, "a", "a", "a", "b")
    found[2].task.cancel()
    await settle()
    await found[0].leave()
    assert having(found) == [True, True, False, True]
    await end(slots, found)


@pytest.mark.parametrize("gives_up_first", [True, False])
async def test_a_slot_that_comes_as_its_waiter_gives_up_is_not_lost(gives_up_first: bool) -> None:
    """Both happen before the waiter runs again."""
    slots = Slots(in_all=2, per_host=2)
    found = await holders(slots, "a", "a", "a", "b")
    if gives_up_first:
        found[2].task.cancel()
    found[0].end()
    await asyncio.sleep(0)
    if not gives_up_first:
        found[2].task.cancel()
    await settle()
    assert having(found) == [True, True, False, True]
    await end(slots, found)


async def test_a_slot_is_not_given_to_who_has_just_given_up() -> None:
    slots = Slots(in_all=2, per_host=2)
    await slots.take("a")
    await slots.take("a")
    found = await holders(slots, "a", "a")
    found[0].task.cancel()
    slots.free("a")
    await settle()
    assert having(found) == [False, True]
    slots.free("a")
    found = found[1:]
    await end(slots, found)


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    async with TlsServer(("api.example.com", "other.example.com")).running() as running:
        yield running


async def test_an_origin_that_hangs_leaves_slots_for_another(server: TlsServer) -> None:
    client = Egress(
        Policy((network("127.0.0.0/8"),)),
        trust=server.trust,
        resolver=FakeResolver("127.0.0.1"),
        slots=Slots(in_all=3, per_host=2),
    )

    async def get(host: str) -> int:
        request = Request("GET", f"https://{host}.example.com:{server.port}/")
        return (await client.request(request, max_body=10)).status

    gate = server.gate = asyncio.Event()
    slow = [asyncio.create_task(get("api")) for _ in range(4)]
    await server.until(lambda: len(server.seen) == 2)
    server.gate = None
    assert await get("other") == 200
    with pytest.raises(EgressFailed, match="Too many requests"):
        await get("api")
    assert len(server.seen) == 3
    gate.set()
    assert await asyncio.gather(*slow) == [200] * 4
    assert is_empty(client._slots)
    await client.close()


async def test_a_slot_is_given_back_whatever_happens(server: TlsServer) -> None:
    client = Egress(Policy(), trust=server.trust, resolver=FakeResolver("127.0.0.1"))
    for url in ("https://api.example.com/", "https://nowhere.example.com:1/"):
        with pytest.raises(EgressError):
            await client.request(Request("GET", url), max_body=10)
    client._network.resolver.gates["api.example.com"] = asyncio.Event()  # type: ignore[attr-defined] # the fake
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.request(Request("GET", "https://api.example.com/"), max_body=10)
    assert is_empty(client._slots)
    await client.close()
