"""`stepout doctor`: is the way out open from here, and if not, what is to be done?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from stepout.cli.client_options import client_options, read_settings
from stepout.client.doctor import Finding, examine

__all__ = ["command"]

_MARKS: Final = {"ok": "ok", "warning": "?", "failed": "FAILED", "skipped": "-"}


@click.command("doctor")
@click.option("--url", "urls", multiple=True, help="Also call this URL. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@client_options
def command(*, urls: tuple[str, ...], as_json: bool, file: Path | None, **flags: Any) -> None:
    """Try each part of the way out from here: settings, credentials, DNS, TCP, TLS, executions.

    Asks the endpoint of sync-states alone, so run it where the programs run. Each probe takes 3
    seconds at most, and each upstream is called once by a method that changes nothing. Exit status:
    0 where the way is open, 1 where it is not.
    """
    settings = read_settings(flags, file)
    findings: list[Finding] = []
    for finding in examine(settings, urls):
        findings.append(finding)
        if not as_json:
            # At once: the next probe may take its time.
            click.echo("\n".join(_lines(finding)))
    is_open = all(finding.status != "failed" for finding in findings)
    if as_json:
        shown = {"ok": is_open, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(shown, indent=2))
    sys.exit(not is_open)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_MARKS[finding.status]:7} {finding.probe}: {finding.found}"
    if finding.fix:
        yield f"{'':7} → {finding.fix}"
