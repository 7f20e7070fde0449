"""A text that must not be seen: its repr, str and format hide it, and no copy lays it open."""

from __future__ import annotations

import ctypes
import hmac
import sys
from typing import Final, Self

__all__ = ["Secret", "keep_memory_private"]


class Secret:
    """Holds a secret text; `reveal()` is the only way to it, so that its uses can be found."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __format__(self, spec: str) -> str:
        return "…"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_encoded(self._text), _encoded(other._text))

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    # It never changes, so it is its own copy; `dataclasses.asdict` copies what it finds.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _known: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> str:
        raise TypeError("A Secret is not pickled; encrypt it in the store's vault.")

    def __getstate__(self) -> object:
        # Python's own would give the text.
        return self.__reduce__()


def _encoded(text: str) -> bytes:
    """Half a character is compared, too: an error would carry the text."""
    return text.encode("utf-8", "surrogatepass")


_PR_SET_DUMPABLE: Final = 4
"""prctl(2)."""


def keep_memory_private() -> None:
    """Let the system write no core file of this process, nor show its memory to the user's others.

    Without the limit a crash would leave every secret on the disk. Linux hands cores to a program,
    such as systemd-coredump, whatever the limit is; a process that is not dumpable has none, and
    ptrace, /proc/PID/mem and /proc/PID/environ are then for root alone.
    """
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
