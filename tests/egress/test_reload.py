"""A policy file that changes takes effect; one that is broken or half written does not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from stepout.egress import rules
from stepout.egress.policy import Policy
from stepout.egress.reload import PolicyFile
from stepout.errors import SettingsError

STOP = '[[deny]]\nname = "stop"\n'


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: list[Policy] = []
        self.write('default = "allow-public"\n')
        self.changed = asyncio.Event()
        self.file = PolicyFile(path, rules.load, self._use)
        self.policy = self.file.load()

    def _use(self, policy: Policy) -> None:
        self.used.append(policy)
        self.changed.set()

    def write(self, text: str) -> None:
        self.path.write_text(text)
        # Two writes may fall on one tick of the file system's clock.
        moment = self.path.stat().st_mtime_ns + 1_000_000 * len(text)
        os.utime(self.path, ns=(moment, moment))

    def look(self, times: int = 2) -> list[Policy]:
        for _ in range(times):
            self.file.look()
        return self.used


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level("INFO", "stepout.egress")
    return World(tmp_path / "egress.toml")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    records = [*caplog.get_records("setup"), *caplog.records]
    return [vars(record)["fields"] for record in records]


def test_the_first_policy_is_told_with_its_revision(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.policy == Policy()
    assert lines(caplog) == [
        {
            "file": str(world.path),
            "revision": 1,
            "default": "allow-public",
            "mode": "enforce",
            "rules": 0,
        }
    ]


def test_a_file_that_stays_the_same_is_not_read_again(world: World) -> None:
    assert world.look(5) == []


def test_a_change_is_taken_when_it_has_stayed_for_two_looks(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write(STOP)
    assert world.look(1) == []
    assert [policy.rules[0].name for policy in world.look(1)] == ["stop"]
    assert len(world.look(3)) == 1
    assert lines(caplog)[-1]["revision"] == 2
    assert lines(caplog)[-1]["rules"] == 1


def test_a_file_that_is_being_written_is_not_read(world: World) -> None:
    for number in range(1, 5):
        world.write(STOP + "#" * number)
        assert world.look(1) == []
    assert len(world.look(1)) == 1


def test_a_broken_file_keeps_the_policy_and_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("mode = 1\n[[allow]]\n")
    assert world.look(5) == []
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    (line,) = (vars(record)["fields"] for record in errors)
    assert line["kept"] == 1
    assert len(line["problems"].splitlines()) == 3
    world.write(STOP)
    assert len(world.look()) == 1


def test_a_file_that_is_gone_keeps_the_policy(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.path.unlink()
    assert world.look(5) == []
    assert "cannot be read" in lines(caplog)[-1]["problems"]
    world.write(STOP)
    assert len(world.look()) == 1


def test_a_file_that_is_replaced_by_one_of_the_same_age_is_read(
    world: World, tmp_path: Path
) -> None:
    status = world.path.stat()
    other = tmp_path / "other.toml"
    other.write_text('default = "allow-public" ')
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    other.replace(world.path)
    assert len(world.look()) == 1


def test_the_first_file_must_be_good(tmp_path: Path) -> None:
    path = tmp_path / "egress.toml"
    file = PolicyFile(path, rules.load, print)
    with pytest.raises(SettingsError, match="cannot be read"):
        file.load()
    path.write_text("mode = 1")
    with pytest.raises(SettingsError, match="mode: expected"):
        file.load()


async def test_the_file_is_looked_at_until_the_watch_is_cancelled(world: World) -> None:
    watching = asyncio.create_task(world.file.watch(0.001))
    world.write(STOP)
    async with asyncio.timeout(10):
        await world.changed.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
