"""A request as it came in, and how its headers and its query are read for a signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["SignedRequest", "gathered", "pairs"]

_BLANKS: Final = " \t"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came in: raw path and query, header names in lower case, every value.

    Each character of `path` and `query` is one byte (latin-1), as a server finds them.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


def gathered(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], Mapping[str, object]]:
    """Values by name, repeated ones joined by commas; and the names that are repeated."""
    values: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1").strip(_BLANKS)
        if name in values:
            repeated.setdefault(name, [values[name]]).append(value)
        else:
            values[name] = value
    for name, several in repeated.items():
        values[name] = ",".join(several)
    return values, repeated


def pairs(query: str) -> list[tuple[bytes, bytes]]:
    """The pairs of a raw query, decoded; a plus sign is itself.

    They stay bytes: decoded to text, %FE and %FF would be the same replacement character.
    """
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(_decoded(name), _decoded(value)) for name, _, value in parts]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.encode("latin-1"))
