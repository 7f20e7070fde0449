"""The key comes from a file that is its user's alone, a variable that is taken away, or a command."""

from __future__ import annotations

import asyncio
import os
import pickle
import stat
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepout.errors import StoreError
from stepout.store.keys import CommandKey, FileKey, VariableKey, key_source, parse_key
from stepout.store.vault import Key

SECRET = bytes(range(100, 132))
KEY = Key(SECRET)
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes.")


# --- What a key looks like ------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32).filter(lambda key: not key.isascii()))
def test_a_key_is_read_from_its_bytes_and_from_its_base64(secret: bytes) -> None:
    for text in (secret, b64encode(secret), urlsafe_b64encode(secret) + b"\n"):
        assert parse_key(text, "here").reveal() == secret


@pytest.mark.parametrize(
    "found",
    [
        b"",
        SECRET[:-1],
        SECRET + b"\n",
        SECRET.hex().encode(),
        b64encode(SECRET[:-1]),
        b64encode(SECRET)[:-2],
        b"not base64 at all!",
        "ключ".encode(),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(found: bytes) -> None:
    with pytest.raises(StoreError, match=f"found {len(found)} bytes that are neither") as caught:
        parse_key(found, "here")
    assert found == b"" or found.decode("latin-1") not in str(caught.value)


def test_a_passphrase_of_the_right_length_is_no_key() -> None:
    with pytest.raises(StoreError, match="a passphrase is no key") as caught:
        parse_key(b"correct horse battery staple 123", "here")
    assert "horse" not in str(caught.value)


def test_a_key_hides_itself_and_has_an_id_that_follows_from_it() -> None:
    assert SECRET.hex() not in f"{KEY!r} {KEY.id}"
    assert repr(KEY) == f"Key({KEY.id})"
    assert Key(SECRET).id == KEY.id != Key.make().id
    for take in (pickle.dumps, Key.__getstate__):
        with pytest.raises(TypeError, match="not copied or pickled"):
            take(KEY)


@pytest.mark.parametrize("text", ["", "file:", "env: ", "file", "vault:x", "Sesame=", "Sesame:x"])
def test_a_source_that_is_none_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError, match="Expected where the key is as file:PATH") as caught:
        key_source(text, Path())
    assert "Sesame" not in str(caught.value)


def test_a_command_line_that_does_not_end_is_refused() -> None:
    with pytest.raises(StoreError, match="as a shell would take them apart: No closing quotation"):
        key_source("command:pass 'show", Path())


# --- A file ---------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere.key"
    path.touch(mode=0o600)
    path.write_bytes(b64encode(SECRET) + b"\n")
    return path


async def test_a_file_holds_the_key(file: Path) -> None:
    found = await key_source(f"file:{file}", Path()).read({})
    assert found is not None
    assert found.id == KEY.id


async def test_a_missing_file_is_no_key(tmp_path: Path) -> None:
    assert await FileKey(tmp_path / "missing").read({}) is None


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
async def test_a_file_that_others_have_any_right_to_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(StoreError, match=f"by its user only .mode 0600., found mode {mode:04o}"):
        await FileKey(file).read({})


@POSIX
async def test_a_file_of_another_user_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(StoreError, match=f"to this user .{owner + 1}., found the user {owner}"):
        await FileKey(file).read({})


@POSIX
async def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path):
        with pytest.raises(StoreError, match="found something else|cannot be read"):
            await FileKey(path).read({})


def test_a_key_that_is_made_is_its_user_s_alone_and_whole(tmp_path: Path) -> None:
    source = FileKey(tmp_path / "k")
    key = source.make()
    assert source.path.read_bytes() == key.reveal()
    assert stat.S_IMODE(source.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    with pytest.raises(FileExistsError):
        source.make()
    assert source.path.read_bytes() == key.reveal()
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


@POSIX
def test_a_new_key_takes_the_place_that_a_link_leads_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    FileKey(real).make()
    link.symlink_to(real)
    source = FileKey(link)
    key = source.make_draft()
    source.settle()
    assert link.is_symlink()
    assert real.read_bytes() == key.reveal()


# --- A variable -----------------------------------------------------------------------------------


async def test_a_variable_is_read_once_and_no_child_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", b64encode(SECRET).decode())
    found = await key_source("env:MY_KEY", Path()).read(os.environ)
    assert found is not None
    assert found.id == KEY.id
    assert "MY_KEY" not in os.environ
    child = [sys.executable, "-c", "import os; print(os.environ.get('MY_KEY'))"]
    assert subprocess.check_output(child, text=True).strip() == "None"


@pytest.mark.parametrize(
    ("environ", "message"),
    [({}, "in the variable K, which is not set"), ({"K": "x"}, "in the variable K, found 1 bytes")],
)
async def test_a_variable_without_a_key_is_told(environ: dict[str, str], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        await VariableKey("K").read(environ)


# --- A command ------------------------------------------------------------------------------------


def python(code: str, *, seconds: float = 20) -> CommandKey:
    return CommandKey((sys.executable, "-c", code), seconds)


async def test_a_command_says_the_key() -> None:
    text = b64encode(SECRET).decode()
    found = await key_source(f"command:{sys.executable} -c \"print('{text}')\"", Path()).read({})
    assert found is not None
    assert found.id == KEY.id


async def test_a_command_has_the_environment_and_no_terminal() -> None:
    code = (
        "import os, sys; assert not sys.stdin.read();"
        "sys.stdout.buffer.write(bytes.fromhex(os.environ['HEX']))"
    )
    found = await python(code).read({"HEX": SECRET.hex()})
    assert found is not None
    assert found.id == KEY.id


async def test_a_failed_command_is_told_by_its_errors_and_not_its_output() -> None:
    code = "import sys; print('the-key'); sys.exit('no\\x1b[31m such\\nentry')"
    with pytest.raises(StoreError, match="ended with the status 1. no.*such entry") as caught:
        await python(code).read({})
    assert "the-key" not in str(caught.value)
    assert "the-key" not in repr(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('the-key')", "in the output of the command .*, found 8 bytes"),
        ("raise SystemExit(3)", "status 3. It wrote nothing to its standard error."),
        ("import sys; sys.stdout.write('A' * 3_000_000)", "found 65536 bytes"),
        ("import sys; sys.exit('e' * 3_000_000)", "status 1. e{2000}$"),
    ],
)
async def test_a_command_without_a_key_is_told(code: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        await python(code).read({})
    assert "the-key" not in str(caught.value)


async def test_a_command_that_is_not_there_is_told_without_its_arguments() -> None:
    with pytest.raises(StoreError, match="the command /nowhere does not start") as caught:
        await CommandKey(("/nowhere", "--token=sesame")).read({})
    assert "sesame" not in str(caught.value)


@POSIX
async def test_a_command_that_takes_too_long_ends_with_what_it_started(tmp_path: Path) -> None:
    """The grandchild holds the pipe; nobody waits for it."""
    note = tmp_path / "pid"
    code = (
        "import os, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(note)!r} + '.new', 'w').write(str(child.pid));"
        f"os.rename({str(note)!r} + '.new', {str(note)!r});"
        "time.sleep(600)"
    )
    reading = asyncio.create_task(python(code, seconds=600).read({}))
    await until(note.exists)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await gone(int(note.read_text()))
    with pytest.raises(StoreError, match="did not end in 0.1 seconds"):
        await python("import time; time.sleep(600)", seconds=0.1).read({})


async def gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    await until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Whoever has to take note of the end may not have done so yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("It did not come about in 10 seconds.")
