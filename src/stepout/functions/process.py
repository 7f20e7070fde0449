"""The process that runs a function under AWS's own runtime client, `awslambdaric`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Final, Self

from stepout.errors import SettingsError
from stepout.functions.invocation import FunctionSettings

__all__ = ["RuntimeProcess", "has_runtime_client"]

KILL_LIMIT_S: Final = 5.0
"""How long a killed process is waited for; longer only when it hangs inside the kernel."""


def has_runtime_client() -> bool:
    """Tell whether awslambdaric works here; off Linux it installs without its compiled client."""
    return all(
        importlib.util.find_spec(name) is not None for name in ("awslambdaric", "runtime_client")
    )


class RuntimeProcess:
    """One process and all that it starts: a process group of its own, killed as one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.exited = asyncio.create_task(process.wait())
        """Done with the exit status; a negative one is the signal that ended the process."""

    @classmethod
    async def start(cls, settings: FunctionSettings, environment: Mapping[str, str]) -> Self:
        """Start the function's program in its directory."""
        command = (*settings.command_prefix, sys.executable, "-m", "awslambdaric", settings.handler)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=settings.directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=settings.log,
                stderr=settings.log,
                start_new_session=True,
            )
        except OSError as error:
            raise SettingsError(
                f"The program of function {settings.name} cannot be started in "
                f"{settings.directory} as {command[0]}: {error}"
            ) from error
        return cls(process)

    async def kill(self) -> None:
        """Kill the group, with what an ended process left in it, and wait for the process."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.wait({self.exited}, timeout=KILL_LIMIT_S)
