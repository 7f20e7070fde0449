"""Values in query strings and forms, encoded as the HTTP Task encodes them (recorded on AWS)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import quote

from stepout.asl.values import Json, dumps

__all__ = ["Pair", "encode", "form", "query_pairs"]

Pair: TypeAlias = tuple[str, str]
"""A name and its value, not encoded."""

_SUFFIXES: Final[Mapping[str, str]] = {"INDICES": "[{}]", "REPEAT": "", "BRACKETS": "[]"}
"""ArrayFormat → what follows an array's name for each of its items; COMMAS joins them instead."""


def encode(pairs: Iterable[Pair]) -> str:
    """Pairs as `name=value&…`: everything but letters, digits and `-._~` percent-encoded."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)


def form(body: dict[str, Json], array_format: str) -> str:
    """An object as a form: members of objects in brackets, items of arrays as the format says."""
    return encode(_flattened(body, array_format))


def query_pairs(parameters: Json) -> Iterator[Pair]:
    """The pairs of QueryParameters; an array's items each have the array's name."""
    for name, value in parameters.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, _text(item)


def _flattened(body: dict[str, Json], array_format: str) -> Iterator[Pair]:
    """Depth first, without recursion: a body may nest 1,000 levels."""
    ahead: list[tuple[str, Json]] = list(reversed(body.items()))
    while ahead:
        name, value = ahead.pop()
        if isinstance(value, dict):
            ahead += [(f"{name}[{key}]", item) for key, item in reversed(value.items())]
        elif not isinstance(value, list):
            yield name, _text(value)
        elif array_format == "COMMAS":
            yield name, ",".join(map(_text, value))
        else:
            items = [
                (name + _SUFFIXES[array_format].format(index), item)
                for index, item in enumerate(value)
            ]
            ahead += reversed(items)


def _text(value: Json) -> str:
    """A string as it is, null as nothing, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value).decode()


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe="")
