"""A rotation seals everything with another key, whatever cuts it off, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.kept import connection

from stepout.errors import StoreError
from stepout.store.access import check, rotate
from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import KEY_FILE, FileKey
from stepout.store.sqlite import open_sqlite
from stepout.store.vault import Key

NAMES = ("a", "b", "c")


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with a few secrets, some of which were changed or removed."""
    directory = tmp_path / "data"
    store = await open_sqlite(directory)
    for name in (*NAMES, "removed"):
        await store.connections.add(connection(name))
    await store.connections.replace(connection("a"), replace(connection("a"), secret_version=2))
    await store.connections.remove(connection("removed").arn)
    await store.close()
    return directory


EXPECTED = [replace(connection("a"), secret_version=2), connection("b"), connection("c")]


async def opens(directory: Path, source: str | None = None) -> bool:
    """Whether all is there; False where the key is another one."""
    try:
        store = await open_sqlite(directory, source)
    except StoreError as error:
        if re.search("are sealed with the key|is missing", str(error)):
            return False
        raise
    assert await store.connections.all() == EXPECTED
    await store.close()
    return True


def sealed(directory: Path) -> list[bytes]:
    db = sqlite3.connect(directory / DATABASE_FILE)
    rows = db.execute("SELECT sealed FROM connection WHERE sealed IS NOT NULL").fetchall()
    db.close()
    return [row[0] for row in rows]


def pieces(texts: Iterable[bytes]) -> set[bytes]:
    """All parts of 12 bytes that lie 4 bytes apart: a remnant of 16 bytes holds one whole.

    What comes before the nonce is the same for all that one key has sealed.
    """
    return {text[at : at + 12] for text in texts for at in range(9, len(text) - 12, 4)}


def remnants(directory: Path, texts: Iterable[bytes]) -> int:
    raw = b"\0".join(path.read_bytes() for path in directory.iterdir() if path.is_file())
    return sum(piece in raw for piece in pieces(texts))


# --- Rotation -------------------------------------------------------------------------------------


async def test_a_new_key_takes_the_place_of_the_old_one(data: Path) -> None:
    before = (data / KEY_FILE).read_bytes()
    done = await rotate(data, None, None, {})
    after = (data / KEY_FILE).read_bytes()
    assert (done.secrets, done.old_key, done.new_key) == (3, Key(before).id, Key(after).id)
    assert before != after
    assert done.left is None
    assert sorted(path.name for path in data.iterdir()) == [KEY_FILE, DATABASE_FILE]
    assert await opens(data)


async def test_nothing_that_was_sealed_before_stays_in_the_files(data: Path) -> None:
    old = sealed(data)
    assert remnants(data, old) == len(pieces(old))
    await rotate(data, None, None, {})
    assert remnants(data, old) == 0
    new = sealed(data)
    assert remnants(data, new) == len(pieces(new))


