"""`stepout proxy`: the HTTPS proxy of programs in the subnet, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from stepout.certificates import CERTIFICATE_FILE, Authority
from stepout.cli.client_options import client_options, read_settings
from stepout.cli.event_loop import new_event_loop
from stepout.client.gateway import AsyncGateway
from stepout.client.proxy import Proxy
from stepout.config import ClientSettings, is_loopback
from stepout.errors import SettingsError

__all__ = ["AUTHORITY", "LOG_FORMAT", "command", "log_to_stderr"]

AUTHORITY: Final = "stepout proxy"
"""The common name of the authority; people find it in their key stores by it."""

DRAIN_SECONDS: Final = 30.0

_log = logging.getLogger("stepout.proxy")


LOG_FORMAT: Final = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="STEPOUT_LOG_FORMAT",
    help="Form of the log on standard error.",
)


def log_to_stderr(level: int, log_format: str) -> None:
    """One line for each request at INFO, for each that went wrong at WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("stepout.proxy").setLevel(level)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


class _Json(_Text):
    """One object a line: time, level, event, and what the line says, as `stepout serve` has it."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.args if isinstance(record.args, Mapping) else None
        members = {
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage() if said is None else str(record.msg).partition(" ")[0],
            **(said or {}),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        known = {name: value for name, value in members.items() if value not in (None, "")}
        return json.dumps(known, ensure_ascii=False, default=str)


@click.command("proxy")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8084,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--ca-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the local certificate authority is kept [~/.stepout/ca].",
)
@click.option(
    "--let-the-network-call-with-my-credentials",
    "is_open",
    is_flag=True,
    help="Listen on an address that others reach: each of them may call every upstream.",
)
@LOG_FORMAT
@client_options
def command(
    *,
    host: str,
    port: int,
    ca_dir: Path | None,
    is_open: bool,
    log_format: str,
    file: Path | None,
    **flags: Any,
) -> None:
    """Serve an HTTPS proxy: programs with HTTPS_PROXY go out through the gateway machine.

    They have to believe ca.pem of --ca-dir. When the proxy is ready it prints one line. Client
    options are also variables STEPOUT_… and keys of [client] in stepout.toml.
    """
    if not (is_open or is_loopback(host)):
        raise click.UsageError(
            f"The proxy would listen on {host}, and whoever reaches it may call every upstream "
            "with this program's AWS credentials. Expected a loopback address such as 127.0.0.1, "
            "or the flag --let-the-network-call-with-my-credentials."
        )
    settings = read_settings(flags, file)
    log_to_stderr(logging.INFO, log_format)
    try:
        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            runner.run(_serve(settings, host, port, ca_dir or _home()))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _home() -> Path:
    try:
        return Path.home() / ".stepout" / "ca"
    except RuntimeError:
        raise SettingsError(
            "This user has no home directory for the certificate authority; name a directory with "
            "--ca-dir."
        ) from None


def _judge(ca_dir: Path) -> None:
    """Who else may put an authority in place of ours, which programs would believe.

    Raises `SettingsError` for a directory of another user; warns of one in which others write, as
    they do in a volume that containers share.
    """
    status = ca_dir.stat()
    if os.name != "posix":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"Expected the directory {ca_dir} to be this user's, found the user {status.st_uid}, "
            "who could put an authority in place of this one. Name another with --ca-dir."
        )
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        _log.warning(
            "authority directory=%(directory)s mode=%(mode)s others_write=True",
            {"directory": str(ca_dir), "mode": f"{mode:04o}"},
        )


async def _serve(settings: ClientSettings, host: str, port: int, ca_dir: Path) -> None:
    async with AsyncGateway.of(settings) as gateway:
        authority = Authority.kept_in(ca_dir, AUTHORITY)
        _judge(ca_dir)
        proxy = Proxy(gateway, authority)
        try:
            await proxy.start(host, port)
        except OSError as error:
            raise SettingsError(
                f"The proxy cannot listen on {host}, port {port}: {error.strerror or error}."
            ) from None
        stop, hurry = _signals()
        click.echo(_line(proxy, ca_dir / CERTIFICATE_FILE))
        sys.stdout.flush()
        await stop.wait()
        stopping = asyncio.create_task(proxy.stop(DRAIN_SECONDS))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait({stopping, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await proxy.stop(0)
        hurrying.cancel()
        await stopping


def _line(proxy: Proxy, certificate: Path) -> str:
    gateway = proxy.gateway
    known = "any" if gateway.upstreams is None else len(gateway.upstreams.items)
    return (
        f"stepout proxy {proxy.url} ca={certificate.resolve()} "
        f"machine={gateway.endpoint.machine_arn} upstreams={known}"
    )


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first SIGTERM or SIGINT, and by the second."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, told)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(told))
    return stop, hurry
