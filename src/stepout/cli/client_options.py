"""The options of the commands that call through a gateway: the settings of the client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from stepout import config
from stepout.config import ClientSettings
from stepout.errors import SettingsError

__all__ = ["client_options", "read_settings"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--state-machine-arn", metavar="ARN", help="The gateway machine."),
    click.option("--upstreams", metavar="FILE", help="The upstreams file that it was made from."),
    click.option("--endpoint-url", metavar="URL", help="The endpoint, unless AWS's settings do."),
    click.option("--timeout", metavar="SECONDS", help="How long to wait for an answer [305]."),
    click.option("--retries", metavar="N", help="Further attempts of idempotent requests [0]."),
    click.option("--payload-limit", metavar="BYTES", help="That of the server [262144]."),
    click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Settings file; stepout.toml is read where it exists.",
    ),
)


def client_options(command: _Command) -> _Command:
    """Add the options, each also a variable STEPOUT_… and a key of [client] in stepout.toml."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_settings(flags: dict[str, Any], file: Path | None) -> ClientSettings:
    """The settings; one that is missing or wrong is a wrong call."""
    try:
        return config.load_client(flags, os.environ, file)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
