"""What a misspelt word may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

__all__ = ["nearest"]

_LONGEST: Final = 64
"""Comparing takes the square of the length; no word of the language is longer."""

_ALIKE: Final = 0.75


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a word is most like, whatever the case of its letters."""
    if len(word) > _LONGEST:
        return None
    folded = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), folded, 1, _ALIKE)
    return folded[close[0]] if close else None
