"""A policy file that may change while it is in force.

The file is looked at again and again, because that works on every system and file system. A change
counts when the file has stayed the same between two looks: one that is still being written may lack
its last rules. A file that is broken or gone changes nothing but the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from stepout.egress.policy import Policy
from stepout.errors import SettingsError

__all__ = ["PolicyFile"]

_log = logging.getLogger("stepout.egress")

LOOK_SECONDS: Final = 1.0
"""Between two looks at the file; ours."""

_State: TypeAlias = tuple[int, int, int] | None


class PolicyFile:
    """Reads a policy file now and when it changes; `use` is told each policy that is good."""

    def __init__(
        self, path: Path, load: Callable[[Path], Policy], use: Callable[[Policy], object]
    ) -> None:
        self._path = path
        self._load = load
        self._use = use
        self._revision = 0
        self._read = self._seen = self._state()

    def load(self) -> Policy:
        """The policy of now; raises `SettingsError` with every problem."""
        self._read = self._seen = self._state()
        policy = self._load(self._path)
        self._take(policy)
        return policy

    async def watch(self, seconds: float = LOOK_SECONDS) -> None:
        """Look at the file until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            self.look()

    def look(self) -> None:
        """Read the file if it has changed, and has stayed as it is since the last look."""
        state = self._state()
        settled, self._seen = state == self._seen, state
        if not settled or state == self._read:
            return
        self._read = state
        try:
            policy = self._load(self._path)
        except SettingsError as error:
            _log.error(
                "egress-policy",
                extra={
                    "fields": {
                        "file": str(self._path),
                        "kept": self._revision,
                        "problems": str(error),
                    }
                },
            )
            return
        self._use(policy)
        self._take(policy)

    def _take(self, policy: Policy) -> None:
        self._revision += 1
        _log.info(
            "egress-policy",
            extra={
                "fields": {
                    "file": str(self._path),
                    "revision": self._revision,
                    "default": policy.default,
                    "mode": policy.mode,
                    "rules": len(policy.rules),
                }
            },
        )

    def _state(self) -> _State:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
