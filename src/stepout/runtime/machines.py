"""Compiled machines: one compilation per definition, the most used ones kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from stepout.asl.machine import Machine
from stepout.asl.parse import parse

__all__ = ["compiled"]

_KEPT: Final = 1_024
"""Definitions kept; with 1 MB at most each, a bound on memory that no real use comes near."""


@lru_cache(_KEPT)
def compiled(definition: str, *, is_express: bool) -> Machine:
    """The machine of a definition; raises `DefinitionError`.

    A machine depends on nothing but its text and type, so these are the key. The text of a record
    is one object, whose hash Python keeps: looking it up costs no more than the name of a
    dictionary.
    """
    return parse(definition, is_express=is_express)
