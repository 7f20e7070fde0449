"""Where the key of the secrets is: in a file, in an environment variable, or what a command says.

A file must be this user's, and readable by nobody else. A variable is taken out of the environment
when it is read, so that no program that the server starts has it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import stat
import subprocess
import tempfile
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from stepout.errors import StoreError
from stepout.store.vault import KEY_BYTES, Key

__all__ = ["KEY_FILE", "CommandKey", "Environ", "FileKey", "KeySource", "VariableKey", "key_source"]

KEY_FILE: Final = "secret.key"
"""The file in a data directory where no other source is named."""

COMMAND_SECONDS: Final = 30.0
"""For a command; ours. Services of keys answer in a second, a person types a passphrase."""

MAX_OUTPUT: Final = 65_536
"""Bytes of a command's output and of its errors, and of a key's file."""

MAX_SHOWN: Final = 2_000
"""Characters of a failed command's errors that are shown."""

Environ: TypeAlias = MutableMapping[str, str]


class KeySource(Protocol):
    """Its text says in messages where the key is."""

    def __str__(self) -> str: ...

    async def read(self, environ: Environ) -> Key | None:
        """The key, or None where its file is missing; raises `StoreError`."""


def key_source(text: str | None, directory: Path) -> KeySource:
    """The source that a setting names, `file:…`, `env:…` or `command:…`; a directory's own file
    where it names none."""
    if text is None:
        return FileKey(directory / KEY_FILE, is_own=True)
    kind, _, name = text.partition(":")
    if kind not in _SOURCES or not name.strip():
        raise StoreError(
            "Expected where the key is as file:PATH, env:NAME or command:PROGRAM ARGUMENT…, found "
            "something else."
        )
    return _SOURCES[kind](name)


# --- A file ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileKey:
    """A file of 32 bytes, or of their base64; a store's own is made where it is missing."""

    path: Path
    is_own: bool = False

    def __str__(self) -> str:
        return f"the key file {self.path}"

    @property
    def draft(self) -> Path:
        """Where a new key waits until the secrets are sealed with it."""
        real = self.path.resolve()
        return real.with_name(f"{real.name}.new")

    async def read(self, environ: Environ) -> Key | None:
        del environ
        return self.read_now()

    def read_now(self) -> Key | None:
        """As `read`."""
        return _read(self.path)

    def read_draft(self) -> Key | None:
        return _read(self.draft)

    def make(self) -> Key:
        """A new key in the file, on the disk when this returns; raises where there is a file."""
        if self.path.exists():
            raise FileExistsError(f"The key file {self.path} is there already")
        key = Key.make()
        _written(self.path, key).replace(self.path)
        _sync_directory(self.path)
        return key

    def make_draft(self) -> Key:
        """A new key that waits beside the file.

        One that waits there already was never used: who has opened the store has settled it.
        """
        key = Key.make()
        _written(self.draft, key).replace(self.draft)
        _sync_directory(self.draft)
        return key

    def settle(self) -> None:
        """Put the new key into the place of the old one."""
        self.draft.replace(self.path.resolve())
        _sync_directory(self.draft)


def _read(path: Path) -> Key | None:
    try:
        # A pipe in the file's place must not hold the server up.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            _refuse_open(path, os.fstat(handle))
            found = os.read(handle, MAX_OUTPUT)
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"The key file {path} cannot be read: {error}.") from None
    return parse_key(found, f"the key file {path}")


def _refuse_open(path: Path, status: os.stat_result) -> None:
    """Refuse a file that others have, or may have changed."""
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"Expected the key file {path} to be a file, found something else.")
    # Windows has no such modes.
    if os.name != "posix":
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"Expected the key file {path} to belong to this user ({os.geteuid()}), found the user "
            f"{status.st_uid}. Run as that user, or give the key by env:NAME or command:…."
        )
    if mode & 0o077:
        raise StoreError(
            f"Expected the key file {path} to be readable by its user only (mode 0600), found mode "
            f"{mode:04o}: others may have the key. Do chmod 600 on it, and make a new key with "
            "stepout admin secrets rotate."
        )


def _written(path: Path, key: Key) -> Path:
    """A file with a key that is to go to a path, on the disk, for this user only."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key.reveal())
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _sync_directory(path: Path) -> None:
    """A file's name is on the disk when its directory is."""
    if os.name != "posix":
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- A variable -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VariableKey:
    """An environment variable with the base64 of 32 bytes."""

    name: str

    def __str__(self) -> str:
        return f"the variable {self.name}"

    async def read(self, environ: Environ) -> Key | None:
        text = environ.pop(self.name, None)
        if text is None:
            raise StoreError(f"Expected the key of the secrets in {self}, which is not set.")
        return parse_key(text.encode("utf-8", "surrogateescape"), str(self))


# --- A command ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandKey:
    """A program, without a shell, that writes the key to its standard output."""

    arguments: Sequence[str]
    seconds: float = COMMAND_SECONDS

    def __str__(self) -> str:
        # Arguments may be secret themselves.
        return f"the command {self.arguments[0]}"

    async def read(self, environ: Environ) -> Key | None:
        try:
            # A session of its own, so that what it starts ends with it.
            process = await asyncio.create_subprocess_exec(
                *self.arguments,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise StoreError(f"The key cannot be had: {self} does not start: {error}.") from None
        try:
            async with asyncio.timeout(self.seconds):
                output, errors = await asyncio.gather(
                    _bounded(process.stdout), _bounded(process.stderr)
                )
                status = await process.wait()
        except BaseException as error:
            await _end(process)
            if isinstance(error, TimeoutError):
                raise StoreError(
                    f"The key cannot be had: {self} did not end in {self.seconds:g} seconds."
                ) from None
            raise
        if status != 0:
            shown = _printable(errors) or "It wrote nothing to its standard error."
            raise StoreError(
                f"The key cannot be had: {self} ended with the status {status}. {shown}"
            )
        return parse_key(output, f"the output of {self}")


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    """What a program writes; beyond the limit it is read and dropped."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(MAX_OUTPUT)):
        kept += chunk[: MAX_OUTPUT - len(kept)]
    return bytes(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and what it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()


def _printable(errors: bytes) -> str:
    """A program's errors on one line, without what would steer a terminal."""
    words = errors.decode("utf-8", "replace").split()
    text = " ".join(words)[:MAX_SHOWN]
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _arguments(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise StoreError(
            f"Expected a program and its arguments as a shell would take them apart: {error}."
        ) from None


# --- What was read --------------------------------------------------------------------------------


def parse_key(found: bytes, where: str) -> Key:
    """A key from 32 bytes or from their base64; raises `StoreError` without what was found."""
    if len(found) == KEY_BYTES:
        if found.isascii() and found.decode().isprintable():
            raise StoreError(
                f"Expected {KEY_BYTES} random bytes in {where}, found a text: a passphrase is no "
                f"key. {_HOW}"
            )
        return Key(found)
    try:
        decoded = b64decode(b"".join(found.split()).translate(_URL_SAFE), validate=True)
    except Base64Error:
        decoded = b""
    if len(decoded) != KEY_BYTES:
        raise StoreError(
            f"Expected a key of {KEY_BYTES} bytes, or their base64, in {where}, found {len(found)} "
            f"bytes that are neither. {_HOW}"
        )
    return Key(decoded)


_HOW: Final = "This makes one: openssl rand -base64 32."

_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")

_SOURCES: Final[Mapping[str, Callable[[str], KeySource]]] = {
    "file": lambda name: FileKey(Path(name).expanduser()),
    "env": VariableKey,
    "command": lambda line: CommandKey(_arguments(line)),
}
