"""Reading definitions for the commands: JSON or YAML, from a file or standard input."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from stepout.asl.values import dumps
from stepout.cli.positions import Node, read_json, read_yaml
from stepout.errors import JsonError

__all__ = ["Source", "read_source"]

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Source:
    """A definition as JSON text, and where its values stand in the file."""

    name: str
    text: str
    places: Node


def read_source(path: Path) -> Source:
    """Read a definition, `-` from standard input; raises `JsonError` for YAML that is none."""
    is_stdin = str(path) == "-"
    name = "standard input" if is_stdin else str(path)
    try:
        text = sys.stdin.read() if is_stdin else path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{name} cannot be read: {error}.") from None
    if path.suffix in _YAML:
        value, places = read_yaml(text)
        return Source(name, _as_json(value), places)
    return Source(name, text, _places(text))


def _as_json(value: object) -> str:
    try:
        return dumps(value).decode()
    except TypeError as error:
        raise JsonError(f"The YAML text holds what JSON has not: {error}") from None


def _places(text: str) -> Node:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        # What is wrong is told by whoever parses the text; it has no places.
        return Node(1, 1)
    return read_json(text)
