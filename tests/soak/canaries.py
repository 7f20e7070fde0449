"""Secrets that are given to a server, and the search for them in whatever it puts out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import count
from typing import Final

__all__ = ["Canaries"]

_MARK: Final = "Canary7391Soak"
"""Part of every secret, so that one search finds them all; letters and digits, so that URLs, JSON
and shells leave it as it is."""


class Canaries:
    """Makes secrets and finds them: as they are, in base64, in hexadecimal."""

    def __init__(self) -> None:
        self._numbers = count()
        self._names: list[tuple[str, str]] = []
        self._given: dict[str, str] = {}

    def new(self, name: str) -> str:
        """A secret of the soak's own."""
        text = f"{name[::-1]}-{_MARK}-{name}-{next(self._numbers)}"
        self._names.append((name, text))
        return text

    def given(self, name: str, text: str) -> None:
        """A secret that the server has made; the latest of each name is searched for."""
        self._given[name] = text

    @property
    def count(self) -> int:
        return len(self._names) + len(self._given)

    def found_in(self, place: str, content: bytes) -> list[str]:
        """A sentence for each form in which a secret is in a content, without the secret."""
        found = [
            f"{place} holds a secret {how} at byte {at}."
            for how, form in _FORMS
            for at in [content.find(form)]
            if at >= 0
        ]
        given = [
            f"{place} holds {name}."
            for name, text in self._given.items()
            if text.encode() in content
        ]
        return found + given


def _forms() -> Iterator[tuple[str, bytes]]:
    raw = _MARK.encode()
    yield "as it is", raw
    yield "in hexadecimal", raw.hex().encode()
    yield "in hexadecimal", raw.hex().upper().encode()
    for before in range(3):
        # The first and the last letters depend on what stands beside the mark.
        encoded = b64encode(b"x" * before + raw).rstrip(b"=")
        yield "in base64", encoded[-(-before * 4 // 3) : -1]


_FORMS: Final = tuple(_forms())
