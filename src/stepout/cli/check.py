"""`stepout check`: all problems of definitions and policies, each with its line and column."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stepout.asl.advice import warnings
from stepout.asl.check import has_shape
from stepout.asl.machine import Machine
from stepout.asl.problems import INVALID_JSON_DESCRIPTION, Problem
from stepout.asl.values import loads
from stepout.cli import policies
from stepout.cli.definitions import Source, read_source
from stepout.cli.positions import Unreadable, find
from stepout.errors import DefinitionError, JsonError

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a file; `severity` is `error` or `warning`."""

    file: str
    line: int
    column: int
    severity: str
    code: str
    message: str
    location: str | None

    def __str__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        return (
            f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.code}: "
            f"{self.message}{at}"
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--express", is_flag=True, help="Also refuse what an Express machine may not have.")
@click.option("--no-warnings", is_flag=True, help="Tell errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(*, files: tuple[Path, ...], express: bool, no_warnings: bool, as_json: bool) -> None:
    """Check definitions and IAM policies (JSON or YAML), without a server.

    Definitions are held against what CreateStateMachine holds them against; policies, which have a
    Statement, against IAM's language. Warnings tell what is allowed and may not be meant, such as
    a pattern for URLs whose host is not closed.

    Prints each finding with file, line and column. Exit status: 0 without errors, 1 with errors.
    """
    findings = [finding for file in files for finding in _check(file, is_express=express)]
    shown = [one for one in findings if not (no_warnings and one.severity == "warning")]
    if as_json:
        click.echo(json.dumps([finding.to_json() for finding in shown], indent=2))
    else:
        for finding in shown:
            click.echo(str(finding))
        click.echo(_summary(files, shown), err=True)
    sys.exit(any(finding.severity == "error" for finding in shown))


def _summary(files: Sequence[Path], findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    return f"Files: {len(files)}, errors: {errors}, warnings: {len(findings) - errors}."


def _check(file: Path, *, is_express: bool) -> Iterator[Finding]:
    try:
        source = read_source(file)
    except Unreadable as error:
        where = (error.line, error.column)
        yield Finding(str(file), *where, "error", INVALID_JSON_DESCRIPTION, str(error), None)
        return
    document = _document(source.text)
    if policies.is_policy(document):
        for severity, code, message, location in policies.findings(document, source.text):
            yield _finding(source, Problem(code, message, location), severity)
    else:
        yield from _check_machine(source, is_express=is_express)


def _document(text: str) -> Any:
    try:
        return loads(text)
    except JsonError:
        # Whoever reads the text as what it is tells what is wrong with it.
        return None


def _check_machine(source: Source, *, is_express: bool) -> Iterator[Finding]:
    problems: Sequence[Problem] = ()
    try:
        Machine.parse(source.text, is_express=is_express)
    except DefinitionError as error:
        problems = error.problems
    for problem in problems:
        yield _finding(source, problem, "error")
    if has_shape(problems):
        for warning in warnings(loads(source.text)):
            yield _finding(source, warning, "warning")


def _finding(source: Source, problem: Problem, severity: str) -> Finding:
    node = find(source.places, problem.location)
    if problem.code == INVALID_JSON_DESCRIPTION:
        # AWS repeats the whole text as its location; here is its line.
        message = problem.message.partition("\n")[0]
        return Finding(source.name, node.line, node.column, severity, problem.code, message, None)
    return Finding(
        source.name,
        node.line,
        node.column,
        severity,
        problem.code,
        problem.message,
        problem.location,
    )
