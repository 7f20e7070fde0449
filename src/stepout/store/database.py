"""The SQLite file: its one writer thread, its lock, its schema, and the sealed texts in it.

A change is on the disk when it is answered (`synchronous=FULL`). One process at a time has the
file, by an exclusive lock that ends with the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from stepout.errors import StoreError
from stepout.store.directory import DATABASE_FILE, prepare
from stepout.store.vault import Vault

__all__ = ["Database", "Sealed", "owner_of"]

_log = logging.getLogger("stepout.store")

_VERSION: Final = 3
"""`user_version` of the schema below."""

_SCHEMA: Final = """
CREATE TABLE machine (
    position INTEGER PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
) STRICT;
CREATE TABLE connection (
    position INTEGER PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    sealed BLOB
) STRICT;
"""

_SCHEMA_2: Final = "CREATE TABLE residue (since INTEGER PRIMARY KEY) STRICT;"
"""A row: what was sealed before may still be in the file's free space; `purge` is due."""

_SCHEMA_3: Final = (
    """CREATE TABLE version (
        position INTEGER PRIMARY KEY,
        machine TEXT NOT NULL,
        number INTEGER NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (machine, number)
    ) STRICT""",
    """CREATE TABLE alias (
        position INTEGER PRIMARY KEY,
        machine TEXT NOT NULL,
        name TEXT NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (machine, name)
    ) STRICT""",
)
"""Versions and aliases belong to the machine whose ARN they have."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed text of the database, and what it belongs to."""

    arn: str
    owner: str
    text: bytes


class Database:
    """The store's file. What is no coroutine runs in the writer thread, by `run`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stepout-sqlite")
        self._db: sqlite3.Connection | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in the writer thread; raises `StoreError`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The store in {self.directory} failed: {error}.") from error

    async def execute(self, statement: str, *values: object) -> None:
        """One change."""
        await self.execute_all([(statement, values)])

    async def execute_all(self, changes: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """Several changes, statements with their values: all of them or none."""
        if self._db is None:
            raise StoreError(f"The store in {self.directory} is closed.")

        def work() -> None:
            with self._transaction():
                for statement, values in changes:
                    self.db.execute(statement, values)

        await self.run(work)

    async def close(self) -> None:
        """Give the file back; a second time it does nothing."""
        if self._db is not None:
            db, self._db = self._db, None
            await self.run(db.close)
        self._thread.shutdown(wait=False)

    @property
    def db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"The store in {self.directory} is closed.")
        return self._db

    @property
    def version(self) -> int:
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        return int(version)

    # --- Opening ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open and lock the file, made where it is not there; `migrate` comes next."""
        prepare(self.directory)
        path = self.directory / DATABASE_FILE
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self._lock()
        if self.version > _VERSION:
            raise StoreError(
                f"The store in {self.directory} was written by a newer stepout: expected schema "
                f"{_VERSION} or older, found {self.version}."
            )
        if self.version == 0:
            schemas = f"{_SCHEMA} {_SCHEMA_2} {'; '.join(_SCHEMA_3)}"
            self.db.executescript(f"BEGIN; {schemas}; PRAGMA user_version = {_VERSION}; COMMIT;")

    def _lock(self) -> None:
        db = self.db
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # What is removed is overwritten.
            db.execute("PRAGMA secure_delete = ON")
            # The lock is taken by the first transaction, and kept.
            db.execute("BEGIN EXCLUSIVE")
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"The data directory {self.directory} is in use by another server, or cannot be "
                f"locked: {error}."
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"The file {self.directory / DATABASE_FILE} is not a store: {error}."
            ) from None

    def migrate(self, vault: Vault) -> None:
        """Bring an older schema up to date; raises `StoreError`, and then nothing has changed."""
        version = self.version
        if version == _VERSION:
            return
        with self._transaction():
            if version < 2:
                self._seal_all(vault.unseal_1, vault)
                self.db.execute(_SCHEMA_2)
                self._owe_purge()
            if version < 3:
                for statement in _SCHEMA_3:
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA user_version = {_VERSION}")

    # --- Sealed texts -----------------------------------------------------------------------------

    def sealed(self) -> list[Sealed]:
        """All sealed texts, in the order of their connections' creation."""
        rows = self.db.execute(
            "SELECT arn, record, sealed FROM connection WHERE sealed IS NOT NULL ORDER BY position"
        )
        return [Sealed(arn, owner_of(json.loads(record)), text) for arn, record, text in rows]

    def reseal(self, old: Vault, new: Vault) -> int:
        """Seal all secrets with another key, all or none; answers how many there are."""
        with self._transaction():
            count = self._seal_all(old.unseal, new)
            self._owe_purge()
        return count

    def purge(self) -> None:
        """Leave nothing in the file that is no longer valid, where that is owed.

        Sealed texts that were replaced stay in free pages and in the log until both are written
        anew. A purge that fails is made up for when the store is opened again.
        """
        if not self.db.execute("SELECT 1 FROM residue LIMIT 1").fetchone():
            return
        try:
            self.db.execute("VACUUM")
            busy, *_ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                self.db.execute("DELETE FROM residue")
        except sqlite3.Error as error:
            _log.warning(
                "purge failed",
                extra={"fields": {"directory": self.directory, "reason": error}},
            )

    def _seal_all(self, unseal: Callable[[bytes, str], bytes], vault: Vault) -> int:
        rows = self.sealed()
        for row in rows:
            text = vault.seal(unseal(row.text, row.owner), row.owner)
            self.db.execute("UPDATE connection SET sealed = ? WHERE arn = ?", (text, row.arn))
        return len(rows)

    def _owe_purge(self) -> None:
        self.db.execute("INSERT OR REPLACE INTO residue VALUES (unixepoch())")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


def owner_of(record: dict[str, Any]) -> str:
    """What the secret of a connection's record is bound to."""
    return f"{record['arn']} version {record['secret_version']}"
