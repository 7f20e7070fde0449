"""`stepout serve`: the server, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from contextlib import suppress
from dataclasses import fields
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import click

from stepout import config
from stepout.api.http import OVERFLOW
from stepout.api.server import serve
from stepout.cli import logs
from stepout.cli.event_loop import new_event_loop
from stepout.config import ServerSettings, Settings
from stepout.errors import SettingsError
from stepout.secret import keep_memory_private

__all__ = ["command"]


_log = logging.getLogger("stepout.server")


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to listen on [127.0.0.1].")
@click.option("--port", metavar="PORT", help="Port to listen on; 0 takes a free one [8083].")
@click.option("--data", metavar="DIR", help="Keep machines and connections in this directory.")
@click.option(
    "--secret-key-source",
    metavar="SOURCE",
    help="Where the key of the secrets is: file:PATH, env:NAME or command:PROGRAM ARGUMENT….",
)
@click.option("--region", metavar="REGION", help="Region where a request names none.")
@click.option("--account", metavar="DIGITS", help="Account where the access key names none.")
@click.option("--log-format", metavar="text|json", help="Form of the log on standard error.")
@click.option(
    "--egress-allow",
    metavar="CIDR",
    multiple=True,
    help="Let HTTP Tasks call this network, which is not the public internet. Repeatable.",
)
@click.option("--egress-policy", metavar="FILE", help="Rules: what may be called, and by whom.")
@click.option("--egress-proxy", metavar="URL", help="Go out through this HTTP proxy.")
@click.option("--egress-connections", metavar="N", help="Outgoing requests at once [1024].")
@click.option("--egress-connections-per-host", metavar="N", help="The same, to one host [256].")
@click.option(
    "--egress-ca",
    metavar="FILE",
    multiple=True,
    help="Believe the certificate authorities in this PEM file, too. Repeatable.",
)
@click.option(
    "--egress-connect",
    metavar="HOST:PORT=ADDRESS:PORT",
    multiple=True,
    help="Dial this address for a host; URL and TLS keep the host's name. Repeatable.",
)
@click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate chain.")
@click.option("--tls-key", metavar="FILE", help="The private key of --tls-cert.")
@click.option("--identities", metavar="FILE", help="Users, roles and policies; known keys only.")
@click.option("--open/--closed", default=None, help="Whether unknown access keys are let in, too.")
@click.option(
    "--insecure-network",
    is_flag=True,
    default=None,
    help="Serve an address that others reach, without TLS or without identities.",
)
@click.option("--audit", metavar="FILE|-", help="Write a JSON line for each request here.")
@click.option("--mock", metavar="FILE", help="Answer Tasks from this MockConfigFile.")
@click.option("--execution-log", metavar="DIR|-", help="Write the log records of executions here.")
@click.option("--upstreams", metavar="FILE", help="Make the gateway of this upstreams file.")
@click.option(
    "--error-bodies/--no-error-bodies",
    default=None,
    help="Extension: keep what APIs answer with other statuses than 2xx.",
)
@click.option("--payload-limit", metavar="BYTES", help="Extension: larger inputs and outputs.")
@click.option("--repeats", metavar="warn|join|off", help="Calls that a client sends again [warn].")
@click.option("--max-requests", metavar="COUNT", help="Requests in flight, in all [10000].")
@click.option("--max-executions", metavar="COUNT", help="Executions in flight, in all [5000].")
@click.option(
    "--principal-requests", metavar="COUNT", help="Requests in flight of one caller [a share]."
)
@click.option(
    "--principal-executions",
    metavar="COUNT",
    help="Executions in flight of one caller [a share].",
)
@click.option(
    "--principal-rate", metavar="RATE", help="Requests a second of one caller and operation [any]."
)
@click.option(
    "--principal-burst",
    metavar="COUNT",
    help="Requests at one moment of one caller and operation [those of a second].",
)
@click.option("--max-connections", metavar="COUNT", help="Connections at one time [10000].")
@click.option(
    "--max-connections-per-address", metavar="COUNT", help="The same, of one address [no bound]."
)
@click.option("--drain-seconds", metavar="SECONDS", help="How long a shutdown may wait [30].")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file; stepout.toml is read where it exists.",
)
@click.option("--show-config", is_flag=True, help="Print the settings and their origin; stop.")
def command(*, file: Path | None, show_config: bool, **flags: Any) -> None:
    """Serve Step Functions and EventBridge connections on one port.

    Each option is also a variable STEPOUT_… and a key of [server] in stepout.toml; a flag comes
    first, then the variable, then the file. When the server is ready it prints one line.
    """
    try:
        settings = config.load(flags, os.environ, file)
        if show_config:
            click.echo(_shown(settings))
            return
        logs.configure(settings.server.log_format)
        keep_memory_private()
        _allow_descriptors(settings.server)
        if isinstance(sys.stdout, TextIOWrapper):
            # Log records go there, too, and they are JSON.
            sys.stdout.reconfigure(encoding="utf-8")
        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            sys.exit(runner.run(serve(settings.server, announce=_announce, environ=os.environ)))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _allow_descriptors(settings: ServerSettings) -> None:
    """Let the process have as many descriptors as its connections may need.

    Systems start processes with a soft limit of 1,024 or less, for the sake of select(2), and mean
    those that want more to ask for it. Over the limit not even the store's file could be opened.
    """
    if sys.platform == "win32":
        return
    import resource

    needed = settings.max_connections + OVERFLOW + settings.egress_connections + _FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    # Some systems allow less than their hard limit says.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft = max(soft, wanted)
    if soft < needed:
        fields = {"limit": soft, "needed": needed, "hint": "ulimit -n, or lower --max-connections"}
        _log.warning("few descriptors", extra={"fields": fields})


_FILES: Final = 256
"""Descriptors for everything that is no connection: the store, logs, the event loop, modules."""


def _announce(line: str) -> None:
    """The server is ready: say so, and let the garbage collector leave alone what stays.

    What was made until now lives as long as the process; looking through it again and again cost a
    tenth of the CPU time of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 50, 50)
    click.echo(line)
    sys.stdout.flush()


_COLLECT_AFTER: Final = 50_000
"""New containers before the youngest are looked through: those of some 50 calls."""


def _shown(settings: Settings) -> str:
    """Every setting with its value and where it came from."""
    rows = [
        (setting.name, _value(getattr(settings.server, setting.name)), origin)
        for setting in fields(ServerSettings)
        for origin in [settings.origins[setting.name]]
    ]
    wide, wider = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:{wide}}  {value:{wider}}  {origin}" for name, value, origin in rows)


def _value(value: object) -> str:
    if isinstance(value, str) and value.startswith("command:"):
        # The arguments of a program may be secret.
        return f"{value.split()[0]} …"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
