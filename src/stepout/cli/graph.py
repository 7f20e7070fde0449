"""`stepout graph`: a definition drawn as a Mermaid flowchart."""

from __future__ import annotations

from pathlib import Path

import click

from stepout.asl.graph import mermaid
from stepout.asl.machine import Machine
from stepout.asl.values import loads
from stepout.cli.definitions import read_source

__all__ = ["command"]


@click.command("graph")
@click.argument("definition", type=click.Path(path_type=Path, allow_dash=True))
def command(*, definition: Path) -> None:
    """Print a definition (JSON or YAML) as a Mermaid flowchart.

    GitHub, GitLab and most documentation tools show it as a picture.
    """
    source = read_source(definition)
    Machine.parse(source.text)
    click.echo(mermaid(loads(source.text)), nl=False)
