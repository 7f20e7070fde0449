"""Reading definitions for the commands: JSON or YAML, from a file or standard input."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from stepout.asl.values import dumps
from stepout.cli.positions import Node, Unreadable, read_json, read_yaml

__all__ = ["Source", "read_source"]

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Source:
    """A definition as JSON text, and where its values stand in the file."""

    name: str
    text: str
    places: Node


def read_source(path: Path) -> Source:
    """Read a definition, `-` from standard input.

    Raises `Unreadable` for a file that cannot be read and for YAML that is none. What comes from
    standard input is JSON where it begins so, else YAML.
    """
    is_stdin = str(path) == "-"
    name = "standard input" if is_stdin else str(path)
    try:
        text = sys.stdin.read() if is_stdin else path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise Unreadable(f"{name} cannot be read: {error}.") from None
    is_yaml = not text.lstrip().startswith("{") if is_stdin else path.suffix.lower() in _YAML
    if is_yaml:
        value, places = read_yaml(text)
        return Source(name, _as_json(value), places)
    return Source(name, text, _places(text))


def _as_json(value: object) -> str:
    try:
        return dumps(value).decode()
    except TypeError as error:
        raise Unreadable(f"The YAML text holds what JSON has not: {error}") from None


def _places(text: str) -> Node:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # What is wrong is told by whoever parses the text; here is where.
        return Node(error.lineno, error.colno)
    return read_json(text)
