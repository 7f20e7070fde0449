"""Who opens a store has its lock and the key that its secrets are sealed with.

A new key is made in three steps, each of which leaves a store that opens: it is written beside the
old one; all secrets are sealed with it in one transaction; it is put into the old one's place. What
the secrets in the database say tells which of the two files is the key.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stepout.errors import StoreError
from stepout.store.database import Database, Sealed
from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import Environ, FileKey, KeySource, key_source
from stepout.store.vault import Key, Vault, key_id_of

__all__ = ["Checked", "Rotated", "check", "rotate", "unlock"]

_log = logging.getLogger("stepout.store")


async def unlock(database: Database, source: KeySource, environ: Environ) -> Vault:
    """The vault of an open database; raises `StoreError` where the key is lost or another one."""
    sealed = await database.run(database.sealed)
    needed = await database.run(lambda: _keys_of(database, sealed))
    found = await source.read(environ)
    key = await database.run(lambda: _settled(source, found, needed))
    if key is None:
        key = await database.run(lambda: _made(source, database.directory, sealed))
    if needed and key.id not in needed:
        raise StoreError(
            f"The secrets in {database.directory} are sealed with the key {' and '.join(needed)}, "
            f"and {source} has the key {key.id}. Name where the right key is by "
            "--secret-key-source; nothing was changed."
        )
    return Vault(key)


def _keys_of(database: Database, sealed: Sequence[Sealed]) -> list[str]:
    """The ids of the keys of sealed texts; in schema 1 they name none."""
    if database.version < 2:
        return []
    return sorted({found for row in sealed if (found := key_id_of(row.text))})


def _settled(source: KeySource, key: Key | None, needed: Sequence[str]) -> Key | None:
    """The key of a file, after a rotation has been finished that a crash had cut off."""
    if not isinstance(source, FileKey) or not needed or (key is not None and key.id in needed):
        return key
    draft = source.read_draft()
    if draft is None or draft.id not in needed:
        return key
    source.settle()
    _log.warning("key rotation finished", extra={"fields": {"file": source.path, "key": draft.id}})
    return draft


def _made(source: KeySource, directory: Path, sealed: Sequence[Sealed]) -> Key:
    """A new key for a store without secrets, in the file of its own."""
    if isinstance(source, FileKey) and source.is_own and not sealed:
        return source.make()
    if sealed:
        raise StoreError(
            f"{_capital(source)} is missing, and {directory} holds secrets that only it opens. Put "
            "it back, name where it is by --secret-key-source, or start with an empty data "
            "directory."
        )
    raise StoreError(
        f"{_capital(source)} is missing. This makes one: (umask 077; openssl rand -base64 32 > "
        "FILE)."
    )


def _capital(source: KeySource) -> str:
    text = str(source)
    return text[:1].upper() + text[1:]


# --- For those who keep the store -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: how many secrets were sealed anew, and the ids of the two keys."""

    secrets: int
    old_key: str
    new_key: str
    source: str
    left: Path | None
    """A file whose key opens nothing any more, apart from older copies of the database."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; `key` is None where there is no key yet, and nothing sealed."""

    secrets: int
    key: str | None
    source: str
    damaged: tuple[str, ...]
    """Why a secret does not open, each."""


async def rotate(
    directory: Path, source: str | None, new_source: str | None, environ: Environ
) -> Rotated:
    """Seal all secrets of a data directory with a new key; raises `StoreError`.

    The new key is a random one in the place of the old one, or the one of `new_source`; a file
    that is named there and missing is made.
    """
    old = key_source(source, directory)
    async with _opened(directory) as database:
        vault = await unlock(database, old, environ)
        await database.run(lambda: database.migrate(vault))
        if new_source is None:
            new, key = old, await database.run(lambda: _draft(old))
        else:
            new = key_source(new_source, directory)
            key = await _named(database, new, environ)
        if key.id == vault.key.id:
            raise StoreError(f"{_capital(new)} has the key {key.id}, which is the one in use.")
        count = await database.run(lambda: database.reseal(vault, Vault(key)))
        if new is old and isinstance(old, FileKey):
            await database.run(old.settle)
        await database.run(database.purge)
    left = old.path if isinstance(old, FileKey) and new is not old else None
    return Rotated(count, vault.key.id, key.id, str(new), left)


def _draft(source: KeySource) -> Key:
    if not isinstance(source, FileKey):
        raise StoreError(
            f"A new key cannot be put into {source}. Make one there yourself, or elsewhere, and "
            "name it by --new-key-source."
        )
    return source.make_draft()


async def _named(database: Database, source: KeySource, environ: Environ) -> Key:
    key = await source.read(environ)
    if key is None and isinstance(source, FileKey):
        return await database.run(source.make)
    if key is None:
        raise StoreError(f"{_capital(source)} has no key.")
    return key


async def check(directory: Path, source: str | None, environ: Environ) -> Checked:
    """Open all secrets of a data directory; raises `StoreError` where the key is another one."""
    where = key_source(source, directory)
    async with _opened(directory) as database:
        sealed = await database.run(database.sealed)
        if not sealed:
            key = await where.read(environ)
            return Checked(0, None if key is None else key.id, str(where), ())
        vault = await unlock(database, where, environ)
        unseal = (
            vault.unseal if await database.run(lambda: database.version) > 1 else vault.unseal_1
        )
        damaged = tuple(filter(None, (_damage(row, unseal) for row in sealed)))
        return Checked(len(sealed), vault.key.id, str(where), damaged)


def _damage(row: Sealed, unseal: Callable[[bytes, str], bytes]) -> str | None:
    try:
        unseal(row.text, row.owner)
    except StoreError as error:
        return str(error)
    return None


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[Database]:
    """The database of a directory that is there, and that no server has."""
    if not (directory / DATABASE_FILE).exists():
        raise StoreError(f"There is no store in {directory}: {DATABASE_FILE} is missing.")
    database = Database(directory)
    try:
        await database.run(database.open)
        yield database
    finally:
        await database.close()
