"""A value follows its files, and what cannot be loaded changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stepout.api.reload import INTERVAL_SECONDS, Reloading
from stepout.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("one")
    return path


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged since the last call: event and reason."""
    caplog.set_level(logging.INFO, "stepout.reload")

    def told() -> list[str]:
        found = [
            f"{record.getMessage()} {vars(record)['fields']['reason'] or ''}".strip()
            for record in caplog.records
        ]
        caplog.clear()
        return found

    return told


def reading(*paths: Path) -> Reloading[str]:
    def load() -> str:
        text = " ".join(path.read_text() for path in paths)
        if "broken" in text:
            raise SettingsError(f"Expected a whole file, found {text!r}.")
        return text

    return Reloading("text", paths, load)


async def settle(reloading: Reloading[str]) -> bool:
    """The look that sees a change, and the one that takes it."""
    seen = await reloading.check()
    assert not seen
    return await reloading.check()


Lines = Callable[[], list[str]]


async def test_a_change_is_taken_when_it_has_stood_still(file: Path, lines: Lines) -> None:
    text = reading(file)
    assert text.value == "one"
    assert not await text.check()
    file.write_text("two, half")
    assert not await text.check()
    file.write_text("two, whole")
    assert not await text.check()
    assert text.value == "one"
    assert await text.check()
    assert text.value == "two, whole"
    assert not await text.check()
    assert lines() == ["reloaded"]


async def test_what_cannot_be_loaded_is_told_once_and_the_value_stays(
    file: Path, lines: Lines
) -> None:
    text = reading(file)
    file.write_text("broken")
    assert not await settle(text)
    for _ in range(3):
        assert not await text.check()
    assert text.value == "one"
    assert lines() == ["not reloaded Expected a whole file, found 'broken'."]
    file.write_text("mended")
    assert await settle(text)
    assert text.value == "mended"
    assert lines() == ["reloaded"]


async def test_a_file_that_goes_and_comes_back(file: Path, lines: Lines) -> None:
    text = reading(file)
    file.unlink()
    assert not await settle(text)
    assert text.value == "one"
    (told,) = lines()
    assert "No such file or directory" in told
    file.write_text("back")
    assert await settle(text)
    assert text.value == "back"


async def test_a_directory_that_is_swapped_by_its_link_as_kubernetes_does(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "file").symlink_to("..data/file")
    text = reading(tmp_path / "file")
    assert text.value == "first"
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert await settle(text)
    assert text.value == "second"


async def test_a_change_that_keeps_size_and_time_is_seen(file: Path) -> None:
    text = reading(file)
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await settle(text)
    assert text.value == "two"


async def test_of_several_files_any_counts(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.write_text("a")
    other.write_text("b")
    text = reading(one, other)
    other.write_text("changed")
    assert await settle(text)
    assert text.value == "a changed"


@pytest.mark.parametrize("after", ["during", "broken"])
async def test_what_changes_while_it_is_read_is_not_taken(
    file: Path, lines: Lines, after: str
) -> None:
    """The next looks see to it; nothing is told about what was never whole."""

    def load() -> str:
        text = file.read_text()
        if text == "before":
            file.write_text(after)
            if after == "broken":
                raise SettingsError("Half of it.")
        return text

    text = Reloading("text", [file], load)
    file.write_text("before")
    assert not await settle(text)
    assert text.value == "one"
    assert lines() == []
    assert await settle(text)
    assert text.value == after


async def test_a_loader_runs_in_a_thread_and_its_faults_are_named_without_their_text(
    file: Path, lines: Lines
) -> None:
    threads: list[str] = []

    def load() -> str:
        threads.append(threading.current_thread().name)
        if len(threads) > 1:
            raise ValueError("the secret is sesame")
        return ""

    text = Reloading("text", [file], load)
    file.write_text("two")
    assert not await settle(text)
    assert threads[0] == threading.main_thread().name != threads[1]
    assert lines() == ["not reloaded ValueError"]


def test_at_first_a_fault_is_the_caller_s(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reading(tmp_path / "missing")


async def test_it_looks_again_and_again_until_it_is_closed(file: Path) -> None:
    sleeping: asyncio.Queue[float] = asyncio.Queue()
    waking: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        sleeping.put_nowait(seconds)
        await waking.get()

    text = Reloading("text", [file], file.read_text, sleep=sleep)
    text.start()
    file.write_text("two")
    for value in ("one", "one", "two"):
        assert await sleeping.get() == INTERVAL_SECONDS
        assert text.value == value
        waking.put_nowait(None)
    await text.close()
    assert text.value == "two"


async def test_one_that_was_never_started_can_be_closed(file: Path) -> None:
    await reading(file).close()
