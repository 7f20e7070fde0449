"""A text that must not be seen: its repr, str and format hide it, and no copy lays it open."""

from __future__ import annotations

import ctypes
import hmac
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from stepout.errors import SettingsError

__all__ = ["Secret", "Source", "keep_memory_private", "source"]


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


# --- Where secrets are ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret is: an environment variable or a file."""

    kind: Literal["env", "file"]
    name: str

    def read(self, environ: Mapping[str, str]) -> Secret:
        """The secret; raises `SettingsError` where there is none."""
        if self.kind == "env":
            text = environ.get(self.name, "")
        else:
            try:
                text = Path(self.name).expanduser().read_text("utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                raise SettingsError(f"The secret in {self.name} cannot be read: {error}.") from None
        if not text:
            where = "variable" if self.kind == "env" else "file"
            raise SettingsError(f"Expected a secret in the {where} {self.name}, found nothing.")
        return Secret(text)


def source(raw: object) -> Source:
    """A source as a file of settings names it; raises `ValueError`."""
    if isinstance(raw, dict) and len(raw) == 1:
        ((kind, name),) = raw.items()
        if kind in ("env", "file") and isinstance(name, str) and name:
            return Source(kind, name)
    # Not shown: it may be the secret itself.
    raise ValueError(
        'a secret does not stand in this file; say where it is: { env = "NAME" } or '
        '{ file = "PATH" }.'
    )
