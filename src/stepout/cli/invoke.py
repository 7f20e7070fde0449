"""`stepout invoke`: call a Lambda handler on this machine as Lambda calls it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import click

from stepout.errors import SettingsError
from stepout.functions import (
    EVENT_LIMIT,
    NOTICE,
    RESERVED,
    Function,
    FunctionError,
    FunctionSettings,
    InProcessFunction,
    Invocation,
    has_runtime_client,
)

__all__ = ["command", "report_line"]

HANDLER: Final = re.compile(r"[^\s./]+(?:[./][^\s./]+)*\.[^\s./]+")
"""`module.function`; the module may stand in packages or directories."""

VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

STANDARD_ERROR: Final = 2

MAX_TIMEOUT_S: Final = 900
"""Lambda quotas: 15 minutes."""

PLATFORM_ERRORS: Final = ("Runtime.", "Function.")
"""Beginnings of the error types that Lambda names in its report line."""


@click.command("invoke", short_help="Call a Lambda handler as Lambda calls it.")
@click.argument("handler")
@click.option(
    "--event",
    "event_file",
    type=click.File("rb"),
    metavar="FILE",
    help="The event, a JSON file; - reads standard input. Without it the event is {}.",
)
@click.option(
    "--env",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable for the handler, besides those of this command. May be repeated.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, MAX_TIMEOUT_S, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="The function's time-out; the default is Lambda's.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Where the handler's module is; the current directory if not given.",
)
@click.option(
    "--region",
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    default="us-east-1",
    show_default=True,
    help="The function's region.",
)
@click.option(
    "--in-process",
    is_flag=True,
    help="Run the handler inside this process, without AWS's runtime client.",
)
def command(
    *,
    handler: str,
    event_file: IO[bytes] | None,
    assignments: Sequence[str],
    timeout_s: float,
    directory: Path,
    region: str,
    in_process: bool,
) -> None:
    """Call HANDLER, written as module.function, and print its answer.

    The handler runs under AWS's own runtime client (awslambdaric) with the variables, the context
    and the time-out that it has on Lambda. Standard output holds the answer alone; what the handler
    prints, and a report like Lambda's, go to standard error. The exit status is 1 when the function
    failed.
    """
    _check_handler(handler)
    settings = FunctionSettings(
        handler=handler,
        directory=directory.resolve(),
        name=handler.rpartition(".")[0].rpartition("/")[2].rpartition(".")[2],
        region=region,
        timeout_s=timeout_s,
        environment=_environment(assignments),
        log=STANDARD_ERROR,
    )
    event = b"{}" if event_file is None else _read_event(event_file)
    invocation = _call(settings, event, in_process=in_process)
    click.echo(report_line(settings, invocation), err=True)
    click.echo(invocation.payload)
    if invocation.error is not None:
        raise SystemExit(1)


def report_line(settings: FunctionSettings, invocation: Invocation) -> str:
    """Word a call as the REPORT line of Lambda's log does."""
    fields = [
        f"REPORT RequestId: {invocation.request_id}",
        f"Duration: {invocation.duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(invocation.duration_ms)} ms",
        f"Memory Size: {settings.memory_mb} MB",
    ]
    if invocation.init_ms is not None:
        fields.append(f"Init Duration: {invocation.init_ms:.2f} ms")
    if invocation.error is not None:
        fields += _status(invocation.error)
    return "\t".join(fields)


def _status(error: FunctionError) -> list[str]:
    """Lambda names the failures of the platform in its report, not those of the handler."""
    if error.error_type == "Sandbox.Timedout":
        return ["Status: timeout"]
    if error.error_type.startswith(PLATFORM_ERRORS):
        return ["Status: error", f"Error Type: {error.error_type}"]
    return []


def _call(settings: FunctionSettings, event: bytes, *, in_process: bool) -> Invocation:
    try:
        if in_process or not has_runtime_client():
            return _call_in_process(settings, event, is_wanted=in_process)
        return asyncio.run(_invoke(Function(settings), event))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def _call_in_process(settings: FunctionSettings, event: bytes, *, is_wanted: bool) -> Invocation:
    if not is_wanted:
        click.echo(
            "awslambdaric cannot be imported here; on Linux pip install 'stepout[lambda]' "
            "brings it.",
            err=True,
        )
    click.echo(NOTICE, err=True)
    with contextlib.redirect_stdout(sys.stderr):
        return asyncio.run(_invoke(InProcessFunction(settings), event))


async def _invoke(function: Function | InProcessFunction, event: bytes) -> Invocation:
    async with function:
        return await function.invoke(event)


def _check_handler(handler: str) -> None:
    if HANDLER.fullmatch(handler) is None:
        _refuse(
            "HANDLER",
            f"{handler!r} is not the name of a handler; expected module.function, such as "
            "handler.lambda_handler.",
        )
    if handler.endswith(".py"):
        _refuse(
            "HANDLER",
            f"{handler!r} is a file; expected module.function, such as "
            f"{handler.removesuffix('.py')}.lambda_handler.",
        )


def _environment(assignments: Sequence[str]) -> Mapping[str, str]:
    """Give the variables of this command with those of `--env` over them.

    The caller's time zone stays out: a function on Lambda runs in UTC unless it is told otherwise.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TZ"}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or VARIABLE_NAME.fullmatch(name) is None:
            _refuse("--env", f"{assignment!r} is not an assignment; expected NAME=VALUE.")
        if name in RESERVED:
            _refuse("--env", f"{name} is set by Lambda itself; a function cannot choose it.")
        environment[name] = value
    return environment


def _read_event(file: IO[bytes]) -> bytes:
    """Read the event; one byte more than Lambda takes is enough to know that it is too large."""
    event = file.read(EVENT_LIMIT + 1)
    if len(event) > EVENT_LIMIT:
        _refuse("--event", f"The event is larger than Lambda's limit of {EVENT_LIMIT} bytes.")
    try:
        json.loads(event, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        _refuse("--event", f"{file.name} does not hold JSON: {error}")
    return event


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _refuse(parameter: str, message: str) -> NoReturn:
    raise click.BadParameter(message, param_hint=parameter)