KILLED_BEFORE_THE_PURGE = """
import asyncio, os, signal, sys
from pathlib import Path
from stepout.store.access import rotate
from stepout.store.database import Database

Database.purge = lambda _: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(rotate(Path(sys.argv[1]), None, None, {}))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="This system has no SIGKILL.")
async def test_what_a_purge_takes_away_is_there_before_it(data: Path) -> None:
    """So the search does find remnants; and a purge that was cut off is made up for at the start."""
    old = sealed(data)
    done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_PURGE, str(data)])
    assert done.returncode == -signal.SIGKILL
    assert remnants(data, old) > 0
    assert await opens(data)
    assert remnants(data, old) == 0


async def test_what_older_databases_left_in_free_pages_goes_too(data: Path) -> None:
    """Before, removed secrets were not overwritten."""
    db = sqlite3.connect(data / DATABASE_FILE)
    db.execute("PRAGMA secure_delete = OFF")
    gone = sealed(data)[2]
    db.execute("DELETE FROM connection WHERE sealed = ?", (gone,))
    db.commit()
    db.close()
    assert remnants(data, [gone]) > 0
    await rotate(data, None, None, {})
    assert remnants(data, [gone]) == 0


async def test_the_key_can_go_elsewhere(data: Path, tmp_path: Path) -> None:
    elsewhere = f"file:{tmp_path / 'new.key'}"
    done = await rotate(data, None, elsewhere, {})
    assert done.left == data / KEY_FILE
    assert done.source == f"the key file {tmp_path / 'new.key'}"
    assert not await opens(data)
    assert await opens(data, elsewhere)
    again = await rotate(data, elsewhere, None, {})
    assert again.old_key == done.new_key != again.new_key
    assert await opens(data, elsewhere)


async def test_a_key_of_one_s_own_can_be_given(data: Path) -> None:
    key = Key.make()
    environ = {"NEW": b64encode(key.reveal()).decode()}
    done = await rotate(data, None, "env:NEW", environ)
    assert done.new_key == key.id
    assert environ == {}
    store = await open_sqlite(data, "env:NEW", {"NEW": b64encode(key.reveal()).decode()})
    assert await store.connections.all() == EXPECTED
    await store.close()


async def test_a_key_that_is_in_no_file_cannot_be_made_anew_there(data: Path) -> None:
    secret = b64encode((data / KEY_FILE).read_bytes()).decode()
    with pytest.raises(StoreError, match="cannot be put into the variable K.*--new-key-source"):
        await rotate(data, "env:K", None, {"K": secret})
    assert await opens(data)


async def test_the_key_in_use_is_no_new_key(data: Path) -> None:
    with pytest.raises(StoreError, match="The key file .* which is the one in use"):
        await rotate(data, None, f"file:{data / KEY_FILE}", {})
    assert await opens(data)


async def test_a_rotation_that_fails_changes_nothing(data: Path) -> None:
    db = sqlite3.connect(data / DATABASE_FILE)
    db.execute("UPDATE connection SET sealed = zeroblob(60) WHERE position = 3")
    db.commit()
    db.close()
    before = sealed(data), (data / KEY_FILE).read_bytes()
    with pytest.raises(StoreError, match="connection/c/u version 1 cannot be opened .* damaged"):
        await rotate(data, None, None, {})
    assert (sealed(data), (data / KEY_FILE).read_bytes()) == before


async def test_a_directory_that_a_server_has_is_left_alone(data: Path) -> None:
    store = await open_sqlite(data)
    before = {path: path.read_bytes() for path in data.iterdir()}
    for use in (rotate(data, None, None, {}), check(data, None, {})):
        with pytest.raises(StoreError, match="is in use by another server"):
            await use
    assert {path: path.read_bytes() for path in data.iterdir()} == before
    await store.close()


async def test_a_directory_without_a_store_gets_none(tmp_path: Path) -> None:
    for use in (rotate(tmp_path, None, None, {}), check(tmp_path, None, {})):
        with pytest.raises(StoreError, match="There is no store in .*stepout.db is missing"):
            await use
    assert list(tmp_path.iterdir()) == []


# --- Crashes --------------------------------------------------------------------------------------

CRASHES = """
import asyncio, os, shutil, signal, sys, threading
from pathlib import Path
from stepout.store import access, keys, database

template, out, new = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None
FILES = {access.__file__, keys.__file__, database.__file__}

def killed_at(number, directory):
    passed = 0
    def trace(frame, event, _):
        nonlocal passed
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            passed += 1
            if passed == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    threading.settrace(trace)
    sys.settrace(trace)
    named = new and new.replace("DIR", str(directory))
    asyncio.run(access.rotate(directory / "data", None, named, {}))

number, status = 0, 1
while status:
    number += 1
    directory = out / str(number)
    shutil.copytree(template, directory / "data")
    pid = os.fork()
    if pid == 0:
        killed_at(number, directory)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), status
