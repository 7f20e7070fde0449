"""Processes under measurement: started, asked for their CPU time and memory, ended by their id."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self


class Process(AbstractContextManager["Process"]):
    """A Python program that prints one line when it is ready."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, *arguments]
        # Installed packages are compiled; so is what is measured, from its second start on.
        self._environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        self.ready_line = ""
        self.seconds_to_ready = 0.0

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )
        assert self._process.stdout is not None
        self.ready_line = self._process.stdout.readline().strip()
        self.seconds_to_ready = time.perf_counter() - started
        if not self.ready_line:
            raise RuntimeError(f"{self._command} ended before it was ready.")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def cpu_seconds(self) -> float:
        """CPU time of all threads so far, as the scheduler counts it."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1_024


def quantile(sorted_values: Sequence[float], share: float) -> float:
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]
