"""The command line: commands in groups, each imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click

from stepout import __version__
from stepout.errors import StepoutError

__all__ = ["COMMANDS", "main"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, its group, one line about it, and the extra that it needs."""

    module: str
    group: str
    summary: str
    extra: str | None = None


COMMANDS: Final[Mapping[str, Entry]] = {
    "fetch": Entry("fetch", "use", "Call a URL, or a file of them, through the gateway."),
    "exec": Entry("exec", "use", "Run a command that calls APIs through the gateway.", "proxy"),
    "doctor": Entry("doctor", "use", "Try each part of the way out from here."),
    "proxy": Entry("proxy", "use", "Serve an HTTPS proxy in front of the gateway.", "proxy"),
    "serve": Entry("serve", "local", "Serve Step Functions and EventBridge connections.", "server"),
    "run": Entry("run", "local", "Run a definition in this process.", "engine"),
    "env": Entry("env", "local", "Point AWS SDKs at a server, for a command or a shell."),
    "invoke": Entry("invoke", "local", "Call a Lambda handler as Lambda calls it.", "lambda"),
    "demo": Entry("demo", "local", "Show the main job on this machine.", "all"),
    "check": Entry("check", "check", "Tell all problems of definitions and policies.", "engine"),
    "explain": Entry("explain", "check", "Tell who would let a call out, and why.", "server"),
    "graph": Entry("graph", "check", "Draw a definition as a Mermaid flowchart.", "engine"),
    "cost": Entry("cost", "AWS", "Compare a NAT gateway with this way, in USD a month."),
    "admin": Entry("admin", "operate", "Certificates; the key of a server's secrets.", "server"),
}
"""The commands, in the order in which they are listed."""


class Commands(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = import_module(f"stepout.cli.{entry.module}")
        except ModuleNotFoundError as error:
            if entry.extra is None or (error.name or "").startswith("stepout"):
                raise
            raise click.ClickException(
                f"stepout {cmd_name} needs {error.name}, which is not installed: "
                f"pip install 'stepout[{entry.extra}]'"
            ) from None
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
            with formatter.section(f"Commands, {group}"):
                formatter.write_dl(
                    [
                        (name, entry.summary)
                        for name, entry in COMMANDS.items()
                        if entry.group == group
                    ]
                )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="stepout %(version)s")
def commands() -> None:
    """HTTPS out of a subnet with no internet, through AWS Step Functions; and Step Functions
    itself, on your laptop and in CI."""


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 wrongly called."""
    try:
        commands.main(prog_name="stepout")
    except StepoutError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
