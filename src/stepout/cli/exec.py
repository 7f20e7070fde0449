"""`stepout exec -- CMD`: a command whose HTTPS calls go out through the gateway machine.

The proxy lives in this process, the command is its child. Nothing else on the machine changes: the
variables are the child's alone, the key of the authority never leaves this process's memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from stepout.certificates import Authority
from stepout.cli.client_options import client_options, read_settings
from stepout.cli.event_loop import new_event_loop
from stepout.cli.proxied import bypassed, variables
from stepout.cli.proxy import AUTHORITY, LOG_FORMAT, log_to_stderr
from stepout.client.gateway import AsyncGateway
from stepout.client.proxy import Proxy
from stepout.config import ClientSettings
from stepout.errors import SettingsError

__all__ = ["command"]

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit statuses, as a shell has them."""

_FORWARDED: Final = (
    *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT"),
)
_OF_THE_TERMINAL: Final = ("SIGINT", "SIGQUIT", "SIGWINCH")
"""A terminal sends these to every process in its foreground, so the child has them already."""


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--log", "is_logging", is_flag=True, help="Tell every request on standard error.")
@LOG_FORMAT
@client_options
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    *, is_logging: bool, log_format: str, file: Path | None, program: Sequence[str], **flags: Any
) -> None:
    """Run PROGRAM so that its HTTPS calls go out through the gateway machine.

    It ends with PROGRAM's exit status, 128 and the number for a signal; 127 where PROGRAM is not
    found, 126 where it cannot be run. Signals are passed on, so that it may be the entry point of a
    container. What goes wrong on the way is told on standard error.
    """
    settings = read_settings(flags, file)
    log_to_stderr(logging.INFO if is_logging else logging.WARNING, log_format)
    try:
        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            status = runner.run(_run(program, settings))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


async def _run(program: Sequence[str], settings: ClientSettings) -> int:
    authority = Authority.create(AUTHORITY)
    async with AsyncGateway.of(settings) as gateway:
        proxy = Proxy(gateway, authority)
        await proxy.start()
        try:
            with tempfile.TemporaryDirectory(prefix="stepout-exec-") as directory:
                added = variables(
                    os.environ,
                    proxy=proxy.url,
                    endpoint=gateway.endpoint.hostname,
                    authority=authority.certificate_pem,
                    directory=Path(directory),
                )
                for upstream in bypassed(gateway.upstreams, added["NO_PROXY"]):
                    click.echo(
                        f"Warning: NO_PROXY has the host of the upstream '{upstream.name}' "
                        f"({upstream.url}), so the command calls it without the gateway.",
                        err=True,
                    )
                return await _child(program, {**os.environ, **added})
        finally:
            await proxy.stop(0)


async def _child(program: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command to its end; answers its exit status."""
    running: list[subprocess.Popen[bytes]] = []
    # First, so that no signal finds a child and nobody who passes it on.
    _forward_signals(running)
    try:
        # Started on this thread, without a pause: what the handlers see is the child, or its end.
        # It has the files that this process was given, such as a shell's <(…); those that Python
        # opens are not inherited anyway (PEP 446).
        child = subprocess.Popen(list(program), env=environment, close_fds=False)  # noqa: ASYNC220, S603
    except FileNotFoundError:
        click.echo(f"Error: the command {program[0]} was not found.", err=True)
        return NOT_FOUND
    except OSError as error:
        click.echo(f"Error: the command {program[0]} cannot be run: {error.strerror}.", err=True)
        return NOT_EXECUTABLE
    running.append(child)
    status = await asyncio.to_thread(_wait, child)
    return 128 - status if status < 0 else status


def _wait(child: subprocess.Popen[bytes]) -> int:
    """The child's exit status, negative for a signal.

    The first process of a container also inherits the children that others leave behind, and has to
    ask for their status, or they stay in the process table.
    """
    if os.getpid() != 1:
        return child.wait()
    while True:
        found, status = os.waitpid(-1, 0)
        if found == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


def _forward_signals(running: Sequence[subprocess.Popen[bytes]]) -> None:
    loop = asyncio.get_running_loop()

    def forward(name: str) -> None:
        if name in _OF_THE_TERMINAL and _is_in_foreground():
            return
        for child in running:
            if child.returncode is None:
                # Not `send_signal`, which takes the status that `_wait` is waiting for.
                with suppress(ProcessLookupError):
                    os.kill(child.pid, getattr(signal, name))

    for name in _FORWARDED:
        number = getattr(signal, name, None)
        try:
            if number is not None:
                loop.add_signal_handler(number, forward, name)
        except NotImplementedError:  # Windows, where the console tells the child itself
            return


def _is_in_foreground() -> bool:
    """Whether a terminal sends its signals to this process and its child alike."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0) == os.getpgrp()
    except (OSError, ValueError):
        return False
