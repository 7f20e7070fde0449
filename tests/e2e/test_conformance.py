"""What AWS answered, recorded by others: the cases of what is served so far."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stepout.testing import Server

RUNNER = Path(__file__).parents[2].parent / "shared" / "conformance" / "run.py"


@pytest.mark.skipif(not RUNNER.exists(), reason="The corpus is not beside the repository.")
def test_the_recorded_synchronous_executions(stepout_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, str(RUNNER), "sfn", "--endpoint", stepout_server.url, "--kind", "express_sync", "-v"],
        capture_output=True,
        text=True,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    total = next(line for line in done.stdout.splitlines() if line.startswith("TOTAL"))
    # Run, level 1, level 2, level 3, skipped (they need Lambda).
    assert total.split()[1:] == ["3", "3", "3", "3", "2"]
