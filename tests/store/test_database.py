"""Databases of earlier layouts open, with all that is in them, and are brought up to date."""

from __future__ import annotations

import shutil
import sqlite3
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.kept import ACCOUNT, REGION, machine, with_versions
from tests.store.test_access import remnants, sealed

from stepout.aws.connections import ApiKeyAuth, BasicAuth, OAuthAuth
from stepout.errors import StoreError
from stepout.store.access import check, rotate
from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import KEY_FILE
from stepout.store.records import KeptMachine
from stepout.store.sqlite import open_sqlite
from stepout.store.vault import Key, Vault, key_id_of

SCHEMA_1 = Path(__file__).parent / "schema_1"
"""Written by the code of schema 1: a machine, four connections and one that was removed."""

SCHEMA_2 = Path(__file__).parent / "schema_2"
"""Written by the code of schema 2: a machine, one that was updated, one that was removed and a
connection."""

NEWEST = 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return copied(SCHEMA_1, tmp_path / "data")


def copied(written: Path, directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    for name in (DATABASE_FILE, KEY_FILE):
        shutil.copyfile(written / name, directory / name)
        (directory / name).chmod(0o600)
    return directory


def version(directory: Path) -> int:
    db = sqlite3.connect(directory / DATABASE_FILE)
    (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(found)


async def test_a_database_of_schema_1_opens_with_all_its_secrets(data: Path) -> None:
    for _ in range(2):
        store = await open_sqlite(data)
        assert await store.machines.list(REGION, ACCOUNT) == [machine("m")]
        found = {item.name: item for item in await store.connections.all()}
        await store.close()
        assert list(found) == ["key", "basic", "oauth", "none"]
        assert found["none"].credential is None
        key, basic, oauth = (found[name].credential for name in ("key", "basic", "oauth"))
        assert key is not None
        assert isinstance(key.auth, ApiKeyAuth)
        assert key.auth.value.reveal() == "old-api-key"
        assert key.invocation is not None
        assert key.invocation.body[0].value.reveal() == "old-pin"
        assert basic is not None
        assert isinstance(basic.auth, BasicAuth)
        assert basic.auth.password.reveal() == "old-password"
        assert oauth is not None
        assert isinstance(oauth.auth, OAuthAuth)
        assert oauth.auth.client_secret.reveal() == "old-client-secret-é"
        assert version(data) == NEWEST


async def test_its_secrets_are_sealed_anew_and_nothing_is_left_of_the_old(data: Path) -> None:
    old = sealed(data)
    assert remnants(data, old) > 0
    key = Key((data / KEY_FILE).read_bytes())
    await (await open_sqlite(data)).close()
    assert [key_id_of(text) for text in sealed(data)] == [key.id] * 3
    assert remnants(data, old) == 0


async def test_its_key_can_be_elsewhere_by_now(data: Path) -> None:
    secret = b64encode((data / KEY_FILE).read_bytes()).decode()
    (data / KEY_FILE).unlink()
    store = await open_sqlite(data, "env:K", {"K": secret})
    assert len(await store.connections.all()) == 4
    await store.close()
    assert not (data / KEY_FILE).exists()


async def test_with_another_key_it_stays_as_it_is(data: Path) -> None:
    before = (data / DATABASE_FILE).read_bytes()
    environ = {"K": b64encode(Key.make().reveal()).decode()}
    with pytest.raises(StoreError, match="connection/key/u version 2 .* is sealed with another"):
        await open_sqlite(data, "env:K", environ)
    assert version(data) == 1
    assert (data / DATABASE_FILE).read_bytes() == before
    await (await open_sqlite(data)).close()


async def test_without_its_key_it_stays_as_it_is(data: Path) -> None:
    (data / KEY_FILE).unlink()
    with pytest.raises(StoreError, match="secret.key is missing, and .* holds secrets"):
        await open_sqlite(data)
    assert version(data) == 1
    assert not (data / KEY_FILE).exists()


async def test_a_check_leaves_the_schema_alone_and_a_rotation_does_not(data: Path) -> None:
    assert (await check(data, None, {})).secrets == 3
    assert version(data) == 1
    assert (await rotate(data, None, None, {})).secrets == 3
    assert version(data) == NEWEST


# --- Sealing --------------------------------------------------------------------------------------


def test_a_sealed_text_opens_for_its_owner_only() -> None:
    vault = Vault(Key.make())
    sealed_text = vault.seal(b"sesame", "a")
    assert vault.unseal(sealed_text, "a") == b"sesame"
    with pytest.raises(StoreError, match="of b cannot be opened .* changed or damaged"):
        vault.unseal(sealed_text, "b")


def test_two_sealings_of_one_text_have_nothing_in_common_but_the_key_s_id() -> None:
    vault = Vault(Key.make())
    one, other = vault.seal(b"sesame" * 10, "a"), vault.seal(b"sesame" * 10, "a")
    assert one[:9] == other[:9] == b"\x02" + bytes.fromhex(vault.key.id)
    assert one[9:21] != other[9:21]
    assert one[21:] != other[21:]


def test_a_text_of_another_key_names_it() -> None:
    mine, theirs = Vault(Key.make()), Vault(Key.make())
    with pytest.raises(StoreError, match=f"the key {theirs.key.id}, not with {mine.key.id}"):
        mine.unseal(theirs.seal(b"sesame", "a"), "a")


def test_any_changed_bit_is_seen() -> None:
    vault = Vault(Key.make())
    text = vault.seal(b"sesame", "a")
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        with pytest.raises(StoreError):
            vault.unseal(changed, "a")
    for length in range(len(text)):
        with pytest.raises(StoreError):
            vault.unseal(text[:length], "a")


async def test_a_database_of_schema_2_opens_and_takes_versions_and_aliases(tmp_path: Path) -> None:
    data = copied(SCHEMA_2, tmp_path / "data")
    updated = replace(
        machine("updated"), revision_id="0b7c9d3e-5c0c-4f0e-9c1a-000000000002", updated=7
    )
    store = await open_sqlite(data)
    assert await store.machines.list(REGION, ACCOUNT) == [machine("m"), updated]
    assert await store.machines.kept(updated.arn) == KeptMachine(updated)
    assert [item.name for item in await store.connections.all()] == ["key"]
    await store.machines.change(updated.arn, lambda _old: with_versions(updated))
    await store.close()
    again = await open_sqlite(data)
    assert await again.machines.kept(updated.arn) == with_versions(updated)
    await again.close()
    assert version(data) == NEWEST


async def test_a_database_that_cannot_be_brought_up_to_date_stays_as_it_is(tmp_path: Path) -> None:
    data = copied(SCHEMA_2, tmp_path / "data")
    db = sqlite3.connect(data / DATABASE_FILE)
    db.execute("CREATE TABLE alias (x)")
    db.close()
    with pytest.raises(StoreError, match="table alias already exists"):
        await open_sqlite(data)
    assert version(data) == 2
    db = sqlite3.connect(data / DATABASE_FILE)
    assert db.execute("SELECT name FROM sqlite_schema WHERE name = 'version'").fetchall() == []
    db.close()
