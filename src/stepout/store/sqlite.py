"""Machines and connections in SQLite: one file, one thread that writes it, memory to read from.

A change is answered when it is on the disk (`synchronous=FULL`). One server at a time has the file,
by an exclusive lock that ends with the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from stepout.aws.connections import Connection, from_secret_json, to_secret_json
from stepout.errors import StoreError
from stepout.store.memory import MemoryConnections, MemoryMachines
from stepout.store.protocol import Store
from stepout.store.records import MachineRecord
from stepout.store.vault import Vault

__all__ = ["DATABASE_FILE", "open_sqlite"]

DATABASE_FILE: Final = "stepout.db"

_VERSION: Final = 1
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

_T = TypeVar("_T")


async def open_sqlite(directory: Path) -> Store:
    """The store of a data directory, made where it is not there; raises `StoreError`."""
    database = _Database(directory)
    try:
        machines, connections = await database.run(database.open)
    except BaseException:
        await database.close()
        raise
    return Store(
        MemoryMachines(machines, database.save_machine),
        MemoryConnections(connections, database.save_connection),
        database.close,
    )


class _Database:
    """The file, its writer thread, and the vault for its secrets."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stepout-sqlite")
        self._db: sqlite3.Connection | None = None
        self._vault: Vault | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work in the writer thread; raises `StoreError`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The store in {self._directory} failed: {error}.") from error

    async def save_machine(self, arn: str, record: MachineRecord | None) -> None:
        if record is None:
            await self._execute("DELETE FROM machine WHERE arn = ?", arn)
        else:
            await self._execute(
                "INSERT INTO machine (arn, record) VALUES (?, ?) "
                "ON CONFLICT (arn) DO UPDATE SET record = excluded.record",
                arn,
                _written(record),
            )

    async def save_connection(self, arn: str, connection: Connection | None) -> None:
        if connection is None:
            await self._execute("DELETE FROM connection WHERE arn = ?", arn)
        else:
            await self._execute(
                "INSERT INTO connection (arn, record, sealed) VALUES (?, ?, ?) ON CONFLICT (arn) "
                "DO UPDATE SET record = excluded.record, sealed = excluded.sealed",
                arn,
                _written(connection),
                self._sealed(connection),
            )

    async def close(self) -> None:
        """Give the file back; a second time it does nothing."""
        if self._db is not None:
            db, self._db = self._db, None
            await self.run(db.close)
        self._thread.shutdown(wait=False)

    def open(self) -> tuple[list[MachineRecord], list[Connection]]:
        """Open the file and read all of it; runs in the writer thread."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / DATABASE_FILE
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = db = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._lock(db)
        self._migrate(db)
        machines = [
            _machine(record)
            for (record,) in db.execute("SELECT record FROM machine ORDER BY position")
        ]
        rows = db.execute("SELECT record, sealed FROM connection ORDER BY position").fetchall()
        may_create = not any(sealed for _, sealed in rows)
        self._vault = vault = Vault.open(self._directory, may_create=may_create)
        return machines, [_connection(record, sealed, vault) for record, sealed in rows]

    def _lock(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # The lock is taken by the first transaction, and kept.
            db.execute("BEGIN EXCLUSIVE")
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"The data directory {self._directory} is in use by another server, or cannot be "
                f"locked: {error}."
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"The file {self._directory / DATABASE_FILE} is not a store: {error}."
            ) from None

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(
                f"The store in {self._directory} was written by a newer stepout: expected schema "
                f"{_VERSION} or older, found {version}."
            )
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    async def _execute(self, statement: str, *values: object) -> None:
        db = self._db
        if db is None:
            raise StoreError(f"The store in {self._directory} is closed.")
        await self.run(lambda: db.execute(statement, values))

    def _sealed(self, connection: Connection) -> bytes | None:
        if connection.credential is None or self._vault is None:
            return None
        return self._vault.seal(to_secret_json(connection.credential), _owner(connection))


def _owner(connection: Connection) -> str:
    """What a sealed secret belongs to."""
    return f"{connection.arn} version {connection.secret_version}"


def _written(record: MachineRecord | Connection) -> str:
    """A record as JSON, without secrets."""
    members = {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name != "credential"
    }
    return json.dumps(members, ensure_ascii=False)


def _machine(text: str) -> MachineRecord:
    record: dict[str, Any] = json.loads(text)
    tags = tuple((key, value) for key, value in record.pop("tags"))
    return MachineRecord(**record, tags=tags)


def _connection(text: str, sealed: bytes | None, vault: Vault) -> Connection:
    connection = Connection(**json.loads(text), credential=None)
    if sealed is None:
        return connection
    opened = vault.unseal(sealed, _owner(connection))
    credential = from_secret_json(connection.authorization_type, opened)
    return replace(connection, credential=credential)
