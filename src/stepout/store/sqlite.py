"""Machines and connections in SQLite: one file, one thread that writes it, memory to read from."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from stepout.aws.connections import Connection, from_secret_json, to_secret_json
from stepout.store.access import unlock
from stepout.store.database import Database, owner_of
from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import Environ, key_source
from stepout.store.memory import MemoryConnections, MemoryMachines
from stepout.store.protocol import Store
from stepout.store.records import MachineRecord
from stepout.store.vault import Vault

__all__ = ["DATABASE_FILE", "open_sqlite"]


async def open_sqlite(
    directory: Path, secret_key_source: str | None = None, environ: Environ | None = None
) -> Store:
    """The store of a data directory, made where it is not there; raises `StoreError`.

    `secret_key_source` says where the key of the secrets is (`file:…`, `env:…`, `command:…`), in
    the directory's own file where it is None; a variable is taken out of `environ`.
    """
    source = key_source(secret_key_source, directory)
    database = Database(directory)
    try:
        await database.run(database.open)
        vault = await unlock(database, source, {} if environ is None else environ)
        tables = _Tables(database, vault)
        machines, connections = await database.run(tables.load)
    except BaseException:
        await database.close()
        raise
    return Store(
        MemoryMachines(machines, tables.save_machine),
        MemoryConnections(connections, tables.save_connection),
        database.close,
    )


class _Tables:
    """Machines and connections as rows; secrets are sealed in a vault."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def load(self) -> tuple[list[MachineRecord], list[Connection]]:
        """All that is kept, the schema brought up to date; runs in the writer thread."""
        database = self._database
        database.migrate(self._vault)
        machines = database.db.execute("SELECT record FROM machine ORDER BY position")
        connections = database.db.execute(
            "SELECT record, sealed FROM connection ORDER BY position"
        ).fetchall()
        read = (
            [_machine(record) for (record,) in machines],
            [_connection(record, sealed, self._vault) for record, sealed in connections],
        )
        database.purge()
        return read

    async def save_machine(self, arn: str, record: MachineRecord | None) -> None:
        if record is None:
            await self._database.execute("DELETE FROM machine WHERE arn = ?", arn)
        else:
            await self._database.execute(
                "INSERT INTO machine (arn, record) VALUES (?, ?) "
                "ON CONFLICT (arn) DO UPDATE SET record = excluded.record",
                arn,
                _written(record),
            )

    async def save_connection(self, arn: str, connection: Connection | None) -> None:
        if connection is None:
            await self._database.execute("DELETE FROM connection WHERE arn = ?", arn)
        else:
            await self._database.execute(
                "INSERT INTO connection (arn, record, sealed) VALUES (?, ?, ?) ON CONFLICT (arn) "
                "DO UPDATE SET record = excluded.record, sealed = excluded.sealed",
                arn,
                _written(connection),
                self._sealed(connection),
            )

    def _sealed(self, connection: Connection) -> bytes | None:
        if connection.credential is None:
            return None
        owner = owner_of({"arn": connection.arn, "secret_version": connection.secret_version})
        return self._vault.seal(to_secret_json(connection.credential), owner)


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
    record = json.loads(text)
    connection = Connection(**record, credential=None)
    if sealed is None:
        return connection
    opened = vault.unseal(sealed, owner_of(record))
    credential = from_secret_json(connection.authorization_type, opened)
    return replace(connection, credential=credential)
