"""Everything that a server puts out, searched while it grows, and cut off as a log rotation does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Final

from tests.soak.ledger import Ledger
from tests.soak.world import World

__all__ = ["Outputs"]

_EXPECTED: Final = {
    "audit line lost",
    "execution log",
    "not accepted",
    "not reloaded",
    "purge failed",
    "store failed",
}
"""Events of the log that are errors and follow from what the soak does."""

_TRACE: Final = (b"Traceback", b'"exception":')


class Outputs:
    """Reads the outputs to their ends; `lines` counts what was in them, `events` what the log told."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self.lines: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.bytes = 0

    async def watch(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.look)

    def look(self, *, is_last: bool = False) -> None:
        """Search what has come since the last look, and cut it off."""
        for path in self._world.outputs:
            if path.exists():
                self._look_at(path, is_last=is_last)
        self.search_data()

    def search_data(self) -> None:
        """The data directory holds every secret, sealed; and temporary files end with their use."""
        for path in self._world.disk("data").iterdir():
            if path.name != "filler":
                self._search(path.name, path.read_bytes())

    def _look_at(self, path: Path, *, is_last: bool) -> None:
        with path.open("r+b") as file:
            content = file.read()
            if not is_last:
                # A line that has come meanwhile is lost, as `copytruncate` loses it.
                file.truncate(0)
        self.bytes += len(content)
        self._search(path.name, content)
        lines = content.split(b"\n")
        kind = self._kind(path)
        # What is not whole is being written in this very moment.
        self.lines[f"{kind}, half"] += bool(lines.pop())
        for line in lines:
            self._read(kind, line)

    def _kind(self, path: Path) -> str:
        return "executions" if path.is_relative_to(self._world.disk("logs")) else path.stem

    def _read(self, kind: str, line: bytes) -> None:
        self.lines[kind] += 1
        if kind == "stdout":
            return
        try:
            found = json.loads(line)
        except ValueError:
            self._ledger.breaks(f"A line of {kind} is torn: {line[:60]!r}…{line[-60:]!r}.")
            return
        if kind == "stderr":
            self._read_log(found, line)

    def _read_log(self, found: dict[str, object], line: bytes) -> None:
        event = str(found.get("event"))
        self.events[event] += 1
        if any(mark in line for mark in _TRACE):
            self._ledger.breaks(f"The log has a stack trace: {line[-600:].decode()}")
        elif found.get("level") in ("error", "critical") and event not in _EXPECTED:
            self._ledger.breaks(f"The log has an unexpected error: {line[:400].decode()}")

    def _search(self, place: str, content: bytes) -> None:
        for sentence in self._world.canaries.found_in(place, content):
            self._ledger.breaks(sentence)
