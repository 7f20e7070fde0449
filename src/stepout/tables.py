"""TOML files to values: what a table may hold is a mapping from a name to its reader.

All problems of a file are found before any is told, each with the place, what was expected and
what was found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias

from stepout.errors import SettingsError

__all__ = [
    "Raw",
    "Read",
    "boolean",
    "each",
    "fields",
    "load",
    "matching",
    "number",
    "one_of",
    "parse",
    "text",
]

Raw: TypeAlias = Any
Read: TypeAlias = Callable[[Raw], Raw]
"""A member's value as TOML has it, to what it means; raises `ValueError`."""

MAX_TEXT: Final = 2_048


def load(path: Path, what: str) -> dict[str, Raw]:
    """The tables of a file, which `what` names in errors; raises `SettingsError`."""
    try:
        return parse(path.read_text("utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{what} {path} cannot be read: {error}.") from None


def parse(text: str, name: str) -> dict[str, Raw]:
    """The tables of a text; raises `SettingsError`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name} is not TOML: {error}.") from None


def fields(at: str, value: Raw, readers: Mapping[str, Read], problems: list[str]) -> dict[str, Raw]:
    """The members of a table that can be read; the others become problems."""
    if not isinstance(value, dict):
        problems.append(f"{at}: expected a table, found {value!r}.")
        return {}
    found = {}
    for name, raw in value.items():
        if name not in readers:
            problems.append(f"{at}: there is no setting '{name}'{_hint(name, readers)}.")
            continue
        try:
            found[name] = readers[name](raw)
        except ValueError as error:
            problems.append(f"{at}: {name}: {error}")
    return found


def _hint(name: str, known: Mapping[str, Read]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known)}"


# --- Readers --------------------------------------------------------------------------------------


def text(raw: Raw) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > MAX_TEXT or not raw.isprintable():
        raise ValueError(f"expected a text, found {raw!r}.")
    return raw


def matching(pattern: str, what: str) -> Read:
    """A text that matches all of a pattern."""
    compiled = re.compile(pattern, re.ASCII)

    def read(raw: Raw) -> str:
        if not isinstance(raw, str) or not compiled.fullmatch(raw):
            raise ValueError(f"expected {what}, found {raw!r}.")
        return raw

    return read


def one_of(*words: str) -> Read:
    def read(raw: Raw) -> str:
        if raw not in words:
            raise ValueError(f"expected one of {', '.join(words)}, found {raw!r}.")
        return str(raw)

    return read


def number(least: int, most: int) -> Read:
    """A whole number."""

    def read(raw: Raw) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, found {raw!r}.")
        return raw

    return read


def boolean(raw: Raw) -> bool:
    if raw is not True and raw is not False:
        raise ValueError(f"expected true or false, found {raw!r}.")
    return bool(raw)


def each(read: Read) -> Read:
    """A list of what `read` takes, each once."""

    def read_list(raw: Raw) -> tuple[Raw, ...]:
        if not isinstance(raw, list):
            raise ValueError(f"expected a list, found {raw!r}.")  # noqa: TRY004 — as all readers
        return tuple(dict.fromkeys(map(read, raw)))

    return read_list