print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="This system has no fork.")
@pytest.mark.parametrize("new", ["", "file:DIR/new.key"])
async def test_a_rotation_that_is_killed_at_any_line_leaves_a_store_that_opens(
    data: Path, tmp_path: Path, new: str
) -> None:
    out = tmp_path / "out"
    old = sealed(data)
    command = [sys.executable, "-c", CRASHES, str(data), str(out), new]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = int(done.stdout)
    assert lines > 150
    opened = {True: 0, False: 0}
    for number in range(1, lines + 1):
        directory = out / str(number)
        named = new.replace("DIR", str(directory)) or None
        with_old_source = await opens(directory / "data")
        source = None if with_old_source else named
        opened[with_old_source] += 1
        assert with_old_source or await opens(directory / "data", source), number
        if sealed(directory / "data") != old:
            assert remnants(directory / "data", old) == 0, number
        if number % 5 == 0:
            assert (await rotate(directory / "data", source, None, {})).secrets == 3
            assert await opens(directory / "data", source)
    assert opened[True] > 50
    assert opened[False] > 20 or not new


async def test_a_rotation_that_was_cut_off_before_its_last_step_is_finished_by_who_comes_next(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_: FileKey) -> None:
        raise OSError("cut off")

    monkeypatch.setattr(FileKey, "settle", cut_off)
    with pytest.raises(StoreError, match="cut off"):
        await rotate(data, None, None, {})
    monkeypatch.undo()
    new = (data / f"{KEY_FILE}.new").read_bytes()
    assert await opens(data)
    assert (data / KEY_FILE).read_bytes() == new
    assert not (data / f"{KEY_FILE}.new").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="This system has no SIGKILL.")
async def test_the_command_can_be_killed_while_it_seals(data: Path) -> None:
    """The real process, many secrets, killed when its first sealed text is in the log."""
    store = await open_sqlite(data)
    for number in range(300):
        await store.connections.add(connection(f"more-{number}"))
    await store.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepout.cli", "admin", "secrets", "rotate", "--data", str(data)],
        stdout=subprocess.DEVNULL,
    )
    while not (data / f"{KEY_FILE}.new").exists() and process.poll() is None:
        """Until it has begun."""
    process.kill()
    process.wait()
    found = await check(data, None, {})
    assert (found.secrets, found.damaged) == (303, ())


# --- Checking -------------------------------------------------------------------------------------


async def test_a_check_counts_and_names_the_key(data: Path) -> None:
    found = await check(data, None, {})
    assert found.secrets == 3
    assert found.key == Key((data / KEY_FILE).read_bytes()).id
    assert found.source == f"the key file {data / KEY_FILE}"
    assert found.damaged == ()


async def test_a_check_tells_every_row_that_does_not_open(data: Path) -> None:
    db = sqlite3.connect(data / DATABASE_FILE)
    db.execute("UPDATE connection SET sealed = zeroblob(60) WHERE position = 2")
    db.execute(
        "UPDATE connection SET sealed = (SELECT sealed FROM connection WHERE position = 1) "
        "WHERE position = 3"
    )
    db.commit()
    db.close()
    found = await check(data, None, {})
    assert found.secrets == 3
    assert [text.split()[3].split("/")[-2] for text in found.damaged] == ["b", "c"]
    assert all("was changed or damaged" in text for text in found.damaged)


async def test_a_check_of_a_wrong_key_says_which_is_needed(data: Path) -> None:
    right = Key((data / KEY_FILE).read_bytes()).id
    (data / KEY_FILE).unlink()
    wrong = FileKey(data / KEY_FILE).make().id
    with pytest.raises(StoreError, match=f"with the key {right}, and the key file .* key {wrong}"):
        await check(data, None, {})


async def test_a_check_of_a_store_without_secrets_makes_no_key(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path)).close()
    (tmp_path / KEY_FILE).unlink()
    found = await check(tmp_path, None, {})
    assert (found.secrets, found.key) == (0, None)
    assert not (tmp_path / KEY_FILE).exists()
