"""A request as it came in, and how its headers and its query are read for a signature."""

from __future__ import annotations

from collections.abc import Sequence
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


def gathered(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Values by name; those of one name are joined by commas."""
    values = {
        name.decode("latin-1"): value.decode("latin-1").strip(_BLANKS) for name, value in headers
    }
    if len(values) < len(headers):
        several: dict[str, list[str]] = {}
        for name, value in headers:
            text = value.decode("latin-1").strip(_BLANKS)
            several.setdefault(name.decode("latin-1"), []).append(text)
        values = {name: ",".join(texts) for name, texts in several.items()}
    return values


def pairs(query: str) -> list[tuple[bytes, bytes]]:
    """The pairs of a raw query, decoded; a plus sign is itself.

    They stay bytes: decoded to text, %FE and %FF would be the same replacement character.
    """
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(_decoded(name), _decoded(value)) for name, _, value in parts]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.encode("latin-1"))
