"""Machines and connections in SQLite: one file, one thread that writes it, memory to read from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from stepout.aws.connections import Connection, from_secret_json, to_secret_json
from stepout.store.access import unlock
from stepout.store.database import Database, owner_of
from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import Environ, key_source
from stepout.store.memory import MemoryConnections, MemoryMachines
from stepout.store.protocol import Store
from stepout.store.records import (
    AliasRecord,
    KeptMachine,
    MachineRecord,
    Route,
    VersionRecord,
)
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


_Change: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement and its values."""

_KEEP: Final = {
    "machine": (
        "INSERT INTO machine (arn, record) VALUES (?, ?) "
        "ON CONFLICT (arn) DO UPDATE SET record = excluded.record"
    ),
    "version": "INSERT INTO version (machine, number, record) VALUES (?, ?, ?)",
    "alias": (
        "INSERT INTO alias (machine, name, record) VALUES (?, ?, ?) "
        "ON CONFLICT (machine, name) DO UPDATE SET record = excluded.record"
    ),
}
_FORGET: Final = {
    "machine": "DELETE FROM machine WHERE arn = ?",
    "version": "DELETE FROM version WHERE machine = ? AND number = ?",
    "alias": "DELETE FROM alias WHERE machine = ? AND name = ?",
}
"""By table, whose key comes first and, where a row is kept, its record last."""


class _Tables:
    """Machines and connections as rows; secrets are sealed in a vault."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def load(self) -> tuple[list[KeptMachine], list[Connection]]:
        """All that is kept, the schema brought up to date; runs in the writer thread."""
        database = self._database
        database.migrate(self._vault)
        connections = database.db.execute(
            "SELECT record, sealed FROM connection ORDER BY position"
        ).fetchall()
        read = (
            self._machines(),
            [_connection(record, sealed, self._vault) for record, sealed in connections],
        )
        database.purge()
        return read

    def _machines(self) -> list[KeptMachine]:
        select = self._database.db.execute
        versions: dict[str, dict[int, VersionRecord]] = {}
        for machine, number, text in select(
            "SELECT machine, number, record FROM version ORDER BY position"
        ):
            versions.setdefault(machine, {})[number] = _version(text)
        aliases: dict[str, dict[str, AliasRecord]] = {}
        for machine, name, text in select(
            "SELECT machine, name, record FROM alias ORDER BY position"
        ):
            aliases.setdefault(machine, {})[name] = _alias(text)
        return [
            KeptMachine(_machine(json.loads(text)), versions.get(arn, {}), aliases.get(arn, {}))
            for arn, text in select("SELECT arn, record FROM machine ORDER BY position")
        ]

    async def save_machine(self, old: KeptMachine | None, new: KeptMachine | None) -> None:
        await self._database.execute_all(list(_changes(old, new)))

    async def save_connection(self, old: Connection | None, new: Connection | None) -> None:
        if new is not None:
            await self._database.execute(
                "INSERT INTO connection (arn, record, sealed) VALUES (?, ?, ?) ON CONFLICT (arn) "
                "DO UPDATE SET record = excluded.record, sealed = excluded.sealed",
                new.arn,
                _written(new),
                self._sealed(new),
            )
        elif old is not None:
            await self._database.execute("DELETE FROM connection WHERE arn = ?", old.arn)

    def _sealed(self, connection: Connection) -> bytes | None:
        if connection.credential is None:
            return None
        owner = owner_of({"arn": connection.arn, "secret_version": connection.secret_version})
        return self._vault.seal(to_secret_json(connection.credential), owner)


def _changes(old: KeptMachine | None, new: KeptMachine | None) -> Iterator[_Change]:
    """What is written when a machine, its versions and its aliases change."""
    before, after = _rows(old), _rows(new)
    for table, key in before.keys() - after.keys():
        yield _FORGET[table], key
    for row, record in after.items():
        if before.get(row) is not record:
            table, key = row
            yield _KEEP[table], (*key, _written(record))


_Record: TypeAlias = MachineRecord | VersionRecord | AliasRecord


def _rows(kept: KeptMachine | None) -> Mapping[tuple[str, tuple[object, ...]], _Record]:
    """Table and key → record, in the order in which they are to be written."""
    if kept is None:
        return {}
    arn = kept.arn
    rows: dict[tuple[str, tuple[object, ...]], _Record] = {("machine", (arn,)): kept.record}
    rows |= {("version", (arn, number)): found for number, found in kept.versions.items()}
    rows |= {("alias", (arn, name)): found for name, found in kept.aliases.items()}
    return rows


def _written(record: _Record | Route | Connection) -> str:
    """A record as JSON, without secrets."""
    return json.dumps(_members(record), ensure_ascii=False, default=_members)


def _members(record: Any) -> dict[str, Any]:
    return {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name != "credential"
    }


def _machine(record: dict[str, Any]) -> MachineRecord:
    tags = tuple((key, value) for key, value in record.pop("tags"))
    return MachineRecord(**record, tags=tags)


def _version(text: str) -> VersionRecord:
    record = json.loads(text)
    return VersionRecord(**{**record, "revision": _machine(record["revision"])})


def _alias(text: str) -> AliasRecord:
    record = json.loads(text)
    routes = tuple(Route(**route) for route in record["routes"])
    return AliasRecord(**{**record, "routes": routes})


def _connection(text: str, sealed: bytes | None, vault: Vault) -> Connection:
    record = json.loads(text)
    connection = Connection(**record, credential=None)
    if sealed is None:
        return connection
    opened = vault.unseal(sealed, owner_of(record))
    credential = from_secret_json(connection.authorization_type, opened)
    return replace(connection, credential=credential)
