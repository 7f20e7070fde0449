"""`stepout admin`: a development authority's certificates, and the secrets of a data directory."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from stepout import config
from stepout.certificates import CERTIFICATE_FILE, Authority, KeptLeaf
from stepout.cli import logs
from stepout.cli.env import hosts
from stepout.errors import SettingsError
from stepout.secret import keep_memory_private
from stepout.store.access import Checked, Rotated, check, rotate

__all__ = ["AUTHORITY", "command"]

AUTHORITY: Final = "stepout development"

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
"""The names of a certificate where none are given."""


@click.group("admin")
def command() -> None:
    """Keep what a server needs: certificates, and the key of its secrets."""


# --- Certificates ---------------------------------------------------------------------------------


@command.command("ca")
@click.argument("names", nargs=-1, metavar="NAME…")
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the certificates are; it is made where it is missing.",
)
@click.option(
    "--region", metavar="REGION", help="Also for the names of AWS's endpoints in a region."
)
@click.option("--json", "as_json", is_flag=True, help="Print paths, names and end.")
def ca(*, names: Sequence[str], directory: Path, region: str | None, as_json: bool) -> None:
    """A development authority, and a certificate of it for `stepout serve`.

    The certificate is for the names and addresses NAME…, or for localhost, 127.0.0.1 and ::1. What
    is there already stays, unless it ends within 30 days or lacks a name; a server that runs takes
    the new certificate by itself.
    """
    wanted = [*(names or LOCAL), *(hosts(region) if region else ())]
    try:
        authority = Authority.kept_in(directory, AUTHORITY, is_shared=False)
        leaf = authority.leaf_kept_in(directory, *wanted)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    found = _certificates(directory, leaf)
    click.echo(json.dumps(found) if as_json else _told(found))


def _certificates(directory: Path, leaf: KeptLeaf) -> dict[str, Any]:
    return {
        "ca": str((directory / CERTIFICATE_FILE).resolve()),
        "certificate": str(leaf.chain.resolve()),
        "key": str(leaf.key.resolve()),
        "names": list(leaf.names),
        "ends": leaf.ends.isoformat(timespec="seconds"),
        "is_new": leaf.is_new,
    }


def _told(found: Mapping[str, Any]) -> str:
    """Where the files are, and how to serve with them and believe them."""
    quoted = {name: shlex.quote(str(found[name])) for name in ("ca", "certificate", "key")}
    believing = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")
    return "\n".join(
        [
            f"authority    {found['ca']}",
            f"certificate  {found['certificate']} ({'new' if found['is_new'] else 'as it was'})",
            f"key          {found['key']}",
            f"names        {', '.join(found['names'])}",
            f"ends         {found['ends']}",
            "",
            "# Serve with it:",
            f"stepout serve --tls-cert {quoted['certificate']} --tls-key {quoted['key']}",
            "# Believe it, for AWS SDKs, Node and curl:",
            "export " + " ".join(f"{name}={quoted['ca']}" for name in believing),
        ]
    )


# --- Secrets --------------------------------------------------------------------------------------


@command.group("secrets")
def secrets() -> None:
    """The secrets of a data directory that no server has open."""


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _store_options(function: _Command) -> _Command:
    """The settings of the server that say where the secrets and their key are."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object."),
        click.option(
            "--config",
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Settings file; stepout.toml is read where it exists.",
        ),
        click.option("--secret-key-source", metavar="SOURCE", help="As for stepout serve."),
        click.option("--data", metavar="DIR", help="The data directory of the server."),
    ):
        function = option(function)
    return function


@secrets.command("rotate")
@_store_options
@click.option(
    "--new-key-source",
    metavar="SOURCE",
    help="Where the new key is: file:PATH, env:NAME or command:PROGRAM ARGUMENT….",
)
def rotate_command(*, as_json: bool, new_key_source: str | None, **given: Any) -> None:
    """Seal all secrets with a new key.

    Without --new-key-source a random key takes the place of the old one in its file. A file that is
    named there and missing is made. It can be cut off at any moment: the store still opens, with
    the key that its secrets are sealed with.
    """
    data, source = _settings(**given)
    done = asyncio.run(rotate(data, source, new_key_source, os.environ))
    click.echo(_json(done) if as_json else _rotated(done))


def _rotated(done: Rotated) -> str:
    text = (
        f"{_count(done.secrets)} sealed anew with the key {done.new_key} of {done.source}; "
        f"the key {done.old_key} opens nothing here any more."
    )
    if done.left is not None:
        text += f"\nIts file {done.left} is left for older copies of the database."
    return text


@secrets.command("check")
@_store_options
def check_command(*, as_json: bool, **given: Any) -> None:
    """Open all secrets, and say how many there are and with which key.

    Exit status: 0 when all open, 1 when one does not.
    """
    data, source = _settings(**given)
    found = asyncio.run(check(data, source, os.environ))
    click.echo(_json(found) if as_json else _checked(found))
    sys.exit(bool(found.damaged))


def _checked(found: Checked) -> str:
    if found.key is None:
        return f"No secrets, and no key yet: {found.source} is missing."
    opened = found.secrets - len(found.damaged)
    return "\n".join(
        [
            f"{opened} of {_count(found.secrets)} open with the key {found.key} of {found.source}.",
            *found.damaged,
        ]
    )


def _count(secrets: int) -> str:
    return "1 secret" if secrets == 1 else f"{secrets} secrets"


def _json(result: Rotated | Checked) -> str:
    return json.dumps(asdict(result), default=str)


def _settings(*, file: Path | None, **flags: Any) -> tuple[Path, str | None]:
    """The data directory and the source of its key."""
    try:
        settings = config.load(flags, os.environ, file).server
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if settings.data is None:
        raise click.UsageError("Name the data directory by --data.")
    logs.configure(settings.log_format)
    keep_memory_private()
    return settings.data, settings.secret_key_source
