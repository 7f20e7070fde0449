"""The data directory is this user's alone."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

from stepout.errors import StoreError

__all__ = ["DATABASE_FILE", "prepare"]

DATABASE_FILE: Final = "stepout.db"

_log = logging.getLogger("stepout.store")


def prepare(directory: Path) -> None:
    """Make a data directory, mode 0700, or see that it is such a one; raises `StoreError`.

    One that others can enter is closed to them, with a warning, where it is evidently meant for
    this: it is empty, or holds a store. Its files are closed to others by themselves, so that
    nothing was seen; and who made the directory with an ordinary umask meant no harm. A directory
    of other things (`--data .`, `--data /tmp`) is refused: closing it would break those. So is one
    of another user, who could put another store in its place.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Windows has no such modes.
    if os.name != "posix":
        return
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"Expected the data directory {directory} to belong to this user ({os.geteuid()}), "
            f"found the user {status.st_uid}. Run as that user, or name a directory below it, "
            "which is then made."
        )
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return
    if not _is_ours(directory):
        raise StoreError(
            f"Expected the data directory {directory} to be for its user only (mode 0700), found "
            f"mode {mode:04o} and other files in it. Name a directory below it, which is then made."
        )
    directory.chmod(mode & ~0o077)
    _log.warning(
        "data directory closed to others",
        extra={"fields": {"directory": directory, "found": f"{mode:04o}", "now": "0700"}},
    )


def _is_ours(directory: Path) -> bool:
    names = {path.name for path in directory.iterdir()}
    return not names or DATABASE_FILE in names
