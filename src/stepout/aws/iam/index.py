"""Many patterns at once: only those are tried whose beginning a text has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from stepout.aws.iam.patterns import Pattern
from stepout.aws.iam.request import Context

__all__ = ["Index"]

T = TypeVar("T")


class Index(Generic[T]):
    """Patterns, each with a value.

    Exact patterns are looked up. The others lie under their literal beginnings, which are sorted.
    If a beginning P of a text is among them, then so is P or one that begins with P the last that
    does not come after the text; so all beginnings of a text are found by one binary search and a
    walk to ever shorter ones.
    """

    __slots__ = ("_beginnings", "_exact", "_groups", "_remembered", "_shorter")

    def __init__(self, entries: Iterable[tuple[Pattern, T]]) -> None:
        self._exact: dict[str, list[tuple[Pattern, T]]] = {}
        under: dict[str, list[tuple[Pattern, T]]] = {}
        for pattern, value in entries:
            place = self._exact if pattern.is_exact else under
            place.setdefault(pattern.prefix, []).append((pattern, value))
        self._beginnings = sorted(under)
        self._groups = [under[beginning] for beginning in self._beginnings]
        self._shorter = _shorter(self._beginnings)
        self._remembered: dict[str, list[tuple[Pattern, T]]] = {}

    def candidates(self, text: str) -> list[tuple[Pattern, T]]:
        """The patterns that may match, with their values."""
        found = [*self._exact.get(text, ())]
        at = bisect_right(self._beginnings, text) - 1
        while at >= 0:
            if text.startswith(self._beginnings[at]):
                found += self._groups[at]
            at = self._shorter[at]
        return found

    def matching(self, text: str, context: Context) -> Iterator[T]:
        """The values of the patterns that match.

        Patterns may share a beginning by the thousand (`arn:aws:states:*:…`). Which of them match
        a text without asking the request is remembered: requests name few things, and often.
        """
        found = self._remembered.get(text)
        if found is None:
            found = [
                entry
                for entry in self.candidates(text)
                if entry[0].is_open or entry[0].matches(text, context)
            ]
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = found
        for pattern, value in found:
            if not pattern.is_open or pattern.matches(text, context):
                yield value


_MOST_REMEMBERED: Final = 256
"""Texts; ours. A list of some hundred entries is some kilobytes."""


def _shorter(beginnings: list[str]) -> list[int]:
    """For each of the sorted texts, the place of the longest other that it begins with, or -1."""
    found: list[int] = []
    open_: list[int] = []
    for at, text in enumerate(beginnings):
        while open_ and not text.startswith(beginnings[open_[-1]]):
            open_.pop()
        found.append(open_[-1] if open_ else -1)
        open_.append(at)
    return found
