"""Habits of those who change things while others use them, and the changes around the server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any, Final

from tests.soak.client import Client, habit
from tests.soak.ledger import Broken
from tests.soak.machines import CALLS, ROLE, logging_to, one_pass
from tests.soak.process import limit_files
from tests.soak.wire import Closed, Link
from tests.soak.world import CONNECTIONS, World

__all__ = ["change_files", "fill_disks", "flood", "restore_files", "send_signals"]

_NO_ROOM: Final = "503 ServiceUnavailable"
"""What a change is answered that cannot be kept."""

_KEPT_SECONDS: Final = 40.0

_MOST_KEPT: Final = 60
"""Machines that stay until the restart: what a server holds must not grow with the soak."""


async def _change(client: Client, operation: str, members: Any, *more: str, **how: Any) -> str:
    """Make a change; it is refused with a clear error while the disk is full."""
    was_full = "data" in client.world.full
    reply = await client.ask(client.world.keys["admin"], operation, members, **how)
    is_full = was_full or "data" in client.world.full
    return client.expect(reply, "200", *([_NO_ROOM] if is_full else []), *more)


# --- Machines and connections ---------------------------------------------------------------------


@habit("admin", 10, _KEPT_SECONDS)
async def machine_life(client: Client) -> str:
    """Created, used, updated, used, deleted; what was refused has not happened in part."""
    number = client.state["number"] = client.state.get("number", 0) + 1
    name = f"life-{id(client) % 100_000}-{number}"
    arn = {"stateMachineArn": client.world.machine(name)}
    group = f"soak/{name}" if client.random.random() < 0.5 else "soak/lives"
    made = await _change(
        client,
        "CreateStateMachine",
        {
            "name": name,
            "type": "EXPRESS",
            "roleArn": ROLE,
            "definition": one_pass("a" * client.random.choice([1, 10, 40_000])),
            "loggingConfiguration": logging_to(group),
        },
    )
    if made != "200":
        reply = await client.ask(client.world.keys["admin"], "DescribeStateMachine", arn)
        client.expect(reply, "400 StateMachineDoesNotExist")
        return made
    client.expect(await client.run(name, {}), "200 SUCCEEDED")
    updated = await _update(client, name)
    client.expect(await client.run(name, {}), "200 SUCCEEDED")
    if client.random.random() < 0.1 and len(client.world.kept) < _MOST_KEPT:
        client.world.kept[name] = "b" if updated == "200" else ""
        return "kept"
    gone = await _change(client, "DeleteStateMachine", arn)
    if gone == "200":
        reply = await client.run(name, {})
        client.expect(reply, "400 StateMachineDoesNotExist")
    else:
        client.world.kept[name] = ""
    return gone


async def _update(client: Client, name: str) -> str:
    """Update a machine; it has the new definition after that, or the old one if it was refused."""
    arn = {"stateMachineArn": client.world.machine(name)}
    admin = client.world.keys["admin"]
    before = await client.ask(admin, "DescribeStateMachine", arn)
    client.expect(before, "200")
    made = await _change(client, "UpdateStateMachine", {**arn, "definition": one_pass("b")})
    after = await client.ask(admin, "DescribeStateMachine", arn)
    client.expect(after, "200")
    wanted = one_pass("b") if made == "200" else before.document["definition"]
    if not client.may_be_closed and after.document["definition"] != wanted:
        raise Broken(f"an update that was answered {made} was made in another way.")
    return made


@habit("admin", 6, _KEPT_SECONDS)
async def connection_life(client: Client) -> str:
    number = client.state["number"] = client.state.get("number", 0) + 1
    kind = client.random.choice(CALLS)
    name = f"{kind}-life-{id(client) % 100_000}-{number}"
    type_, parameters = client.world.credential(name)
    members = {"Name": name, "AuthorizationType": type_, "AuthParameters": parameters}
    made = await _change(client, "CreateConnection", members, service="events")
    if made != "200":
        return made
    type_, parameters = client.world.credential(client.random.choice(["key", "basic", "oauth"]))
    members = {"Name": name, "AuthorizationType": type_, "AuthParameters": parameters}
    await _change(client, "UpdateConnection", members, service="events")
    if client.random.random() < 0.5:
        await _deauthorize(client, name)
    return await _change(client, "DeleteConnection", {"Name": name}, service="events")


async def _deauthorize(client: Client, name: str) -> None:
    """What is deauthorised stays so, whatever was under way."""
    if await _change(client, "DeauthorizeConnection", {"Name": name}, service="events") != "200":
        return
    await asyncio.sleep(client.random.random() / 5)
    admin = client.world.keys["admin"]
    reply = await client.ask(admin, "DescribeConnection", {"Name": name}, service="events")
    if client.expect(reply, "200") == "200":
        state = reply.document["ConnectionState"]
        if state != "DEAUTHORIZED":
            raise Broken(f"a connection was deauthorised, and is {state} after that.")


@habit("admin", 6, _KEPT_SECONDS)
async def rotate(client: Client) -> str:
    """New secrets for a connection that is in use."""
    name = client.random.choice(CALLS)
    type_, parameters = client.world.credential(name)
    members = {"Name": name, "AuthorizationType": type_, "AuthParameters": parameters}
    return await _change(client, "UpdateConnection", members, service="events")


# --- Around the server ----------------------------------------------------------------------------


async def change_files(world: World, random: Random) -> None:
    """Identities, egress policy and certificate are rewritten, half of the time into nonsense."""
    bad = {
        "identities.toml": [b"", b"[user.x\n", b"\xff\xfe", b'[role.machines]\npolicies = ["no"]'],
        "egress.toml": [b"", b"[[allow]]\n", b"mode = 7\n", b"\0" * 100, b'[[deny]]\nhosts = "'],
        "server.pem": [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
        "server-key.pem": [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
    }
    writers: list[Callable[[int], object]] = [
        world.write_identities,
        world.write_policy,
        lambda _turn: world.write_certificate(),
    ]
    for turn in count(1):
        if random.random() < 0.5:
            name = random.choice(sorted(bad))
            (world.directory / name).write_bytes(random.choice(bad[name]))
        else:
            random.choice(writers)(turn)
        await asyncio.sleep(random.uniform(0.3, 3.0))


def restore_files(world: World) -> None:
    """Good versions of all files, for a server that starts."""
    world.write_identities(0)
    world.write_policy(0)
    world.write_certificate()


_DISKS: Final = ("data", "audit", "logs", "every file")


async def fill_disks(world: World, random: Random, seconds: float) -> None:
    """One disk after the other is full for a while; then there is room, and work goes on."""
    while True:
        await asyncio.sleep(random.uniform(seconds / 2, seconds))
        disk = random.choice(_DISKS if world.has_mounts else _DISKS[-1:])
        is_kept = disk in ("data", "every file")
        if is_kept:
            world.full.add("data")
        await asyncio.to_thread(_fill, world, disk)
        try:
            await asyncio.sleep(random.uniform(0.5, 4.0))
        finally:
            _empty(world, disk)
        world.disks_filled[disk] += 1
        await asyncio.sleep(1.0)
        if is_kept:
            world.full.discard("data")


def _fill(world: World, disk: str) -> None:
    if disk == "every file":
        limit_files(world.pid, 4_096)
        return
    with suppress(OSError), (world.disk(disk) / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 4_096)


def _empty(world: World, disk: str) -> None:
    if disk == "every file":
        limit_files(world.pid, -1)
    else:
        (world.disk(disk) / "filler").unlink(missing_ok=True)


async def send_signals(world: World, random: Random) -> None:
    """Signals that end a process which does not expect them."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 5.0))
        world.send(random.choice([signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE]))


async def flood(world: World, random: Random, seconds: float) -> None:
    """Now and then more connections than the server may have, of which nothing comes."""
    while True:
        await asyncio.sleep(random.uniform(seconds / 2, seconds))
        world.is_flooded = True
        links: list[Link] = []
        with suppress(Closed):
            while len(links) < CONNECTIONS + 200:
                links.append(await Link.open(world.port, None))
        await asyncio.sleep(1.0)
        for link in links:
            link.drop()
        world.floods += 1
        # Those who were refused meanwhile have yet to read it.
        await asyncio.sleep(2.0)
        world.is_flooded = False
