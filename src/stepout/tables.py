"""TOML files to values: what a table may hold is a mapping from a key to its reader.

All problems of a file are found before any is told, each with its place, what was expected and what
was found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias

from stepout.errors import SettingsError

__all__ = [
    "Raw",
    "Read",
    "Unexpected",
    "boolean",
    "each",
    "load",
    "matching",
    "members",
    "number",
    "one_of",
    "parse",
    "shown",
    "text",
    "unknown",
]

Raw: TypeAlias = Any
Read: TypeAlias = Callable[[Raw], Raw]
"""A member as TOML has it, to what it means; raises `ValueError`, often `Unexpected`."""

MAX_FILE: Final = 4_194_304
"""Characters of a file; ours."""

MAX_TEXT: Final = 2_048

_SHOWN: Final = 200


class Unexpected(ValueError):
    """Something else was expected; `problems` has one text for each place below the member."""

    def __init__(self, expected: str, raw: Raw) -> None:
        self.problems: tuple[str, ...] = (f": expected {expected}, found {shown(raw)}.",)
        super().__init__(self.problems[0].removeprefix(": "))

    @classmethod
    def at(cls, problems: Iterable[str]) -> Unexpected:
        """Of several places: each text begins with its place, such as `[0]`."""
        error = cls("", None)
        error.problems = tuple(problems)
        error.args = (" ".join(error.problems),)
        return error


def shown(raw: Raw) -> str:
    """A value as a message shows it."""
    found = repr(raw)
    return found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"


# --- Files and tables -----------------------------------------------------------------------------


def load(path: Path, what: str) -> dict[str, Raw]:
    """The tables of a file, which `what` names in errors; raises `SettingsError`."""
    try:
        content = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{what} {path} cannot be read: {error}.") from None
    if not content.strip():
        # Not a way to close or open everything: whoever writes a file anew empties it first.
        raise SettingsError(f"{path}: expected tables, found an empty file.")
    return parse(content, str(path))


def parse(content: str, name: str) -> dict[str, Raw]:
    """The tables of a text; raises `SettingsError`."""
    if len(content) > MAX_FILE:
        raise SettingsError(
            f"{name}: expected at most {MAX_FILE} characters, found {len(content)}."
        )
    try:
        return tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name} is not TOML: {error}.") from None


def members(
    at: str,
    table: Raw,
    readers: Mapping[str, Read],
    problems: list[str],
    meant: Mapping[str, str] | None = None,
) -> dict[str, Raw]:
    """The members of a table that can be read; the others become problems.

    `at` stands before the key in a problem: `[user.ann]: ` or `allow[0].`; `meant` is as in
    `unknown`.
    """
    if not isinstance(table, dict):
        problems.append(f"{at.rstrip(': .')}: expected a table, found {shown(table)}.")
        return {}
    problems += unknown(at, table, readers, meant)
    found = {}
    for key, read in readers.items():
        if key not in table:
            continue
        try:
            found[key] = read(table[key])
        except Unexpected as error:
            problems += [f"{at}{key}{problem}" for problem in error.problems]
        except ValueError as error:
            problems.append(f"{at}{key}: {error}")
    return found


def unknown(
    at: str, table: Mapping[str, Raw], known: Iterable[str], meant: Mapping[str, str] | None = None
) -> list[str]:
    """A problem for each key that is not known; `meant` has words that others use for ours."""
    keys = list(known)
    found = []
    for key in table:
        if key in keys:
            continue
        near = (meant or {}).get(key) or next(iter(get_close_matches(key, keys, 1)), None)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(keys)}."
        name = key if key.isidentifier() else shown(key)
        found.append(f"{at}{name}: there is no such key; {hint}")
    return found


# --- Readers --------------------------------------------------------------------------------------


def text(raw: Raw) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > MAX_TEXT or not raw.isprintable():
        raise Unexpected("a text", raw)
    return raw


def matching(pattern: str, what: str) -> Read:
    """A text that matches all of a pattern; `what` says in words what that is."""
    compiled = re.compile(pattern, re.ASCII)

    def read(raw: Raw) -> str:
        if not isinstance(raw, str) or not compiled.fullmatch(raw):
            raise Unexpected(what, raw)
        return raw

    return read


def one_of(*words: str) -> Read:
    def read(raw: Raw) -> str:
        if raw not in words:
            raise Unexpected(" or ".join(f"'{word}'" for word in words), raw)
        return str(raw)

    return read


def number(least: int, most: int) -> Read:
    """A whole number."""

    def read(raw: Raw) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw <= most:
            raise Unexpected(f"a whole number from {least} to {most}", raw)
        return raw

    return read


def boolean(raw: Raw) -> bool:
    if not isinstance(raw, bool):
        raise Unexpected("true or false", raw)
    return raw


def each(read: Read, *, may_be_empty: bool = False) -> Read:
    """A list, each member once; every one that cannot be read is a problem."""

    def read_list(raw: Raw) -> tuple[Raw, ...]:
        if not isinstance(raw, list) or not (raw or may_be_empty):
            expected = "a list" if may_be_empty else "a list with at least one member"
            raise Unexpected(expected, raw)
        found: list[Raw] = []
        problems: list[str] = []
        for at, member in enumerate(raw):
            try:
                found.append(read(member))
            except Unexpected as error:
                problems += [f"[{at}]{problem}" for problem in error.problems]
            except ValueError as error:
                problems.append(f"[{at}]: {error}")
        if problems:
            raise Unexpected.at(problems)
        return tuple(dict.fromkeys(found))

    return read_list
