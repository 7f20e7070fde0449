"""Each store keeps its promises; the SQLite one also over restarts, kills and tampering."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.kept import (
    ACCOUNT,
    REGION,
    SESAME,
    connection,
    machine,
    version,
    with_versions,
)

from stepout.errors import StoreError
from stepout.store.keys import KEY_FILE
from stepout.store.memory import open_memory
from stepout.store.protocol import Store
from stepout.store.records import KeptMachine, Route
from stepout.store.sqlite import DATABASE_FILE, open_sqlite


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_memory() if request.param == "memory" else await open_sqlite(tmp_path)
    yield opened
    await opened.close()


async def test_a_machine_is_kept_changed_and_removed(store: Store) -> None:
    machines = store.machines
    record = machine("a")
    assert await machines.add(KeptMachine(record))
    assert not await machines.add(KeptMachine(replace(record, definition="other")))
    assert await machines.get(record.arn) == record
    changed = replace(record, updated=9, revision_id="r")
    await machines.change(record.arn, lambda _old: KeptMachine(changed))
    assert await machines.get(record.arn) == changed
    assert await machines.remove(record.arn)
    assert not await machines.remove(record.arn)
    assert await machines.get(record.arn) is None


async def test_a_change_of_what_was_removed_does_nothing(store: Store) -> None:
    lost = connection("gone")
    assert not await store.connections.replace(lost, replace(lost, state="AUTHORIZED"))
    assert await store.connections.all() == []


async def test_of_many_who_change_one_thing_at_a_time_one_succeeds(store: Store) -> None:
    """Who comes second has read what is no longer so, and must read again."""
    kept = connection("a")
    await store.connections.add(kept)
    connections = [
        store.connections.replace(kept, replace(kept, secret_version=n)) for n in range(90, 99)
    ]
    assert sum(await asyncio.gather(*connections)) == 1


async def test_lists_hold_one_region_and_account_in_the_order_of_creation(store: Store) -> None:
    for name in ("b", "a", "c"):
        await store.machines.add(KeptMachine(machine(name)))
    await store.machines.add(KeptMachine(machine("elsewhere", "eu-west-1")))
    changed = KeptMachine(replace(machine("b"), updated=9))
    await store.machines.change(changed.arn, lambda _old: changed)
    listed = await store.machines.list(REGION, ACCOUNT)
    assert [record.name for record in listed] == ["b", "a", "c"]


async def test_versions_and_aliases_change_with_their_machine_and_go_with_it(store: Store) -> None:
    machines, published = store.machines, with_versions(machine("a"))
    await machines.add(KeptMachine(machine("a")))
    assert await machines.change(published.arn, lambda _old: published) == published
    assert await machines.kept(published.arn) == published
    assert await machines.get(published.arn) == published.record
    rest = {name: each for name, each in published.aliases.items() if name != "PROD"}
    fewer = replace(published, versions={3: published.versions[3]}, aliases=rest)
    await machines.change(published.arn, lambda _old: fewer)
    assert await machines.kept(published.arn) == fewer
    assert await machines.remove(published.arn)
    assert await machines.kept(published.arn) is None
    await machines.add(KeptMachine(machine("a")))
    assert await machines.kept(published.arn) == KeptMachine(machine("a"))


async def test_what_an_edit_raises_changes_nothing(store: Store) -> None:
    def refuse(_old: KeptMachine | None) -> KeptMachine:
        raise LookupError("no")

    await store.machines.add(with_versions(machine("a")))
    with pytest.raises(LookupError):
        await store.machines.change(machine("a").arn, refuse)
    assert await store.machines.kept(machine("a").arn) == with_versions(machine("a"))


async def test_no_edit_undoes_another_that_is_being_saved(store: Store) -> None:
    record = machine("a")
    await store.machines.add(KeptMachine(record))

    def publish(old: KeptMachine | None) -> KeptMachine:
        assert old is not None
        number = old.record.last_version + 1
        made = version(record, number)
        return replace(
            old,
            record=replace(old.record, last_version=number),
            versions={**old.versions, number: made},
        )

    await asyncio.gather(*(store.machines.change(record.arn, publish) for _ in range(50)))
    kept = await store.machines.kept(record.arn)
    assert kept is not None
    assert list(kept.versions) == list(range(1, 51))


async def test_a_connection_is_found_by_its_arn_and_its_name(store: Store) -> None:
    connections = store.connections
    kept = connection("a")
    assert await connections.add(kept)
    assert not await connections.add(connection("a", uuid="another"))
    assert await connections.add(connection("a", account="999999999999"))
    assert await connections.connection(kept.arn) == kept
    assert await connections.find(REGION, ACCOUNT, "a") == kept
    assert await connections.find(REGION, ACCOUNT, "b") is None
    assert len(await connections.list(REGION, ACCOUNT)) == 1
    assert len(await connections.all()) == 2
    await connections.replace(kept, replace(kept, credential=None, state="DEAUTHORIZED"))
    found = await connections.connection(kept.arn)
    assert found is not None
    assert found.credential is None
    assert await connections.remove(kept.arn)
    assert await connections.find(REGION, ACCOUNT, "a") is None


async def test_of_many_who_add_one_name_one_succeeds(store: Store) -> None:
    adding = [store.connections.add(connection("a", uuid=str(number))) for number in range(20)]
    assert sum(await asyncio.gather(*adding)) == 1
    assert len(await store.connections.all()) == 1


async def test_a_caller_that_leaves_does_not_tear_a_change(store: Store) -> None:
    adding = asyncio.create_task(store.machines.add(KeptMachine(machine("a"))))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert not await store.machines.add(KeptMachine(machine("a")))


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    kept = [connection(name) for name in ("b", "a")]
    for item in kept:
        await store.connections.add(item)
    await store.connections.replace(kept[0], replace(kept[0], secret_version=2))
    await store.machines.add(KeptMachine(machine("m")))
    await store.machines.add(KeptMachine(machine("removed")))
    await store.machines.remove(machine("removed").arn)
    published = with_versions(machine("published"))
    await store.machines.add(published)
    changed = replace(published.aliases["PROD"], routes=(Route(10, 100),), updated=8)
    published = replace(published, aliases={**published.aliases, "PROD": changed})
    await store.machines.change(published.arn, lambda _old: published)
    await store.close()
    again = await open_sqlite(tmp_path)
    assert await again.machines.kept(published.arn) == published
    assert list(published.aliases) == ["PROD", "DEV"]
    assert await again.connections.all() == [replace(kept[0], secret_version=2), kept[1]]
    assert await again.machines.list(REGION, ACCOUNT) == [machine("m"), published.record]
    await again.close()


async def test_no_secret_stands_in_any_file(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await store.connections.add(connection("a"))
    for path in tmp_path.iterdir():
        assert SESAME.encode() not in path.read_bytes(), path
    await store.close()
    for path in tmp_path.iterdir():
        assert SESAME.encode() not in path.read_bytes(), path


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    store = await open_sqlite(directory)
    await store.connections.add(connection("a"))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    await store.close()


async def test_a_second_server_is_told_that_the_directory_is_in_use(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    with pytest.raises(StoreError, match="is in use by another server"):
        await open_sqlite(tmp_path)
    await store.close()
    await (await open_sqlite(tmp_path)).close()


async def test_a_lost_key_is_told_before_anything_is_written(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await store.connections.add(connection("a"))
    await store.close()
    key = (tmp_path / KEY_FILE).read_bytes()
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(StoreError, match=r"secret\.key is missing"):
        await open_sqlite(tmp_path)
    assert not (tmp_path / KEY_FILE).exists()
    (tmp_path / KEY_FILE).touch(mode=0o600)
    (tmp_path / KEY_FILE).write_bytes(key[:-1])
    with pytest.raises(StoreError, match="Expected a key of 32 bytes.*secret.key, found 31 bytes"):
        await open_sqlite(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(bytes(32))
    with pytest.raises(StoreError, match="sealed with the key .*secret.key has the key"):
        await open_sqlite(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(key)
    await (await open_sqlite(tmp_path)).close()


async def test_a_secret_cannot_be_moved_to_another_connection(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await store.connections.add(connection("a"))
    await store.connections.add(connection("b"))
    await store.close()
    with sqlite3.connect(tmp_path / DATABASE_FILE) as db:
        db.execute(
            "UPDATE connection SET sealed = (SELECT sealed FROM connection WHERE position = 1)"
        )
    db.close()
    with pytest.raises(StoreError, match="The secret of .*connection/b/u"):
        await open_sqlite(tmp_path)


async def test_a_file_that_is_no_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"something else, and longer than a header" * 100)
    with pytest.raises(StoreError, match=r"stepout\.db is not a store"):
        await open_sqlite(tmp_path)


async def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path)).close()
    with sqlite3.connect(tmp_path / DATABASE_FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="written by a newer stepout: .* found 99"):
        await open_sqlite(tmp_path)


async def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="The store in .* failed"):
        await open_sqlite(tmp_path / "file" / "below")


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="is closed"):
        await store.machines.add(KeptMachine(machine("a")))
    assert await store.machines.get(machine("a").arn) is None


WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from kept import machine
from stepout.store.records import KeptMachine
from stepout.store.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    for number in range(100_000):
        await store.machines.add(KeptMachine(machine(f"m{number}")))
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="This system has no SIGKILL.")
async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    answered = _killed_after(30, WRITER, tmp_path)
    store = await open_sqlite(tmp_path)
    names = [record.name for record in await store.machines.list(REGION, ACCOUNT)]
    await store.close()
    assert names[: answered + 1] == [f"m{number}" for number in range(answered + 1)]
    assert len(names) <= answered + 2


PUBLISHER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dataclasses import replace
from kept import alias, machine, version
from stepout.store.records import KeptMachine, Route
from stepout.store.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    record = machine("m")
    await store.machines.add(KeptMachine(record))
    for number in range(1, 100_000):
        def publish(old):
            return KeptMachine(
                replace(old.record, last_version=number),
                {number: version(record, number)},
                {"PROD": alias(record, "PROD", Route(number, 100))},
            )
        await store.machines.change(record.arn, publish)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="This system has no SIGKILL.")
async def test_a_kill_tears_no_change_of_machine_version_and_alias(tmp_path: Path) -> None:
    answered = _killed_after(30, PUBLISHER, tmp_path)
    store = await open_sqlite(tmp_path)
    kept = await store.machines.kept(machine("m").arn)
    await store.close()
    assert kept is not None
    number = kept.record.last_version
    assert number in (answered, answered + 1)
    assert list(kept.versions) == [number]
    assert [route.version for route in kept.aliases["PROD"].routes] == [number]


def _killed_after(number: int, program: str, directory: Path) -> int:
    """Kill a program that writes when it has answered a number; the last that it answered."""
    here = str(Path(__file__).parent)
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(directory), here], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.strip() == str(number):
            break
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.stdout.close()
    writer.wait()
    return int(rest[-1]) if rest else number
