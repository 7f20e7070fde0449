"""Randomness as a parameter: 32 bytes from outside, expanded by one hash for each draw."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["Entropy"]

_BITS: Final = 53
"""A double holds this many bits of a fraction."""


class Entropy:
    """A sequence of draws that its seed determines."""

    __slots__ = ("_draws", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._draws = 0

    def draw(self) -> bytes:
        """The next draw, 32 bytes."""
        self._draws += 1
        return sha256(self._seed + self._draws.to_bytes(8, "big")).digest()

    def uniform(self) -> float:
        """The next draw, 0 ≤ x < 1."""
        digest = self.draw()
        return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)
