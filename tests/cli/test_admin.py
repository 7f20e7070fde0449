"""`stepout admin`: certificates for a development server, and the key of a data directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.store.kept import SESAME, connection

from stepout.store.directory import DATABASE_FILE
from stepout.store.keys import KEY_FILE
from stepout.store.sqlite import open_sqlite
from stepout.store.vault import Key


def admin(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command, in a process, as it closes its memory to others."""
    return subprocess.run(
        [sys.executable, "-m", "stepout.cli", "admin", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environ},
    )


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- ca -------------------------------------------------------------------------------------------


def test_ca_makes_a_certificate_for_this_machine_and_says_how_to_use_it(tmp_path: Path) -> None:
    directory = tmp_path / "my ca"
    done = admin("ca", "--dir", str(directory))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"certificate  {directory}/server.pem (new)" in lines
    assert "names        localhost, 127.0.0.1, ::1" in lines
    assert (
        f"stepout serve --tls-cert '{directory}/server.pem' --tls-key '{directory}/server-key.pem'"
        in lines
    )
    assert f"export AWS_CA_BUNDLE='{directory}/ca.pem' " in done.stdout
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    assert (directory / "server-key.pem").stat().st_mode & 0o777 == 0o600


def test_ca_is_for_the_names_that_are_given_and_those_of_a_region(tmp_path: Path) -> None:
    call = ("ca", "--dir", str(tmp_path), "box.example", "--region", "cn-north-1", "--json")
    first = told(admin(*call))
    assert first["names"] == [
        "box.example",
        "states.cn-north-1.amazonaws.com.cn",
        "sync-states.cn-north-1.amazonaws.com.cn",
        "events.cn-north-1.amazonaws.com.cn",
    ]
    assert first["is_new"] is True
    assert told(admin(*call)) == {**first, "is_new": False}
    more = told(admin("ca", "--dir", str(tmp_path), "10.0.0.1", "--json"))
    assert more["names"] == ["10.0.0.1"]
    assert more["is_new"] is True
    assert {Path(more[name]).parent for name in ("ca", "certificate", "key")} == {tmp_path}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ca"], "Missing option '--dir'"),
        (["ca", "--dir", "DIR", "https://a.example/"], "Expected a DNS name"),
        (["ca", "--dir", "SHARED"], "writable by nobody else"),
        (["secrets", "check"], "Name the data directory by --data."),
        (["secrets", "check", "--data", "DIR", "--secret-key-source", "sesame="], "Expected file:"),
        (["secrets", "rotate", "--data", "DIR"], "There is no store in"),
    ],
)
def test_what_cannot_work_is_told_without_a_trace(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    places = {"DIR": str(tmp_path), "SHARED": str(shared)}
    done = admin(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == (1 if "rotate" in arguments else 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr


# --- secrets --------------------------------------------------------------------------------------


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    store = await open_sqlite(directory)
    await store.connections.add(connection("a"))
    await store.connections.add(connection("b"))
    await store.close()
    return directory


def test_secrets_are_checked_and_sealed_anew(data: Path) -> None:
    old = Key((data / KEY_FILE).read_bytes()).id
    call = ("--data", str(data))
    assert admin("secrets", "check", *call).stdout == (
        f"2 of 2 secrets open with the key {old} of the key file {data / KEY_FILE}.\n"
    )
    done = told(admin("secrets", "rotate", *call, "--json"))
    new = Key((data / KEY_FILE).read_bytes()).id
    assert done == {
        "secrets": 2,
        "old_key": old,
        "new_key": new,
        "source": f"the key file {data / KEY_FILE}",
        "left": None,
    }
    assert told(admin("secrets", "check", *call, "--json")) == {
        "secrets": 2,
        "key": new,
        "source": f"the key file {data / KEY_FILE}",
        "damaged": [],
    }


def test_the_settings_of_the_server_are_those_of_the_command(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.key"
    moved = admin(
        "secrets", "rotate", "--new-key-source", f"file:{elsewhere}", STEPOUT_DATA=str(data)
    )
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.startswith("2 secrets sealed anew with the key ")
    assert f"Its file {data / KEY_FILE} is left" in moved.stdout
    settings = tmp_path / "my.toml"
    settings.write_text(f'[server]\ndata = "{data}"\nsecret_key_source = "file:{elsewhere}"\n')
    checked = told(admin("secrets", "check", "--config", str(settings), "--json"))
    assert checked["source"] == f"the key file {elsewhere}"
    key = b64encode(elsewhere.read_bytes()).decode()
    by_variable = admin(
        "secrets", "check", "--data", str(data), "--secret-key-source", "env:MY_KEY", MY_KEY=key
    )
    assert by_variable.stdout.endswith("of the variable MY_KEY.\n")


async def test_a_check_that_finds_damage_ends_with_1_and_shows_no_secret(data: Path) -> None:
    import sqlite3

    db = sqlite3.connect(data / DATABASE_FILE)
    db.execute("UPDATE connection SET sealed = zeroblob(60) WHERE position = 2")
    db.commit()
    db.close()
    done = admin("secrets", "check", "--data", str(data))
    assert done.returncode == 1
    assert done.stdout.startswith("1 of 2 secrets open with the key ")
    assert "connection/b/u" in done.stdout
    assert SESAME not in done.stdout + done.stderr


async def test_secrets_of_a_running_server_are_left_alone(data: Path) -> None:
    store = await open_sqlite(data)
    done = admin("secrets", "rotate", "--data", str(data))
    await store.close()
    assert done.returncode == 1
    assert "is in use by another server" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_secret_is_one_and_none_are_none(tmp_path: Path) -> None:
    from stepout.cli import admin as module
    from stepout.store.access import Checked

    assert module._count(1) == "1 secret"
    found = Checked(0, None, "the key file k", ())
    assert module._checked(found) == "No secrets, and no key yet: the key file k is missing."
