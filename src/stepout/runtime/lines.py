"""A file of lines that stays one when its disk is full."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["Lines", "Printed"]


class Lines:
    """Appends to a file, each text at once: whole, or not at all.

    Python's own files keep what a full disk did not take, and write the rest of a line, or all of
    it, in front of some later one, or fail when they are closed.
    """

    def __init__(self, file: Path | int, mode: int = 0o666) -> None:
        """Open a file, of this mode less the umask where it is new; raises `OSError`. An open
        descriptor may be given in place of a path."""
        if isinstance(file, int):
            self._file = file
        else:
            # Appended to: whoever rotates it may copy it and cut it off.
            self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)

    def write(self, text: bytes) -> None:
        """Raises `OSError`; nothing of the text is in the file then."""
        written = 0
        try:
            while written < len(text):
                written += os.write(self._file, text[written:] if written else text)
        except OSError:
            self._take_back(written)
            raise

    def close(self) -> None:
        """A second time it does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _take_back(self, size: int) -> None:
        with suppress(OSError):
            found = os.fstat(self._file)
            # One that was rotated meanwhile has the piece no more.
            if size and stat.S_ISREG(found.st_mode) and found.st_size >= size:
                os.ftruncate(self._file, found.st_size - size)
                # Of a descriptor that does not append.
                os.lseek(self._file, -size, os.SEEK_CUR)


class Printed:
    """The same on standard output."""

    def write(self, text: bytes) -> None:
        """Raises `OSError`."""
        sys.stdout.write(text.decode())
        sys.stdout.flush()

    def close(self) -> None:
        """It is not ours."""
