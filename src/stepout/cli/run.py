"""`stepout run`: run a definition in this process, without a server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from stepout.asl.machine import Machine
from stepout.asl.values import Json, dumps, loads
from stepout.cli.definitions import read_source
from stepout.cli.event_loop import new_event_loop
from stepout.engine.history import Event
from stepout.errors import JsonError
from stepout.runtime import inprocess
from stepout.runtime.inprocess import Result
from stepout.tasks.mocks import Mocks

__all__ = ["command"]


@click.command("run")
@click.argument("definition", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--input", "text", metavar="JSON|@FILE", default="{}", help="The input [{}].")
@click.option(
    "--mock", "file", type=click.Path(path_type=Path), help="Answer Tasks from this MockConfigFile."
)
@click.option("--case", "case", metavar="NAME", help="The test case of the mock file.")
@click.option("--machine", metavar="NAME", help="The machine's name in the mock file.")
@click.option("--trace", is_flag=True, help="Print each event of the history on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print status, output, error and cause.")
def command(
    *,
    definition: Path,
    text: str,
    file: Path | None,
    case: str | None,
    machine: str | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Run a definition (JSON or YAML) in this process; print its output.

    Exit status: 0 when the execution succeeds, 1 when it fails.
    """
    compiled = Machine.parse(read_source(definition).text)
    mocks = Mocks() if file is None else Mocks.load(file)
    name, case = _test_case(mocks, machine, case, definition)
    running = inprocess.run(
        compiled,
        _input(text),
        mocks=mocks,
        test_case=case,
        name=name,
        on_event=_trace if trace else None,
    )
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        result = runner.run(running)
    _print(result, as_json=as_json)
    sys.exit(result.status != "SUCCEEDED")


def _test_case(
    mocks: Mocks, machine: str | None, case: str | None, definition: Path
) -> tuple[str, str | None]:
    """Machine and test case: the only ones of the file where none are named."""
    machines = [*mocks.machines]
    if case is not None and not machines:
        raise click.UsageError("--case names a test case of a mock file; name that by --mock.")
    name = machine or (machines[0] if len(machines) == 1 else definition.stem.partition(".")[0])
    if not machines:
        return name, None
    if name not in machines:
        raise click.UsageError(
            f"The mock file has no machine '{name}'; name one by --machine: {', '.join(machines)}."
        )
    cases = mocks.cases(name)
    if case is None and len(cases) == 1:
        return name, cases[0]
    if case not in cases:
        raise click.UsageError(
            f"Name a test case of the machine '{name}' by --case: {', '.join(cases)}."
        )
    return name, case


def _input(text: str) -> Json:
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        return loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The input cannot be read: {error}.") from None
    except JsonError as error:
        raise click.UsageError(f"The input is not JSON: {error}") from None


def _trace(event: Event) -> None:
    """One line for an event: number, type, name and data."""
    shown = [str(event.details[name]) for name in _SHOWN if name in event.details]
    click.echo(f"{event.id:>5}  {event.type:<24} {'  '.join(shown)}".rstrip(), err=True)


_SHOWN = ("name", "state", "index", "resource", "parameters", "input", "output", "error", "cause")


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        told = {
            "status": result.status,
            "output": result.output,
            "error": result.error,
            "cause": result.cause,
        }
        click.echo(dumps(told))
    elif result.status == "SUCCEEDED":
        click.echo(dumps(result.output))
    else:
        cause = f": {result.cause}" if result.cause else ""
        click.echo(f"{result.status}: {result.error or 'no error name'}{cause}", err=True)
