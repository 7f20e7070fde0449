"""`stepout env`: what makes AWS SDKs talk to a server, for one command or printed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from stepout.aws.arn import partition_of

__all__ = ["Target", "command", "hosts", "variables"]

WAYS: Final = (
    (
        "botocore before 1.37.5 does not read AWS_DISABLE_HOST_PREFIX_INJECTION: give the client "
        "Config(inject_host_prefix=False)."
    ),
    "JavaScript (@aws-sdk/client-sfn): new SFNClient({ disableHostPrefix: true }).",
    (
        "Java 2.x: overrideConfiguration(c -> c.putAdvancedOption("
        "SdkAdvancedClientOption.DISABLE_HOST_PREFIX_INJECTION, true))."
    ),
)
"""StartSyncExecution goes to the host `sync-…` of the endpoint, unless an SDK is told not to."""

_IN_THE_WAY: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
"""Variables that would lead an SDK elsewhere; a command is run without them."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server that SDKs are to talk to."""

    url: str
    region: str
    access_key_id: str
    secret_access_key: str
    ca: Path | None


def variables(target: Target) -> dict[str, str]:
    """The environment variables of AWS SDKs."""
    found = {
        "AWS_REGION": target.region,
        "AWS_DEFAULT_REGION": target.region,
        "AWS_ACCESS_KEY_ID": target.access_key_id,
        "AWS_SECRET_ACCESS_KEY": target.secret_access_key,
        "AWS_ENDPOINT_URL_SFN": target.url,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": target.url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if target.ca is not None:
        ca = str(target.ca.resolve())
        found |= {"AWS_CA_BUNDLE": ca, "NODE_EXTRA_CA_CERTS": ca}
    return found


@click.command("env", context_settings={"ignore_unknown_options": True})
@click.option(
    "--url", default="http://127.0.0.1:8083", show_default=True, help="Where the server is."
)
@click.option("--region", default="us-east-1", show_default=True, help="Region to sign for.")
@click.option("--access-key-id", default="stepout", show_default=True, help="Key to sign with.")
@click.option("--secret-access-key", default="stepout", help="Secret of the key.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authority of an https server, in PEM.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["shell", "dotenv", "json", "profile", "hosts"]),
    default="shell",
    show_default=True,
    help="How to print it, where no command is given.",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    url: str,
    region: str,
    access_key_id: str,
    secret_access_key: str,
    ca: Path | None,
    form: str,
    program: Sequence[str],
) -> None:
    """Run PROGRAM with the variables that make unmodified AWS code talk to the server, or print
    them: eval "$(stepout env)".

    With --format profile it prints a profile for ~/.aws/config, with --format hosts the names of
    AWS's endpoints for a hosts file, for a server that has certificates for them.
    """
    _check_url(url)
    target = Target(url.rstrip("/"), region, access_key_id, secret_access_key, ca)
    if program:
        _run(program, variables(target))
    else:
        click.echo(_FORMATS[form](target))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(
            f"Expected a URL such as http://127.0.0.1:8083, found {url!r}.", param_hint="--url"
        )


def _run(program: Sequence[str], added: Mapping[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _IN_THE_WAY}
    environment = {**kept, **added}
    try:
        if sys.platform == "win32":
            sys.exit(subprocess.run(program, env=environment, check=False).returncode)  # noqa: S603
        os.execvpe(program[0], list(program), environment)  # noqa: S606 — the user's own command
    except OSError as error:
        raise click.ClickException(f"{program[0]} cannot be run: {error.strerror}.") from None


def _shell(target: Target) -> str:
    exports = [f"export {name}={shlex.quote(text)}" for name, text in variables(target).items()]
    return "\n".join([*exports, f"unset {' '.join(_IN_THE_WAY)}", *_comments()])


def _dotenv(target: Target) -> str:
    return "\n".join(
        [*(f"{name}={text}" for name, text in variables(target).items()), *_comments()]
    )


def _json(target: Target) -> str:
    click.echo("\n".join(WAYS), err=True)
    return json.dumps(variables(target), indent=2)


def _profile(target: Target) -> str:
    lines = [
        "[profile stepout]",
        f"region = {target.region}",
        f"aws_access_key_id = {target.access_key_id}",
        f"aws_secret_access_key = {target.secret_access_key}",
        "disable_host_prefix_injection = true",
        "services = stepout",
        *([] if target.ca is None else [f"ca_bundle = {target.ca.resolve()}"]),
        "",
        "[services stepout]",
        *(f"{service} =\n  endpoint_url = {target.url}" for service in ("sfn", "eventbridge")),
        *_comments(),
    ]
    return "\n".join(lines)


def _hosts(target: Target) -> str:
    host = urlsplit(target.url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        raise click.BadParameter(
            f"A hosts file needs an IP address in --url, found {host!r}.", param_hint="--url"
        ) from None
    names = hosts(target.region)
    note = "# The server must listen on port 443 with a certificate for these names."
    return "\n".join([note, f"{host} {' '.join(names)}", *_comments()])


def hosts(region: str) -> list[str]:
    """The names of the endpoints in a region that the server can stand for."""
    suffix = _SUFFIXES[partition_of(region)]
    return [f"{name}.{region}.{suffix}" for name in ("states", "sync-states", "events")]


_SUFFIXES: Final[Mapping[str, str]] = {
    "aws": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-us-gov": "amazonaws.com",
}
"""Partition → the domain of its endpoints."""

_FORMATS: Final[Mapping[str, Callable[[Target], str]]] = {
    "shell": _shell,
    "dotenv": _dotenv,
    "json": _json,
    "profile": _profile,
    "hosts": _hosts,
}


def _comments() -> list[str]:
    return [f"# {way}" for way in WAYS]
